"""What the answers measure on a run beside its losses: plateaus, rises, how alike two networks are, single neurons."""

from __future__ import annotations

import dataclasses

import numpy as np

from mnist_mlp.lab.playground.exercises.parts import points
from mnist_mlp.lab.playground.history import History

WINDOWS = 50  # into which a loss curve is cut to look for plateaus; the first, the start of training, is left out
FLAT, LONG, SUDDEN = 0.5, 3, 5  # of the mean rate; windows in a row; times the plateau's rate


@dataclasses.dataclass(frozen=True)
class Drop:
    """A plateau of the training loss and the drop after it; the rates are losses per 1000 epochs."""

    plateau: int  # epoch at which it begins
    epochs: int  # that it lasts
    slow: float
    drop: int  # epoch at which the fastest fall after it begins
    fast: float


def drop_after_plateau(history: History) -> Drop | None:
    """The fastest fall of the training loss that comes after a plateau, by fiftieths of a run.

    A plateau is three fiftieths or more in a row with less than half the mean rate; the fall after it counts if it is
    at least five times as fast as the plateau.
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
    """By how much the training loss at most rises above what it had been before."""
    curve = np.array([row["train"] for row in history.losses], float)
    return float(np.max(curve - np.minimum.accumulate(curve)))


def likeness(a: History, b: History) -> float:
    """The correlation of two networks' outputs over the points of the first."""
    xy, _ = points(a, "test")
    return float(np.corrcoef(a.activations(xy)[-1][0], b.activations(xy)[-1][0])[0, 1])


def alike(a: History, b: History) -> float:
    """Of the first hidden layer's neurons in `a`, the one that `b` has least of: its largest correlation with a neuron
    of `b`, of either sign, over the test points. 1: each neuron has its counterpart."""
    xy, _ = points(a, "test")
    mine, theirs = a.activations(xy)[1], b.activations(xy)[1]
    table = np.abs(np.corrcoef(mine, theirs)[: len(mine), len(mine) :])
    return float(table.max(axis=1).min())


def best_threshold(history: History) -> list[float]:
    """For the features, each layer and the output: the share of test points on the right side of one threshold on one
    node, both chosen on the training points."""
    xy, labels = points(history)
    test_xy, test_labels = points(history, "test")
    shares = []
    for train, test in zip(history.activations(xy), history.activations(test_xy), strict=True):
        cuts = [best_cut(values, labels) for values in train]
        node = int(np.argmax([right for right, _, _ in cuts]))
        _, threshold, sign = cuts[node]
        shares.append(float(np.mean(sign * np.where(test[node] > threshold, 1, -1) == test_labels)))
    return shares


def best_cut(values: np.ndarray, labels: np.ndarray) -> tuple[float, float, int]:
    """The share of labels ±1 that "above the threshold: `sign`" gives right, the threshold, and the sign; `values` and
    `labels` float64 [n]."""
    order = np.argsort(values)
    ordered, n = values[order], len(values)
    below = np.concatenate([[0], np.cumsum(labels[order] < 0)])  # negatives among the first k
    above = (labels > 0).sum() - (np.arange(n + 1) - below)  # positives among the others
    possible = np.concatenate([[True], np.diff(ordered) > 0, [True]])  # equal values fall on one side
    right = np.where(possible, below + above, n / 2)
    k = int(np.argmax(np.maximum(right, n - right)))
    edges = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1]])
    sign = 1 if right[k] >= n - right[k] else -1
    return float(max(right[k], n - right[k]) / n), float(edges[k]), sign
