"""What `predict --input` names: arrays of images, a picture, a folder of them, a pattern, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from mnist_mlp import sources
from mnist_mlp.errors import UserError
from mnist_mlp.pictures import framing, reading, segments
from mnist_mlp.pictures.ink import ink_of

ARRAYS = (b"\x93NUMPY", b"PK\x03\x04", b"\x1f\x8b", b"\0\0\x08\x03")  # how .npy, .npz, gzip and IDX begin
ARRAY_SUFFIXES = (".npy", ".npz", ".gz")
STANDARD_INPUT = "-"

Digits = list[tuple[str, np.ndarray]]  # a name and an image, uint8 [28, 28], each


def read(place: str, *, reframe: bool = True, segment: bool = False, complain: Callable[[str], None]) -> Digits:
    """The images, light on dark, each with its name; FILE:0, FILE:1, … in arrays and with `segment`.

    `complain` is called with a line about each picture that cannot be used. Raises `UserError` where `place` names
    nothing, and for a file of arrays that cannot be used.
    """
    if place == STANDARD_INPUT:
        return usable("stdin", partial(reading.read, sys.stdin.buffer, "stdin"), reframe, segment, complain)
    path = Path(place).expanduser()
    if is_array(path):
        return [(f"{path.name}:{index}", image) for index, image in enumerate(sources.read_images(path))]
    found: Digits = []
    for picture in reading.find(place):
        found += usable(str(picture), partial(reading.read_file, picture), reframe, segment, complain)
    return found


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
            digits = [framing.in_frame(ink) for ink in segments.digits_in(ink_of(levels))]
            if not digits:
                raise UserError("expected digits, received a picture without any ink")
            return [(f"{name}:{index}", digit) for index, digit in enumerate(digits)]
        return [(name, framing.framed(levels) if reframe else as_it_is(levels))]
    except UserError as error:
        complain(str(error) if str(error).startswith(name) else f"{name}: {error}")
        return []


def as_it_is(levels: np.ndarray) -> np.ndarray:
    """Grey levels of a picture that is in MNIST's frame already. Raises `UserError` for another size."""
    if levels.shape != (framing.FRAME, framing.FRAME):
        height, width = levels.shape
        raise UserError(f"--no_reframe: expected a picture of 28×28 pixels, received {width}×{height}")
    return np.rint(levels).astype(np.uint8)
