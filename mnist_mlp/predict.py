"""Predict the classes and probabilities of images, as CSV or JSON lines: of the run's data set or of your own digits.

A picture may be a drawing or a photograph, dark on light or light on dark, of any size: its digit is first scaled and
centred as MNIST's digits are. A picture that cannot be used is reported on standard error and skipped.
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
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.terminal import PRINT, Reporter
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.data.pictures import inputs
from mnist_mlp.data.pictures.inputs import Digit
from mnist_mlp.data.pictures.preview import render
from mnist_mlp.data.sets import class_names, of_digits
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.runs import directory, saved
from mnist_mlp.text import spelled_out

STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    run_dir: str = option("", "directory of a finished run (required)")
    split: str | None = option(
        None, "images of the run's data set (default: test)", kind=str, choices=("train", "test")
    )
    input: tuple[str, ...] = option(
        (),
        "other images instead: pictures (PNG, JPEG, WebP, BMP, GIF, TIFF), directories, patterns such as "
        "'digits/*.png', - for a picture on standard input; or .npy, .npz, IDX (.gz or not) of [n, 28, 28], "
        "grey levels 0-255 or ink 0-1",
        kind=tuple,
        positional=True,
    )
    segment: bool = option(False, "find several digits in each picture, in reading order")
    no_reframe: bool = option(False, "use pictures as they are: 28×28 pixels, light on dark, as in MNIST")
    show: bool = option(False, "print each digit as the network sees it, with its probabilities, as text")
    output: str = option("", "file to write; an existing one is replaced (default: standard output)")
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
            raise UserError(f"--input cannot be combined with {other}; use one of them")
        if self.segment and self.no_reframe:
            raise UserError("--segment cannot be combined with --no_reframe; use one of them")
        if (self.segment or self.no_reframe) and not self.input:
            flag = "--segment" if self.segment else "--no_reframe"
            raise UserError(f"{flag}: expected pictures of your own, received none; try --input=FILE")


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="predict", about=__doc__)
    output = output_file(options) if options.output else None
    complaints = Complaints()
    digits, probabilities = predict(options, complaints)
    names = [digit.name for digit in digits]
    text = (as_csv if options.format == "csv" else as_json_lines)(names, probabilities)
    if options.show:
        _, _, trained = saved.read_run(options.run_dir)
        sys.stdout.write(as_preview(digits, probabilities, class_names(trained.dataset)))
        sys.stdout.flush()  # before the predictions, which may go to the same file
    if output is not None:
        write(output, text)
        number = f"{len(probabilities):,} prediction{'s' * (len(probabilities) > 1)}"
        print(spelled_out(f"{number} in {options.output}"), file=sys.stderr)
    elif not options.show:
        sys.stdout.write(text)
    sys.stdout.flush()  # before the error, if there is one
    if complaints.count:
        used = len({name.rpartition(":")[0] if options.segment else name for name in names})
        above = "line above says" if complaints.count == 1 else "lines above say"
        raise UserError(f"{complaints.count} of {complaints.count + used} pictures could not be used; the {above} why")


class Complaints(Reporter):
    """Prints lines about pictures that cannot be used to standard error, and counts them."""

    count = 0

    def line(self, text: str) -> None:
        print(spelled_out(text), file=sys.stderr, flush=True)
        self.count += 1


def write(output: Path, text: str) -> None:
    """Write the text to a file atomically, or to a device or pipe."""
    if str(output) in STANDARD_OUTPUT:  # `stderr_filter` redirects its descriptor
        sys.stdout.write(text)
    elif is_open_file(output) or (output.exists() and not output.is_file()):
        try:
            with output.open("a", encoding="utf-8") as file:  # a device or a pipe must not be replaced by a file
                file.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise atomic.cannot_write(output, error) from None
    else:
        atomic.write_text(output, text)


def is_open_file(path: Path) -> bool:
    """Return whether a path names an open file of this process, such as /dev/stderr."""
    return str(path) in ("/dev/stdout", "/dev/stderr") or path.parent in map(Path, ("/dev/fd", "/proc/self/fd"))


def output_file(options: Options) -> Path:
    """Return where to write, links followed. Raise `UserError` for an input, a file of the run, or a path where no file
    can be written."""
    path = path_of("output", options.output)
    if is_open_file(path):
        return path
    path = outputs.file_to_write("output", options.output, special=True).resolve()
    for source in input_files(options) if path.is_file() else ():
        outputs.check_distinct({"input": source, "output": path})
    if options.run_dir:
        directory.check_output("output", options.output, [path], path_of("run_dir", options.run_dir))
    return path


def input_files(options: Options) -> Iterator[Path]:
    """Yield every file that --input names."""
    for text in options.input:
        with contextlib.suppress(UserError):  # reported when the input is read
            yield from inputs.files(text)


def predict(options: Options, reporter: Reporter = PRINT) -> tuple[list[Digit], np.ndarray]:
    """Return the digits, each with its name and image, and their probabilities, float32 [n, 10].

    `reporter` gets a line about each picture that cannot be used. Raise `UserError`, also if no picture can be used.
    """
    plan = devices.plan(options)
    path, config, trained = saved.read_run(options.run_dir)
    settings = inputs.Settings(not options.no_reframe, options.segment, of_digits(trained.dataset))
    if options.input:
        digits = read_digits(options, settings, reporter)
    else:
        split = options.split or "test"
        images = getattr(data.load(saved.data_of_run(config, trained, options.data_dir)), split).images
        digits = [Digit(f"{split}:{index}", image) for index, image in enumerate(images)]

    load(plan)
    from mnist_mlp.runs.saved import start_finished

    engine = start_finished(plan, path, trained, {}, options.batch_size, start_timeout=options.start_timeout)
    probabilities = engine.predict(np.stack([digit.image for digit in digits]))
    saved.check_finite(path, probabilities)
    kept = [index for index, row in enumerate(probabilities) if is_answer(digits[index], row, settings, reporter)]
    if not kept:
        raise none_usable(options)
    return [digits[index] for index in kept], probabilities[kept]


def read_digits(options: Options, settings: inputs.Settings, reporter: Reporter) -> list[Digit]:
    """Return the digits in all inputs, at least one. If there are several inputs, those that cannot be used are
    reported."""
    several = len(options.input) > 1
    digits: list[Digit] = []
    for text in options.input:
        try:
            digits += inputs.read(text, settings, reporter=reporter, name=text if several else "")
        except UserError as error:
            if not several:
                raise
            reporter.line(str(error))
    if not digits:
        raise none_usable(options)
    return digits


def none_usable(options: Options) -> UserError:
    return UserError(f"--input={' '.join(options.input)}: none of the pictures could be used")


def is_answer(digit: Digit, probabilities: np.ndarray, settings: inputs.Settings, reporter: Reporter) -> bool:
    """Return whether the network and the judge of digits both support an answer; report a digit that they do not."""
    try:
        inputs.check_answer(digit, probabilities, settings)
    except UserError as error:
        reporter.line(f"{digit.name}: {error}")
        return False
    return True


def as_csv(names: Sequence[str], probabilities: np.ndarray) -> str:
    """Format predictions as CSV: a header, then `input,class,p0,…,p9` for each image.

    Probabilities have the fewest digits that restore the float32; unprintable characters of a name are escaped.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["input", "class", *(f"p{digit}" for digit in range(10))])
    for name, row in zip(names, probabilities, strict=True):
        writer.writerow([spelled_out(name), int(row.argmax()), *map(str, row)])
    return text.getvalue()


def as_json_lines(names: Sequence[str], probabilities: np.ndarray) -> str:
    """Format predictions as JSON lines with the keys input, class and p (ten numbers). Names are exact."""
    return "".join(
        json.dumps({"input": name, "class": int(row.argmax()), "p": [float(str(p)) for p in row]}) + "\n"
        for name, row in zip(names, probabilities, strict=True)
    )


def as_preview(digits: Sequence[Digit], probabilities: np.ndarray, classes: Sequence[str]) -> str:
    """Format each image as text below its name, as the network sees it, with its probabilities, and how it was read."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = ""
    for digit, row in zip(digits, probabilities, strict=True):
        read_as = f"read as {digit.reading}\n" if digit.reading else ""
        text += f"{spelled_out(digit.name)}\n{read_as}{render(digit.image, row, classes, plain=plain)}\n\n"
    return text
