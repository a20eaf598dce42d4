"""The lecture's network on a device, with what is measured of it for the claims about it."""

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
    """One line: what is said, the arithmetic behind it, what was measured, and whether that agrees; None where these
    data cannot tell."""

    claim: str
    arithmetic: str
    measured: str
    holds: bool | None


@dataclasses.dataclass(frozen=True)
class StillEpoch:
    """An epoch with step size 0: the engine does all that it does in training, and the network stays as it is."""

    order: np.ndarray  # int32 [steps, batch], -1 where there is no image
    sums: Sums
    updates: int  # which the optimizer counted
    losses: np.ndarray  # float64 [training images], of the same network, scored by itself outside of the engine
    seconds: float


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network after its trainings, one for each seed."""

    curves: list[Curve]
    right: np.ndarray  # bool [seeds, test images]

    @property
    def accuracy(self) -> np.ndarray:
        """float64 [seeds], of the test images."""
        return self.right.mean(1)


class Lesson:
    """The lecture's network on the device, and what the claims ask of it, measured when it is first asked for."""

    def __init__(self, plan: Plan, dataset: data.Dataset, batch_size: int, epochs: int, seeds: list[int]):
        self.plan, self.dataset, self.batch_size, self.epochs, self.seeds = plan, dataset, batch_size, epochs, seeds
        self.trainer = self.compiled("mlp")
        self.model, self.engine = self.trainer.model, self.trainer.engine
        self.dense = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dense)]
        self.trainer.begin(seeds[0])

    def compiled(self, name: str, pixels: str = "unit") -> MultiSeedTrainer:
        """A network with Adam on the data."""
        make_model = functools.partial(networks.build, name, pixels=pixels)
        make_optimizer = functools.partial(optimizers.make_optimizer, "adam", None)
        return MultiSeedTrainer(self.plan, make_model, make_optimizer, self.dataset, self.batch_size)

    @property
    def updates(self) -> int:
        """How many updates of the weights the optimizer has counted."""
        return int(keras.ops.convert_to_numpy(self.engine.optimizer.iterations))

    @functools.cached_property
    def still(self) -> StillEpoch:
        """Leaves the network at its start."""
        train, seed = self.dataset.train, self.seeds[0]
        self.trainer.begin(seed, learning_rate=0.0)
        losses = cross_entropy(logits_of(self.model, train.images), train.labels)
        order = batch_indices(seed, 0, len(train), self.batch_size)
        began = time.perf_counter()
        sums = self.engine.train(order)
        seconds = time.perf_counter() - began
        updates = self.updates
        self.trainer.begin(seed)
        return StillEpoch(order, sums, updates, losses, seconds)

    def fit(self, trainer: MultiSeedTrainer) -> Trained:
        """Trains once for each seed; the network of the first one is the one that stays."""
        curves, right = [], []
        for seed in reversed(self.seeds):
            curves.append(trainer.fit(seed, self.epochs))
            right.append(trainer.right())
        return Trained(curves[::-1], np.array(right[::-1]))

    @functools.cached_property
    def trained(self) -> Trained:
        return self.fit(self.trainer)


def logits_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """float64 [n, 10] of uint8 images [n, 28, 28]: Keras alone, without the engine's compiled programs."""
    network = networks.to_logits(model)
    parts = np.array_split(images, math.ceil(len(images) / 8192))
    found = [keras.ops.convert_to_numpy(network(part.astype(np.float32))) for part in parts]
    return np.concatenate(found).astype(np.float64)


def weights(model: keras.Model) -> np.ndarray:
    """All parameters in a row, float64."""
    return np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in model.trainable_variables]).astype(np.float64)
