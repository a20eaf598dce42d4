"""What data sets and their ten classes are called, for people."""

from __future__ import annotations

TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "digits": "the embedded digits"}
FASHION = (
    *("T-shirt", "trousers", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def title_of(dataset: str) -> str:
    """A data set's name in a sentence."""
    return TITLES.get(dataset, dataset)


def class_names(dataset: str) -> tuple[str, ...]:
    """Of the classes 0 to 9."""
    return FASHION if dataset == "fashion_mnist" else tuple(map(str, range(10)))
