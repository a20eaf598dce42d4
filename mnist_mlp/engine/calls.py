"""How an engine cuts its work into calls of compiled programs, each of one shape."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from mnist_mlp.data import sequential_order
from mnist_mlp.engine import Sums

SECONDS_PER_CALL = 1.0  # a longer epoch is cut into calls of about this length, so that Ctrl-C is heard
STEPS_OF_FIRST_CALL = 64
STEPS_OF_WORKERS = 512  # where several processes must make the same calls, whatever their clocks say


def pad_batches(order: np.ndarray, replicas: int) -> np.ndarray:
    """The order with batches that the replicas divide: filled up with -1, which weighs nothing."""
    return np.pad(order, ((0, 0), (0, -order.shape[1] % replicas)), constant_values=-1)


def train_in_calls(
    order: np.ndarray,
    capacity: int,
    call: Callable[[np.ndarray, int, int], tuple[np.ndarray, int]],
    *,
    by_the_clock: bool = True,
) -> Sums:
    """Trains on all steps of an order; `call(order, start, stop)` gives Σ wᵢlᵢ of each step and how many were right.

    The order is brought to `capacity` steps, one shape, so that it compiles once. An empty one is one empty call.
    """
    padded = np.full((max(capacity, len(order)), order.shape[1]), -1, np.int32)
    padded[: len(order)] = order
    losses, correct = np.zeros(len(order)), 0
    start, stop = 0, min(len(order), STEPS_OF_FIRST_CALL)
    while True:
        began = time.perf_counter()
        step_losses, hits = call(padded, start, stop)
        losses[start:stop] = step_losses[start:stop]
        correct += hits
        if stop == len(order):
            return Sums(float(losses.sum()), correct, int((order >= 0).sum()))
        rate = (stop - start) / (time.perf_counter() - began)
        steps = max(1, int(rate * SECONDS_PER_CALL)) if by_the_clock else STEPS_OF_WORKERS
        start, stop = stop, min(len(order), stop + steps)


def predict_in_batches(images: np.ndarray, batch_size: int, call: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """float32 [n, 10]: what `call` gives for batches of float32 [batch_size, 28, 28], the last one filled up."""
    found = []
    for row in sequential_order(len(images), batch_size):
        found.append(call(images[np.maximum(row, 0)].astype(np.float32))[row >= 0])
    return np.concatenate(found)
