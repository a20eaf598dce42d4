"""A trained network as a list of plain layers, independent of Keras: the source of every export format.

The list has all that the forward pass needs, including the scaling of the pixels, and nothing that only training needs
(dropout, penalties). Its file is `weights.npz`, for which NumPy is enough (see numpy_forward.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.errors import UserError

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One step of the forward pass.

    kind      what it computes from x [n, …]
    scale     x · number
    flatten   [n, 28·28]
    dense     activation(x · kernel + bias); kernel [in, out]
    channel   [n, 28, 28, 1]
    conv      activation(x ∗ kernel + bias), stride 1, no padding; kernel [height, width, in, out]
    pool      maximum of each window of number × number, without overlap
    softmax   probabilities
    """

    kind: str
    name: str
    activation: str = "linear"
    number: float = 0.0  # factor of a scale, or width of a pool's windows
    kernel: Array | None = None  # float32
    bias: Array | None = None  # float32 [out]

    @property
    def weights(self) -> tuple[Array, Array]:
        """Kernel and bias; raises `ValueError` for a layer without them."""
        if self.kernel is None or self.bias is None:
            raise ValueError(f"{self.name}: expected a layer with weights, received a {self.kind} layer")
        return self.kernel, self.bias


def layers_of(model: keras.Model) -> list[Layer]:
    """Return the layers of one of our networks. Raise `UserError` for a layer of another kind."""
    layers = [layer_of(layer) for layer in model.layers[1:]]  # the first is the input
    return [layer for layer in layers if layer is not None]


def layer_of(layer: keras.Layer) -> Layer | None:
    """Return one layer of a Keras model, or None if it acts only in training."""
    import keras

    kind, name = type(layer).__name__, layer.name
    if kind == "Dropout":
        return None
    if kind == "Rescaling" and layer.offset == 0:
        return Layer("scale", name, number=float(layer.scale))
    if kind == "Reshape" and tuple(layer.target_shape) == (28, 28, 1):
        return Layer("channel", name)
    if kind == "MaxPooling2D" and layer.padding == "valid" and layer.pool_size == layer.strides == (2, 2):
        return Layer("pool", name, number=2)
    if kind in ("Flatten", "Softmax"):
        return Layer(kind.lower(), name)
    plain = kind == "Dense" or (
        kind == "Conv2D"
        and (layer.strides, layer.dilation_rate, layer.groups, layer.padding) == ((1, 1), (1, 1), 1, "valid")
    )
    if plain and layer.use_bias and layer.activation.__name__ in ACTIVATIONS:
        kernel, bias = (keras.ops.convert_to_numpy(variable).astype("float32") for variable in layer.weights)
        return Layer("dense" if kind == "Dense" else "conv", name, layer.activation.__name__, 0.0, kernel, bias)
    raise UserError(
        f"cannot export the {kind} layer {name!r}, which no model of this package has; use the --run_dir of a run that "
        "mnist_mlp.train wrote"
    )


def write(layers: Sequence[Layer], file: Path) -> None:
    """Write the network as an .npz file: `layers`, a line for each, and the arrays NAME.kernel and NAME.bias.

    A line is "kind name activation number". Equal networks give equal bytes.
    """
    lines = [f"{layer.kind} {layer.name} {layer.activation} {layer.number!r}" for layer in layers]
    arrays: dict[str, Any] = {"layers": np.array(lines)}
    for layer in layers:
        if layer.kernel is not None:
            arrays[f"{layer.name}.kernel"], arrays[f"{layer.name}.bias"] = layer.weights
    np.savez(file, **arrays)


def read(file: Path) -> list[Layer]:
    """Read what `write` wrote."""
    with np.load(file, allow_pickle=False) as arrays:
        layers = []
        for line in arrays["layers"]:
            kind, name, activation, number = str(line).split()
            weights = [arrays[f"{name}.{part}"] if kind in ("dense", "conv") else None for part in ("kernel", "bias")]
            layers.append(Layer(kind, name, activation, float(number), *weights))
    return layers
