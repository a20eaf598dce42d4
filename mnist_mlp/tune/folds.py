"""The folds of a cross-validation: every training image is held out once, by all trials in the same fold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.errors import UserError

FOLDS = 2  # the random stream of a seed: `data` has 0 and 1 for other things


def assign(labels: NDArray[np.uint8], folds: int, seed: int) -> NDArray[np.int8]:
    """int8 [n]: the fold in which each example is held out, 0 … folds-1.

    Stratified: of each class, and of all, any two folds have the same number of examples or one more. It depends on
    the arguments alone, for ever: a study that goes on must find the folds that it was begun with. Raises `UserError`
    where a class has fewer examples than there are folds.
    """
    rarest = int(np.bincount(labels, minlength=10).min())
    if rarest < folds:
        raise UserError(
            f"--folds={folds}: expected at most {rarest} folds, so that each has an image of every class; "
            + (f"type --folds={rarest}" if rarest > 1 else "the training images have no two of some class")
        )
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(FOLDS,)))
    shuffled = np.argsort(bits.random_raw(len(labels)), kind="stable")
    dealt = shuffled[np.argsort(labels[shuffled], kind="stable")]  # class after class, each in random order
    found = np.empty(len(labels), np.int8)
    found[dealt] = np.arange(len(labels)) % folds  # like cards
    return found
