"""Images in a page: PNG files (of photographs JPEG) as data URIs, written with Pillow.

Matplotlib is not used, since importing it takes 0.7 s; SVG charts and PNG files of a few hundred bytes take
milliseconds. Zero is transparent, so the same image suits a light and a dark page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_mlp.report.html import Html, tag

LEVELS = 24  # shades of each colour
POSITIVE, NEGATIVE, EDGE = (58, 126, 204), (221, 112, 43), (128, 132, 138)  # visible on white and on black
GAP = 2  # pixels between two tiles
SMALL = 20  # pixels: minimal length of the shorter side of a tile

Array = NDArray[np.floating]


def data_uri(picture: Image.Image, **options: object) -> str:
    """Return a picture as a data URI."""
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def digit(image: NDArray[np.uint8], alt: str, class_: str = "digit") -> Html:
    """Return an image of the data set, uint8 [28, 28], in black on transparent; a dark page inverts it."""
    picture = Image.merge("LA", (Image.new("L", (28, 28), 0), Image.fromarray(image)))
    return tag("img", src=data_uri(picture), alt=alt, class_=class_, width=28, height=28)


def digits(images: NDArray[np.uint8], alt: str, class_: str) -> Html:
    """Return images of the data set, uint8 [n, 28, 28], in a row as one picture, like `digit`."""
    n = len(images)
    row = np.zeros((28, n * (28 + GAP) - GAP), np.uint8)
    for index, image in enumerate(images):
        left = index * (28 + GAP)
        row[:, left : left + 28] = image
    picture = Image.merge("LA", (Image.new("L", row.shape[::-1], 0), Image.fromarray(row)))
    return tag("img", src=data_uri(picture), alt=alt, class_=class_, width=row.shape[1], height=28)


def photo(picture: Image.Image, alt: str) -> Html:
    """Return a small picture as it is, which a dark page does not invert: as JPEG, a quarter as large as PNG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=70)
    source = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return tag("img", src=source, alt=alt, class_="photo", width=picture.width, height=picture.height)


def signed(values: Array, largest: float, *, edges: NDArray[np.bool_] | None = None) -> str:
    """Return float [height, width] as a picture: blue above 0, orange below, transparent at 0, saturated at `largest`.

    `edges` marks pixels to draw in grey.
    """
    scaled = np.nan_to_num(values / (largest or 1.0), posinf=1.0, neginf=-1.0).clip(-1, 1)
    index = np.rint(scaled * LEVELS).astype(np.int16) + LEVELS  # 0 … 2·LEVELS
    if edges is not None:
        index[edges] = 2 * LEVELS + 1
    height, width = values.shape
    indexed = Image.frombytes("P", (width, height), index.astype(np.uint8).tobytes())
    colours = [*[NEGATIVE] * LEVELS, (0, 0, 0), *[POSITIVE] * LEVELS, EDGE]
    indexed.putpalette([part for colour in colours for part in colour])
    opacity = [round(255 * abs(step) / LEVELS) for step in range(-LEVELS, LEVELS + 1)]
    return data_uri(indexed, transparency=bytes([*opacity, 90]), bits=8)


def tiles(pictures: Sequence[Array], largest: float) -> str:
    """Return pictures of one size in a row, as `signed`, each in a thin frame; small ones are enlarged."""
    factor = -(-SMALL // min(pictures[0].shape))
    pictures = [picture.repeat(factor, 0).repeat(factor, 1) for picture in pictures]
    height, width = pictures[0].shape
    gap = GAP * max(1, factor // 2)
    total_width = len(pictures) * (width + gap) + gap
    values = np.zeros((height + 2 * gap, total_width), np.float32)
    edges = np.zeros(values.shape, bool)
    for index, picture in enumerate(pictures):
        left = gap + index * (width + gap)
        values[gap : gap + height, left : left + width] = picture
        edges[gap - 1, left - 1 : left + width + 1] = edges[gap + height, left - 1 : left + width + 1] = True
        edges[gap - 1 : gap + height + 1, left - 1] = edges[gap - 1 : gap + height + 1, left + width] = True
    return signed(values, largest, edges=edges)


def scale(largest: float, both: bool = True) -> Html:
    """Return the colour scale of `signed`."""
    ends = [tag("span", f"−{largest:.3g}"), tag("span", "0")] if both else [tag("span", "0")]
    bar = tag("span", class_="ramp both" if both else "ramp", aria_hidden="true")
    return tag("p", "Scale: ", ends[0], bar, tag("span", f"+{largest:.3g}"), class_="scale")
