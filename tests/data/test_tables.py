"""Tables of images: every spelling of the same numbers gives the same images; any other text gives one line."""

import gzip
import io
import time

import numpy as np
import pytest

from mnist_mlp.data import tables
from mnist_mlp.data.embedded_digits import load
from mnist_mlp.data.tables import read_csv
from mnist_mlp.errors import UserError

DIGITS = load()
IMAGES, LABELS = DIGITS["x_test"][:60], DIGITS["y_test"][:60]
HEADS = {
    "Kaggle": ["label", *(f"pixel{i}" for i in range(784))],
    "by row and column": ["label", *(f"{row}x{column}" for row in range(1, 29) for column in range(1, 29))],
    "none": [],
}


def rows(images=IMAGES, labels=LABELS):
    """The fields of each line as text, the label first."""
    return [[str(label), *map(str, image.ravel())] for image, label in zip(images, labels, strict=True)]


def text(lines, separator=",", end="\n"):
    return end.join(separator.join(fields) for fields in lines) + end


def read(content):
    return read_csv(io.BytesIO(content.encode() if isinstance(content, str) else content), "a.csv")


def refusal(content):
    with pytest.raises(UserError) as raised:
        read(content)
    message = str(raised.value)
    assert message.startswith("a.csv") and "\n" not in message and len(message) < 400
    return message


SPELLINGS = {
    **{f"header: {name}": text([head, *rows()] if head else rows()) for name, head in HEADS.items()},
    "label last, as OpenML": text([[*HEADS["Kaggle"][1:], "class"], *([*row[1:], row[0]] for row in rows())]),
    "byte order mark": "\ufeff" + text([HEADS["Kaggle"], *rows()]),
    "byte order mark, no header": "\ufeff" + text(rows()),
    "Windows' line ends": text([HEADS["Kaggle"], *rows()], end="\r\n"),
    "old Macs' line ends": text([HEADS["Kaggle"], *rows()], end="\r"),
    "no last line end": text(rows()).rstrip("\n"),
    "empty lines": "\n\n" + text([HEADS["Kaggle"], *rows()], end="\n\n  \n"),
    "quotes": text([[f'"{field}"' for field in row] for row in [HEADS["Kaggle"], *rows()]]),
    "quoted numbers without a header": text([[f'"{field}"' for field in row] for row in rows()]),
    "semicolons": text(rows(), separator=";"),
    "tabs": text(rows(), separator="\t"),
    "spaces after commas": text(rows(), separator=", "),
    "floats": text([[f"{field}.0" for field in row] for row in rows()]),
    "one float among whole numbers": text([*rows()[:-1], [f"{field}.0" for field in rows()[-1]]]),
    "leading zeros": text([[f"{field:>04}" for field in row] for row in rows()]),
    "ink": text([[row[0], *(repr(int(field) / 255) for field in row[1:])] for row in rows()]),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_spellings_of_the_same_table(case):
    table = read(SPELLINGS[case])
    np.testing.assert_array_equal(table.images, IMAGES)
    np.testing.assert_array_equal(table.labels, LABELS)
    assert table.images.dtype == table.labels.dtype == np.uint8


@pytest.mark.parametrize("size", [4_000, 5_000, 9_999])
def test_lines_that_are_cut_by_pieces(monkeypatch, size):
    monkeypatch.setattr(tables, "PIECE", size)
    for case in (
        "header: Kaggle",
        "Windows' line ends",
        "old Macs' line ends",
        "empty lines",
        "floats",
        "no last line end",
    ):
        np.testing.assert_array_equal(read(SPELLINGS[case]).images, IMAGES)


def test_pixels_alone_are_a_table_without_labels():
    table = read(text([HEADS["Kaggle"][1:], *(row[1:] for row in rows())]))
    np.testing.assert_array_equal(table.images, IMAGES)
    assert table.labels is None
    for content, has in ((SPELLINGS["header: Kaggle"], True), (text([row[1:] for row in rows()]), False)):
        assert tables.has_labels(io.BytesIO(content.encode()), "a.csv") == has


def changed(row, column, field):
    """A table with one other field, as a text."""
    lines = [HEADS["Kaggle"], *rows()]
    lines[row] = [*lines[row][:column], *([field] if field is not None else []), *lines[row][column + 1 :]]
    return text(lines)


REFUSED = {
    "783 pixels": (
        text([row[:-1] for row in [HEADS["Kaggle"], *rows()]]),
        "line 1: expected a label and 784 pixels, received a label and 783 columns",
    ),
    "783 columns": (text([row[:-2] for row in rows()]), "line 1: expected 785 columns"),
    "786 columns": (
        text([[*row, "0"] for row in rows()]),
        "expected 785 columns (a label and 28×28 pixels) or 784 (pixels alone), received 786",
    ),
    "an index of pandas": (
        text([["", *HEADS["Kaggle"]], *(["7", *row] for row in rows())]),
        "the column '' numbers the rows: write the table without it",
    ),
    "a label of 10": (changed(8, 0, "10"), "line 9: expected a label 0–9, received 10"),
    "a label of 1.5": (changed(8, 0, "1.5"), "line 9: expected a label 0–9, received 1.5"),
    "nan": (changed(3, 100, "nan"), "line 4: expected numbers 0–255 or 0–1, received nan"),
    "infinity": (changed(3, 100, "-inf"), "line 4: expected numbers 0–255 or 0–1, received -inf"),
    "an empty field": (changed(3, 100, ""), "line 4: expected numbers, received ''"),
    "a word": (changed(60, 784, "black"), "line 61: expected numbers, received 'black'"),
    "a short line": (changed(60, 784, None), "line 61: expected 785 fields as in the lines before, received 784"),
    "256": (changed(5, 300, "256"), "line 6: expected a whole number from 0 to 255, received 256"),
    "1000": (changed(5, 300, "1000"), "line 6: expected a whole number from 0 to 255, received 1000"),
    "a negative number": (changed(5, 300, "-3"), "line 6: expected a whole number from 0 to 255, received -3"),
    "a fraction beside 255": (changed(5, 300, "0.5"), "expected 0–1, since one of the numbers is not an integer"),
    "a scale up to 16": (
        text(rows(np.minimum(IMAGES, 16))),
        "expected grey levels 0–255 or ink 0–1, received an image whose highest number is 16",
    ),
    "an unclosed quote": (changed(5, 300, '"7'), "line 6: expected 785 fields"),
    "nothing": ("", "received an empty table"),
    "empty lines alone": ("\n\n\n", "received an empty table"),
    "a header alone": (text([HEADS["Kaggle"]]), "received no rows"),
    "UTF-16": (text(rows()).encode("utf-16"), "received UTF-16; save it as UTF-8"),
    "zeros": (bytes(5000), "received more than"),
    "bytes": (bytes(range(256)) * 20, "line 1: expected 785 columns"),
    "words": ("to be, or not\nto be\n", "received 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_texts_are_refused_with_their_line(case, monkeypatch):
    content, reason = REFUSED[case]
    if case == "zeros":
        monkeypatch.setattr(tables, "PIECE", 1000)
    assert reason in refusal(content)


def test_a_table_without_end_is_refused_before_it_is_read(monkeypatch):
    """Ten million rows would need 8 GB."""
    monkeypatch.setattr(tables, "MAX_ROWS", 600)
    line = text(rows(IMAGES[:1], LABELS[:1])).encode()

    class Endless:
        served = 0

        def read(self, size):
            self.served += size
            return (line * (size // len(line) + 1))[: size // len(line) * len(line)]

    stream = Endless()
    with pytest.raises(UserError, match="a.csv: expected at most 600 images, received more; split the table"):
        read_csv(stream, "a.csv")
    assert stream.served <= 2 * tables.PIECE
    assert tables.MAX_ROWS * 784 < 7840 * 10**6  # the limit itself is far below


def test_a_damaged_gzip_file_is_one_line():
    packed = gzip.compress(text(rows()).encode())
    with pytest.raises(UserError, match="a.csv.gz: expected a CSV table, received a damaged file"):
        read_csv(gzip.GzipFile(fileobj=io.BytesIO(packed[:-200])), "a.csv.gz")


def test_every_number_is_read_and_none_above_255():
    """The quick way, against Python's own int."""
    numbers = [*range(256), *range(255, -1, -1), *([0] * 272)]
    line = ",".join(map(str, [3, *numbers])) + "\n"
    form = tables.Form(",", 0)
    found = tables._whole_numbers(line.encode(), form)
    assert found.tolist() == [[3, *numbers]]
    for wrong in (256, 260, 299, 300, 999, 1000, 65536):
        assert tables._whole_numbers(line.replace(",255,", f",{wrong},", 1).encode(), form) is None
    for other in (line.replace(",0,1,", ",,1,", 1), line.replace(",1,", ",-1,", 1), line.replace(",", "\n", 1)):
        assert tables._whole_numbers(other.encode(), form) is None


@pytest.mark.slow
def test_sixty_thousand_rows_take_less_than_three_seconds():
    many = text(rows(np.resize(IMAGES, (2000, 28, 28)), np.resize(LABELS, 2000))).encode() * 30
    began = time.process_time()
    assert len(read(many).images) == 60_000
    assert time.process_time() - began < 3
