"""The parts of an exercise: trials to run, claims to check, and helpers for numbers over several seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mnist_mlp.lab.playground.history import History
from mnist_mlp.lab.playground.url_state import State

LECTURE_SPIRAL = (0.272, 0.182)  # test and training loss on the slide: eight sigmoid neurons, 5080 epochs
ENOUGH_SEEDS = 10  # the number of seeds of the earlier ranges; with fewer, a value outside of the range means little
SEVERAL = 3  # the least number of seeds for claims about several: a median of two is their mean, sensitive to either


@dataclasses.dataclass(frozen=True)
class Measured:
    """A loss measured before by an independent program: median over ten seeds and, if known, the range."""

    median: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return f"{self.median:.3f}" if self.low is None else f"{self.median:.3f} [{self.low:.3f}..{self.high:.3f}]"


@dataclasses.dataclass(frozen=True)
class Trial:
    """A state to train with several seeds."""

    name: str
    state: State
    epochs: int = 0
    same_data: bool = False  # seeds change only the initial weights, like the page's restart button
    long: bool = False  # takes minutes: run only with ENOUGH_SEEDS
    test: Measured | None = None
    train: Measured | None = None
    lecture: tuple[float, float] | None = None  # test and training loss on the lecture's slide (one run)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence with its numbers, and whether they confirm it; None if there is nothing to judge, or too few seeds."""

    text: str
    holds: bool | None = None

    @property
    def mark(self) -> str:
        return {True: "✓", False: "✗", None: "·"}[self.holds]


@dataclasses.dataclass(frozen=True)
class Panel:
    """A column of an exercise's figure: output map, maps of the hidden neurons, losses."""

    title: str
    history: History
    others: Sequence[History] = ()


Runs = Mapping[str, list[History]]  # by name of the trial; one history for each seed


@dataclasses.dataclass(frozen=True)
class Exercise:
    """A question of the lecture, the trials that answer it, and a function that derives the answer from their runs."""

    title: str
    question: str
    trials: Sequence[Trial]
    answer: Callable[[Runs], Iterator[Claim]]
    panels: Callable[[Runs], list[Panel]] | None = None  # default: the first seed of each trial, with the others
    figure: Callable[[Runs], Any] | None = None  # default: the panels


def judged(histories: Sequence[History], verdict: Any) -> bool | None:
    """Return the verdict on a claim about several seeds; None if there are too few."""
    return bool(verdict) if len(histories) >= SEVERAL else None


def final(histories: Sequence[History], part: str = "test") -> np.ndarray:
    """Return the last loss of each history, float64 [seeds]."""
    return np.array([history.losses[-1][part] for history in histories], float)


def accuracy(histories: Sequence[History], part: str = "test") -> np.ndarray:
    """Return the final fraction of correct points, float64 [seeds], from 0 to 1."""
    return np.array([(history.accuracy or {})[part] for history in histories], float)


def spread(values: Sequence[float] | np.ndarray, form: str = ".3f") -> str:
    """Return median and range, "0.426 [0.319..0.488]", or a single value."""
    low, middle, high = (format(value, form) for value in (np.min(values), np.median(values), np.max(values)))
    return f"{middle} [{low}..{high}]" if len(values) > 1 else middle


def compare(trial: Trial, histories: Sequence[History]) -> Iterator[Claim]:
    """Compare the losses of a trial with the range measured before, and the lecture's with the range of these seeds."""
    for part, before in (("test", trial.test), ("train", trial.train)):
        if before is None:
            continue
        losses = final(histories, part)
        median, holds = round(float(np.median(losses)), 3), None
        if before.low is not None and before.high is not None:
            holds = judged(histories, before.low <= median <= before.high)
        yield Claim(f"{trial.name}: {part} loss {spread(losses)}, measured earlier: {before}", holds)
    if trial.lecture:
        both = zip((final(histories, "test"), final(histories, "train")), trial.lecture, strict=True)
        inside = [round(float(losses.min()), 3) <= value <= round(float(losses.max()), 3) for losses, value in both]
        lecture = "/".join(f"{value:.3f}" for value in trial.lecture)
        enough = len(histories) >= ENOUGH_SEEDS
        verdict = "is within the range of these seeds" if enough else f"is judged with --seeds={ENOUGH_SEEDS}"
        yield Claim(
            f"{trial.name}: the lecture's {lecture} (test/train, one run) {verdict}", all(inside) if enough else None
        )


def loss(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Return the page's loss, the mean of ½(o − t)² over points; both arguments are float64 [n]."""
    return float(np.mean(0.5 * (outputs - labels) ** 2))


def points(history: History, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Return the points float64 [n, 2] and labels float64 [n] of a run."""
    table = np.array(history.train_points if part == "train" else history.test_points, float).reshape(-1, 3)
    return table[:, :2], table[:, 2]


def with_parameters(history: History, parameters: Sequence[float]) -> History:
    """Return a run of no epochs with the same network and points, and parameters set by hand."""
    losses, correct = {}, {}
    for part in ("train", "test"):
        xy, labels = points(history, part)
        outputs = history.activations(xy, parameters)[-1][0]
        losses[part] = loss(outputs, labels)
        correct[part] = float(np.mean((outputs >= 0) == (labels >= 0)))
    return dataclasses.replace(history, parameters=list(parameters), losses=[losses], accuracy=correct)
