"""Choose the best trial, estimate how certain the choice is, and convert a trial to a config of `train`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_mlp.config import DATASETS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.stats.metrics import per_class, wilson_interval
from mnist_mlp.tune.methods import METHODS
from mnist_mlp.tune.study import Row


def ranking(rows: Sequence[Row]) -> list[Row]:
    """Return the complete trials, best first: by mean accuracy over the folds, then by cross-entropy."""
    complete = [row for row in rows if row.state == "complete"]
    return sorted(complete, key=lambda row: (-row.accuracy, row.loss, row.method, row.number))


def best_of_each(rows: Sequence[Row]) -> list[Row]:
    """Return the best trial of each method, best method first."""
    best: dict[str, Row] = {}
    for row in ranking(rows):
        best.setdefault(row.method, row)
    return list(best.values())


def choose(rows: Sequence[Row]) -> tuple[Row, Row | None]:
    """Return the best trial and its runner-up: the best trial of the next method or, with one method, the next trial.

    Raise `UserError` if no trial completed.
    """
    ranked, methods = ranking(rows), best_of_each(rows)
    if not ranked:
        raise UserError(
            "no trial completed: all diverged; try --space with smaller learning rates or another optimizer, and "
            "another --study_dir"
        )
    others = methods[1:] or ranked[1:]
    return ranked[0], others[0] if others else None


def standard_error(one: Row, other: Row) -> float:
    """Return the standard error of the difference of two means, paired by fold so that fold difficulty cancels."""
    differences = np.subtract(one.accuracies, other.accuracies)
    return float(np.std(differences, ddof=1)) / math.sqrt(len(differences))


def config_values(row: Row, seed: int, dataset: str) -> dict[str, Any]:
    """Return a network's trial as options of `train`, for a file that `--config` reads."""
    values = {"model": row.method, **row.values, "seed": seed}
    if dataset in DATASETS:  # not the caller's own images
        values["dataset"] = dataset
    Config.from_dict(values)
    return values


def best_network(rows: Sequence[Row]) -> Row | None:
    """Return the best trial of a network, if there is one."""
    return next((row for row in ranking(rows) if METHODS[row.method].network), None)


def test_block(tested: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of `Fitter.fit_and_test` in the form of a run's result."""
    confusion = np.array(tested["confusion"])
    correct, total = int(np.trace(confusion)), int(confusion.sum())
    return {
        "correct": correct,
        "total": total,
        "accuracy": correct / total,
        "interval": list(wilson_interval(correct, total)),
        "loss": tested["loss"],
        "confusion": tested["confusion"],
        "per_class": per_class(confusion),
        "seconds": tested["seconds"],
        "ran_on": tested["ran_on"],
        "diverged": tested["diverged"],
    }
