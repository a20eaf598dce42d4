"""The stages that train and compare the result with hundreds of correct runs: the gate, on the digits and on MNIST."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import PRESETS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding

DIGITS = "run-on-digits"  # in the work directory


def digits(context: Context) -> Finding:
    """Train the preset smoke, and judge it by the gate."""
    return gated(dataclasses.replace(PRESETS["smoke"], **common(context)), context.work / DIGITS)


def mnist(context: Context) -> Finding:
    """Train the preset default on MNIST, if MNIST is on this machine: nothing is downloaded."""
    from mnist_mlp.data import load

    where: dict[str, Any] = {"dataset": "mnist", "data_dir": context.data_dir or os.environ.get("MNIST_DATA_DIR", "")}
    config = dataclasses.replace(PRESETS["default"], **common(context), **where)
    try:
        load(config)
    except UserError as error:
        return Finding.skipped(f"MNIST is not on this machine: {error}")
    return gated(config, context.work / "run-on-mnist")


def common(context: Context) -> dict[str, Any]:
    return {**context.device, "seed": context.seed, "gate": True}


def gated(config: Config, directory: Path) -> Finding:
    from mnist_mlp.train import train_and_evaluate

    result = train_and_evaluate(config, directory, reporter=SILENT)
    verdict, test = result.gate, result.test
    figure = f"{test['correct']:,} of {test['total']:,} correct, p = {verdict['p']:.2g}"
    out = [verdict["right"], *verdict["losses"]]
    told = [f"{kind} ({means})" for kind, means in verdict["found"].items()]
    values = [
        f"observed {row['observed']:.5g}, {row['accepted'][0]:.5g} to {row['accepted'][1]:.5g} pass"
        for row in out
        if row["out"]
    ]
    problem = "; ".join([*told, *values[:1]])
    return Finding.judged(
        figure, problem, gate=verdict, test={k: test[k] for k in ("correct", "total", "loss")}, seconds=result.seconds
    )
