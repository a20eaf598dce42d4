"""The lecture as one command: from logistic regression to a convolutional network, each rung against one before it.

A table and a figure: accuracy with intervals, McNemar's test, parameters and seconds; then accuracy against width,
depth and number of training images, and the approximation theorem on functions of one variable.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.terminal import Terminal
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, figures, outputs
from mnist_mlp.lab.ladder import approximation, report
from mnist_mlp.lab.ladder import figure as ladder_figure
from mnist_mlp.lab.ladder import networks as rungs
from mnist_mlp.lab.ladder.trials import Trials
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.runs.result import dataset_block, finite, versions
from mnist_mlp.stats import metrics
from mnist_mlp.text import nearest, quoted

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    only: tuple[str, ...] = option((), f"do these parts alone, of {', '.join(rungs.PARTS)}")
    dataset: str = option_of(Config, "dataset")
    data_dir: str = option_of(Config, "data_dir")
    data_source: str = option_of(Config, "data_source")
    seeds: int | None = option(
        None, "runs of each network; not given: 5 on the digits, 3 on others", kind=int, low=1, high=1000
    )
    epochs: int | None = option(
        None, "passes over the training images; not given: 10 on the digits, 5 on others", kind=int, low=1, high=10_000
    )
    seed: int = option(0, "the first seed; the others follow it", low=0, high=2**31)
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    figure: str | None = option(
        None,
        f"where the figure is written ({', '.join(figures.FORMATS)}); not given: ladder-DATASET.png for the whole "
        "ladder, if Matplotlib is installed, and none with --only",
        kind=str,
    )
    csv: str = option("", "also write all rows to this file")
    json: bool = option(False, "print the rows as one JSON object; the table goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        for part in self.only:
            if part not in rungs.PARTS:
                raise UserError(
                    f"--only: expected some of {', '.join(rungs.PARTS)}; "
                    f"received {quoted(part)}{nearest(part, rungs.PARTS)}"
                )


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab.ladder", about=__doc__ or "")
    began = time.perf_counter()
    with Terminal(sys.stderr if options.json else sys.stdout) as screen:

        def tell(text: str) -> None:
            screen.progress(f"{time.perf_counter() - began:5.0f} s  {text}")

        found = climb(options, say=screen.line, tell=tell)
    if options.json:
        print(json.dumps(finite(found), allow_nan=False))


def climb(
    options: Options, *, say: Callable[[str], None] = print, tell: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """The ladder, or the parts of it that are asked for, with its files written: what `--json` prints.

    `say` gets the table, piece by piece, and `tell` what is being done. Raises `UserError`.
    """
    began = time.perf_counter()
    csv = outputs.file_to_write("csv", options.csv) if options.csv else None
    parts = options.only or rungs.PARTS
    trials = prepare(options, tell) if set(parts) != {"approximation"} else None
    figure, note = figure_file(options, trials)
    seeds = range(options.seed, options.seed + (options.seeds or 5)) if trials is None else trials.seeds

    found: dict[str, Any] = {"seeds": list(seeds), "rungs": [], "width": [], "depth": [], "images": []}
    if trials:
        found |= {"dataset": dataset_block(trials.dataset, len(trials.dataset.train), 0), "epochs": trials.epochs}
        say(report.opening(found))
        found["rungs"] = climb_rungs(trials, options.only, say)
        if found["rungs"]:
            say(report.reading(found["rungs"], found))
        for name in rungs.CURVES:
            if name in parts:
                found[name] = climb_curve(trials, name, say)
        if "images" in parts:
            found["images"] = count_images(trials, say)
        if trials.engine:
            found["device"] = trials.engine.devices.name
            found["versions"] = versions(trials.engine.backend)
    found["approximation"] = approximate(seeds, say, tell) if "approximation" in parts else []
    found["seconds"] = time.perf_counter() - began

    if csv:
        atomic.write_text(csv, report.as_csv(found))
    if figure:
        figures.save(ladder_figure.draw(found), figure)
    say(report.closing(found, [str(file) for file in (csv, figure) if file], note))
    return found


def prepare(options: Options, tell: Callable[[str], None]) -> Trials:
    """The data and the plan."""
    plan = devices.plan(options)
    config = Config(dataset=options.dataset, data_dir=options.data_dir, data_source=options.data_source)
    dataset = data.load(config)
    small = dataset.name == "digits"
    seeds = range(options.seed, options.seed + (options.seeds or (5 if small else 3)))
    return Trials(plan, dataset, seeds, options.epochs or (10 if small else 5), tell)


def figure_file(options: Options, trials: Trials | None) -> tuple[Path | None, str]:
    """Where the figure goes, if anywhere; and what must be said where it was not asked for and cannot be."""
    if options.figure:
        file = figures.file_to_write("figure", options.figure)
        if options.csv:
            outputs.check_distinct({"csv": path_of("csv", options.csv), "figure": file})
        return file, ""
    if options.figure is not None or options.only or trials is None:
        return None, ""
    try:
        return figures.file_to_write("figure", f"ladder-{trials.dataset.name}.png"), ""
    except UserError as error:
        return None, f"no figure: {error}"


def climb_rungs(trials: Trials, only: tuple[str, ...], say: Callable[[str], None]) -> Rows:
    """A row for each rung that is asked for, said as it is known."""
    numbers = {rung.name: number for number, rung in enumerate(rungs.RUNGS, start=1)}
    rows: Rows = []
    scores: dict[str, Any] = {}
    for rung in rungs.chosen(only):
        scores[rung.name] = score = trials.score(rung.network, rung.name)
        row = {"number": numbers[rung.name], "name": rung.name, "group": rung.group, **score.summary()}
        if rung.against in scores:
            row |= {"against": numbers[rung.against], **metrics.compare_seeds(score.right, scores[rung.against].right)}
        if not rows or rows[-1]["group"] != rung.group:
            say(report.heading(rung.group, first=not rows))
        rows.append(row)
        say(report.rung_line(row))
    tested = [row for row in rows if "p" in row]
    for row, p in zip(tested, metrics.holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return rows


def climb_curve(trials: Trials, name: str, say: Callable[[str], None]) -> Rows:
    """A row for each point of a curve: accuracy against width or depth."""
    against, networks = rungs.CURVES[name]
    say(report.curve_heading(name, against))
    rows = []
    for count, network in networks.items():
        rows.append({name: count, **trials.score(network, f"{name} {count}").summary()})
        say(report.curve_line(name, rows[-1]))
    return rows


def count_images(trials: Trials, say: Callable[[str], None]) -> Rows:
    """A row for each number of training images, for the lecture's net."""
    train = trials.dataset.train
    counts = rungs.per_class_counts(int(np.bincount(train.labels, minlength=10).min()))
    against = (
        "the number of training images, for the lecture's net: as many of each class, then all; equally many updates"
    )
    say(report.curve_heading("images", against))
    rows: Rows = []
    for count in [*counts, None]:
        score = trials.score(rungs.Network(), rungs.LECTURE, per_class=count)
        rows.append({"images": 10 * count if count else len(train), **score.summary()})
        say(report.curve_line("images", rows[-1]))
    return rows


def approximate(seeds: Sequence[int], say: Callable[[str], None], tell: Callable[[str], None]) -> Rows:
    """A row for each width and target: the median error over the seeds, and their range."""
    rows: Rows = []
    for width in approximation.WIDTHS:
        tell(f"approximation: width {width}")
        by_seed = [approximation.errors(width, seed) for seed in seeds]
        for target in approximation.TARGETS:
            row: dict[str, Any] = {"width": width, "target": target}
            for index, kind in enumerate(("l2", "largest")):
                values = [errors[target][index] for errors in by_seed]
                row |= {f"{kind}_error": float(np.median(values)), f"{kind}_range": [min(values), max(values)]}
            rows.append(row)
    say(report.approximation_table(rows, len(seeds)))
    return rows
