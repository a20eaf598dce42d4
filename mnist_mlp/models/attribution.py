"""Which ink decides: gradient × input and occlusion, exact and in NumPy.

Both explain a weighted sum of the logits, such as that of the true class minus that of the predicted one. Images are
uint8 [n, 28, 28], weights float [n, 10]; a map is float32 [n, 28, 28], positive where the ink raises the sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mnist_mlp.models import numpy_forward
from mnist_mlp.models.portable import Array, Layer

Square = tuple[slice, slice, slice]  # of images [n, 28, 28]
WINDOW, STEP = 6, 2  # pixels: side of the square that is blanked, and how far it moves


def until_logits(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers from the image to the logits."""
    names = [layer.name for layer in layers]
    return list(layers[: names.index("logits") + 1])


def gradient_times_input(layers: Sequence[Layer], images: Array, weights: Array) -> Array:
    """Return the derivative of the weighted sum by each pixel, times the pixel.

    Without hidden layers, the map adds up to the sum less its biases.
    Source: A. Shrikumar et al., "Not just a black box", arXiv:1605.01713 (2016).
    """
    x = images.astype(np.float32)
    inputs, outputs = [], []
    for layer in layers:
        inputs.append(x)
        x = numpy_forward.apply(layer, x)
        outputs.append(x)
    gradient: Array = weights.astype(np.float32)
    for layer, x, output in zip(reversed(layers), reversed(inputs), reversed(outputs), strict=True):
        gradient = input_gradient(layer, x, output, gradient)
    return gradient * images


def input_gradient(layer: Layer, x: Array, output: Array, gradient: Array) -> Array:
    """Return the gradient by a layer's input x, from that by its output."""
    if layer.kind == "scale":
        return gradient * np.float32(layer.number)
    if layer.kind in ("flatten", "channel"):
        return gradient.reshape(x.shape)
    if layer.kind == "pool":
        return unpool(x, output, gradient, int(layer.number))
    kernel, _ = layer.weights
    gradient = gradient * slope(layer.activation, output)
    if layer.kind == "dense":
        return gradient @ kernel.T
    edges = [(0, 0), *((size - 1, size - 1) for size in kernel.shape[:2]), (0, 0)]
    return numpy_forward.convolve(np.pad(gradient, edges), kernel[::-1, ::-1].transpose(0, 1, 3, 2))


def unpool(x: Array, output: Array, gradient: Array, size: int) -> Array:
    """Return the gradient by the input of a pool of windows size × size: all goes to the (first) maximum."""
    found = np.zeros_like(x)
    height, width = (size * length for length in output.shape[1:3])  # rows and columns beyond have no window
    left = gradient
    for row in range(size):
        for column in range(size):
            at = np.s_[:, row:height:size, column:width:size]
            chosen = np.where(x[at] == output, left, 0)
            found[at] = chosen
            left = np.where(x[at] == output, 0, left)
    return found


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
    corners = [(top, left) for top in range(0, 29 - WINDOW, STEP) for left in range(0, 29 - WINDOW, STEP)]
    squares = [np.s_[:, top : top + WINDOW, left : left + WINDOW] for top, left in corners]
    first = next(index for index, layer in enumerate(layers) if layer.kernel is not None)
    if layers[first].kind == "dense":
        others = logits_of_blanked(layers[:first], layers[first], layers[first + 1 :], images, squares)
    else:
        others = logits_of_each(layers, images, squares)
    found = weighted_sum(layers, images, weights) - (weights.astype(np.float32) * others).sum(2)  # [squares, n]
    falls, covered = np.zeros(images.shape, np.float32), np.zeros((28, 28), np.float32)
    for square, fall in zip(squares, found, strict=True):
        falls[square] += fall[:, None, None]
        covered[square[1:]] += 1
    return falls / covered


def logits_of_each(layers: Sequence[Layer], images: Array, squares: Sequence[Square]) -> Array:
    """Return the logits of the images without each square, float32 [squares, n, 10]."""
    blanked = np.repeat(images[None], len(squares), 0)
    for each, square in zip(blanked, squares, strict=True):
        each[square] = 0
    return numpy_forward.outputs(layers, blanked.reshape(-1, 28, 28)).reshape(len(squares), len(images), -1)


def logits_of_blanked(
    before: Sequence[Layer], first: Layer, after: Sequence[Layer], images: Array, squares: Sequence[Square]
) -> Array:
    """Return the same logits if `first`, the first layer with weights, is dense; `before` and `after` are the others.

    A blanked square changes the weighted sums of `first` by what its pixels add to them: 36 products instead of 784.
    """
    pixels = outputs_of(before, images).reshape(-1, 28, 28)
    kernel, bias = first.weights
    sums = pixels.reshape(len(images), -1) @ kernel + bias
    parts = [pixels[square].reshape(len(images), -1) for square in squares]
    kernels = [kernel.reshape(28, 28, -1)[square[1:]].reshape(WINDOW**2, -1) for square in squares]
    blanked = sums - np.stack([part @ each for part, each in zip(parts, kernels, strict=True)])  # [squares, n, units]
    hidden = numpy_forward.activate(first.activation, blanked.reshape(-1, len(bias)))
    return outputs_of(after, hidden).reshape(len(squares), len(images), -1)


def weighted_sum(layers: Sequence[Layer], images: Array, weights: Array) -> Array:
    """Return Σ weight · logit of each image, float32 [n]."""
    return (weights.astype(np.float32) * outputs_of(layers, images)).sum(1)


def outputs_of(layers: Sequence[Layer], inputs: Array) -> Array:
    """Return the outputs of the last layer, float32 [n, …]."""
    x = inputs.astype(np.float32)
    for layer in layers:
        x = numpy_forward.apply(layer, x)
    return x
