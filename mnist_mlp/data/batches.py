"""The validation split, and the batch indices of an epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data.dataset import Split
from mnist_mlp.errors import UserError

ORDER, VALIDATION = 0, 1  # independent random streams of one seed


def split_validation(train: Split, fraction: float, seed: int) -> tuple[Split, Split | None]:
    """Split off a random fraction of the training images: return (training, validation), or (train, None) for 0.

    Both keep the order of the file. Raise `UserError` if either would be empty.
    """
    if fraction == 0:
        return train, None
    kept, taken = validation_indices(len(train), fraction, seed)
    return Split(train.images[kept], train.labels[kept]), Split(train.images[taken], train.labels[taken])


def validation_indices(n: int, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the images that are trained on, and of those for validation, each in ascending order.

    Raise `UserError` if a fraction above 0 leaves none for either.
    """
    count = round(n * fraction)
    if fraction and not 1 <= count < n:
        raise UserError(
            f"--validation_fraction={fraction}: expected at least one image for training and one for "
            f"validation, received {n - count} and {count}; try --validation_fraction=0.1"
        )
    shuffled = _permutation(n, seed, VALIDATION)
    return np.sort(shuffled[count:]), np.sort(shuffled[:count])


def batch_indices(seed: int, epoch: int, n: int, batch: int) -> NDArray[np.int32]:
    """Return the shuffled example indices of one epoch, one row per step: int32 [steps, width], width = min(batch, n).

    Each index 0 … n-1 occurs once; -1 pads the last row and has weight 0. The result depends on the arguments alone, so
    it is the same for every backend, every number of replicas and every resumed run.
    """
    return _in_batches(_permutation(n, seed, ORDER, epoch), batch)


def sequential_indices(n: int, batch: int) -> NDArray[np.int32]:
    """Return the indices 0 … n-1 in order, for evaluation, in the shape of `batch_indices`."""
    return _in_batches(np.arange(n), batch)


def _in_batches(indices: NDArray[np.int64], batch: int) -> NDArray[np.int32]:
    width = min(batch, len(indices))
    steps = -(-len(indices) // width)
    padded = np.full(steps * width, -1, np.int32)
    padded[: len(indices)] = indices
    return padded.reshape(steps, width)


def _permutation(n: int, seed: int, *stream: int) -> NDArray[np.int64]:
    # Sort PCG64's raw draws instead of calling Generator.permutation: NumPy guarantees that the raw draws are the same
    # in every version, but not the methods of Generator.
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=stream))
    return np.argsort(bits.random_raw(n), kind="stable")
