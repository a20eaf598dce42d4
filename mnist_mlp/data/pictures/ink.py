"""Separate ink from paper: with a dark or a light pen, by one level for all or by the levels nearby.

Nothing is decided here. Each way gives one map of the ink; `reading` compares what they show.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from mnist_mlp.data.pictures.ruled_lines import without_lines

FAINT = 0.05  # a pixel with less ink is paper
ROUNDS = 8  # iterations of fitting the paper without the ink
RIDGE = 1e-6  # keeps the normal equations solvable for a picture one pixel wide
SAMPLE = 20_000  # pixels; enough to estimate the noise of a larger picture
NOISE = 4.0  # standard deviations of the paper's noise above which there is ink
GRAIN = 1.5  # levels of 255; a noisier picture is smoothed first
DEEPEST = 0.4  # of the paper's usual level; in a deeper shadow the noise would be enlarged too much
WINDOW = 0.35  # fraction of the shorter side; wider than strokes
FAINTEST = 12.0  # levels of 255; a weaker contrast is not ink
SAME = 0.003  # mean difference of two maps, of which one is enough
TINY = 48  # pixels; in a smaller picture the neighbourhood is the whole

EVEN, TWO_LEVELS, THREE_LEVELS, NEARBY = "one level of paper", "two levels", "three levels", "the levels nearby"


@dataclasses.dataclass(frozen=True)
class InkMap:
    """How much ink each pixel has, if the picture is read in one way."""

    ink: np.ndarray  # float32 [height, width], 0–1
    pen: str  # dark or light
    method: str  # EVEN, TWO_LEVELS, THREE_LEVELS or NEARBY
    contrast: float  # levels of 255 between paper and full ink
    noise: float  # standard deviation of the paper, in levels of 255


def maps_of(levels: np.ndarray) -> list[InkMap]:
    """Return the maps of the ink in a picture, grey levels float32 [height, width] from 0 to 255.

    A way that finds no contrast gives no map.
    """
    found = []
    even = smoothed(levels - paper_of(levels))
    near = {} if min(levels.shape) < TINY else reliefs_nearby(levels)
    for pen, sign in (("dark", -1.0), ("light", 1.0)):
        maps = [above(sign * even, pen, EVEN), two_levels(levels, pen), three_levels(levels, pen)]
        if pen in near:
            maps.append(above(near[pen], pen, NEARBY))
        found += different([each for each in maps if each is not None])
    return found


def different(maps: list[InkMap]) -> list[InkMap]:
    """Return the maps without those that are nearly like one before them."""
    kept: list[InkMap] = []
    for each in maps:
        if all(np.abs(each.ink - other.ink).mean() > SAME for other in kept):
            kept.append(each)
    return kept


def above(relief: np.ndarray, pen: str, method: str) -> InkMap | None:
    """Return the ink where the relief, in levels, rises above the paper's noise; None if it nowhere does."""
    noise = noise_of(relief)
    floor = NOISE * noise
    peak = peak_of(relief)
    if peak < max(FAINTEST, 2 * floor):
        return None
    full = float(np.median(relief[relief > peak / 2]))
    ink = ((relief - floor) / (full - floor)).clip(0, 1).astype(np.float32)
    return InkMap(without_lines(ink, FAINT), pen, method, full, noise)


def two_levels(levels: np.ndarray, pen: str) -> InkMap | None:
    """Return the ink if all paper has one level and all ink another: those that Otsu's threshold separates."""
    split = otsu(levels)
    return parted(levels[levels <= split], levels[levels > split], levels, pen, TWO_LEVELS)


def three_levels(levels: np.ndarray, pen: str) -> InkMap | None:
    """Return the ink if it has the darkest of three levels (for a dark pen; the lightest for a light one).

    The level between is that of a shadow, or of another sheet: whatever is beyond the paper on one side.
    """
    first = otsu(levels)
    part = levels[levels <= first] if pen == "dark" else levels[levels > first]
    if not part.size:
        return None
    second = otsu(part)
    low, high = (levels, part) if pen == "dark" else (part, levels)
    return parted(low[low <= second], high[high > second], levels, pen, THREE_LEVELS)


def parted(dark: np.ndarray, light: np.ndarray, levels: np.ndarray, pen: str, method: str) -> InkMap | None:
    """Return the ink, given samples of the levels on both sides of the edge between ink and paper."""
    if not light.size or not dark.size:
        return None
    top, bottom = float(np.median(light)), float(np.median(dark))
    noise = 1.4826 * float(np.median(abs((dark - bottom) if pen == "light" else (light - top))))
    quarter = (top - bottom) / 4  # the soft edge between them
    if top - bottom < max(FAINTEST, 2 * NOISE * noise):
        return None
    share = (levels - bottom - quarter) / (2 * quarter)
    ink = (share if pen == "light" else 1 - share).clip(0, 1).astype(np.float32)
    return InkMap(without_lines(ink, FAINT), pen, method, top - bottom, noise)


def otsu(levels: np.ndarray) -> float:
    """Return the level that separates a picture's levels into two classes of the least variance within (Otsu, 1979)."""
    counts = np.bincount(np.rint(levels).astype(np.intp).ravel().clip(0, 255), minlength=256).astype(float)
    below, total = counts.cumsum(), (counts * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (total[-1] * below / below[-1] - total) ** 2 / (below * (below[-1] - below))
    between = np.nan_to_num(between, nan=0.0, posinf=0.0)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # a plateau between two separate levels
    return float(best.mean()) + 0.5


def reliefs_nearby(levels: np.ndarray) -> dict[str, np.ndarray]:
    """Return for each pen how far each pixel is from the paper around it.

    The paper is the picture's closing (for a dark pen) or opening (for a light one) by a window wider than strokes, as
    in Meyer's top-hat transform. A dark pen takes a share of the light that the paper has, also in a shadow.
    """
    small = resized(levels, shrunk(levels.shape, 120))
    window = max(3, round(WINDOW * min(small.shape)))
    closing, opening = closed(small, window), -closed(-small, window)
    paper = resized(closing, levels.shape)
    usual = float(np.median(paper))
    reliefs = {
        "dark": smoothed((paper - levels) * (usual / np.maximum(paper, max(1.0, usual * DEEPEST)))),
        "light": smoothed(levels - resized(opening, levels.shape)),
    }
    return {pen: relief - np.median(relief) for pen, relief in reliefs.items()}


def closed(values: np.ndarray, window: int) -> np.ndarray:
    """Return the grey closing by a square window, which may reach beyond the picture, as what lies on its border may.

    It fills what is darker than its surroundings and too narrow for the window.
    """
    from scipy import ndimage  # here, since the import takes 0.2 s

    inner = slice(window - 1, 1 - window)
    return ndimage.grey_closing(np.pad(values, window - 1, constant_values=-np.inf), window)[inner, inner]


def smoothed(relief: np.ndarray) -> np.ndarray:
    """Smooth the relief if it is noisy: as much as brings its noise below GRAIN, but by less than thin strokes."""
    noise = noise_of(relief)
    if noise <= GRAIN or min(relief.shape) < TINY:
        return relief
    from scipy import ndimage  # here, since the import takes 0.2 s

    return ndimage.gaussian_filter(relief, min(noise / (2 * GRAIN), max(relief.shape) / 250))


def peak_of(relief: np.ndarray) -> float:
    """Return the mean of the highest 0.2%."""
    count = max(1, relief.size // 500)
    return float(np.partition(relief, -count, axis=None)[-count:].mean())


def noise_of(relief: np.ndarray) -> float:
    """Return the standard deviation of the paper's noise, in levels, given that most of a picture is paper."""
    sample = relief.ravel()[:: max(1, relief.size // SAMPLE)]
    return 1.4826 * float(np.median(np.abs(sample)))


def paper_of(levels: np.ndarray) -> np.ndarray:
    """Return the levels that the paper would have without ink, float32 [height, width].

    If at least half of the picture has one level, as in a drawing, that is the paper. Otherwise fit by least squares,
    starting from the edges of the picture and dropping outliers in each iteration.
    """
    counts = np.bincount(np.rint(levels).astype(np.intp).ravel().clip(0, 255))
    if counts.max() >= 0.5 * levels.size:
        return np.full_like(levels, counts.argmax())
    small = resized(levels, shrunk(levels.shape, 100)).astype(np.float64)
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : small.shape[0] * 1j, -1 : 1 : small.shape[1] * 1j])
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values, kept = small.ravel(), np.maximum(abs(x), abs(y)) > 0.8
    fitted = np.full(values.shape, np.median(values))
    for _ in range(ROUNDS):
        if kept.sum() < 4 * terms.shape[1]:
            break
        inside = terms[kept]
        # The normal equations of six smooth terms on [-1, 1] are well conditioned, and solved in a tenth of the time.
        fitted = terms @ np.linalg.solve(inside.T @ inside + RIDGE * np.eye(6), inside.T @ values[kept])
        residuals = np.abs(values - fitted)
        before, kept = kept, residuals < max(3 * 1.4826 * np.median(residuals[kept]), 4.0)
        if (kept == before).all():
            break
    return resized(fitted.reshape(small.shape).astype(np.float32), levels.shape)


def shrunk(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return the height and width of a picture that is scaled down so that no side is longer than `side`."""
    factor = max(1.0, max(shape) / side)
    height, width = (max(1, round(each / factor)) for each in shape)
    return height, width


def resized(levels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize the levels: average areas to reduce, interpolate linearly to enlarge."""
    if levels.shape == tuple(shape):
        return levels
    method = Image.Resampling.BOX if np.prod(shape) < levels.size else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(levels).resize((shape[1], shape[0]), method))
