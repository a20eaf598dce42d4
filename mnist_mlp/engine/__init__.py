"""The contract of an engine: a model, an optimizer and the data set, resident on a device.

An *order* is int32 [steps, batch]: the examples of each step by index, -1 where there is none (weight 0).
The loss of a step is Σ wᵢlᵢ / Σ wᵢ over the global batch, plus the model's penalties; l is the cross-entropy.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Sums:
    """What training saw: the network scored on each example in the step that learned from it, before the update."""

    loss_sum: float  # Σ cross-entropy over the examples, in nats, without penalties
    correct: int
    seen: int


@dataclasses.dataclass(frozen=True)
class Counts:
    """What evaluation found; every example counts once."""

    confusion: np.ndarray  # int64 [10, 10], rows are the truth
    loss_sum: float

    @property
    def correct(self) -> int:
        return int(np.trace(self.confusion))

    @property
    def total(self) -> int:
        return int(self.confusion.sum())


class Engine(Protocol):
    """What a device offers to the programs."""

    model: keras.Model
    optimizer: keras.Optimizer | None
    device: str  # what computes: "GPU: NVIDIA L4"
    notes: tuple[str, ...]  # what must be said of the device
    backend: str
    xla: bool
    replicas: int

    def compile(self) -> None:
        """Makes ready what `train` and `evaluate` run; changes no weight."""

    def train(self, order: np.ndarray) -> Sums:
        """Runs those steps on the training images."""

    def evaluate(self, split: str) -> Counts:
        """Scores a split ("test" or "validation"), every example once, for any batch size."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """float32 [n, 10], probabilities of uint8 images [n, 28, 28]."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything needed to go on, by name: weights, optimizer, random state, counters."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """The inverse of `state`."""


def named_variables(model: keras.Model, optimizer: keras.Optimizer | None) -> dict[str, keras.Variable]:
    """All variables of a run under names that depend on neither the backend nor what else the process has built."""
    named = {f"model/{layer.name}/{v.name}": v for layer in model.layers for v in layer.variables}
    if optimizer is not None:
        named |= {f"optimizer/{index}/{v.name}": v for index, v in enumerate(optimizer.variables)}
    return named


def read_state(model: keras.Model, optimizer: keras.Optimizer | None) -> dict[str, np.ndarray]:
    """The values of all variables of a run, by name."""
    return {name: keras.ops.convert_to_numpy(v) for name, v in named_variables(model, optimizer).items()}


def write_state(model: keras.Model, optimizer: keras.Optimizer | None, state: dict[str, np.ndarray]) -> None:
    """The inverse of `read_state`."""
    for name, variable in named_variables(model, optimizer).items():
        variable.assign(state[name])
