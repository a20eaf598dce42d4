"""Random distortions of training images, `--augment`: Keras operations alone, which an engine compiles into its step.

Each image is sampled anew at displaced places, bilinearly; what lies outside is background. How far each pixel is
displaced depends on the seed of the run, the step and the example's index alone. So every backend, every number of
replicas and every resumed run sees the same images, and an example looks otherwise in each epoch.

The same to the last bit: each number is a multiple of a power of two, few enough digits long that float32 holds every
sum and product of them exactly, in whatever order a compiler computes. Where one device found 0 and another one 1e-6,
Adam, which divides by the size of a gradient, would make a step of full size on the weights of that pixel.
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
    """How far one kind of distortion goes. Angles, factors and shifts are drawn evenly between −x and x.

    Up to twice what STRENGTHS has, all sums and products remain exact.
    """

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
LEVELS = (2 * np.arange(256) + 1) / 256 - 1  # what each is drawn from, from −1 to 1
MODES = 6  # of an elastic field, in each direction: the amplitude of the next one is below 1%
DEVIATION = float(np.sqrt(4 * (256**2 - 1) / 12))  # of a sum of four bytes


def distort(images: Any, kind: str, seed: int, step: Any, index: Any) -> Any:
    """The images, in whole grey levels, float32 [n, 28, 28], distorted: each from 0 to the largest grey level it had.

    `kind` is one of KINDS, `seed` a whole number below 2³², `step` the number of steps before this one (an integer, or
    integers [n]), `index` the examples' places in the training data, integers [n].
    """
    if kind == "none":
        return images
    strength = STRENGTHS[kind]
    draws = words(seed, step, index, EVEN + (2 * MODES**2 if strength.wave else 0))
    across, down = affine(strength, draws[:, :EVEN])
    if strength.wave:
        waves = ops.reshape(normally(draws[:, EVEN:]), (-1, MODES**2))  # of each image two rows: across, down
        fields = ops.reshape(ops.matmul(waves, elastic(strength)), (-1, 2, SIDE, SIDE))
        across, down = across + fields[:, 0], down + fields[:, 1]
    return sample(images, on_grid(across, 8), on_grid(down, 8))


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


def on_grid(values: Any, bits: int = 10) -> Any:
    """The values rounded to multiples of 2^−bits, so that they have few digits."""
    whole = np.round if isinstance(values, np.ndarray) else ops.round
    return whole(values * 2.0**bits) / 2.0**bits


def evenly(draws: Any, values: np.ndarray) -> Any:
    """One of 256 values for each draw: its upper byte says which. float32 [n, 1, 1], on the grid."""
    chosen = ops.cast(ops.right_shift(draws, np.uint32(24)), "int32")
    return ops.take(on_grid(values).astype("float32"), chosen)[:, None, None]


def normally(draws: Any) -> Any:
    """float32 of the same shape, whole numbers of mean 0 and deviation DEVIATION: the sum of a word's four bytes.

    Nearly normal, within 3.45 deviations.
    """
    bytes_of = [ops.bitwise_and(ops.right_shift(draws, np.uint32(shift)), np.uint32(255)) for shift in (0, 8, 16, 24)]
    return ops.cast(sum(ops.cast(each, "int32") for each in bytes_of) - 510, "float32")


def affine(strength: Strength, draws: Any) -> tuple[Any, Any]:
    """How far the pixels are displaced across and down, [n, 28, 28] or what broadcasts to it: sheared, rotated and
    scaled around the centre, and shifted. `draws`: uint32 [n, EVEN]."""
    draw = [draws[:, i] for i in range(EVEN)]
    if strength.whole:
        shifts = np.floor((2 * strength.shift + 1) * (LEVELS + 1) / 2) - strength.shift
        return evenly(draw[0], shifts), evenly(draw[1], shifts)
    angles, factors = np.radians(strength.degrees) * LEVELS, 1 + strength.scale * LEVELS
    right, below = (evenly(each, strength.shift * LEVELS) for each in draw[:2])
    cos, sin = evenly(draw[2], np.cos(angles)), evenly(draw[2], np.sin(angles))
    wide, high = evenly(draw[3], factors), evenly(draw[4], factors)
    lean = evenly(draw[5], strength.shear * LEVELS)
    x = np.arange(SIDE, dtype="float32") - (SIDE - 1) / 2  # [28]
    y = x[:, None]  # [28, 1]
    across = (on_grid(wide * cos) - 1) * x + on_grid(wide * on_grid(cos * lean - sin)) * y + right
    down = on_grid(high * sin) * x + (on_grid(high * on_grid(sin * lean + cos)) - 1) * y + below
    return across, down


def elastic(strength: Strength) -> np.ndarray:
    """float32 [MODES², 784]: displacements that random sums, of what `normally` draws, make an elastic field of."""
    return on_grid(strength.wave / DEVIATION * basis(strength.smooth), 18).astype("float32")


def basis(smooth: float) -> np.ndarray:
    """float64 [MODES², 784]: waves whose random sums are noise smoothed with a Gaussian of deviation `smooth`.

    Noise is made of cosines of equal strength; smoothing weakens each by exp(−smooth²·frequency²/2), so that those of
    high frequency need not be drawn. The mean variance over the image is 1. See Simard et al., ICDAR 2003.
    """
    frequency = np.pi * np.arange(MODES) / SIDE
    cosines = np.cos(np.outer(frequency, np.arange(SIDE) + 0.5)) * np.where(frequency > 0, np.sqrt(2), 1)[:, None]
    cosines *= np.exp(-((smooth * frequency) ** 2) / 2)[:, None]
    waves = np.einsum("iy,jx->ijyx", cosines, cosines).reshape(MODES**2, SIDE * SIDE)
    return waves / np.sqrt((waves**2).sum(0).mean())


def sample(images: Any, across: Any, down: Any) -> Any:
    """The images, float32 [n, 28, 28], each pixel taken from so many pixels to the right and below, bilinearly."""
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
    return upper * (1 - y) + lower * y
