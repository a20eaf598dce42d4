"""Read images at other positions: what moves, turns and bends them."""

from __future__ import annotations

import numpy as np

from mnist_mlp.data.corruptions.draws import Floats

SIDE = 28
CENTRE = (SIDE - 1) / 2
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)  # positions of the pixels


def sample(images: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return the images, float64 [n, 28, 28], read at these positions bilinearly; outside is background.

    `rows` and `columns` are [n, 28, 28], or can be broadcast to it.
    """
    framed = np.pad(images, [(0, 0), (1, 2), (1, 2)])
    width = SIDE + 3
    y = np.clip(np.broadcast_to(rows, images.shape) + 1, 0, SIDE + 1)
    x = np.clip(np.broadcast_to(columns, images.shape) + 1, 0, SIDE + 1)
    top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
    y, x = y - top, x - left
    corner = (np.arange(len(images)) * width**2)[:, None, None] + top * width + left
    pixels = framed.reshape(-1)
    upper = pixels[corner] * (1 - x) + pixels[corner + 1] * x
    lower = pixels[corner + width] * (1 - x) + pixels[corner + width + 1] * x
    return upper * (1 - y) + lower * y


def transformed(images: Floats, matrix: list[list[Floats | float]]) -> Floats:
    """Return the images read at `matrix` · (row, column) about their centre; each entry is a number or float64 [n]."""
    (a, b), (c, d) = ([np.reshape(entry, (-1, 1, 1)) if np.ndim(entry) else entry for entry in row] for row in matrix)
    rows, columns = ROWS - CENTRE, COLUMNS - CENTRE
    return sample(images, CENTRE + a * rows + b * columns, CENTRE + c * rows + d * columns)
