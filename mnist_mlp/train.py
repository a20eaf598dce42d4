"""Train a network on MNIST, score it once on the test images, and write the run directory.

Presets: default (the lecture's network, pixels from 0 to 1), lecture (its program to the letter, pixels from
0 to 255), smoke (seconds, on the embedded digits: does this installation train at all?), speedrun (98% of MNIST's test
images as soon as possible), best (the highest accuracy of this network within minutes), robust (for images unlike the
training images: noise, blur, covered parts).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below: Ctrl-C ends them without a traceback
    from mnist_mlp.cli.program import start

    start("mnist_mlp.train")

import dataclasses
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp import data, devices
from mnist_mlp.checks import gate
from mnist_mlp.cli import flags, load_framework
from mnist_mlp.cli.terminal import PRINT, Reporter, Terminal
from mnist_mlp.config import DEVICE, PRESETS, Config, with_file, with_preset
from mnist_mlp.engine.compilation_cache import compilation_cache
from mnist_mlp.errors import UserError
from mnist_mlp.options import path_of
from mnist_mlp.runs import directory, initial, summary
from mnist_mlp.runs.result import Result
from mnist_mlp.runs.saved import read_run
from mnist_mlp.training.observer import NOBODY, Observer
from mnist_mlp.training.session import TrainingSession

if TYPE_CHECKING:
    import keras


def main(argv: Sequence[str]) -> None:
    config = config_of(flags.given_flags(Config, argv, program="train", about=__doc__ or ""))
    run_dir = path_of("run_dir", config.run_dir) if config.run_dir else directory.default_path(config)
    with Terminal(sys.stderr if config.json else sys.stdout, quiet=config.quiet) as terminal:
        result = train_and_evaluate(config, run_dir, reporter=terminal, keep_programs=True)
    if config.json and result.device["worker_index"] == 0:
        print(json.dumps(result.to_dict(), allow_nan=False))
    gate.refuse(result, str(run_dir))


# Seven parameters: two say what, the others are for those who call it from Python.
def train_and_evaluate(
    config: Config,
    run_dir: Path,
    *,
    dataset: data.Dataset | None = None,
    callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] = (),
    reporter: Reporter = PRINT,
    keep_programs: bool = False,
    observer: Observer = NOBODY,
) -> Result:
    """Train, evaluate and save one run, or with `config.resume` the rest of one: `python -m mnist_mlp.train`.

    `run_dir` must be new or empty, or hold the run to resume. `dataset` replaces the data set that the config names
    with images of your own; `callbacks` are Keras' (`training/README.md`); `reporter` gets the report and the progress.
    `keep_programs` keeps what XLA compiles for later processes (see `engine/compilation_cache.py`); `observer` looks on
    while one process trains (`training/observer.py`). Of several workers only the chief reports and writes `run_dir`;
    all return the result. Raise `UserError`.
    """
    plan = devices.plan(config)
    opened = directory.opened(run_dir, config) if plan.chief else directory.scratch_run(config)
    with opened as run, compilation_cache(plan, wanted=keep_programs):
        if callbacks or dataset is not None:
            run.resume_hint = "train_and_evaluate, with resume=True and the same callbacks and images"
        check_packages(config)
        callbacks = accepted(callbacks, config, plan) if callbacks else []
        session = TrainingSession(config, plan, run, reporter, observer)
        session.load_data(dataset)  # verified; the same for all workers, and as before if the run is resumed
        session.build_engine()  # the framework, the model on its device, compiled
        with session.all_workers_to_the_end():
            session.train(callbacks)
            session.evaluate_and_save()

            from mnist_mlp.report import run_page  # not needed until now

            run_page.write(session)
    session.reporter.line(summary.closing(session.result, str(run_dir)))
    return session.result


def config_of(given: Mapping[str, Any]) -> Config:
    """Return the config for the flags on the command line.

    Flags that are not given take the values of `--config`, of the preset, or of the run to resume. A run that is
    resumed on another `--strategy` keeps none of its old device options.
    """
    given = with_file(given)
    if given.get("resume") and not given.get("run_dir"):
        raise UserError("--resume needs the run to resume; use --run_dir=DIR --resume")
    started_with = directory.config_of_run(path_of("run_dir", given["run_dir"])) if given.get("resume") else None
    if started_with is None:
        if given.get("init_from"):
            _, of_source, _ = read_run(given["init_from"], f"--init_from={given['init_from']}")
            given = {**initial.network_of(of_source), **given}
        return with_preset(PRESETS, given)
    if "strategy" in given:
        started_with = dataclasses.replace(started_with, **{name: getattr(Config, name) for name in DEVICE})
    return dataclasses.replace(started_with, **given)


def accepted(callbacks: Any, config: Config, plan: devices.Plan) -> list[keras.callbacks.Callback]:
    """Return the callbacks that this run calls. Raise `UserError` for those that it cannot."""
    load_framework.load(plan)
    from mnist_mlp.training import accepted_callbacks

    return accepted_callbacks.accepted(callbacks, config)


def check_packages(config: Config) -> None:
    """Raise `UserError` if a flag needs a package that cannot be imported."""
    try:
        if config.tensorboard:
            importlib.import_module("tensorboard.summary")
    except Exception as error:  # absent, or of other versions than what it needs
        raise UserError(
            f"--tensorboard: the package tensorboard cannot be imported ({error}); "
            f"run {sys.executable} -m pip install tensorboard"
        ) from None
