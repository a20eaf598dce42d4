"""Fit a method on some training images and score it on others.

A network is compiled once for each (model, units, pixels, precision, optimizer, batch size) and reused for all folds,
epochs and learning rates; the learning rate is a variable of the program. scikit-learn's methods get the pixels as 784
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

MAX_TRAINERS = 8  # compiled networks kept in memory; each holds a copy of the training images
MIN_PROBABILITY = 2.0**-23  # lower bound in the cross-entropy: a tree can give 0, whose logarithm is infinite


@dataclasses.dataclass(frozen=True)
class Score:
    """The result of a fitted method on images that it was not fitted on."""

    correct: int
    total: int
    loss: float  # mean cross-entropy in nats
    seconds: float  # fitting and predicting, without compilation
    diverged: bool = False  # a loss, weight or probability is not finite: no image counts as correct

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


def score(probabilities: np.ndarray, labels: np.ndarray, seconds: float, *, diverged: bool = False) -> Score:
    """Score probabilities [n, 10] against labels [n]. If `diverged`, the probabilities do not count."""
    if diverged or not np.isfinite(probabilities).all():
        return Score(0, len(labels), -float(np.log(MIN_PROBABILITY)), seconds, diverged=True)
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = float(-np.log(np.maximum(of_label, MIN_PROBABILITY)).mean())
    return Score(int((probabilities.argmax(1) == labels).sum()), len(labels), loss, seconds)


class Fitter:
    """Fits any method on the same training images.

    `request` selects the device of the networks. The fitter sets the environment that the device needs.
    """

    def __init__(self, train: data.Split, request: Request, seed: int):
        self.train, self.seed, self.request = train, seed, request
        self.trainers: OrderedDict[tuple[Any, ...], MultiSeedTrainer] = OrderedDict()

    def fit_fold(self, method: str, values: Mapping[str, Any], fold_of: np.ndarray, fold: int) -> Score:
        """Fit on all folds but one and score that one."""
        rows, others = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        images, labels = self.train.images[others], self.train.labels[others]
        diverged = False
        if METHODS[method].network:
            config = self.config(method, values)
            trainer = self.trainer(config)
            began = time.perf_counter()
            curve = trainer.fit(self.seed, config.epochs, examples=rows, learning_rate=config.learning_rate)
            diverged = not finite(trainer, curve)
            probabilities = trainer.engine.predict(images)
        else:
            began = time.perf_counter()
            train = data.Split(self.train.images[rows], self.train.labels[rows])
            probabilities = predict_probabilities(fit_sklearn(method, values, train, self.seed), images)
        return score(probabilities, labels, time.perf_counter() - began, diverged=diverged)

    def fit_and_test(self, method: str, values: Mapping[str, Any], test: data.Split) -> dict[str, Any]:
        """Fit on all training images and score the test images.

        Return `confusion` (int [10, 10], rows are labels), `loss` (as that of a fold), `seconds`, `ran_on` (the
        device) and `diverged`.
        """
        if METHODS[method].network:
            config = self.config(method, values)
            trainer = self.trainer(config)
            curve = trainer.fit(self.seed, config.epochs, learning_rate=config.learning_rate)
            probabilities, ran_on = trainer.engine.predict(test.images), trainer.engine.devices.name
            scored = score(probabilities, test.labels, curve.seconds, diverged=not finite(trainer, curve))
        else:
            began = time.perf_counter()
            estimator = fit_sklearn(method, values, self.train, self.seed)
            probabilities = predict_probabilities(estimator, test.images)
            scored, ran_on = score(probabilities, test.labels, time.perf_counter() - began), "CPU"
        confusion = confusion_matrix(test.labels, probabilities.argmax(1)).tolist()
        return {
            **{"confusion": confusion, "loss": scored.loss, "seconds": scored.seconds, "ran_on": ran_on},
            "diverged": scored.diverged,
        }

    def check_optimizers(self, choices: Mapping[str, Sequence[str]]) -> None:
        """Raise `UserError` if the backend lacks one of the optimizers, or computes it differently."""
        _, optimizers, _, _ = self.import_libraries()
        for method, names in choices.items():
            for name in names:
                try:
                    optimizers.make_optimizer(name, None)
                except UserError as error:
                    reason = str(error).removeprefix(f"--optimizer={name}: ")
                    raise UserError(f"--space {method}.optimizer: {name}: {reason}; or omit {name}") from None

    def config(self, method: str, values: Mapping[str, Any]) -> Config:
        return Config(model=method, seed=self.seed, **values)

    def trainer(self, config: Config) -> MultiSeedTrainer:
        """Return the compiled network for that config, and drop the least recently used ones."""
        key = (config.model, config.units, config.pixels, config.precision, config.optimizer, config.batch_size)
        if key in self.trainers:
            self.trainers.move_to_end(key)
            return self.trainers[key]
        while len(self.trainers) >= MAX_TRAINERS:
            self.trainers.popitem(last=False)
        # A worker has no test images. A training image stands in for them; it is never scored.
        networks, optimizers, make, plan = self.import_libraries()
        test = data.Split(self.train.images[:1], self.train.labels[:1])
        trainer: MultiSeedTrainer = make(
            plan,
            lambda: networks.from_config(config),
            lambda: optimizers.make_optimizer(config.optimizer, None),
            data.Dataset("of a search", "", self.train, test, (), False),
            config.batch_size,
        )
        trainer.engine.predict(self.train.images[:1])  # compile prediction, too, outside the timed part
        self.trainers[key] = trainer
        return trainer

    def import_libraries(self) -> tuple[Any, Any, Any, devices.Plan]:
        """Load the plan's framework, then import and return `networks`, `optimizers`, `MultiSeedTrainer`; the plan."""
        plan = choose(self.request, detect())
        load(plan)
        from mnist_mlp.models import networks
        from mnist_mlp.training import optimizers
        from mnist_mlp.training.multi_seed import MultiSeedTrainer

        return networks, optimizers, MultiSeedTrainer, plan


def finite(trainer: MultiSeedTrainer, curve: Curve) -> bool:
    """Return whether all losses and weights are finite. ReLU turns NaN into 0, so the probabilities cannot tell."""
    weights = (value for name, value in trainer.engine.state().items() if name.startswith("model/"))
    return bool(np.isfinite(curve.step_losses).all()) and all(bool(np.isfinite(value).all()) for value in weights)


def flat(images: np.ndarray) -> np.ndarray:
    """Return images uint8 [n, 28, 28] as float32 [n, 784], from 0 to 1."""
    return images.reshape(len(images), 784).astype(np.float32) / 255


def fit_sklearn(method: str, values: Mapping[str, Any], train: data.Split, seed: int) -> Any:
    """Fit the scikit-learn classifier of a method."""
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
        warnings.simplefilter("ignore")  # L-BFGS reached max_iter, which is itself a searched parameter
        return makers[method](**settings).fit(flat(train.images), train.labels)


def predict_probabilities(estimator: Any, images: np.ndarray) -> np.ndarray:
    """Return float [n, 10]; classes without training examples have probability 0."""
    probabilities = np.zeros((len(images), 10))
    probabilities[:, estimator.classes_] = estimator.predict_proba(flat(images))
    return probabilities
