"""Where there is ink: dark on light or light on dark, on paper that is lit unevenly."""

from __future__ import annotations

import numpy as np
from PIL import Image

ROUNDS = 8  # of fitting the paper without the ink
NOISE = 4.0  # deviations of the paper's noise that are not yet ink
GRAIN = 1.5  # levels of 255: a noisier picture is smoothed first
FAINTEST = 12.0  # levels of 255: a weaker contrast is no ink


def ink_of(levels: np.ndarray) -> np.ndarray:
    """How much ink each pixel has, float32 [height, width] from 0 to 1, of grey levels from 0 to 255.

    The paper is a smooth surface of the second order below the ink. All 0 where nothing stands out from it.
    """
    relief = levels - paper_of(levels)
    if noise_of(relief) > GRAIN:
        relief = resized(resized(relief, shrunk(relief.shape, 300)), relief.shape)
    floor = NOISE * noise_of(relief)
    if -relief[relief < -floor].sum() > relief[relief > floor].sum():
        relief = -relief  # dark on light
    peak = np.sort(relief, axis=None)[-max(1, relief.size // 500) :].mean()
    if peak < max(FAINTEST, 2 * floor):
        return np.zeros_like(levels)
    full = np.median(relief[relief > peak / 2])
    return ((relief - floor) / (full - floor)).clip(0, 1).astype(np.float32)


def noise_of(relief: np.ndarray) -> float:
    """The deviation of what differs from the paper by chance, in levels: most of a picture is paper."""
    return 1.4826 * float(np.median(np.abs(relief)))


def paper_of(levels: np.ndarray) -> np.ndarray:
    """The levels that the paper would have without ink, float32 [height, width].

    Where half of the picture or more is of one level, as in a drawing, that is the paper. Else a least-squares fit,
    which begins at the edges of the picture and leaves out, each time anew, what lies far from it.
    """
    values, counts = np.unique(np.rint(levels), return_counts=True)
    if counts.max() >= 0.5 * levels.size:
        return np.full_like(levels, values[counts.argmax()])
    small = resized(levels, shrunk(levels.shape, 100)).astype(np.float64)
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : small.shape[0] * 1j, -1 : 1 : small.shape[1] * 1j])
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values, kept = small.ravel(), (np.maximum(abs(x), abs(y)) > 0.8)
    fitted = np.full(values.shape, np.median(values))
    for _ in range(ROUNDS):
        if kept.sum() < 4 * terms.shape[1]:
            break
        fitted = terms @ np.linalg.lstsq(terms[kept], values[kept], rcond=None)[0]
        away = np.abs(values - fitted)
        kept = away < max(3 * 1.4826 * np.median(away[kept]), 4.0)
    return resized(fitted.reshape(small.shape).astype(np.float32), levels.shape)


def shrunk(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Height and width of a picture that is made smaller until no side is longer than that."""
    factor = max(1.0, max(shape) / side)
    height, width = (max(1, round(each / factor)) for each in shape)
    return height, width


def resized(levels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The levels at another size: means of areas where it is smaller, bilinear where it is larger."""
    method = Image.Resampling.BOX if shape[0] < levels.shape[0] else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(levels).resize((shape[1], shape[0]), method))
