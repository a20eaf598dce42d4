"""Find sheets in a picture (paper on a desk, a slate, a board, the inside of a frame) and straighten them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from PIL import Image

from mnist_mlp.data.pictures.ink import otsu, resized, shrunk

SEARCHED = 160  # pixels; a sheet is found in a picture of this size
SMALLEST_PICTURE = 40  # pixels; in a smaller one no sheet has room for a digit
LEAST, MOST = 0.03, 0.97  # fractions of the picture that a sheet covers
FILLED = (0.92, 1.05)  # area of a sheet over that of the quadrilateral through its corners
INSET = 0.03  # fraction of the sheet's shorter side that is left out along its edges
NARROW = 0.2  # of a sheet's longest side; a narrower piece is a stroke
MANY = 5  # sheets in a picture


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A quadrilateral of one brightness in the picture."""

    corners: np.ndarray  # float64 [4, 2]: x, y as fractions of width and height; counter-clockwise from the upper left
    levels: np.ndarray  # float32 [height, width]: its inside, straightened
    light: bool  # lighter than what is around it


def sheets_in(levels: np.ndarray) -> list[Sheet]:
    """Return the sheets in a picture, grey levels float32 [height, width], the largest first."""
    if min(levels.shape) < SMALLEST_PICTURE:
        return []
    from scipy import ndimage  # here, since the import takes 0.2 s

    small = ndimage.gaussian_filter(resized(levels, shrunk(levels.shape, SEARCHED)), 1.0)
    found: list[tuple[float, np.ndarray, bool]] = []
    for threshold, light in itertools.product(thresholds_of(small), (True, False)):
        labels, count = ndimage.label(small > threshold if light else small <= threshold)
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        for number in np.argsort(-areas[1:])[:4] + 1:  # a sheet is among the largest pieces of its level
            if areas[number] < LEAST * small.size / 2:
                break
            piece = ndimage.binary_fill_holes(labels == number)
            if not LEAST * small.size <= piece.sum() <= MOST * small.size:
                continue
            if sum(side.any() for side in (piece[0], piece[-1], piece[:, 0], piece[:, -1])) > 2:
                continue  # it is the picture itself, or what is around a sheet
            corners = corners_of(piece)
            if corners is not None and not any(np.abs(corners - each).max() < 4 for _, each, _ in found):
                found.append((float(piece.sum()), corners, light))
    found.sort(key=lambda each: -each[0])
    scale = np.array([small.shape[1], small.shape[0]], float)
    return [Sheet(each / scale, straightened(levels, each / scale), light) for _, each, light in found[:MANY]]


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
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
        sides = np.hypot(*(corners - np.roll(corners, 1, axis=0)).T)
        if sides.min() < NARROW * sides.max():
            continue  # a stroke
        area = abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0)) / 2  # half of the diagonals' cross product
        if area and FILLED[0] <= piece.sum() / area <= FILLED[1] * (1 + 4 / np.sqrt(area)):
            return corners
    return None


def eroded(piece: np.ndarray) -> np.ndarray:
    """Return the pixels of a piece with all four neighbours in it."""
    padded = np.pad(piece, 1)
    return padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def straightened(levels: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the inside of a sheet as an upright rectangle, float32 [height, width]."""
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
    return np.asarray(picture.transform(size, Image.Transform.QUAD, quad, Image.Resampling.BILINEAR), np.float32)
