"""Bring a digit into MNIST's frame: its ink in a box of 20×20 pixels, with the centre of mass at pixel (14, 14).

As LeCun, Cortes and Burges describe on MNIST's page: size normalized with proportions kept, grey levels from
antialiasing, centre of mass at the centre of 28×28.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

FRAME, BOX = 28, 20
FAINT = 12  # levels of 255; what is fainter is no haze
EDGE = 0.02  # pixels with less ink do not count for the box
THICKEST, THICK = 4.8, 3.8  # pixels of the frame; wider strokes, as one in 80 of MNIST's digits has, become so wide
BLOB = 8.0  # pixels of the frame; what is wider is no stroke
SLACK = 2  # pixels; MNIST's digits are in its frame with so much room in their box, at most
SQUARE = 0.02  # share by which the sides of a box may differ that a program made square
NARROWEST = 0.25  # width over height; hardly any digit but a bar as 1 is narrower
WIDTHS = 10  # proportions that are tried
SIDE = 56  # pixels; strokes are measured at this size
UNEVEN = 0.08  # a stretched digit's strokes are less even by so much; 7 of 1,578 training digits in a square box are
SAME = 0.02  # unevenness; of proportions in which strokes are as even, none is likelier
THINNEST = 2.0  # pixels of the frame; thinner strokes, such as a pen's in a large picture, are widened


def in_frame(ink: np.ndarray) -> np.ndarray:
    """Return a digit, given its ink, float32 [height, width] from 0 to 1, not all 0: uint8 [28, 28], light on dark."""
    rows, columns = np.flatnonzero((ink > EDGE).any(1)), np.flatnonzero((ink > EDGE).any(0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    digit = thin_enough(thick_enough(in_proportion(digit)))
    scale = BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    method = Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC
    small = Image.fromarray(digit).resize((width, height), method)
    pixels = np.asarray(small, np.float32).clip(0, 1)
    pixels = pixels / max(pixels.max(), 1e-6)
    return np.rint(255 * centred(pixels)).astype(np.uint8)


def in_proportion(digit: np.ndarray) -> np.ndarray:
    """Narrow a digit that was stretched to a square, as some programs prepare pictures: a 1 with a flag looks like a 7.

    A pen has one width. Stretched, upright strokes are wider than level ones, and one width in all directions shows
    the proportions in which the digit was written.
    """
    height, width = digit.shape
    if abs(height - width) > max(1, SQUARE * height):
        return digit
    factors = np.geomspace(1, NARROWEST, WIDTHS)
    uneven = unevenness(digit, factors)
    weights = np.exp((uneven.min() - uneven) / SAME)
    factor = float(np.exp(weights @ np.log(factors) / weights.sum()))
    if uneven[0] - unevenness(digit, np.array([factor]))[0] < UNEVEN:
        return digit
    narrow = Image.fromarray(digit).resize((max(1, round(factor * width)), height), Image.Resampling.BOX)
    return np.asarray(narrow, np.float32)


def unevenness(digit: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return how much the width of a digit's strokes varies if its own width is multiplied by each factor: the standard
    deviation of its logarithm over all ink, float64 [n].

    Where a stroke has the extents h along a row and v along a column, it is h·v/√(h² + v²) wide.
    """
    inked = np.asarray(Image.fromarray(digit).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) > 0.5
    if not inked.any():
        return np.zeros(len(factors))
    rows = factors[:, None] * extents(inked)[inked]
    columns = extents(inked.T).T[inked]
    return np.log(rows * columns / np.hypot(rows, columns)).std(1)


def extents(inked: np.ndarray) -> np.ndarray:
    """Return for each pixel of ink how many there are in its run along its row, int64 [height, width], 0 elsewhere."""
    edges = np.diff(np.pad(inked, ((0, 0), (1, 1))).astype(np.int8)).ravel()  # 1 where a run starts, -1 after its end
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    found = np.zeros(inked.shape, np.int64)
    found[inked] = np.repeat(lengths, lengths)
    return found


def is_in_frame(levels: np.ndarray) -> bool:
    """Return whether grey levels, float32 [height, width], light on dark, are in MNIST's frame: its digit fills the
    box, and its centre of mass is where `centred` places it."""
    if levels.shape != (FRAME, FRAME) or not levels.any():
        return False
    sides = [np.ptp(np.flatnonzero((levels > EDGE * 255).any(axis))) + 1 for axis in (0, 1)]
    masses = [levels.sum(1 - axis) for axis in (0, 1)]
    centres = [float(mass @ np.arange(FRAME) / mass.sum()) for mass in masses]
    off = max(abs(centre - FRAME / 2) for centre in centres)
    return bool(BOX - SLACK <= max(sides) <= BOX and off <= 0.5 * SLACK)


def thick_enough(digit: np.ndarray) -> np.ndarray:
    """Widen the strokes of a digit if they would vanish when it is scaled to its box."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    for _ in range(8):
        scale = BOX / max(digit.shape)
        missing = THINNEST - scale * stroke_width(digit)
        if scale >= 0.5 or missing <= 0:
            break
        size = 2 * max(1, round(missing / scale / 4)) + 1
        digit = ndimage.maximum_filter(np.pad(digit, size // 2), size)
    return digit


def thin_enough(digit: np.ndarray) -> np.ndarray:
    """Narrow strokes that are wider than those of MNIST's digits, which no network knows, such as a marker's.

    A digit with a hole stays: a hole that grows takes another shape, and a button would become a 0.
    """
    scale = BOX / max(digit.shape)
    width = scale * stroke_width(digit)
    size = 1 + round((width - THICK) / scale)
    if not THICKEST < width < BLOB or size < 2:
        return digit
    from scipy import ndimage  # here, since the import takes 0.2 s

    inked = digit > 0.5
    if (ndimage.binary_fill_holes(inked) != inked).any():
        return digit
    thin = ndimage.minimum_filter(np.pad(digit, 1), size)
    rows, columns = np.flatnonzero((thin > 0.5).any(1)), np.flatnonzero((thin > 0.5).any(0))
    return thin[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else digit


def stroke_width(digit: np.ndarray) -> float:
    """Return the mean width of strokes, in pixels: twice the area over the length of the edges, since each has two."""
    along_both_axes = sum(float(np.abs(np.diff(np.pad(digit, 1), axis=axis)).sum()) for axis in (0, 1))
    return 2 * float(digit.sum()) / max(along_both_axes * np.pi / 4, 1e-6)


def haze_of(image: np.ndarray) -> float:
    """Return the share of the ink, uint8 [28, 28], that is faint and not beside a stroke, whose edge is faint, too."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    strokes = ndimage.maximum_filter(image, 3) > 127
    return float(image[~strokes & (image > FAINT)].sum() / max(1, image.sum()))


def centred(pixels: np.ndarray) -> np.ndarray:
    """Place the pixels in a frame of 28×28, with the centre of mass as near to pixel (14, 14) as whole pixels allow."""
    frame = np.zeros((FRAME, FRAME), np.float32)
    starts = []
    for axis, side in enumerate(pixels.shape):
        mass = pixels.sum(1 - axis)
        centre = float(mass @ np.arange(side) / mass.sum())
        starts.append(min(max(round(FRAME / 2 - centre), 0), FRAME - side))
    top, left = starts
    frame[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return frame
