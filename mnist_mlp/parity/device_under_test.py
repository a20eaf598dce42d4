"""The device under test: what its own training program computes from a given state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mnist_mlp.parity.oracle import BETA_1
from mnist_mlp.parity.problem import Problem, State

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Counts, Engine


class DeviceUnderTest:
    """An engine that trains the network of a problem on a device."""

    def __init__(self, engine: Engine):
        self.engine = engine
        state = engine.state()
        self.names = [name for name in state if name.startswith("model/")]
        self.first = [name for name in state if name.endswith("_momentum")]
        self.second = [name for name in state if name.endswith("_velocity")]
        (self.counter,) = (name for name in state if name.endswith("/iteration"))
        self.other = {name: state[name] for name in state if name.endswith("/learning_rate")}

    @property
    def weights(self) -> tuple[str, ...]:
        return tuple(name.removeprefix("model/") for name in self.names)

    def state(self) -> State:
        """Return the engine's state in float64."""
        state = self.engine.state()
        return State(*([state[n].astype(np.float64) for n in part] for part in (self.names, self.first, self.second)))

    def restore(self, state: State, step: int) -> None:
        """Set the engine to a state after `step` steps."""
        values = {name: np.asarray(value) for name, value in self.other.items()}
        values[self.counter] = np.asarray(step, self.engine.state()[self.counter].dtype)
        for names, part in ((self.names, state.weights), (self.first, state.first), (self.second, state.second)):
            values |= {name: value.astype(np.float32) for name, value in zip(names, part, strict=True)}
        self.engine.restore(values)

    def step(self, problem: Problem, state: State, step: int) -> dict[str, np.ndarray]:
        """Return everything that a step computes from a state, by name, in the order of computation."""
        images, labels = problem.batch(step)
        gradients = self.gradients(problem, state, step)
        self.restore(state, step)
        logits, probabilities = self.engine.logits(images), self.engine.predict(images)
        sums = self.engine.train(problem.order, step, step + 1)
        after = self.engine.state()
        received = {
            "loss": np.array(sums.losses[0] / len(labels)),
            "logits": logits,
            "probabilities": probabilities,
            "predictions": probabilities.argmax(1),
            "examples seen": np.array(sums.seen),
            "correct predictions": np.array(sums.correct),
        }
        received |= {f"gradient of {name}": g for name, g in zip(self.weights, gradients, strict=True)}
        for index, name in enumerate(self.weights):
            received[f"first moment of {name}"] = after[self.first[index]]
            received[f"second moment of {name}"] = after[self.second[index]]
            received[f"updated {name}"] = after[self.names[index]]
        return received | {"updates counted": np.asarray(after[self.counter])}

    def gradients(self, problem: Problem, state: State, step: int) -> list[np.ndarray]:
        """Return the gradients of a step as the optimizer receives them, summed over the replicas.

        After Adam's first update its first moment is (1 − β₁)·g, so the training program itself reveals them.
        """
        zeros = [np.zeros_like(weight) for weight in state.weights]
        self.restore(State(state.weights, zeros, zeros), 0)
        self.engine.train(problem.order, step, step + 1)
        after = self.engine.state()
        return [after[name].astype(np.float64) / (1 - BETA_1) for name in self.first]

    def run(self, problem: Problem, state: State, stops: Sequence[int]) -> dict[str, np.ndarray]:
        """Run the steps in calls that end at `stops`; return losses, counts and, by name, weights."""
        self.restore(state, 0)
        parts = [self.engine.train(problem.order, *cut) for cut in zip((0, *stops), stops, strict=False)]
        examples, after = (problem.order[: stops[-1]] >= 0).sum(1), self.engine.state()
        counts = {name: np.array(sum(getattr(part, name) for part in parts)) for name in ("seen", "correct")}
        return {
            "losses": np.concatenate([part.losses for part in parts]) / examples,
            "examples seen": counts["seen"],
            "correct predictions": counts["correct"],
            "updates counted": np.asarray(after[self.counter]),
            **{name: after[of].astype(np.float64) for name, of in zip(self.weights, self.names, strict=True)},
        }

    def evaluate(self) -> Counts:
        return self.engine.evaluate("test")
