"""What the numbers in an array of images mean: grey levels 0–255, or ink 0–1.

The same rule holds for files, for requests to the server, and for arrays in Python. It looks at the values and not at
their type: JavaScript writes 1.0 as 1, and float32 holds grey levels, too. The highest value of an image decides:

    0            a blank image on every scale
    at most 1    ink from 0 to 1, also 0 and 1 alone, or false and true: multiplied by 255 and rounded
    17 to 255    grey levels, all of them whole numbers

Anything else is refused, since its meaning would be a guess: grey levels up to 16 would be an almost blank image
(scikit-learn's digits have the scale 0–16), and so would ink up to 1/255 (divided by 255 twice). All images of an array
have the same scale, and each must show it by itself: then an image means the same alone as among others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FAINT = 16  # the highest value of an image that is too low for grey levels
TINY = 1.001 / 255  # the highest ink of an image that was divided by 255 twice, in float16, too
LEVELS = "a whole number from 0 to 255"
INK = "0–1, since one of the numbers is not an integer"


class UnknownScale(ValueError):
    """What some numbers mean is unknown: what was expected, what was received, and what to do.

    `image` is the index of the first wrong image and `pixel` that of its first wrong number, 0–783; None if no single
    number is wrong.
    """

    def __init__(self, expected: str, received: str, remedy: str, image: int, pixel: int | None = None):
        super().__init__(f"expected {expected}, received {received}; {remedy}")
        self.expected, self.received, self.remedy = expected, received, remedy
        self.image, self.pixel = image, pixel


def to_grey_levels(images: NDArray[Any], *, each_alone: bool = True) -> NDArray[np.uint8]:
    """Return images of any numeric type, [n, …] with n ≥ 1, as grey levels 0–255, uint8 of the same shape.

    With `each_alone=False`, all images show their scale together, as those of a data set do. Raise `UnknownScale`.
    """
    values = images.reshape(len(images), -1)
    kind = values.dtype.kind
    if kind not in "buif":
        raise UnknownScale("integers 0–255 or floats 0–1", str(values.dtype)[:60], "save the images as uint8, 0–255", 0)
    highest = values.max(axis=1)  # [n]; of an image with NaN, NaN
    _check_range(values, highest)
    top = highest.max()
    faint = (highest > 0) & (highest <= (TINY if top <= 1 else FAINT))
    if faint.any() and (each_alone or faint[highest.argmax()]):
        raise _too_faint(int(faint.argmax()), highest[faint.argmax()], top)
    if top > 1:
        return images if images.dtype == np.uint8 else images.astype(np.uint8)
    return (np.rint(images * 255.0) if kind == "f" else images.astype(np.uint8) * np.uint8(255)).astype(np.uint8)


def _check_range(values: NDArray[Any], highest: NDArray[Any]) -> None:
    """Raise `UnknownScale` for NaN, infinity, negative numbers, numbers above 255, and fractions above 1."""
    is_float = values.dtype.kind == "f"
    lowest, top = values.min(), highest.max()
    if is_float and not np.isfinite([lowest, top]).all():
        raise _first(values, lambda each: ~np.isfinite(each), "0–1 or 0–255", "correct what computed them")
    if lowest >= 0 and (top <= 1 or (top <= 255 and not is_float)):
        return
    fractions = is_float and bool((values % 1).any())
    expected = INK if fractions else LEVELS
    if lowest < 0:
        raise _first(values, lambda each: each < 0, expected, _of_negative(values.dtype, float(lowest), float(top)))
    if fractions:
        remedy = "divide grey levels by 255" if top <= 255 else _of_bits(float(top))
        raise _first(values, lambda each: each > 1, expected, remedy)
    if top > 255:
        raise _first(values, lambda each: each > 255, expected, _of_bits(float(top)))


def _first(
    values: NDArray[Any], wrong: Callable[[NDArray[Any]], NDArray[np.bool_]], expected: str, remedy: str
) -> UnknownScale:
    """Return the error for the first number that is `wrong`."""
    image, pixel = divmod(int(wrong(values).argmax()), values.shape[1])
    value = values[image, pixel].item()
    received = str(value) if value - value == 0 else "NaN" if value != value else "infinity"
    return UnknownScale(expected, received, remedy, image, pixel)


def _of_negative(dtype: np.dtype[Any], lowest: float, top: float) -> str:
    """Return what to do about negative numbers."""
    if lowest >= -1 and top <= 1:
        return "for a scale from -1 to 1, use (images + 1) / 2"
    if dtype == np.int8:
        return "bytes are unsigned: use images.view('uint8')"
    return "undo a standardization: images * std + mean"


def _of_bits(top: float) -> str:
    """Return what to do about numbers above 255: the scale has as many bits as the highest needs."""
    bits = max(8, int(np.ceil(np.log2(top + 1))))
    return f"for {bits} bits, use images / {2**bits - 1}" if bits <= 16 else "scale them to 0–255"


def _too_faint(image: int, highest: Any, top: Any) -> UnknownScale:
    """Return the error for an image whose highest value is too low for the scale of the array."""
    if top <= 1:
        expected, received = "ink 0–1", f"an image with ink of at most {highest:.2g}"
        return UnknownScale(expected, received, "it may have been divided by 255 twice; multiply it by 255", image)
    expected, received = "grey levels 0–255 or ink 0–1", f"an image whose highest number is {highest:g}"
    if top > FAINT:
        remedy = (
            f"others go up to {top:g}: bring all images to the same scale (for 0 and 1, multiply by 255), or omit it"
        )
    else:
        remedy = "divide it by the number that means full ink, such as 16 for scikit-learn's digits, to get ink 0–1"
    return UnknownScale(expected, received, remedy, image)
