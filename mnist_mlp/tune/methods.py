"""The methods that a search can compare, with their hyper-parameters.

The networks are those of `train`, with its options; the others are scikit-learn's. This module imports no library, so
that a mistyped flag is reported at once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mnist_mlp.config import MODELS, UNITS, Config
from mnist_mlp.options import check, option


class Checked:
    """Options that are checked against their declarations when they are created."""

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True)
class LogisticRegression(Checked):
    """Softmax of wᵀx + b for each class; a convex loss with the penalty ‖w‖²/2C. It underfits."""

    C: float = option(1.0, "inverse strength of the penalty on the weights", low=1e-9, high=1e9)
    max_iter: int = option(100, "maximum number of L-BFGS steps", low=1, high=100_000)


@dataclasses.dataclass(frozen=True)
class Tree(Checked):
    """Splits on one pixel at a time, grown greedily. It overfits as it grows deep."""

    max_depth: int | None = option(None, "maximum depth", kind=int, low=1, high=10_000)
    min_samples_leaf: int = option(1, "minimum number of training images in a leaf", low=1, high=1_000_000)
    criterion: str = option("gini", "impurity that a split reduces", choices=("gini", "entropy"))


@dataclasses.dataclass(frozen=True)
class RandomForest(Checked):
    """The mean of many deep trees, each on a sample of images and pixels, so that their overfitting averages out."""

    n_estimators: int = option(100, "trees", low=1, high=100_000)
    max_features: float = option(0.036, "fraction of the pixels considered in each split", low=1e-9, high=1.0)
    max_depth: int | None = option(None, "maximum depth of a tree", kind=int, low=1, high=10_000)
    min_samples_leaf: int = option(1, "minimum number of training images in a leaf", low=1, high=1_000_000)


@dataclasses.dataclass(frozen=True)
class GradientBoosting(Checked):
    """A sum of small trees, each fitted to the gradient of the loss of those before it. Too many of them overfit."""

    learning_rate: float = option(0.1, "factor by which each tree is shrunk", low=1e-9, high=10.0)
    max_iter: int = option(30, "rounds; each adds one tree per class", low=1, high=100_000)
    max_leaf_nodes: int = option(15, "maximum number of leaves of a tree", low=2, high=10_000)
    min_samples_leaf: int = option(20, "minimum number of training images in a leaf", low=1, high=1_000_000)
    max_features: float = option(1.0, "fraction of the pixels considered in each split", low=1e-9, high=1.0)
    l2_regularization: float = option(0.0, "L2 penalty on the values of the leaves", low=0.0, high=1e9)
    max_bins: int = option(16, "number of grey levels that are distinguished", low=2, high=255)


@dataclasses.dataclass(frozen=True)
class Method:
    """A method with its searchable parameters and default space."""

    name: str
    declared: type[Any]  # the dataclass that declares the parameters
    parameters: tuple[str, ...]
    default: tuple[str, ...]  # the default space, in the notation of --space
    network: bool = False


def sklearn_method(name: str, declared: type[Any], *default: str) -> Method:
    return Method(name, declared, tuple(field.name for field in dataclasses.fields(declared)), default)


SEARCHED = ("learning_rate", "batch_size", "epochs", "optimizer", "pixels", "precision")  # of a network
DENSE = (*SEARCHED, "units")  # of a network with dense hidden layers
NETWORK = ("learning_rate=0.0003..0.01:log:4", "batch_size=16,32,64,128", "epochs=5..25:3")

METHODS: dict[str, Method] = {
    **{name: Method(name, Config, DENSE if name in UNITS else SEARCHED, NETWORK, network=True) for name in MODELS},
    "logistic_regression": sklearn_method(
        "logistic_regression", LogisticRegression, "C=0.001..10:log:5", "max_iter=25,50,100,200"
    ),
    "tree": sklearn_method("tree", Tree, "max_depth=4..30:4", "min_samples_leaf=1..20:log:3", "criterion=gini,entropy"),
    "random_forest": sklearn_method(
        "random_forest",
        RandomForest,
        *("n_estimators=50,100,200", "max_features=0.01..0.2:log:4", "min_samples_leaf=1..5:2"),
    ),
    "gradient_boosting": sklearn_method(
        "gradient_boosting",
        GradientBoosting,
        *("learning_rate=0.05..0.5:log:3", "max_iter=10..40:2", "max_leaf_nodes=7..31:log:3"),
    ),
}
