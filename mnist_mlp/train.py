"""Trains a network on MNIST, scores it once on the test images, and writes the run directory.

Presets: default (the lecture's network, pixels from 0 to 1), lecture (its program to the letter, pixels from
0 to 255), smoke (seconds, on the embedded digits: does this installation train at all?), speedrun (98% of MNIST's test
images as soon as can be), best (the most that this network reaches in minutes).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below: Ctrl-C ends them without a traceback
    from mnist_mlp.cli.program import start

    start("mnist_mlp.train")

import dataclasses
import importlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mnist_mlp import data, devices
from mnist_mlp.checks import diagnosis, gate
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import importing
from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.cli.terminal import Terminal
from mnist_mlp.config import RECIPE, Config
from mnist_mlp.engine.compilation_cache import compilation_cache
from mnist_mlp.errors import Diverged, UserError
from mnist_mlp.files import atomic
from mnist_mlp.options import path_of
from mnist_mlp.run_config import config_of
from mnist_mlp.runs import directory, summary
from mnist_mlp.runs.checkpoint import Checkpoint, Progress
from mnist_mlp.runs.result import Result, dataset_block, device_block, finite, layer_rows, ran_on, scores, versions
from mnist_mlp.training import run_data

if TYPE_CHECKING:
    import keras

    from mnist_mlp.engine.base import Engine
    from mnist_mlp.training.progress import TrainingProgress


def main(argv: Sequence[str]) -> None:
    config = config_of(flags.given_flags(Config, argv, program="train", about=__doc__ or ""))
    run_dir = path_of("run_dir", config.run_dir) if config.run_dir else directory.default_path(config)
    with Terminal(sys.stderr if config.json else sys.stdout, quiet=config.quiet) as screen:

        def show(now: TrainingProgress) -> None:
            screen.progress(now)

        result = train_and_evaluate(config, run_dir, say=screen.line, show=show, keep_programs=True)
    if config.json and result.device["worker_index"] == 0:
        print(json.dumps(result.to_dict(), allow_nan=False))
    gate.refuse(result, str(run_dir))


def train_and_evaluate(
    config: Config,
    run_dir: Path,
    *,
    dataset: data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    say: Callable[[str], None] = print,
    show: Callable[[TrainingProgress], None] = lambda now: None,
    keep_programs: bool = False,
) -> Result:
    """One whole run, or with `config.resume` the rest of one: what `python -m mnist_mlp.train` does.

    `run_dir` must be new or empty, or hold the run to resume. `dataset` replaces what the config names with images of
    your own; `callbacks` hear of each epoch, `say` gets the report, and `show` about once a second how far training is.
    Of several workers only the chief reports and writes `run_dir`; all return the result. `keep_programs`: see
    `kept_programs`. Raises `UserError`.
    """
    stopwatch = Stopwatch()
    plan = devices.plan(config)
    tell, show = (say, show) if plan.chief else (lambda text: None, lambda now: None)
    opened = directory.opened(run_dir, config) if plan.chief else directory.scratch_run(config)
    with opened as run, compilation_cache(plan, wanted=keep_programs):
        if callbacks or dataset:
            run.again = "train_and_evaluate, with resume=True and the same callbacks and images"
        check_packages(config)
        dataset = dataset or data.load(config)
        judge = gate.watch(config, dataset)
        splits, hashes = run_data.split(dataset, config), run_data.hashes(dataset)
        run_data.meet_other_workers(plan, run, hashes)
        run_data.check(run, hashes)
        stopwatch.end("load")

        os.environ.update(plan.environment)
        with defer_signals(), importing():  # frameworks: after the environment, and after what can fail early
            from mnist_mlp.models import networks
        stopwatch.end("import")

        make_model = partial(
            networks.build, config.model, pixels=config.pixels, precision=config.precision, seed=config.seed
        )
        engine = engine_of(config, plan, make_model, splits)
        result = result_before_training(plan, dataset, splits, engine, run)
        diagnose = diagnosis.watch(config, engine, make_model, splits, lambda found: tell(summary.diagnosed(found)))
        tell(summary.opening(result))
        engine.compile()
        stopwatch.end("compile")
        draw_distortions(run, splits["train"], stopwatch)
        test = splits["test"]
        del dataset, splits  # the engine has them

        try:
            result = dataclasses.replace(result, epochs=train(engine, run, result, hashes, callbacks, tell, show))
        except Diverged:
            diagnose([], None)
            raise
        stopwatch.end("train")

        result = finish(engine, plan, run, result, test, stopwatch, diagnose, judge, tell)
    tell(summary.closing(result, str(run_dir)))
    return result


def finish(
    engine: Engine,
    plan: devices.Plan,
    run: directory.Run,
    result: Result,
    test: data.Split,
    stopwatch: Stopwatch,
    diagnose: diagnosis.Watch,
    judge: gate.Judge,
    tell: Callable[[str], None],
) -> Result:
    """Scores the test images, once, and writes the model, the result, and a page that shows them."""
    from mnist_mlp.models import keras_file
    from mnist_mlp.training.optimizers import averaged

    with averaged(engine):
        result = dataclasses.replace(result, test=scores(engine.evaluate("test")))
        stopwatch.end("evaluate")
        found = diagnose(result.epochs, result.test["confusion"])
        result = dataclasses.replace(result, diagnosis=found, gate=judge(result))
        if run.config.diagnose:
            stopwatch.end("diagnose")

        run.check_place()
        atomic.write_file(run.path / "model.keras", partial(keras_file.save, engine.model))
        model_sha256 = atomic.digest(run.path / "model.keras")
        stopwatch.end("save")

        ends = {"device": device_block(plan, engine), "model_sha256": model_sha256, **stopwatch.measured()}
        result = dataclasses.replace(result, **ends)
        atomic.write_json(run.path / "result.json", result.to_dict())
        from mnist_mlp.report import run_page  # what was not needed until now

        return run_page.report(engine, run, result, test, stopwatch, tell)


def engine_of(
    config: Config, plan: devices.Plan, make_model: Callable[[], keras.Model], splits: Mapping[str, data.Split]
) -> Engine:
    """The engine of a run, with its data, on the planned device."""
    from mnist_mlp.engine.base import Recipe
    from mnist_mlp.engine.create import EngineSpec, create_engine
    from mnist_mlp.training import optimizers

    make_optimizer = partial(optimizers.of_config, config, math.ceil(len(splits["train"]) / config.batch_size))
    recipe = Recipe(config.augment, config.label_smoothing, config.seed)
    spec = EngineSpec(make_model, splits, config.batch_size, make_optimizer, recipe, config.engine)
    return create_engine(plan, spec, start_timeout=config.start_timeout)


def draw_distortions(run: directory.Run, training: data.Split, stopwatch: Stopwatch) -> None:
    """Writes a picture of what training will see, if it sees something else than the images."""
    if run.config.augment == "none" or not run.chief:
        return
    from mnist_mlp.training import augmentation_preview

    run.check_place()
    picture = augmentation_preview.render(training, run.config.augment, run.config.seed)
    atomic.write_file(run.path / "distortions.png", lambda file: file.write_bytes(picture))
    stopwatch.end("picture")


def check_packages(config: Config) -> None:
    """Raises `UserError` where a flag needs what is not installed."""
    try:
        if config.tensorboard:
            importlib.import_module("tensorboard.summary")
    except Exception as error:  # absent, or of other versions than what it needs
        raise UserError(
            f"--tensorboard: expected the package tensorboard, it cannot be imported ({error}); "
            f"type {sys.executable} -m pip install tensorboard"
        ) from None


def result_before_training(
    plan: devices.Plan, dataset: data.Dataset, splits: dict[str, data.Split], engine: Engine, run: directory.Run
) -> Result:
    """The result as far as it is known before training."""
    from mnist_mlp.training import optimizers

    config = run.config
    sizes = {name: len(split) for name, split in splits.items()}
    steps_per_epoch = math.ceil(sizes["train"] / config.batch_size)
    return Result(
        model=config.model,
        pixels=config.pixels,
        parameters=engine.model.count_params(),
        layers=layer_rows(engine.model),
        dataset=dataset_block(dataset, sizes["train"], sizes.get("validation", 0)),
        batch_size=config.batch_size,
        steps_per_epoch=steps_per_epoch,
        evaluation_steps=math.ceil(sizes["test"] / config.batch_size),
        optimizer=config.optimizer,
        learning_rate=optimizers.peak_rate(engine.optimizer),
        epochs=[],
        test={},
        device=device_block(plan, engine),
        precision=config.precision,
        backend=engine.backend,
        engine=config.engine,
        seed=config.seed,
        preset=config.preset,
        resumed=resumptions(run, engine, config.epochs * steps_per_epoch),
        model_sha256="",
        versions=versions(engine.backend),
        seconds={},
        peak_memory_mb=0.0,
        recipe=recipe_of(config, engine, config.epochs * steps_per_epoch),
    )


def recipe_of(config: Config, engine: Engine, steps: int) -> dict[str, Any]:
    """The `recipe` part of a result, of a run of so many steps."""
    weight_decay = engine.optimizer.weight_decay or 0.0  # an optimizer may have one of its own
    return {**{name: getattr(config, name) for name in RECIPE}, "weight_decay": weight_decay, "steps": steps}


def resumptions(run: directory.Run, engine: Engine, steps: int) -> list[dict[str, Any]]:
    """The `resumed` part of a result: each time that the run, of so many steps, was gone on with."""
    found = run.found
    if not found and not run.passed_over:
        return []
    before = {**found.ran_on} if found else {}
    at = {"step": found.total_steps if found else 0, "of": steps}
    now = {**at, "before": before, "now": ran_on(engine), "passed_over": list(run.passed_over.values())}
    return [*(found.resumed if found else []), now]


def train(
    engine: Engine,
    run: directory.Run,
    result: Result,
    hashes: Mapping[str, str],
    callbacks: Sequence[keras.callbacks.Callback],
    tell: Callable[[str], None],
    show: Callable[[TrainingProgress], None],
) -> list[dict[str, Any]]:
    """Trains what is left to train; the rows of the history, which is written and told after each epoch."""
    from mnist_mlp.training.callbacks import Callbacks
    from mnist_mlp.training.loop import Training
    from mnist_mlp.training.profiler import Profiled

    progress, config, place = Progress(), run.config, ran_on(engine)
    if run.found:
        engine.restore(run.found.state)
        progress = run.found.progress
        at = progress.total_steps(result.steps_per_epoch)
        if at != run.found.total_steps or progress.step >= result.steps_per_epoch:
            raise UserError(f"--run_dir={run.path}: the checkpoint at step {at} is not of this run; remove it")

    def save(progress: Progress, steps: int) -> None:
        run.save(Checkpoint(progress, steps, engine.state(), config, hashes, place, result.resumed))

    def write(history: list[dict[str, Any]]) -> None:
        run.check_place()
        atomic.write_json_lines(run.path / "history.jsonl", finite(history))

    def add_row(history: list[dict[str, Any]]) -> None:
        write(history)
        tell(summary.epoch_line(history[-1], config.epochs))

    write(progress.history)
    run.write_config()  # now that it is known that the run can go on with it
    driven = Callbacks(config, engine, run.path, progress.history, callbacks, resumed=run.found is not None)
    if config.profile:
        engine = Profiled(engine, run.path / "profile", SimpleNamespace(line=tell))
    training = Training(engine, config, progress, result.dataset["train_examples"], driven, save, add_row, show)
    run.unsaved = True
    training.run()
    run.unsaved = False
    if config.profile and not engine.done:
        tell("profile  nothing was traced: no step was left to train")
    if training.stop_early:
        tell(f"stopped  early by a callback, after epoch {training.progress.epoch} of {config.epochs}")
    return training.progress.history
