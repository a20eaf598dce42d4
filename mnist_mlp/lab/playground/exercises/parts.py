"""What an exercise is made of: trials (what is run), claims (what is found), and how figures over seeds are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mnist_mlp.lab.playground.history import History
from mnist_mlp.lab.playground.url_state import State

LECTURE_SPIRAL = (0.272, 0.182)  # test and training loss on the slide of eight sigmoid neurons after 5080 epochs
ENOUGH_SEEDS = 10  # the earlier ranges are over so many; a range over fewer says little of what lies outside it


SEVERAL = 3  # seeds from which what is said of several is judged; the median of two is their mean, pulled by either


@dataclasses.dataclass(frozen=True)
class Measured:
    """A loss measured before, by another program: the median over ten seeds and, where it is known, the range."""

    median: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return f"{self.median:.3f}" if self.low is None else f"{self.median:.3f} [{self.low:.3f}..{self.high:.3f}]"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One row of an exercise: a state of the page and how long it is trained, each time with other seeds."""

    name: str
    state: State
    epochs: int = 0
    same_data: bool = False  # only the initial weights differ from seed to seed, as after a click on "restart"
    long: bool = False  # minutes: only where ten seeds are asked for
    test: Measured | None = None
    train: Measured | None = None
    lecture: tuple[float, float] | None = None  # test and training loss on the lecture's slide (one run)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence with its figures, and whether they bear it out; None: nothing to judge, or too few seeds to."""

    text: str
    holds: bool | None = None

    @property
    def mark(self) -> str:
        return {True: "✓", False: "✗", None: "·"}[self.holds]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One column of an exercise's figure: an output map, the hidden neurons' maps, the losses."""

    title: str
    history: History
    others: Sequence[History] = ()


Runs = Mapping[str, list[History]]  # by the trial's name; one history a seed


@dataclasses.dataclass(frozen=True)
class Exercise:
    """A question of the lecture, what is run to answer it, and how the answer is read off the runs."""

    title: str
    question: str
    trials: Sequence[Trial]
    answer: Callable[[Runs], Iterator[Claim]]
    panels: Callable[[Runs], list[Panel]] | None = None  # not given: each trial's first seed before the others
    figure: Callable[[Runs], Any] | None = None  # not given: made of the panels


def judged(histories: Sequence[History], verdict: Any) -> bool | None:
    """The verdict on what is said of several seeds; None where there are too few of them."""
    return bool(verdict) if len(histories) >= SEVERAL else None


def final(histories: Sequence[History], part: str = "test") -> np.ndarray:
    """The last loss of each history, float64 [seeds]."""
    return np.array([history.losses[-1][part] for history in histories], float)


def accuracy(histories: Sequence[History], part: str = "test") -> np.ndarray:
    """The final share of points on the right side, float64 [seeds], from 0 to 1."""
    return np.array([(history.accuracy or {})[part] for history in histories], float)


def spread(values: Sequence[float] | np.ndarray, form: str = ".3f") -> str:
    """Median and range: "0.426 [0.319..0.488]"; one value stands alone."""
    low, middle, high = (format(value, form) for value in (np.min(values), np.median(values), np.max(values)))
    return f"{middle} [{low}..{high}]" if len(values) > 1 else middle


def compared(trial: Trial, histories: Sequence[History]) -> Iterator[Claim]:
    """A trial's losses held against the range measured before, and the lecture's own figure against ours."""
    for part, figure in (("test", trial.test), ("train", trial.train)):
        if figure is None:
            continue
        ours = final(histories, part)
        median, holds = round(float(np.median(ours)), 3), None
        if figure.low is not None and figure.high is not None:
            holds = judged(histories, figure.low <= median <= figure.high)
        yield Claim(f"{trial.name}: {part} loss {spread(ours)}, measured before: {figure}", holds)
    if trial.lecture:
        both = zip((final(histories, "test"), final(histories, "train")), trial.lecture, strict=True)
        inside = [round(float(ours.min()), 3) <= figure <= round(float(ours.max()), 3) for ours, figure in both]
        shown = "/".join(f"{figure:.3f}" for figure in trial.lecture)
        enough = len(histories) >= ENOUGH_SEEDS
        words = "lies within the range of these seeds" if enough else f"is judged with --seeds={ENOUGH_SEEDS}"
        yield Claim(
            f"{trial.name}: the lecture's {shown} (test/train, one run) {words}", all(inside) if enough else None
        )


def loss(outputs: np.ndarray, labels: np.ndarray) -> float:
    """The page's loss: the mean of ½(o − t)² over points, both float64 [n]."""
    return float(np.mean(0.5 * (outputs - labels) ** 2))


def points(history: History, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """The points float64 [n, 2] and labels float64 [n] of a run."""
    table = np.array(history.train_points if part == "train" else history.test_points, float).reshape(-1, 3)
    return table[:, :2], table[:, 2]


def with_parameters(history: History, parameters: Sequence[float]) -> History:
    """The same network and points with parameters set by hand: a run of no epoch, with its losses."""
    losses, right = {}, {}
    for part in ("train", "test"):
        xy, labels = points(history, part)
        outputs = history.activations(xy, parameters)[-1][0]
        losses[part] = loss(outputs, labels)
        right[part] = float(np.mean((outputs >= 0) == (labels >= 0)))
    return dataclasses.replace(history, parameters=list(parameters), losses=[losses], accuracy=right)
