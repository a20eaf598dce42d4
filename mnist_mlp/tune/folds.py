"""Cross-validation folds: each training image is held out once, in the same fold for every trial."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.errors import UserError

FOLDS = 2  # spawn key of the random stream; `data` uses 0 and 1


def assign(labels: NDArray[np.uint8], folds: int, seed: int) -> NDArray[np.int8]:
    """Return the fold in which each example is held out: int8 [n], 0 … folds-1.

    Stratified: within each class, and overall, fold sizes differ by at most one. The result depends on the arguments
    alone and must never change, because a resumed study needs the folds it started with. Raise `UserError` if a class
    has fewer examples than there are folds.
    """
    rarest = int(np.bincount(labels, minlength=10).min())
    if rarest < folds:
        raise UserError(
            f"--folds={folds}: expected at most {rarest} folds, so that each has an image of every class; "
            + (f"try --folds={rarest}" if rarest > 1 else "some class has fewer than two training images")
        )
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(FOLDS,)))
    shuffled = np.argsort(bits.random_raw(len(labels)), kind="stable")
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]  # class by class, each in random order
    fold_of = np.empty(len(labels), np.int8)
    fold_of[by_class] = np.arange(len(labels)) % folds  # dealt like cards
    return fold_of
