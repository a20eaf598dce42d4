"""Random distortions of training images (`--augment`), written in Keras operations that an engine compiles.

Each image is resampled at displaced positions, bilinearly; outside of it is background. The displacements depend only
on the seed of the run, the step and the example's index. So every backend, any number of replicas and a resumed run see
the same images, and an example looks different in each epoch.

Images are equal to the last bit: all numbers are multiples of powers of two, with so few digits that every sum and
product is exact in float32, in whatever order a compiler computes. This matters: if a pixel were 0 on one device and
1e-6 on another, Adam, which divides by the size of a gradient, would take a full step on the weights of that pixel.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from mnist_mlp.engine.disturbance import DRAWS, disturb

SIDE = 28
BACKGROUND = 1  # pixels of margin, from which positions outside of an image are read


@dataclasses.dataclass(frozen=True)
class Strength:
    """The range of a kind of distortion. Angles, factors and shifts are uniform between −x and x.

    All sums and products remain exact up to twice the values in STRENGTHS.
    """

    shift: float = 0.0  # pixels, in each direction
    whole: bool = False  # shift by whole pixels only
    degrees: float = 0.0  # of rotation about the center
    scale: float = 0.0  # factor 1 − x to 1 + x, in each direction
    shear: float = 0.0  # pixels to the side for each pixel down
    wave: float = 0.0  # pixels: the standard deviation of an elastic displacement, in each direction
    smooth: float = 5.0  # pixels: the standard deviation of the Gaussian that smooths an elastic field


STRENGTHS = {  # chosen for `best` on a validation split; twice as strong is too much for 109,386 parameters
    "shift": Strength(shift=2.0, whole=True),
    "affine": Strength(shift=1.1, degrees=9.0, scale=0.09, shear=0.09),
    "elastic": Strength(shift=1.1, degrees=9.0, scale=0.09, shear=0.09, wave=1.35),
}
ROBUST = Strength(shift=2.0, degrees=12.0, scale=0.15, shear=0.15, wave=1.35)  # of "robust"; see disturbance.py
KINDS = ("none", *STRENGTHS, "robust")
UNIFORM_DRAWS = 6  # of each image: two shifts, an angle, two factors, a shear
LEVELS = (2 * np.arange(256) + 1) / 256 - 1  # the values of a uniform draw, from −1 to 1
MODES = 6  # frequencies of an elastic field, in each direction; the next has an amplitude below 1%
DEVIATION = float(np.sqrt(4 * (256**2 - 1) / 12))  # standard deviation of the sum of four bytes


def distort(images: Any, kind: str, seed: int, step: Any, index: Any) -> Any:
    """Return distorted images, float32 [n, 28, 28], whose values do not exceed those of the original.

    `images` are in whole gray levels, float32 [n, 28, 28]. `kind` is one of KINDS, `seed` an integer below 2³², `step`
    the number of earlier steps (an integer, or integers [n]), and `index` the examples' indices, integers [n].
    """
    if kind == "none":
        return images
    strength = ROBUST if kind == "robust" else STRENGTHS[kind]
    count = UNIFORM_DRAWS + (2 * MODES**2 if strength.wave else 0)
    draws = random_words(seed, step, index, count + (DRAWS if kind == "robust" else 0))
    draws, others = draws[:, :count], draws[:, count:]
    across, down = affine(strength, draws[:, :UNIFORM_DRAWS])
    if strength.wave:
        waves = ops.reshape(normal(draws[:, UNIFORM_DRAWS:]), (-1, MODES**2))  # two rows of each image: across, down
        fields = ops.reshape(ops.matmul(waves, elastic(strength)), (-1, 2, SIDE, SIDE))
        across, down = across + fields[:, 0], down + fields[:, 1]
    moved = sample(images, on_grid(across, 8), on_grid(down, 8))
    return disturb(ops.round(moved), others) if kind == "robust" else moved


def random_words(seed: int, step: Any, index: Any, count: int) -> Any:
    """Return random bits, uint32 [n, count]: each word is a hash of seed, step, index and its position."""
    key = mix(ops.bitwise_xor(ops.cast(step, "uint32"), mix(ops.convert_to_tensor(seed, "uint32"))))
    keys = mix(ops.bitwise_xor(ops.cast(index, "uint32"), key))
    positions = (np.arange(1, count + 1) * 0x9E3779B9 & 0xFFFFFFFF).astype("uint32")  # 2³² / golden ratio: far apart
    return mix(keys[:, None] + positions)


def mix(word: Any) -> Any:
    """Hash uint32 values, so that each bit depends on all bits: `lowbias32` of C. Wellons' hash-prospector."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = ops.bitwise_xor(word, ops.right_shift(word, np.uint32(shift))) * np.uint32(factor)
    return ops.bitwise_xor(word, ops.right_shift(word, np.uint32(16)))


def on_grid(values: Any, bits: int = 10) -> Any:
    """Round values to multiples of 2^−bits, so that they have few digits."""
    rounded = np.round if isinstance(values, np.ndarray) else ops.round
    return rounded(values * 2.0**bits) / 2.0**bits


def uniform(draws: Any, values: np.ndarray) -> Any:
    """Return one of 256 values for each draw, by its upper byte: float32 [n, 1, 1], on the grid."""
    chosen = ops.cast(ops.right_shift(draws, np.uint32(24)), "int32")
    return ops.take(on_grid(values).astype("float32"), chosen)[:, None, None]


def normal(draws: Any) -> Any:
    """Return the sum of each word's four bytes, float32, centered: nearly normal, with standard deviation DEVIATION,
    and within 3.45 deviations."""
    bytes_of = [ops.bitwise_and(ops.right_shift(draws, np.uint32(shift)), np.uint32(255)) for shift in (0, 8, 16, 24)]
    return ops.cast(sum(ops.cast(each, "int32") for each in bytes_of) - 510, "float32")


def affine(strength: Strength, draws: Any) -> tuple[Any, Any]:
    """Return the displacements across and down, [n, 28, 28] or broadcastable to it, of images that are sheared,
    rotated and scaled about the center, and shifted. `draws`: uint32 [n, UNIFORM_DRAWS]."""
    draw = [draws[:, i] for i in range(UNIFORM_DRAWS)]
    if strength.whole:
        shifts = np.floor((2 * strength.shift + 1) * (LEVELS + 1) / 2) - strength.shift
        return uniform(draw[0], shifts), uniform(draw[1], shifts)
    angles, factors = np.radians(strength.degrees) * LEVELS, 1 + strength.scale * LEVELS
    right, below = (uniform(each, strength.shift * LEVELS) for each in draw[:2])
    cos, sin = uniform(draw[2], np.cos(angles)), uniform(draw[2], np.sin(angles))
    wide, high = uniform(draw[3], factors), uniform(draw[4], factors)
    lean = uniform(draw[5], strength.shear * LEVELS)
    x = np.arange(SIDE, dtype="float32") - (SIDE - 1) / 2  # [28]
    y = x[:, None]  # [28, 1]
    across = (on_grid(wide * cos) - 1) * x + on_grid(wide * on_grid(cos * lean - sin)) * y + right
    down = on_grid(high * sin) * x + (on_grid(high * on_grid(sin * lean + cos)) - 1) * y + below
    return across, down


def elastic(strength: Strength) -> np.ndarray:
    """Return the displacements of each mode, float32 [MODES², 784]. An elastic field is their sum, each times a draw of
    `normal`."""
    return on_grid(strength.wave / DEVIATION * basis(strength.smooth), 18).astype("float32")


def basis(smooth: float) -> np.ndarray:
    """Return waves, float64 [MODES², 784], whose random sums are noise smoothed by a Gaussian of deviation `smooth`.

    Noise consists of cosines of equal amplitude; smoothing weakens each by exp(−smooth²·frequency²/2), so that high
    frequencies can be left out. The mean variance over the image is 1. See Simard et al., ICDAR 2003.
    """
    frequency = np.pi * np.arange(MODES) / SIDE
    cosines = np.cos(np.outer(frequency, np.arange(SIDE) + 0.5)) * np.where(frequency > 0, np.sqrt(2), 1)[:, None]
    cosines *= np.exp(-((smooth * frequency) ** 2) / 2)[:, None]
    waves = np.einsum("iy,jx->ijyx", cosines, cosines).reshape(MODES**2, SIDE * SIDE)
    return waves / np.sqrt((waves**2).sum(0).mean())


def sample(images: Any, across: Any, down: Any) -> Any:
    """Return images, float32 [n, 28, 28], whose pixels are read `across` to the right and `down` below, bilinearly."""
    position = np.arange(SIDE, dtype="float32") + BACKGROUND
    last = SIDE + 2 * BACKGROUND - 1  # position 0 and the last are background
    x = ops.clip(position + across, 0, last)
    y = ops.clip(position[:, None] + down, 0, last)
    left, top = ops.minimum(ops.floor(x), last - 1), ops.minimum(ops.floor(y), last - 1)
    x, y = x - left, y - top
    width = last + 1
    framed = ops.reshape(ops.pad(images, [(0, 0), (BACKGROUND,) * 2, (BACKGROUND,) * 2]), (-1,))
    first = ops.arange(ops.shape(images)[0], dtype="int32")[:, None, None] * width**2
    corner = first + ops.cast(top * width + left, "int32")
    upper = ops.take(framed, corner) * (1 - x) + ops.take(framed, corner + 1) * x
    lower = ops.take(framed, corner + width) * (1 - x) + ops.take(framed, corner + width + 1) * x
    return upper * (1 - y) + lower * y
