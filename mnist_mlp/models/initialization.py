"""Initial weights, drawn with NumPy: one seed gives the same weights on every backend."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import layers


def initialize(model: keras.Model, seed: int) -> None:
    """Draw all weights from the distributions of the layers' initializers.

    The n-th weight depends only on `seed`, n, its shape and its initializer. `seed` also seeds dropout.
    """
    index = 0
    for layer in model.layers:
        for variable in layer.trainable_variables:
            rng = np.random.default_rng([seed, index])
            variable.assign(draw(getattr(layer, f"{variable.name}_initializer"), variable.shape, rng))
            index += 1
        if isinstance(layer, layers.Dropout):
            layer.seed_generator.state.assign(np.array([seed, index], "uint32"))


@contextlib.contextmanager
def zero_weights(layer: keras.Layer) -> Iterator[None]:
    """Build the layer's weights as zeros within this context. `initialize` draws them later.

    Keras would draw them on the device in vain: JAX compiles a program for each shape, which takes a second.
    """
    attributes = vars(layer)
    initializers = {name: attributes[name] for name in ("kernel_initializer", "bias_initializer") if name in attributes}
    for name in initializers:
        setattr(layer, name, lambda shape, dtype=None: np.zeros(shape, dtype))
    try:
        yield
    finally:
        for name, initializer in initializers.items():
            setattr(layer, name, initializer)


def draw(initializer: keras.Initializer, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return an array of float32 from the distribution of a Keras initializer."""
    if isinstance(initializer, keras.initializers.Zeros):
        return np.zeros(shape, "float32")
    if isinstance(initializer, keras.initializers.Constant):
        return np.full(shape, initializer.value, "float32")
    if isinstance(initializer, keras.initializers.RandomNormal):
        return rng.normal(initializer.mean, initializer.stddev, shape).astype("float32")
    if not isinstance(initializer, keras.initializers.VarianceScaling):  # Glorot, He and LeCun are of this kind
        raise ValueError(
            f"Expected an initializer of type Zeros, Constant, RandomNormal or VarianceScaling. Received {initializer}."
        )
    receptive = math.prod(shape[:-2])  # 1 for a Dense kernel
    fan_in, fan_out = receptive * shape[-2], receptive * shape[-1]
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[initializer.mode]
    variance = initializer.scale / max(1.0, fan)
    if initializer.distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return rng.uniform(-limit, limit, shape).astype("float32")
    values = rng.normal(0.0, 1.0, shape)
    if initializer.distribution == "truncated_normal":  # at two standard deviations, then rescaled to the variance
        while (outside := np.abs(values) > 2).any():
            values[outside] = rng.normal(0.0, 1.0, outside.sum())
        values /= 0.87962566103423978
    return (math.sqrt(variance) * values).astype("float32")
