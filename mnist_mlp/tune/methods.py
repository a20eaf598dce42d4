"""The methods that a search compares, and of each the hyper-parameters that may be searched.

The networks are those of `train`, with its options; the others are scikit-learn's, for comparison. Nothing is fitted
here and no library imported: a wrong flag must be answered at once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mnist_mlp.config import MODELS, Config
from mnist_mlp.options import check, option


class Checked:
    """Options that are held against their declarations when they are made."""

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True)
class LogisticRegression(Checked):
    """wᵀx + b for each class, through a softmax; a convex loss with the penalty ‖w‖²/2C. It underfits."""

    C: float = option(1.0, "the inverse of the penalty on the weights", low=1e-9, high=1e9)
    max_iter: int = option(100, "steps of L-BFGS, at most", low=1, high=100_000)


@dataclasses.dataclass(frozen=True)
class Tree(Checked):
    """Asks for one pixel after another; grown greedily. It overfits as it grows deep."""

    max_depth: int | None = option(None, "questions on the way to a leaf, at most", kind=int, low=1, high=10_000)
    min_samples_leaf: int = option(1, "training images in a leaf, at least", low=1, high=1_000_000)
    criterion: str = option("gini", "what a split makes small", choices=("gini", "entropy"))


@dataclasses.dataclass(frozen=True)
class RandomForest(Checked):
    """The mean of many deep trees, each of other images and asking among other pixels: the overfitting averages out."""

    n_estimators: int = option(100, "trees", low=1, high=100_000)
    max_features: float = option(0.036, "share of the pixels that a split chooses from", low=1e-9, high=1.0)
    max_depth: int | None = option(None, "questions on the way to a leaf, at most", kind=int, low=1, high=10_000)
    min_samples_leaf: int = option(1, "training images in a leaf, at least", low=1, high=1_000_000)


@dataclasses.dataclass(frozen=True)
class GradientBoosting(Checked):
    """A sum of small trees, each fitted to what those before it left of the loss. It overfits with too many."""

    learning_rate: float = option(0.1, "how much of each tree is added", low=1e-9, high=10.0)
    max_iter: int = option(30, "rounds; each adds a tree for each class", low=1, high=100_000)
    max_leaf_nodes: int = option(15, "leaves of a tree, at most", low=2, high=10_000)
    min_samples_leaf: int = option(20, "training images in a leaf, at least", low=1, high=1_000_000)
    max_features: float = option(1.0, "share of the pixels that a split chooses from", low=1e-9, high=1.0)
    l2_regularization: float = option(0.0, "the penalty on the values of the leaves", low=0.0, high=1e9)
    max_bins: int = option(16, "grey values that are told apart", low=2, high=255)


@dataclasses.dataclass(frozen=True)
class Method:
    """One method: the dataclass that declares its parameters, those that may be searched, and where they are searched
    if nothing else is said."""

    name: str
    declared: type[Any]
    parameters: tuple[str, ...]
    default: tuple[str, ...]  # as on the command line
    network: bool = False


def of_sklearn(name: str, declared: type[Any], *default: str) -> Method:
    return Method(name, declared, tuple(field.name for field in dataclasses.fields(declared)), default)


SEARCHED = ("learning_rate", "batch_size", "epochs", "optimizer", "pixels", "precision")  # of a network
NETWORK = ("learning_rate=0.0003..0.01:log:4", "batch_size=16,32,64,128", "epochs=5..25:3")

METHODS: dict[str, Method] = {
    **{name: Method(name, Config, SEARCHED, NETWORK, network=True) for name in MODELS},
    "logistic_regression": of_sklearn(
        "logistic_regression", LogisticRegression, "C=0.001..10:log:5", "max_iter=25,50,100,200"
    ),
    "tree": of_sklearn("tree", Tree, "max_depth=4..30:4", "min_samples_leaf=1..20:log:3", "criterion=gini,entropy"),
    "random_forest": of_sklearn(
        "random_forest",
        RandomForest,
        *("n_estimators=50,100,200", "max_features=0.01..0.2:log:4", "min_samples_leaf=1..5:2"),
    ),
    "gradient_boosting": of_sklearn(
        "gradient_boosting",
        GradientBoosting,
        *("learning_rate=0.05..0.5:log:3", "max_iter=10..40:2", "max_leaf_nodes=7..31:log:3"),
    ),
}
