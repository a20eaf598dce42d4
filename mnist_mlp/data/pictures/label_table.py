"""Read a table of picture files and their labels: CSV, with commas, semicolons or tabs, with or without a header."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from mnist_mlp.data.pictures import decode
from mnist_mlp.data.pictures.labels import Labels, letters
from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
from mnist_mlp.files.archives import truncated

SUFFIXES = (".csv", ".tsv", ".txt")
MAX_BYTES = 100 * 2**20
START = 100_000  # characters that show the delimiter
FILE_NAMES = ("file", "filename", "path", "picture", "image", "name")  # of columns
LABEL_NAMES = ("label", "class", "digit", "target", "y")
PIXELS = 784

Row = tuple[int, list[str]]  # the number of its last line, and its cells


def read(path: Path, labels: Labels, error: Callable[[str], UserError], most: int) -> list[tuple[str, int]]:
    """Return (file, label) for each row of a table of at most `most` rows; files are relative to the table's folder.

    `error` makes the exception for a message. Raise it for anything else than such a table, and if a file is absent.
    """
    kind = kinds.recognize_path(path)
    if not path.is_file():
        found = "a pipe or a device" if path.exists() else "nothing there"
        raise error(f"expected a folder, a picture or a table (CSV), found {found}")
    if kind not in (None, kinds.CSV, kinds.NUMBERS):
        raise error(f"expected a folder, a picture or a table (CSV), received {kind}")
    if path.suffix.lower() not in SUFFIXES:
        raise error(f"expected a folder, a picture or a table ({', '.join(SUFFIXES)}), received {path.name}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise error(f"expected a table of at most {MAX_BYTES:,} bytes, received {size:,}; try a part of it")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _files_of(path, rows_of(file, labels), labels, error, most)
    except UnicodeDecodeError:
        raise error("expected a table in UTF-8, received another encoding; save it as CSV UTF-8") from None
    except csv.Error as problem:
        raise error(f"expected a table (CSV), received a damaged one: {problem}") from None


def rows_of(file: TextIO, labels: Labels) -> Iterator[Row]:
    """Yield the rows of an open file that are not blank. Raise `csv.Error`."""
    start = file.read(START)
    file.seek(0)
    reader = csv.reader(file, delimiter=delimiter_of(start, labels), strict=True)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def delimiter_of(text: str, labels: Labels) -> str:
    """Return what separates the cells: what makes a header or a label of the first line, else what it has most."""
    start = next((line for line in text.splitlines() if line.strip()), "")

    def score(delimiter: str) -> tuple[bool, int]:
        cells = next(csv.reader([start], delimiter=delimiter), [])
        known = is_header(cells) or (len(cells) > 1 and any(labels.read(cell) is not None for cell in cells))
        return known, len(cells)

    return max(",;\t", key=score)


def is_header(cells: list[str]) -> bool:
    """Return whether a row has the names of both columns."""
    names = [letters(cell) for cell in cells]
    return any(name in FILE_NAMES for name in names) and any(name in LABEL_NAMES for name in names)


def _files_of(
    path: Path, rows: Iterator[Row], labels: Labels, error: Callable[[str], UserError], most: int
) -> list[tuple[str, int]]:
    first = next(rows, None)
    if first is None:
        raise error("expected a table of files and labels, received an empty one")
    second = next(rows, None)
    (of_file, of_label), header = _columns(first, second, labels, error)
    width = len(first[1])
    found: list[tuple[str, int]] = []
    wrong: list[str] = []
    absent: list[str] = []
    for line, cells in _chained([] if header else [first], [second] if second else [], rows):
        if len(cells) != width:
            raise error(f"line {line}: expected {width} cells as in the lines before, received {len(cells)}")
        file, label = os.path.join(path.parent, cells[of_file].strip()), labels.read(cells[of_label])
        if label is None:
            wrong.append(f"{truncated(cells[of_label], 40)!r} in line {line}")
        elif not _is_file(file):
            absent.append(f"{truncated(cells[of_file], 200)} (line {line})")
        else:
            found.append((file, label))
        if len(found) + len(wrong) + len(absent) > most:
            raise error(f"expected at most {most:,} rows, received more; try a part of them")
    if wrong:
        raise error(f"expected labels {labels.expected}, received {_first(wrong)}")
    if absent:
        raise error(f"expected files that exist, relative to the table's folder, received {_first(absent)}")
    if not found:
        raise error("expected a table of files and labels, received its header alone")
    return found


def _chained(*parts: Iterator[Row] | list[Row]) -> Iterator[Row]:
    for part in parts:
        yield from part


def _columns(
    first: Row, second: Row | None, labels: Labels, error: Callable[[str], UserError]
) -> tuple[tuple[int, int], bool]:
    """Return the columns of the file and of the label, and whether the first row is a header."""
    cells = first[1]
    if is_header(cells):
        names = [letters(cell) for cell in cells]
        file, label = (
            next(index for index, name in enumerate(names) if name in known) for known in (FILE_NAMES, LABEL_NAMES)
        )
        return (file, label), True
    if len(cells) >= PIXELS:
        raise error("expected a table of files and labels, received one of pixels; give it to train --data_dir")
    if len(cells) != 2:
        raise error(
            f"expected a table of two columns, file and label, or more under a header with these names; received "
            f"{len(cells)} column{'s' * (len(cells) > 1)}"
        )
    has_file = any(cell.strip().lower().endswith(decode.SUFFIXES) for cell in cells)
    if second and not has_file and all(labels.read(cell) is None for cell in cells):  # a header in other words
        return _order(second[1], labels), True
    return _order(cells, labels), False


def _order(cells: list[str], labels: Labels) -> tuple[int, int]:
    """Return the columns of the file and of the label by a row: the file first, unless that is a label."""
    swapped = len(cells) == 2 and labels.read(cells[0]) is not None and labels.read(cells[1]) is None
    return (1, 0) if swapped else (0, 1)


def _is_file(path: str) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # a null byte
        return False


def _first(what: list[str]) -> str:
    also = "" if len(what) == 1 else f" and {len(what) - 1:,} other{'s' * (len(what) > 2)}"
    return f"{what[0]}{also}"
