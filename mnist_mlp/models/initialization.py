"""Initial weights: the same from a seed on every backend, drawn with NumPy."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import layers


def initialise(model: keras.Model, seed: int) -> None:
    """Draws all weights with NumPy from the layers' initialisers, so that they are the same on every backend.

    The n-th weight depends on `seed`, n, its shape and its initialiser alone. Dropout starts from `seed` as well.
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
def drawing_nothing(layer: keras.Layer) -> Iterator[None]:
    """Within it a layer builds its weights of zeros: `initialise` draws them afterwards.

    Keras would draw them on the device, for nothing: JAX compiles a program for each shape, which takes a second.
    """
    there = vars(layer)
    initializers = {name: there[name] for name in ("kernel_initializer", "bias_initializer") if name in there}
    for name in initializers:
        setattr(layer, name, lambda shape, dtype=None: np.zeros(shape, dtype))
    try:
        yield
    finally:
        for name, initializer in initializers.items():
            setattr(layer, name, initializer)


def draw(initializer: keras.Initializer, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """float32 array of that shape, from the distribution that a Keras initialiser stands for."""
    if isinstance(initializer, keras.initializers.Zeros):
        return np.zeros(shape, "float32")
    if isinstance(initializer, keras.initializers.Constant):
        return np.full(shape, initializer.value, "float32")
    if isinstance(initializer, keras.initializers.RandomNormal):
        return rng.normal(initializer.mean, initializer.stddev, shape).astype("float32")
    if not isinstance(initializer, keras.initializers.VarianceScaling):  # Glorot, He and LeCun are of this kind
        raise ValueError(
            f"Expected an initialiser of the kinds Zeros, Constant, RandomNormal or VarianceScaling. "
            f"Received {initializer}."
        )
    receptive = math.prod(shape[:-2])  # 1 for a Dense kernel
    fan_in, fan_out = receptive * shape[-2], receptive * shape[-1]
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[initializer.mode]
    variance = initializer.scale / max(1.0, fan)
    if initializer.distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return rng.uniform(-limit, limit, shape).astype("float32")
    values = rng.normal(0.0, 1.0, shape)
    if initializer.distribution == "truncated_normal":  # at two deviations, then scaled back to the variance
        while (outside := np.abs(values) > 2).any():
            values[outside] = rng.normal(0.0, 1.0, outside.sum())
        values /= 0.87962566103423978
    return (math.sqrt(variance) * values).astype("float32")
