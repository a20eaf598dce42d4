"""Random distortions of training images, `--augment`: Keras operations alone, which an engine compiles into its step.

Each image is sampled anew at displaced places, bilinearly; what lies outside is background. How far each pixel is
displaced depends on the seed of the run, the step and the example's index alone. So every backend, every number of
replicas and every resumed run sees the same images, and an example looks otherwise in each epoch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

SIDE = 28
BACKGROUND = 1  # pixels around an image from which what lies outside is taken


@dataclasses.dataclass(frozen=True)
class Strength:
    """How far one kind of distortion goes. Angles, factors and shifts are drawn evenly between −x and x."""

    shift: float = 0.0  # pixels, in each direction
    whole: bool = False  # shifts by whole pixels alone
    degrees: float = 0.0  # of rotation around the centre
    scale: float = 0.0  # factor 1 − x to 1 + x, in each direction
    shear: float = 0.0  # pixels to the side for each pixel down
    wave: float = 0.0  # pixels: the deviation of an elastic displacement, in each direction
    smooth: float = 5.0  # pixels: the deviation of the Gaussian that an elastic field of noise is smoothed with


STRENGTHS = {  # chosen for `best` on a validation split; twice as strong is too much for 109,386 parameters
    "shift": Strength(shift=2.0, whole=True),
    "affine": Strength(shift=1.1, degrees=9.0, scale=0.09, shear=0.09),
    "elastic": Strength(shift=1.1, degrees=9.0, scale=0.09, shear=0.09, wave=1.35),
}
KINDS = ("none", *STRENGTHS)
EVEN = 6  # numbers that are drawn evenly for an image: two shifts, angle, two factors, shear
MODES = 6  # of an elastic field, in each direction: the amplitude of the next one is below 1%


def distort(images: Any, kind: str, seed: int, step: Any, index: Any) -> Any:
    """The images, float32 [n, 28, 28], distorted, in whole grey levels from 0 to the largest of its image.

    `kind` is one of KINDS, `seed` a whole number below 2³², `step` the number of steps before this one (an integer, or
    integers [n]), `index` the examples' places in the training data, integers [n].
    """
    if kind == "none":
        return images
    strength = STRENGTHS[kind]
    draws = words(seed, step, index, EVEN + (2 * MODES**2 if strength.wave else 0))
    across, down = affine(strength, evenly(draws[:, :EVEN]))
    if strength.wave:
        fields = basis(strength.smooth)
        waves = strength.wave * normally(draws[:, EVEN:])
        across = across + ops.reshape(ops.matmul(waves[:, : MODES**2], fields), (-1, SIDE, SIDE))
        down = down + ops.reshape(ops.matmul(waves[:, MODES**2 :], fields), (-1, SIDE, SIDE))
    return sample(images, across, down)


def words(seed: int, step: Any, index: Any, count: int) -> Any:
    """uint32 [n, count]: random bits of (seed, step, index), each word a hash of them and its place."""
    key = mix(ops.bitwise_xor(ops.cast(step, "uint32"), mix(ops.convert_to_tensor(seed, "uint32"))))
    keys = mix(ops.bitwise_xor(ops.cast(index, "uint32"), key))
    places = (np.arange(1, count + 1) * 0x9E3779B9 & 0xFFFFFFFF).astype("uint32")  # 2³² / golden ratio: far apart
    return mix(keys[:, None] + places)


def mix(word: Any) -> Any:
    """A uint32 scrambled so that each bit of it depends on all: `lowbias32` of C. Wellons' hash-prospector."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = ops.bitwise_xor(word, ops.right_shift(word, np.uint32(shift))) * np.uint32(factor)
    return ops.bitwise_xor(word, ops.right_shift(word, np.uint32(16)))


def evenly(draws: Any) -> Any:
    """float32 of the same shape, drawn evenly from −1 to 1: the word's upper 24 bits, which a float32 holds."""
    return ops.cast(ops.cast(ops.right_shift(draws, np.uint32(8)), "int32"), "float32") / 2.0**23 - 1.0


def normally(draws: Any) -> Any:
    """float32 of the same shape, of mean 0 and deviation 1: the sum of a word's four bytes.

    Nearly normal, within ±3.45, and exact: the same number on every device, which a logarithm would not be.
    """
    bytes_of = [ops.bitwise_and(ops.right_shift(draws, np.uint32(shift)), np.uint32(255)) for shift in (0, 8, 16, 24)]
    total = sum(ops.cast(each, "int32") for each in bytes_of)
    return (ops.cast(total, "float32") - 510.0) / float(np.sqrt(4 * (256**2 - 1) / 12))


def affine(strength: Strength, even: Any) -> tuple[Any, Any]:
    """How far the pixels are displaced across and down, [n, 28, 28] or what broadcasts to it: rotated, scaled, sheared
    around the centre, and shifted. `even`: float32 [n, EVEN] from −1 to 1."""
    draw = [even[:, i, None, None] for i in range(EVEN)]
    if strength.whole:
        return tuple(ops.floor((2 * strength.shift + 1) * (each + 1) / 2) - strength.shift for each in draw[:2])
    shifts = [strength.shift * each for each in draw[:2]]
    angle = float(np.radians(strength.degrees)) * draw[2]
    wide, high = 1 + strength.scale * draw[3], 1 + strength.scale * draw[4]
    x = np.arange(SIDE, dtype="float32") - (SIDE - 1) / 2  # [28]
    y = x[:, None]  # [28, 1]
    leaning = x + strength.shear * draw[5] * y
    cos, sin = ops.cos(angle), ops.sin(angle)
    across = wide * (cos * leaning - sin * y) - x + shifts[0]
    down = high * (sin * leaning + cos * y) - y + shifts[1]
    return across, down


def basis(smooth: float) -> np.ndarray:
    """float32 [MODES², 784]: waves whose random sums are noise smoothed with a Gaussian of deviation `smooth`.

    Noise is made of cosines of equal strength; smoothing weakens each by exp(−smooth²·frequency²/2), so that those of
    high frequency need not be drawn. The mean variance over the image is 1. See Simard et al., ICDAR 2003.
    """
    frequency = np.pi * np.arange(MODES) / SIDE
    cosines = np.cos(np.outer(frequency, np.arange(SIDE) + 0.5)) * np.where(frequency > 0, np.sqrt(2), 1)[:, None]
    cosines *= np.exp(-((smooth * frequency) ** 2) / 2)[:, None]
    waves = np.einsum("iy,jx->ijyx", cosines, cosines).reshape(MODES**2, SIDE * SIDE)
    return (waves / np.sqrt((waves**2).sum(0).mean())).astype("float32")


def sample(images: Any, across: Any, down: Any) -> Any:
    """The images, float32 [n, 28, 28], each pixel taken from so many pixels to the right and below, bilinearly.

    In whole grey levels, as the images themselves: where one device found 0 and another one 1e-6, Adam, which divides
    by the size of a gradient, would make a step of full size on the weights of that pixel.
    """
    place = np.arange(SIDE, dtype="float32") + BACKGROUND
    last = SIDE + 2 * BACKGROUND - 1  # place 0 and the last one are background
    x = ops.clip(place + across, 0, last)
    y = ops.clip(place[:, None] + down, 0, last)
    left, top = ops.minimum(ops.floor(x), last - 1), ops.minimum(ops.floor(y), last - 1)
    x, y = x - left, y - top
    width = last + 1
    framed = ops.reshape(ops.pad(images, [(0, 0), (BACKGROUND,) * 2, (BACKGROUND,) * 2]), (-1,))
    first = ops.arange(ops.shape(images)[0], dtype="int32")[:, None, None] * width**2
    corner = first + ops.cast(top * width + left, "int32")
    upper = ops.take(framed, corner) * (1 - x) + ops.take(framed, corner + 1) * x
    lower = ops.take(framed, corner + width) * (1 - x) + ops.take(framed, corner + width + 1) * x
    return ops.round(upper * (1 - y) + lower * y)
