"""Gives the class and the ten probabilities of images, as CSV or JSON lines: of MNIST's, or of digits of your own.

A picture may be dark on light or light on dark, of any size, a drawing or a photograph: its digit is brought into
MNIST's frame first. One that cannot be used gets a line on standard error, and the others go on.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below: Ctrl-C ends them without a traceback
    from mnist_mlp.cli.program import start

    start("mnist_mlp.predict")

import contextlib
import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import importing
from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.data.pictures import inputs
from mnist_mlp.data.pictures.preview import render
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.runs import directory, saved
from mnist_mlp.text import spelled_out

STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    run_dir: str = option("", "the directory of a finished run (needed)")
    split: str | None = option(
        None, "images of the run's own data set; not given: test", kind=str, choices=("train", "test")
    )
    input: tuple[str, ...] = option(
        (),
        "other images instead: pictures (PNG, JPEG, WebP, BMP, GIF, TIFF), folders, patterns as 'digits/*.png', - "
        "for a picture on standard input; or .npy, .npz, IDX (.gz or not) of [n, 28, 28], pixels 0-255 or floats 0-1",
        kind=tuple,
        word=True,
    )
    segment: bool = option(False, "find several digits in each picture, in the order of reading")
    no_reframe: bool = option(False, "take pictures as they are: 28×28 pixels, light on dark, as MNIST has them")
    show: bool = option(False, "print each digit as the network sees it, and its probabilities, for the eye")
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
        if self.segment and self.no_reframe:
            raise UserError("expected --segment or --no_reframe, received both; leave one of them out")
        if (self.segment or self.no_reframe) and not self.input:
            flag = "--segment" if self.segment else "--no_reframe"
            raise UserError(f"{flag}: expected pictures of your own; type --input=FILE, or leave it out")


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="predict", about=__doc__)
    output = output_file(options) if options.output else None
    complaints: list[str] = []

    def complain(line: str) -> None:
        print(spelled_out(line), file=sys.stderr, flush=True)
        complaints.append(line)

    names, images, probabilities = predict(options, complain)
    text = (as_csv if options.format == "csv" else as_json_lines)(names, probabilities)
    if options.show:
        sys.stdout.write(for_the_eye(names, images, probabilities))
        sys.stdout.flush()  # before what may go to the same place
    if output is not None:
        write(output, text)
        number = f"{len(probabilities):,} prediction{'s' * (len(probabilities) > 1)}"
        print(spelled_out(f"{number} in {options.output}"), file=sys.stderr)
    elif not options.show:
        sys.stdout.write(text)
    sys.stdout.flush()  # before the error, if there is one
    if complaints:
        of = len(complaints) + len({name.rpartition(":")[0] if options.segment else name for name in names})
        above = "line above says" if len(complaints) == 1 else "lines above say"
        raise UserError(f"{len(complaints)} of {of} pictures could not be used; the {above} why")


def write(output: Path, text: str) -> None:
    """Into a file as a whole, or into what is none."""
    if str(output) in STANDARD_OUTPUT:  # whose descriptor chatter.py has led elsewhere
        sys.stdout.write(text)
    elif is_open_file(output) or (output.exists() and not output.is_file()):
        try:
            with output.open("a", encoding="utf-8") as file:  # a device or a pipe: not to be replaced by a file
                file.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise atomic.cannot_write(output, error) from None
    else:
        atomic.write_text(output, text)


def is_open_file(path: Path) -> bool:
    """Whether a path names what the process has open already, as /dev/stderr; it need not have a name of its own."""
    return str(path) in ("/dev/stdout", "/dev/stderr") or path.parent in map(Path, ("/dev/fd", "/proc/self/fd"))


def output_file(options: Options) -> Path:
    """Return where to write, links followed. Raise `UserError` for an input, a file of the run, or a path where no file
    can be written."""
    path = path_of("output", options.output)
    if is_open_file(path):
        return path
    path = outputs.file_to_write("output", options.output, special=True)
    path = path.resolve()
    for source in sources_of(options) if path.is_file() else ():
        outputs.check_distinct({"input": source, "output": path})
    if options.run_dir and directory.owns(path_of("run_dir", options.run_dir), path):
        raise outputs.belongs_to_run("output", options.output)
    return path


def sources_of(options: Options) -> Iterator[Path]:
    """Every file that the inputs name."""
    for place in options.input:
        with contextlib.suppress(UserError):  # which is told when it is to be read
            yield from inputs.files(place)


def predict(options: Options, complain: Callable[[str], None]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """What the images are called, the images, uint8 [n, 28, 28], and their probabilities, float32 [n, 10].

    `complain` is called with a line about each picture that cannot be used. Raises `UserError`, also where none can.
    """
    plan = devices.plan(options)
    path, config, trained = saved.read_run(options.run_dir)
    if options.input:
        found = digits_of(options, complain)
        if not found:
            raise UserError(f"--input={' '.join(options.input)}: expected a picture that can be used, there is none")
        names, images = [name for name, _ in found], np.stack([image for _, image in found])
    else:
        split = options.split or "test"
        images = getattr(data.load(saved.data_of_run(config, trained, options.data_dir)), split).images
        names = [f"{split}:{index}" for index in range(len(images))]

    os.environ.update(plan.environment)
    with defer_signals(), importing():
        from mnist_mlp.runs.saved_model import start_finished

    engine = start_finished(plan, path, trained, {}, options.batch_size, start_timeout=options.start_timeout)
    probabilities = engine.predict(images)
    if not np.isfinite(probabilities).all():
        raise UserError(f"{path / 'model.keras'}: expected probabilities, received nan: training diverged; train again")
    return names, images, probabilities


def digits_of(options: Options, complain: Callable[[str], None]) -> inputs.Digits:
    """What is found in all inputs. One of several that cannot be used gets a line, and the others go on."""
    several = len(options.input) > 1
    found: inputs.Digits = []
    for place in options.input:
        try:
            found += inputs.read(
                place,
                reframe=not options.no_reframe,
                segment=options.segment,
                complain=complain,
                name=place if several else "",
            )
        except UserError as error:
            if not several:
                raise
            complain(str(error))
    return found


def as_csv(names: Sequence[str], probabilities: np.ndarray) -> str:
    """Lines `input,class,p0,…,p9` below a header, with as few digits as give the float32 back, and what cannot be
    printed in a name spelled out: one line an image."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["input", "class", *(f"p{digit}" for digit in range(10))])
    for name, row in zip(names, probabilities, strict=True):
        writer.writerow([spelled_out(name), int(row.argmax()), *map(str, row)])
    return text.getvalue()


def as_json_lines(names: Sequence[str], probabilities: np.ndarray) -> str:
    """One object a line: input, class, p (ten numbers, as in `as_csv`); names are exact, by JSON's own escapes."""
    return "".join(
        json.dumps({"input": name, "class": int(row.argmax()), "p": [float(str(p)) for p in row]}) + "\n"
        for name, row in zip(names, probabilities, strict=True)
    )


def for_the_eye(names: Sequence[str], images: np.ndarray, probabilities: np.ndarray) -> str:
    """Each digit as the network sees it, below its name."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    each = zip(names, images, probabilities, strict=True)
    return "".join(f"{spelled_out(name)}\n{render(image, row, plain=plain)}\n\n" for name, image, row in each)
