"""Find the ink of a picture: dark on light or light on dark, on unevenly lit paper."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from mnist_mlp.data.pictures.ruled_lines import without_lines
from mnist_mlp.data.pictures.segmentation import FAINT, runs_along_a_border, strokes_in

ROUNDS = 8  # iterations of fitting the paper without the ink
NOISE = 4.0  # standard deviations of the paper's noise above which there is ink
GRAIN = 1.5  # levels of 255; a noisier picture is smoothed first
WINDOW = 0.3  # fraction of the shorter side; wider than strokes
CRISP = 0.5  # with at least this crispness, the first method is good enough
FAINTEST = 12.0  # levels of 255; a weaker contrast is not ink


def ink_of(levels: np.ndarray) -> np.ndarray:
    """Return how much ink each pixel has, float32 [height, width] from 0 to 1, given grey levels from 0 to 255.

    First, strokes are separated from a quadratic surface, which models paper in smooth light. If something is left that
    is no digit (the edge of a shadow, the desk, a frame), strokes are separated from the paper in their neighbourhood
    instead. All 0 if nothing stands out.
    """
    even = strokes_in(without_lines(ink_above(smoothed(levels - paper_of(levels))), FAINT))
    if crispness(even) > CRISP:
        return even
    near = strokes_in(without_lines(ink_above(relief_nearby(levels)), FAINT))
    return near if crispness(near) > max(crispness(even) + 0.1, 0.5 * float(even.any())) else even


def crispness(ink: np.ndarray) -> float:
    """Return which share of the non-paper is full ink, high for strokes and low for shadows; 0 along a border."""
    mask = ink > FAINT
    if not mask.any() or runs_along_a_border(mask):
        return 0.0
    return float((ink > 0.5).sum() / mask.sum())


def smoothed(relief: np.ndarray) -> np.ndarray:
    """Smooth the relief if it is noisy."""
    if noise_of(relief) > GRAIN:
        return resized(resized(relief, shrunk(relief.shape, 300)), relief.shape)
    return relief


def relief_nearby(levels: np.ndarray) -> np.ndarray:
    """Return how far each pixel is below (or above) the paper around it.

    The paper is the picture's closing (for dark ink) or opening (for light ink) by a window wider than strokes, as in
    Meyer's top-hat transform. Which of the two is ink follows from the rest of the picture, since the gaps between
    strokes have the level of the paper.
    """
    small = resized(levels, shrunk(levels.shape, 400))
    window = max(3, round(WINDOW * min(small.shape)))
    dark = closed(small, window) - small
    light = closed(-small, window) + small
    limit = max(FAINTEST, 0.5 * float(max(peak_of(dark), peak_of(light))))
    darker = commonness(small, dark > limit, light > limit) <= commonness(small, light > limit, dark > limit)
    paper = small + dark if darker else small - light
    relief = smoothed(levels - resized(paper, levels.shape))
    return relief - np.median(relief)


def commonness(levels: np.ndarray, mask: np.ndarray, other: np.ndarray) -> float:
    """Return how many pixels outside both masks have, on average, the level of a pixel in `mask`.

    These are few if the mask is ink, many if it is paper between strokes.
    """
    if not mask.any():
        return math.inf
    bins = np.rint(levels / 8).astype(np.intp).clip(0, 32)
    counts = np.bincount(bins[~(mask | other)], minlength=33)
    return float(np.convolve(counts, np.ones(3), "same")[bins[mask]].mean())


def closed(values: np.ndarray, window: int) -> np.ndarray:
    """Return the grey closing by a square window, which may reach beyond the picture, as what lies on its border may.

    It fills what is darker than its surroundings and too narrow for the window.
    """
    from scipy import ndimage  # here, since the import takes 0.2 s

    inner = slice(window - 1, 1 - window)
    return ndimage.grey_closing(np.pad(values, window - 1, constant_values=-np.inf), window)[inner, inner]


def ink_above(relief: np.ndarray) -> np.ndarray:
    """Convert relief to ink from 0 to 1, whether it is above or below the paper."""
    floor = NOISE * noise_of(relief)
    if -relief[relief < -floor].sum() > relief[relief > floor].sum():
        relief = -relief  # dark on light
    peak = peak_of(relief)
    if peak < max(FAINTEST, 2 * floor):
        return np.zeros(relief.shape, np.float32)
    full = np.median(relief[relief > peak / 2])
    return ((relief - floor) / (full - floor)).clip(0, 1).astype(np.float32)


def peak_of(relief: np.ndarray) -> float:
    """Return the mean of the highest 0.2%."""
    return float(np.sort(relief, axis=None)[-max(1, relief.size // 500) :].mean())


def noise_of(relief: np.ndarray) -> float:
    """Return the standard deviation of the paper's noise, in levels, given that most of a picture is paper."""
    return 1.4826 * float(np.median(np.abs(relief)))


def paper_of(levels: np.ndarray) -> np.ndarray:
    """Return the levels that the paper would have without ink, float32 [height, width].

    If at least half of the picture has one level, as in a drawing, that is the paper. Otherwise fit by least squares,
    starting from the edges of the picture and dropping outliers in each iteration.
    """
    values, counts = np.unique(np.rint(levels), return_counts=True)
    if counts.max() >= 0.5 * levels.size:
        return np.full_like(levels, values[counts.argmax()])
    small = resized(levels, shrunk(levels.shape, 100)).astype(np.float64)
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : small.shape[0] * 1j, -1 : 1 : small.shape[1] * 1j])
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values, kept = small.ravel(), np.maximum(abs(x), abs(y)) > 0.8
    fitted = np.full(values.shape, np.median(values))
    for _ in range(ROUNDS):
        if kept.sum() < 4 * terms.shape[1]:
            break
        fitted = terms @ np.linalg.lstsq(terms[kept], values[kept], rcond=None)[0]
        residuals = np.abs(values - fitted)
        kept = residuals < max(3 * 1.4826 * np.median(residuals[kept]), 4.0)
    return resized(fitted.reshape(small.shape).astype(np.float32), levels.shape)


def shrunk(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return the height and width of a picture that is scaled down so that no side is longer than `side`."""
    factor = max(1.0, max(shape) / side)
    height, width = (max(1, round(each / factor)) for each in shape)
    return height, width


def resized(levels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize the levels: average areas to reduce, interpolate linearly to enlarge."""
    method = Image.Resampling.BOX if shape[0] < levels.shape[0] else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(levels).resize((shape[1], shape[0]), method))
