"""The data sets by name: titles, classes, sizes, and what their files and folders are called.

Whatever depends on which data set it is asks here, so that no other module compares names.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

DIGITS = tuple(map(str, range(10)))


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """What is known about a data set before it is read."""

    name: str  # the value of --dataset
    title: str  # as a sentence has it
    classes: tuple[str, ...] = DIGITS
    sizes: tuple[int, int] | None = None  # numbers of training and test images; None: MNIST's
    any_size: bool = False
    balanced: bool = False  # each class has equally many images, in each split
    folders: tuple[str, ...] = ()  # how the letters of its folders' and files' names begin


KNOWN = {
    each.name: each
    for each in (
        KnownSet("mnist", "MNIST", folders=("mnist",)),
        KnownSet(
            "fashion_mnist",
            "Fashion-MNIST",
            classes=(
                *("T-shirt", "trousers", "pullover", "dress", "coat"),
                *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
            ),
            balanced=True,
            folders=("fashion",),
        ),
        KnownSet("kaggle", "Kaggle's Digit Recognizer", any_size=True, folders=("digitrecognizer", "kaggle")),
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


def is_mnist(dataset: str) -> bool:
    """Return whether accuracies on this data set are MNIST accuracies."""
    return dataset == "mnist"


def not_mnist(datasets: Sequence[str]) -> str:
    """Return the remark about figures that were not measured on MNIST."""
    return f"Measured on {' and '.join(map(title_of, datasets))}: this is not MNIST accuracy."


def is_called(name: str, text: str) -> bool:
    """Return whether a file or folder has the name of the data set: MNIST, mnist_data; FashionMNIST, fashion-mnist."""
    return re.sub("[^a-z]", "", text.lower()).startswith(find(name).folders)
