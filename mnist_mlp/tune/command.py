"""Choose a method and its hyper-parameters by cross-validation, then evaluate the choice on the test images once.

Methods: the networks of train (softmax, mlp, …) and scikit-learn's logistic_regression, tree, random_forest and
gradient_boosting. Resume a stopped or killed search with --study_dir=DIR. It writes trials.csv, result.json and
best.json there; train --config reads best.json.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.signals import requests
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.cli.terminal import PRINT, Reporter, Terminal
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.devices.strategy import Request
from mnist_mlp.errors import Stopped, UserError
from mnist_mlp.files import atomic, figures
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.text import nearest
from mnist_mlp.tune import folds, study_dir, table
from mnist_mlp.tune.finish import Finished, finish
from mnist_mlp.tune.messages import Work
from mnist_mlp.tune.methods import METHODS
from mnist_mlp.tune.proposals import import_optuna, missing_package
from mnist_mlp.tune.search import TrialRunner, check_optimizers
from mnist_mlp.tune.space import Space, grid, read_file, unused_tables
from mnist_mlp.tune.study import Row, Search, SearchSettings, open_storage


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program. The default of most is their value in the resumed study."""

    methods: tuple[str, ...] = option(
        (), f"methods to compare, separated by commas (default: mlp); available: {', '.join(METHODS)}"
    )
    space: tuple[str, ...] = option(
        (), "values to search: learning_rate=1e-4..1e-2:log batch_size=16,32 tree.max_depth=3..9 "
        "'units=256,128|128,64'; :5 after a range sets its number of points for --search=grid"
    )  # fmt: skip
    space_file: str = option("", "TOML file of search spaces, one table for each method; --space overrides it")
    trials: int = option(20, "trials of each method", low=1, high=100_000)
    folds: int = option(5, "folds of the cross-validation", low=2, high=100)
    search: str = option("tpe", "how values are proposed", choices=("tpe", "random", "grid"))
    pruning: str = option(
        "median",
        "when to stop a trial that is worse than others after the same number of folds",
        choices=("median", "hyperband", "none"),
    )
    jobs: int = option(1, "worker processes; each fits one trial at a time", low=1, high=1024)
    seed: int = option(0, "seed of the folds, the proposals and every fit", low=0, high=2**32 - 1)
    dataset: str = option_of(Config, "dataset")
    data_dir: str = option_of(Config, "data_dir")
    data_source: str = option_of(Config, "data_source")
    strategy: str = option("auto", "device for the networks, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    replicas: int | None = option_of(Config, "replicas")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")
    study_dir: str = option("", "directory of the study, new or to be resumed (default: a new one in studies/)")
    figure: str = option("", "also plot the search to this file: .png, .svg or .pdf")
    json: bool = option_of(Config, "json")

    def __post_init__(self) -> None:
        names = tuple(name for text in self.methods for name in text.split(",") if name) or ("mlp",)
        for name in names:
            if name not in METHODS:
                raise UserError(
                    f"--methods: expected one or more of {', '.join(METHODS)}; "
                    f"received {name!r}{nearest(name, list(METHODS))}"
                )
        object.__setattr__(self, "methods", tuple(dict.fromkeys(names)))
        check(self)


def main(argv: Sequence[str]) -> None:
    given = flags.given_flags(Options, argv, program="tune", about=__doc__ or "")
    path = path_of("study_dir", given["study_dir"]) if given.get("study_dir") else study_dir.default_path()
    options = options_of(given, path)
    with Terminal(sys.stderr if options.json else sys.stdout) as terminal:
        result = tune(options, path, reporter=terminal)
    if options.json:
        print(json.dumps(result, allow_nan=False))


def options_of(given: dict[str, Any], path: Path) -> Options:
    """Return the options of a command line, completed from the study in `path` if there is one."""
    study = study_dir.read_settings(path)
    if study is None:
        return Options(**given)
    study_dir.check_known([field.name for field in dataclasses.fields(Options)], study, path)
    stored = {**study["options"], "methods": tuple(study["options"]["methods"])}
    requested = Options(**{**stored, **given})
    return dataclasses.replace(requested, methods=(*stored["methods"], *requested.methods))


def tune(
    options: Options, path: Path, *, dataset: data.Dataset | None = None, reporter: Reporter = PRINT
) -> dict[str, Any]:
    """Search, choose, fit the choice on all training images and evaluate it. Return the content of result.json.

    `path` must be new or empty, or hold a study to resume. `dataset` replaces the data that the options name. Raise
    `UserError`, or `Stopped` after Ctrl-C or SIGTERM.
    """
    stopwatch = Stopwatch()
    study = study_dir.read_settings(path)
    study_dir.check_options(vars(options), study, path)
    file = path_of("space_file", options.space_file) if options.space_file else None
    filed = read_file(file, options.methods) if file else {}
    spaces = study_dir.spaces(options.methods, options.space, filed, study)
    backend = check_requirements(options)
    check_figure(options, path, study)
    if options.search == "grid":
        for space in spaces.values():
            grid(space)
    with study_dir.opened(path):
        study = study_dir.read_settings(path)  # again, now that no other process writes it
        study_dir.check_options(vars(options), study, path)
        # `options` has the options that are read
        dataset = data.checked_own(dataset, ["train"]) or data.load(options)  # type: ignore[arg-type]
        fold_of = folds.assign(dataset.train.labels, options.folds, options.seed)
        work = Work(dataset.train, fold_of, Request.of(options), options.seed)
        hashes = {"name": dataset.name, "training images": in_order_hash(dataset.train)}
        study_dir.check_data(hashes, study, path)
        stopwatch.end("load")
        with requests() as request:
            check_optimizers(work, spaces, request)
        settings = study_dir.Settings(stored_options(options), spaces, hashes, backend)
        study_dir.write_settings(path, settings, study)  # before the first trial
        searches = open_searches(options, path, spaces)
        with requests() as request, with_resume_hint(path):
            done = {search.method: count_finished(search.rows()) for search in searches}
            reporter.line(table.opening(dataset, np.bincount(fold_of).tolist(), vars(options), spaces, done))
            for change in study_dir.changed_versions(study):
                reporter.line(f"  !      earlier trials ran with another version: {change}")
            for note in (*study_dir.changed_backend(study, backend), *unused_tables(list(filed), options.methods)):
                reporter.line(f"  !      {note}")
            with trials_csv(path, searches):
                jobs = min(options.jobs, remaining_trials(searches, options))
                TrialRunner(searches, options.trials, request, reporter).run(work, jobs)
            stopwatch.end("search")
            search = Finished(options, path, dataset, work, rows_of(searches), spaces)
            return finish(search, request, stopwatch, reporter)


def check_requirements(options: Options) -> str:
    """Return the backend of the networks, if there are any. Raise `UserError` if a package or device is missing."""
    backend = ""
    import_optuna()
    if any(not METHODS[name].network for name in options.methods) and importlib.util.find_spec("sklearn") is None:
        raise missing_package("scikit-learn", ModuleNotFoundError())
    if any(METHODS[name].network for name in options.methods):
        backend = devices.plan(options).backend
    return backend


def check_figure(options: Options, path: Path, study: Mapping[str, Any] | None) -> None:
    """Raise `UserError` if the figure cannot be written. It may lie in the study's directory, created later."""
    if not options.figure:
        return
    try:
        figures.file_to_write("figure", options.figure, will_exist=path)
    except UserError as error:
        if study and study["options"].get("figure") == options.figure:
            raise UserError(f"{error}; the study stores this flag; use --figure= for no figure") from None
        raise


def stored_options(options: Options) -> dict[str, Any]:
    """Return the options for study.json, with absolute paths: the study may be resumed from another directory."""
    values = dataclasses.asdict(options)
    for name in ("data_dir", "figure"):
        values[name] = values[name] and os.path.abspath(path_of(name, values[name]))
    return {**values, "methods": list(options.methods)}


def open_searches(options: Options, path: Path, spaces: dict[str, Space]) -> list[Search]:
    """Return a search for each method, in the storage of the study."""
    storage = open_storage(path / study_dir.TRIALS)
    settings = SearchSettings(options.search, options.pruning, options.folds, options.seed)
    return [Search(storage, name, spaces[name], settings) for name in options.methods]


def rows_of(searches: Sequence[Search]) -> list[Row]:
    return [row for search in searches for row in search.rows()]


def count_finished(rows: Sequence[Row]) -> int:
    return sum(row.finished for row in rows)


def remaining_trials(searches: Sequence[Search], options: Options) -> int:
    """Return how many trials are left to run, at least 1."""
    total = sum(search.proposals.limit(options.trials) for search in searches)
    return max(1, total - count_finished(rows_of(searches)))


@contextlib.contextmanager
def trials_csv(path: Path, searches: Sequence[Search]) -> Iterator[None]:
    """Write trials.csv after the block, even if it fails; the block's error takes precedence over one in writing."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(UserError):
            atomic.write_text(path / "trials.csv", table.as_csv(rows_of(searches)))
        raise
    atomic.write_text(path / "trials.csv", table.as_csv(rows_of(searches)))


@contextlib.contextmanager
def with_resume_hint(path: Path) -> Iterator[None]:
    """Add the command that resumes the search to the message of `Stopped`."""
    try:
        yield
    except Stopped as error:
        command = study_dir.command_line("tune", f"--study_dir={path}")
        raise Stopped(f"{error}; resume with: {command}") from None
