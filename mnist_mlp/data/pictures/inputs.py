"""Read what `predict --input` names: arrays of images, a picture, a directory of them, a pattern, or standard input."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnist_mlp.cli.terminal import PRINT, Reporter
from mnist_mlp.data import array_files
from mnist_mlp.data.pictures import decode, normalize, reading
from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
from mnist_mlp.options import path_of

# The first bytes of .npy, .npz, gzip and IDX, also of IDX that is refused: of other numbers or in the other byte order
ARRAYS = (b"\x93NUMPY", b"PK\x03\x04", b"\x1f\x8b", *(bytes((0, 0, kind)) for kind in (8, *kinds.IDX_TYPES)))
ARRAYS += (b"\1\x08\0\0", b"\3\x08\0\0")
ARRAY_SUFFIXES = (".npy", ".npz", ".gz")
STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How pictures are read."""

    reframe: bool = True  # bring the digit into MNIST's frame; otherwise the picture has it
    segment: bool = False  # find several digits
    digits: bool = True  # refuse what is no digit; otherwise the pictures may show anything


class Digit(NamedTuple):
    """A digit that was found: its name, its image (uint8 [28, 28], light on dark), and how a picture was read."""

    name: str
    image: np.ndarray
    reading: reading.Reading | None = None


def read(source: str, settings: Settings = Settings(), *, reporter: Reporter = PRINT, name: str = "") -> list[Digit]:
    """Return the digits that `source` names. Their names are FILE, or FILE:0, FILE:1, … for arrays and with `segment`.

    `name` replaces the name of a file of arrays. Each picture that cannot be used is reported and skipped. Raise
    `UserError` if `source` names nothing, or a file of arrays that cannot be used.
    """
    if source == STANDARD_INPUT:
        return usable("stdin", standard_input, settings, reporter)
    paths = files(source)
    if paths != [path_of("input", source)] or not is_array(paths[0]):  # a directory's files are all pictures
        pictures = (usable(str(path), partial(decode.read_file, path), settings, reporter) for path in paths)
        return [digit for digits in pictures for digit in digits]
    if settings.segment or not settings.reframe:
        flag = "--segment" if settings.segment else "--no_reframe"
        raise UserError(
            f"{flag}: expected pictures, received arrays ({source}), which have MNIST's frame; run without {flag}"
        )
    (path,) = paths
    return [Digit(f"{name or path.name}:{index}", image) for index, image in enumerate(array_files.read_images(path))]


def files(source: str) -> list[Path]:
    """Return the files that `source` names, none for standard input. Raise `UserError` if there are none."""
    if source == STANDARD_INPUT:
        return []
    try:
        path = path_of("input", source)
        return [path] if is_array(path) else decode.find(source)
    except OSError as error:
        raise UserError(f"--input={source}: expected a readable file, received: {error.strerror}") from None


def standard_input() -> np.ndarray:
    """Return the grey levels of the picture on standard input. Raise `UserError`."""
    if sys.stdin is None:
        raise UserError("standard input is closed; try --input=- < FILE")
    return decode.read(sys.stdin.buffer, "stdin")


def is_array(path: Path) -> bool:
    """Return whether a file holds arrays, by its first bytes or by its name."""
    if not path.is_file():
        return path.suffix in ARRAY_SUFFIXES
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError:
        return path.suffix in ARRAY_SUFFIXES
    return start.startswith(ARRAYS) or path.suffix in ARRAY_SUFFIXES


def usable(name: str, read_levels: Callable[[], np.ndarray], settings: Settings, reporter: Reporter) -> list[Digit]:
    """Return the digits of one picture. If it cannot be used, report why and return none."""
    try:
        levels = read_levels()
        if settings.segment:
            readings = reading.digits_in(levels, settings.digits)
            return [Digit(f"{name}:{index}", each.image, each) for index, each in enumerate(readings)]
        return [one_digit(name, levels, settings)]
    except UserError as error:
        reporter.line(str(error) if str(error).startswith(name) else f"{name}: {error}")
        return []


def one_digit(name: str, levels: np.ndarray, settings: Settings) -> Digit:
    """Return the digit of one picture, grey levels float32 [height, width]. Raise `UserError` if it has none."""
    if not settings.reframe:
        return Digit(name, unchanged(levels))
    found = reading.digit_in(levels, settings.digits)
    return Digit(name, found.image, found)


def check_answer(digit: Digit, probabilities: np.ndarray, settings: Settings) -> None:
    """Raise `UserError` if the network's answer, float [10], makes it too doubtful that a picture shows a digit.

    A row of digits keeps them all, in order; images that were not read as pictures are what they are.
    """
    if digit.reading and settings.digits and not settings.segment:
        reading.check_answer(digit.reading, probabilities)


def unchanged(levels: np.ndarray) -> np.ndarray:
    """Return the pixels of a picture that is already in MNIST's frame. Raise `UserError` for another size."""
    levels, _ = reading.channels_of(levels)
    if levels.shape != (normalize.FRAME, normalize.FRAME):
        height, width = levels.shape
        raise UserError(f"--no_reframe: expected a picture of 28×28 pixels, received {width}×{height}")
    return np.rint(levels).astype(np.uint8)
