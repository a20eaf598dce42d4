"""The reader of pictures on many kinds of them: digits, rows of digits, and what is no digit (see kinds.py)."""

import collections
import io

import kinds
import numpy as np
import pytest
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture
from PIL import Image, ImageDraw
from test_pictures import by_hand

from mnist_mlp.data.pictures import decode, normalize, reading, rows, sheets, strokes
from mnist_mlp.data.pictures.ink import EVEN, THREE_LEVELS, InkMap, maps_of, reliefs_nearby
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
    """By the network of a run: of the kinds that the reader was built on, 96% correct; of all, 1% wrong; of what is no
    digit, one in twenty answered."""

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
    assert total["wrong"] <= 0.01 * total.total() and total["correct"] >= 0.9 * total.total(), total
    built_on = sum((counts[name] for name in kinds.BUILDING), collections.Counter())
    assert built_on["correct"] >= 0.96 * built_on.total(), built_on
    for name, row in counts.items():
        assert row["wrong"] <= 0.05 * row.total(), (name, row)
    names = [name for name in NOTHING if kinds.available(name)]
    answered = {}
    for name in names:
        answered[name] = sum(answer_of(levels_of(kinds.make(name, index, source)), network) >= 0 for index in range(25))
        print(f"{name:28s} {answered[name]} of 25 answered")
    assert sum(answered.values()) <= 0.05 * 25 * len(names), answered


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
    star = np.hypot(x, y) < 0.5 + 0.3 * np.cos(5 * np.arctan2(y, x))
    for inside in (star, abs(x) < 0.05, np.full_like(x, False, bool)):  # a star, a stroke, nothing
        assert sheets.sheets_in(np.where(inside, 30, 220).astype(np.float32)) == []


CORNERS = [(90, 40), (60, 185), (235, 200), (250, 55)]  # of a sheet seen from the side, in a picture of 320×240


def found_on(desk, light=1.0):
    """Return whether a sheet of level 165 with a bar on it is found on a desk, levels [240, 320], in some light."""
    from PIL import Image, ImageDraw

    mask, bar = Image.new("L", (320, 240)), Image.new("L", (320, 240))
    ImageDraw.Draw(mask).polygon(CORNERS, fill=255)
    ImageDraw.Draw(bar).polygon([(150, 80), (166, 80), (158, 160), (142, 160)], fill=255)
    levels = np.where(np.asarray(bar) > 0, 20, np.where(np.asarray(mask) > 0, 165, desk)) * light
    found = [each.corners * [320, 240] for each in sheets.sheets_in(levels.astype(np.float32))]
    return any(np.abs(corners - CORNERS).max() < 8 for corners in found)


def test_a_sheet_of_the_level_of_things_around_it_is_found():
    """A note on a checked cloth, of which some fields are lighter and others darker than it."""
    y, x = np.mgrid[:240, :320]
    assert found_on(90 + 60 * (x % 24 < 12) + 90 * (y % 24 < 12))


@pytest.mark.parametrize("edge", [330, 400])
def test_a_sheet_that_a_shadow_divides_is_one(edge):
    y, x = np.mgrid[:240, :320]
    stripes = np.array([40, 150, 90, 190, 60])[x // 20 % 5]
    assert found_on(stripes, np.where(2 * x + y > edge, 0.6, 1.0))


@pytest.mark.parametrize("paper, around", [(60, 240), (230, 40)])
def test_a_disc_is_a_round_sheet(paper, around):
    y, x = np.mgrid[:200, :260]
    levels = np.where(np.hypot(y - 90, x - 120) < 70, paper, around)
    levels[60:120, 114:126] = around  # what is cut out
    (found,) = sheets.sheets_in(levels.astype(np.float32))
    assert found.light == (paper > around) and abs(np.array(found.levels.shape) - 136).max() <= 8
    assert (found.levels[[0, 0, -1, -1], [0, -1, 0, -1]] == paper).all()  # beyond the disc is more of it
    assert (found.levels == around).sum() == pytest.approx(60 * 12, rel=0.05)


def test_parts_of_a_digit_belong_together():
    ink = np.zeros((100, 100), np.float32)
    ink[30:80, 30:60] = 1
    ink[22:26, 55:75] = 1  # the bar of a 5, near
    ink[5:8, 5:95] = 1  # a line, far
    pieces = strokes.pieces_of(ink)
    groups = [sorted(int(pieces.areas[index]) for index in group) for group in strokes.groups_of(pieces)]
    assert [80, 1500] in groups and [270] in groups
    assert not any({270, 1500} <= set(group) for group in groups)


def test_parts_of_a_digit_may_be_as_long_as_its_main_piece():
    """A 5 whose long bar does not touch the rest, and a digit that is broken in the middle."""
    ink = np.zeros((200, 200), np.float32)
    ink[80:160, 20:50] = ink[130:160, 20:90] = 1
    ink[60:72, 60:150] = 1
    pieces = strokes.pieces_of(ink)
    assert [0, 1] in [sorted(group) for group in strokes.groups_of(pieces)]


def test_ink_is_measured_against_the_paper_beside_the_strokes():
    ink = np.full((60, 60), 0.25, np.float32)  # a shadow, or the level of a sheet
    ink[10:50, 25:35] = 1
    found = strokes.cut(ink, strokes.pieces_of(ink), [0])
    assert found.max() == 1 and (found[:, :1] == 0).all() and (found[1:-1, 1:-1] == 1).all()


def test_a_stroke_in_a_shadow_has_as_much_ink_as_beside_it():
    light = np.where(np.arange(200) < 100, 1.0, 0.5)
    levels = np.tile(220 * light, (200, 1)).astype(np.float32)
    levels[95:105, 20:180] *= 0.3
    relief = reliefs_nearby(levels)["dark"]
    in_light, in_shadow = relief[100, 25:85].mean(), relief[100, 115:175].mean()
    assert in_shadow == pytest.approx(in_light, rel=0.05) and in_light > 100


def test_the_darkest_of_three_levels_is_ink():
    """A shadow as wide as strokes, with a stroke in it and out of it."""
    levels = np.full((200, 200), 220, np.float32)
    levels[40:160, 90:115] = 120
    levels[95:105, 40:160] = 30
    ink = maps_by(levels, "dark", THREE_LEVELS)
    assert (ink[95:105, 40:160] == 1).all() and ink.sum() == 1200


def maps_by(levels, pen, method):
    (found,) = [each for each in maps_of(levels) if (each.pen, each.method) == (pen, method)]
    return found.ink


def candidate_of(levels, inked):
    """Return a candidate, given a picture and what is taken for its ink."""
    found = InkMap(inked.astype(np.float32), "dark", EVEN, 200.0, 0.0)
    return reading.Candidate(reading.Hypothesis(reading.Paper(reading.WHOLE, levels), found, {}), [0])


def test_ink_ends_where_the_picture_has_an_edge():
    from scipy import ndimage

    inked = np.zeros((240, 240), bool)
    inked[60:200, 100:120] = True
    drawn = np.where(inked, 20, 220).astype(np.float32)
    half = np.where(np.arange(240)[:, None] < 130, drawn, 220).astype(np.float32)
    assert candidate_of(drawn, inked).without_edge == 0
    assert candidate_of(ndimage.gaussian_filter(drawn, 4), inked).without_edge == 0  # an enlarged picture
    assert candidate_of(half, inked).without_edge == pytest.approx(0.45, abs=0.1)
    assert candidate_of(half, inked).costs["outline"] > 0.4 > candidate_of(drawn, inked).costs["outline"]
    assert candidate_of(drawn[:, 100:], inked[:, 100:]).without_edge == 0  # cut by the border: nothing can be seen


def test_a_ring_with_things_inside_is_no_zero():
    picture = Image.new("L", (200, 200), 255)
    draw = ImageDraw.Draw(picture)
    draw.ellipse([40, 30, 160, 170], outline=0, width=9)
    assert reading.digit_in(np.asarray(picture, np.float32)).digit == 0
    draw.rectangle([70, 75, 84, 89], fill=0)
    draw.rectangle([116, 75, 130, 89], fill=0)
    draw.line([(75, 130), (125, 130)], fill=0, width=9)
    with pytest.raises(UserError):
        reading.digit_in(np.asarray(picture, np.float32))


def test_what_was_crossed_out_beside_a_digit_is_not_read():
    """A hatched square half as high as a 7; as high as it, or with no more than a few strokes, it may be a digit."""

    def levels(side, step):
        picture = Image.new("L", (400, 240), 255)
        draw = ImageDraw.Draw(picture)
        draw.line([(60, 50), (150, 50), (100, 190)], fill=0, width=9, joint="curve")
        corner, low = 260, 120 + side // 2
        hatching = [(corner + x, low - side * (x // step % 2)) for x in range(0, side + 1, step)]
        draw.line(hatching, fill=0, width=6)
        return np.asarray(picture, np.float32)

    assert reading.digit_in(levels(side=70, step=6)).digit == 7
    for side, step in ((130, 6), (100, 25)):
        with pytest.raises(UserError):
            reading.digit_in(levels(side, step))


def test_a_picture_in_mnists_frame_stays_as_it_is(mnist):
    for image in mnist.test.images[:200]:
        assert (reading.digit_in(image.astype(np.float32)).image == image).all()
        assert (reading.digit_in(255 - image.astype(np.float32)).image == image).all()
    moved = np.roll(image, 3, 1)
    assert not normalize.is_in_frame(moved.astype(np.float32)) and not normalize.is_in_frame(np.zeros((28, 28)))


def test_strokes_wider_than_mnists_are_narrowed():
    bar = np.ones((200, 75), np.float32)
    assert (normalize.in_frame(bar) > 127).any(0).sum() <= 6 < 75 / 10  # columns; both are 20 high
    marker = np.ones((200, 52), np.float32)
    assert (normalize.in_frame(marker) > 127).any(0).sum() <= 4
    square, stroke, ring = (np.ones(shape, np.float32) for shape in ((100, 100), (200, 45), (200, 120)))
    ring[60:140, 50:70] = 0
    for kept in (square, stroke, ring):
        assert normalize.thin_enough(kept) is kept


def test_a_digit_stretched_to_a_square_is_narrowed():
    """As its strokes tell: a 1 with a flag; not a ring of one width, a bar, or a box with other sides."""
    picture = Image.new("L", (60, 140))
    ImageDraw.Draw(picture).line([(6, 45), (48, 10), (48, 130)], fill=255, width=12, joint="curve")
    one = picture.crop(picture.getbbox())
    square = np.asarray(one.resize((140, 140), Image.Resampling.BICUBIC), np.float32) / 255
    height, width = normalize.in_proportion(square).shape
    assert width / height == pytest.approx(one.width / one.height, rel=0.2)
    ring = Image.new("L", (100, 100))
    ImageDraw.Draw(ring).ellipse([0, 0, 99, 99], outline=255, width=12)
    for kept in (np.asarray(ring, np.float32) / 255, np.ones((100, 100), np.float32), square[:, 20:]):
        assert normalize.in_proportion(kept) is kept


def test_extents_of_ink():
    inked = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], bool)
    assert normalize.extents(inked).tolist() == [[2, 2, 0, 1], [0, 0, 0, 0], [0, 3, 3, 3]]
    assert normalize.extents(inked.T).T.tolist() == [[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]]


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
