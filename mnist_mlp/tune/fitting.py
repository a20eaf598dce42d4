"""Fits a method on some training images and gives its probabilities for others.

Networks are `trainer`'s: one is compiled for each (model, pixels, precision, optimizer, batch size), whatever the
fold, the epochs and the learning rate, which is a variable of the program. scikit-learn's methods see the pixels as 784
numbers from 0 to 1.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli.load_framework import load
from mnist_mlp.config import Config
from mnist_mlp.devices.strategy import Request, choose, detect
from mnist_mlp.errors import UserError
from mnist_mlp.stats.metrics import confusion_matrix
from mnist_mlp.tune.methods import METHODS

if TYPE_CHECKING:
    from mnist_mlp.training.multi_seed import Curve, MultiSeedTrainer

KEPT = 8  # compiled networks at a time; each has the training images once more
SMALLEST = 2.0**-23  # a probability counts as this at least: a tree's may be 0, whose logarithm is not finite


@dataclasses.dataclass(frozen=True)
class Score:
    """How a fitted method did on images that it was not fitted on."""

    correct: int
    total: int
    loss: float  # mean cross-entropy in nats
    seconds: float  # of fitting and predicting, without compiling
    diverged: bool = False  # a loss, a weight or a probability is no number: nothing counts as right then

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


def score(probabilities: np.ndarray, labels: np.ndarray, seconds: float, *, diverged: bool = False) -> Score:
    """The score of probabilities [n, 10] for images with those labels; `diverged`: whatever they are, it has failed."""
    if diverged or not np.isfinite(probabilities).all():
        return Score(0, len(labels), -float(np.log(SMALLEST)), seconds, diverged=True)
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = float(-np.log(np.maximum(of_truth, SMALLEST)).mean())
    return Score(int((probabilities.argmax(1) == labels).sum()), len(labels), loss, seconds)


class Fitter:
    """Fits one method after another on the same training images.

    `request` says on which device networks are; the environment that it needs is set here.
    """

    def __init__(self, train: data.Split, request: Request, seed: int):
        self.train, self.seed, self.request = train, seed, request
        self.trainers: OrderedDict[tuple[Any, ...], MultiSeedTrainer] = OrderedDict()

    def held_out(self, method: str, values: Mapping[str, Any], fold_of: np.ndarray, fold: int) -> Score:
        """The score on the examples of a fold, after fitting on those of all others."""
        rows, others = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        images, labels = self.train.images[others], self.train.labels[others]
        diverged = False
        if METHODS[method].network:
            config = self.config_of(method, values)
            trainer = self.trainer(config)
            began = time.perf_counter()
            curve = trainer.fit(self.seed, config.epochs, examples=rows, learning_rate=config.learning_rate)
            diverged = not finite(trainer, curve)
            probabilities = trainer.engine.predict(images)
        else:
            began = time.perf_counter()
            estimator = fitted(method, values, data.Split(self.train.images[rows], self.train.labels[rows]), self.seed)
            probabilities = probabilities_of(estimator, images)
        return score(probabilities, labels, time.perf_counter() - began, diverged=diverged)

    def on_test(self, method: str, values: Mapping[str, Any], test: data.Split) -> dict[str, Any]:
        """The one look: fits on all training images; `confusion` (int [10, 10], rows are the truth), mean `loss`
        as that of a fold, `seconds`, where it ran and whether it `diverged`."""
        if METHODS[method].network:
            config = self.config_of(method, values)
            trainer = self.trainer(config)
            curve = trainer.fit(self.seed, config.epochs, learning_rate=config.learning_rate)
            probabilities, ran_on = trainer.engine.predict(test.images), trainer.engine.devices.name
            found = score(probabilities, test.labels, curve.seconds, diverged=not finite(trainer, curve))
        else:
            began = time.perf_counter()
            probabilities = probabilities_of(fitted(method, values, self.train, self.seed), test.images)
            found, ran_on = score(probabilities, test.labels, time.perf_counter() - began), "CPU"
        confusion = confusion_matrix(test.labels, probabilities.argmax(1)).tolist()
        return {
            **{"confusion": confusion, "loss": found.loss, "seconds": found.seconds, "ran_on": ran_on},
            "diverged": found.diverged,
        }

    def check_optimizers(self, choices: Mapping[str, Sequence[str]]) -> None:
        """Raises `UserError` where the backend has no such optimizer, or one that computes something else."""
        _, optimizers, _, _ = self.libraries()
        for method, names in choices.items():
            for name in names:
                try:
                    optimizers.make_optimizer(name, None)
                except UserError as error:
                    reason = str(error).removeprefix(f"--optimizer={name}: ")
                    raise UserError(f"--space {method}.optimizer: {name}: {reason}; or leave {name} out") from None

    def config_of(self, method: str, values: Mapping[str, Any]) -> Config:
        return Config(model=method, seed=self.seed, **values)

    def trainer(self, config: Config) -> MultiSeedTrainer:
        """The compiled network for that config; those that were not used for longest are given up."""
        key = (config.model, config.pixels, config.precision, config.optimizer, config.batch_size)
        if key in self.trainers:
            self.trainers.move_to_end(key)
            return self.trainers[key]
        while len(self.trainers) >= KEPT:
            self.trainers.popitem(last=False)
        # There are no test images here: a training image stands for them, and is never scored.
        models, optimizers, make, plan = self.libraries()
        test = data.Split(self.train.images[:1], self.train.labels[:1])
        found: MultiSeedTrainer = make(
            plan,
            lambda: models.build(config.model, pixels=config.pixels, precision=config.precision, seed=config.seed),
            lambda: optimizers.make_optimizer(config.optimizer, None),
            data.Dataset("of a search", "", self.train, test, (), False),
            config.batch_size,
        )
        found.engine.predict(self.train.images[:1])  # compiles that, too
        self.trainers[key] = found
        return found

    def libraries(self) -> tuple[Any, Any, Any, devices.Plan]:
        """`networks`, `optimizers`, `MultiSeedTrainer`, and and the plan, whose framework is loaded first."""
        plan = choose(self.request, detect())
        load(plan)
        from mnist_mlp.models import networks
        from mnist_mlp.training import optimizers
        from mnist_mlp.training.multi_seed import MultiSeedTrainer

        return networks, optimizers, MultiSeedTrainer, plan


def finite(trainer: MultiSeedTrainer, curve: Curve) -> bool:
    """Whether each loss and each weight is a number. ReLU makes 0 of what is none: the probabilities do not tell."""
    weights = (value for name, value in trainer.engine.state().items() if name.startswith("model/"))
    return bool(np.isfinite(curve.step_losses).all()) and all(bool(np.isfinite(value).all()) for value in weights)


def flat(images: np.ndarray) -> np.ndarray:
    """float32 [n, 784], from 0 to 1, of uint8 [n, 28, 28]."""
    return images.reshape(len(images), 784).astype(np.float32) / 255


def fitted(method: str, values: Mapping[str, Any], train: data.Split, seed: int) -> Any:
    """The scikit-learn classifier of a method, fitted."""
    from sklearn import ensemble, linear_model, tree

    makers = {
        "logistic_regression": linear_model.LogisticRegression,
        "tree": tree.DecisionTreeClassifier,
        "random_forest": ensemble.RandomForestClassifier,
        "gradient_boosting": ensemble.HistGradientBoostingClassifier,
    }
    more = {"gradient_boosting": {"early_stopping": False}}.get(method, {})
    settings = {**dataclasses.asdict(METHODS[method].declared(**values)), **more, "random_state": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that L-BFGS has made its steps: how many is what is searched
        return makers[method](**settings).fit(flat(train.images), train.labels)


def probabilities_of(estimator: Any, images: np.ndarray) -> np.ndarray:
    """float [n, 10]; a class that there were no examples of has 0."""
    found = np.zeros((len(images), 10))
    found[:, estimator.classes_] = estimator.predict_proba(flat(images))
    return found
