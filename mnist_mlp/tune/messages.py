"""What a search and its workers say to each other.

A module of its own: the worker runs as a program, and what a program declares itself nobody else could unpack.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mnist_mlp import data
from mnist_mlp.devices.strategy import Request


@dataclasses.dataclass(frozen=True)
class Work:
    """What a worker is for."""

    train: data.Split
    fold_of: np.ndarray  # int8 [n]
    request: Request  # where networks are fitted
    seed: int


@dataclasses.dataclass(frozen=True)
class Fold:
    """Asks for the `Score` of a trial on one fold."""

    method: str
    values: dict[str, Any]
    fold: int


@dataclasses.dataclass(frozen=True)
class Test:
    """Asks for what `Fitter.on_test` gives."""

    method: str
    values: dict[str, Any]
    test: data.Split


@dataclasses.dataclass(frozen=True)
class Optimizers:
    """Asks whether the backend can run these optimizers; `Ready` is the answer."""

    method: str  # of the first, for a message
    values: dict[str, tuple[str, ...]]  # of each network


@dataclasses.dataclass(frozen=True)
class Ready:
    """All is well."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """The answer where something went wrong: for the user to mend, or a bug with its traceback."""

    message: str
    exit_code: int | None
