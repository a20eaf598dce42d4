"""Load a data set from the first source that has it, and verify it by its content hash.

NumPy only. All other modules see a `Dataset` and need not know where it was found.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data import array_files, containers, downloads, embedded_digits, instead, layouts, sets
from mnist_mlp.data.array_files import Arrays, NotFound
from mnist_mlp.data.orientation import is_transposed
from mnist_mlp.data.pixel_values import UnknownScale, to_grey_levels
from mnist_mlp.data.sets import title_of
from mnist_mlp.errors import UserError
from mnist_mlp.files import members
from mnist_mlp.files.archives import names_in
from mnist_mlp.options import path_of

if TYPE_CHECKING:
    from mnist_mlp.config import Config

# `content_hash` of MNIST's splits, from the files whose published MD5 sums tests/data/test_data.py checks.
PUBLISHED = {
    "train": "c6933ea355e91ce62b8b67a9a73cf6eef1d570d09974abb316688b466ff64b2d",
    "test": "869be652a39d7b8e2b50d9277c14e559e86eee849a88879aebdc1dbe056be309",
}
DIGITS = {  # the same for the embedded digits, enlarged
    "train": "222be06846f34ce97cedd94914d98a5c0d7fda91506f2a260acaa963a09ce5c4",
    "test": "ae6491d288e6d0851e85e7a1bfad0bb9e628228206495898f65f38a006d0e946",
}

HELD_OUT = 7  # without a test split, one image in seven of each class is held out: MNIST's share, 10,000 of 70,000
KAGGLE_ROWS = 42_000  # with labels; the 28,000 in Kaggle's test.csv have none


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, 28, 28], from 0 (background) to 255 (ink), and their labels uint8 [n], 0–9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, their origin, and the warnings that every result must show."""

    name: str  # one of `sets.KNOWN`, or a caller's own
    source: str  # to be read by people, such as "Keras cache"
    train: Split
    test: Split
    notes: tuple[str, ...]  # warnings
    verified: bool  # whether the content hashes are the known ones
    classes: tuple[str, ...] = ()  # their names, if the data name them; () for those that `sets` knows

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes 0 to 9."""
        return self.classes or sets.find(self.name).classes

    def __post_init__(self) -> None:
        """Bring both splits to grey levels 0–255 and labels 0–9. Raise `UserError` for anything that is neither."""
        if len({*self.classes}) not in (0, 10) or len(self.classes) not in (0, 10):
            raise UserError(f"{self.name}: expected the names of ten classes, received {len({*self.classes})}")
        for part in ("train", "test"):
            object.__setattr__(self, part, _as_split(getattr(self, part), f"{part} split of {self.name}"))


def _as_split(split: Split, where: str) -> Split:
    """Return the split with uint8 images [n, 28, 28] and labels [n], by the rule of `pixel_values`."""
    images, labels = np.asarray(split.images), np.asarray(split.labels)
    if labels.ndim != 1 or images.shape != (len(labels), 28, 28):
        hint = "; for one-hot labels, use labels.argmax(1)" if labels.shape == (len(images), 10) else ""
        raise UserError(
            f"{where}: expected images [n, 28, 28] and labels [n], received {list(images.shape)} and "
            f"{list(labels.shape)}{hint}"
        )
    if not len(labels):
        return split
    try:  # faint images are no riddle among others of a data set
        levels = to_grey_levels(images, each_alone=False)
    except UnknownScale as error:
        raise UserError(f"{where}: image {error.image}: {error}") from None
    array_files.check_labels(labels, where)
    if levels is split.images and labels.dtype == np.uint8:
        return split
    return Split(levels, labels.astype(np.uint8))


def checked_own(own: Dataset | None, needed: Sequence[str] = ("train", "test")) -> Dataset | None:
    """Return a caller's own data set, or None if there is none and another one is to be loaded.

    Raise `UserError` if it is no `Dataset`, or has no images in a split that is `needed`.
    """
    if own is None:
        return None
    if not isinstance(own, Dataset):
        raise UserError(f"dataset: expected a mnist_mlp.data.Dataset, received {type(own).__name__}")
    for part in needed:
        if not len(getattr(own, part)):
            raise UserError(f"{part} split of {own.name}: expected at least one image, received none")
    return own


def load(config: Config) -> Dataset:
    """Load the data set of `--dataset`, `--data_dir` and `--data_source`.

    A directory or source that the user names is used or refused, never skipped. Raise `UserError` if the data are
    missing (`NotFound` if no source has any), damaged, or not the data set that was asked for.
    """
    _check_flags(config)
    if config.dataset == "digits":
        return _digits(())
    name = "mnist" if config.dataset == "auto" else config.dataset
    if config.data_dir:
        found = _find(name, path_of("data_dir", config.data_dir), config.data_source)
        return _read(name, found, or_kaggle=config.dataset == "auto")
    failures: list[UserError] = []
    notes: list[str] = []
    for source, read in _sources(name, config.data_source):
        try:
            return _assembled(name, source, containers.Contents(read(), tuple(notes)))
        except UserError as error:
            failures.append(error)
            if not isinstance(error, NotFound):  # it exists and is damaged, which the user should know
                notes.append(f"skipped {source}: {error}")
    reasons = "; ".join(map(str, failures))
    if config.dataset == "auto" and config.data_source == "auto":
        notes.append(
            "MNIST was not found on disk and could not be downloaded, so this run uses the embedded digits; its "
            f"accuracy is not MNIST accuracy; for MNIST, use --data_dir=DIR with its four files ({reasons})"
        )
        return _digits(tuple(notes))
    kind = NotFound if all(isinstance(error, NotFound) for error in failures) else UserError
    raise kind(
        f"--dataset={config.dataset} --data_source={config.data_source}: expected {name}, found none "
        f"({reasons}); try --data_dir=DIR, a directory that holds it, or --dataset=digits"
    )


def _check_flags(config: Config) -> None:
    """Raise `UserError` for flags that contradict each other."""
    source, directory = config.data_source, config.data_dir
    if config.dataset == "digits" and (directory or source != "auto"):
        given = f"--data_dir={directory}" if directory else f"--data_source={source}"
        raise UserError(
            f"--dataset=digits is embedded and cannot be combined with {given}; omit it, or use --dataset=mnist"
        )
    if sets.find(config.dataset).needs_directory and not directory:
        raise UserError(f"--dataset={config.dataset}: expected a directory to read, received none; add --data_dir=DIR")
    if source == layouts.PICTURES and not (config.dataset in sets.KNOWN and sets.find(config.dataset).of_pictures):
        raise UserError(
            f"--data_source={source}: expected a data set of your own, received --dataset={config.dataset}; "
            "use --dataset=custom"
        )
    if source == "keras" and config.dataset in sets.KNOWN and not sets.find(config.dataset).keras:
        raise UserError(f"--data_source=keras: Keras has no {config.dataset}; use --data_dir=DIR, or another source")
    if source in layouts.FORMATS and source != layouts.TFDS and not directory:
        raise UserError(f"--data_source={source}: expected a directory to read, received none; add --data_dir=DIR")
    if source in ("keras", "download") and directory:
        raise UserError(
            f"--data_source={source} reads its own directory and cannot be combined with --data_dir={directory}; "
            "use only one of the two"
        )


ANOTHER = "try another directory with --data_dir=DIR"


def _find(name: str, directory: Path, wanted: str) -> layouts.Found:
    """Return where the data are in a directory or file that the user named. Raise `UserError` if there are none.

    Data in the directory itself come first, then those in folders below it, then those in its archives, if these hold
    one data set only.
    """
    flag = f"--data_dir={directory}"
    formats = layouts.FORMATS if wanted == "auto" else (wanted,)
    if directory.is_file():
        return _find_in_file(name, directory, formats)
    try:
        contents = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        received = instead.of_file(directory) if directory.exists() else str(error.strerror).lower()
        raise UserError(f"{flag}: expected a directory or a file, received {received}; {ANOTHER}") from None
    here = [each for each in layouts.in_directory(name, directory) if each.format in formats]
    if len(here) > 1 and here[-1].format == layouts.PICTURES:
        raise UserError(
            f"{flag}: expected one data set, received {here[0]} and folders of pictures; choose one with "
            f"--data_source={here[0].format} or --data_source={layouts.PICTURES}"
        )
    found = here[:1]
    if not found and not array_files.find_idx(directory, name):  # some of the four are meant, and the others missing
        found = layouts.below(name, directory, formats) or layouts.packed_in(name, directory, formats)
    if found:
        return _only_one(found, flag)
    if known := instead.of_directory(name, directory, contents):
        received, advice = known
        raise UserError(f"{flag}: expected the images of {title_of(name)}, received {received}; {advice}")
    listed = ", ".join(contents[:5]) + (f" and {len(contents) - 5} more" if len(contents) > 5 else "")
    received = f"{listed}{instead.lead(name, directory, contents)}"
    above = [each for each in layouts.in_directory(name, directory.absolute().parent) if each.format in formats]
    advice = f"try --data_dir={directory.parent}" if above else ANOTHER
    raise UserError(f"{flag}: expected {_described(name, formats)}, received {received}; {advice}")


def _only_one(found: Sequence[layouts.Found], flag: str) -> layouts.Found:
    """Return the only one of what was found. Raise `UserError` for several data sets."""
    if len(found) > 1:
        places = ", ".join(f"{each.path}/{each.folder}".rstrip("/") for each in found[:4]) + ", …" * (len(found) > 4)
        raise UserError(f"{flag}: expected one data set, received {len(found)} ({places}); name one of them")
    return found[0]


def _find_in_file(name: str, file: Path, formats: Sequence[str]) -> layouts.Found:
    """Return what a file holds. Raise `UserError`, which says what another file is."""
    flag = f"--data_dir={file}"
    if not sets.find(name).any_size and layouts.is_one_of_two(name, file):
        raise UserError(f"{flag}: expected both tables of {title_of(name)}, received one; try --data_dir={file.parent}")
    if found := layouts.in_file(name, file, formats):
        return _only_one(found, flag)
    if members.is_archive(file):
        received, advice = f"an archive with {names_in([each.member for each in members.entries(file)])}", ANOTHER
    elif any(file.name in array_files.spellings(key, name) for key in array_files.IDX_NAMES):
        received, advice = "one of the files", f"try --data_dir={file.parent}"
    else:
        received, advice = instead.of_file(file), ANOTHER
    raise UserError(f"{flag}: expected a directory with {_described(name, formats)}, received {received}; {advice}")


def _described(name: str, formats: Sequence[str]) -> str:
    """Return what a directory must hold."""
    idx = [array_files.spellings(key, name)[0] for key in array_files.IDX_NAMES]
    what = {
        layouts.IDX: f"the four IDX files ({', '.join(idx)}, plain or .gz)",
        layouts.NPZ: "an .npz file" if sets.find(name).needs_directory else f"{name}.npz",
        layouts.TFDS: f"a TFDS directory of {name}".removesuffix(" of custom"),
        layouts.CSV: "tables such as train.csv and test.csv",
        layouts.PARQUET: "Parquet files such as train-00000-of-00001.parquet",
        layouts.PICTURES: "folders 0 to 9 of pictures" if sets.find(name).of_pictures else "",
    }
    return " or ".join(what[each] for each in formats if what[each])


def _read(name: str, found: layouts.Found, *, or_kaggle: bool) -> Dataset:
    """Read and verify the data set that was found; Kaggle's, where the user accepts it instead of MNIST."""
    try:
        contents = containers.read(name, found)
        if or_kaggle and _is_kaggle(contents.arrays):
            name = "kaggle"
        return _assembled(name, str(found), contents)
    except UserError as error:
        raise UserError(f"{error}; repair it or {ANOTHER}") from error


def _is_kaggle(arrays: Arrays) -> bool:
    """Return whether these are the labelled images of Kaggle's Digit Recognizer, by their number."""
    return "x_test" not in arrays and len(arrays["y_train"]) == KAGGLE_ROWS


def _assembled(name: str, source: str, contents: containers.Contents) -> Dataset:
    """Return what was read as a data set with two splits. Raise `UserError` if no images are for testing."""
    contents = _upright(name, _in_levels(source, contents))
    arrays = contents.arrays
    if name == "kaggle" and not _is_kaggle(arrays):
        others = " and others for testing" * ("x_test" in arrays)
        raise UserError(
            f"{source}: expected the {KAGGLE_ROWS:,} labelled images of Kaggle's train.csv, received "
            f"{len(arrays['y_train']):,}{others}"
        )
    sizes = [shape[0] for key, shape in array_files.shapes_of(name).items() if key.startswith("y")]
    if "x_test" in arrays:
        for part, size in zip(("train", "test"), sizes, strict=True):
            if size not in (None, len(arrays[f"y_{part}"])):
                raise UserError(
                    f"{source}: expected {size:,} images in the {part} split of {title_of(name)}, received "
                    f"{len(arrays[f'y_{part}']):,}"
                )
        return _verified(name, source, contents)
    whole = Split(arrays["x_train"], arrays["y_train"])
    if None not in sizes:
        train, test = (size or 0 for size in sizes)
        if len(whole) == train + test:  # all of it in one table, as OpenML has it: the training images come first
            parts = _cut(whole, np.arange(len(whole)) >= train)
            return _verified(name, source, dataclasses.replace(contents, arrays=parts))
        hint = (
            "; these are the labelled images of Kaggle's Digit Recognizer, a part of MNIST: use --dataset=kaggle"
            if name == "mnist" and _is_kaggle(arrays)
            else ""
        )
        raise UserError(
            f"{source}: expected {train:,} training and {test:,} test images of {title_of(name)} with labels, received "
            f"{len(whole):,} in one table and no other with labels{hint}"
        )
    labels, counts = np.unique(whole.labels, return_counts=True)
    if counts.min() < 2:
        raise UserError(
            f"{source}: expected images for testing, or two images or more of each class, of which one is held out for "
            f"testing; received one of {', '.join(str(label) for label in labels[counts < 2])}"
        )
    parts = _cut(whole, held_out(whole.labels))
    note = (
        f"no images for testing have labels, so {len(parts['y_test']):,} of the {len(whole):,} that have, one in "
        f"{HELD_OUT} of each class (rounded down, but at least one), were held out for testing"
    )
    return _verified(name, source, dataclasses.replace(contents, arrays=parts, notes=(*contents.notes, note)))


def _in_levels(source: str, contents: containers.Contents) -> containers.Contents:
    """Return the images as grey levels. Raise `UserError` for other numbers, and unless each image has a label."""
    arrays = dict(contents.arrays)
    for part in ("train", "test"):
        x, y = f"x_{part}", f"y_{part}"
        if x not in arrays:
            continue
        if len(arrays[x]) != len(arrays[y]) or not len(arrays[x]):
            raise UserError(
                f"{source}: expected a label for each image, received {len(arrays[x]):,} images and "
                f"{len(arrays[y]):,} labels in the {part} split"
            )
        if arrays[x].dtype != np.uint8 or arrays[x].max() <= 1:
            try:
                arrays[x] = to_grey_levels(arrays[x], each_alone=False)
            except UnknownScale as error:
                raise UserError(f"{source}: image {error.image} of the {part} split: {error}") from None
    return dataclasses.replace(contents, arrays=arrays)


def _upright(name: str, contents: containers.Contents) -> containers.Contents:
    """Return the images upright, with a note if they were not."""
    arrays = contents.arrays
    if not sets.find(name).may_be_transposed or not is_transposed(arrays["x_train"], arrays["y_train"]):
        return contents
    turned = {
        key: np.ascontiguousarray(array.transpose(0, 2, 1)) if key.startswith("x") else array
        for key, array in arrays.items()
    }
    note = "the files have rows and columns of the images exchanged, as EMNIST's do: the images were set upright"
    return dataclasses.replace(contents, arrays=turned, notes=(*contents.notes, note))


def _cut(whole: Split, for_testing: NDArray[np.bool_]) -> Arrays:
    """Return the images as two splits."""
    return {
        **{"x_train": whole.images[~for_testing], "y_train": whole.labels[~for_testing]},
        **{"x_test": whole.images[for_testing], "y_test": whole.labels[for_testing]},
    }


def held_out(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which images are for testing, bool [n]: one in HELD_OUT of each class, drawn with a fixed seed.

    The same table gives the same split everywhere: NumPy keeps the raw numbers of PCG64 from version to version.
    """
    keys = np.random.PCG64(0).random_raw(len(labels))
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        few = max(len(of_class) // HELD_OUT, len(of_class) > 1)
        chosen[of_class[np.argsort(keys[of_class], kind="stable")][:few]] = True
    return chosen


def _sources(name: str, wanted: str) -> Iterator[tuple[str, Callable[[], Arrays]]]:
    """Yield (name, reader) for each source to try if no directory is given, in order."""
    known = sets.find(name)
    if wanted in ("auto", "keras") and known.keras:
        yield "Keras cache", lambda: downloads.read_keras_cache(name)
    if wanted in ("auto", "tfds"):
        yield (
            f"TFDS directory {downloads.tfds_home()}",
            lambda: downloads.read_tfds(name, downloads.tfds_home()),
        )
    if wanted in ("auto", "download"):
        if known.keras:
            yield "downloaded by Keras", lambda: downloads.download("Keras", name)
        yield "downloaded by TFDS", lambda: downloads.download("TFDS", name)


def _verified(name: str, source: str, contents: containers.Contents) -> Dataset:
    """Return what was read as a `Dataset`. Raise `UserError` if its content is not what `name` says."""
    arrays, notes = contents.arrays, contents.notes
    train = Split(arrays["x_train"], arrays["y_train"])
    test = Split(arrays["x_test"], arrays["y_test"])
    received = {"train": content_hash(train), "test": content_hash(test)}
    published = {"mnist": PUBLISHED, "digits": DIGITS}.get(name, {})
    for part, expected in published.items():
        if received[part] != expected:
            raise UserError(
                f"{source}: expected the published {part} split of {name} (content hash "
                f"{expected[:12]}…), received other images or labels (hash {received[part][:12]}…)"
            )
    if published:
        return Dataset(name, source, train, test, notes, verified=True)
    known = sets.find(name)
    for part, split in (("train", train), ("test", test)):
        if received[part] == PUBLISHED[part] and not known.needs_directory:
            raise UserError(f"{source}: expected {known.title}, received MNIST; try --dataset=mnist")
        counts = np.bincount(split.labels, minlength=10)
        if known.balanced and (counts != len(split) // 10).any():
            raise UserError(
                f"{source}: expected {len(split) // 10} images of each class in the {part} split of "
                f"{known.title}, received {', '.join(map(str, counts))}"
            )
        if not counts.all():
            missing = ", ".join(map(str, np.flatnonzero(counts == 0)))
            raise UserError(
                f"{source}: expected images of all ten classes in the {part} split of {known.title}, received none of "
                f"{missing}"
            )
    if known.name == "custom":
        notes = (*notes, *_in_both(train, test))
    classes = contents.classes if contents.classes != known.classes else ()
    if contents.published:
        return Dataset(name, source, train, test, notes, verified=True, classes=classes)
    return Dataset(name, source, train, test, (*notes, _what_was_checked(known)), verified=False, classes=classes)


def _in_both(train: Split, test: Split) -> list[str]:
    """Return a note about test images that are training images, too, pixel by pixel."""
    keys, of_train = _keys(test), _keys(train)
    both = np.isin(keys, of_train)
    if not both.any():
        return []
    same = np.isin(keys + test.labels, of_train + train.labels) & both
    others = f" ({(both & ~same).sum():,} of them with another label)" if (both & ~same).any() else ""
    images = f"{both.sum():,} of the {len(test):,} test images"
    return [f"{images} are training images, too{others}: the network knows them, which flatters the accuracy"]


def _what_was_checked(known: sets.KnownSet) -> str:
    """Return the note about data that are not verified."""
    if known.name == "custom":
        return "these are your own data: only that each image has a label, and each class images, was checked"
    checked = "shapes and class counts were" if known.balanced else "number of images was"
    files = ", and these are not the publisher's files, whose digests are known" if known.published else ""
    return f"{known.title} has no published content hash{files}: only its {checked} checked"


def _digits(notes: tuple[str, ...]) -> Dataset:
    """Load the embedded digits: 1,437 for training and 360 for testing."""
    try:
        return _verified("digits", "embedded", containers.Contents(embedded_digits.load(), notes))
    except (OSError, ValueError, UserError) as error:
        raise UserError(
            f"{embedded_digits.FILE}: the embedded digits are damaged ({error}); reinstall mnist_mlp"
        ) from error


def content_hash(split: Split) -> str:
    """Return the SHA-256 (hex) of the examples, each image with its label, independent of their order."""
    # Sort the examples by a key that depends on nothing but their content, then hash them. It need not be strong:
    # SHA-256 covers every byte, and two different examples with equal keys (probability about 1e-10 for 60,000) could
    # only make equal data look different, never the reverse. This takes half the time of one SHA-256 per example: 60 ms
    # for 60,000.
    order = np.argsort(_keys(split) + split.labels, kind="stable")
    digest = hashlib.sha256()
    for start in range(0, len(split), 1024):  # chunks that fit into the CPU's cache
        chunk = order[start : start + 1024]
        digest.update(split.images[chunk].data)
    digest.update(split.labels[order].data)
    return digest.hexdigest()


def _keys(split: Split) -> NDArray[np.uint64]:
    """Return a number for each image, [n]: a 64-bit sum of its words of pixels times fixed random odd numbers."""
    words = np.ascontiguousarray(split.images).reshape(len(split), 784).view("<u8")
    factors: NDArray[np.uint64] = np.random.PCG64(0).random_raw(words.shape[1]) | np.uint64(1)
    return words @ factors


def in_order_hash(split: Split) -> str:
    """Return the SHA-256 (hex) of images and labels in their order: if equal, an index means the same example."""
    digest = hashlib.sha256(np.ascontiguousarray(split.images).data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
