"""Read tables of images: CSV with one image a row, as Kaggle and OpenML have MNIST.

A row has a label and 28×28 pixels, or the pixels alone. A header may say which column is the label; without one it is
the first. The text is read in pieces, so memory grows with the images and not with the text. Any bytes give a table or
one `UserError` that names the file and the line.
"""

from __future__ import annotations

import csv
import dataclasses
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data.pixel_values import UnknownScale, to_grey_levels
from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import MAX_BYTES, reason_of, truncated

PIXELS = 784
PIECE = 2**20  # bytes that are read at once; a line must be shorter
MAX_ROWS = MAX_BYTES // PIXELS  # 1.4 million images
LABELS = ("label", "labels", "class", "target", "digit", "y")  # what a header calls the label
NEW_LINE = 10


@dataclasses.dataclass(frozen=True)
class Table:
    """The images of a table, uint8 [n, 28, 28], 0–255, and their labels, uint8 [n], 0–9; None if it has none."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None


@dataclasses.dataclass(frozen=True)
class Form:
    """How the rows of a table are written; `label` is the index of its column, None without labels."""

    separator: str
    label: int | None

    @property
    def columns(self) -> int:
        return PIXELS + (self.label is not None)


def has_labels(stream: IO[bytes], where: str) -> bool:
    """Return whether the rows of a table have labels. Only its beginning is read."""
    for line, text in _pieces(stream, where):
        form, _, _ = _head(text, line, where)
        if form:
            return form.label is not None
    raise UserError(f"{where}: expected rows of images, received an empty table")


def read_csv(stream: IO[bytes], where: str) -> Table:
    """Return the table in an unpacked text; `where` names it in messages. Raise `UserError`.

    Fields are whole numbers 0–255, or ink 0–1, separated by commas, semicolons or tabs. Quotes, empty lines, a byte
    order mark, and Windows' or old Macs' line ends make no difference. At most MAX_ROWS rows are read.
    """
    form: Form | None = None
    rows = 0
    pixels: list[NDArray[Any]] = []  # of each piece, uint8 or float32 [rows, 784]
    labels: list[NDArray[np.uint8]] = []
    lines: list[NDArray[np.int64]] = []  # of the file, from 1; of each row its line
    for line, text in _pieces(stream, where):
        if form is None:
            form, line, text = _head(text, line, where)
        if form is None or not text:
            continue
        numbers = _whole_numbers(text, form)
        at: NDArray[Any] = np.arange(line, line + text.count(b"\n"))
        if numbers is None:
            numbers, at = _any_numbers(text, form, line, where)
        rows += len(numbers)
        if rows > MAX_ROWS:
            raise UserError(f"{where}: expected at most {MAX_ROWS:,} images, received more; split the table")
        lines.append(at)
        if form.label is None:
            pixels.append(numbers)
            continue
        labels.append(_checked_labels(numbers[:, form.label], at, where))
        pixels.append(np.delete(numbers, form.label, axis=1))
    if form is None or not rows:
        raise UserError(f"{where}: expected rows of images, received {'no rows' if form else 'an empty table'}")
    images = _grey_levels(np.concatenate(pixels), lines, where)
    return Table(images.reshape(-1, 28, 28), np.concatenate(labels) if labels else None)


def _pieces(stream: IO[bytes], where: str) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines that end with \\n), without a byte order mark."""
    line, rest, start = 1, b"", True
    while True:
        try:
            piece = stream.read(PIECE)
        except (OSError, EOFError, ValueError, zlib.error) as error:  # of gzip and zip, which the stream unpacks
            raise UserError(f"{where}: expected a CSV table, received a damaged file ({reason_of(error)})") from error
        text = rest + piece
        if start:
            if text.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UserError(f"{where}: expected a CSV table in UTF-8, received UTF-16; save it as UTF-8")
            text, start = text.removeprefix(b"\xef\xbb\xbf"), False
        text, held = (text[:-1], b"\r") if piece and text.endswith(b"\r") else (text, b"")  # a \n may follow
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not piece:
            if text:
                yield line, text + b"\n"
            return
        end = text.rfind(b"\n") + 1
        rest = text[end:] + held
        if len(rest) > PIECE:
            raise UserError(f"{where}, line {line}: expected an image a line, received more than {PIECE:,} bytes")
        if end:
            yield line, text[:end]
            line += text.count(b"\n", 0, end)


def _head(text: bytes, line: int, where: str) -> tuple[Form | None, int, bytes]:
    """Return the form that the first row or the header shows, and the rows that follow with the line of the first.

    None for the form if there are only empty lines.
    """
    while text:
        first, _, after = text.partition(b"\n")
        if first.strip():
            break
        text, line = after, line + 1
    else:
        return None, line, b""
    separator = max(",;\t", key=lambda each: first.count(each.encode()))
    names = _fields(first, separator)
    header = not all(map(_is_number, names))
    label: int | None = 0 if len(names) > PIXELS else None
    if header:
        known = [index for index, name in enumerate(names) if name.strip().lower() in LABELS]
        label = known[0] if known else label
    form = Form(separator, label)
    if len(names) != form.columns:
        raise _wrong_columns(names, line, where)
    return (form, line + 1, after) if header else (form, line, text)


def _wrong_columns(names: Sequence[str], line: int, where: str) -> UserError:
    """Return the error for a first line with too few or too many fields."""
    advice = "images are 28×28 pixels, row by row"
    if names and names[0].strip().lower() in ("", "id", "index", "unnamed: 0"):
        advice = f"the column {names[0].strip()!r} numbers the rows: write the table without it"
    expected = f"{PIXELS + 1} columns (a label and 28×28 pixels) or {PIXELS} (pixels alone)"
    received = f"{len(names):,}"
    if any(name.strip().lower() in LABELS for name in names):
        others = len(names) - 1
        expected, received = f"a label and {PIXELS} pixels", f"a label and {others:,} column{'s' * (others != 1)}"
        if others == 1:
            advice = "a table of picture files and labels is scored by evaluate --images"
    return UserError(f"{where}, line {line}: expected {expected}, received {received}; {advice}")


def _whole_numbers(text: bytes, form: Form) -> NDArray[np.uint8] | None:
    """Return lines of whole numbers 0–255 as uint8 [rows, columns]; None if anything else is in them.

    Every byte of the text is treated alike, so that NumPy's loops over bytes do all of the work: first the number that
    ends at each byte is computed, then those before a separator are taken. 110 MB take half a second.
    """
    rows = text.count(b"\n")
    fields = rows * form.columns
    if rows + text.count(form.separator.encode()) != fields:
        return None
    raw = np.frombuffer(b"\n\n\n" + text, np.uint8)  # so that three bytes precede each
    digits = raw - np.uint8(48)
    is_digit = digits <= 9
    ends = np.flatnonzero(~is_digit[3:])  # [fields]
    if len(ends) != fields or (raw[3:][ends[form.columns - 1 :: form.columns]] != NEW_LINE).any():
        return None
    tens = is_digit[1:-2]  # whether the last byte but one before each byte is a digit, while the last one is
    hundreds = is_digit[:-3] & tens
    low = digits[2:-1] + digits[1:-2] * np.uint8(10) * tens
    high = digits[:-3] * hundreds
    low, high = low[ends], high[ends]
    no_digit = ~is_digit[2:-1][ends]
    longer = is_digit[3:] & is_digit[2:-1] & hundreds  # the fourth digit of a number, or a later one
    if no_digit.any() or longer.any() or ((high > 2) | ((high == 2) & (low > 55))).any():
        return None
    return (low + high * np.uint8(100)).reshape(rows, form.columns)


def _any_numbers(text: bytes, form: Form, first: int, where: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return lines of any numbers as [rows, columns], uint8 if all are whole and 0–255, else float32; and their lines.

    Empty lines are left out. Raise `UserError` for the first line that is no row of numbers.
    """
    numbered = [(first + index, line) for index, line in enumerate(text.split(b"\n")) if line.strip()]
    at = np.array([number for number, _ in numbered], np.int64)
    whole = _whole_numbers(b"\n".join([*(line for _, line in numbered), b""]), form) if numbered else None
    if whole is not None:
        return whole, at
    values = np.empty((len(numbered), form.columns), np.float32)
    for index, (number, line) in enumerate(numbered):
        fields = _fields(line, form.separator)
        if len(fields) != form.columns:
            raise UserError(
                f"{where}, line {number}: expected {form.columns} fields as in the lines before, received "
                f"{len(fields):,}; the file may be cut off"
            )
        try:
            values[index] = fields
        except ValueError:
            wrong = next(field for field in fields if not _is_number(field))
            raise UserError(
                f"{where}, line {number}: expected numbers, received {truncated(wrong, 40)!r}; correct or remove the "
                "line"
            ) from None
        if not np.isfinite(values[index]).all():
            wrong = fields[int(np.argmin(np.isfinite(values[index])))]
            raise UserError(
                f"{where}, line {number}: expected numbers 0–255 or 0–1, received {truncated(wrong, 40)}; correct or "
                "remove the line"
            )
    if ((values >= 0) & (values <= 255) & (values % 1 == 0)).all():
        return values.astype(np.uint8), at
    return values, at


def _fields(line: bytes, separator: str) -> list[str]:
    """Return the fields of a line, without quotes."""
    text = line.decode("utf-8", "replace").replace("\0", "\ufffd").replace("\r", " ")
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # a field of more than 131,072 characters
        return [text]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _checked_labels(labels: NDArray[Any], lines: NDArray[np.int64], where: str) -> NDArray[np.uint8]:
    """Return labels as uint8. Raise `UserError` unless all are 0–9."""
    wrong = ~((labels >= 0) & (labels <= 9) & (labels % 1 == 0))
    if wrong.any():
        index = int(wrong.argmax())
        raise UserError(
            f"{where}, line {lines[index]}: expected a label 0–9, received {labels[index]:g}; a label is the first "
            "field, or the one that the header calls label"
        )
    return labels.astype(np.uint8)


def _grey_levels(pixels: NDArray[Any], lines: list[NDArray[np.int64]], where: str) -> NDArray[np.uint8]:
    """Return the pixels of all rows as grey levels. Raise `UserError` for a scale that would be a guess."""
    try:
        return to_grey_levels(pixels, each_alone=False)
    except UnknownScale as error:
        line = np.concatenate(lines)[error.image]
        raise UserError(f"{where}, line {line}: {error}") from None
