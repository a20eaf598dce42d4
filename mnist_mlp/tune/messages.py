"""Messages between a search and its workers.

They need a module of their own: a worker runs as `__main__`, and no other process could unpickle a class defined there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mnist_mlp import data
from mnist_mlp.devices.strategy import Request


@dataclasses.dataclass(frozen=True)
class Work:
    """What a worker needs before its first job."""

    train: data.Split
    fold_of: np.ndarray  # int8 [n]
    request: Request  # the device of the networks
    seed: int


@dataclasses.dataclass(frozen=True)
class FitFold:
    """Fit a trial on all folds but one; the answer is its `Score` on that fold."""

    method: str
    values: dict[str, Any]
    fold: int


@dataclasses.dataclass(frozen=True)
class FitAndTest:
    """Fit on all training images and score the test images; the answer is that of `Fitter.fit_and_test`."""

    method: str
    values: dict[str, Any]
    test: data.Split


@dataclasses.dataclass(frozen=True)
class CheckOptimizers:
    """Check that the backend can run these optimizers; the answer is `Done`."""

    method: str  # the first one, for an error message
    values: dict[str, tuple[str, ...]]  # optimizers by network


@dataclasses.dataclass(frozen=True)
class Done:
    """The job succeeded."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """The job failed: a user error with its exit code, or a bug with its traceback and no exit code."""

    message: str
    exit_code: int | None
