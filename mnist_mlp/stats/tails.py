"""How a number is spread over right runs, known from those of some seeds, and how likely one is to lie further out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mnist_mlp.stats import student_t

SCALES: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {  # and the way back
    "root": (np.sqrt, lambda x: max(0.0, x) ** 2),  # of counts: makes their variance about the same everywhere
    "log": (np.log, math.exp),  # of losses, whose standard deviation is a share of them
}


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a spread: root mean square and excess kurtosis of the distances from the centre, of n values."""

    sd: float
    kurtosis: float
    n: int

    @classmethod
    def of(cls, distances: np.ndarray, resolution: float) -> Side:
        """Of distances [n] ≥ 0. Where all values are the same, the next one that could have been is no surprise."""
        square, fourth = float((distances**2).mean()), float((distances**4).mean())
        if square <= resolution**2:
            return cls(rounded(resolution), 0.0, len(distances))
        return cls(rounded(math.sqrt(square)), rounded(fourth / square**2 - 3), len(distances))

    @property
    def df(self) -> float:
        """Degrees of freedom: Student's t with 4 + 6/k of them has the excess kurtosis k."""
        return min(self.n, 4 + 6 / max(1e-9, self.kurtosis + 2 * math.sqrt(24 / self.n)))

    @property
    def unit(self) -> float:
        """The distance that stands for t = 1."""
        return self.sd * math.sqrt(1 + 1 / self.n) * math.sqrt(1 - 2 / self.df)

    def tail(self, distance: float) -> float:
        """The share of right runs at least so far out, of all of them on both sides."""
        return student_t.tail(distance / self.unit, self.df)

    def reached_by(self, share: float) -> float:
        """The inverse of `tail`."""
        return self.unit * student_t.quantile(share, self.df)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Half a Student's t on each side of the median, on a scale; half of the right runs lie on either side.

    Right runs are not spread normally: now and then a loss jumps for an epoch, and a network gets some images more
    wrong, seldom fewer. So each side has its own width and its own tail, as heavy as its kurtosis says plus two
    standard errors, 2√(24/n), so that few seeds make wide tails. The centre is an estimate, too, for which a width is
    taken √(1 + 1/n) times as large, and so is the width, for which t has n degrees of freedom at most. Where the two
    widths differ the density jumps at the median; only tails are asked for.
    """

    scale: str
    centre: float
    low: Side
    high: Side

    @classmethod
    def of(cls, values: np.ndarray, scale: str) -> Spread:
        """Of numbers [n] that the scale takes; rounded to six digits, as they stand in a file."""
        placed = np.sort(SCALES[scale][0](values))
        centre, half = float(np.median(placed)), len(placed) // 2
        resolution = 1 / (2 * centre) if scale == "root" else 1e-5  # one image; what rounding may do to a loss
        low, high = Side.of(centre - placed[:half], resolution), Side.of(placed[-half:] - centre, resolution)
        return cls(scale, rounded(centre), low, high)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Spread:
        """The inverse of `dataclasses.asdict`."""
        sides = {side: Side(**values[side]) for side in ("low", "high")}
        return cls(values["scale"], values["centre"], **sides)

    def above(self, value: float) -> float:
        """The share of right runs with that number or a larger one."""
        distance = self.place(value) - self.centre
        return self.high.tail(distance) if distance >= 0 else 1 - self.low.tail(-distance)

    def below(self, value: float) -> float:
        """The share of right runs with that number or a smaller one."""
        distance = self.centre - self.place(value)
        return self.low.tail(distance) if distance >= 0 else 1 - self.high.tail(-distance)

    def place(self, value: float) -> float:
        """The number on the scale."""
        if value > 0:
            return float(SCALES[self.scale][0](value))
        return 0.0 if self.scale == "root" else -math.inf

    def exceeded_by(self, share: float) -> float:
        """The number that so large a share of right runs exceeds."""
        high = share <= 0.5
        distance = self.high.reached_by(share) if high else -self.low.reached_by(1 - share)
        return SCALES[self.scale][1](self.centre + distance)


def rounded(value: float) -> float:
    """To six digits."""
    return float(f"{value:.6g}")
