"""The reader of pictures on many kinds of them: digits, rows of digits, and what is no digit (see kinds.py)."""

import collections
import io

import kinds
import numpy as np
import pytest
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture
from test_pictures import by_hand

from mnist_mlp.data.pictures import decode, reading, rows, sheets, strokes
from mnist_mlp.errors import UserError

pytestmark = pytest.mark.slow

ONE = {name: kinds.KINDS[name] for name in (*kinds.BUILDING, *kinds.KEPT_APART)}
ROWS = (*kinds.ROWS_BUILDING, *kinds.ROWS_KEPT_APART)
NOTHING = (*kinds.NOTHING_BUILDING, *kinds.NOTHING_KEPT_APART)


@pytest.fixture(scope="module")
def source(mnist):
    return kinds.Digits(mnist.train.images[:10_000], mnist.train.labels[:10_000])


def levels_of(picture):
    return decode.read(io.BytesIO(picture.data), picture.name)


def answer_of(levels, probabilities=None):
    """Return the digit that a picture is read as, -1 if it is refused: by a network, or by the judge alone."""
    try:
        found = reading.digit_in(levels)
        if probabilities is None:
            return found.digit
        p = probabilities(found.image[None])[0]
        reading.check_answer(found, p)
        return int(p.argmax())
    except UserError:
        return -1


def test_one_picture_of_many_kinds(source):
    """Of each third kind of digits and of each fifth kind of other things; before a release, forty of each."""
    wrong, refused = [], []
    names = [name for name in ONE if kinds.available(name) and not (ONE[name].slow or ONE[name].may_refuse)][::3]
    for number, name in enumerate(names):
        picture = kinds.make(name, 50 + number % 10, source)
        answer = answer_of(levels_of(picture))
        wrong += [picture.name] if answer not in (*picture.answer, -1) else []
        refused += [picture.name] if answer == -1 else []
    assert len(wrong) <= 1 and len(refused) <= 4, (wrong, refused)
    others = [name for name in NOTHING[::5] if kinds.available(name)]
    answered = [name for name in others if answer_of(levels_of(kinds.make(name, 50, source))) >= 0]
    assert len(answered) <= 1, answered


@pytest.mark.full
def test_forty_pictures_of_each_kind(source, mnist_run):  # noqa: F811
    """By the network of a run: of the kinds that the reader was built on, 95% correct; of all, 2% wrong; of what is no
    digit, one in ten answered."""

    def network(images):
        return by_hand(mnist_run, images)

    counts = {}
    for name in (name for name in ONE if kinds.available(name)):
        pictures = [kinds.make(name, index, source) for index in range(8 if ONE[name].slow else 40)]
        answers = [answer_of(levels_of(picture), network) for picture in pictures]
        counts[name] = collections.Counter(
            "refused" if answer == -1 else "correct" if (answer,) == picture.answer else "wrong"
            for answer, picture in zip(answers, pictures, strict=True)
        )
        print(f"{name:28s} {dict(counts[name])}")
    total = sum(counts.values(), collections.Counter())
    assert total["wrong"] <= 0.02 * total.total() and total["correct"] >= 0.9 * total.total(), total
    built_on = sum((counts[name] for name in kinds.BUILDING), collections.Counter())
    assert built_on["correct"] >= 0.95 * built_on.total(), built_on
    for name, row in counts.items():
        assert row["wrong"] <= (0.3 if name == "filled_button" else 0.15) * row.total(), (name, row)
    names = [name for name in NOTHING if kinds.available(name)]
    answered = {}
    for name in names:
        answered[name] = sum(answer_of(levels_of(kinds.make(name, index, source)), network) >= 0 for index in range(25))
        print(f"{name:28s} {answered[name]} of 25 answered")
    assert sum(answered.values()) <= 0.1 * 25 * len(names), answered


def test_rows_are_read_in_order(source, full):
    """Line by line, each from the left, however the lines are turned; the judge's digits stand for the network's."""
    right = total = 0
    for name in ROWS:
        for index in range(20 if full else 1):
            picture = kinds.make(name, index, source)
            found = tuple(each.digit for each in reading.digits_in(levels_of(picture)))
            right += found == picture.answer
            total += 1
    assert right >= 0.85 * total, (right, total)


def test_lines_of_boxes():
    """Three digits rise to the right above three that do the same; heights differ."""
    boxes = np.array([[60 + row * 100 - 9 * x, 100 + row * 100 - 9 * x - 8 * (x % 2), 50 * x, 50 * x + 30]
                      for row in (0, 1) for x in range(6)])  # fmt: skip
    mixed = np.random.default_rng(0).permutation(12)
    lines, slope = rows.lines_of(boxes[mixed])
    assert [[int(mixed[index]) for index in line] for line in lines] == [list(range(6)), list(range(6, 12))]
    assert slope == pytest.approx(-9 / 50, abs=0.02)
    assert rows.lines_of(np.empty((0, 4), int)) == ([], 0.0)


def test_a_line_goes_on_across_a_wide_gap():
    boxes = np.array([[0, 40, x, x + 25] for x in (0, 30, 60, 400, 430)] + [[60, 100, x, x + 25] for x in (0, 420)])
    lines, _ = rows.lines_of(boxes)
    assert lines == [[0, 1, 2, 3, 4], [5, 6]]


@pytest.mark.parametrize("turn", [-10, 0, 7])
def test_a_sheet_is_found_and_straightened(turn):
    from PIL import Image, ImageDraw

    picture = Image.new("L", (400, 300), 90)
    sheet = Image.new("L", (200, 150), 230)
    ImageDraw.Draw(sheet).rectangle([90, 20, 110, 130], fill=20)  # its middle
    mask = Image.new("L", sheet.size, 255).rotate(turn, expand=True)
    picture.paste(sheet.rotate(turn, expand=True), (90, 60), mask)
    (found,) = [each for each in sheets.sheets_in(np.asarray(picture, np.float32)) if each.light]
    height, width = found.levels.shape
    assert width / height == pytest.approx(4 / 3, rel=0.06) and width > 150
    assert (found.levels[:, : width // 3] > 200).all() and (found.levels[:, -width // 3 :] > 200).all()
    assert found.levels[height // 2, width // 2] < 60
    upright = (found.levels[height // 4 : -height // 4] < 100).sum(0)  # a stroke that still leans covers more columns
    assert np.ptp(upright[upright > 0]) <= height // 8 or (upright > 0).sum() <= 25


def test_a_picture_without_a_sheet_has_none():
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    for inside in (x**2 + y**2 < 0.4, abs(x) < 0.05, np.full_like(x, False, bool)):  # a disc, a stroke, nothing
        assert sheets.sheets_in(np.where(inside, 30, 220).astype(np.float32)) == []


def test_parts_of_a_digit_belong_together():
    ink = np.zeros((100, 100), np.float32)
    ink[30:80, 30:60] = 1
    ink[22:26, 55:75] = 1  # the bar of a 5, near
    ink[5:8, 5:95] = 1  # a line, far
    pieces = strokes.pieces_of(ink)
    groups = [sorted(int(pieces.areas[index]) for index in group) for group in strokes.groups_of(pieces)]
    assert [80, 1500] in groups and [270] in groups
    assert not any({270, 1500} <= set(group) for group in groups)


def test_a_refusal_says_what_was_seen(source):
    def refusal(levels):
        with pytest.raises(UserError) as caught:
            reading.digit_in(levels)
        return str(caught.value)

    rng = np.random.default_rng(0)
    assert "without any ink" in refusal(np.full((200, 200), 255, np.float32))
    cross = np.full((200, 200), 255, np.float32)
    cross[95:105, 40:160] = cross[40:160, 95:105] = 0
    assert "a drawing that looks like none" in refusal(cross) and "dark ink on the whole picture" in refusal(cross)
    assert "expected" in refusal(rng.uniform(0, 255, (200, 200)).astype(np.float32))


def test_the_network_and_the_judge_must_not_both_doubt(source):
    found = reading.digit_in(levels_of(kinds.make("black_on_white", 3, source)))
    sure = np.full(10, 0.01)
    sure[found.digit] = 0.91
    reading.check_answer(found, sure)
    with pytest.raises(UserError, match="the network takes for a"):
        reading.check_answer(found, sure[::-1] if found.digit != 4 else np.roll(sure, 1))
