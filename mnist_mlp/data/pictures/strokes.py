"""Find the connected pieces of ink and the groups of them that may be digits."""

from __future__ import annotations

import dataclasses

import numpy as np

INKED = 0.3  # a pixel with more ink belongs to a piece
FULL = 0.7  # a pixel with more has the ink of strokes
SPECK = 0.02  # fraction of the largest piece's area; smaller pieces are dirt
MAINS = 5  # pieces that are tried as the main one of a digit
PARTS = 20  # pieces; a group as large is not extended
VEIL = 0.2  # quantile of the ink beside strokes; if even that is inked, it is no ink
NEAR = 0.1  # fraction of the digit's larger side; a piece as near belongs to it


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The connected pieces of ink in a picture. Piece i has the label i + 1."""

    labels: np.ndarray  # int32 [height, width], 0 where there is no ink
    areas: np.ndarray  # int64 [n], pixels
    full: np.ndarray  # int64 [n], pixels of full ink: few in the edge of a shadow
    boxes: np.ndarray  # int64 [n, 4]: top, bottom, left, right; the ends are excluded

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def cut(self) -> np.ndarray:
        """Which pieces reach the border of the picture, bool [n]."""
        height, width = self.labels.shape
        top, bottom, left, right = self.boxes.T
        return (top == 0) | (left == 0) | (bottom == height) | (right == width)

    def are_in(self, group: list[int], area: tuple[slice, slice]) -> np.ndarray:
        """Return which pixels of an area belong to pieces of a group, bool [height, width]."""
        own = np.zeros(len(self) + 1, bool)
        own[[index + 1 for index in group]] = True
        return own[self.labels[area]]

    @property
    def sides(self) -> np.ndarray:
        """The larger side of each piece's box, int64 [n], pixels."""
        return np.maximum(self.boxes[:, 1] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 2])


def pieces_of(ink: np.ndarray) -> Pieces:
    """Return the connected pieces of ink, float32 [height, width] from 0 to 1; corners connect."""
    from scipy import ndimage  # here, since the import takes 0.2 s

    labels, count = ndimage.label(ink > INKED, np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    full = np.bincount(labels[ink > FULL], minlength=count + 1)[1:]
    slices = ndimage.find_objects(labels)
    ends = [(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in slices]
    return Pieces(labels, areas, full, np.array(ends, np.int64).reshape(-1, 4))


def around(boxes: np.ndarray) -> np.ndarray:
    """Return the box around boxes, int64 [4]."""
    return np.array([boxes[:, 0].min(), boxes[:, 1].max(), boxes[:, 2].min(), boxes[:, 3].max()])


def distances(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the distance between each box and another one, pixels; 0 if they overlap."""
    vertical = np.maximum(0, np.maximum(boxes[:, 0] - box[1], box[0] - boxes[:, 1]))
    horizontal = np.maximum(0, np.maximum(boxes[:, 2] - box[3], box[2] - boxes[:, 3]))
    return np.hypot(vertical, horizontal)


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Return the area that two boxes share."""
    height = min(box[1], other[1]) - max(box[0], other[0])
    width = min(box[3], other[3]) - max(box[2], other[2])
    return float(max(0, height) * max(0, width))


def within(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return which boxes lie within another one, bool [n]."""
    return (boxes[:, 0] >= box[0]) & (boxes[:, 1] <= box[1]) & (boxes[:, 2] >= box[2]) & (boxes[:, 3] <= box[3])


def groups_of(pieces: Pieces) -> list[list[int]]:
    """Return groups of pieces that may be one digit: each of the main pieces with what belongs to it."""
    found: list[list[int]] = []
    for main in np.argsort(-pieces.areas)[:MAINS]:
        group = group_around(pieces, int(main))
        if group not in found:
            found.append(group)
        if len(group) > 1 and [int(main)] not in found:
            found.append([int(main)])
    return found


def group_around(pieces: Pieces, main: int) -> list[int]:
    """Return a piece with those that belong to it, such as the bar of a 5 or the parts of a broken stroke, in order.

    These are near, no specks, and the main piece is at least half of the digit: the rest is a bar or a broken half.
    """
    chosen = np.zeros(len(pieces), bool)
    chosen[main] = True
    largest = pieces.sides[main] * 2
    candidates = (pieces.areas >= SPECK * pieces.areas[main]) & (pieces.areas <= pieces.areas[main])
    while chosen.sum() < PARTS:
        box = around(pieces.boxes[chosen])
        side = max(box[1] - box[0], box[3] - box[2])
        near = candidates & ~chosen & (distances(pieces.boxes, box) <= NEAR * side + 1)
        for index in np.flatnonzero(near):
            grown = around(np.vstack([box, pieces.boxes[index]]))
            if max(grown[1] - grown[0], grown[3] - grown[2]) > largest:
                near[index] = False
        if not near.any():
            break
        chosen |= near
    return np.flatnonzero(chosen).tolist()


def cut(ink: np.ndarray, pieces: Pieces, group: list[int]) -> np.ndarray:
    """Return the ink of a group, with one pixel around it for faint edges, without what belongs to other pieces.

    What ink lies on all the paper around the strokes is a shadow, or the sheet's own level, and is taken off.
    """
    top, bottom, left, right = around(pieces.boxes[group])
    area = slice(max(top - 1, 0), bottom + 1), slice(max(left - 1, 0), right + 1)
    labels = pieces.labels[area]
    others = (labels > 0) & ~pieces.are_in(group, area)
    paper = ink[area][labels == 0]
    veil = float(np.quantile(paper, VEIL)) if paper.size else 0.0
    return np.where(others, 0, (ink[area] - veil).clip(0) / (1 - veil)).astype(np.float32)
