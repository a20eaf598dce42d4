"""The lecture's network on a device, and the measurements that the claims share."""

from __future__ import annotations

import dataclasses
import functools
import math
import time

import keras
import numpy as np

from mnist_mlp import data
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.devices import Plan
from mnist_mlp.engine.base import Sums
from mnist_mlp.models import networks
from mnist_mlp.stats.metrics import cross_entropy
from mnist_mlp.training import optimizers
from mnist_mlp.training.multi_seed import Curve, MultiSeedTrainer


@dataclasses.dataclass(frozen=True)
class Claim:
    """One line of the report."""

    claim: str
    arithmetic: str
    measured: str
    holds: bool | None  # None: these data cannot decide


@dataclasses.dataclass(frozen=True)
class FrozenEpoch:
    """An epoch with learning rate 0: the engine trains as usual, but the weights stay as they are."""

    batches: np.ndarray  # int32 [steps, batch], image indices, -1 for padding
    sums: Sums
    updates: int  # as counted by the optimizer
    losses: np.ndarray  # float64 [training images], of the same network, each image scored without the engine
    seconds: float


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network after training, once for each seed."""

    curves: list[Curve]
    correct: np.ndarray  # bool [seeds, test images]

    @property
    def accuracy(self) -> np.ndarray:
        """float64 [seeds], on the test images."""
        return self.correct.mean(1)


class Lesson:
    """The lecture's network on the device. Measurements are made once, when a claim first needs them."""

    def __init__(self, plan: Plan, dataset: data.Dataset, batch_size: int, epochs: int, seeds: list[int]):
        self.plan, self.dataset, self.batch_size, self.epochs, self.seeds = plan, dataset, batch_size, epochs, seeds
        self.trainer = self.compiled("mlp")
        self.model, self.engine = self.trainer.model, self.trainer.engine
        self.dense = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dense)]
        self.trainer.reset(seeds[0])

    def compiled(self, name: str, pixels: str = "unit") -> MultiSeedTrainer:
        """Compile a network with Adam for the data."""
        make_model = functools.partial(networks.build, name, pixels=pixels)
        make_optimizer = functools.partial(optimizers.make_optimizer, "adam", None)
        return MultiSeedTrainer(self.plan, make_model, make_optimizer, self.dataset, self.batch_size)

    @property
    def updates(self) -> int:
        """The number of weight updates that the optimizer has counted."""
        return int(keras.ops.convert_to_numpy(self.optimizer.iterations))

    @property
    def optimizer(self) -> keras.Optimizer:
        return self.engine.optimizer  # type: ignore[return-value]  # not None: this engine trains

    @functools.cached_property
    def frozen(self) -> FrozenEpoch:
        """Run an epoch with learning rate 0, and leave the network with its initial weights."""
        train, seed = self.dataset.train, self.seeds[0]
        self.trainer.reset(seed, learning_rate=0.0)
        losses = cross_entropy(logits_of(self.model, train.images), train.labels)
        batches = batch_indices(seed, 0, len(train), self.batch_size)
        began = time.perf_counter()
        sums = self.engine.train(batches)
        seconds = time.perf_counter() - began
        updates = self.updates
        self.trainer.reset(seed)
        return FrozenEpoch(batches, sums, updates, losses, seconds)

    def fit(self, trainer: MultiSeedTrainer) -> Trained:
        """Train once for each seed, the first seed last, so that its network stays on the device."""
        curves, correct = [], []
        for seed in reversed(self.seeds):
            curves.append(trainer.fit(seed, self.epochs))
            correct.append(trainer.correct())
        return Trained(curves[::-1], np.array(correct[::-1]))

    @functools.cached_property
    def trained(self) -> Trained:
        return self.fit(self.trainer)


def logits_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return float64 [n, 10] for uint8 images [n, 28, 28], by Keras alone, without the engine's compiled programs."""
    network = networks.to_logits(model)
    parts = np.array_split(images, math.ceil(len(images) / 8192))
    logits = [keras.ops.convert_to_numpy(network(part.astype(np.float32))) for part in parts]
    return np.concatenate(logits).astype(np.float64)


def weights(model: keras.Model) -> np.ndarray:
    """Return all parameters as one float64 vector."""
    return np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in model.trainable_variables]).astype(np.float64)
