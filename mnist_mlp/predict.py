"""Gives the class and the ten probabilities of images, as CSV or JSON lines."""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while Python imports: the end, without a traceback

import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mnist_mlp import atomic, command, data, devices, finished, rundir, sources
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.interruption import undisturbed
from mnist_mlp.lean_keras import importing
from mnist_mlp.options import check, option, option_of, path_of


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    run_dir: str = option("", "the directory of a finished run (needed)")
    split: str | None = option(
        None, "images of the run's own data set; not given: test", kind=str, choices=("train", "test")
    )
    input: str = option(
        "", "images in a file instead: .npy, .npz or IDX (.gz or not); [n, 28, 28], pixels 0-255 or floats 0-1"
    )
    output: str = option("", "file to write, replaced if it is there; not given: standard output")
    format: str = option("csv", "csv: input,class,p0,…,p9; jsonl: the same as JSON lines", choices=("csv", "jsonl"))
    data_dir: str = option_of(Config, "data_dir")
    batch_size: int = option(1000, "images per call", low=1, high=2**31 - 1)
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")

    def __post_init__(self) -> None:
        check(self)
        if self.input and (self.split or self.data_dir):
            other = f"--split={self.split}" if self.split else f"--data_dir={self.data_dir}"
            raise UserError(f"expected --input or {other}, received both; leave one of them out")


def main(argv: Sequence[str]) -> None:
    options = command.parse(Options, argv, program="predict", about=__doc__)
    output = output_file(options) if options.output else None
    text = as_csv if options.format == "csv" else as_json_lines
    name, probabilities = predict(options)
    written = text(name, probabilities)
    if output is None:
        sys.stdout.write(written)
        return
    if output.is_file() or not output.exists():
        atomic.write_text(output, written)
    else:
        output.write_text(written, encoding="utf-8")  # a device or a pipe: not to be replaced by a file
    print(f"{len(probabilities):,} predictions in {options.output}", file=sys.stderr)


def output_file(options: Options) -> Path:
    """Where to write, links followed. Raises `UserError` for a place that cannot be, or that is the run's own."""
    path, flag = path_of("output", options.output).resolve(), f"--output={options.output}"
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"{flag}: expected a file in a directory that exists; name another one")
    if options.input and path.exists() and path.samefile(path_of("input", options.input)):
        raise UserError(f"{flag}: expected another file than --input, received the same; name another one")
    if options.run_dir and path.parent == path_of("run_dir", options.run_dir).resolve() and path.name in rundir.FILES:
        raise UserError(f"{flag}: expected a file of your own, received one of the run; name another one")
    return path


def predict(options: Options) -> tuple[str, np.ndarray]:
    """What the images are called, and their probabilities, float32 [n, 10]. Raises `UserError`."""
    plan = devices.plan(options)
    path, config, trained = finished.read_run(options.run_dir)
    if options.input:
        file = path_of("input", options.input)
        name, images = file.name, sources.read_images(file)
    else:
        name = options.split or "test"
        images = getattr(data.load(finished.data_of_run(config, trained, options.data_dir)), name).images

    os.environ.update(plan.environment)
    with undisturbed(), importing():
        from mnist_mlp.finished_model import start_finished

    engine = start_finished(plan, path, trained, {}, options.batch_size, start_timeout=options.start_timeout)
    probabilities = engine.predict(images)
    if not np.isfinite(probabilities).all():
        raise UserError(f"{path / 'model.keras'}: expected probabilities, received nan: training diverged; train again")
    return name, probabilities


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
