"""The embedded data set: 1,797 handwritten digits in MNIST's frame, for machines without MNIST.

Data: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
CC BY 4.0, in the copy that scikit-learn ships: 8×8 pixels, grey levels 0–16. scripts/make_digits.py writes `digits.npy`
(uint8 [1797, 65]: the label, then 64 pixels; the first 1,437 rows are for training). The file holds the 8×8 originals,
117 kB; as 28×28 images they would take 360 kB even when packed with xz. Our change to the data is their enlargement.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("digits.npy")
TRAIN = 1437  # rows of the file that are for training; the other 360 are for testing


def load() -> dict[str, NDArray[np.uint8]]:
    """Return the arrays under the names in Keras' mnist.npz. Raise OSError or ValueError for a damaged file."""
    table = np.load(FILE, allow_pickle=False)
    labels, images = table[:, 0], enlarge(table[:, 1:].reshape(-1, 8, 8))
    return {
        **{"x_train": images[:TRAIN], "y_train": labels[:TRAIN]},
        **{"x_test": images[TRAIN:], "y_test": labels[TRAIN:]},
    }


def enlarge(digits: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring digits of 8×8 pixels, 0–16, into MNIST's frame: return uint8 [n, 28, 28], 0–255.

    Like MNIST: each digit, whose ink fills all 8 rows, is scaled to 20×20 pixels with proportions and grey levels kept,
    and placed so that its centre of mass is at pixel (14, 14), to the nearest whole pixel. All arithmetic is integer:
    the result is the same on every machine.
    """
    # Linear interpolation: the centre of output pixel i is at (2i+1)·8/40, that of input pixel j at (2j+1)/2, and the
    # weight falls from 1 to 0 over the distance of one input pixel. Times 40, all of these are integers.
    i, j = np.arange(20)[:, None], np.arange(8)
    weights = np.maximum(0, 40 - abs((2 * i + 1) * 8 - (2 * j + 1) * 20))  # [20, 8], a row sums to 40
    full = 16 * 40 * 40
    boxes = (weights @ digits.astype(np.int64) @ weights.T * 255 + full // 2) // full  # [n, 20, 20], 0–255

    ink = boxes.sum(axis=(1, 2))
    top = (29 * ink - 2 * (boxes.sum(axis=2) @ np.arange(20))) // (2 * ink)  # floor(14 - centre + 1/2)
    left = (29 * ink - 2 * (boxes.sum(axis=1) @ np.arange(20))) // (2 * ink)
    rows = np.clip(top, 0, 8)[:, None] + np.arange(20)  # [n, 20]
    columns = np.clip(left, 0, 8)[:, None] + np.arange(20)
    images = np.zeros((len(digits), 28, 28), np.uint8)
    images[np.arange(len(digits))[:, None, None], rows[:, :, None], columns[:, None, :]] = boxes
    return images
