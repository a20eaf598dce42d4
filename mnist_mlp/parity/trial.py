"""The trial of a device: its steps one by one, then all of them in one call, then the test images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mnist_mlp.parity.comparison import Comparison
from mnist_mlp.parity.device_under_test import Subject
from mnist_mlp.parity.problem import (
    LEARNING_RATE,
    Expected,
    Problem,
    State,
    apply,
    expected_classes,
    expected_update,
)
from mnist_mlp.parity.reference import Recorder, Reference, gradients_of
from mnist_mlp.parity.rounding import DEVIATIONS, Bounds, rate_error

# In one call a device goes its own way, and no bound for a step holds: its losses may be as many times as far from the
# reference's as those of two twins that are rounded at random, see `Twins`, for these are two draws of many.
APART = 100.0
FEW = 3  # steps in one call whose weights are held against those of single calls: too few to come apart
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
    comparison, twins, state = Comparison(), Twins(initial), initial
    if recorder:
        recorder.begin(initial)
    known: list[dict[str, Expected]] = []
    limits = []
    for step in range(len(problem.order)):
        images, labels = problem.batch(step)
        found = problem.compute(state.weights, images, labels)
        bounds = problem.bounds(found, state.weights)
        expected = reference.step(problem, state, step, found, bounds)
        gradients = gradients_of(problem, expected)
        received = subject.step(problem, state, step)
        expected |= {"probabilities": Expected(found.probabilities, bounds.probabilities)}
        expected |= counted(labels, expected["logits"]) | expected_update(problem, state, gradients, step + 1)
        comparison.add(step, {**expected, "updates counted": exactly(step + 1)}, received)
        loss = expected["loss"]
        limits.append(float(loss.bound) + APART * twins.apart(problem, step, float(loss.value), bounds))
        known.append({name: expected[name] for name in expected if not expected[name].value.ndim or step < FEW})
        lead = recorder.keep(step, received) if recorder else [gradient.value for gradient in gradients]
        state = apply(state, lead, step + 1).rounded()
        tell(step + 1)
    return comparison, in_one_call(subject, problem, initial, known, limits)


def in_one_call(
    subject: Subject, problem: Problem, initial: State, known: list[dict[str, Expected]], limits: list[float]
) -> Comparison:
    """All steps as one call: losses and counts; and the first ones so, beside the same steps in single calls.

    `known` is what was expected of each step, `limits` how far the losses may be off, float [steps].
    """
    steps, few, comparison = len(known), min(FEW, len(known)), Comparison()
    received = subject.run(problem, initial, [steps])
    expected = {
        "losses": Expected(np.array([float(step["loss"].value) for step in known]), np.array(limits)),
        "examples seen": exactly(sum(float(step["examples seen"].value) for step in known)),
        "updates counted": exactly(steps),
    }
    add(comparison, "{} in one call", expected, received)

    singly, at_once = (subject.run(problem, initial, stops) for stops in (range(1, few + 1), [few]))
    unclear = np.array(sum(float(step["right answers"].bound) for step in known[:few]))
    of_few = {"right answers": Expected(singly["right answers"], unclear)}
    for name in problem.weights:
        bounds = [step[f"updated {name}"].bound for step in known[:few]]
        of_few[name] = Expected(singly[name], 2 * np.sum(bounds, axis=0))  # for both may be off
    add(comparison, f"{{}}, {few} at once", of_few, at_once)
    return comparison


def add(comparison: Comparison, as_name: str, expected: dict[str, Expected], received: dict[str, np.ndarray]) -> None:
    """Compares what is expected, under names of their own."""
    names = {name: as_name.format(name) for name in expected}
    comparison.add(None, {names[n]: expected[n] for n in names}, {names[n]: received[n] for n in names})


def exactly(value: float | np.ndarray) -> Expected:
    """A count, of which no bit may differ."""
    return Expected(np.asarray(value, np.float64), np.full(np.shape(value), 0.5))


def counted(labels: np.ndarray, logits: Expected) -> dict[str, Expected]:
    """What follows from the logits of a batch: the classes, and how many examples were seen and are right."""
    classes = expected_classes(logits)
    unclear = (classes.bound > 1).sum()
    right = Expected(np.array(float((classes.value == labels).sum())), np.array(unclear + 0.5))
    return {"predictions": classes, "examples seen": exactly(len(labels)), "right answers": right}


class Twins:
    """The same training in NumPy, twice, with rounding errors as large as a device may make: how far do the losses of
    right devices come apart? Differences grow from step to step, faster than any bound for a single one would have it.

    Each has errors of its own in the gradients. The step size, which a device has wrong for all weights, is larger in
    one and smaller in the other.
    """

    def __init__(self, state: State):
        self.states, self.chance, self.furthest = {1: state, -1: state}, np.random.default_rng(0), 0.0

    def apart(self, problem: Problem, step: int, loss: float, bounds: Bounds) -> float:
        """Trains one step; the largest difference from the reference's losses so far. `bounds` are the reference's."""
        for sign, state in self.states.items():
            found = problem.compute(state.weights, *problem.batch(step))
            self.furthest = max(self.furthest, abs(float(found.losses.mean()) - loss))
            gradients = [
                value + bound / DEVIATIONS * self.chance.standard_normal(value.shape)
                for value, bound in zip(found.gradients, bounds.gradients, strict=True)
            ]
            rate = LEARNING_RATE * (1 + sign * rate_error(step + 1))
            self.states[sign] = apply(state, gradients, step + 1, rate).rounded()
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
