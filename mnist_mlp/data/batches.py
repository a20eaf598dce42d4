"""Which examples are trained on, and in which order: the validation split, and the batches of an epoch by index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data.dataset import Split
from mnist_mlp.errors import UserError

ORDER, VALIDATION = 0, 1  # independent random streams of one seed


def split_validation(train: Split, fraction: float, seed: int) -> tuple[Split, Split | None]:
    """Takes a random share of the training images out for validation: (rest, validation).

    Both keep the order of the file. A fraction of 0 takes none: (train, None). Raises UserError if either
    side would be empty.
    """
    if fraction == 0:
        return train, None
    count = round(len(train) * fraction)
    if not 1 <= count < len(train):
        raise UserError(
            f"--validation_fraction={fraction}: expected at least one image for training and one for "
            f"validation, received {len(train) - count} and {count}; try --validation_fraction=0.1"
        )
    order = _permutation(len(train), seed, VALIDATION)
    kept, taken = np.sort(order[count:]), np.sort(order[:count])
    return Split(train.images[kept], train.labels[kept]), Split(train.images[taken], train.labels[taken])


def batch_indices(seed: int, epoch: int, n: int, batch: int) -> NDArray[np.int32]:
    """The order of the examples in one epoch: int32 [steps, width], width = min(batch, n).

    Every index 0 … n-1 stands in it exactly once; -1 fills up the last row and has weight 0. It depends on
    the arguments alone, so every backend, every number of replicas and every resumed run sees the same.
    """
    return _in_batches(_permutation(n, seed, ORDER, epoch), batch)


def sequential_indices(n: int, batch: int) -> NDArray[np.int32]:
    """The natural order, for evaluation, in the shape of batch_indices."""
    return _in_batches(np.arange(n), batch)


def _in_batches(order: NDArray[np.int64], batch: int) -> NDArray[np.int32]:
    width = min(batch, len(order))
    steps = -(-len(order) // width)
    padded = np.full(steps * width, -1, np.int32)
    padded[: len(order)] = order
    return padded.reshape(steps, width)


def _permutation(n: int, seed: int, *stream: int) -> NDArray[np.int64]:
    # Sorting PCG64's raw draws instead of Generator.permutation: NumPy guarantees that the draws never change
    # from version to version, and does not guarantee it for the methods of Generator.
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=stream))
    return np.argsort(bits.random_raw(n), kind="stable")
