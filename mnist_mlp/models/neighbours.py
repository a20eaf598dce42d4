"""The training images nearest to an image, by what the network's last layer sees: the outputs of its last hidden layer.

Two images that are close there are almost the same to the network, however different their pixels are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data import Dataset
from mnist_mlp.data.batches import validation_indices
from mnist_mlp.models import numpy_forward
from mnist_mlp.models.portable import Array, Layer

SAMPLE = 10_000  # images that a report compares at most, which takes `mlp` 0.1 s
VALUES = 32 * 2**20  # activations in memory: 128 MiB; 60,000 images of up to 559 units, or 20,971 of `cnn`
SPARE = 4  # candidates for each neighbour, before their distances are computed without cancellation


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """Images that a network was trained on: all, or some at equal intervals, since they may be sorted by class."""

    images: NDArray[np.uint8]  # [n, 28, 28]
    labels: NDArray[np.uint8]  # [n]
    indices: NDArray[np.int64]  # [n], in the training split of the data set
    total: int  # images trained on

    def __len__(self) -> int:
        return len(self.labels)

    def at_most(self, count: int) -> TrainingImages:
        """Return no more than `count` of these."""
        if len(self) <= count:
            return self
        chosen = at_intervals(len(self), count)
        return TrainingImages(self.images[chosen], self.labels[chosen], self.indices[chosen], self.total)


def at_intervals(n: int, count: int) -> NDArray[np.int64]:
    """Return `count` of the indices 0 … n-1, at equal intervals; all if there are fewer."""
    return np.arange(n) if n <= count else np.arange(count, dtype=np.int64) * n // count


def training_images(dataset: Dataset, validation_fraction: float, seed: int, count: int) -> TrainingImages:
    """Return at most `count` of the images that a run with these options trains on. Raise `UserError`."""
    kept, _ = validation_indices(len(dataset.train), validation_fraction, seed)
    chosen = kept[at_intervals(len(kept), count)]
    return TrainingImages(dataset.train.images[chosen], dataset.train.labels[chosen], chosen, len(kept))


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The nearest training images of some images: rows of indices into `TrainingImages`, the nearest first."""

    indices: NDArray[np.int64]  # [n, k]
    distances: Array  # float32 [n, k], Euclidean
    medians: Array  # float32 [n]: half of the training images are farther away


class Neighbourhood:
    """Training images as points in the space of a network's last hidden layer, or of its pixels if it has none.

    The computation takes 0.3 s of CPU time for 60,000 images of `mlp`, 2 s for 10,000 of `cnn`.
    """

    def __init__(self, layers: Sequence[Layer], known: TrainingImages):
        until = [layer.name for layer in layers].index("logits")
        units = len(layers[until].weights[0])
        self.layers = list(layers[:until])
        self.name = next((layer.name for layer in reversed(self.layers) if layer.kernel is not None), "pixels")
        self.known = known.at_most(VALUES // units)
        self.points = self.points_of(self.known.images)
        self.squares = np.einsum("ij,ij->i", self.points, self.points)

    def points_of(self, images: NDArray[np.uint8]) -> Array:
        """Return the inputs of the last layer, float32 [n, units]."""
        return numpy_forward.outputs(self.layers, images).reshape(len(images), -1)

    def nearest(self, images: NDArray[np.uint8], k: int) -> Nearest:
        """Return the k nearest training images (all, if there are fewer) of images, uint8 [n, 28, 28]."""
        k = min(k, len(self.known))
        points = self.points_of(images)
        # |a − b|² = |a|² − 2a·b + |b|² needs one product, but loses digits where a and b are close: so it chooses some
        # candidates only.
        squared = self.squares - 2 * (points @ self.points.T) + np.einsum("ij,ij->i", points, points)[:, None]
        found = [self.nearest_to(point, row, k) for point, row in zip(points, squared, strict=True)]
        indices, distances, medians = (np.stack(parts) for parts in zip(*found, strict=True))
        return Nearest(indices, distances, medians)

    def nearest_to(self, point: Array, squared: Array, k: int) -> tuple[Array, Array, Array]:
        """Return indices and distances of the k nearest to a point, and the median of all distances.

        `squared`, float32 [training images], are the squares of the distances but for rounding.
        """
        middle = len(squared) // 2
        likeliest = min(SPARE * k, len(squared)) - 1
        order = np.argpartition(squared, sorted({likeliest, middle}))
        candidates = np.sort(order[: likeliest + 1])
        distances = np.linalg.norm(self.points[candidates] - point, axis=1)
        best = np.argsort(distances, kind="stable")[:k]
        return candidates[best], distances[best], np.sqrt(np.maximum(squared[order[middle]], 0))
