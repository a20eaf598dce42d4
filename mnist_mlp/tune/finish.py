"""The end of a search: the choice, its files, and the single evaluation on the test images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.cli.signals import Request
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.config import Config
from mnist_mlp.data import Dataset
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.files import atomic
from mnist_mlp.options import path_of, tagged
from mnist_mlp.runs.result import dataset_block, finite
from mnist_mlp.tune import figure, selection, study_dir, table
from mnist_mlp.tune.messages import FitAndTest, Work
from mnist_mlp.tune.search import fit_and_test
from mnist_mlp.tune.space import Space, format_space
from mnist_mlp.tune.study import Row

SHARED = tagged(Config, affects="machine")  # flags of train, too


@dataclasses.dataclass(frozen=True)
class Finished:
    """A search whose trials are done."""

    options: Any  # of tune
    path: Path
    dataset: Dataset
    work: Work
    rows: Sequence[Row]
    spaces: dict[str, Space]


def finish(search: Finished, request: Request, stopwatch: Stopwatch, reporter: Reporter) -> dict[str, Any]:
    """Choose a trial, write the choice, and only then use the test images. Return the content of result.json."""
    options, path, rows = search.options, search.path, search.rows
    reporter.line("\n" + table.tables(rows, options.folds) + "\n")
    chosen, other = selection.choose(rows)
    reporter.line("\n".join(table.chosen_lines(chosen, other)))
    network = selection.best_network(rows)
    if network:
        atomic.write_json(path / "best.json", selection.config_values(network, options.seed, search.dataset.name))
    if options.figure:
        draw(search)
    stopwatch.end("choose")
    test, looks = test_once(search, chosen, request)
    stopwatch.end("test")
    result = {
        "dataset": dataset_block(search.dataset, len(search.dataset.train), 0),
        **{name: getattr(options, name) for name in (*study_dir.FIXED, "trials", "jobs")},
        "spaces": {name: format_space(space) for name, space in search.spaces.items()},
        "methods": [summary(row) for row in selection.best_of_each(rows)],
        "chosen": summary(chosen),
        "runner_up": other and {**summary(other), "standard_error": selection.standard_error(chosen, other)},
        "best_network": network and summary(network),
        "test": test,
        "looks": looks,
        "versions": study_dir.versions(),
        **stopwatch.measured(),
    }
    atomic.write_json(path / "result.json", finite(result))
    reporter.line("\n".join(closing(result, path, options)))
    return finite(result)  # type: ignore[no-any-return]


def test_once(search: Finished, chosen: Row, request: Request) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the `test` and `looks` parts of the result.

    Each use of the test images is recorded in `looks`. The last one is reused if it was of the same trial on the same
    images.
    """
    test, looks = previous_looks(search.path)
    wanted = {"method": chosen.method, "trial": chosen.number, "test images": in_order_hash(search.dataset.test)}
    if looks and {name: looks[-1].get(name) for name in wanted} == wanted:
        return test, looks
    job = FitAndTest(chosen.method, chosen.values, search.dataset.test)
    test = selection.test_block(fit_and_test(search.work, job, request))
    return test, [*looks, {**wanted, "trials": len(search.rows), "correct": test["correct"], "total": test["total"]}]


def draw(search: Finished) -> None:
    options, dataset = search.options, search.dataset
    about = (
        f"{dataset.name}: {len(dataset.train):,} training images, {options.folds} folds, "
        f"{len(search.rows)} trials by {options.search}, seed {options.seed}"
    )
    figure.draw(path_of("figure", options.figure), search.rows, search.spaces, about)


def closing(result: dict[str, Any], path: Path, options: Any) -> list[str]:
    """Return the lines on the test and the time taken, and the command to train the best network."""
    lines = table.test_lines(result)
    network, stages = result["best_network"], result["seconds"]
    spent = " + ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items() if name != "total")
    lines += [f"seconds  {spent}; total {stages['total']:.1f}", f"study    {path}"]
    if network:
        if network != result["chosen"]:
            lines.append(
                f"         best.json is the best network, {network['method']}: {100 * network['accuracy']:.2f}%"
            )
        flags = [f"--config={path / 'best.json'}"]
        flags += [
            f"--{name}={value}"
            for name in SHARED
            if (value := getattr(options, name, getattr(Config, name))) != getattr(Config, name)
        ]
        lines.append(f"train    {study_dir.command_line('train', *flags)}")
    return lines


def summary(row: Row) -> dict[str, Any]:
    """Return a trial as JSON values; accuracies are from 0 to 1."""
    return {
        **{"method": row.method, "trial": row.number, "values": row.values, "accuracy": row.accuracy, "sd": row.sd},
        **{"accuracies": row.accuracies, "loss": row.loss, "seconds": row.seconds},
    }


def previous_looks(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return `test` and `looks` of an earlier result in the directory, empty if there is none."""
    try:
        result = atomic.read_json(path / "result.json")
        return dict(result["test"]), list(result["looks"])
    except (OSError, *atomic.DAMAGED):
        return {}, []
