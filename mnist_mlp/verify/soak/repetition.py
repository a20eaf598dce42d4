"""The same training again and again on one engine. Every result is compared with the first one, bit by bit.

A *point* is where a repetition is compared: after each step that is made singly, and after the call that makes many.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.verify import bits
from mnist_mlp.verify.soak import gradients

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine, Sums

Values = dict[str, np.ndarray]  # weights, counters and moments by name, then LOSS and CORRECT
LOSS, CORRECT = "loss", "correct predictions"
MEMORY = "the reference in this process's memory has changed"


class Varies(Exception):
    """Three results of the same training are three different ones: nothing can be compared with anything."""

    def __init__(self, found: Found):
        super().__init__(str(found.difference))
        self.found = found


@dataclasses.dataclass(frozen=True)
class Work:
    """A repetition: steps that are made one by one, then, from the start again, steps that one call makes."""

    singly: np.ndarray  # batch indices, int32 [steps, batch]
    at_once: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.singly) + len(self.at_once)


@dataclasses.dataclass(frozen=True)
class Found:
    """A difference between what a repetition computed and what the others did."""

    repetition: int  # from 1
    step: int  # from 1; of a call, the first step whose loss differs, or its last one
    call: int  # the steps of the call that computed it: 1, unless many were made at once
    difference: bits.BitDifference
    gradient: gradients.WrongGradient | None = None  # the one wrong gradient that would explain it
    note: str = ""
    seen: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # when and where (see `Soak`)

    def __str__(self) -> str:
        if self.call == 1:
            where = f"step {self.step}"
        elif self.step < self.call:
            where = f"a call of {self.call} steps whose losses differ from step {self.step} on"
        else:
            where = f"after a call of {self.call} steps"
        text = f"repetition {self.repetition:,}, {where}: {self.difference}"
        return "; ".join(filter(None, (text, str(self.gradient or ""), self.note)))

    def as_json(self) -> dict[str, Any]:
        return {
            "repetition": self.repetition,
            "step": self.step,
            "steps_of_call": self.call,
            "difference": self.difference.as_json(),
            "gradient": self.gradient and self.gradient.as_json(),
            "note": self.note,
            "told": str(self),
            **self.seen,
        }


@dataclasses.dataclass(frozen=True)
class Result:
    """What one repetition computed at a point."""

    repetition: int
    values: Values
    seen: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A result, and the right one."""

    result: Result
    expected: Values
    note: str = ""


class Point:
    """What is right at a point: what two results agree in, of the first three.

    So a wrong first result does not make all later ones wrong. If all three are different, it `varies`.
    """

    def __init__(self) -> None:
        self.first: Result | None = None
        self.other: Result | None = None  # the second result, if it is not the first one
        self.digest = ""  # of what is right, once it is known
        self.varies = False

    @property
    def known(self) -> bool:
        return bool(self.digest)

    def judge(self, result: Result) -> list[Wrong]:
        """Compare a result; return the wrong ones. `first` is what the repetition continues with."""
        if self.first is None:
            self.first = copy(result)
            return []
        if same(self.first.values, result.values):
            wrong = [Wrong(self.other, self.first.values)] if self.other else []
            self.settle(self.first)
            return wrong
        if self.known:
            return self.judge_with_known(self.first, result)
        if self.other is None:
            self.other = copy(result)
            return []
        wrong = [Wrong(self.first, self.other.values)]
        if not same(self.other.values, result.values):
            self.varies = True
            return [Wrong(result, self.first.values)]
        self.settle(self.other)
        return wrong

    def settle(self, right: Result) -> None:
        self.first, self.other = right, None
        self.digest = self.digest or digest(right.values)

    def judge_with_known(self, first: Result, result: Result) -> list[Wrong]:
        if digest(first.values) == self.digest:
            return [Wrong(result, first.values)]
        # It was right when it was kept. The new one takes its place, if it is what the first one was.
        changed = Wrong(Result(result.repetition, first.values, result.seen), copy(result).values, MEMORY)
        self.first = copy(result) if digest(result.values) == self.digest else None
        self.digest = self.digest if self.first else ""
        return [changed]


class Soak:
    """Repeats `work` on an engine. `report` gets each difference at once; `observe` says when and where it was seen."""

    def __init__(
        self,
        engine: Engine,
        work: Work,
        report: Callable[[Found], None],
        observe: Callable[[], Mapping[str, Any]] = dict,
    ):
        self.engine, self.work, self.report, self.observe = engine, work, report, observe
        self.start = {name: np.array(value) for name, value in engine.state().items()}
        self.points = [Point() for _ in range(len(work.singly) + 1)]
        self.repetitions = 0
        self.trained = 0.0  # seconds within calls of the engine's training program
        self.compared = 0  # bytes

    def repeat(self) -> None:
        """Make one repetition. Raise `Varies`."""
        self.repetitions += 1
        self.engine.restore(self.start)
        for step in range(len(self.work.singly)):
            self.compare(step, self.train(self.work.singly, step, step + 1))
        self.engine.restore(self.start)
        self.compare(len(self.work.singly), self.train(self.work.at_once, 0, len(self.work.at_once)))

    def train(self, batch_indices: np.ndarray, start: int, stop: int) -> Sums:
        began = time.perf_counter()
        sums = self.engine.train(batch_indices, start, stop)
        self.trained += time.perf_counter() - began
        return sums

    def compare(self, index: int, sums: Sums) -> None:
        """Compare the state after the calls up to a point; after a difference, continue from the right state."""
        point, values = self.points[index], self.values(sums)
        first = point.first
        equal = first is not None and same(first.values, values)
        result = Result(self.repetitions, values, {} if equal or first is None else self.observe())
        wrong = [found(each, index, self.steps_of(index), self.before(index)) for each in point.judge(result)]
        if point.varies:
            raise Varies(wrong[0])
        if first is not None:
            self.compared += size(values)
        for each in wrong:
            self.report(each)
        if first is None or index == len(self.work.singly):
            return
        if point.first is not first:  # what followed the wrong first result was computed from it
            self.points[index + 1 : -1] = [Point() for _ in self.points[index + 1 : -1]]
        if point.first and not equal:
            self.engine.restore(state_of(point.first.values))

    def values(self, sums: Sums) -> Values:
        return {**self.engine.state(), LOSS: np.asarray(sums.losses), CORRECT: np.asarray(sums.correct)}

    def steps_of(self, index: int) -> int:
        """Return how many steps the call before a point makes."""
        return 1 if index < len(self.work.singly) else len(self.work.at_once)

    def before(self, index: int) -> Values:
        """Return the state before the step that leads to a point, or {} if the call made many."""
        if index == len(self.work.singly):
            return {}
        previous = self.points[index - 1].first if index else None
        return previous.values if previous else self.start if not index else {}

    @property
    def known(self) -> bool:
        """Whether two repetitions agreed at each point."""
        return all(point.known for point in self.points)

    def digests(self) -> list[str]:
        """Return digests of the start and of what is right at each point. Devices of a kind have the same."""
        return [digest(self.start), *(point.digest for point in self.points)]

    def references(self) -> dict[str, np.ndarray]:
        """Return the start and what is right at each point; names begin with the number of the digest."""
        states = [self.start, *(point.first.values if point.first else {} for point in self.points)]
        return {f"{number} {name}": value for number, state in enumerate(states) for name, value in state.items()}


def found(wrong: Wrong, index: int, call: int, before: Mapping[str, np.ndarray]) -> Found:
    """Return the first difference between a wrong result at a point and the right one.

    `call` is the number of steps of the call that led there, and `before` the state before its only step, or {}.
    """
    expected, received = wrong.expected, wrong.result.values
    difference = bits.difference(expected, received)
    assert difference is not None
    step = index + 1
    if call > 1:  # a loss is computed before the update of its step
        losses = np.flatnonzero(gradients.unequal(expected[LOSS], received[LOSS]))
        step = int(losses[0]) + 1 if len(losses) else call
    gradient = gradients.explain(before, expected, received) if before and not wrong.note else None
    return Found(wrong.result.repetition, step, call, difference, gradient, wrong.note, wrong.result.seen)


def state_of(values: Values) -> Values:
    return {name: value for name, value in values.items() if name not in (LOSS, CORRECT)}


def same(one: Values, other: Values) -> bool:
    return all(bits.equal(value, other[name]) for name, value in one.items())


def copy(result: Result) -> Result:
    """Return a result that no later call of a framework can change."""
    return dataclasses.replace(result, values={name: np.array(value) for name, value in result.values.items()})


def digest(values: Mapping[str, np.ndarray]) -> str:
    sha = hashlib.sha256()
    for name, value in values.items():
        sha.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return sha.hexdigest()[:16]


def size(values: Mapping[str, np.ndarray]) -> int:
    """Return the bytes of all values."""
    return sum(value.nbytes for value in values.values())
