"""The kinds of corruption by name, and images corrupted by one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data.corruptions import building, mnist_c
from mnist_mlp.data.corruptions.draws import Draws, Floats

SEVERITIES = (1, 2, 3, 4, 5)
CHUNK = 1000  # images at a time: about 50 MB, whatever the data set
GUARD = 2.0**-20  # of a grey level; values that lie between two levels would be rounded by their last bit


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of corruption."""

    name: str
    apply: Callable[[Floats, Draws, int], Floats]  # see mnist_c.py
    published: int | None = None  # the severity that comes close to MNIST-C's only one; None: not in MNIST-C


MNIST_C = {
    kind.name: kind
    for kind in (
        Kind("shot_noise", mnist_c.shot_noise, 5),
        Kind("impulse_noise", mnist_c.impulse_noise, 4),
        Kind("glass_blur", mnist_c.glass_blur, 3),
        Kind("motion_blur", mnist_c.motion_blur, 3),
        Kind("shear", mnist_c.shear, 2),
        Kind("scale", mnist_c.scale, 3),
        Kind("rotate", mnist_c.rotate, 2),
        Kind("brightness", mnist_c.brightness, 5),
        Kind("translate", mnist_c.translate, 3),
        Kind("stripe", mnist_c.stripe, 3),
        Kind("fog", mnist_c.fog, 5),
        Kind("spatter", mnist_c.spatter, 4),
        Kind("dotted_line", mnist_c.dotted_line, 3),
        Kind("zigzag", mnist_c.zigzag, 3),
        Kind("canny_edges", mnist_c.canny_edges, 3),
    )
}
BUILDING = {
    apply.__name__: Kind(apply.__name__, apply)
    for apply in (
        *(building.gaussian_noise, building.speckle_noise, building.gaussian_blur, building.pixelate),
        *(building.contrast, building.shadow, building.occlusion),
        *(building.thickness, building.bend, building.ruled_paper),
    )
}
KINDS = {**MNIST_C, **BUILDING}


def corrupt(
    images: NDArray[np.uint8], kind: str, severity: int, *, seed: int = 0, indices: NDArray[np.integer] | None = None
) -> NDArray[np.uint8]:
    """Return the images, uint8 [n, 28, 28], corrupted by a kind of KINDS at a severity from 1 to 5.

    `indices` are those of the images in their split (default: 0 to n − 1). An image and its index alone decide what
    becomes of it: a part of a split gets the images that the whole gets. Equal on every machine, but for a grey level
    of a pixel where a value lies within 1e-15 of the limit between two.
    """
    indices = np.arange(len(images)) if indices is None else indices
    corrupted = np.empty(images.shape, np.uint8)
    for start, stop in chunks(len(images)):
        draws = Draws(seed, kind, indices[start:stop])
        values = KINDS[kind].apply(images[start:stop] / 255, draws, severity - 1)
        corrupted[start:stop] = np.floor(np.clip(values, 0, 1) * 255 + 0.5 + GUARD)
    return corrupted


def chunks(count: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, stop) of at most CHUNK images each."""
    for start in range(0, count, CHUNK):
        yield start, min(start + CHUNK, count)
