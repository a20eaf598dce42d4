"""What a run will be, before it starts and without a framework: layers, the arithmetic of the parameters, steps."""

from __future__ import annotations

import functools
import math
from typing import Any

from mnist_mlp import data
from mnist_mlp.config import Config
from mnist_mlp.data.batches import split_validation
from mnist_mlp.lab.live.training import keras_program
from mnist_mlp.lab.live.training.redaction import without_paths
from mnist_mlp.text import division

Row = dict[str, Any]
SIZES_KEPT = 8


def plan(config: Config) -> dict[str, Any]:
    """Return the plan of a run. Raise `UserError` if its data cannot be found."""
    layers, sizes = layer_rows(config), data_sizes(*data_options(config))
    train, validation, test = sizes["train"], 0, sizes["test"]
    if config.validation_fraction:
        validation = sizes["validation"]
        train -= validation
    steps, evaluation = math.ceil(train / config.batch_size), math.ceil(test / config.batch_size)
    return {
        "options": config.to_dict(),
        "layers": layers,
        "parameters": sum(row["parameters"] for row in layers),
        "arithmetic": " + ".join(f"{row['arithmetic']} = {row['parameters']:,}" for row in layers if row["parameters"]),
        "dataset": {
            "name": sizes["name"],
            "train_examples": train,
            "validation_examples": validation,
            "test_examples": test,
            "notes": without_paths(sizes["notes"]),
        },
        "steps_per_epoch": steps,
        "steps": config.epochs * steps,
        "evaluation_steps": evaluation,
        "division": {
            "train": division(train, config.batch_size, steps),
            "test": division(test, config.batch_size, evaluation),
        },
        "program": keras_program.program(config, sizes["name"], steps),
    }


def data_options(config: Config) -> tuple[str, str, str, float, int]:
    """Return what decides which images a run has."""
    return config.dataset, config.data_dir, config.data_source, config.validation_fraction, config.seed


@functools.lru_cache(SIZES_KEPT)
def data_sizes(dataset: str, data_dir: str, data_source: str, validation_fraction: float, seed: int) -> Row:
    """Return the name of a data set, how many images its splits have, and its notes. Raise `UserError`."""
    found = data.load(Config(dataset=dataset, data_dir=data_dir, data_source=data_source))
    _, validation = split_validation(found.train, validation_fraction, seed)
    return {
        "name": found.name,
        "train": len(found.train),
        "validation": len(validation) if validation else 0,
        "test": len(found.test),
        "notes": list(found.notes),
    }


def layer_rows(config: Config) -> list[Row]:
    """Return what `runs.result.layer_rows` returns of the model of a run."""
    rows = [row("rescaling", "Rescaling", [28, 28])] if config.pixels == "unit" else []
    rows += convolutions() if config.model == "cnn" else dense_layers(config)
    fan_in = rows[-1]["output"][-1]
    return [*rows, dense("logits", fan_in, 10), row("probabilities", "Softmax", [10])]


def dense_layers(config: Config) -> list[Row]:
    rows, width = [row("flatten", "Flatten", [784])], 784
    for index, units in enumerate(config.layer_units or (), start=1):
        rows.append(dense(f"hidden_{index}", width, units))
        if config.model == "mlp_dropout":
            rows.append(row(f"dropout_{index}", "Dropout", [units]))
        width = units
    return rows


def convolutions() -> list[Row]:
    return [
        row("channel", "Reshape", [28, 28, 1]),
        row("conv_1", "Conv2D", [26, 26, 32], (3 * 3 * 1 + 1) * 32, "(3·3·1 + 1) · 32"),
        row("pool_1", "MaxPooling2D", [13, 13, 32]),
        row("conv_2", "Conv2D", [11, 11, 64], (3 * 3 * 32 + 1) * 64, "(3·3·32 + 1) · 64"),
        row("pool_2", "MaxPooling2D", [5, 5, 64]),
        row("flatten", "Flatten", [1600]),
    ]


def dense(name: str, fan_in: int, units: int) -> Row:
    return row(name, "Dense", [units], (fan_in + 1) * units, f"({fan_in} + 1) · {units}")


def row(name: str, kind: str, output: list[int], parameters: int = 0, arithmetic: str = "") -> Row:
    return {"name": name, "kind": kind, "output": output, "parameters": parameters, "arithmetic": arithmetic}
