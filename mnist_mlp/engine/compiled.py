"""What the compiled engines of TensorFlow and JAX share: each backend adds its programs, and how it calls them.

The data lives on the devices as uint8. A call of `train` or `evaluate` runs any number of steps in a compiled loop.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mnist_mlp.data import Split
from mnist_mlp.data.batches import sequential_indices
from mnist_mlp.engine.base import (
    PLAIN,
    Counts,
    DeviceSet,
    OnBatch,
    OnProgress,
    Recipe,
    Sums,
    check_placement,
    read_state,
    report_lost_workers,
    write_state,
)
from mnist_mlp.engine.batching import Pace, chunks, pad_batches, pad_steps, predict_in_batches
from mnist_mlp.errors import UserError
from mnist_mlp.models.networks import to_logits, with_hidden


class CompiledEngine(abc.ABC):
    """See `Engine` for the contract. `optimizer` may be None if nothing is trained."""

    backend: str
    whole_epochs = False
    on_progress: OnProgress | None = None  # never called: `train` takes any part of an epoch
    on_batch: OnBatch | None = None  # never called: one program trains many batches

    # Six parameters: what an engine consists of. `create_engine` passes them; a wrapper would only rename them.
    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer | None,
        splits: Mapping[str, Split],
        batch_size: int,
        devices: DeviceSet,
        recipe: Recipe = PLAIN,
    ):
        self.model, self.optimizer, self.network = model, optimizer, to_logits(model)
        self.batch_size, self.devices = batch_size, devices
        self.recipe, self.seed = recipe, recipe.seed
        self.step_on: list[str] = []
        # Workers must make the same calls, whatever their clocks say.
        self.pace = Pace() if devices.workers == 1 else None
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
        self.data = {name: (self.put(split.images), self.put(split.labels)) for name, split in splits.items()}
        self.batch_indices = {
            name: pad_batches(sequential_indices(len(split), batch_size), devices.replicas)
            for name, split in splits.items()
        }
        self.build_programs()
        self.predict_program = self.forward_program(model)
        self.logits_program = self.forward_program(self.network)

    # What each backend defines.

    @abc.abstractmethod
    def put(self, array: np.ndarray) -> Any:
        """Return the whole array on each replica's device."""

    @abc.abstractmethod
    def build_programs(self) -> None:
        """Set `train_program` and `evaluate_program`."""

    @abc.abstractmethod
    def forward_program(self, network: keras.Model) -> Callable:
        """Return a compiled function that computes the network's outputs from images."""

    @abc.abstractmethod
    def gradient_program(self) -> Callable:
        """Return a compiled function of images and labels: see `pixel_gradients`."""

    @abc.abstractmethod
    def product_program(self) -> Callable:
        """Return a compiled function that multiplies two matrices on each replica."""

    @abc.abstractmethod
    def last_row(self, value: Any) -> np.ndarray:
        """Wait until every replica has a value, and return the last row that the first one has."""

    @abc.abstractmethod
    def warm_up(self, split: str) -> None:
        """Compile the program that `train` or `evaluate` runs on a split."""

    @abc.abstractmethod
    def train_steps(self, batch_indices: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, int]:
        """Train on rows `start` to `stop`: the loss sum of each row (0 for the others), and the correct answers."""

    @abc.abstractmethod
    def evaluate_steps(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Score rows `start` to `stop` of a split: the loss sum of each row, and the confusion matrix."""

    @abc.abstractmethod
    def outputs(self, program: Callable, images: np.ndarray) -> list[np.ndarray]:
        """Call a forward program with float32 [n, 28, 28] and return the network's outputs."""

    @abc.abstractmethod
    def gradients(self, program: Callable, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Call a gradient program with float32 [n, 28, 28] and int32 [n]."""

    @abc.abstractmethod
    def devices_of(self, output: Any) -> list[str]:
        """Return the devices that computed an output, one for each replica: ["GPU:0"]."""

    @abc.abstractmethod
    def reduce_mean(self, values: Sequence[float]) -> list[float]:
        """Return the mean of each value over the workers."""

    @property
    @abc.abstractmethod
    def xla(self) -> bool: ...

    @property
    @abc.abstractmethod
    def weights_on(self) -> list[str]: ...

    @abc.abstractmethod
    def step_flops(self) -> float: ...

    @abc.abstractmethod
    def trace(self, directory: Path) -> AbstractContextManager[None]: ...

    # What the backends share.

    def compile(self) -> None:
        with report_lost_workers(self.devices):
            for split in self.data:
                self.warm_up(split)

    def train(self, batch_indices: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        stop = len(batch_indices) if stop is None else stop
        padded = pad_steps(pad_batches(batch_indices, self.devices.replicas), len(self.batch_indices["train"]))
        with report_lost_workers(self.devices):
            losses, correct = self.train_steps(padded, start, stop)
        seen = int((batch_indices[start:stop] >= 0).sum())
        return Sums(losses[start:stop].astype(np.float64), correct, seen)

    def evaluate(self, split: str) -> Counts:
        losses = np.zeros(len(self.batch_indices[split]))
        confusion = np.zeros((10, 10), np.int64)
        with report_lost_workers(self.devices):
            for start, stop in chunks(len(losses), self.pace):
                part_losses, part_confusion = self.evaluate_steps(split, start, stop)
                losses[start:stop] = part_losses[start:stop]
                confusion += part_confusion
        return Counts(confusion, float(losses.sum()))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.forward(self.predict_program, images, self.batch_size)

    def logits(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        return self.forward(self.logits_program, images, batch_size or self.batch_size)

    def forward(self, program: Callable, images: np.ndarray, batch_size: int) -> np.ndarray:
        return predict_in_batches(images, batch_size, lambda batch: self.outputs(program, batch)[0])

    @cached_property
    def layers_program(self) -> Callable:
        return self.forward_program(with_hidden(self.model))

    def layers(self, images: np.ndarray) -> list[np.ndarray]:
        return self.outputs(self.layers_program, images.astype(np.float32))

    @cached_property
    def pixel_gradient_program(self) -> Callable:
        return self.gradient_program()

    def pixel_gradients(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        found = []
        for row in sequential_indices(len(images), self.batch_size):  # the last is padded: one shape, compiled once
            at = np.maximum(row, 0)
            batch = images[at].astype(np.float32), labels[at].astype(np.int32)
            found.append(self.gradients(self.pixel_gradient_program, *batch)[row >= 0])
        return np.concatenate(found)

    def copy(self, array: np.ndarray) -> np.ndarray:
        return self.last_row(self.put(array))

    def matrix_product(self, left: np.ndarray, right: np.ndarray) -> Callable[[int], np.ndarray]:
        program, first, factor = self.product_program(), self.put(left), self.put(right)

        def multiply(times: int) -> np.ndarray:
            product = first
            for _ in range(times):
                product = program(product, factor)
            return self.last_row(product)

        return multiply

    def verify_placement(self, output: Any) -> None:
        """Raise `UserError` if a program did not run on the planned devices."""
        self.step_on = self.devices_of(output)
        check_placement(self)

    def state(self) -> dict[str, np.ndarray]:
        return read_state(self.model, self.optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        write_state(self.model, self.optimizer, state)

    def mean_over_workers(self, values: Sequence[float]) -> list[float]:
        if self.devices.workers == 1:
            return list(values)
        with report_lost_workers(self.devices):
            return self.reduce_mean(values)

    def leave_workers(self) -> None:
        if self.devices.workers == 1:
            return
        with contextlib.suppress(UserError, *self.devices.lost):  # all is saved: a worker lost now takes nothing along
            self.mean_over_workers([0.0])
            self.devices.leave()
