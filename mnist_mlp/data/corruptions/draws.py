"""Random numbers that depend on nothing but seed, kind, image and position.

A counter is hashed, in whole numbers of 64 bits: the stream is the same with every version of NumPy and on every
machine, any part of a data set gets the images that the whole gets, and thousands of images draw at once. NumPy's
generators promise the first two for raw bits only, and need an object for each image.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

STEP = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio: consecutive counters lie far apart
Floats = NDArray[np.float64]


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash uint64 values so that each bit depends on all bits: the finalizer of SplitMix64 (Steele et al., 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


class Draws:
    """The random numbers of some images, given by their indices, under a seed and the name of a kind.

    Each call takes the next numbers of every image. Severities share them: a stronger corruption of an image is more of
    the same, not another one.
    """

    def __init__(self, seed: int, kind: str, indices: NDArray[np.integer]):
        text = f"{seed} {kind}".encode()
        key = np.frombuffer(hashlib.sha256(text).digest()[:8], "<u8")
        self.keys = mix(mix(indices.astype(np.uint64) * np.uint64(STEP) + key) + key)
        self.used = 0

    def __len__(self) -> int:
        return len(self.keys)

    def uniform(self, *shape: int) -> Floats:
        """Return the next numbers of each image, float64 [n, *shape], in [0, 1)."""
        count = int(np.prod(shape, dtype=np.int64))
        positions = np.arange(self.used + 1, self.used + count + 1, dtype=np.uint64) * np.uint64(STEP)
        self.used += count
        words = mix(self.keys[:, None] + positions)
        return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(len(self.keys), *shape)

    def between(self, low: float, high: float, *shape: int) -> Floats:
        """Return uniform numbers, float64 [n, *shape], from `low` to `high`."""
        return low + (high - low) * self.uniform(*shape)

    def signs(self, *shape: int) -> Floats:
        """Return −1 or 1, float64 [n, *shape]."""
        return np.where(self.uniform(*shape) < 0.5, -1.0, 1.0)

    def normal(self, *shape: int) -> Floats:
        """Return numbers of a standard normal distribution, float64 [n, *shape], by Box and Muller's method."""
        radius, angle = self.uniform(*shape), self.uniform(*shape)
        return np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)
