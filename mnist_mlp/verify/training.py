"""The stages that train and compare the result with hundreds of correct runs: the gate, on the digits and on MNIST."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import PRESETS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding

if TYPE_CHECKING:
    from mnist_mlp.data import Dataset

DIGITS = "run-on-digits"  # in the work directory


def digits(context: Context) -> Finding:
    """Train the preset smoke, and judge it by the gate."""
    from mnist_mlp.data import load

    config = dataclasses.replace(PRESETS["smoke"], **common(context))
    return gated(config, load(config), context.work / DIGITS)


def mnist(context: Context) -> Finding:
    """Train the preset default on MNIST, if MNIST is on this machine: nothing is downloaded."""
    from mnist_mlp.data import NotFound, load

    preset = dataclasses.replace(PRESETS["default"], **common(context), dataset="mnist")
    if context.data_dir:
        config = dataclasses.replace(preset, data_dir=context.data_dir)
        return gated(config, load(config), context.work / "run-on-mnist")
    damaged = None
    for source in ("keras", "tfds"):
        config = dataclasses.replace(preset, data_source=source)
        try:
            dataset = load(config)
        except NotFound:
            continue
        except UserError as error:
            damaged = damaged or error
            continue
        return gated(config, dataset, context.work / "run-on-mnist")
    if damaged:
        raise damaged
    return Finding.skipped("MNIST is in neither Keras' nor TFDS' directory; use --data_dir=DIR")


def common(context: Context) -> dict[str, Any]:
    return {**context.device, "seed": context.seed, "gate": True}


def gated(config: Config, dataset: Dataset, directory: Path) -> Finding:
    """Train and evaluate a run, and return what the gate says of it."""
    from mnist_mlp.train import train_and_evaluate

    result = train_and_evaluate(config, directory, dataset=dataset, reporter=SILENT)
    verdict, test = result.gate, result.test
    figure = f"{test['correct']:,} of {test['total']:,} correct, p = {verdict['p']:.2g}"
    details = {"gate": verdict, "test": {key: test[key] for key in ("correct", "total", "loss")}}
    return Finding.judged(figure, problem(verdict), **details, seconds=result.seconds)


def problem(verdict: Mapping[str, Any]) -> str:
    """Return what is out of bounds, with its meaning and the first of the figures; "" if nothing is."""
    out = [row for row in (verdict["right"], *verdict["losses"]) if row["out"]]
    told = [f"{kind} ({means})" for kind, means in verdict["found"].items()]
    figures = [f"{row['observed']:.5g}, where {row['accepted'][0]:.5g} to {row['accepted'][1]:.5g} pass" for row in out]
    return "; ".join([*told, *figures[:1]])
