"""Gives the class and the ten probabilities of images, as CSV or JSON lines."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mnist_mlp import command, data, devices, rundir, sources
from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.options import check, option, option_of


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    run_dir: str = option("", "the directory of a finished run")
    split: str | None = option(None, "images of the run's own data set", kind=str, choices=("train", "test"))
    input: str = option("", "images in a file: .npy, .npz or IDX (.gz or not), pixels 0–255")
    output: str = option("", "file to write; not given: standard output")
    format: str = option("csv", "csv: input,class,p0,…,p9; jsonl: the same as JSON lines", choices=("csv", "jsonl"))
    data_dir: str = option_of(Config, "data_dir")
    batch_size: int = option(1000, "images per call", low=1, high=2**31 - 1)
    strategy: str = option_of(Config, "strategy")

    def __post_init__(self) -> None:
        check(self)


def main(argv: Sequence[str]) -> None:
    options = command.parse(Options, argv, program="predict", about=__doc__)
    if options.output and not Path(options.output).absolute().parent.is_dir():
        raise UserError(f"--output={options.output}: expected a file in a directory that exists")
    text = as_csv if options.format == "csv" else as_json_lines
    written = text(*predict(options))
    if options.output:
        rundir.write_text(Path(options.output), written)
    else:
        sys.stdout.write(written)


def predict(options: Options) -> tuple[str, np.ndarray]:
    """What the images are called, and their probabilities, float32 [n, 10]."""
    plan = devices.plan(options.strategy)
    _, trained = rundir.read_run(options.run_dir)
    name, images = read(options)

    os.environ.update(plan.environment)
    from mnist_mlp import engine as engines  # frameworks: after the environment, and after what can fail early
    from mnist_mlp import models

    model_file = Path(options.run_dir) / "model.keras"
    engine = engines.start(plan, trained.engine, lambda: models.load(model_file), lambda: None, {}, options.batch_size)
    return name, engine.predict(images)


def read(options: Options) -> tuple[str, np.ndarray]:
    """What to call the images of `--input` or `--split`, and the images, uint8 [n, 28, 28]."""
    if options.input:
        if options.split:
            raise UserError("expected --input or --split, received both; leave one of them out")
        return Path(options.input).name, sources.read_images(Path(options.input))
    split = options.split or "test"
    config, trained = rundir.read_run(options.run_dir)
    dataset = data.load(rundir.data_of_run(config, trained, options.data_dir))
    return split, getattr(dataset, split).images


def rows(name: str, probabilities: np.ndarray) -> Iterable[tuple[str, int, list[str]]]:
    """For each image: its name, its class, and its probabilities with as few digits as give the float32 back."""
    for index, row in enumerate(probabilities):
        yield f"{name}:{index}", int(row.argmax()), [str(p) for p in row]


def as_csv(name: str, probabilities: np.ndarray) -> str:
    """Lines `input,class,p0,…,p9` below a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["input", "class", *(f"p{digit}" for digit in range(10))])
    writer.writerows([image, digit, *numbers] for image, digit, numbers in rows(name, probabilities))
    return text.getvalue()


def as_json_lines(name: str, probabilities: np.ndarray) -> str:
    """One object a line: input, class, p (ten numbers)."""
    return "".join(
        json.dumps({"input": image, "class": digit, "p": [float(p) for p in numbers]}) + "\n"
        for image, digit, numbers in rows(name, probabilities)
    )


if __name__ == "__main__":
    command.run(main)
