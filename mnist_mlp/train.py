"""Trains a network on MNIST, scores it once on the test images, and writes the run directory.

Presets: default (the lecture's network, pixels from 0 to 1), lecture (its program to the letter, pixels from
0 to 255), smoke (seconds, on the embedded digits: does this installation train at all?).
"""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while Python imports: the end, without a traceback

import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp import command, data, devices, machine, meeting, report, rundir
from mnist_mlp.config import PRESETS, Config
from mnist_mlp.options import path_of
from mnist_mlp.result import Laps, Result, dataset_block, device_block, finite, layer_rows, scores, versions
from mnist_mlp.waiting import undisturbed

if TYPE_CHECKING:
    from mnist_mlp.engine import Engine


def main(argv: Sequence[str]) -> None:
    config = command.parse(Config, argv, program="train", about=__doc__, presets=PRESETS)
    stream = sys.stderr if config.json else sys.stdout
    run_dir = path_of("run_dir", config.run_dir) if config.run_dir else rundir.default_path(config)
    result = train_and_evaluate(config, run_dir, say=lambda text: print(text, file=stream, flush=True))
    if config.json and result.device["worker_index"] == 0:
        print(json.dumps(result.to_dict(), allow_nan=False))


def train_and_evaluate(
    config: Config,
    run_dir: Path,
    *,
    dataset: data.Dataset | None = None,
    say: Callable[[str], None] = print,
) -> Result:
    """One whole run: what `python -m mnist_mlp.train` does.

    `run_dir` must be new or empty; if the run fails, nothing is left in it (unless it is killed). `dataset` replaces
    what the config names with images of your own. `say` gets the report, piece by piece. Raises `UserError`.
    Of several workers only the chief reports and writes `run_dir`; all return the result.
    """
    laps = Laps()
    plan = devices.plan(config)
    tell = say if plan.chief else silent
    with rundir.new_run(run_dir, config) if plan.chief else rundir.thrown_away() as place:
        dataset = dataset or data.load(config)
        train, validation = data.split_validation(dataset.train, config.validation_fraction, config.seed)
        splits = {"train": train, "test": dataset.test} | ({"validation": validation} if validation else {})
        meet_other_workers(plan, config, splits)
        laps.end("load")

        os.environ.update(plan.environment)
        with undisturbed():  # frameworks: after the environment, and after what can fail early
            from mnist_mlp import models
            from mnist_mlp.engine.start import start
        laps.end("import")

        engine = start(
            plan,
            config.engine,
            partial(models.build, config.model, pixels=config.pixels, precision=config.precision, seed=config.seed),
            partial(models.make_optimizer, config.optimizer, config.learning_rate),
            splits,
            config.batch_size,
            start_timeout=config.start_timeout,
        )
        result = result_before_training(config, plan, dataset, splits, engine)
        del dataset, train, validation, splits  # the engine has them
        tell(report.opening(result))
        engine.compile()
        laps.end("compile")

        epochs = run_epochs(engine, config, result.dataset, place / "history.jsonl", tell)
        laps.end("train")

        test = scores(engine.evaluate("test"))
        laps.end("evaluate")

        rundir.write_file(place / "model.keras", partial(models.save, engine.model))
        model_sha256 = rundir.digest(place / "model.keras")
        laps.end("save")

        ends = {"device": device_block(plan, engine), "test": test, "model_sha256": model_sha256, **laps.measured()}
        result = dataclasses.replace(result, epochs=epochs, **ends)
        rundir.write_json(place / "result.json", result.to_dict())
    tell(report.closing(result, str(run_dir)))
    return result


def meet_other_workers(plan: devices.Plan, config: Config, splits: dict[str, data.Split]) -> None:
    """Of several workers: waits for the others, which must have the same flags, data and versions."""
    if not plan.workers:
        return
    own = ("data_dir", "data_source", "workers", "worker_index", "start_timeout", "run_dir", "json")
    flags = {f"--{name}": str(value) for name, value in config.to_dict().items() if name not in own}
    images = {f"{name} images": data.in_order_hash(split) for name, split in splits.items()}
    decided = {"backend": plan.backend, "device": plan.device, "versions": str(machine.installed_software())}
    meeting.meet(plan.workers, plan.worker_index, config.start_timeout, {**flags, **images, **decided})


def silent(text: str) -> None:
    """Says nothing."""


def result_before_training(
    config: Config, plan: devices.Plan, dataset: data.Dataset, splits: dict[str, data.Split], engine: Engine
) -> Result:
    """The result as far as it is known before training."""
    sizes = {name: len(split) for name, split in splits.items()}
    learning_rate = float(engine.optimizer.learning_rate.numpy())
    return Result(
        model=config.model,
        pixels=config.pixels,
        parameters=engine.model.count_params(),
        layers=layer_rows(engine.model),
        dataset=dataset_block(dataset, sizes["train"], sizes.get("validation", 0)),
        batch_size=config.batch_size,
        steps_per_epoch=math.ceil(sizes["train"] / config.batch_size),
        evaluation_steps=math.ceil(sizes["test"] / config.batch_size),
        optimizer=config.optimizer,
        learning_rate=float(f"{learning_rate:.7g}"),  # float32: 0.001, not 0.0010000000474974513
        epochs=[],
        test={},
        device=device_block(plan, engine),
        precision=config.precision,
        backend=engine.backend,
        engine=config.engine,
        seed=config.seed,
        preset=config.preset,
        model_sha256="",
        versions=versions(engine.backend),
        seconds={},
        peak_memory_mb=0.0,
    )


def run_epochs(
    engine: Engine, config: Config, sizes: dict[str, Any], history: Path, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Trains; the rows of the history, which is written and told after each epoch."""
    epochs: list[dict[str, Any]] = []
    rundir.write_history(history, epochs)
    for epoch in range(config.epochs):
        epochs.append(run_epoch(engine, config, epoch, sizes))
        rundir.write_history(history, finite(epochs))
        tell(report.epoch_line(epochs[-1], config.epochs))
    return epochs


def run_epoch(engine: Engine, config: Config, epoch: int, sizes: dict[str, Any]) -> dict[str, Any]:
    """Trains one epoch; its row of the history. The seconds are those of training alone."""
    began = time.perf_counter()
    order = data.batch_order(config.seed, epoch, sizes["train_examples"], config.batch_size)
    sums = engine.train(order)
    row = {
        "epoch": epoch + 1,
        "loss": sums.loss_sum / sums.seen,
        "accuracy": sums.correct / sums.seen,
        "seconds": time.perf_counter() - began,
    }
    if sizes["validation_examples"]:
        counts = engine.evaluate("validation")
        row["validation_loss"] = counts.loss_sum / counts.total
        row["validation_accuracy"] = counts.correct / counts.total
    return row


if __name__ == "__main__":
    command.run(main)
