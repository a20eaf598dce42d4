"""Draw what `--augment` does: a digit of each class, as it is and as training sees it in some steps."""

from __future__ import annotations

import io

import keras
import numpy as np
from PIL import Image

from mnist_mlp.data import Split
from mnist_mlp.engine.augmentation import distort

STEPS = 11  # columns beside the digit itself
ZOOM, GAP, MARGIN = 2, 4, 8  # a pixel's size; pixels between two digits; between the first column and the others


class Distortion(keras.layers.Layer):
    """The distortion of images as a layer, which Keras compiles on any backend."""

    def __init__(self, kind: str, seed: int):
        super().__init__(dtype="float32")
        self.kind, self.seed = kind, seed

    def call(self, images, step, index):
        return distort(images, self.kind, self.seed, step, index)


def render(split: Split, kind: str, seed: int) -> bytes:
    """Return the picture as a PNG, with the first example of each class in `split`, the training data."""
    first = np.array([np.argmax(split.labels == label) for label in np.unique(split.labels)], np.int32)
    index = np.repeat(first, STEPS)
    step = np.tile(np.arange(STEPS, dtype=np.int32), len(first))
    inputs = [keras.Input((28, 28)), keras.Input((), dtype="int32"), keras.Input((), dtype="int32")]
    model = keras.Model(inputs, Distortion(kind, seed)(*inputs))
    images = split.images[index].astype("float32")
    seen = model.predict([images, step, index], batch_size=len(index), verbose=0).reshape(len(first), STEPS, 28, 28)
    return png(np.concatenate([split.images[first][:, None], seen.round().clip(0, 255).astype(np.uint8)], axis=1))


def png(digits: np.ndarray) -> bytes:
    """Return digits, uint8 [rows, columns, 28, 28], as a picture: dark on white, the first column set apart."""
    rows, columns = digits.shape[:2]
    cell = 28 * ZOOM + GAP
    picture = Image.new("L", (columns * cell + MARGIN + GAP, rows * cell + GAP), 255)
    for row, column in np.ndindex(rows, columns):
        one = Image.fromarray(255 - digits[row, column]).resize((28 * ZOOM,) * 2, Image.Resampling.NEAREST)
        picture.paste(one, (GAP + column * cell + (MARGIN if column else 0), GAP + row * cell))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
