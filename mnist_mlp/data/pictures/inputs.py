"""What `predict --input` names: arrays of images, a picture, a folder of them, a pattern, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from mnist_mlp.data import array_files
from mnist_mlp.data.pictures import decode, normalize, segmentation
from mnist_mlp.data.pictures.ink import ink_of
from mnist_mlp.errors import UserError
from mnist_mlp.options import path_of

ARRAYS = (b"\x93NUMPY", b"PK\x03\x04", b"\x1f\x8b", b"\0\0\x08\x03")  # how .npy, .npz, gzip and IDX begin
ARRAY_SUFFIXES = (".npy", ".npz", ".gz")
STANDARD_INPUT = "-"

Digits = list[tuple[str, np.ndarray]]  # a name and an image, uint8 [28, 28], each


def read(
    place: str, *, reframe: bool = True, segment: bool = False, complain: Callable[[str], None], name: str = ""
) -> Digits:
    """The images, light on dark, each with its name; FILE:0, FILE:1, … in arrays and with `segment`.

    `name` is what a file of arrays is called, if not by its own name. `complain` is called with a line about each
    picture that cannot be used. Raises `UserError` where `place` names nothing, and for a file of arrays that cannot
    be used.
    """
    if place == STANDARD_INPUT:
        return usable("stdin", standard_input, reframe, segment, complain)
    paths = files(place)
    if paths != [path_of("input", place)] or not is_array(paths[0]):  # in a folder all are pictures
        several = (usable(str(path), partial(decode.read_file, path), reframe, segment, complain) for path in paths)
        return [digit for digits in several for digit in digits]
    if segment or not reframe:
        flag = "--segment" if segment else "--no_reframe"
        raise UserError(f"{flag}: expected pictures, received arrays, which have their frame ({place}); leave it out")
    (path,) = paths
    return [(f"{name or path.name}:{index}", image) for index, image in enumerate(array_files.read_images(path))]


def files(place: str) -> list[Path]:
    """The files that a word names; standard input is none. Raises `UserError` where there are none."""
    if place == STANDARD_INPUT:
        return []
    try:
        path = path_of("input", place)
        return [path] if is_array(path) else decode.find(place)
    except OSError as error:
        raise UserError(f"--input={place}: expected a file that can be read; received: {error.strerror}") from None


def standard_input() -> np.ndarray:
    """The grey levels of the picture on standard input. Raises `UserError`."""
    if sys.stdin is None:
        raise UserError("expected a picture on standard input, which is closed; type --input=- < FILE")
    return decode.read(sys.stdin.buffer, "stdin")


def is_array(path: Path) -> bool:
    """Whether a file holds arrays: its first bytes say so, or where these say nothing, its name."""
    if not path.is_file():
        return path.suffix in ARRAY_SUFFIXES
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError:
        return path.suffix in ARRAY_SUFFIXES
    return start.startswith(ARRAYS) or path.suffix in ARRAY_SUFFIXES


def usable(
    name: str, levels_of: Callable[[], np.ndarray], reframe: bool, segment: bool, complain: Callable[[str], None]
) -> Digits:
    """The digits of one picture; none, and a complaint, where it cannot be used."""
    try:
        levels = levels_of()
        if segment:
            digits = [normalize.in_frame(ink) for ink in segmentation.digits_in(ink_of(levels))]
            if not digits:
                raise UserError(normalize.NO_INK)
            return [(f"{name}:{index}", digit) for index, digit in enumerate(digits)]
        return [(name, normalize.framed(levels) if reframe else as_it_is(levels))]
    except UserError as error:
        complain(str(error) if str(error).startswith(name) else f"{name}: {error}")
        return []


def as_it_is(levels: np.ndarray) -> np.ndarray:
    """Grey levels of a picture that is in MNIST's frame already. Raises `UserError` for another size."""
    if levels.shape != (normalize.FRAME, normalize.FRAME):
        height, width = levels.shape
        raise UserError(f"--no_reframe: expected a picture of 28×28 pixels, received {width}×{height}")
    return np.rint(levels).astype(np.uint8)
