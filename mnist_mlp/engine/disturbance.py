"""Random disturbances of training images (`--augment=robust`), beside those that move pixels (augmentation.py).

Blur, straight strokes, covered rectangles, grey and unevenly lit paper, and noise: each with its own probability, and
none of them in a quarter of the images. They follow rules of their own: none is a kind of data/corruptions/mnist_c.py,
which is left for testing.

All values are whole grey levels after each disturbance, and all products fit into the 24 bits of a float32, so that
images are equal to the last bit on every device (see augmentation.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

SIDE = 28
STROKES = 2
ANGLES = 2 * np.pi * np.arange(256) / 256
COSINES, SINES = ((np.round(f(ANGLES) * 256) / 256).astype("float32") for f in (np.cos, np.sin))
COLUMNS = np.arange(SIDE, dtype="float32")
ROWS = COLUMNS[:, None]
CHOICES = 8  # words of each image that decide which disturbances it gets, and how blurred it is
STROKE_WORDS, COVER_WORDS, PAPER_WORDS = 6, 6, 4
WORDS = CHOICES + STROKES * STROKE_WORDS + COVER_WORDS + PAPER_WORDS + 1  # of each image, before those of its pixels
DRAWS = WORDS + SIDE * SIDE
BLURRED, STRUCK, COVERED, TINTED, NOISY = 64, 80, 80, 140, 128  # of 256 images: how many get it


def disturb(images: Any, draws: Any) -> Any:
    """Return disturbed images, float32 [n, 28, 28] in whole grey levels from 0 to 255, as `images` are.

    `draws` are random words, uint32 [n, DRAWS].
    """
    level = ops.cast(ops.right_shift(draws[:, :WORDS], np.uint32(24)), "float32")[:, :, None, None]  # 0 to 255
    parts = iter([level[:, i] for i in range(WORDS)])  # each float32 [n, 1, 1]

    def take(count: int) -> list[Any]:
        return [next(parts) for _ in range(count)]

    calm, blurred, twice, covered, tinted, noisy, *struck = take(CHOICES)
    busy = calm >= 64  # a quarter of the images only moves

    def where(chance: Any, share: int, changed: Any, images: Any) -> Any:
        return ops.where(ops.logical_and(busy, chance < share), changed, images)

    soft = blur(images)
    images = where(blurred, BLURRED, ops.where(twice < 128, soft, blur(soft)), images)
    for chance in struck[:STROKES]:
        images = where(chance, STRUCK, ops.maximum(images, stroke(*take(STROKE_WORDS))), images)
    images = where(covered, COVERED, cover(images, *take(COVER_WORDS)), images)
    images = where(tinted, TINTED, paper(images, *take(PAPER_WORDS)), images)
    return where(noisy, NOISY, noise(images, draws[:, WORDS:], *take(1)), images)


def whole(values: Any) -> Any:
    """Round to whole grey levels, from 0 to 255."""
    return ops.clip(ops.round(values), 0.0, 255.0)


def blur(images: Any) -> Any:
    """Average each pixel with its neighbours, with weights 1, 2, 1 in each direction."""
    framed = ops.pad(images, [(0, 0), (1, 1), (1, 1)])
    down = framed[:, :-2] + 2 * framed[:, 1:-1] + framed[:, 2:]
    return whole((down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]) / 16)


# Six parameters: six random words.
def stroke(row: Any, column: Any, angle: Any, length: Any, width: Any, ink: Any) -> Any:
    """Return the ink of a straight stroke through a point of the image: 2 to 18 pixels to either side, 1 to 3 wide."""
    direction = ops.cast(angle, "int32")
    cos, sin = (ops.take(table, direction) for table in (COSINES, SINES))
    down, across = ROWS - ops.floor(row * 7 / 8) / 8, COLUMNS - ops.floor(column * 7 / 8) / 8
    beside, along = ops.abs(cos * down - sin * across), ops.abs(sin * down + cos * across)
    half = 0.5 + ops.floor(width / 16) / 16  # 0.5 to 1.44 pixels
    edge = ops.clip(half + 0.5 - beside, 0.0, 1.0)
    edge = ops.floor(edge * 256) / 256  # eight bits, so that the product with the ink is exact
    return whole(edge * (96 + ops.floor(ink * 5 / 8))) * ops.cast(along <= 2 + ops.floor(length / 16), "float32")


# Seven parameters: images and six random words.
def cover(images: Any, row: Any, column: Any, height: Any, width: Any, empty: Any, grey: Any) -> Any:
    """Cover a rectangle of 3 to 19 pixels a side with an even grey, or with background."""
    down, across = ops.abs(ROWS - ops.floor(row * 7 / 64)), ops.abs(COLUMNS - ops.floor(column * 7 / 64))
    inside = ops.logical_and(down <= 1 + ops.floor(height / 32), across <= 1 + ops.floor(width / 32))
    return ops.where(inside, ops.where(empty < 80, 0.0, grey), images)


def paper(images: Any, grey: Any, right: Any, below: Any, left: Any) -> Any:
    """Print on paper of up to 63% grey that darkens across the image, with ink that is up to 60% paler."""
    slopes = [ops.floor((draw - 128) / 8) / 4 for draw in (right, below)]  # grey levels a pixel, −4 to 4
    paper = whole(ops.floor(grey * 5 / 8) + slopes[0] * (COLUMNS - 13.5) + slopes[1] * (ROWS - 13.5))
    contrast = 1 - ops.floor(left * 5 / 8) / 256
    return whole(paper + ops.round((255 - paper) * contrast) * images / 256)


def noise(images: Any, draws: Any, strength: Any) -> Any:
    """Add noise, nearly normal, of up to 22% of full ink. `draws`: uint32 [n, 784]."""
    bytes_of = [ops.bitwise_and(ops.right_shift(draws, np.uint32(shift)), np.uint32(255)) for shift in (0, 8, 16, 24)]
    normal = ops.reshape(ops.cast(sum(ops.cast(each, "int32") for each in bytes_of) - 510, "float32"), (-1, SIDE, SIDE))
    return whole(images + normal * ops.floor(strength * 3 / 8) / 256)  # the sum of four bytes has a deviation of 148
