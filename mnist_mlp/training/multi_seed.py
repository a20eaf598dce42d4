"""A network that is compiled once and trained again and again, each time from fresh weights: for many seeds."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import keras
import numpy as np

from mnist_mlp import data
from mnist_mlp.data.batches import batch_indices, sequential_indices
from mnist_mlp.devices import Plan
from mnist_mlp.engine.base import PLAIN, Counts, Recipe
from mnist_mlp.engine.create import EngineSpec, create_engine
from mnist_mlp.models import initialization
from mnist_mlp.training.optimizers import averaged


@dataclasses.dataclass(frozen=True)
class Curve:
    """How a training went. The losses are those of the steps' own examples, before each update."""

    losses: np.ndarray  # float64 [epochs], mean cross-entropy in nats
    accuracy: np.ndarray  # float64 [epochs], from 0 to 1
    step_losses: np.ndarray  # float64 [epochs · steps per epoch], the mean over each batch
    seconds: float


class MultiSeedTrainer:
    """A compiled network with its optimizer and data on the planned device.

    `plan.environment` must have been set before Keras was imported.
    """

    def __init__(
        self,
        plan: Plan,
        make_model: Callable[[], keras.Model],
        make_optimizer: Callable[[], keras.Optimizer],
        dataset: data.Dataset,
        batch_size: int = 32,
        recipe: Recipe = PLAIN,
    ):
        self.dataset, self.batch_size = dataset, batch_size
        splits = {"train": dataset.train, "test": dataset.test}
        self.engine = create_engine(plan, EngineSpec(make_model, splits, batch_size, make_optimizer, recipe))
        self.model = self.engine.model
        began = time.perf_counter()
        self.engine.compile()
        self.compile_seconds = time.perf_counter() - began
        self.at_start = self.engine.state()

    def begin(self, seed: int, *, learning_rate: float | None = None) -> None:
        """Puts the network back to the initial weights of that seed, and the optimizer to its start."""
        self.engine.seed = seed
        initialization.initialize(self.model, seed)
        state = self.engine.state()
        state |= {name: value for name, value in self.at_start.items() if name.startswith("optimizer/")}
        if learning_rate is not None and not any(name.endswith("/learning_rate") for name in state):
            raise ValueError("Expected an optimizer with a constant learning rate. Received one with a schedule.")
        if learning_rate is not None:
            (name,) = (name for name in state if name.endswith("/learning_rate"))
            state[name] = np.asarray(learning_rate, state[name].dtype)
        self.engine.restore(state)

    def fit(
        self,
        seed: int,
        epochs: int,
        *,
        examples: np.ndarray | None = None,
        learning_rate: float | None = None,
        shuffle: bool = True,
    ) -> Curve:
        """Trains from the beginning. `examples`: indices into the training images, all of them if not given;
        without `shuffle` they come in that order in each epoch."""
        self.begin(seed, learning_rate=learning_rate)
        chosen = np.arange(len(self.dataset.train)) if examples is None else np.asarray(examples)
        losses, accuracy, steps = [], [], []
        began = time.perf_counter()
        for epoch in range(epochs):
            order = self.order_of(chosen, seed, epoch, shuffle)
            sums = self.engine.train(order)
            losses.append(sums.loss_sum / sums.seen)
            accuracy.append(sums.correct / sums.seen)
            steps.append(sums.losses / (order >= 0).sum(1))
        seconds = time.perf_counter() - began
        return Curve(np.array(losses), np.array(accuracy), np.concatenate(steps or [np.empty(0)]), seconds)

    def order_of(self, chosen: np.ndarray, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
        """int32 [steps, batch size]: those examples in the order of an epoch; -1 fills up the last row."""
        n, width = len(chosen), self.batch_size
        order = batch_indices(seed, epoch, n, width) if shuffle else sequential_indices(n, width)
        order = np.where(order >= 0, chosen[np.maximum(order, 0)], -1).astype(np.int32)
        # As wide for few examples as for many, so that it is the same program.
        return np.pad(order, ((0, 0), (0, min(width, len(self.dataset.train)) - order.shape[1])), constant_values=-1)

    def test(self) -> Counts:
        """Every test image, scored once, with the averaged weights where the optimizer averages them."""
        with averaged(self.engine):
            return self.engine.evaluate("test")

    def right(self) -> np.ndarray:
        """bool [test images]: which of them the network gets right, with the averaged weights where there are some."""
        with averaged(self.engine):
            return self.engine.predict(self.dataset.test.images).argmax(1) == self.dataset.test.labels
