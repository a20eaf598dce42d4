"""How sure the network of a run is, and `--calibrate`: a temperature for it, fitted on its validation images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.config import Config
from mnist_mlp.data import Dataset, Split
from mnist_mlp.data.batches import split_validation
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.engine.batching import IMAGES_PER_CALL
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import digest, write_json
from mnist_mlp.runs import calibration, checkpoint, directory
from mnist_mlp.runs.calibration import Calibration
from mnist_mlp.runs.result import Result, versions
from mnist_mlp.stats.calibration import brier_scores, fit_temperature, measure, negative_log_likelihoods, softmax
from mnist_mlp.stats.metrics import mean_interval

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine


@dataclasses.dataclass(frozen=True)
class Logits:
    """The logits of images, float32 [n, 10], as the network's device computed them, and their labels."""

    values: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, engine: Engine, split: Split) -> Logits:
        return cls(engine.logits(split.images, IMAGES_PER_CALL), split.labels)

    def probabilities(self, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities, float64 [n, 10], and the labels."""
        return softmax(self.values, temperature), self.labels


def check_has_validation(run_dir: str, trained: Result) -> None:
    """Raise `UserError` if the run held out no images: test images must not be used, and training images are known."""
    if not trained.dataset["validation_examples"]:
        raise UserError(
            f"--calibrate: expected a run with validation images, received --run_dir={run_dir}, which was "
            "trained on all of its training images; train a new run with --validation_fraction=0.1"
        )


def held_out(path: Path, config: Config, trained: Result, dataset: Dataset) -> Split | None:
    """Return the validation images of the run; None if it had none, or if it is unknown which they were.

    They are known by their positions, so the training images must be those of the run in the same order: its newest
    checkpoint has their hash. (Of a run whose checkpoints were removed, the numbers of images are compared.)
    """
    sizes = trained.dataset["train_examples"] + trained.dataset["validation_examples"]
    if not trained.dataset["validation_examples"] or len(dataset.train) != sizes:
        return None
    newest, _, _ = checkpoint.newest(path)
    if newest is not None and newest.data.get("training images") != in_order_hash(dataset.train):
        return None
    return split_validation(dataset.train, config.validation_fraction, config.seed)[1]


def measured(test: Logits, validation: Logits | None, stored: Calibration | None) -> dict[str, Any]:
    """Return the keys `calibration`, and with a temperature `calibrated`, of the test result; {} if a logit is not
    finite. All is measured now, also where it is stored: these may be other images, or another device."""
    found = {"calibration": block(test, validation)}
    if stored is not None:
        changed = dataclasses.replace(
            stored, after=block(test, validation, stored.temperature), change=change(test, stored.temperature)
        )
        found["calibrated"] = calibration.calibrated(changed)
    return found if found["calibration"] else {}


def block(test: Logits, validation: Logits | None, temperature: float = 1.0) -> dict[str, Any]:
    """Return what `stats.calibration.measure` finds on the test images with a temperature."""
    chosen_on = None if validation is None else validation.probabilities(temperature)
    return measure(*test.probabilities(temperature), chosen_on)


def fit(trained: Result, test: Logits, validation: Logits | None, backend: str) -> Calibration:
    """Fit the temperature on the validation images, and measure on the test images what it changes.

    Raise `UserError` if the validation images are not there, or do not determine a temperature.
    """
    if validation is None:
        raise UserError(
            "--calibrate: the training images found now are not those that the run was trained on, or are in another "
            "order, so its validation images are unknown; use --data_dir=DIR with the directory that it read"
        )
    if not (np.isfinite(validation.values).all() and np.isfinite(test.values).all()):
        raise UserError("--calibrate: the model predicts nan: its training diverged; train a new run")
    if len(test.labels) < 2:
        raise UserError("--calibrate: expected two test images or more, received one; there is nothing to measure")
    try:
        temperature, interval = fit_temperature(validation.values, validation.labels)
    except ValueError:
        n, correct = len(validation.labels), int((validation.values.argmax(1) == validation.labels).sum())
        raise UserError(
            f"--calibrate: {correct:,} of the run's {n:,} validation images are recognized, so no temperature can be "
            "fitted; train a new run with a larger --validation_fraction"
        ) from None
    before, after = (validation.probabilities(each) for each in (1.0, temperature))
    found = {"before": measure(*before), "after": measure(*after)}
    keys = ("nll", "brier", "ece", "ece_if_calibrated")
    figures = {f"{key}_{name}": each[key] for key in keys for name, each in found.items()}
    return Calibration(
        temperature=temperature,
        temperature_interval=list(interval),
        model_sha256=trained.model_sha256,
        validation={"images": len(validation.labels), **figures},
        before=block(test, validation),
        after=block(test, validation, temperature),
        change=change(test, temperature),
        versions=versions(backend),
    )


def change(test: Logits, temperature: float) -> dict[str, Any]:
    """Return how much the temperature changes the loss and the Brier score of an image: the mean and its interval."""
    found = {}
    for name, score in (("nll", negative_log_likelihoods), ("brier", brier_scores)):
        differences = score(*test.probabilities(temperature)) - score(*test.probabilities())
        found[name] = {"mean": float(differences.mean()), "interval": list(mean_interval(differences))}
    return found


def store(path: Path, found: Calibration) -> None:
    """Write calibration.json into the run directory, in place of an earlier one. Raise `UserError` if a process writes
    the run, or the model was replaced meanwhile."""
    with directory.locked(path) as check_owned:
        if digest(path / directory.MODEL) != found.model_sha256:
            raise UserError(f"--run_dir={path}: model.keras was replaced while it was read; run the command again")
        check_owned()
        write_json(path / calibration.NAME, found.to_dict())
