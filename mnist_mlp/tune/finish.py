"""What a search came to: the choice, the files that it leaves, and the one look at the test images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.cli.signals import Request
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.config import Config
from mnist_mlp.data import Dataset
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.files import atomic
from mnist_mlp.options import path_of, tagged
from mnist_mlp.runs.result import dataset_block, finite
from mnist_mlp.tune import figure, selection, study_dir, table
from mnist_mlp.tune.messages import Test, Work
from mnist_mlp.tune.search import look_at_test
from mnist_mlp.tune.space import Space, to_words
from mnist_mlp.tune.study import Row

PLACE = tagged(Config, affects="machine")  # for train as well


@dataclasses.dataclass(frozen=True)
class Found:
    """A search whose trials are done."""

    options: Any  # of tune
    path: Path
    dataset: Dataset
    work: Work
    rows: Sequence[Row]
    spaces: dict[str, Space]


def finish(found: Found, request: Request, stopwatch: Stopwatch, say: Callable[[str], None]) -> dict[str, Any]:
    """Chooses, writes the choice, and only then looks at the test images; the content of result.json."""
    options, path, rows = found.options, found.path, found.rows
    say("\n" + table.tables(rows, options.folds) + "\n")
    chosen, other = selection.choose(rows)
    say("\n".join(table.chosen_lines(chosen, other)))
    network = selection.best_network(rows)
    if network:
        atomic.write_json(path / "best.json", selection.config_values(network, options.seed, found.dataset.name))
    if options.figure:
        draw(found)
    stopwatch.end("choose")
    test, looks = look(found, chosen, request)
    stopwatch.end("test")
    result = {
        "dataset": dataset_block(found.dataset, len(found.dataset.train), 0),
        **{name: getattr(options, name) for name in (*study_dir.FIXED, "trials", "jobs")},
        "spaces": {name: to_words(space) for name, space in found.spaces.items()},
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
    say("\n".join(closing(result, path, options)))
    return finite(result)  # type: ignore[no-any-return]


def look(found: Found, chosen: Row, request: Request) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The `test` part of the result, and all looks that there were: none is needed where the last was the same trial's
    at the same images."""
    test, looks = earlier_looks(found.path)
    wants = {"method": chosen.method, "trial": chosen.number, "test images": in_order_hash(found.dataset.test)}
    if looks and {name: looks[-1].get(name) for name in wants} == wants:
        return test, looks
    test = selection.test_block(
        look_at_test(found.work, Test(chosen.method, chosen.values, found.dataset.test), request)
    )
    return test, [*looks, {**wants, "trials": len(found.rows), "correct": test["correct"], "total": test["total"]}]


def draw(found: Found) -> None:
    options, dataset = found.options, found.dataset
    about = (
        f"{dataset.name}: {len(dataset.train):,} training images, {options.folds} folds, "
        f"{len(found.rows)} trials by {options.search}, seed {options.seed}"
    )
    figure.draw(path_of("figure", options.figure), found.rows, found.spaces, about)


def closing(result: dict[str, Any], path: Path, options: Any) -> list[str]:
    """The test, what the search took, and what to type next."""
    lines = table.test_lines(result)
    network, stages = result["best_network"], result["seconds"]
    spent = " + ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items() if name != "total")
    lines += [f"seconds  {spent}; in all {stages['total']:.1f}", f"study    {path}"]
    if network:
        if network != result["chosen"]:
            lines.append(
                f"         best.json is the best network, {network['method']}: {100 * network['accuracy']:.2f}%"
            )
        flags = [f"--config={path / 'best.json'}"]
        flags += [
            f"--{name}={value}"
            for name in PLACE
            if (value := getattr(options, name, getattr(Config, name))) != getattr(Config, name)
        ]
        lines.append(f"train    {study_dir.command_line('train', *flags)}")
    return lines


def summary(row: Row) -> dict[str, Any]:
    """A trial as JSON values; accuracies from 0 to 1."""
    return {
        **{"method": row.method, "trial": row.number, "values": row.values, "accuracy": row.accuracy, "sd": row.sd},
        **{"accuracies": row.accuracies, "loss": row.loss, "seconds": row.seconds},
    }


def earlier_looks(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The test block and the looks of the result that is there already; nothing where there is none."""
    try:
        found = atomic.read_json(path / "result.json")
        return dict(found["test"]), list(found["looks"])
    except (OSError, *atomic.DAMAGED):
        return {}, []
