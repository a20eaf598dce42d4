"""The rungs of the ladder: each is a network that differs from an earlier one in one respect.

The tables hold everything that a reader may want to change; `Network` has the defaults.
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
    rate: float = 0.001  # learning rate; 0.001 is Keras' default for Adam
    start: str = "Glorot"  # a name in INITIALISERS, for the weights of all layers; biases start at 0
    dropout: float = 0.0  # fraction of the neurons of each hidden layer that a step drops
    l2: float = 0.0  # λ of the penalty λ·Σw² on the weights of the hidden layers
    convolutions: bool = False  # the layers of `models.networks.cnn` instead of the hidden layers


@dataclasses.dataclass(frozen=True)
class Rung:
    """A row of the ladder."""

    name: str
    group: str
    against: str  # name of the rung that this one changes; "" for the first
    network: Network


LECTURE = "the lecture's net"
GROUPS: dict[str, tuple[str, Mapping[str, Network]]] = {
    # group: (what changes, {rung: network})
    "layers": (
        "from no hidden layer to five, with the number of neurons of each",
        {
            "logistic regression": Network(hidden=()),
            "one hidden layer, 128": Network(hidden=(128,)),
            LECTURE: Network(),
            "wider, 512 512": Network(hidden=(512, 512)),
            "deeper, 128 128 64 64 32": Network(hidden=(128, 128, 64, 64, 32)),
        },
    ),
    "activations": (
        "the activation of the hidden neurons; the lecture's: ReLU",
        {
            "linear: no activation": Network(activation="linear"),
            "sigmoid": Network(activation="sigmoid"),
            "tanh": Network(activation="tanh"),
            "ELU": Network(activation="elu"),
            "GELU": Network(activation="gelu"),
        },
    ),
    "optimizers": (
        "the optimizer and its learning rate; the lecture's: Adam, 0.001",
        {
            "SGD 0.01, Keras' default": Network(optimizer="SGD", rate=0.01),
            "SGD 0.1": Network(optimizer="SGD", rate=0.1),
            "momentum 0.9, SGD 0.01": Network(optimizer="momentum", rate=0.01),
            "RMSprop 0.001": Network(optimizer="RMSprop", rate=0.001),
            # As published (M. Zeiler, 2012), AdaDelta has no learning rate, that is 1.
            "AdaDelta 0.001, Keras' default": Network(optimizer="AdaDelta", rate=0.001),
            "AdaDelta 1, its authors'": Network(optimizer="AdaDelta", rate=1.0),
        },
    ),
    "initialisations": (
        "the initial weights; the lecture's: Glorot, uniform",
        {
            "He": Network(start="He"),
            "normal, sd 1": Network(start="normal, sd 1"),
            "normal, sd 0.01": Network(start="normal, sd 0.01"),
            "all 0.05": Network(start="all 0.05"),
            "all 0": Network(start="all 0"),
        },
    ),
    "regularisers": (
        "regularization; the lecture's: none",
        {
            "dropout 0.2": Network(dropout=0.2),
            "L2, 0.0001": Network(l2=1e-4),
            "L2, 0.001": Network(l2=1e-3),
        },
    ),
    "cnn": ("the lecture's next step", {"two convolutions": Network(convolutions=True)}),
}

CLIMB = {  # compared with the rung before; all others are compared with the lecture's net
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
    # curve: (its x-axis, {count: network})
    "width": (
        "width, the neurons in the one hidden layer",
        {width: Network(hidden=(width,)) for width in (8, 16, 32, 64, 128, 256, 512)},
    ),
    "depth": (
        "depth, in hidden layers of 128 neurons",
        {depth: Network(hidden=(128,) * depth) for depth in (0, 1, 2, 4, 8)},
    ),
}
PER_CLASS = (1, 3, 10, 30, 100, 1000)  # training images of each class, as far as there are enough; at last all
PARTS = (*GROUPS, *CURVES, "images", "approximation")

OPTIMIZERS: dict[str, tuple[str, Mapping[str, Any]]] = {  # name: (Keras class, arguments)
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
    """Return the rungs of those parts (default: all) and the rungs that they are compared with, in order."""
    wanted = [rung for rung in RUNGS if not only or rung.group in only]
    names = {rung.name for rung in wanted} | {rung.against for rung in wanted}
    return [rung for rung in RUNGS if rung.name in names]


def per_class_counts(smallest: int) -> list[int]:
    """Return the numbers of training images per class; the smallest class has `smallest`."""
    return [count for count in PER_CLASS if count <= smallest]


def make_model(network: Network) -> keras.Model:
    """Build the model: images [n, 28, 28] → probabilities [n, 10]."""
    import keras

    from mnist_mlp.models import networks as models

    penalty = {"kernel_regularizer": keras.regularizers.L2(network.l2)} if network.l2 else {}
    dense = {"dropout": network.dropout, "activation": network.activation, **penalty}
    stack = models.cnn if network.convolutions else partial(models.dense_stack, units=network.hidden, **dense)
    model = models.network(stack, name="rung")
    set_start(model, network)
    return model


def set_start(model: keras.Model, network: Network) -> None:
    """Make `initialization.initialise` draw the model's weights from the network's initializer."""
    import keras

    kind, settings = INITIALISERS[network.start]
    for layer in model.layers:
        if hasattr(layer, "kernel_initializer"):
            layer.kernel_initializer = getattr(keras.initializers, kind)(**settings)


def make_optimizer(network: Network) -> keras.Optimizer:
    """Return the optimizer with the network's learning rate; everything else as Keras has it."""
    import keras

    kind, settings = OPTIMIZERS[network.optimizer]
    return getattr(keras.optimizers, kind)(network.rate, **settings)
