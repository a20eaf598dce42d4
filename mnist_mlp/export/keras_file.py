"""The .keras file of an export: the trained network with a uint8 input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def write(model: keras.Model, file: Path) -> None:
    """Write the model with the input `images`, uint8 [n, 28, 28], and the output `probabilities`, float32 [n, 10].

    Layers and precision stay the same. Equal models give equal bytes.
    """
    import keras

    from mnist_mlp.models.keras_file import save

    images = keras.Input((28, 28), name="images", dtype="uint8")
    first, *others = model.layers[1:]
    if type(first).__name__ != "Rescaling":  # Rescaling accepts integers; other layers expect floats
        first, others = keras.layers.Rescaling(1.0, name="pixels", dtype="float32"), [first, *others]
    x = first(images)
    for layer in others:
        x = layer(x)
    save(keras.Model(images, x, name=model.name), file)
