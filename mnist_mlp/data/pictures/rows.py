"""Find several digits in a picture and put them into reading order, also along tilted or rising lines."""

from __future__ import annotations

import numpy as np

from mnist_mlp.data.pictures.strokes import Pieces, around, within

SPECK = 0.04  # fraction of the largest digit's area; smaller pieces are dirt
DIRT = 0.01  # fraction of a frame's area; what is smaller is not counted in it
SHORTEST = 0.35  # fraction of the usual height; what is shorter is dirt, or a mark between digits
OVERLAP = 0.35  # fraction of the shorter box's height that two neighbours of a line share
FARTHEST = 4.0  # heights; neighbours of a line are not farther apart
STEEPEST = 0.5  # largest slope of a line


def digits_of(pieces: Pieces) -> list[list[int]]:
    """Return the groups of pieces that may be digits. What encloses several others is a frame, and none of them."""
    kept = np.ones(len(pieces), bool)
    for index in np.argsort(-pieces.sides)[:20]:  # a frame is among the largest
        inside = within(pieces.boxes, pieces.boxes[index]) & (pieces.areas > DIRT * pieces.areas[index])
        kept[index] = inside.sum() <= 2  # itself and one more
    kept &= pieces.areas >= SPECK * pieces.areas[kept].max(initial=0)
    groups = merged(pieces, np.flatnonzero(kept))
    heights = np.array([height_of(around(pieces.boxes[group])) for group in groups])
    usual = np.median(heights[heights >= 0.5 * heights.max()]) if len(heights) else 0
    return [group for group, height in zip(groups, heights, strict=True) if height >= SHORTEST * usual]


def height_of(box: np.ndarray) -> int:
    return int(box[1] - box[0])


def merged(pieces: Pieces, kept: np.ndarray) -> list[list[int]]:
    """Group the pieces of a digit, such as the bar of a 5 with the rest of it, beginning with the largest."""
    tallest = max((height_of(pieces.boxes[index]) for index in kept), default=0)
    groups: list[list[int]] = []
    wholes = np.empty((len(kept), 4), np.int64)  # the box of each group
    for index in sorted(kept.tolist(), key=lambda index: -pieces.areas[index]):
        part = pieces.boxes[index]
        fitting = np.flatnonzero(belongs(part, wholes[: len(groups)], tallest))
        if fitting.size:
            groups[fitting[0]].append(index)
            wholes[fitting[0]] = around(np.stack([part, wholes[fitting[0]]]))
        else:
            wholes[len(groups)] = part
            groups.append([index])
    return groups


def belongs(part: np.ndarray, wholes: np.ndarray, tallest: int) -> np.ndarray:
    """Return to which digits a piece belongs, bool [n], by their boxes, [4] and [n, 4]: it is just above or below, and
    both together are no higher than digits are."""
    top, bottom, left, right = wholes.T
    shared = np.minimum(part[3], right) - np.maximum(part[2], left)
    gap = np.maximum(part[0], top) - np.minimum(part[1], bottom)
    together = np.maximum(part[1], bottom) - np.minimum(part[0], top)
    narrower = np.minimum(part[3] - part[2], right - left)
    return (shared > 0.4 * narrower) & (gap < 0.2 * tallest) & (together <= 1.3 * tallest)


def lines_of(boxes: np.ndarray) -> tuple[list[list[int]], float]:
    """Return the lines of digits from the top, each from the left, as indices of boxes; and their common slope.

    `boxes` is int64 [n, 4]: top, bottom, left, right. Two digits are neighbours in a line if their heights overlap; the
    slope that these pairs show then joins what is farther apart. A slope of 0.1 falls by 1 pixel in 10 to the right.
    """
    if not len(boxes):
        return [], 0.0
    slope = 0.0
    for _ in range(3):
        chains = chains_of(boxes, slope)
        slope = float(np.clip(slope_of(boxes, chains), -STEEPEST, STEEPEST))
    return joined(boxes, chains_of(boxes, slope), slope), slope


def levelled(boxes: np.ndarray, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the tops and bottoms of the boxes as if the lines were level."""
    fall = slope * (boxes[:, 2] + boxes[:, 3]) / 2
    return boxes[:, 0] - fall, boxes[:, 1] - fall


def chains_of(boxes: np.ndarray, slope: float) -> list[list[int]]:
    """Link each box with the nearest one to its right that overlaps it; return the chains, each from the left."""
    tops, bottoms = levelled(boxes, slope)
    heights = bottoms - tops
    middles = (boxes[:, 2] + boxes[:, 3]) / 2
    after: dict[int, int] = {}
    before: dict[int, int] = {}
    pairs = []
    for index in range(len(boxes)):
        shared = np.minimum(bottoms, bottoms[index]) - np.maximum(tops, tops[index])
        steps = middles - middles[index]
        shorter = np.minimum(heights, heights[index])
        near = (steps > 0) & (shared >= OVERLAP * shorter) & (steps <= FARTHEST * heights.mean())
        near[index] = False
        pairs += [(steps[other], index, int(other)) for other in np.flatnonzero(near)]
    for _, index, other in sorted(pairs):  # the nearest pairs first; each box has one neighbour on each side
        if index not in after and other not in before:
            after[index], before[other] = other, index
    chains = []
    for index in range(len(boxes)):
        if index not in before:
            chain = [index]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            chains.append(chain)
    return chains


def slope_of(boxes: np.ndarray, chains: list[list[int]]) -> float:
    """Return the slope that fits all chains best, by least squares within each."""
    products = squares = 0.0
    for chain in chains:
        x = (boxes[chain, 2] + boxes[chain, 3]) / 2
        y = (boxes[chain, 0] + boxes[chain, 1]) / 2
        products += float((x - x.mean()) @ (y - y.mean()))
        squares += float((x - x.mean()) @ (x - x.mean()))
    return products / squares if squares else 0.0


def joined(boxes: np.ndarray, chains: list[list[int]], slope: float) -> list[list[int]]:
    """Join the chains of one line across wide gaps, and sort the lines."""
    tops, bottoms = levelled(boxes, slope)
    middles, usual = (tops + bottoms) / 2, float(np.median(bottoms - tops))
    lines: list[list[int]] = []
    for chain in sorted(chains, key=lambda chain: middles[chain].mean()):
        if lines and middles[chain].mean() - middles[lines[-1]].mean() < 0.5 * usual:
            lines[-1] += chain
        else:
            lines.append(list(chain))
    return [sorted(line, key=lambda index: boxes[index, 2] + boxes[index, 3]) for line in lines]
