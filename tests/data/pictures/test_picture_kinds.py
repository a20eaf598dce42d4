"""The pictures of kinds.py: always the same ones, of every kind, and what they are said to show is there."""

import kinds
import numpy as np
import pytest
from drawing import hands
from PIL import Image

DIGITS = kinds.BUILDING + kinds.KEPT_APART
ROWS = kinds.ROWS_BUILDING + kinds.ROWS_KEPT_APART
NOTHING = kinds.NOTHING_BUILDING + kinds.NOTHING_KEPT_APART


def quick(names):
    return [pytest.param(name, marks=pytest.mark.full if kinds.KINDS[name].slow else ()) for name in names]


@pytest.fixture(scope="module")
def source(digits):
    return kinds.Digits(digits.train.images, digits.train.labels)


def made(name, index, source):
    if not kinds.available(name):
        pytest.skip(f"takes its material from {' and '.join(kinds.KINDS[name].needs)}, which is not installed")
    return kinds.make(name, index, source)


def test_there_are_kinds_enough_and_none_is_in_two_lists():
    assert len(kinds.BUILDING) >= 20 and len(kinds.KEPT_APART) >= 12
    assert len(kinds.NOTHING_BUILDING) >= 6 and len(kinds.NOTHING_KEPT_APART) >= 6
    assert len({*DIGITS, *ROWS, *NOTHING}) == len(DIGITS) + len(ROWS) + len(NOTHING) == len(kinds.KINDS)


def likeness(picture, corners, mark, margin=0.3):
    """Return the correlation of the ink that was drawn with the picture where it should be, without regard to sign."""
    middle = corners.mean(0)
    around = middle + (corners - middle) * (1 + 2 * margin)
    quad = tuple(around[[0, 3, 2, 1]].ravel().tolist())
    size = (40, 40)
    image = picture.image().convert("RGB")
    seen = np.asarray(image.transform(size, Image.Transform.QUAD, quad, Image.Resampling.BILINEAR), float).reshape(
        -1, 3
    )
    inside = np.asarray(Image.new("L", image.size, 255).transform(size, Image.Transform.QUAD, quad)).ravel() > 0
    full = np.pad(mark, [(round(margin * side),) * 2 for side in mark.shape])
    drawn = np.asarray(Image.fromarray(full).resize(size, Image.Resampling.BOX), float).ravel()
    return max(abs(np.corrcoef(channel[inside], drawn[inside])[0, 1]) for channel in seen.T)


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(DIGITS))
def test_the_digit_is_where_it_is_said_to_be(name, source):
    picture = made(name, 13, source)
    assert picture.answer == (3,)
    assert likeness(picture, picture.corners[0], picture.marks[0]) > 0.5, picture.name


@pytest.mark.parametrize("name", quick(ROWS))
def test_digits_of_a_row_stand_in_reading_order(name, source):
    picture = made(name, 4, source)
    assert len(picture.answer) == len(picture.boxes) == 9
    assert all(likeness(picture, *each, 0.0) > 0.4 for each in zip(picture.corners, picture.marks, strict=True))
    lines = [[picture.boxes[0]]]
    for box in picture.boxes[1:]:
        if box[0] > lines[-1][-1][0]:
            lines[-1].append(box)
        else:
            lines.append([box])
    assert len(lines) == (3 if "three" in name else 2 if "two" in name else 1)
    for upper, lower in zip(lines, lines[1:], strict=False):
        assert np.mean([box[3] for box in upper]) < np.mean([box[1] for box in lower])


@pytest.mark.parametrize("name", quick(NOTHING))
def test_pictures_of_no_digit(name, source):
    picture = made(name, 1, source)
    assert picture.answer == () and picture.boxes == []
    assert min(picture.image().size) >= 20


@pytest.mark.slow
def test_an_index_names_one_picture(source, digits):
    again = kinds.Digits(digits.train.images, digits.train.labels)
    for name in ("black_on_white", "sheet_40", "row_turned", "scribbles"):
        first, second = kinds.make(name, 5, source), kinds.make(name, 5, again)
        assert first.data == second.data and first.answer == second.answer
        assert first.data != kinds.make(name, 15, source).data


def test_what_is_written_is_an_image_of_its_class_without_specks(source, digits):
    for label, clean in enumerate(source.clean):
        assert (digits.train.labels[clean] == label).all()
        assert 0.3 < len(clean) / (digits.train.labels == label).sum() <= 0.71
    ring = np.zeros((28, 28), np.uint8)
    ring[6:20, 8:18] = 255
    assert not hands.has_hole(ring)
    ring[9:17, 11:15] = 0
    assert hands.has_hole(ring)
    speck = ring / np.float32(255)
    speck[24, 24] = 1
    np.testing.assert_array_equal(hands.without_specks(speck), ring / np.float32(255))
