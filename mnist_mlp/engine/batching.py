"""How an engine cuts its work into calls of compiled programs, each of one shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from mnist_mlp.data.batches import sequential_indices

SECONDS_PER_CALL = 1.0  # so that Ctrl-C is heard: Python hears it between two calls
STEPS_OF_FIRST_CALL = 8  # before it is known how long a step takes
GROWTH = 200  # from one call to the next, at most


class Pace:
    """How many steps the next call should make to last about `SECONDS_PER_CALL`."""

    def __init__(self) -> None:
        self.steps = STEPS_OF_FIRST_CALL

    def took(self, steps: int, seconds: float) -> None:
        """So many steps took so long."""
        self.steps = int(max(1, min(steps * SECONDS_PER_CALL / max(seconds, 1e-9), steps * GROWTH)))


def pieces(steps: int, pace: Pace | None) -> Iterator[tuple[int, int]]:
    """The (start, stop) of calls that make so many steps, each while it is worked on; without a pace all in one."""
    start = 0
    while start < steps:
        stop = min(steps, start + pace.steps) if pace else steps
        began = time.perf_counter()
        yield start, stop
        if pace:
            pace.took(stop - start, time.perf_counter() - began)
        start = stop


def pad_batches(order: np.ndarray, replicas: int) -> np.ndarray:
    """The order with batches that the replicas divide: filled up with -1, which weighs nothing."""
    return np.pad(order, ((0, 0), (0, -order.shape[1] % replicas)), constant_values=-1)


def pad_steps(order: np.ndarray, steps: int) -> np.ndarray:
    """The order with at least so many steps: one shape, so that its program is compiled once."""
    return np.pad(order, ((0, max(0, steps - len(order))), (0, 0)), constant_values=-1)


def predict_in_batches(images: np.ndarray, batch_size: int, call: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """float32 [n, 10]: what `call` gives for batches of float32 [batch_size, 28, 28], the last one filled up."""
    found = []
    for row in sequential_indices(len(images), batch_size):
        found.append(call(images[np.maximum(row, 0)].astype(np.float32))[row >= 0])
    return np.concatenate(found)
