"""Read a data set from what holds it: IDX files, .npz, tables (CSV, Parquet), or a directory of TFDS.

All give the same: arrays by the keys of SHAPES. Without `x_test` and `y_test`, there were labelled images of one kind
only; the caller decides whether some of them may be held out for testing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from mnist_mlp.data import array_files, downloads, npz_keys, parquet_files, tables
from mnist_mlp.data.array_files import Arrays
from mnist_mlp.data.layouts import CSV, IDX, NPZ, PARQUET, TFDS, Found
from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import reading
from mnist_mlp.files.members import Entry


@dataclasses.dataclass(frozen=True)
class Contents:
    """The arrays of a data set, what should be known about them, and the names of the classes if they are told."""

    arrays: Arrays
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def read(name: str, found: Found) -> Contents:
    """Return what the data set `name` has where it was found. Raise `UserError`."""
    readers: dict[str, Callable[[str, Found], Contents]] = {
        **{IDX: _read_idx, NPZ: _read_npz, CSV: _read_csv, PARQUET: _read_parquet},
        TFDS: lambda name, found: Contents(downloads.read_tfds(name, found.path)),
    }
    return readers[found.format](name, found)


def _read_idx(name: str, found: Found) -> Contents:
    files = {key: entries[0] for key, entries in found.files.items()}
    return Contents(array_files.read_idx_files(files, array_files.shapes_of(name)))


def _read_npz(name: str, found: Found) -> Contents:
    (file,) = found.files["all"]
    return Contents(npz_keys.read_npz_parts(file, array_files.shapes_of(name)))


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
            raise UserError(
                f"{file}: expected rows of a label and 28×28 pixels, received {tables.PIXELS} columns, so the labels "
                "are missing"
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
