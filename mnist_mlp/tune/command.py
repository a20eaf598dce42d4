"""Finds the best method and its hyper-parameters by cross-validation, then looks at the test images once.

Methods: the networks of train (softmax, mlp, …) and scikit-learn's logistic_regression, tree, random_forest and
gradient_boosting. A search that was stopped, however it was, goes on with --study_dir=DIR. It leaves there trials.csv,
result.json and best.json, which train --config takes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.signals import requests
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.devices.strategy import Request
from mnist_mlp.errors import Stopped, UserError
from mnist_mlp.files import atomic, figures
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.text import nearest
from mnist_mlp.tune import folds, table
from mnist_mlp.tune import study_dir as place
from mnist_mlp.tune.finish import Found, finish
from mnist_mlp.tune.messages import Work
from mnist_mlp.tune.methods import METHODS
from mnist_mlp.tune.proposals import imported, missing
from mnist_mlp.tune.search import Run, check_optimizers
from mnist_mlp.tune.space import Space, grid, read, unused
from mnist_mlp.tune.study import Row, Search, open_storage


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program. Those that are not given come from the study that is gone on with."""

    methods: tuple[str, ...] = option((), f"what to compare, by commas; not given: mlp. All: {', '.join(METHODS)}")
    space: tuple[str, ...] = option(
        (), "values to search: learning_rate=1e-4..1e-2:log batch_size=16,32 tree.max_depth=3..9; :5 behind a range: "
        "its points for grid"
    )  # fmt: skip
    space_file: str = option("", "TOML file with the same: a table for each method; --space overrides it")
    trials: int = option(20, "trials of each method", low=1, high=100_000)
    folds: int = option(5, "folds of the cross-validation", low=2, high=100)
    search: str = option("tpe", "how values are proposed", choices=("tpe", "random", "grid"))
    pruning: str = option(
        "median",
        "ends a trial after a fold where it does worse than the others",
        choices=("median", "hyperband", "none"),
    )
    jobs: int = option(1, "worker processes; each fits one trial at a time", low=1, high=1024)
    seed: int = option(0, "draws the folds, what is proposed, and what every fit draws", low=0, high=2**32 - 1)
    dataset: str = option_of(Config, "dataset")
    data_dir: str = option_of(Config, "data_dir")
    data_source: str = option_of(Config, "data_source")
    strategy: str = option("auto", "device of the networks, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    replicas: int | None = option_of(Config, "replicas")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")
    study_dir: str = option("", "where the study is written, or goes on; not given: a new directory below studies/")
    figure: str = option("", "also draw the search, into this file: .png, .svg or .pdf")
    json: bool = option_of(Config, "json")

    def __post_init__(self) -> None:
        names = tuple(name for word in self.methods for name in word.split(",") if name) or ("mlp",)
        for name in names:
            if name not in METHODS:
                raise UserError(
                    f"--methods: expected some of {', '.join(METHODS)}; received {name!r}{nearest(name, list(METHODS))}"
                )
        object.__setattr__(self, "methods", tuple(dict.fromkeys(names)))
        check(self)


def main(argv: Sequence[str]) -> None:
    given = flags.given_flags(Options, argv, program="tune", about=__doc__ or "")
    path = path_of("study_dir", given["study_dir"]) if given.get("study_dir") else place.default_path()
    options = options_of(given, path)
    stream = sys.stderr if options.json else sys.stdout
    result = tune(options, path, say=lambda text: print(text, file=stream, flush=True))
    if options.json:
        print(json.dumps(result, allow_nan=False))


def options_of(given: dict[str, Any], path: Path) -> Options:
    """The options that the flags on the command line make; what they leave out comes from the study in `path`."""
    study = place.begun(path)
    if study is None:
        return Options(**given)
    place.check_known([field.name for field in dataclasses.fields(Options)], study, path)
    stored = {**study["options"], "methods": tuple(study["options"]["methods"])}
    asked = Options(**{**stored, **given})
    return dataclasses.replace(asked, methods=(*stored["methods"], *asked.methods))


def tune(
    options: Options, path: Path, *, dataset: data.Dataset | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Searches, chooses, fits once on all training images and looks at the test images: the content of result.json.

    `path` must be new or empty, or hold the study to go on with. `dataset` replaces what the options name with images
    of your own. `say` gets the report, piece by piece. Raises `UserError`; `Stopped` where Ctrl-C or SIGTERM ended it.
    """
    stopwatch = Stopwatch()
    study = place.begun(path)
    place.check_options(vars(options), study, path)
    file = path_of("space_file", options.space_file) if options.space_file else None
    filed = read(file, options.methods) if file else {}
    spaces = place.spaces(options.methods, options.space, filed, study)
    backend = check_needs(options)
    check_figure(options, path, study)
    if options.search == "grid":
        for space in spaces.values():
            grid(space)
    with place.opened(path):
        study = place.begun(path)  # once more, now that nobody else writes
        place.check_options(vars(options), study, path)
        dataset = dataset or data.load(options)  # type: ignore[arg-type]  # it has the options of that
        fold_of = folds.assign(dataset.train.labels, options.folds, options.seed)
        work = Work(dataset.train, fold_of, Request.of(options), options.seed)
        hashes = {"name": dataset.name, "training images": in_order_hash(dataset.train)}
        place.check_data(hashes, study, path)
        stopwatch.end("load")
        with requests() as request:
            check_optimizers(work, spaces, request)
        place.write(path, stored_options(options), spaces, hashes, study, backend)  # before there are trials
        searches = opened_searches(options, path, spaces)
        with requests() as request, with_resume_hint(path):
            done = {search.method: finished(search.rows()) for search in searches}
            say(table.opening(dataset, np.bincount(fold_of).tolist(), vars(options), spaces, done))
            for change in place.changed_versions(study):
                say(f"  !      the trials so far were made with another version: {change}")
            for remark in (*place.changed_backend(study, backend), *unused(list(filed), options.methods)):
                say(f"  !      {remark}")
            with listed(path, searches):
                Run(searches, options.trials, request, say).run(work, min(options.jobs, left(searches, options)))
            stopwatch.end("search")
            found = Found(options, path, dataset, work, rows_of(searches), spaces)
            return finish(found, request, stopwatch, say)


def check_needs(options: Options) -> str:
    """The backend of the networks, if there are any. Raises `UserError` where a package or a device is missing, before
    any work."""
    backend = ""
    imported()
    if any(not METHODS[name].network for name in options.methods) and importlib.util.find_spec("sklearn") is None:
        raise missing("scikit-learn", ModuleNotFoundError())
    if any(METHODS[name].network for name in options.methods):
        backend = devices.plan(options).backend
    return backend


def check_figure(options: Options, path: Path, study: Mapping[str, Any] | None) -> None:
    """Raises `UserError` where the figure could not be written; the directory of the study will be there."""
    if not options.figure:
        return
    try:
        figures.file_to_write("figure", options.figure, will_exist=path)
    except UserError as error:
        if study and study["options"].get("figure") == options.figure:
            raise UserError(f"{error}; the study has kept that name: type --figure= for no figure") from None
        raise


def stored_options(options: Options) -> dict[str, Any]:
    """The options as they must be for the next process of the study, wherever that starts."""
    values = dataclasses.asdict(options)
    for name in ("data_dir", "figure"):
        values[name] = values[name] and os.path.abspath(path_of(name, values[name]))
    return {**values, "methods": list(options.methods)}


def opened_searches(options: Options, path: Path, spaces: dict[str, Space]) -> list[Search]:
    """A search for each method, in the storage of the study."""
    file = path / place.TRIALS
    storage = open_storage(file)
    settings = {"strategy": options.search, "pruning": options.pruning, "folds": options.folds, "seed": options.seed}
    return [Search(file, storage, name, spaces[name], **settings) for name in options.methods]  # type: ignore[arg-type]


def rows_of(searches: Sequence[Search]) -> list[Row]:
    return [row for search in searches for row in search.rows()]


def finished(rows: Sequence[Row]) -> int:
    return sum(row.state in ("complete", "pruned") for row in rows)


def left(searches: Sequence[Search], options: Options) -> int:
    """How many trials are to be run still; 1 at least."""
    return max(1, sum(search.proposals.limit(options.trials) for search in searches) - finished(rows_of(searches)))


@contextlib.contextmanager
def listed(path: Path, searches: Sequence[Search]) -> Iterator[None]:
    """Writes trials.csv at the end, also where the search was stopped; what stopped it is told, not what follows."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(UserError):
            atomic.write_text(path / "trials.csv", table.as_csv(rows_of(searches)))
        raise
    atomic.write_text(path / "trials.csv", table.as_csv(rows_of(searches)))


@contextlib.contextmanager
def with_resume_hint(path: Path) -> Iterator[None]:
    """Adds to what stops a search how to go on with it."""
    try:
        yield
    except Stopped as error:
        how = place.command_line("tune", f"--study_dir={path}")
        raise Stopped(f"{error}; all is kept, go on with: {how}") from None
