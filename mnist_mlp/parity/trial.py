"""The trial of a device: its steps one by one, then all of them in one call, then the test images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mnist_mlp.parity.comparison import Comparison
from mnist_mlp.parity.problem import Expected, Problem, State, apply, expected_classes, expected_update
from mnist_mlp.parity.reference import Recorder, Reference, gradients_of
from mnist_mlp.parity.rounding import DEVIATIONS, Bounds
from mnist_mlp.parity.subject import Subject

# In one call a device goes its own way, and no bound for a step holds: its losses may be as many times as far from the
# reference's as those of a twin that is rounded at random, see `Twin`. The twin is one draw of many.
APART = 30.0
CHUNK = 1000  # test images at a time, in float64


def try_steps(
    subject: Subject,
    problem: Problem,
    reference: Reference,
    initial: State,
    recorder: Recorder | None = None,
    tell: Callable[[int], None] = lambda step: None,
) -> tuple[Comparison, Comparison]:
    """Compares every step, and then all of them as one call: (step by step, in one call)."""
    comparison, twin, state = Comparison(), Twin(initial), initial
    if recorder:
        recorder.begin(initial)
    losses, limits = [], []
    for step in range(len(problem.order)):
        images, labels = problem.batch(step)
        found = problem.compute(state.weights, images, labels)
        bounds = problem.bounds(found, state.weights)
        expected = reference.step(problem, state, step, found, bounds)
        gradients = gradients_of(problem, expected)
        received = subject.step(problem, state, step)
        expected |= counted(labels, expected["logits"]) | expected_update(problem, state, gradients, step + 1)
        comparison.add(step, {**expected, "updates counted": exactly(step + 1)}, received)
        losses.append(float(expected["loss"].value))
        limits.append(float(expected["loss"].bound) + APART * twin.apart(problem, step, losses[-1], bounds))
        lead = recorder.keep(step, received) if recorder else [gradient.value for gradient in gradients]
        state = apply(state, lead, step + 1).rounded()
        tell(step + 1)
    together = Comparison()
    in_one = Expected(np.array(losses), np.array(limits))
    together.add(None, {"losses in one call": in_one}, {"losses in one call": subject.run(problem, initial)})
    return comparison, together


def exactly(value: float | np.ndarray) -> Expected:
    """A count, of which no bit may differ."""
    return Expected(np.asarray(value, np.float64), np.full(np.shape(value), 0.5))


def counted(labels: np.ndarray, logits: Expected) -> dict[str, Expected]:
    """What follows from the logits of a batch: the classes, and how many examples were seen and are right."""
    classes = expected_classes(logits)
    unclear = (classes.bound > 1).sum()
    right = Expected(np.array(float((classes.value == labels).sum())), np.array(unclear + 0.5))
    return {"predictions": classes, "examples seen": exactly(len(labels)), "right answers": right}


class Twin:
    """The same training in NumPy with rounding errors as large as a device may make: how far do the losses of two right
    devices come apart? Differences grow from step to step, faster than any bound for a single one would have it."""

    def __init__(self, state: State):
        self.state, self.chance, self.furthest = state, np.random.default_rng(0), 0.0

    def apart(self, problem: Problem, step: int, loss: float, bounds: Bounds) -> float:
        """Trains one step; the largest difference from the reference's losses so far. `bounds` are the reference's."""
        found = problem.compute(self.state.weights, *problem.batch(step))
        self.furthest = max(self.furthest, abs(float(found.losses.mean()) - loss))
        gradients = [
            value + bound / DEVIATIONS * self.chance.standard_normal(value.shape)
            for value, bound in zip(found.gradients, bounds.gradients, strict=True)
        ]
        self.state = apply(self.state, gradients, step + 1).rounded()
        return self.furthest


def try_test_images(subject: Subject, problem: Problem) -> Comparison:
    """Scores the test images on the device and by the oracle, with the weights that the device has."""
    weights, test = subject.state().weights, problem.dataset.test
    matrix, unclear, loss, limit = np.zeros((10, 10)), np.zeros(10), 0.0, 0.0
    for start in range(0, len(test), CHUNK):
        labels = test.labels[start : start + CHUNK]
        found = problem.compute(weights, test.images[start : start + CHUNK], labels)
        bounds = problem.bounds(found, weights)
        classes = expected_classes(Expected(found.sums[-1], bounds.logits))
        np.add.at(matrix, (labels, classes.value.astype(int)), 1)
        np.add.at(unclear, labels, classes.bound > 1)
        loss, limit = loss + found.losses.sum(), limit + bounds.loss * len(labels)
    counts = subject.evaluate()
    comparison = Comparison()
    comparison.add(
        None,
        {
            "test images scored": exactly(len(test)),
            "confusion matrix": Expected(matrix, np.broadcast_to(unclear[:, None] + 0.5, (10, 10))),
            "loss of the test images": Expected(np.array(loss / len(test)), np.array(limit / len(test))),
        },
        {
            "test images scored": np.array(counts.total),
            "confusion matrix": counts.confusion,
            "loss of the test images": np.array(counts.loss_sum / len(test)),
        },
    )
    return comparison
