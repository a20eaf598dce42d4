"""Which trial is the best, how sure that is, and what it is as a config of `train`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.stats.metrics import per_class, wilson_interval
from mnist_mlp.tune.methods import METHODS
from mnist_mlp.tune.study import Row


def ranking(rows: Sequence[Row]) -> list[Row]:
    """The complete trials, the best one first: by mean accuracy over the folds, then by cross-entropy."""
    complete = [row for row in rows if row.state == "complete"]
    return sorted(complete, key=lambda row: (-row.accuracy, row.loss, row.method, row.number))


def best_of_each(rows: Sequence[Row]) -> list[Row]:
    """The best trial of each method, the best method first."""
    found: dict[str, Row] = {}
    for row in ranking(rows):
        found.setdefault(row.method, row)
    return list(found.values())


def choose(rows: Sequence[Row]) -> tuple[Row, Row | None]:
    """The trial with the best mean accuracy, and the one to hold against it: the best of the next method, or the next
    trial where there is one method. Raises `UserError` where no trial was completed."""
    ranked, methods = ranking(rows), best_of_each(rows)
    if not ranked:
        raise UserError(
            "expected a trial that could be completed, none was: all diverged; type --space with smaller learning "
            "rates or another optimizer, and another --study_dir"
        )
    others = methods[1:] or ranked[1:]
    return ranked[0], others[0] if others else None


def standard_error(one: Row, other: Row) -> float:
    """The standard error of the difference of two means over the same folds: the folds' own difficulty falls out."""
    differences = np.subtract(one.accuracies, other.accuracies)
    return float(np.std(differences, ddof=1)) / math.sqrt(len(differences))


def config_values(row: Row, seed: int, dataset: str) -> dict[str, Any]:
    """A network's trial as options of `train`, for a file that `--config` takes."""
    values = {"model": row.method, **row.values, "seed": seed}
    if dataset in ("mnist", "fashion_mnist", "digits"):  # no images of somebody's own
        values["dataset"] = dataset
    Config.from_dict(values)
    return values


def best_network(rows: Sequence[Row]) -> Row | None:
    """The best trial of a network."""
    return next((row for row in ranking(rows) if METHODS[row.method].network), None)


def test_block(found: dict[str, Any]) -> dict[str, Any]:
    """What the look at the test images found, as in a run's result."""
    confusion = np.array(found["confusion"])
    correct, total = int(np.trace(confusion)), int(confusion.sum())
    return {
        "correct": correct,
        "total": total,
        "accuracy": correct / total,
        "interval": list(wilson_interval(correct, total)),
        "loss": found["loss"],
        "confusion": found["confusion"],
        "per_class": per_class(confusion),
        "seconds": found["seconds"],
        "ran_on": found["ran_on"],
        "diverged": found["diverged"],
    }
