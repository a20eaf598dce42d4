"""Climb from logistic regression to a convolutional network, and compare each rung with one before it.

The table and the figure show accuracy with intervals, McNemar's test, parameters and seconds; then accuracy against
width, depth and number of training images, and the approximation theorem on functions of one variable.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.terminal import PRINT, Progress, Reporter, Terminal
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

    only: tuple[str, ...] = option((), f"run only these parts (default: all): {', '.join(rungs.PARTS)}")
    dataset: str = option_of(Config, "dataset")
    data_dir: str = option_of(Config, "data_dir")
    data_source: str = option_of(Config, "data_source")
    seeds: int | None = option(
        None, "number of seeds for each network (default: 5 on the digits, else 3)", kind=int, low=1, high=1000
    )
    epochs: int | None = option(
        None, "passes over the training images (default: 10 on the digits, else 5)", kind=int, low=1, high=10_000
    )
    seed: int = option(0, "first seed", low=0, high=2**31)
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    figure: str | None = option(
        None,
        f"file for the figure, {', '.join(figures.FORMATS)} (default: ladder-DATASET.png, if Matplotlib is installed; "
        "no figure with --only)",
        kind=str,
    )
    csv: str = option("", "also write all rows to this file")
    json: bool = option(False, "print the rows as one JSON object; the report goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        for part in self.only:
            if part not in rungs.PARTS:
                raise UserError(
                    f"--only: expected one or more of {', '.join(rungs.PARTS)}; "
                    f"received {quoted(part)}{nearest(part, rungs.PARTS)}"
                )


class TimedTerminal(Terminal):
    """A terminal whose progress shows the seconds since the start."""

    started = time.perf_counter()

    def progress(self, now: Progress | str) -> None:
        super().progress(f"{time.perf_counter() - self.started:5.0f} s  {now}")


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab.ladder", about=__doc__ or "")
    with TimedTerminal(sys.stderr if options.json else sys.stdout) as terminal:
        result = climb(options, reporter=terminal)
    if options.json:
        print(json.dumps(finite(result), allow_nan=False))


def climb(options: Options, *, reporter: Reporter = PRINT) -> dict[str, Any]:
    """Run the ladder, or the selected parts of it, and write its files. Return what `--json` prints.

    Raise `UserError`.
    """
    began = time.perf_counter()
    csv = outputs.file_to_write("csv", options.csv) if options.csv else None
    parts = options.only or rungs.PARTS
    trials = prepare(options, reporter) if set(parts) != {"approximation"} else None
    figure, note = figure_file(options, trials)
    seeds = range(options.seed, options.seed + (options.seeds or 5)) if trials is None else trials.seeds

    result: dict[str, Any] = {"seeds": list(seeds), "rungs": [], "width": [], "depth": [], "images": []}
    if trials:
        result |= {"dataset": dataset_block(trials.dataset, len(trials.dataset.train), 0), "epochs": trials.epochs}
        reporter.line(report.opening(result))
        result["rungs"] = climb_rungs(trials, options.only)
        if result["rungs"]:
            reporter.line(report.reading(result["rungs"], result))
        for name in rungs.CURVES:
            if name in parts:
                result[name] = climb_curve(trials, name)
        if "images" in parts:
            result["images"] = vary_images(trials)
        if trials.engine:
            result["device"] = trials.engine.devices.name
            result["versions"] = versions(trials.engine.backend)
    result["approximation"] = approximate(seeds, reporter) if "approximation" in parts else []
    result["seconds"] = time.perf_counter() - began

    if csv:
        atomic.write_text(csv, report.as_csv(result))
    if figure:
        figures.save(ladder_figure.draw(result), figure)
    reporter.line(report.closing(result, [str(file) for file in (csv, figure) if file], note))
    return result


def prepare(options: Options, reporter: Reporter) -> Trials:
    """Load the data, choose the device, and return the trials."""
    plan = devices.plan(options)
    config = Config(dataset=options.dataset, data_dir=options.data_dir, data_source=options.data_source)
    dataset = data.load(config)
    small = dataset.name == "digits"
    seeds = range(options.seed, options.seed + (options.seeds or (5 if small else 3)))
    return Trials(plan, dataset, seeds, options.epochs or (10 if small else 5), reporter)


def figure_file(options: Options, trials: Trials | None) -> tuple[Path | None, str]:
    """Return the file for the figure, if there is one, and a note if the default figure cannot be drawn."""
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


def climb_rungs(trials: Trials, only: tuple[str, ...]) -> Rows:
    """Train the selected rungs, report each when it is done, and return a row for each."""
    numbers = {rung.name: number for number, rung in enumerate(rungs.RUNGS, start=1)}
    rows: Rows = []
    scores: dict[str, Any] = {}
    for rung in rungs.chosen(only):
        scores[rung.name] = score = trials.score(rung.network, rung.name)
        row = {"number": numbers[rung.name], "name": rung.name, "group": rung.group, **score.summary()}
        if rung.against in scores:
            comparison = metrics.compare_seeds(score.correct, scores[rung.against].correct)
            row |= {"against": numbers[rung.against], **comparison}
        if not rows or rows[-1]["group"] != rung.group:
            trials.reporter.line(report.heading(rung.group, first=not rows))
        rows.append(row)
        trials.reporter.line(report.rung_line(row))
    tested = [row for row in rows if "p" in row]
    for row, p in zip(tested, metrics.holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return rows


def climb_curve(trials: Trials, name: str) -> Rows:
    """Return a row for each point of a curve: accuracy against width or depth."""
    against, networks = rungs.CURVES[name]
    trials.reporter.line(report.curve_heading(name, against))
    rows = []
    for count, network in networks.items():
        rows.append({name: count, **trials.score(network, f"{name} {count}").summary()})
        trials.reporter.line(report.curve_line(name, rows[-1]))
    return rows


def vary_images(trials: Trials) -> Rows:
    """Return a row for each number of training images, for the lecture's net."""
    train = trials.dataset.train
    counts = rungs.per_class_counts(int(np.bincount(train.labels, minlength=10).min()))
    against = (
        "training images, for the lecture's net: the same number of each class, then all; equal numbers of updates"
    )
    trials.reporter.line(report.curve_heading("images", against))
    rows: Rows = []
    for count in [*counts, None]:
        score = trials.score(rungs.Network(), rungs.LECTURE, per_class=count)
        rows.append({"images": 10 * count if count else len(train), **score.summary()})
        trials.reporter.line(report.curve_line("images", rows[-1]))
    return rows


def approximate(seeds: Sequence[int], reporter: Reporter) -> Rows:
    """Return a row for each width and target: the median error over the seeds, and the range."""
    rows: Rows = []
    for width in approximation.WIDTHS:
        reporter.progress(f"approximation: width {width}")
        by_seed = [approximation.errors(width, seed) for seed in seeds]
        for target in approximation.TARGETS:
            row: dict[str, Any] = {"width": width, "target": target}
            for index, kind in enumerate(("l2", "largest")):
                values = [errors[target][index] for errors in by_seed]
                row |= {f"{kind}_error": float(np.median(values)), f"{kind}_range": [min(values), max(values)]}
            rows.append(row)
    reporter.line(report.approximation_table(rows, len(seeds)))
    return rows
