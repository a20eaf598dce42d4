"""The network in NumPy and float64, written from the formulas: what engines are compared with, here and in the tests.

Weights are [kernel, bias, kernel, bias, …]; images are float64 [n, inputs], as the first Dense layer receives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Moments = tuple[np.ndarray, np.ndarray]  # Adam's first and second

ACTIVATIONS: dict[str, Callable] = {
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 0.5 + 0.5 * np.tanh(z / 2),  # 1/(1 + e⁻ᶻ) without overflow
    "tanh": np.tanh,
}
SLOPES: dict[str, Callable] = {  # of z and the activation a of z
    "relu": lambda z, a: z > 0,
    "sigmoid": lambda z, a: a * (1 - a),
    "tanh": lambda z, a: 1 - a**2,
}
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # Keras' Adam


@dataclass(frozen=True)
class Pass:
    """A forward and backward pass of a batch with all intermediate results; lists start at the first layer."""

    inputs: list[np.ndarray]  # of each layer, [n, inputs]
    sums: list[np.ndarray]  # of each layer before its activation, [n, units]; the last are the logits
    probabilities: np.ndarray  # [n, 10]
    losses: np.ndarray  # [n], cross-entropy in nats
    deltas: list[np.ndarray]  # derivatives of the mean loss with respect to `sums`
    gradients: list[np.ndarray]  # of the mean loss plus l2·Σw² of the hidden kernels, with respect to the weights


def batch_pass(
    weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray, activation: str = "relu", l2: float = 0.0
) -> Pass:
    """Return the loss of a batch and its gradients."""
    inputs, sums = forward(weights, images, activation)
    shifted = sums[-1] - sums[-1].max(1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(1))
    rows = np.arange(len(labels))
    probabilities = np.exp(shifted - log_sums[:, None])
    delta = (probabilities - np.eye(10)[labels]) / len(labels)
    deltas: list[np.ndarray] = [delta]
    gradients: list[np.ndarray] = []
    for depth in reversed(range(len(sums))):
        penalty = 2 * l2 * weights[2 * depth] if depth < len(sums) - 1 else 0
        gradients = [inputs[depth].T @ delta + penalty, delta.sum(0), *gradients]
        if depth:
            delta = (delta @ weights[2 * depth].T) * SLOPES[activation](sums[depth - 1], inputs[depth])
            deltas.insert(0, delta)
    return Pass(inputs, sums, probabilities, log_sums - shifted[rows, labels], deltas, gradients)


def forward(
    weights: Sequence[np.ndarray], images: np.ndarray, activation: str = "relu"
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the inputs of each layer, and its output before the activation."""
    inputs, sums = [images], []
    for kernel, bias in zip(weights[0::2], weights[1::2], strict=True):
        sums.append(inputs[-1] @ kernel + bias)
        inputs.append(ACTIVATIONS[activation](sums[-1]))
    return inputs[:-1], sums


def adam(
    weight: np.ndarray, moments: Moments, gradient: np.ndarray, step: int, learning_rate: float
) -> tuple[np.ndarray, Moments]:
    """Return the weight and its two moments after Adam's update number `step`, counted from 1.

    Kingma and Ba, 2015; ε is placed as at the end of their section 2 and in Keras.
    """
    first = moments[0] + (1 - BETA_1) * (gradient - moments[0])
    second = moments[1] + (1 - BETA_2) * (gradient**2 - moments[1])
    rate = learning_rate * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    return weight - rate * first / (np.sqrt(second) + EPSILON), (first, second)
