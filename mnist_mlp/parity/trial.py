"""Run a device beside a reference: step by step, then all steps in one call, then the test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnist_mlp.cli.terminal import SILENT, Reporter
from mnist_mlp.parity.comparison import Comparison
from mnist_mlp.parity.device_under_test import DeviceUnderTest
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

# In one call a device is not reset after each step, so bounds for single steps do not apply. Its losses may differ from
# the reference's by this multiple of the difference between two runs with random rounding errors (see `Twins`), which
# are only two of many possible ones.
APART = 100.0
FEW = 3  # steps in one call whose weights are compared with those of single calls: too few to drift apart
CHUNK = 1000  # test images at a time, in float64


@dataclass(frozen=True)
class Trial:
    """A device, the problem that it computes, and the reference to compare it with."""

    device: DeviceUnderTest
    problem: Problem
    reference: Reference
    recorder: Recorder | None = None  # keeps the device's own numbers, which then lead

    def steps(self, reporter: Reporter = SILENT) -> tuple[Comparison, Comparison]:
        """Compare every step, and then all of them as one call: (step by step, in one call)."""
        problem, initial = self.problem, self.reference.initial(self.problem, self.device.state())
        comparison, twins, state = Comparison(), Twins(initial), initial
        if self.recorder:
            self.recorder.begin(initial)
        known: list[dict[str, Expected]] = []
        limits = []
        for step in range(len(problem.order)):
            images, labels = problem.batch(step)
            found = problem.compute(state.weights, images, labels)
            bounds = problem.bounds(found, state.weights)
            expected = self.reference.step(problem, state, step, found, bounds)
            gradients = gradients_of(problem, expected)
            received = self.device.step(problem, state, step)
            expected |= {"probabilities": Expected(found.probabilities, bounds.probabilities)}
            expected |= counts(labels, expected["logits"]) | expected_update(problem, state, gradients, step + 1)
            comparison.add(step, {**expected, "updates counted": exactly(step + 1)}, received)
            loss = expected["loss"]
            limits.append(float(loss.bound) + APART * twins.apart(problem, step, float(loss.value), bounds))
            known.append({name: expected[name] for name in expected if not expected[name].value.ndim or step < FEW})
            lead = self.recorder.keep(step, received) if self.recorder else [each.value for each in gradients]
            state = apply(state, lead, step + 1).rounded()
            reporter.progress(f"step {step + 1:,} of {len(problem.order):,}")
        return comparison, self.in_one_call(initial, known, limits)

    def in_one_call(self, initial: State, known: list[dict[str, Expected]], limits: list[float]) -> Comparison:
        """Compare losses and counts of all steps as one call; and the first few steps as one call with single calls.

        `known` is what was expected of each step, `limits` by how much the losses may differ, float [steps].
        """
        steps, few, comparison = len(known), min(FEW, len(known)), Comparison()
        received = self.device.run(self.problem, initial, [steps])
        expected = {
            "losses": Expected(np.array([float(step["loss"].value) for step in known]), np.array(limits)),
            "examples seen": exactly(sum(float(step["examples seen"].value) for step in known)),
            "updates counted": exactly(steps),
        }
        add(comparison, "{} in one call", expected, received)

        singly, at_once = (self.device.run(self.problem, initial, stops) for stops in (range(1, few + 1), [few]))
        unclear = np.array(sum(float(step["correct predictions"].bound) for step in known[:few]))
        of_few = {"correct predictions": Expected(singly["correct predictions"], unclear)}
        for name in self.problem.weights:
            bounds = [step[f"updated {name}"].bound for step in known[:few]]
            of_few[name] = Expected(singly[name], 2 * np.sum(bounds, axis=0))  # both may be off
        add(comparison, f"{{}}, {few} at once", of_few, at_once)
        return comparison

    def test_images(self) -> Comparison:
        """Evaluate the test images on the device and with the oracle, using the device's weights."""
        weights, test = self.device.state().weights, self.problem.dataset.test
        matrix, unclear, loss, limit = np.zeros((10, 10)), np.zeros(10), 0.0, 0.0
        for start in range(0, len(test), CHUNK):
            labels = test.labels[start : start + CHUNK]
            found = self.problem.compute(weights, test.images[start : start + CHUNK], labels)
            bounds = self.problem.bounds(found, weights)
            classes = expected_classes(Expected(found.sums[-1], bounds.logits))
            np.add.at(matrix, (labels, classes.value.astype(int)), 1)
            np.add.at(unclear, labels, classes.bound > 1)
            loss, limit = loss + found.losses.sum(), limit + bounds.loss * len(labels)
        received = self.device.evaluate()
        comparison = Comparison()
        comparison.add(
            None,
            {
                "test images scored": exactly(len(test)),
                "confusion matrix": Expected(matrix, np.broadcast_to(unclear[:, None] + 0.5, (10, 10))),
                "loss of the test images": Expected(np.array(loss / len(test)), np.array(limit / len(test))),
            },
            {
                "test images scored": np.array(received.total),
                "confusion matrix": received.confusion,
                "loss of the test images": np.array(received.loss_sum / len(test)),
            },
        )
        return comparison


def add(comparison: Comparison, pattern: str, expected: dict[str, Expected], received: dict[str, np.ndarray]) -> None:
    """Compare what is expected, under names that follow a pattern."""
    names = {name: pattern.format(name) for name in expected}
    comparison.add(None, {names[n]: expected[n] for n in names}, {names[n]: received[n] for n in names})


def exactly(value: float | np.ndarray) -> Expected:
    """Return a count that must be exact."""
    return Expected(np.asarray(value, np.float64), np.full(np.shape(value), 0.5))


def counts(labels: np.ndarray, logits: Expected) -> dict[str, Expected]:
    """Return what follows from the logits of a batch: the predicted classes and the counts."""
    classes = expected_classes(logits)
    unclear = (classes.bound > 1).sum()
    correct = Expected(np.array(float((classes.value == labels).sum())), np.array(unclear + 0.5))
    return {"predictions": classes, "examples seen": exactly(len(labels)), "correct predictions": correct}


class Twins:
    """Two NumPy runs with rounding errors as large as a device may make: how far do the losses of correct devices drift
    apart? Differences grow from step to step, faster than the bounds of single steps add up.

    Each run has its own errors in the gradients. The error of the learning rate, which is the same for all weights of a
    device, has opposite signs in the two.
    """

    def __init__(self, state: State):
        self.states, self.rng, self.furthest = {1: state, -1: state}, np.random.default_rng(0), 0.0

    def apart(self, problem: Problem, step: int, loss: float, bounds: Bounds) -> float:
        """Train one step; return the largest difference from the reference's losses so far.

        `loss` and `bounds` are the reference's.
        """
        for sign, state in self.states.items():
            found = problem.compute(state.weights, *problem.batch(step))
            self.furthest = max(self.furthest, abs(float(found.losses.mean()) - loss))
            gradients = [
                value + bound / DEVIATIONS * self.rng.standard_normal(value.shape)
                for value, bound in zip(found.gradients, bounds.gradients, strict=True)
            ]
            rate = LEARNING_RATE * (1 + sign * rate_error(step + 1))
            self.states[sign] = apply(state, gradients, step + 1, rate).rounded()
        return self.furthest
