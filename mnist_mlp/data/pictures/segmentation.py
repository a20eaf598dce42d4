"""Find the connected strokes of a picture, drop the dirt, and group the strokes into digits."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from mnist_mlp.errors import UserError

INKED = 0.35  # a pixel with more ink belongs to a stroke
FAINT = 0.05  # a pixel with less ink does not connect its neighbours
SHADE = 0.4  # a piece without more ink than this anywhere is a shade
SPECK = 0.04  # fraction of the largest area; smaller pieces are dirt
PARTS = 40  # more pieces are not one digit
APART = 0.3  # fraction of the height; parts of one digit are not farther apart
MOST = 1000  # pieces of a picture of several digits
ALONG = 0.45  # fraction of a side of the picture; a piece that covers more is not a stroke that ends there
ACROSS = 0.9  # fraction of a side of the picture that a frame spans
SMALLEST = 0.05  # fraction of the picture's shorter side; smaller pieces are no digits


@dataclasses.dataclass
class Box:
    """A bounding box, and the labels of the strokes in it."""

    top: int
    bottom: int
    left: int
    right: int
    area: int
    labels: list[int]

    def add(self, other: Box) -> None:
        self.top, self.bottom = min(self.top, other.top), max(self.bottom, other.bottom)
        self.left, self.right = min(self.left, other.left), max(self.right, other.right)
        self.area, self.labels = self.area + other.area, self.labels + other.labels


def digits_in(ink: np.ndarray) -> list[np.ndarray]:
    """Return the digits in reading order, each as ink, float32 [height, width]; none if there is no ink.

    Raise `UserError` if there are too many pieces.
    """
    labels = connected(ink > INKED)
    boxes = boxes_of(labels, SPECK)
    height = max((box.bottom - box.top for box in boxes), default=0)
    return [cut(ink, labels, box) for box in in_reading_order(merged(boxes, height), height)]


def strokes_in(ink: np.ndarray) -> np.ndarray:
    """Return the ink, float32 [height, width], that may be digits.

    Dropped are pieces that are too small to be part of one, or nowhere more than a shade; and pieces along a border of
    the picture or across it (the desk, a shadow, a frame), if another piece is left that may be a digit.
    """
    labels = connected(ink > FAINT)
    kept = ~margins_of(labels)
    kept[0] = False
    kept &= np.bincount(labels.ravel(), ink.ravel() > SHADE) > 0
    amounts = np.where(kept, np.bincount(labels.ravel(), ink.ravel()), 0)
    kept &= amounts >= SPECK * amounts.max()
    return np.where(kept[labels], ink, 0).astype(np.float32)


def margins_of(labels: np.ndarray) -> np.ndarray:
    """Return which labels are of things around the paper, bool [labels]; none if nothing else may be a digit."""
    height, width = labels.shape
    margins = np.zeros(labels.max() + 1, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        margins |= np.bincount(side, minlength=margins.size) >= ALONG * side.size
    numbers, _, tops, bottoms, lefts, rights = extents_of(labels)
    margins[numbers] |= (bottoms - tops >= ACROSS * height) | (rights - lefts >= ACROSS * width)
    sides = np.maximum(bottoms - tops, rights - lefts)[~margins[numbers]]
    return margins if sides.max(initial=0) >= SMALLEST * min(height, width) else np.zeros_like(margins)


def check_one_digit(ink: np.ndarray) -> None:
    """Raise `UserError` if the ink is of several digits, or plainly of no digit."""
    sides = (ink[0], ink[-1], ink[:, 0], ink[:, -1])
    if all((side > FAINT).mean() >= ALONG for side in sides):
        raise UserError("expected a digit on paper, received ink along all borders; leave paper around the digit")
    boxes = boxes_of(connected(ink > FAINT))
    if len(boxes) > PARTS:
        raise UserError(f"expected a digit, received a picture with {len(boxes):,} pieces; crop it to the digit")
    height = max((box.bottom - box.top for box in boxes), default=0)
    largest = max((box.area for box in boxes), default=0)
    alike = [box for box in boxes if box.bottom - box.top > 0.6 * height and box.area > 0.3 * largest]
    alike.sort(key=lambda box: box.left)
    apart = sum(after.left - before.right > APART * height for before, after in itertools.pairwise(alike))
    if apart:
        found = f"{apart + 1} side by side"
        raise UserError(f"expected one digit, received {found}; crop it to one, or use predict --segment")


def runs_along_a_border(mask: np.ndarray) -> bool:
    """Return whether ink covers much of one side of the picture."""
    return any(side.mean() >= ALONG for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def connected(inked: np.ndarray) -> np.ndarray:
    """Label the connected pieces of a mask, bool [height, width], corners count: int32 from 1 up, 0 elsewhere."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    return ndimage.label(inked, np.ones((3, 3)))[0]


def boxes_of(labels: np.ndarray, least: float = 0.0) -> list[Box]:
    """Return a box for each label whose area is at least the fraction `least` of the largest.

    Raise `UserError` if there are too many.
    """
    numbers, areas, *ends = extents_of(labels)
    large = areas >= least * areas.max(initial=0)
    if large.sum() > MOST:
        raise UserError(f"expected digits, received a picture with {large.sum():,} pieces; crop it to the digits")
    tops, bottoms, lefts, rights, areas, numbers = (part[large].tolist() for part in (*ends, areas, numbers))
    return list(map(Box, tops, bottoms, lefts, rights, areas, [[number] for number in numbers]))


def extents_of(labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return arrays with an entry per label: the label, its area, first row, last row + 1, first column, last + 1."""
    rows, columns = np.nonzero(labels)
    numbers, which, areas = np.unique(labels[rows, columns], return_inverse=True, return_counts=True)
    ends = []
    for indices in (rows, columns):
        low, high = np.full(len(numbers), labels.size), np.full(len(numbers), -1)
        np.minimum.at(low, which, indices)
        np.maximum.at(high, which, indices)
        ends += [low, high + 1]
    return numbers, areas, *ends


def merged(boxes: list[Box], height: int) -> list[Box]:
    """Merge boxes of strokes into boxes of digits, such as the bar of a 5 with the rest of it."""
    digits: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.area):
        whole = next((digit for digit in digits if belongs(box, digit, height)), None)
        if whole:
            whole.add(box)
        else:
            digits.append(box)
    return digits


def belongs(part: Box, whole: Box, height: int) -> bool:
    """Return whether one is just above or below the other, and both together are no higher than about `height`."""
    shared = min(part.right, whole.right) - max(part.left, whole.left)
    gap = max(part.top, whole.top) - min(part.bottom, whole.bottom)
    together = max(part.bottom, whole.bottom) - min(part.top, whole.top)
    narrower = min(part.right - part.left, whole.right - whole.left)
    return shared > 0.4 * narrower and gap < 0.2 * height and together <= 1.3 * height


def in_reading_order(boxes: list[Box], height: int) -> list[Box]:
    """Sort boxes line by line from the top, each from the left. A box below the middle of a line begins a new one."""
    lines: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: box.top + box.bottom):
        middle = (box.top + box.bottom) / 2
        if lines and middle - np.mean([(b.top + b.bottom) / 2 for b in lines[-1]]) < 0.6 * height:
            lines[-1].append(box)
        else:
            lines.append([box])
    return [box for line in lines for box in sorted(line, key=lambda box: box.left)]


def cut(ink: np.ndarray, labels: np.ndarray, box: Box) -> np.ndarray:
    """Return the ink of a box, with one pixel around it for faint edges, without the strokes of other boxes."""
    area = slice(max(box.top - 1, 0), box.bottom + 1), slice(max(box.left - 1, 0), box.right + 1)
    others = (labels[area] > 0) & ~np.isin(labels[area], box.labels)
    return np.where(others, 0, ink[area]).astype(np.float32)
