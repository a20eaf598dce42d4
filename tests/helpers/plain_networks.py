"""Networks with random weights as plain layers, without Keras."""

import dataclasses

import numpy as np

from mnist_mlp.models.portable import Layer

GENERATOR = np.random.default_rng(0)


def dense(name, before, units, activation="linear"):
    kernel = GENERATOR.normal(0, before**-0.5, (before, units)).astype(np.float32)
    return Layer("dense", name, activation, 0.0, kernel, GENERATOR.normal(0, 0.1, units).astype(np.float32))


def network(activation):
    hidden = (
        [] if activation is None else [dense("hidden_1", 784, 20, activation), dense("hidden_2", 20, 12, activation)]
    )
    layers = [Layer("scale", "rescaling", number=1 / 255), Layer("flatten", "flatten"), *hidden]
    return [*layers, dense("logits", 12 if hidden else 784, 10)]


def conv(name, before, after):
    kernel = GENERATOR.normal(0, (9 * before) ** -0.5, (3, 3, before, after)).astype(np.float32)
    return Layer("conv", name, "relu", 0.0, kernel, GENERATOR.normal(0, 0.1, after).astype(np.float32))


def convolutions():
    """As `cnn`, with fewer filters: the second pool leaves out the last row and column."""
    layers = [Layer("scale", "rescaling", number=1 / 255), Layer("channel", "channel"), conv("conv_1", 1, 6)]
    pool = Layer("pool", "pool_1", number=2)
    layers += [pool, conv("conv_2", 6, 5), dataclasses.replace(pool, name="pool_2"), Layer("flatten", "flatten")]
    return [*layers, dense("logits", 125, 10)]


NETWORKS = {name: lambda name=name: network(name) for name in ("relu", "sigmoid", "tanh")} | {
    "none": lambda: network(None),
    "convolutions": convolutions,
}
