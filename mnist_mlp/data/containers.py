"""Read a data set from what holds it: IDX files, .npz, tables (CSV, Parquet), pictures, or a directory of TFDS.

All give the same: arrays by the keys of SHAPES. Without `x_test` and `y_test`, there were labelled images of one kind
only; the caller decides whether some of them may be held out for testing. A further kind of container is a format that
`layouts` finds, and a reader here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from mnist_mlp.data import array_files, downloads, npz_keys, parquet_files, sets, tables
from mnist_mlp.data.array_files import Arrays
from mnist_mlp.data.layouts import CSV, IDX, NPZ, PARQUET, PICTURES, TFDS, Found
from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import names_in, reading
from mnist_mlp.files.members import Entry

WANTED_CLASSES = "the names of the ten classes, each on a line, at most 40 characters"
LONGEST_CLASSES = 10_000  # bytes of a classes.txt


@dataclasses.dataclass(frozen=True)
class Contents:
    """The arrays of a data set, what should be known about them, and the names of the classes, if given."""

    arrays: Arrays
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    published: bool = False  # whether the files have the digests that are known of the publisher's


def read(name: str, found: Found) -> Contents:
    """Return what the data set `name` has where it was found. Raise `UserError`."""
    readers: dict[str, Callable[[str, Found], Contents]] = {
        **{IDX: _read_idx, NPZ: _read_npz, CSV: _read_csv, PARQUET: _read_parquet},
        **{TFDS: _read_tfds, PICTURES: _read_pictures},
    }
    contents = readers[found.format](name, found)
    return dataclasses.replace(contents, classes=_classes_beside(found.path) or contents.classes)


def _classes_beside(path: Path) -> tuple[str, ...]:
    """Return the names in a file classes.txt beside the data, one a line; () without one. Raise `UserError`."""
    file = (path if path.is_dir() else path.parent) / "classes.txt"
    if not file.is_file():
        return ()
    with reading(file, WANTED_CLASSES):
        with file.open("rb") as stream:
            text = stream.read(LONGEST_CLASSES).decode("utf-8-sig")
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
        if len(names) != 10 or len({*names}) < 10 or not all(len(name) <= 40 and name.isprintable() for name in names):
            raise UserError(f"{file}: expected {WANTED_CLASSES}, received {len(names)} lines: {names_in(names)}")
    return names


def _read_tfds(name: str, found: Found) -> Contents:
    arrays = downloads.read_tfds(name, found.path)
    return Contents(arrays, classes=downloads.tfds_classes(name, found.path))


def _read_idx(name: str, found: Found) -> Contents:
    files = {key: entries[0] for key, entries in found.files.items()}
    arrays = array_files.read_idx_files(files, array_files.shapes_of(name))
    return Contents(arrays, published=are_published(name, found.path, files.values()))


def are_published(name: str, path: Path, files: Iterable[Entry]) -> bool:
    """Return whether these files, or the archive `path` that holds them, are byte for byte the publisher's."""
    known = sets.find(name).published
    archive = Entry(path)
    if archive.name in known and path.is_file():
        return _digest(archive, known[archive.name]) == known[archive.name]
    return all(file.name in known and _digest(file, known[file.name]) == known[file.name] for file in files)


def _digest(file: Entry, like: str) -> str:
    """Return the digest (hex) of a file, of the kind that `like` is: MD5 or SHA-256."""
    digest = hashlib.md5(usedforsecurity=False) if len(like) == 32 else hashlib.sha256()
    with file.open() as (stream, _):
        while piece := stream.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _read_npz(name: str, found: Found) -> Contents:
    shapes = array_files.shapes_of(name)
    if found.files.keys() == shapes.keys():  # each array in a file of its own
        return Contents({key: npz_keys.read_only_array(key, file) for key, (file,) in found.files.items()})
    (file,) = found.files["all"]
    return Contents(npz_keys.read_npz_parts(file, shapes))


def _read_csv(name: str, found: Found) -> Contents:
    """Read one table, or one for each split. A table for testing without labels is left out, and a note says so."""
    arrays: Arrays = {}
    notes: tuple[str, ...] = ()
    for part, (file,) in found.files.items():
        if part == "test":
            with _text_of(file) as text:
                if not tables.has_labels(text, str(file)):
                    notes = (f"{file.name} has no labels, so it is not used",)
                    continue
        with _text_of(file) as text:
            table = tables.read_csv(text, str(file))
        if table.labels is None:
            first = table.images[:, 0, 0].max()  # a corner, which is blank in most images, or labels
            missing = "the labels" if not 1 < first <= 9 else "a pixel of each image, or the labels,"
            raise UserError(
                f"{file}: expected rows of a label and 28×28 pixels, received {tables.PIXELS} columns, so "
                f"{missing} are missing"
            )
        split = "test" if part == "test" else "train"
        arrays[f"x_{split}"], arrays[f"y_{split}"] = table.images, table.labels
    return Contents(arrays, notes)


@contextlib.contextmanager
def _text_of(file: Entry) -> Iterator[IO[bytes]]:
    """Open a text, plain or packed with gzip."""
    with reading(file.path, "a CSV table", file), file.open() as (stream, _):
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        yield gzip.GzipFile(fileobj=stream) if packed else stream  # type: ignore[misc]


def _read_parquet(name: str, found: Found) -> Contents:
    arrays: Arrays = {}
    classes: tuple[str, ...] = ()
    for part, files in found.files.items():
        split = "test" if part == "test" else "train"
        arrays[f"x_{split}"], arrays[f"y_{split}"], classes = parquet_files.read_parquet(_in_order(files))
    return Contents(arrays, (), classes)


def _read_pictures(name: str, found: Found) -> Contents:
    from mnist_mlp.data import picture_folders  # here, since Pillow takes a while

    arrays, notes = picture_folders.read(found, _classes_beside(found.path) or sets.DIGITS)
    return Contents(arrays, tuple(notes))


def _in_order(files: Sequence[Entry]) -> list[Entry]:
    """Return the shards of a split in their order. Raise `UserError` if one is missing."""
    ordered = sorted(files, key=lambda file: parquet_files.shard_of(file.name)[1])
    _, _, count = parquet_files.shard_of(ordered[0].name)
    present = {parquet_files.shard_of(file.name)[1] for file in ordered}
    if missing := sorted({*range(count)} - present):
        raise UserError(
            f"{ordered[0]}: expected {count} files that make the split, received {len(present)}: number {missing[0]} "
            "is missing"
        )
    return ordered
