"""Brings a digit into MNIST's frame: its ink in a box of 20×20 pixels, whose centre of mass is at pixel (14, 14).

As LeCun, Cortes and Burges describe it on the page of MNIST: the size normalised with the proportions kept, grey levels
from antialiasing, the centre of mass at the centre of 28×28.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from mnist_mlp.data.pictures.ink import ink_of
from mnist_mlp.data.pictures.segmentation import check_one_digit
from mnist_mlp.errors import UserError

FRAME, BOX = 28, 20
EDGE = 0.02  # less ink than this is outside of the box
THINNEST = 2.0  # pixels of the frame: a thinner stroke is made wider, as of a pen in a large picture

NO_INK = "expected a digit, received a picture without any ink; take one with more contrast, or from nearer"


def framed(levels: np.ndarray) -> np.ndarray:
    """The digit of a picture, grey levels [height, width], as MNIST has its digits: uint8 [28, 28], light on dark.

    Raises `UserError` where there is no ink, or plainly not one digit.
    """
    ink = ink_of(levels)
    check_one_digit(ink)
    return in_frame(ink)


def in_frame(ink: np.ndarray) -> np.ndarray:
    """The same of ink, float32 [height, width] from 0 to 1."""
    rows, columns = np.flatnonzero((ink > EDGE).any(1)), np.flatnonzero((ink > EDGE).any(0))
    if not rows.size:
        raise UserError(NO_INK)
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    digit = thick_enough(digit)
    scale = BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    method = Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC
    small = Image.fromarray(digit).resize((width, height), method)
    pixels = np.asarray(small, np.float32).clip(0, 1)
    pixels = pixels / max(pixels.max(), 1e-6)
    return np.rint(255 * centred(pixels)).astype(np.uint8)


def thick_enough(digit: np.ndarray) -> np.ndarray:
    """The digit with strokes so wide that they are seen once it is made as small as its box."""
    for _ in range(8):
        scale = BOX / max(digit.shape)
        missing = THINNEST - scale * stroke_width(digit)
        if scale >= 0.5 or missing <= 0:
            break
        size = 2 * max(1, round(missing / scale / 4)) + 1
        picture = Image.fromarray(np.rint(255 * np.pad(digit, size // 2)).astype(np.uint8))
        digit = np.asarray(picture.filter(ImageFilter.MaxFilter(size)), np.float32) / 255
    return digit


def stroke_width(digit: np.ndarray) -> float:
    """Pixels, of a digit of ink from 0 to 1: a stroke has two edges, so it is twice the area by their length."""
    along_both_axes = sum(float(np.abs(np.diff(np.pad(digit, 1), axis=axis)).sum()) for axis in (0, 1))
    return 2 * float(digit.sum()) / max(along_both_axes * np.pi / 4, 1e-6)


def centred(pixels: np.ndarray) -> np.ndarray:
    """The pixels in a frame of 28×28, moved by whole pixels so that the centre of mass is nearest to pixel (14, 14)."""
    frame = np.zeros((FRAME, FRAME), np.float32)
    starts = []
    for axis, side in enumerate(pixels.shape):
        mass = pixels.sum(1 - axis)
        centre = float(mass @ np.arange(side) / mass.sum())
        starts.append(min(max(round(FRAME / 2 - centre), 0), FRAME - side))
    top, left = starts
    frame[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return frame
