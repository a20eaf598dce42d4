"""Strokes of several hands, and the marks that a pen of any width leaves along them.

A stroke is a list of points (x, y), y downwards, in a box of 100 × 100. It is smooth but for points that stand twice,
which are corners. A mark is the ink that each pixel has, float32 [height, width] from 0 to 1, cut to its ink.
"""

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

DIGITS = {  # of each digit several hands
    0: (
        [[(50, 0), (22, 12), (8, 45), (14, 82), (42, 100), (72, 92), (90, 55), (82, 18), (50, 0)]],
        [[(70, 6), (40, 2), (15, 30), (10, 70), (35, 100), (68, 88), (84, 50), (78, 14), (56, 1)]],
        [[(52, 0), (16, 10), (0, 48), (14, 88), (50, 100), (88, 88), (100, 50), (86, 12), (48, 0)]],
    ),
    1: (
        [[(50, 0), (48, 100)]],
        [[(22, 28), (55, 0), (55, 0), (55, 100)]],
        [[(28, 25), (52, 0), (52, 0), (52, 100), (52, 100)], [(22, 100), (84, 100)]],
        [[(10, 42), (60, 0), (60, 0), (58, 100)]],
    ),
    2: (
        [[(12, 25), (25, 6), (52, 0), (78, 12), (80, 35), (58, 64), (10, 100), (10, 100), (92, 100)]],
        [[(15, 22), (40, 0), (75, 8), (82, 32), (60, 62), (30, 92), (12, 97), (14, 84), (32, 83), (60, 98), (94, 93)]],
        [[(8, 30), (20, 8), (50, 0), (82, 10), (88, 34), (70, 56), (12, 98), (12, 98), (50, 96), (96, 99)]],
    ),
    3: (
        [[(12, 14), (40, 0), (75, 8), (80, 28), (62, 44), (40, 48), (40, 48), (72, 54), (88, 75), (72, 95), (40, 100),
          (8, 88)]],
        [[(12, 2), (82, 2), (82, 2), (42, 42), (42, 42), (76, 48), (90, 72), (72, 95), (40, 100), (8, 90)]],
        [[(18, 10), (48, 0), (78, 14), (74, 36), (44, 46), (78, 56), (84, 82), (54, 100), (10, 92)]],
    ),
    4: (
        [[(22, 0), (8, 60), (8, 60), (92, 58)], [(66, 28), (62, 100)]],
        [[(68, 100), (68, 0), (68, 0), (4, 68), (4, 68), (96, 68)]],
        [[(18, 2), (14, 52), (14, 52), (86, 50)], [(82, 0), (78, 100)]],
    ),
    5: (
        [[(25, 0), (18, 44), (18, 44), (52, 36), (84, 52), (86, 78), (60, 98), (30, 100), (8, 90)], [(25, 1), (88, 0)]],
        [[(88, 2), (26, 2), (26, 2), (18, 44), (18, 44), (54, 36), (86, 54), (84, 82), (54, 100), (10, 92)]],
    ),
    6: (
        [[(70, 0), (36, 22), (14, 58), (16, 86), (44, 100), (76, 90), (80, 66), (58, 52), (28, 62), (15, 80)]],
        [[(58, 0), (24, 40), (10, 72), (28, 98), (62, 98), (80, 76), (60, 56), (30, 60), (12, 76)]],
    ),
    7: (
        [[(8, 4), (90, 2), (90, 2), (58, 50), (40, 100)]],
        [[(8, 4), (90, 4), (90, 4), (40, 100)], [(26, 50), (84, 48)]],
        [[(10, 20), (10, 2), (10, 2), (92, 2), (92, 2), (62, 45), (46, 100)]],
        [[(6, 10), (24, 2), (48, 8), (92, 0), (92, 0), (60, 46), (44, 100)], [(34, 52), (86, 46)]],
    ),
    8: (
        [[(76, 16), (50, 0), (24, 12), (26, 34), (52, 48), (80, 66), (80, 88), (50, 100), (20, 88), (22, 66), (50, 48),
          (74, 32), (76, 14)]],
        [[(50, 46), (26, 36), (26, 10), (50, 0), (74, 10), (74, 36), (50, 46), (20, 60), (16, 86), (50, 100), (84, 86),
          (80, 60), (50, 46)]],
    ),
    9: (
        [[(80, 18), (56, 0), (24, 10), (14, 36), (36, 54), (66, 46), (80, 18), (80, 18), (78, 60), (66, 100)]],
        [[(80, 22), (54, 0), (20, 12), (16, 40), (44, 56), (80, 30), (80, 30), (80, 100)]],
        [[(80, 22), (54, 0), (20, 12), (16, 40), (44, 54), (80, 30), (80, 22), (80, 22), (82, 66), (62, 96), (30, 100),
          (14, 90)]],
    ),
}  # fmt: skip

# Letters that nobody reads as a digit. Left out are those that look like one in some hand: O o D Q (0), I i l T J (1,
# 7), Z z (2), y Y (4), S s (5), b G (6), B (8), g q (9).
CAPITALS = {
    "A": [[(0, 100), (50, 0), (50, 0), (100, 100)], [(20, 62), (80, 62)]],
    "C": [[(90, 16), (60, 0), (20, 14), (4, 50), (20, 88), (60, 100), (92, 84)]],
    "E": [[(90, 0), (8, 0), (8, 0), (8, 100), (8, 100), (92, 100)], [(8, 50), (76, 50)]],
    "F": [[(90, 0), (8, 0), (8, 0), (8, 100)], [(8, 48), (76, 48)]],
    "H": [[(6, 0), (6, 100)], [(94, 0), (94, 100)], [(6, 50), (94, 50)]],
    "K": [[(8, 0), (8, 100)], [(90, 0), (10, 55), (10, 55), (94, 100)]],
    "L": [[(10, 0), (10, 100), (10, 100), (90, 100)]],
    "M": [[(0, 100), (10, 0), (10, 0), (50, 70), (50, 70), (90, 0), (90, 0), (100, 100)]],
    "N": [[(6, 100), (6, 0), (6, 0), (94, 100), (94, 100), (94, 0)]],
    "P": [[(10, 100), (10, 0), (10, 0), (70, 2), (90, 26), (70, 50), (10, 54)]],
    "R": [[(10, 100), (10, 0), (10, 0), (70, 2), (90, 25), (70, 48), (10, 52), (10, 52), (94, 100)]],
    "U": [[(6, 0), (8, 70), (48, 100), (90, 70), (94, 0)]],
    "V": [[(0, 0), (50, 100), (50, 100), (100, 0)]],
    "W": [[(0, 0), (25, 100), (25, 100), (50, 25), (50, 25), (75, 100), (75, 100), (100, 0)]],
    "X": [[(4, 0), (96, 100)], [(96, 0), (4, 100)]],
}
SMALL = {
    "a": [[(80, 14), (50, 0), (16, 18), (6, 56), (24, 94), (56, 90), (82, 30), (82, 0), (82, 0), (82, 70), (96, 100)]],
    "d": [[(78, 62), (50, 44), (16, 56), (8, 80), (26, 100), (58, 94), (78, 62)], [(80, 0), (80, 84), (94, 100)]],
    "e": [[(8, 52), (92, 46), (80, 10), (46, 0), (12, 24), (10, 72), (44, 100), (90, 84)]],
    "f": [[(90, 10), (66, 0), (46, 16), (44, 100)], [(12, 42), (84, 42)]],
    "h": [[(10, 0), (10, 100)], [(10, 62), (44, 44), (80, 56), (84, 100)]],
    "k": [[(10, 0), (10, 100)], [(78, 42), (12, 72), (12, 72), (86, 100)]],
    "m": [[(4, 0), (6, 100)], [(6, 30), (26, 4), (46, 20), (48, 100)], [(48, 30), (70, 4), (92, 20), (96, 100)]],
    "n": [[(8, 0), (10, 100)], [(10, 36), (46, 2), (84, 22), (90, 100)]],
    "r": [[(20, 0), (24, 100)], [(24, 40), (52, 6), (88, 8)]],
    "t": [[(46, 0), (44, 84), (66, 100), (88, 90)], [(10, 32), (84, 32)]],
    "u": [[(8, 0), (10, 70), (40, 100), (80, 66), (86, 0), (86, 0), (86, 80), (98, 100)]],
    "v": [[(4, 0), (48, 100), (48, 100), (96, 0)]],
    "w": [[(0, 0), (26, 100), (26, 100), (50, 20), (50, 20), (74, 100), (74, 100), (100, 0)]],
    "x": [[(6, 0), (94, 100)], [(92, 0), (6, 100)]],
}
SIGNS = {
    "plus": [[(50, 5), (50, 95)], [(5, 50), (95, 50)]],
    "equals": [[(2, 30), (98, 30)], [(2, 70), (98, 68)]],
    "divided": [[(2, 50), (98, 50)], [(48, 8), (52, 9)], [(49, 91), (51, 92)]],
    "pi": [[(4, 20), (30, 6), (96, 8)], [(34, 8), (24, 96)], [(70, 8), (68, 80), (90, 94)]],
    "sum": [[(90, 8), (10, 0), (10, 0), (56, 50), (56, 50), (8, 100), (8, 100), (94, 92)]],
    "root": [[(0, 60), (14, 52), (14, 52), (30, 100), (30, 100), (44, 0), (44, 0), (100, 0)]],
    "approximately": [[(0, 34), (26, 18), (70, 36), (100, 20)], [(0, 80), (26, 64), (70, 82), (100, 66)]],
    "hash": [[(34, 0), (26, 100)], [(74, 0), (66, 100)], [(4, 32), (98, 32)], [(2, 68), (96, 68)]],
    "element": [[(90, 4), (40, 6), (8, 50), (40, 94), (90, 96)], [(10, 50), (84, 50)]],
    "star": [[(50, 2), (50, 98)], [(8, 26), (92, 74)], [(92, 26), (8, 74)]],
}


def smooth(points, steps: int = 8) -> np.ndarray:
    """Return the points of a Catmull-Rom curve through a stroke, float64 [n, 2]."""
    points = np.asarray(points, float)
    corners = [0, *(np.flatnonzero((points[1:] == points[:-1]).all(1)) + 1), len(points)]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    curve = []
    for start, stop in zip(corners, corners[1:], strict=False):
        part = points[start:stop]
        if len(part) < 2:
            continue
        around = np.concatenate([2 * part[:1] - part[1:2], part, 2 * part[-1:] - part[-2:-1]])
        for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False):
            curve.append(b + t * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * (3 * (b - c) + d - a))) / 2)
        curve.append(part[-1:])
    return np.concatenate(curve)


def drawn(strokes, height: float, pen: float, rng=None, *, aspect: float = 0.62, slant: float = 0.0) -> np.ndarray:
    """Return the mark of a pen `pen` pixels wide, about `height` pixels high in all.

    `slant` moves the top to the right by so many times the height. With `rng`, no two are alike.
    """
    wobble = (lambda points: rng.normal(0, 1.3, (len(points), 2))) if rng is not None else (lambda points: 0)
    inner = max(height - pen, 1.0)
    curves = []
    for stroke in strokes:
        points = np.asarray(stroke, float)
        moved = points + wobble(points)
        same = (points[1:] == points[:-1]).all(1)  # a corner stays one
        moved[1:][same] = moved[:-1][same]
        curve = smooth(moved) / 100 * inner
        curves.append(np.stack([aspect * curve[:, 0] + slant * (inner - curve[:, 1]), curve[:, 1]], 1))
    return along(curves, pen)


def along(curves, pen: float) -> np.ndarray:
    """Return the mark of a round pen along curves, float64 [n, 2] each, in pixels."""
    every = np.concatenate(curves)
    low, high = every.min(0), every.max(0)
    scale = 4 if max(high - low) < 100 else 2
    size = np.ceil((high - low + pen) * scale).astype(int) + 2 * scale
    size += -size % scale
    picture = Image.new("L", tuple(size.tolist()))
    draw = ImageDraw.Draw(picture)
    radius = pen * scale / 2
    for curve in curves:
        at = (curve - low + pen / 2) * scale + scale / 2
        draw.line([tuple(point) for point in at.tolist()], fill=255, width=max(1, round(2 * radius)), joint="curve")
        for x, y in at if radius > 4 else (at[0], at[-1]):  # wide joints would have gaps
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return tight(np.asarray(picture.reduce(scale), np.float32) / 255)


def tight(mark: np.ndarray, above: float = 0.1) -> np.ndarray:
    """Return the mark without rows and columns on its border that have no ink."""
    rows, columns = np.flatnonzero((mark > above).any(1)), np.flatnonzero((mark > above).any(0))
    if not len(rows):
        return mark
    return mark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def scaled(mark: np.ndarray, height: float, width: float | None = None) -> np.ndarray:
    """Return the mark in another height; its width follows, unless it is given."""
    width = mark.shape[1] * height / mark.shape[0] if width is None else width
    size = max(1, round(width)), max(1, round(height))
    picture = Image.fromarray(mark.astype(np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC)).clip(0, 1)


class Digits:
    """Images that a person reads at once, by class.

    Of each class those are kept that lie near its mean after deskewing (the nearest 70%), that a simple classifier is
    sure of which was fitted to other images, and, of 0, 6, 8 and 9, that have a hole.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        """Take images, uint8 [n, 28, 28], light on dark, and their labels [n]."""
        self.images, self.labels = images, labels
        upright = deskewed(images)
        sure = margins(upright, labels) > 0.35
        self.clean = []
        for label in range(10):
            own = np.flatnonzero(labels == label)
            away = ((upright[own] - upright[own].mean(0)) ** 2).sum((1, 2))
            near = np.sort(own[np.argsort(away, kind="stable")[: round(0.7 * len(own))]])
            near = near[sure[near]]
            if label in (0, 6, 8, 9):
                near = near[[has_hole(images[index]) for index in near]]
            self.clean.append(near)

    def mark(self, label: int, height: float, rng, crisp: float = 2.5) -> np.ndarray:
        """Return one of the class as a mark of that height, its edges `crisp` times as steep as interpolation's."""
        image = self.images[rng.choice(self.clean[label])] / np.float32(255)
        large = scaled(tight(without_specks(image)), height)
        return ((large - INK) * crisp + 0.5).clip(0, 1) if crisp != 1 else large


INK = 0.4  # what is above is ink


def without_specks(image: np.ndarray) -> np.ndarray:
    """Return the image without pieces of less than 4% of its ink."""
    pieces, count = ndimage.label(image > 0.1, np.ones((3, 3)))
    ink = ndimage.sum_labels(image, pieces, np.arange(count + 1))
    return np.where((ink >= 0.04 * ink.sum())[pieces], image, np.float32(0))


def has_hole(image: np.ndarray) -> bool:
    """Return whether there is an area of 3 pixels or more that ink surrounds."""
    pieces, count = ndimage.label(np.pad(image < 255 * INK, 1, constant_values=True))
    return count > 1 and bool((np.bincount(pieces.ravel())[1:] >= 3).sum() > 1)


def margins(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return by how much the score of its class exceeds the others', as regression on random features gives it.

    Each half of the images, float32 [n, 28, 28], is scored by a regression that was fitted to the other half.
    """
    small = images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(len(images), -1)
    rng = np.random.Generator(np.random.PCG64(0))
    hidden = 2 * rng.standard_normal((small.shape[1], 800), dtype=np.float32) / small.shape[1] ** 0.5
    features = np.maximum(small @ hidden + 0.5 * rng.standard_normal(800, dtype=np.float32), 0)
    targets = np.eye(10, dtype=np.float32)[labels]
    scores = np.empty_like(targets)
    for fold in range(2):
        fitted, scored = features[fold::2], features[1 - fold :: 2]
        gram = fitted.T @ fitted + np.float32(1e-4 * len(fitted)) * np.eye(800, dtype=np.float32)
        scores[1 - fold :: 2] = scored @ np.linalg.solve(gram, fitted.T @ targets[fold::2])
    own = scores[np.arange(len(labels)), labels]
    scores[np.arange(len(labels)), labels] = -np.inf
    return own - scores.max(1)


def deskewed(images: np.ndarray) -> np.ndarray:
    """Return the images sheared upright by their moments, float32 [n, 28, 28] from 0 to 1."""
    values = images.astype(np.float32) / 255
    y, x = np.mgrid[:28, :28].astype(np.float32)
    mass = values.sum((1, 2)).clip(1e-6)
    mean_y, mean_x = (np.einsum("nyx,yx->n", values, axis) / mass for axis in (y, x))
    yy = np.einsum("nyx,yx->n", values, y * y) / mass - mean_y**2
    xy = np.einsum("nyx,yx->n", values, x * y) / mass - mean_y * mean_x
    shear = (xy / yy.clip(1e-6)).clip(-1, 1)
    source = np.arange(28) + (shear[:, None] * (np.arange(28) - mean_y[:, None]) + mean_x[:, None] - 13.5)[..., None]
    low = np.floor(source).astype(int)
    part = (source - low).astype(np.float32)
    padded = np.pad(values, ((0, 0), (0, 0), (28, 29)))
    at = (low + 28).clip(0, 55)
    return np.take_along_axis(padded, at, 2) * (1 - part) + np.take_along_axis(padded, at + 1, 2) * part


class Writer:
    """Writes digits: with images as `Digits` has them, or by hand."""

    def __init__(self, digits: Digits, rng):
        self.digits, self.rng = digits, rng

    def __call__(self, label: int, height: float, pen: float | None = None) -> np.ndarray:
        """Return a mark. Without `pen`, seven of ten are images, the others strokes of a common width."""
        if pen is None and self.rng.random() < 0.7:
            return self.image(label, height)
        return self.by_hand(label, height, height * self.rng.uniform(0.06, 0.14) if pen is None else pen)

    def image(self, label: int, height: float, crisp: float = 2.5) -> np.ndarray:
        return self.digits.mark(label, height, self.rng, crisp)

    def by_hand(self, label: int, height: float, pen: float) -> np.ndarray:
        hand = DIGITS[label][self.rng.integers(len(DIGITS[label]))]
        aspect, slant = self.rng.uniform(0.55, 0.75), self.rng.uniform(-0.05, 0.22)
        return drawn(hand, height, pen, self.rng, aspect=aspect, slant=slant)
