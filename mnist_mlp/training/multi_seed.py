"""Train one network with many seeds: it is compiled once, and each training starts from fresh weights."""

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
    """The learning curve of one training. Losses are those of each step's examples, before the update."""

    losses: np.ndarray  # float64 [epochs], mean cross-entropy in nats
    accuracy: np.ndarray  # float64 [epochs], from 0 to 1
    step_losses: np.ndarray  # float64 [epochs · steps per epoch], the mean over each batch
    seconds: float


class MultiSeedTrainer:
    """A compiled network with its optimizer and data on the planned device.

    Takes what an `EngineSpec` takes, with a data set instead of its splits. `plan.environment` must have been set
    before Keras was imported.
    """

    # Six parameters: those of an `EngineSpec`, with a data set instead of its splits.
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

    def reset(self, seed: int, *, learning_rate: float | None = None) -> None:
        """Set the network to the initial weights of a seed, and the optimizer to its initial state."""
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
        """Train from fresh weights.

        `examples` are indices into the training images (default: all). Without `shuffle`, each epoch takes them in
        that order.
        """
        self.reset(seed, learning_rate=learning_rate)
        examples = np.arange(len(self.dataset.train)) if examples is None else np.asarray(examples)
        losses, accuracy, steps = [], [], []
        began = time.perf_counter()
        for epoch in range(epochs):
            batches = self.batches(examples, seed, epoch, shuffle)
            sums = self.engine.train(batches)
            losses.append(sums.loss_sum / sums.seen)
            accuracy.append(sums.correct / sums.seen)
            steps.append(sums.losses / (batches >= 0).sum(1))
        seconds = time.perf_counter() - began
        return Curve(np.array(losses), np.array(accuracy), np.concatenate(steps or [np.empty(0)]), seconds)

    def batches(self, examples: np.ndarray, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
        """Return int32 [steps, batch size]: the examples in the order of an epoch; the last row is padded with -1."""
        n, width = len(examples), self.batch_size
        rows = batch_indices(seed, epoch, n, width) if shuffle else sequential_indices(n, width)
        rows = np.where(rows >= 0, examples[np.maximum(rows, 0)], -1).astype(np.int32)
        # As wide for few examples as for many, so that the compiled program is the same.
        return np.pad(rows, ((0, 0), (0, min(width, len(self.dataset.train)) - rows.shape[1])), constant_values=-1)

    def test(self) -> Counts:
        """Score every test image once, with the averaged weights if the optimizer averages them."""
        with averaged(self.engine):
            return self.engine.evaluate("test")

    def correct(self) -> np.ndarray:
        """Return bool [test images]: which are classified correctly, by the averaged weights if there are any."""
        with averaged(self.engine):
            return self.engine.predict(self.dataset.test.images).argmax(1) == self.dataset.test.labels
