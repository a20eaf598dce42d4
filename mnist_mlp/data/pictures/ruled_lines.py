"""Remove the lines of ruled and squared paper: long, thin, straight, across the whole picture."""

from __future__ import annotations

import numpy as np

SMALLEST = 100  # pixels; a smaller picture has no ruled lines
THIN = 0.012  # thickness as a fraction of the picture's longer side
STEEPEST = 0.06  # largest slope of a line
COVERED = 0.4  # fraction of a line that must be visible; the digit hides the rest
PALE = 0.75  # a line has at most this much of the digit's ink, or
THINNER = 0.6  # this much of its strokes' thickness


def without_lines(ink: np.ndarray, faint: float) -> np.ndarray:
    """Return the ink, float32 [height, width], without horizontal and vertical lines from border to border.

    Lines that are as strong and as wide as the rest are strokes, and stay.
    """
    if min(ink.shape) < SMALLEST:
        return ink
    mask = ink > faint
    if not (from_border_to_border(mask) or from_border_to_border(mask.T)):
        return ink
    across, down = ruled(mask), ruled(mask.T).T
    lines = across | down
    if across.any() and down.any():
        lines |= crossings(mask, lines)
    rest = mask & ~lines
    if not lines.any() or not rest.any():
        return ink
    strong = rest & (ink > 0.5)
    pale = np.median(ink[lines]) < PALE * np.median(ink[strong]) if strong.any() else False
    if pale or thickness(lines) < THINNER * thickness(strong):
        return np.where(lines, 0, ink).astype(np.float32)
    return ink


def thickness(mask: np.ndarray) -> float:
    """Return the mean thickness of a mask's pieces, in pixels: twice the area over the length of the edges."""
    padded = np.pad(mask, 1).view(np.int8)
    edges = sum(np.abs(np.diff(padded, axis=axis)).sum() for axis in (0, 1))
    return 2 * float(mask.sum()) / max(float(edges) * np.pi / 4, 1e-6)


def ruled(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of lines from the left border to the right one, bool [height, width]."""
    height, width = mask.shape
    thin = max(3, round(THIN * max(mask.shape)))
    found = np.zeros_like(mask)
    if not from_border_to_border(mask):
        return found
    candidates = mask & ~opened(mask, thin + 1)
    rows, columns = np.nonzero(candidates)
    if rows.size < COVERED * width:
        return found
    margin = round(STEEPEST * width) + 2
    for rise in np.arange(-STEEPEST, STEEPEST + 1e-9, 1 / width):
        moved = np.rint(rows - rise * columns).astype(np.intp) + margin
        seen = np.bincount(moved, minlength=height + 2 * margin)
        lines = seen >= COVERED * width
        if not lines.any():
            continue
        first, last = np.full(seen.size, width), np.full(seen.size, -1)
        np.minimum.at(first, moved, columns)
        np.maximum.at(last, moved, columns)
        # The ends of a line that is not quite straight, or not quite of this slope, may lie in the rows beside it.
        first[1:-1] = np.minimum(first[1:-1], np.minimum(first[:-2], first[2:]))
        last[1:-1] = np.maximum(last[1:-1], np.maximum(last[:-2], last[2:]))
        lines &= (first <= 0.02 * width) & (last >= 0.98 * width - 1)
        lines[1:-1] |= lines[:-2] | lines[2:]
        on = lines[moved]
        found[rows[on], columns[on]] = True
    grown = found.copy()  # the soft edges of a line
    for step in range(1, thin):
        grown[step:] |= found[:-step]
        grown[:-step] |= found[step:]
    return grown & candidates


def crossings(mask: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Return the pixels where lines cross, bool [height, width]: those that remain beside lines, no wider than these.

    They lie in runs of both directions, as the pixels of strokes do, and belong to the candidates of neither.
    """
    from scipy import ndimage  # here, since the import takes 0.2 s

    thin = max(3, round(THIN * max(mask.shape)))
    labels, count = ndimage.label(mask & ~lines, np.ones((3, 3)))
    beside = np.bincount(labels[ndimage.binary_dilation(lines)], minlength=count + 1) > 0
    small = [max(part.stop - part.start for part in box) <= thin + 1 for box in ndimage.find_objects(labels)]
    return np.append(False, beside[1:] & np.array(small, bool))[labels]


def from_border_to_border(mask: np.ndarray) -> bool:
    """Return whether lines may run from the left border to the right one: cheap, and mostly they do not."""
    end = max(1, mask.shape[1] // 50)
    return bool(mask[:, :end].any() and mask[:, -end:].any())


def opened(mask: np.ndarray, length: int) -> np.ndarray:
    """Return the pixels in vertical runs of at least `length` pixels."""
    # scipy.ndimage.binary_opening gives the same and is slower.
    padded = np.pad(mask.astype(np.int32), ((1, length), (0, 0)))
    total = padded.cumsum(0)
    full = total[length:] - total[:-length] == length  # a run begins below
    starts = full[: mask.shape[0]]
    counted = np.pad(starts.astype(np.int32), ((length, 0), (0, 0))).cumsum(0)
    return (counted[length:] - counted[:-length]) > 0
