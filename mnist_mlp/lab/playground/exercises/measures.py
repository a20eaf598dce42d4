"""Measurements for the answers: plateaus and rises of the loss, similarity of networks, single neurons."""

from __future__ import annotations

import dataclasses

import numpy as np

from mnist_mlp.lab.playground.exercises.parts import points
from mnist_mlp.lab.playground.history import History

WINDOWS = 50  # a loss curve is cut into this many windows to find plateaus; the first, the start, is left out
FLAT, LONG, SUDDEN = 0.5, 3, 5  # fraction of the mean rate; windows in a row; multiple of the plateau's rate


@dataclasses.dataclass(frozen=True)
class Drop:
    """A plateau of the training loss and the drop after it; rates are decreases of the loss per 1000 epochs."""

    plateau: int  # first epoch of the plateau
    epochs: int  # length of the plateau
    slow: float  # rate on the plateau
    drop: int  # first epoch of the fastest window after it
    fast: float  # rate in that window


def drop_after_plateau(history: History) -> Drop | None:
    """Return the fastest drop of the training loss after a plateau, if there is one.

    A plateau is `LONG` or more windows in a row in which the loss falls at less than `FLAT` times the mean rate. A
    drop counts if it is at least `SUDDEN` times as fast as the plateau.
    """
    curve = np.array([row["train"] for row in history.losses], float)
    length = (len(curve) - 1) // WINDOWS
    if length < 1:
        return None
    falls = -np.diff(curve[length : WINDOWS * length + 1 : length])
    flat = falls < FLAT * falls.mean()
    found: list[Drop] = []
    start = 0
    while start < len(falls):
        end = start
        while end < len(falls) and flat[end]:
            end += 1
        if end - start >= LONG and end < len(falls):
            slow, at = float(falls[start:end].mean()), end + int(np.argmax(falls[end:]))
            if falls[at] >= SUDDEN * slow and falls[at] > 0:
                rates = (1000 / length * slow, 1000 / length * float(falls[at]))
                found.append(Drop((start + 1) * length, (end - start) * length, rates[0], (at + 1) * length, rates[1]))
        start = max(end, start + 1)
    return max(found, key=lambda drop: drop.fast, default=None)


def largest_rise(history: History) -> float:
    """Return the largest rise of the training loss above its minimum so far."""
    curve = np.array([row["train"] for row in history.losses], float)
    return float(np.max(curve - np.minimum.accumulate(curve)))


def likeness(a: History, b: History) -> float:
    """Return the correlation of the outputs of two networks over the test points of the first."""
    xy, _ = points(a, "test")
    return float(np.corrcoef(a.activations(xy)[-1][0], b.activations(xy)[-1][0])[0, 1])


def alike(a: History, b: History) -> float:
    """Return how well `b` has learned the first hidden layer of `a`; 1 if each neuron has a counterpart.

    Each neuron of `a` is matched with the neuron of `b` that it correlates with most, with either sign, over the test
    points. The result is the absolute correlation of the worst match.
    """
    xy, _ = points(a, "test")
    first, second = a.activations(xy)[1], b.activations(xy)[1]
    table = np.abs(np.corrcoef(first, second)[: len(first), len(first) :])
    return float(table.max(axis=1).min())


def best_threshold(history: History) -> list[float]:
    """Return for the features, each layer and the output the test accuracy of its best single node with one threshold.

    Node and threshold are chosen on the training points.
    """
    xy, labels = points(history)
    test_xy, test_labels = points(history, "test")
    shares = []
    for train, test in zip(history.activations(xy), history.activations(test_xy), strict=True):
        cuts = [best_cut(values, labels) for values in train]
        node = int(np.argmax([accuracy for accuracy, _, _ in cuts]))
        _, threshold, sign = cuts[node]
        shares.append(float(np.mean(sign * np.where(test[node] > threshold, 1, -1) == test_labels)))
    return shares


def best_cut(values: np.ndarray, labels: np.ndarray) -> tuple[float, float, int]:
    """Return accuracy, threshold and sign of the best rule "`sign` above the threshold, −`sign` below".

    `values` and `labels` (±1) are float64 [n].
    """
    order = np.argsort(values)
    ordered, n = values[order], len(values)
    below = np.concatenate([[0], np.cumsum(labels[order] < 0)])  # negatives among the first k
    above = (labels > 0).sum() - (np.arange(n + 1) - below)  # positives among the others
    possible = np.concatenate([[True], np.diff(ordered) > 0, [True]])  # equal values cannot be separated
    correct = np.where(possible, below + above, n / 2)
    k = int(np.argmax(np.maximum(correct, n - correct)))
    edges = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1]])
    sign = 1 if correct[k] >= n - correct[k] else -1
    return float(max(correct[k], n - correct[k]) / n), float(edges[k]), sign
