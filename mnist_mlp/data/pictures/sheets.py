"""Find sheets in a picture (paper on a desk, a slate, a board, the inside of a frame) and straighten them.

A sheet is a piece of the picture with a simple outline. The pieces are found in three ways: those of one side of a
threshold; those without an edge inside, for a sheet whose level is also that of things around it; and two of the latter
together, for a sheet that the edge of a shadow divides. They are looked for in the grey levels and in the colours.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from mnist_mlp.data.pictures.ink import otsu, resized, shrunk

SEARCHED = 160  # pixels; a sheet is found in a picture of this size
SMALLEST_PICTURE = 40  # pixels; in a smaller one no sheet has room for a digit
LEAST, MOST = 0.03, 0.97  # fractions of the picture that a sheet covers
FILLED = (0.88, 1.1)  # area of a sheet over that of the quadrilateral through its corners
ROUND = (0.96, 1.02)  # area of a round sheet over that of the ellipse with the same moments
LONGEST = 1.6  # the longer side of a round sheet over the shorter one; a longer one is a stroke, or the hole of a 0
INSET = 0.03  # fraction of the sheet's shorter side that is left out along its edges
NARROW = 0.2  # of a sheet's longest side; a narrower piece is a stroke
SAME = 3.0  # pixels, on average; corners as near are of one sheet
BETTER = 0.03  # fraction of its area; by so much another outline of the same sheet must fit better
MANY, MANY_COLOURED = 6, 2  # sheets in a picture by their grey level; those that only their colour shows
STEPS = (4.0, 8.0, 16.0, 32.0)  # levels of 255; a larger one between neighbours is an edge
BAND = 4  # pixels; as wide is the edge between two parts of a sheet, at most
LARGEST = 4  # pieces of each kind; a sheet is among the largest


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A piece of the picture with the outline of a sheet."""

    corners: np.ndarray  # float64 [4, 2]: x, y as fractions of width and height; counter-clockwise from the upper left
    place: np.ndarray  # float64 [4, 2]: the same of what `levels` shows: without the edges
    levels: np.ndarray  # float32 [height, width]: its inside, straightened
    light: bool  # lighter than what is around it


def sheets_in(levels: np.ndarray, colours: np.ndarray | None = None) -> list[Sheet]:
    """Return the sheets in a picture, the largest first (of its grey levels, then of its colours, if it has any, as
    `decode.colours_of` returns them): float32 [height, width]."""
    if min(levels.shape) < SMALLEST_PICTURE:
        return []
    from scipy import ndimage  # here, since the import takes 0.2 s

    def reduced(channel: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(resized(channel, shrunk(channel.shape, SEARCHED)), 1.0)

    small = reduced(levels)
    found = outlines_in(small)[:MANY]
    if colours is not None:  # besides the others: a colour that changes by and by has many outlines, of no sheet
        coloured = outlines_in(reduced(colours))
        found += [each for each in coloured if not any(map(each.is_of_the_sheet_of, found))][:MANY_COLOURED]
    scale = np.array([small.shape[1], small.shape[0]], float)
    sheets = []
    for each in found:
        corners = each.corners / scale
        if each.is_round:
            place, inside = corners, cut_out(levels, each.piece)
        else:
            place, inside = straightened(levels, corners)
        sheets.append(Sheet(corners, place, inside, is_light(small, each.piece)))
    return sheets


@dataclasses.dataclass(frozen=True, eq=False)
class Outline:
    """A piece of a small picture that may be a sheet."""

    piece: np.ndarray  # bool [height, width]
    corners: np.ndarray  # float64 [4, 2], pixels
    misfit: float  # how far the piece's area is from that of its outline, as a fraction
    is_round: bool = False

    def is_of_the_sheet_of(self, other: Outline) -> bool:
        return float(np.abs(self.corners - other.corners).mean()) < SAME


def outlines_in(levels: np.ndarray) -> list[Outline]:
    """Return the outlines in a small picture, float32 [height, width], one of each sheet, the largest first."""
    found: list[Outline] = []
    for outline in filter(None, map(outline_of, pieces_in(levels))):
        same = [each for each in found if outline.is_of_the_sheet_of(each)]
        if all(outline.misfit < each.misfit - BETTER for each in same):
            found = [each for each in found if each not in same] + [outline]
    return sorted(found, key=lambda each: -each.piece.sum())


def outline_of(piece: np.ndarray) -> Outline | None:
    """Return the outline of a piece, bool [height, width], without holes; None unless it is that of a sheet."""
    corners = corners_of(piece)
    if corners is not None:
        return Outline(piece, corners, abs(filled(piece, corners) - 1))
    return Outline(piece, box_of(piece), 0.0, is_round=True) if is_ellipse(piece) else None


def pieces_in(levels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what may be sheets in a small picture, float32 [height, width]: masks of its size, without holes."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    for threshold, light in itertools.product(thresholds_of(levels), (True, False)):
        yield from of_a_sheet(levels > threshold if light else levels <= threshold)
    steps = ndimage.maximum_filter(levels, 3) - ndimage.minimum_filter(levels, 3)
    for step in STEPS:
        parts = []
        for part in of_a_sheet(steps <= step):
            parts.append(ndimage.binary_dilation(part))  # the edge itself belongs half to it
            yield parts[-1]
        for one, other in itertools.combinations(parts, 2):
            both = one | other
            closed = ndimage.binary_closing(np.pad(both, BAND), np.ones((BAND + 1, BAND + 1)))
            closed = closed[BAND:-BAND, BAND:-BAND]
            if ndimage.label(closed)[1] == 1:
                yield ndimage.binary_fill_holes(closed)


def of_a_sheet(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the largest connected pieces of a mask, filled, if they have the size of a sheet and are not cut by more
    than two sides of the picture: then they are the picture itself, or what is around a sheet."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    labels, count = ndimage.label(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    for number in np.argsort(-areas[1:])[:LARGEST] + 1:
        if areas[number] < LEAST * mask.size / 2:
            break
        piece = ndimage.binary_fill_holes(labels == number)
        cut_by = sum(side.any() for side in (piece[0], piece[-1], piece[:, 0], piece[:, -1]))
        if LEAST * mask.size <= piece.sum() <= MOST * mask.size and cut_by <= 2:
            yield piece


def thresholds_of(levels: np.ndarray) -> list[float]:
    """Return up to three levels between desk, sheet and ink: Otsu's threshold, and those of what is below and above."""
    middle = otsu(levels)
    parts = (levels[levels <= middle], levels[levels > middle])
    return [middle, *(otsu(part) for part in parts if part.size and np.ptp(part) > 8)]


def corners_of(piece: np.ndarray) -> np.ndarray | None:
    """Return the corners of a piece, float64 [4, 2], x and y in pixels; None unless it is a quadrilateral.

    The piece is bool [height, width], without holes.
    """
    rows, columns = np.nonzero(piece & ~eroded(piece))
    points = np.stack([columns + 0.5, rows + 0.5], axis=1)
    for degrees in (0, -12, 12, -24, 24, -36, 36):
        turn = np.deg2rad(degrees)
        x, y = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) @ points.T
        corners = points[[np.argmin(x + y), np.argmax(y - x), np.argmax(x + y), np.argmax(x - y)]]
        sides = np.hypot(*(corners - np.roll(corners, 1, axis=0)).T)
        if sides.min() < NARROW * sides.max():
            continue  # a stroke
        if FILLED[0] <= filled(piece, corners) <= FILLED[1]:
            return corners
    return None


def filled(piece: np.ndarray, corners: np.ndarray) -> float:
    """Return the area of a piece over that of the quadrilateral through its corners, which are middles of pixels."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    area = abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0)) / 2  # half of the diagonals' cross product
    sides = np.hypot(*(corners - np.roll(corners, 1, axis=0)).T)
    return float(piece.sum() / (area + sides.sum() / 2 + 1))


def is_ellipse(piece: np.ndarray) -> bool:
    """Return whether a piece, bool [height, width], has the moments of an ellipse, nearly a circle, of its area."""
    rows, columns = np.nonzero(piece)
    spread = np.cov(np.stack([columns, rows]).astype(float))
    shortest, longest = np.sqrt(np.linalg.eigvalsh(spread).clip(1e-9))
    return bool(longest <= LONGEST * shortest and ROUND[0] <= rows.size / (4 * np.pi * shortest * longest) <= ROUND[1])


def box_of(piece: np.ndarray) -> np.ndarray:
    """Return the corners of the box around a piece, as `corners_of` does."""
    rows, columns = np.flatnonzero(piece.any(1)), np.flatnonzero(piece.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return np.array([(left, top), (left, bottom), (right, bottom), (right, top)], float)


def is_light(levels: np.ndarray, piece: np.ndarray) -> bool:
    """Return whether a piece is lighter than what is around it."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    around = ndimage.binary_dilation(piece, iterations=4) & ~ndimage.binary_dilation(piece, iterations=1)
    return not around.any() or float(np.median(levels[piece])) > float(np.median(levels[around]))


def eroded(piece: np.ndarray) -> np.ndarray:
    """Return the pixels of a piece with all four neighbours in it."""
    padded = np.pad(piece, 1)
    return padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def cut_out(levels: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Return the box around a round sheet, float32 [height, width], with its own level where it is not.

    `piece` is its mask in a smaller picture.
    """
    from scipy import ndimage  # here, since the import takes 0.2 s

    inside = ndimage.binary_erosion(piece, iterations=2, border_value=1)
    mask = resized(inside.astype(np.float32), levels.shape) > 0.5
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    area = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return np.where(mask[area], levels[area], np.median(levels[mask])).astype(np.float32)


def straightened(levels: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the inside of a sheet, and this as an upright rectangle, float32 [height, width]."""
    points = corners * [levels.shape[1], levels.shape[0]]
    centre = points.mean(0)
    upper_left, lower_left, lower_right, upper_right = points
    width = max(np.hypot(*(upper_right - upper_left)), np.hypot(*(lower_right - lower_left)))
    height = max(np.hypot(*(lower_left - upper_left)), np.hypot(*(lower_right - upper_right)))
    margin = max(INSET * min(width, height), 2.0 * max(levels.shape) / SEARCHED)
    inner = points + (centre - points) * [2 * margin / width, 2 * margin / height]
    size = (max(8, round(width - 2 * margin)), max(8, round(height - 2 * margin)))
    picture = Image.fromarray(levels)
    quad = tuple(inner.ravel())
    inside = picture.transform(size, Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)
    return inner / [levels.shape[1], levels.shape[0]], np.asarray(inside, np.float32)
