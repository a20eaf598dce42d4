"""Cut the work of an engine into calls of compiled programs, each with inputs of one shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from mnist_mlp.data.batches import sequential_indices

SECONDS_PER_CALL = 1.0  # Python handles Ctrl-C only between two calls
IMAGES_PER_CALL = 1000  # of a forward pass over a whole split; its program is compiled for these few calls only
STEPS_OF_FIRST_CALL = 8  # while the time of a step is unknown
GROWTH = 200  # limits how many times as many steps the next call makes


class Pace:
    """Choose how many `steps` the next call makes, so that it lasts about `seconds_per_call`."""

    def __init__(self, seconds_per_call: float = SECONDS_PER_CALL) -> None:
        self.seconds_per_call = seconds_per_call
        self.steps = STEPS_OF_FIRST_CALL

    def took(self, steps: int, seconds: float) -> None:
        """Record that `steps` took `seconds`."""
        self.steps = int(max(1, min(steps * self.seconds_per_call / max(seconds, 1e-9), steps * GROWTH)))


def chunks(steps: int, pace: Pace | None) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) chunks of `steps`, and time what the caller does with each. Without a pace, one chunk."""
    start = 0
    while start < steps:
        stop = min(steps, start + pace.steps) if pace else steps
        began = time.perf_counter()
        yield start, stop
        if pace:
            pace.took(stop - start, time.perf_counter() - began)
        start = stop


def pad_batches(batch_indices: np.ndarray, replicas: int) -> np.ndarray:
    """Pad each batch with -1 to a multiple of the replicas."""
    return np.pad(batch_indices, ((0, 0), (0, -batch_indices.shape[1] % replicas)), constant_values=-1)


def pad_steps(batch_indices: np.ndarray, steps: int) -> np.ndarray:
    """Pad with batches of -1 to at least `steps`: one shape, so that its program is compiled once."""
    return np.pad(batch_indices, ((0, max(0, steps - len(batch_indices))), (0, 0)), constant_values=-1)


def predict_in_batches(images: np.ndarray, batch_size: int, call: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return what `call` returns for batches of images, float32 [batch_size, 28, 28], of which the last is padded."""
    outputs = []
    for row in sequential_indices(len(images), batch_size):
        outputs.append(call(images[np.maximum(row, 0)].astype(np.float32))[row >= 0])
    return np.concatenate(outputs)
