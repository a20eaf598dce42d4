"""The strokes of a picture that hang together: without the dirt between them, and as several digits."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from mnist_mlp.errors import UserError

INKED = 0.35  # from so much ink on a pixel belongs to a stroke
FAINT = 0.05  # up to so much ink a pixel does not connect its neighbours
SHADE = 0.4  # a piece that nowhere has more ink is a shade
SPECK = 0.04  # of the largest area: what is smaller is dirt
PARTS = 40  # more pieces are no digit
APART = 0.3  # of its height: as far apart are no parts of a digit
MOST = 1000  # pieces that are looked at, of a picture of several digits
ALONG = 0.45  # of a side that a piece covers: it is no stroke that ends there
ACROSS = 0.9  # of a side of the picture that a piece spans, as a frame does
SMALLEST = 0.05  # of the picture's shorter side: a smaller piece is no digit beside such ones


@dataclasses.dataclass
class Box:
    """A part of a picture, and which strokes are in it."""

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
    """The digits, each as ink, float32 [height, width], in the order of reading; none where there is no ink.

    Raises `UserError` where there are too many pieces."""
    labels = connected(ink > INKED)
    boxes = boxes_of(labels, SPECK)
    height = max((box.bottom - box.top for box in boxes), default=0)
    return [cut(ink, labels, box) for box in in_reading_order(put_together(boxes, height), height)]


def strokes_in(ink: np.ndarray) -> np.ndarray:
    """The ink, float32 [height, width], that may be digits: without the pieces that are too small to be part of one, or
    nowhere more than a shade, and without those that run along a border of the picture or across it, such as the
    desk, a shadow or a frame, where another piece is left that may be a digit."""
    labels = connected(ink > FAINT)
    kept = ~margins_of(labels)
    kept[0] = False
    kept &= np.bincount(labels.ravel(), ink.ravel() > SHADE) > 0
    amounts = np.where(kept, np.bincount(labels.ravel(), ink.ravel()), 0)
    kept &= amounts >= SPECK * amounts.max()
    return np.where(kept[labels], ink, 0).astype(np.float32)


def margins_of(labels: np.ndarray) -> np.ndarray:
    """Which numbers of pieces are of what is around the paper; none, where nothing else may be a digit."""
    height, width = labels.shape
    found = np.zeros(labels.max() + 1, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        found |= np.bincount(side, minlength=found.size) >= ALONG * side.size
    numbers, _, tops, bottoms, lefts, rights = extents_of(labels)
    found[numbers] |= (bottoms - tops >= ACROSS * height) | (rights - lefts >= ACROSS * width)
    sides = np.maximum(bottoms - tops, rights - lefts)[~found[numbers]]
    return found if sides.max(initial=0) >= SMALLEST * min(height, width) else np.zeros_like(found)


def check_one_digit(ink: np.ndarray) -> None:
    """Raises `UserError` where the ink is of several digits, or of what is no digit at all."""
    sides = (ink[0], ink[-1], ink[:, 0], ink[:, -1])
    if all((side > FAINT).mean() >= ALONG for side in sides):
        raise UserError("expected a digit on paper, received ink along all borders; leave paper around the digit")
    boxes = boxes_of(connected(ink > FAINT))
    if len(boxes) > PARTS:
        raise UserError(f"expected a digit, received a picture with {len(boxes):,} pieces; cut the digit out")
    height = max((box.bottom - box.top for box in boxes), default=0)
    largest = max((box.area for box in boxes), default=0)
    alike = [box for box in boxes if box.bottom - box.top > 0.6 * height and box.area > 0.3 * largest]
    alike.sort(key=lambda box: box.left)
    apart = sum(after.left - before.right > APART * height for before, after in itertools.pairwise(alike))
    if apart:
        found = f"{apart + 1} beside each other"
        raise UserError(f"expected one digit, received {found}; cut one out, or type predict --segment")


def runs_along_a_border(mask: np.ndarray) -> bool:
    """Whether ink covers much of one side of the picture."""
    return any(side.mean() >= ALONG for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def connected(inked: np.ndarray) -> np.ndarray:
    """Label the connected pieces of a mask, bool [height, width], corners count: int32 from 1 up, 0 elsewhere."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    return ndimage.label(inked, np.ones((3, 3)))[0]


def boxes_of(labels: np.ndarray, least: float = 0.0) -> list[Box]:
    """A box for each number but 0; those alone whose area is at least that share of the largest.

    Raises `UserError` where there are too many.
    """
    numbers, areas, *ends = extents_of(labels)
    large = areas >= least * areas.max(initial=0)
    if large.sum() > MOST:
        raise UserError(f"expected digits, received a picture with {large.sum():,} pieces; cut the digits out")
    tops, bottoms, lefts, rights, areas, numbers = (part[large].tolist() for part in (*ends, areas, numbers))
    return list(map(Box, tops, bottoms, lefts, rights, areas, [[number] for number in numbers]))


def extents_of(labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each number but 0: itself, its area, its first row, the row after its last, and so its columns."""
    rows, columns = np.nonzero(labels)
    numbers, which, areas = np.unique(labels[rows, columns], return_inverse=True, return_counts=True)
    ends = []
    for places in (rows, columns):
        low, high = np.full(len(numbers), labels.size), np.full(len(numbers), -1)
        np.minimum.at(low, which, places)
        np.maximum.at(high, which, places)
        ends += [low, high + 1]
    return numbers, areas, *ends


def put_together(boxes: list[Box], height: int) -> list[Box]:
    """The boxes of digits: with a larger one go those that are parts of it, as the bar of a 5."""
    found: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.area):
        whole = next((other for other in found if belongs(box, other, height)), None)
        if whole:
            whole.add(box)
        else:
            found.append(box)
    return found


def belongs(part: Box, whole: Box, height: int) -> bool:
    """Whether one stands above or below the other, near it, and both are no higher than a digit, about `height`."""
    shared = min(part.right, whole.right) - max(part.left, whole.left)
    gap = max(part.top, whole.top) - min(part.bottom, whole.bottom)
    together = max(part.bottom, whole.bottom) - min(part.top, whole.top)
    narrower = min(part.right - part.left, whole.right - whole.left)
    return shared > 0.4 * narrower and gap < 0.2 * height and together <= 1.3 * height


def in_reading_order(boxes: list[Box], height: int) -> list[Box]:
    """Line by line from above, each from the left. A line begins where a box lies below the middle of the last one."""
    lines: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: box.top + box.bottom):
        middle = (box.top + box.bottom) / 2
        if lines and middle - np.mean([(b.top + b.bottom) / 2 for b in lines[-1]]) < 0.6 * height:
            lines[-1].append(box)
        else:
            lines.append([box])
    return [box for line in lines for box in sorted(line, key=lambda box: box.left)]


def cut(ink: np.ndarray, labels: np.ndarray, box: Box) -> np.ndarray:
    """The ink of a box, with a pixel around it for the faint ends, without the strokes of others."""
    area = slice(max(box.top - 1, 0), box.bottom + 1), slice(max(box.left - 1, 0), box.right + 1)
    others = (labels[area] > 0) & ~np.isin(labels[area], box.labels)
    return np.where(others, 0, ink[area]).astype(np.float32)
