"""Judge how likely a framed image is one digit at all, independently of any trained run.

A classifier of ten digits must name one: it answers a letter, a scribble or the outline of a sheet with probability
0.99. This small convolutional network was trained for the other question, on MNIST's training digits and on drawings
that are no digits. scripts/make_digit_likeness.py writes `digit_likeness.npz` and prints how well it judges.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("digit_likeness.npz")
FRAME = 28
BATCH = 256  # images; keeps the windows of a convolution below 30 MB

# Where the judge is measured, chosen by `propose` in scripts/make_digit_likeness.py on training digits that it was not
# trained on. What is refused is decided in reading.py, by all that a reading costs.
REFUSE_BELOW = 0.021  # of MNIST's digits about one in a thousand is below
SURELY_A_DIGIT = 0.9

Weights = dict[str, NDArray[np.float32]]


def likeness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the estimated probability that each image is one digit, float32 [n], 0–1.

    `images` are uint8 [n, 28, 28], 0–255, light on dark, in MNIST's frame (`normalize.in_frame`). The probabilities are
    calibrated for digits and other things in equal shares. Raise ValueError for another shape or type.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        received = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise ValueError(f"expected images as an array of uint8, received {received}")
    if images.ndim != 3 or images.shape[1:] != (FRAME, FRAME):
        raise ValueError(f"expected images of shape (n, {FRAME}, {FRAME}), received {images.shape}")
    return judge(images)[0]


def judge(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the likeness of each image, as `likeness` does, and the digit that it is most like, both [n]."""
    weights = shipped()
    scores = [logits(weights, images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    found = np.concatenate(scores) if scores else np.empty((0, 11), np.float32)
    return probabilities(weights, found), found[:, :10].argmax(axis=1)


@functools.cache
def shipped() -> Weights:
    """Return the weights in `digit_likeness.npz`, float32, read once. Raise OSError or ValueError if it is damaged."""
    with np.load(FILE, allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def probabilities(weights: Weights, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the calibrated probabilities [n], given the logits [n, 11]."""
    scale, offset = weights["calibration"]
    odds = np.clip(scale * evidence(scores) + offset, -50, 50)  # exp of a large one would overflow
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)


def evidence(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log odds of "a digit" [n], given the logits [n, 11] of ten digits and of "none" (softmax, summed)."""
    highest = scores[:, :10].max(axis=1)
    return highest + np.log(np.exp(scores[:, :10] - highest[:, None]).sum(axis=1)) - scores[:, 10]


def logits(weights: Weights, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the network's outputs [n, 11] for images [n, 28, 28]: three convolutions, a dense layer, the output."""
    x = images[..., None].astype(np.float32) / np.float32(255)
    for name in ("conv1", "conv2", "conv3"):
        x = np.maximum(convolve(x, weights[f"{name}_kernel"]) + weights[f"{name}_bias"], 0)
    x = np.maximum(x.reshape(len(x), -1) @ weights["dense_kernel"] + weights["dense_bias"], 0)
    return np.asarray(x @ weights["output_kernel"] + weights["output_bias"], np.float32)


def convolve(x: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, H, W, in] with a kernel [k, k, in, out], k odd → [n, ⌈H/2⌉, ⌈W/2⌉, out]: stride 2, padded with (k-1)/2."""
    size, out = kernel.shape[0], kernel.shape[-1]
    border = size // 2
    n, height, width, channels = x.shape
    rows, columns = -(-height // 2), -(-width // 2)
    padded = np.zeros((n, height + 2 * border, width + 2 * border, channels), np.float32)
    padded[:, border : border + height, border : border + width] = x
    windows = np.empty((n, rows, columns, size, size, channels), np.float32)
    for i, j in np.ndindex(size, size):  # a third quicker than to copy from numpy's sliding_window_view
        windows[:, :, :, i, j] = padded[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
    return (windows.reshape(n * rows * columns, -1) @ kernel.reshape(-1, out)).reshape(n, rows, columns, out)
