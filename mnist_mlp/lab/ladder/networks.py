"""The lecture as a ladder: each rung is a network that differs from an earlier one in one thing.

Everything a reader may want to change stands in the tables; `Network` says what they leave out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Network:
    """A network and how it is trained. The defaults are the lecture's, on pixels from 0 to 1."""

    hidden: tuple[int, ...] = (128, 64)  # neurons of each hidden layer
    activation: str = "relu"  # a name of Keras
    optimizer: str = "adam"  # a name in OPTIMIZERS
    rate: float = 0.001  # its step size; 0.001 is what Keras has for Adam
    start: str = "Glorot"  # a name in INITIALISERS, for the weights of all layers; biases start at 0
    dropout: float = 0.0  # share of the neurons of each hidden layer that a step leaves out
    l2: float = 0.0  # λ of the penalty λ·Σw² on the weights of the hidden layers
    convolutions: bool = False  # those of `models.cnn` instead of the hidden layers


@dataclasses.dataclass(frozen=True)
class Rung:
    """A row of the ladder."""

    name: str
    group: str
    against: str  # the rung whose network this one changes, by name; "" for the first
    network: Network


LECTURE = "the lecture's net"
GROUPS: dict[str, tuple[str, Mapping[str, Network]]] = {
    # group: (the one thing that changes, {rung: network})
    "layers": (
        "from no hidden layer to five, with the number of neurons in each",
        {
            "logistic regression": Network(hidden=()),
            "one hidden layer, 128": Network(hidden=(128,)),
            LECTURE: Network(),
            "wider, 512 512": Network(hidden=(512, 512)),
            "deeper, 128 128 64 64 32": Network(hidden=(128, 128, 64, 64, 32)),
        },
    ),
    "activations": (
        "what a hidden neuron computes; the lecture's: ReLU",
        {
            "linear: no activation": Network(activation="linear"),
            "sigmoid": Network(activation="sigmoid"),
            "tanh": Network(activation="tanh"),
            "ELU": Network(activation="elu"),
            "GELU": Network(activation="gelu"),
        },
    ),
    "optimizers": (
        "with the step size; the lecture's: Adam, 0.001",
        {
            "SGD 0.01, Keras' default": Network(optimizer="SGD", rate=0.01),
            "SGD 0.1": Network(optimizer="SGD", rate=0.1),
            "momentum 0.9, SGD 0.01": Network(optimizer="momentum", rate=0.01),
            "RMSprop 0.001": Network(optimizer="RMSprop", rate=0.001),
            # The rule is its authors' (M. Zeiler, 2012), who have no step size, that is 1.
            "AdaDelta 0.001, Keras' default": Network(optimizer="AdaDelta", rate=0.001),
            "AdaDelta 1, its authors'": Network(optimizer="AdaDelta", rate=1.0),
        },
    ),
    "initialisations": (
        "the weights before training; the lecture's: Glorot's, uniform",
        {
            "He": Network(start="He"),
            "normal, sd 1": Network(start="normal, sd 1"),
            "normal, sd 0.01": Network(start="normal, sd 0.01"),
            "all 0.05": Network(start="all 0.05"),
            "all 0": Network(start="all 0"),
        },
    ),
    "regularisers": (
        "what holds the weights back; the lecture's: nothing",
        {
            "dropout 0.2": Network(dropout=0.2),
            "L2, 0.0001": Network(l2=1e-4),
            "L2, 0.001": Network(l2=1e-3),
        },
    ),
    "cnn": ("the lecture's next step", {"two convolutions": Network(convolutions=True)}),
}

CLIMB = {  # these are held against the rung before them, all others against the lecture's net
    "logistic regression": "",
    "one hidden layer, 128": "logistic regression",
    LECTURE: "one hidden layer, 128",
}
RUNGS = tuple(
    Rung(name, group, CLIMB.get(name, LECTURE), network)
    for group, (_, networks) in GROUPS.items()
    for name, network in networks.items()
)

CURVES: dict[str, tuple[str, Mapping[int, Network]]] = {
    # curve: (what it is against, {count: network})
    "width": (
        "width, the neurons in one hidden layer",
        {width: Network(hidden=(width,)) for width in (8, 16, 32, 64, 128, 256, 512)},
    ),
    "depth": (
        "depth, in hidden layers of 128 neurons",
        {depth: Network(hidden=(128,) * depth) for depth in (0, 1, 2, 4, 8)},
    ),
}
PER_CLASS = (1, 3, 10, 30, 100, 1000)  # training images, as many as there are; and at last all
PARTS = (*GROUPS, *CURVES, "images", "approximation")

OPTIMIZERS: dict[str, tuple[str, Mapping[str, Any]]] = {  # name: (Keras' class, its settings)
    "adam": ("Adam", {}),
    "SGD": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "RMSprop": ("RMSprop", {}),
    "AdaDelta": ("Adadelta", {}),
}
INITIALISERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "Glorot": ("GlorotUniform", {}),  # variance 2/(inputs + outputs)
    "He": ("HeNormal", {}),  # variance 2/inputs
    "normal, sd 1": ("RandomNormal", {"stddev": 1.0}),
    "normal, sd 0.01": ("RandomNormal", {"stddev": 0.01}),
    "all 0.05": ("Constant", {"value": 0.05}),
    "all 0": ("Zeros", {}),
}


def chosen(only: tuple[str, ...]) -> list[Rung]:
    """The rungs of those parts (all of them if none is named), and what they are held against, in their order."""
    wanted = [rung for rung in RUNGS if not only or rung.group in only]
    names = {rung.name for rung in wanted} | {rung.against for rung in wanted}
    return [rung for rung in RUNGS if rung.name in names]


def per_class_counts(smallest: int) -> list[int]:
    """How many training images of each class the curve takes, where the smallest class has so many."""
    return [count for count in PER_CLASS if count <= smallest]


def make_model(network: Network) -> keras.Model:
    """images [n, 28, 28] → probabilities [n, 10]."""
    import keras

    from mnist_mlp.models import networks as models

    penalty = {"kernel_regularizer": keras.regularizers.L2(network.l2)} if network.l2 else {}
    dense = {"dropout": network.dropout, "activation": network.activation, **penalty}
    stack = models.cnn if network.convolutions else partial(models.dense_stack, units=network.hidden, **dense)
    model = models.network(stack, name="rung")
    set_start(model, network)
    return model


def set_start(model: keras.Model, network: Network) -> None:
    """Makes `models.initialise` draw the model's weights from the network's initialiser."""
    import keras

    kind, settings = INITIALISERS[network.start]
    for layer in model.layers:
        if hasattr(layer, "kernel_initializer"):
            layer.kernel_initializer = getattr(keras.initializers, kind)(**settings)


def make_optimizer(network: Network) -> keras.Optimizer:
    """The optimizer with the network's step size, the rest as Keras has it."""
    import keras

    kind, settings = OPTIMIZERS[network.optimizer]
    return getattr(keras.optimizers, kind)(network.rate, **settings)
