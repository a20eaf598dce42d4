"""The strokes of a picture that hang together: without the dirt between them, and as several digits."""

from __future__ import annotations

import dataclasses

import numpy as np

from mnist_mlp.errors import UserError

INKED = 0.35  # from so much ink on a pixel belongs to a stroke
FAINT = 0.05  # up to so much ink a pixel does not connect its neighbours
SHADE = 0.4  # a piece that nowhere has more ink is a shade
SPECK = 0.04  # of the largest area: what is smaller is dirt
MOST = 1000  # pieces that are looked at, of a picture of several digits
ALONG = 0.25  # of a side that a piece covers: it is no stroke that ends there
ACROSS = 0.9  # of the picture that a piece spans
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
    boxes = boxes_of(labels)
    if not boxes:
        return []
    largest = max(box.area for box in boxes)
    height = max(box.bottom - box.top for box in boxes)
    boxes = [box for box in boxes if box.area >= SPECK * largest]
    if len(boxes) > MOST:
        raise UserError(
            f"expected digits, received a picture with {len(boxes):,} pieces; cut out what has at most {MOST:,}"
        )
    return [cut(ink, labels, box) for box in in_reading_order(put_together(boxes, height), height)]


def without_specks(ink: np.ndarray) -> np.ndarray:
    """The ink, float32 [height, width], without the pieces that are too small to be part of a digit, or nowhere more
    than a shade."""
    labels = connected(ink > FAINT)
    amounts = np.bincount(labels.ravel(), ink.ravel())
    strong = np.bincount(labels.ravel(), ink.ravel() > SHADE) > 0
    amounts[0], strong[0] = 0.0, False
    amounts[~strong] = 0.0
    return np.where((strong & (amounts >= SPECK * amounts.max()))[labels], ink, 0).astype(np.float32)


def without_margins(ink: np.ndarray) -> np.ndarray:
    """The ink without the pieces that run along a border of the picture or across it, such as a frame, the desk or a
    shadow, where another piece is left that may be a digit."""
    mask = ink > FAINT
    if not runs_along_a_border(mask) and not spans(mask):
        return ink
    labels = connected(mask)
    boxes = boxes_of(labels)
    height, width = ink.shape
    along = {number for number, length in numbers_at_the_borders(labels).items() if length >= ALONG}
    across = {box.labels[0] for box in boxes if is_across(box, height, width)}
    margins = along | across
    rest = [box for box in boxes if box.labels[0] not in margins]
    if not any(max(box.bottom - box.top, box.right - box.left) >= SMALLEST * min(ink.shape) for box in rest):
        return ink
    return np.where(np.isin(labels, sorted(margins)), 0, ink).astype(np.float32)


def is_across(box: Box, height: int, width: int) -> bool:
    return box.bottom - box.top >= ACROSS * height or box.right - box.left >= ACROSS * width


def spans(mask: np.ndarray) -> bool:
    """Whether what is there reaches from one side to the other, nearly."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return bool(rows.size) and (
        int(np.ptp(rows)) + 1 >= ACROSS * mask.shape[0] or int(np.ptp(columns)) + 1 >= ACROSS * mask.shape[1]
    )


def runs_along_a_border(mask: np.ndarray) -> bool:
    """Whether ink covers much of one side of the picture."""
    return any(side.mean() >= ALONG for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def numbers_at_the_borders(labels: np.ndarray) -> dict[int, float]:
    """The share of a side that a piece covers, at most, of each piece that touches one."""
    found: dict[int, float] = {}
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        numbers, counts = np.unique(side[side > 0], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            found[number] = max(found.get(number, 0.0), count / side.size)
    return found


def connected(inked: np.ndarray) -> np.ndarray:
    """Numbers from 1 on for the pixels that hang together, corners counted, and 0 elsewhere; int32 [height, width].

    Runs of a row are joined with those above that they touch: as many steps as there are runs, not pixels.
    """
    parent = [0]
    labels = np.zeros(inked.shape, np.int32)
    above: list[tuple[int, int, int]] = []  # first column, column after the last, number
    for row, line in enumerate(inked):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.view(np.int8), [0]])))
        here = []
        at = 0
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            while at < len(above) and above[at][1] < start:
                at += 1
            end = at
            while end < len(above) and above[end][0] <= stop:
                end += 1
            touched = [root(parent, number) for _, _, number in above[at:end]]
            number = min(touched, default=len(parent))
            if not touched:
                parent.append(number)
            for other in touched:
                parent[other] = number
            labels[row, start:stop] = number
            here.append((start, stop, number))
        above = here
    roots = np.array([root(parent, number) for number in range(len(parent))], np.int32)
    return roots[labels]


def root(parent: list[int], number: int) -> int:
    """The number that stands for all that are joined with this one."""
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number


def boxes_of(labels: np.ndarray) -> list[Box]:
    """A box for each number but 0."""
    rows, columns = np.nonzero(labels)
    numbers, which, areas = np.unique(labels[rows, columns], return_inverse=True, return_counts=True)
    ends = []
    for places in (rows, columns):
        low, high = np.full(len(numbers), labels.size), np.full(len(numbers), -1)
        np.minimum.at(low, which, places)
        np.maximum.at(high, which, places)
        ends += [low, high + 1]
    tops, bottoms, lefts, rights = (end.tolist() for end in ends)
    return list(map(Box, tops, bottoms, lefts, rights, areas.tolist(), [[number] for number in numbers.tolist()]))


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
