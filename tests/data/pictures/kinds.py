"""Pictures of digits, of rows of them, and of what is no digit, by kind; the same for the same kind and index.

    digits = kinds.Digits(split.images, split.labels)     # images whose class a person sees at once
    picture = kinds.make("sheet_40", 7, digits)           # picture.data: a PNG or JPEG file; picture.answer: (7,)

`BUILDING` and `KEPT_APART` name the kinds of one digit, `ROWS_…` those of several digits, for `--segment`, `NOTHING_…`
those of no digit, which are to be refused. A reader is built with the first of each pair; the second, other situations,
is for the trial at the end, and no limit of the reader is to be chosen by it.

    python tests/data/pictures/kinds.py OUT.png [--apart] [--rows | --nothing] [--embedded] [--from INDEX]

draws ten pictures of each kind with their answers, so that a person can look at them. MNIST comes from MNIST_DATA_DIR.
"""

import argparse
import importlib.util
import io
import os
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from drawing import others, rows, single  # noqa: F401  # they enter their kinds
from drawing.canvas import font
from drawing.hands import Digits, Writer
from drawing.registry import DIGIT, KINDS, NOTHING, ROW
from PIL import Image, ImageDraw

__all__ = ["Digits", "Picture", "available", "make"]


def names(answer: str, apart: bool) -> tuple[str, ...]:
    return tuple(name for name, kind in KINDS.items() if kind.answer == answer and kind.apart == apart)


BUILDING, KEPT_APART = names(DIGIT, False), names(DIGIT, True)
ROWS_BUILDING, ROWS_KEPT_APART = names(ROW, False), names(ROW, True)
NOTHING_BUILDING, NOTHING_KEPT_APART = names(NOTHING, False), names(NOTHING, True)


@dataclass(frozen=True)
class Picture:
    """A picture file and what it shows."""

    kind: str
    index: int
    data: bytes  # a file, PNG or JPEG
    suffix: str  # png or jpg
    answer: tuple[int, ...]  # the labels in reading order: one, several, or none
    corners: list[np.ndarray] = field(repr=False)  # of each digit: float64 [4, 2] of (x, y), clockwise
    marks: list[np.ndarray] = field(repr=False)  # the ink of each as it was drawn, float32 [height, width] from 0 to 1

    @property
    def name(self) -> str:
        """A file's name, with the answer at its end, as in `sheet_40-0007-7.png`."""
        return f"{self.kind}-{self.index:04d}-{''.join(map(str, self.answer)) or 'none'}.{self.suffix}"

    @property
    def boxes(self) -> list[tuple[float, float, float, float]]:
        """Of each digit: left, top, right, bottom."""
        return [(*points.min(0).tolist(), *points.max(0).tolist()) for points in self.corners]

    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.data))


def available(name: str) -> bool:
    """Return whether the packages are installed from which a kind takes fonts or photographs."""
    return all(importlib.util.find_spec(package) for package in KINDS[name].needs)


def make(name: str, index: int, digits: Digits) -> Picture:
    """Return picture number `index` of a kind.

    The labels of ten successive indices of a kind of one digit are 0 to 9. Raise `KeyError` for an unknown kind.
    """
    kind = KINDS[name]
    rng = np.random.Generator(np.random.PCG64([zlib.crc32(name.encode()), index]))
    write = Writer(digits, rng)
    if kind.answer == DIGIT:
        answer = (index % 10,)
        canvas = kind.draw(write, index % 10, rng)
    elif kind.answer == ROW:
        answer = tuple(int(label) for label in rng.integers(0, 10, 5 + index % 6))
        canvas = kind.draw(write, list(answer), rng)
    else:
        answer, canvas = (), kind.draw(write, rng)
    corners = [points for _, _, points in canvas.digits] if answer else []
    marks = [mark for _, mark, _ in canvas.digits] if answer else []
    return Picture(name, index, canvas.encoded(), canvas.encoding[0], answer, corners, marks)


# ------------------------------------------------------------------------------------------------- for a person to see

THUMB = 128


def contact_sheet(kinds: tuple[str, ...], digits: Digits, first: int = 0, boxes: bool = False) -> Image.Image:
    """Return ten pictures of each kind, one row per kind, with their answers below."""
    shown = [name for name in kinds if available(name)]
    sheet = Image.new("RGB", (10 * (THUMB + 8) + 8, len(shown) * (THUMB + 34)), (120, 150, 190))
    draw, face = ImageDraw.Draw(sheet), font(13)
    for row, name in enumerate(shown):
        began = time.process_time()
        pictures = [make(name, first + i, digits) for i in range(10)]
        each = (time.process_time() - began) * 100
        y = row * (THUMB + 34)
        draw.text((8, y + 1), f"{name}   ({each:.0f} ms)   {KINDS[name].draw.__doc__}", fill=(0, 0, 0), font=face)
        for i, picture in enumerate(pictures):
            image, x = picture.image().convert("RGB"), 8 + i * (THUMB + 8)
            if boxes:
                for box in picture.boxes:
                    ImageDraw.Draw(image).rectangle(box, outline=(255, 0, 0))
            image.thumbnail((THUMB, THUMB))
            sheet.paste(image, (x, y + 17))
            draw.text((x, y + THUMB + 17), "".join(map(str, picture.answer)) or "-", fill=(0, 0, 90), font=face)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the PNG file to write")
    parser.add_argument("--apart", action="store_true", help="the kinds kept apart instead of those for building")
    parser.add_argument("--rows", action="store_true", help="rows of digits")
    parser.add_argument("--nothing", action="store_true", help="what is no digit")
    parser.add_argument("--embedded", action="store_true", help="the embedded digits instead of MNIST")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first index (default 0)")
    parser.add_argument("--boxes", action="store_true", help="mark where the digits lie")
    parser.add_argument("--only", nargs="+", help="these kinds alone")
    given = parser.parse_args()

    from mnist_mlp.config import Config
    from mnist_mlp.data import load

    data = Config(dataset="digits")
    if not given.embedded:
        data = Config(dataset="mnist", data_dir=os.environ.get("MNIST_DATA_DIR"))
    train = load(data).train
    digits = Digits(train.images[:10_000], train.labels[:10_000])
    answer = ROW if given.rows else NOTHING if given.nothing else DIGIT
    contact_sheet(given.only or names(answer, given.apart), digits, given.first, given.boxes).save(given.out)


if __name__ == "__main__":
    main()
