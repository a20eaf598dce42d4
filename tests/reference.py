"""A float64 network in NumPy, written from the formulas: the oracle for loss, gradients and confusion."""

import numpy as np


def one_step(weights, images, labels, l2=0.0):
    """Mean cross-entropy (plus l2·Σw² of the hidden kernels) of a ReLU network, and its gradients.

    `weights`: [kernel, bias, kernel, bias, …], float64. `images`: [n, 784]. Returns (cross-entropy, gradients).
    """
    kernels, biases = weights[0::2], weights[1::2]
    inputs, x = [], images.astype(np.float64)
    for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
        inputs.append(x)
        x = np.maximum(x @ kernel + bias, 0)
    inputs.append(x)
    probabilities, loss = softmax_loss(x @ kernels[-1] + biases[-1], labels)
    delta = probabilities
    delta[np.arange(len(labels)), labels] -= 1
    delta /= len(labels)
    gradients = []
    for depth in reversed(range(len(kernels))):
        penalty = 2 * l2 * kernels[depth] if depth < len(kernels) - 1 else 0
        gradients = [inputs[depth].T @ delta + penalty, delta.sum(0), *gradients]
        delta = (delta @ kernels[depth].T) * (inputs[depth] > 0)
    return loss, gradients


def softmax_loss(logits, labels):
    """Softmax, and the mean cross-entropy."""
    shifted = logits - logits.max(1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(1, keepdims=True)
    return exponentials / sums, float((np.log(sums[:, 0]) - shifted[np.arange(len(labels)), labels]).mean())
