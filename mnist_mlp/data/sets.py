"""The data sets by name: titles, classes, sizes, and what their files and folders are called.

Whatever depends on which data set it is asks here, so that no other module compares names.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

DIGITS = tuple(map(str, range(10)))


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """What is known about a data set before it is read."""

    name: str  # the value of --dataset
    title: str  # as a sentence has it
    classes: tuple[str, ...] = DIGITS
    shows: str = "a digit"  # an image, if the classes are these
    sizes: tuple[int, int] | None = None  # numbers of training and test images; None: MNIST's
    any_size: bool = False
    balanced: bool = False  # each class has equally many images, in each split
    of_pictures: bool = False  # may also be pictures, in a folder for each class
    needs_directory: bool = False  # no cache has it, and nothing downloads it
    folders: tuple[str, ...] = ()  # how the letters of its folders' and files' names begin
    idx: tuple[str, ...] = ()  # its own names of the four IDX files, in the order of array_files.IDX_NAMES
    tfds: str = ""  # its name there, with that of its configuration
    keras: str = ""  # its name in Keras' cache
    may_be_transposed: bool = False  # most files have rows and columns exchanged
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)  # digests of the publisher's files


def _emnist(split: str, sizes: tuple[int, int] | None) -> KnownSet:
    """Return EMNIST Digits or EMNIST MNIST."""
    kinds = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
    return KnownSet(
        f"emnist_{split}",
        f"EMNIST {'MNIST' if split == 'mnist' else split.capitalize()}",
        sizes=sizes,
        balanced=True,
        folders=(f"emnist{split}", "emnist"),
        idx=tuple(f"emnist-{split}-{kind}-ubyte" for kind in kinds),
        tfds=f"emnist/{split}",
        may_be_transposed=True,
        published={"gzip.zip": "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"},
    )


# Published digests: the SHA-256 by which TensorFlow Datasets checks what it downloads from the publishers; of QMNIST,
# the MD5 sums by which torchvision checks its files.
KNOWN = {
    each.name: each
    for each in (
        KnownSet("mnist", "MNIST", folders=("mnist",), tfds="mnist", keras="mnist.npz"),
        KnownSet(
            "fashion_mnist",
            "Fashion-MNIST",
            classes=(
                *("T-shirt", "trousers", "pullover", "dress", "coat"),
                *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
            ),
            shows="a garment",
            balanced=True,
            folders=("fashion",),
            tfds="fashion_mnist",
            keras="fashion-mnist",
            published={
                "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            },
        ),
        KnownSet(
            "kmnist",
            "Kuzushiji-MNIST",
            classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            shows="a character",
            balanced=True,
            folders=("kmnist", "kuzushiji"),
            tfds="kmnist",
            published={
                "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
                "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
                "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
                "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            },
        ),
        _emnist("digits", (240_000, 40_000)),
        _emnist("mnist", None),
        KnownSet(
            "qmnist",
            "QMNIST",
            sizes=(60_000, 60_000),
            needs_directory=True,
            folders=("qmnist",),
            idx=(
                *("qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx2-int"),
                *("qmnist-test-images-idx3-ubyte", "qmnist-test-labels-idx2-int"),
            ),
            published={
                "qmnist-train-images-idx3-ubyte.gz": "ed72d4157d28c017586c42bc6afe6370",
                "qmnist-train-labels-idx2-int.gz": "0058f8dd561b90ffdd0f734c6a30e5e4",
                "qmnist-test-images-idx3-ubyte.gz": "1394631089c404de565df7b7aeaf9412",
                "qmnist-test-labels-idx2-int.gz": "5b5b05890a5e13444e108efe57b788aa",
            },
        ),
        KnownSet(
            "kaggle",
            "Kaggle's Digit Recognizer",
            any_size=True,
            needs_directory=True,
            folders=("digitrecognizer", "kaggle"),
        ),
        KnownSet("custom", "a data set of one's own", any_size=True, of_pictures=True, needs_directory=True),
        KnownSet("digits", "the embedded digits", any_size=True),
    )
}


def find(name: str) -> KnownSet:
    """Return the data set of a name; of one that a caller made, its name is all that is known."""
    return KNOWN.get(name) or KnownSet(name, name, any_size=True)


def title_of(dataset: str) -> str:
    """Return a data set's name as a sentence has it."""
    return find(dataset).title


def class_names(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes 0 to 9; `dataset` is that part of a result."""
    return tuple(dataset.get("classes") or find(dataset["name"]).classes)


def of_digits(dataset: Mapping[str, Any]) -> bool:
    """Return whether the classes are the digits, so that pictures for a network must show one.

    `dataset` is that part of a result.
    """
    return class_names(dataset) == DIGITS


def what_it_shows(dataset: Mapping[str, Any]) -> str:
    """Return what an image shows, with its article; `dataset` is that part of a result."""
    known = find(dataset["name"])
    return known.shows if class_names(dataset) == known.classes else "a picture"


def is_mnist(dataset: str) -> bool:
    """Return whether accuracies on this data set are MNIST accuracies."""
    return dataset == "mnist"


def not_mnist(dataset: str) -> str:
    """Return the remark about figures that were not measured on MNIST; "" for MNIST's."""
    return "" if is_mnist(dataset) else f"measured on {dataset}: this is not MNIST accuracy"


def called(name: str, texts: Iterable[str]) -> list[str]:
    """Return those names of files that are like the data set's, by the first way to call it that any of them follows.

    So emnist-digits-train is EMNIST Digits' beside emnist-letters-train.
    """
    letters = {text: re.sub("[^a-z]", "", text.lower()) for text in texts}
    for start in find(name).folders:
        if found := [text for text, only in letters.items() if only.startswith(start)]:
            return found
    return []


def is_called(name: str, text: str) -> bool:
    """Return whether a file or folder has the name of the data set: MNIST, mnist_data; FashionMNIST, fashion-mnist."""
    return re.sub("[^a-z]", "", text.lower()).startswith(find(name).folders or ("",))
