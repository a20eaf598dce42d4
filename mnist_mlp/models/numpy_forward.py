"""The forward pass in NumPy: the runtime of `weights.npz`, and in float64 the reference for rounding errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mnist_mlp.models.portable import Array, Layer

BATCH = 256  # images; keeps the windows of a convolution below 100 MB in float32
DENSE_BATCH = 4000  # images of a network without convolutions: few and large products, each of which starts threads


def probabilities(layers: Sequence[Layer], images: Array, dtype: str = "float32") -> Array:
    """Return the probabilities [n, 10] of uint8 images [n, 28, 28], computed in `dtype`."""
    outputs = np.empty((len(images), 10), dtype)
    for start in range(0, len(images), BATCH):
        x = images[start : start + BATCH].astype(dtype)
        for layer in layers:
            x = apply(layer, x)
        outputs[start : start + BATCH] = x
    return outputs


def outputs(layers: Sequence[Layer], images: Array) -> Array:
    """Return the outputs of the last layer, float32 [n, …], for uint8 images [n, 28, 28]."""
    size = BATCH if any(layer.kind == "conv" for layer in layers) else DENSE_BATCH
    found: Array | None = None
    for start in range(0, len(images), size):
        x = images[start : start + size].astype(np.float32)
        for layer in layers:
            x = apply(layer, x)
        if found is None:
            found = np.empty((len(images), *x.shape[1:]), np.float32)
        found[start : start + size] = x
    return np.empty(0, np.float32) if found is None else found


def apply(layer: Layer, x: Array) -> Array:
    """Apply one layer, in the precision of x."""
    if layer.kind == "scale":
        return x * x.dtype.type(layer.number)
    if layer.kind == "flatten":
        return x.reshape(len(x), -1)
    if layer.kind == "channel":
        return x[..., np.newaxis]
    if layer.kind == "pool":
        return pool(x, int(layer.number))
    if layer.kind == "softmax":
        shifted = np.exp(x - x.max(axis=-1, keepdims=True))  # exp of a large logit would overflow
        return shifted / shifted.sum(axis=-1, keepdims=True)
    kernel, bias = (array.astype(x.dtype) for array in layer.weights)
    return activate(layer.activation, (x @ kernel if layer.kind == "dense" else convolve(x, kernel)) + bias)


def activate(activation: str, z: Array) -> Array:
    if activation == "relu":
        return np.maximum(z, 0)
    if activation == "sigmoid":
        half = z.dtype.type(0.5)
        return half * np.tanh(half * z) + half  # 1 / (1 + exp(-z)) without overflow
    return np.tanh(z) if activation == "tanh" else z


def convolve(x: Array, kernel: Array) -> Array:
    """[n, H, W, in] with a kernel [h, w, in, out] → [n, H-h+1, W-w+1, out]."""
    height, width, _, out = kernel.shape
    view = np.lib.stride_tricks.sliding_window_view
    windows = view(x, (height, width), axis=(1, 2))  # type: ignore[call-overload]  # for NumPy 2.2; [n, H', W', in, h, w]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1) @ kernel.reshape(-1, out)


def pool(x: Array, size: int) -> Array:
    """[n, H, W, channels] → [n, H//size, W//size, channels]; incomplete windows are dropped."""
    n, height, width, channels = x.shape
    rows, columns = height // size, width // size
    windows = x[:, : rows * size, : columns * size].reshape(n, rows, size, columns, size, channels)
    return windows.max(axis=(2, 4))
