"""Train the networks of the ladder with several seeds and score them on the test images."""

from __future__ import annotations

import dataclasses
import functools
import gc
import itertools
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.devices import Plan
from mnist_mlp.lab.ladder import networks
from mnist_mlp.lab.ladder.networks import Network
from mnist_mlp.stats import metrics

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine
    from mnist_mlp.training.multi_seed import MultiSeedTrainer


@dataclasses.dataclass(frozen=True)
class Score:
    """The result of a network, trained once for each seed."""

    correct: np.ndarray  # bool [seeds, test images]
    parameters: int
    train_seconds: tuple[float, ...]  # for each seed, without compilation
    compile_seconds: float

    @property
    def accuracy(self) -> np.ndarray:
        """float64 [seeds], from 0 to 1."""
        return self.correct.mean(1)

    def summary(self) -> dict[str, Any]:
        """Return JSON values: accuracies from 0 to 1, seconds; None for what one seed cannot show."""
        values = self.accuracy.tolist()
        several = len(values) > 1
        low, high = metrics.mean_interval(values)
        return {
            "parameters": self.parameters,
            "accuracy": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)) if several else None,
            "interval": [max(0.0, low), min(1.0, high)] if several else None,
            "accuracies": values,
            "train_seconds": float(np.mean(self.train_seconds)),
            "compile_seconds": self.compile_seconds,
        }


class Trials:
    """Trains networks on one data set, all with the same seeds and epochs, and each network only once.

    Frameworks are imported with the first network.
    """

    def __init__(self, plan: Plan, dataset: data.Dataset, seeds: Sequence[int], epochs: int, reporter: Reporter):
        self.plan, self.dataset, self.seeds, self.epochs, self.reporter = plan, dataset, tuple(seeds), epochs, reporter
        self.scores: dict[tuple[Network, int | None], Score] = {}
        self.trainers: dict[Network, MultiSeedTrainer] = {}
        self.engine: Engine | None = None  # the last one

    def score(self, network: Network, name: str, per_class: int | None = None) -> Score:
        """Train the network, unless that has been done, and return its score.

        `per_class`: train on this many images of each class, drawn by each seed, for as many updates as all images
        take, so that fewer images do not mean less training.
        """
        if (network, per_class) not in self.scores:
            self.reporter.progress(f"{name}: compiling")
            trainer = self.trainer(network)
            correct, seconds = [], []
            for n, seed in enumerate(self.seeds, start=1):
                self.reporter.progress(f"{name}: seed {n} of {len(self.seeds)}")
                examples = balanced_sample(self.dataset.train.labels, per_class, seed) if per_class else None
                seconds.append(fit(trainer, network.rate, seed, self.epochs, examples))
                correct.append(trainer.correct())
            parameters = trainer.model.count_params()
            score = Score(np.array(correct), parameters, tuple(seconds), trainer.compile_seconds)
            self.scores[network, per_class] = score
        return self.scores[network, per_class]

    def trainer(self, network: Network) -> MultiSeedTrainer:
        """Compile the network. Networks that differ only in initial weights or learning rate share a program."""
        load(self.plan)
        from mnist_mlp.training.multi_seed import MultiSeedTrainer

        program = dataclasses.replace(network, rate=Network.rate, start=Network.start)
        if program not in self.trainers:
            self.trainers = {kept: trainer for kept, trainer in self.trainers.items() if kept == Network()}
            gc.collect()  # frees the copies of the data that the others held
            make_model = functools.partial(networks.make_model, program)
            make_optimizer = functools.partial(networks.make_optimizer, program)
            self.trainers[program] = MultiSeedTrainer(self.plan, make_model, make_optimizer, self.dataset)
        trainer = self.trainers[program]
        networks.set_start(trainer.model, network)
        self.engine = trainer.engine
        return trainer


def fit(trainer: MultiSeedTrainer, rate: float, seed: int, epochs: int, examples: np.ndarray | None) -> float:
    """Train from the initial weights and return the seconds.

    On a subset (`examples`), train for as many updates as `epochs` over all images would take.
    """
    if examples is None:
        return trainer.fit(seed, epochs, learning_rate=rate).seconds
    steps = math.ceil(len(trainer.dataset.train) / trainer.batch_size)
    rows: list[np.ndarray] = []
    for passed in itertools.count():
        if len(rows) >= epochs * steps:
            break
        rows.extend(trainer.batches(examples, seed, passed, True))
    trainer.reset(seed, learning_rate=rate)
    began = time.perf_counter()
    for epoch in range(epochs):  # few calls, all of one shape: one program
        trainer.engine.train(np.array(rows[epoch * steps : (epoch + 1) * steps]))
    return time.perf_counter() - began


def balanced_sample(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Return indices of `per_class` images of each class, drawn by `seed`; larger samples contain smaller ones."""
    rng = np.random.default_rng([seed, 10])
    return np.concatenate([rng.permutation(np.flatnonzero(labels == digit))[:per_class] for digit in range(10)])
