"""Which ink decides: gradient × input and occlusion, exact and in NumPy, for networks of dense layers.

Both explain a weighted sum of the logits, such as that of the true class minus that of the predicted one. Images are
uint8 [n, 28, 28], weights float [n, 10]; a map is float32 [n, 28, 28], positive where the ink raises the sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mnist_mlp.models import numpy_forward
from mnist_mlp.models.portable import Array, Layer

KINDS = ("scale", "flatten", "dense")
WINDOW, STEP = 6, 2  # pixels: side of the square that is blanked, and how far it moves


def until_logits(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers from the image to the logits; none if there is a layer that cannot be explained here."""
    names = [layer.name for layer in layers]
    found = list(layers[: names.index("logits") + 1]) if "logits" in names else []
    return found if all(layer.kind in KINDS for layer in found) else []


def gradient_times_input(layers: Sequence[Layer], images: Array, weights: Array) -> Array:
    """Return the derivative of the weighted sum by each pixel, times the pixel.

    Without hidden layers, the map adds up to the sum less its biases.
    Source: A. Shrikumar et al., "Not just a black box", arXiv:1605.01713 (2016).
    """
    x = images.astype(np.float32)
    outputs = []
    for layer in layers:
        x = numpy_forward.apply(layer, x)
        outputs.append(x)
    gradient = weights.astype(np.float32)
    for layer, output in zip(reversed(layers), reversed(outputs), strict=True):
        if layer.kind == "dense":
            kernel, _ = layer.weights
            gradient = (gradient * slope(layer.activation, output)) @ kernel.T
        elif layer.kind == "flatten":
            gradient = gradient.reshape(-1, 28, 28)
        else:
            gradient = gradient * np.float32(layer.number)
    return gradient * images


def slope(activation: str, output: Array) -> Array | np.float32:
    """Return the derivative of an activation, from its output."""
    if activation == "relu":
        return (output > 0).astype(np.float32)
    if activation == "sigmoid":
        return output * (1 - output)
    return 1 - output**2 if activation == "tanh" else np.float32(1)


def occlusion(layers: Sequence[Layer], images: Array, weights: Array) -> Array:
    """Return by how much the weighted sum falls where a square is blanked: for each pixel the mean over its squares.

    Source: M. D. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
    """
    # A blanked square changes the first layer's sums by what its pixels add to them: 36 products instead of 784.
    start = next(index for index, layer in enumerate(layers) if layer.kind == "dense")
    first, others = layers[start], layers[start + 1 :]
    pixels = outputs_of(layers[:start], images).reshape(-1, 28, 28)
    kernel, bias = first.weights
    sums = pixels.reshape(len(images), -1) @ kernel + bias
    corners = [(top, left) for top in range(0, 29 - WINDOW, STEP) for left in range(0, 29 - WINDOW, STEP)]
    squares = [np.s_[:, top : top + WINDOW, left : left + WINDOW] for top, left in corners]
    parts = [pixels[square].reshape(len(images), -1) for square in squares]
    kernels = [kernel.reshape(28, 28, -1)[square[1:]].reshape(WINDOW**2, -1) for square in squares]
    blanked = sums - np.stack([part @ each for part, each in zip(parts, kernels, strict=True)])  # [squares, n, units]
    hidden = numpy_forward.activate(first.activation, blanked.reshape(-1, len(bias)))
    logits = outputs_of(others, hidden).reshape(len(squares), len(images), -1)
    found = weighted_sum(layers, images, weights) - (weights.astype(np.float32) * logits).sum(2)  # [squares, n]
    falls, covered = np.zeros(images.shape, np.float32), np.zeros((28, 28), np.float32)
    for square, fall in zip(squares, found, strict=True):
        falls[square] += fall[:, None, None]
        covered[square[1:]] += 1
    return falls / covered


def weighted_sum(layers: Sequence[Layer], images: Array, weights: Array) -> Array:
    """Return Σ weight · logit of each image, float32 [n]."""
    return (weights.astype(np.float32) * outputs_of(layers, images)).sum(1)


def outputs_of(layers: Sequence[Layer], inputs: Array) -> Array:
    """Return the outputs of the last layer, float32 [n, …]."""
    x = inputs.astype(np.float32)
    for layer in layers:
        x = numpy_forward.apply(layer, x)
    return x
