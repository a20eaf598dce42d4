"""Read the digits in a picture: try what may be its paper and its ink, and decide last.

A hypothesis is a paper (the whole picture, or a sheet found in it), a pen (dark or light) and a way to separate ink
from paper. The pieces of its ink that may be a digit are brought into MNIST's frame. Each such reading is charged for
what speaks against it: its image is not like a digit, there is ink beside it, along the borders, and so on. The
cheapest one is taken. If it costs too much, or another digit costs hardly more, the picture is refused, and the message
says what was seen.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import numpy as np

from mnist_mlp.data.pictures import digit_likeness, normalize, rows
from mnist_mlp.data.pictures.ink import EVEN, FAINT, NEARBY, THREE_LEVELS, TWO_LEVELS, InkMap, maps_of, resized, shrunk
from mnist_mlp.data.pictures.sheets import eroded, sheets_in
from mnist_mlp.data.pictures.strokes import Pieces, around, cut, groups_of, overlap, pieces_of, within
from mnist_mlp.errors import UserError

SIDE = 280  # pixels; a paper is read at this size
SIDE_OF_ROWS = 800  # pixels; several digits need more
LEVEL = 0.03  # slope; steeper lines of digits are turned
SMALLEST = 0.05  # fraction of the paper's larger side; smaller pieces are no digits
MOST = 1000  # pieces; more are a texture
DIRT = 0.01  # fraction of the digit's area; smaller pieces are not counted

# What is charged, in units of -log(likeness). Chosen on the kinds of pictures that the tests build on.
OF_METHOD = {EVEN: 0.0, TWO_LEVELS: 0.05, THREE_LEVELS: 0.1, NEARBY: 0.15}
OF_A_SHEET = 0.25  # a digit on the whole picture is the simpler explanation
BESIDE = 1.0  # per area of ink beside the digit over the digit's
INSIDE = 3.0  # how much ink counts that lies in the digit's own box: then the digit is a part of a drawing
CROSSED_OUT = 0.1  # how much ink counts of what is smaller than the digit and was crossed out
SMALLER, FILLED, WIDE = 0.75, 0.5, 5.0  # such a thing: its sides over the digit's, its inked share, its sides in pens
CUT = 0.4  # how much ink counts that the border cuts: it belongs to something around the paper
AROUND = 0.35  # for ink that encloses the digit, at most
UNUSED = 0.35  # per area of ink that no digit of a page uses over theirs
HAZE = 1.0  # per share of the ink of its image that belongs to no stroke: a part of a shadow, which networks see, too
EDGE = 1.0  # for a digit that the edge of a sheet cuts
OUTLINE, OUTLINE_FREE = 1.5, 0.1  # per share of its outline without an edge in the picture, above the free share
STEP = 0.35  # of the contrast; an edge has at least this step
SEARCHED = 60  # pixels; an outline is compared with the picture's edges at this size
BORDER, BORDER_FREE = 3.0, 0.3  # per share of the paper's border that is ink, above the free share
ALIKE, ALIKE_FREE = 3.0, 0.55  # per share of the paper that has the level of the ink, above what a shadow may cover
NOISE = 0.5  # for noise of an eighth of the contrast, at most
TOO_MUCH = 0.6  # a reading that costs more is refused
TINY, TOO_MUCH_TINY = 32, 6.0  # pixels; in so small a picture, it may cost this much
MARGIN = 0.1  # a reading of another digit must cost more by this
ALMOST_ALL = 0.7  # of the smaller of two boxes lies in the other, if both are of one drawing
DOUBT = 0.1  # a reading that costs so much more supports a digit 1/e as much

WHOLE = "the whole picture"
FRAMED = "its frame, which is MNIST's"  # a method beside those of `ink`
THE_PICTURE = np.array([(0, 0), (0, 1), (1, 1), (1, 0)], float)
NOTHING = "expected a digit, received a picture without any ink, or with specks or a texture alone; try a closer one"


@dataclasses.dataclass(frozen=True, eq=False)
class Paper:
    """What may carry the digit."""

    name: str
    levels: np.ndarray  # float32 [height, width], 0–255
    cost: float = 0.0
    place: np.ndarray = dataclasses.field(default_factory=lambda: THE_PICTURE)  # [4, 2], as of `Sheet`


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """A paper with one map of its ink, and what speaks against them, whatever the ink shows."""

    paper: Paper
    map: InkMap
    costs: dict[str, float]

    @functools.cached_property
    def pieces(self) -> Pieces:
        return pieces_of(self.map.ink)

    def __str__(self) -> str:
        return f"{self.map.pen} ink on {self.paper.name}, by {self.map.method}"


def hypotheses_on(picture: np.ndarray, side: int = SIDE) -> Iterator[Hypothesis]:
    """Yield the hypotheses that have any ink about a picture, as `decode.grey_levels` returns it."""
    for paper in papers_in(picture, side):
        for found in maps_of(paper.levels):
            hypothesis = Hypothesis(paper, found, costs_of(paper, found))
            if 0 < len(hypothesis.pieces) <= MOST:
                yield hypothesis


def channels_of(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the grey levels of a picture, float32 [height, width], and its colours, if it has any."""
    if picture.ndim == 2:
        return picture, None
    return np.ascontiguousarray(picture[..., 0]), np.ascontiguousarray(picture[..., 1])


def papers_in(picture: np.ndarray, side: int) -> Iterator[Paper]:
    """Yield what may be the paper of a picture, with sides of at most `side` pixels."""
    levels, colours = channels_of(picture)
    yield Paper(WHOLE, resized(levels, shrunk(levels.shape, side)))
    for sheet in sheets_in(levels, colours):
        name = f"a {'light' if sheet.light else 'dark'} sheet in the picture"
        yield Paper(name, resized(sheet.levels, shrunk(sheet.levels.shape, side)), OF_A_SHEET, sheet.place)


def costs_of(paper: Paper, found: InkMap) -> dict[str, float]:
    """Return what speaks against a paper and its ink."""
    ink = found.ink
    border = np.concatenate([ink[0], ink[-1], ink[1:-1, 0], ink[1:-1, -1]])
    return {
        "paper": paper.cost,
        "method": OF_METHOD[found.method],
        "alike": ALIKE * max(0.0, alike(paper, found) - ALIKE_FREE),
        "border": BORDER * max(0.0, float((border > 0.5).mean()) - BORDER_FREE),
        "noise": NOISE * min(1.0, 8 * found.noise / found.contrast),
    }


def alike(paper: Paper, found: InkMap) -> float:
    """Return the share of the paper without ink that has the level of the ink.

    It is high where the gaps between strokes are taken for the ink: they have the level of the paper around the digit.
    """
    if found.method != NEARBY:
        return 0.0  # whatever has the level of the ink is ink
    level = float(np.median(paper.levels[found.ink > 0.5]))
    return float((np.abs(paper.levels[found.ink <= FAINT] - level) < found.contrast / 3).mean())


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Pieces of ink that may be one digit."""

    hypothesis: Hypothesis
    group: list[int]

    @functools.cached_property
    def box(self) -> np.ndarray:
        """Top, bottom, left, right, in pixels of the paper."""
        return around(self.hypothesis.pieces.boxes[self.group])

    @functools.cached_property
    def place(self) -> np.ndarray:
        """The same in the picture, as fractions of its height and width, around the digit on a sheet that leans."""
        height, width = self.hypothesis.paper.levels.shape
        top, bottom, left, right = self.box / [height, height, width, width]
        x, y = np.array([(left, top), (left, bottom), (right, bottom), (right, top)]).T[..., None]
        # A sheet is straightened by this bilinear map, of which the corners are those of the paper.
        points = np.hstack([(1 - x) * (1 - y), (1 - x) * y, x * y, x * (1 - y)]) @ self.hypothesis.paper.place
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return np.array([top, bottom, left, right])

    @functools.cached_property
    def image(self) -> np.ndarray:
        """The digit in MNIST's frame, uint8 [28, 28], light on dark."""
        if self.hypothesis.map.method == FRAMED:
            return np.rint(255 * self.hypothesis.map.ink).astype(np.uint8)
        return normalize.in_frame(cut(self.hypothesis.map.ink, self.hypothesis.pieces, self.group))

    @functools.cached_property
    def without_edge(self) -> float:
        """The share of the ink's outline where the picture has no edge.

        The outline of a shadow, or of paper, is partly where the method has it, and not where the picture changes.
        """
        from scipy import ndimage  # here, since the import takes 0.2 s

        top, bottom, left, right = self.box
        side = max(bottom - top, right - left)
        near = max(2, -(-side // normalize.BOX))  # a pixel of the frame: an edge is as wide in an enlarged picture
        area = slice(max(0, top - near), bottom + near), slice(max(0, left - near), right + near)
        levels = self.hypothesis.paper.levels[area]
        inked = self.hypothesis.pieces.are_in(self.group, area)
        if side > SEARCHED:
            levels = resized(levels, shrunk(levels.shape, SEARCHED))
            inked = resized(inked.astype(np.float32), levels.shape) > 0.5
            near = max(2, round(near * SEARCHED / side))
        steps = ndimage.maximum_filter(levels, 2 * near + 1) - ndimage.minimum_filter(levels, 2 * near + 1)
        outline = steps[inked & ~eroded(np.pad(inked, 1, "edge"))[1:-1, 1:-1]]  # nothing ends at the paper's border
        return float((outline < STEP * self.hypothesis.map.contrast).mean()) if outline.size else 0.0

    @functools.cached_property
    def costs(self) -> dict[str, float]:
        """What speaks against it, besides what its image looks like."""
        pieces = self.hypothesis.pieces
        top, bottom, left, right = pieces.boxes.T
        enclosing = (top <= self.box[0]) & (bottom >= self.box[1]) & (left <= self.box[2]) & (right >= self.box[3])
        own = max(1, pieces.full[self.group].sum())
        ink = np.where(pieces.cut, CUT, 1.0) * pieces.full / own
        ink[(pieces.full <= DIRT * own)] = 0.0
        ink[self.group] = 0.0
        ink[self.crossed_out()] *= CROSSED_OUT
        ink[within(pieces.boxes, self.box)] *= INSIDE
        return {
            "beside": BESIDE * min(2.0, float(ink[~enclosing].sum())),
            "haze": HAZE * normalize.haze_of(self.image),
            "edge": EDGE * float(self.hypothesis.paper.name != WHOLE and pieces.cut[self.group].any()),
            "around": AROUND * min(1.0, float(ink[enclosing].sum())),
            "outline": OUTLINE * max(0.0, self.without_edge - OUTLINE_FREE),
            **self.hypothesis.costs,
        }

    def crossed_out(self) -> np.ndarray:
        """Return which pieces of ink, bool [n], were crossed out, or are blots: beside the digit and smaller than it,
        nearly filled, but wider than a pen fills at once. Nobody wants to have them read."""
        pieces = self.hypothesis.pieces
        top, bottom, left, right = pieces.boxes.T
        height, width = bottom - top, right - left
        digit = max(self.box[1] - self.box[0], self.box[3] - self.box[2])
        found = (pieces.areas >= FILLED * height * width) & (pieces.sides <= SMALLER * digit)
        found &= ~within(pieces.boxes, self.box)
        if found.any():
            pen = normalize.stroke_width(cut(self.hypothesis.map.ink, pieces, self.group))
            found &= np.minimum(height, width) >= WIDE * pen
        return found


@dataclasses.dataclass(frozen=True)
class Reading:
    """A candidate, judged: how likely its image is one digit at all (0–1), which one it is like, and what it costs."""

    candidate: Candidate
    likeness: float
    digit: int  # for comparing readings; the answer is the network's
    costs: dict[str, float]

    @property
    def image(self) -> np.ndarray:
        """The digit in MNIST's frame, uint8 [28, 28], light on dark."""
        return self.candidate.image

    @functools.cached_property
    def cost(self) -> float:
        return sum(self.costs.values())

    @property
    def is_framed(self) -> bool:
        """Whether the picture has about MNIST's size: then it is nearly surely one of its images, or made like them."""
        paper = self.candidate.hypothesis.paper
        return paper.name == WHOLE and max(paper.levels.shape) <= TINY

    @property
    def limit(self) -> float:
        """What a reading may cost."""
        return TOO_MUCH_TINY if self.is_framed else TOO_MUCH

    def is_drawing_of(self, other: Reading) -> bool:
        """Return whether both are of the same drawing: with one pen, on one paper, one mostly within the other."""
        mine, its = self.candidate, other.candidate
        if (mine.hypothesis.map.pen, mine.hypothesis.paper) != (its.hypothesis.map.pen, its.hypothesis.paper):
            return False
        return covers(mine.box, its.box)

    def is_at(self, other: Reading) -> bool:
        """Return whether both are at one place of the picture, with any pen, on any paper."""
        return covers(self.candidate.place, other.candidate.place)

    def __str__(self) -> str:
        return f"{self.candidate.hypothesis}; likeness of a digit {self.likeness:.2f}"


def covers(box: np.ndarray, other: np.ndarray) -> bool:
    """Return whether one of two boxes lies mostly in the other."""
    return overlap(box, other) >= ALMOST_ALL * min(overlap(box, box), overlap(other, other))


def judged(candidates: Iterable[Candidate], digits: bool) -> list[Reading]:
    """Return the candidates with what the judge of digits says of them; without `digits`, as if it said yes to all."""
    candidates = list(candidates)
    if not candidates:
        return []
    likenesses, shown = [1.0] * len(candidates), [0] * len(candidates)
    if digits:
        found = digit_likeness.judge(np.stack([candidate.image for candidate in candidates]))
        likenesses, shown = (values.tolist() for values in found)
    return [
        Reading(candidate, likeness, digit, {"likeness": -float(np.log(max(likeness, 1e-4))), **candidate.costs})
        for candidate, likeness, digit in zip(candidates, likenesses, shown, strict=True)
    ]


def readings_of(picture: np.ndarray, digits: bool = True) -> list[Reading]:
    """Return all readings of a picture as one digit, as `decode.grey_levels` returns it, the cheapest first."""
    framed = already_framed(channels_of(picture)[0])
    return sorted(judged([framed] if framed else candidates_in(picture), digits), key=lambda reading: reading.cost)


def already_framed(levels: np.ndarray) -> Candidate | None:
    """Return a picture that is in MNIST's frame as it is, grey levels float32 [height, width]: nothing can be gained by
    reading it. Return None for any other."""
    for pen, ink in (("light", levels), ("dark", 255 - levels)):
        if normalize.is_in_frame(ink):
            paper = Paper(WHOLE, levels)
            hypothesis = Hypothesis(paper, InkMap(ink / np.float32(255), pen, FRAMED, 255.0, 0.0), {})
            return Candidate(hypothesis, list(range(len(hypothesis.pieces))))
    return None


def candidates_in(picture: np.ndarray) -> Iterator[Candidate]:
    for hypothesis in hypotheses_on(picture):
        for group in groups_of(hypothesis.pieces):
            candidate = Candidate(hypothesis, group)
            top, bottom, left, right = candidate.box
            if max(bottom - top, right - left) >= SMALLEST * max(hypothesis.paper.levels.shape):
                yield candidate


def digit_in(picture: np.ndarray, digits: bool = True) -> Reading:
    """Return the reading of the one digit in a picture: grey levels float32 [height, width] from 0 to 255, or with its
    colours [height, width, 2], as `decode.grey_levels` returns them.

    Without `digits`, it may be anything drawn with a pen (for networks of other classes than digits). Raise `UserError`
    if there is no ink, no digit, more than one, or if two readings are about as good.
    """
    readings = readings_of(picture, digits)
    if not readings:
        raise UserError(NOTHING)
    best = readings[0]
    if best.cost > best.limit:
        raise UserError(f"{seen_instead(readings, digits)} (read as {best})")
    other = rival_of(best, readings)
    if other and not best.is_framed:
        raise UserError(
            f"expected one digit, received two possible ones: like a {best.digit} ({best}), or like a {other.digit} "
            f"({other}); crop it to one"
        )
    return best


def rival_of(best: Reading, readings: list[Reading]) -> Reading | None:
    """Return the cheapest reading as another digit that is about as good as the best one, None if there is none.

    What several readings agree on is more likely: at one place of the picture, all the readings of each digit count.
    """
    here = [each for each in readings if each.is_at(best)]
    for other in readings:
        if other.cost >= best.cost + MARGIN:
            return None
        if other.digit == best.digit or other.is_drawing_of(best):
            continue
        if not other.is_at(best) or pooled(here, other.digit) < pooled(here, best.digit) + MARGIN:
            return other
    return None


def pooled(readings: list[Reading], digit: int) -> float:
    """Return what reading a place as this digit costs, given all readings of it: less than the cheapest one, the more
    of them cost hardly more."""
    costs = np.array([each.cost for each in readings if each.digit == digit])
    return -DOUBT * float(np.log(np.exp(-costs / DOUBT).sum()))


def drawing_in(picture: np.ndarray, digits: bool = True) -> Reading:
    """Return the best reading of a drawing that is still being made: whatever it looks like. Raise `UserError` if it is
    blank."""
    readings = readings_of(picture, digits)
    if not readings:
        raise UserError(NOTHING)
    return readings[0]


def seen_instead(readings: list[Reading], digits: bool) -> str:
    """Return what a picture shows instead of one digit: several of them, or what costs its best reading the most."""
    among = min(readings, key=lambda reading: reading.cost - reading.costs["beside"])
    if among.cost - among.costs["beside"] <= TOO_MUCH:
        hypothesis = among.candidate.hypothesis
        count = sum(each.likeness > 0.5 for each in digits_on(hypothesis, digits))
        if count > 1:
            return f"expected one digit, received {count}; crop it to one, or use predict --segment"
        return "expected one digit, received other ink beside it; crop it to the digit"
    best = readings[0]
    worst = max(best.costs, key=lambda name: best.costs[name])
    if worst in ("border", "alike", "around", "edge"):
        return "expected a digit on paper, received ink along the borders or around it; crop it to the paper"
    if worst == "noise":
        return "expected a digit, received noise as strong as its ink; try a picture with more contrast"
    if worst != "likeness":
        return "expected a digit, received too little contrast, or other ink; crop it to the digit"
    return "expected a digit, received a drawing that looks like none; crop it to the digit"


def check_answer(found: Reading, probabilities: np.ndarray) -> None:
    """Raise `UserError` if the network's answer, float [10], makes it too doubtful that a picture shows a digit."""
    if found.is_framed:
        return
    surprise = -float(np.log(max(probabilities[found.digit], 1e-9)))
    if found.cost + surprise > TOO_MUCH:
        answer, p = int(probabilities.argmax()), float(probabilities.max())
        seen = f"the network takes for a {answer} (p {p:.2f}), and that is more like a {found.digit}"
        if answer == found.digit:
            seen = f"is like a {answer}, but of which the network is not sure (p {p:.2f})"
        raise UserError(f"expected a digit, received a drawing that {seen} (read as {found}); draw it more clearly")


def digits_in(picture: np.ndarray, digits: bool = True) -> list[Reading]:
    """Return the readings of all digits in a picture, line by line, each from the left; `digits` as in `digit_in`.

    Raise `UserError` if there are none.
    """
    pages = [page for hypothesis in hypotheses_on(picture, SIDE_OF_ROWS) if (page := digits_on(hypothesis, digits))]
    if not pages:
        raise UserError(NOTHING)
    cost, best = min(((cost_of_page(page), page) for page in pages), key=lambda each: each[0])
    if cost > TOO_MUCH:
        raise UserError(f"expected digits, received what looks like none (read as {best[0]}); crop it to the digits")
    return best


def digits_on(hypothesis: Hypothesis, digits: bool) -> list[Reading]:
    """Return the digits that a hypothesis shows, in reading order."""
    lines, slope = lines_on(hypothesis)
    if abs(slope) > LEVEL:
        hypothesis = turned(hypothesis, slope)
        lines, _ = lines_on(hypothesis)
    return judged((Candidate(hypothesis, group) for line in lines for group in line), digits)


def lines_on(hypothesis: Hypothesis) -> tuple[list[list[list[int]]], float]:
    """Return the groups of pieces that may be digits, line by line, and the slope of the lines."""
    groups = rows.digits_of(hypothesis.pieces)
    boxes = np.array([around(hypothesis.pieces.boxes[group]) for group in groups])
    lines, slope = rows.lines_of(boxes)
    return [[groups[index] for index in line] for line in lines], slope


def turned(hypothesis: Hypothesis, slope: float) -> Hypothesis:
    """Return a paper and its ink, turned so that lines of this slope are level."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    degrees = np.degrees(np.arctan(slope))
    ink = ndimage.rotate(hypothesis.map.ink, degrees, order=1).clip(0, 1).astype(np.float32)
    levels = ndimage.rotate(hypothesis.paper.levels, degrees, order=1, mode="nearest")
    paper = dataclasses.replace(hypothesis.paper, levels=levels)
    return dataclasses.replace(hypothesis, paper=paper, map=dataclasses.replace(hypothesis.map, ink=ink))


def cost_of_page(page: list[Reading]) -> float:
    """Return what speaks against reading a picture as these digits."""
    hypothesis = page[0].candidate.hypothesis
    areas = hypothesis.pieces.areas
    used = sum(int(areas[reading.candidate.group].sum()) for reading in page)
    unlike = float(np.mean([reading.costs["likeness"] for reading in page]))
    return unlike + UNUSED * min(2.0, (int(areas.sum()) - used) / used) + sum(hypothesis.costs.values())
