"""Fit the distribution of a result over correct runs from a sample of seeds, and compute its tail probabilities."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mnist_mlp.stats import student_t

SCALES: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {  # transform, inverse
    "root": (np.sqrt, lambda x: max(0.0, x) ** 2),  # for counts: stabilizes their variance
    "log": (np.log, math.exp),  # for losses, whose standard deviation is proportional to them
}


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a `Spread`: root mean square and excess kurtosis of n distances from the centre."""

    sd: float
    kurtosis: float
    n: int

    @classmethod
    def of(cls, distances: np.ndarray, resolution: float) -> Side:
        """Fit to distances [n] ≥ 0. `resolution` is the least `sd`: if all values are equal, the next possible value
        must not be an outlier."""
        square, fourth = float((distances**2).mean()), float((distances**4).mean())
        if square <= resolution**2:
            return cls(rounded(resolution), 0.0, len(distances))
        return cls(rounded(math.sqrt(square)), rounded(fourth / square**2 - 3), len(distances))

    @property
    def df(self) -> float:
        """Degrees of freedom. Student's t with 4 + 6/k of them has excess kurtosis k."""
        return min(self.n, 4 + 6 / max(1e-9, self.kurtosis + 2 * math.sqrt(24 / self.n)))

    @property
    def unit(self) -> float:
        """The distance that corresponds to t = 1."""
        return self.sd * math.sqrt(1 + 1 / self.n) * math.sqrt(1 - 2 / self.df)

    def tail(self, distance: float) -> float:
        """Return the share of all correct runs, on both sides, that lie at least this far out on this side."""
        return student_t.tail(distance / self.unit, self.df)

    def reached_by(self, share: float) -> float:
        """Return the distance with that tail, the inverse of `tail`."""
        return self.unit * student_t.quantile(share, self.df)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Half a Student's t on each side of the median, on a transformed scale (see `SCALES`).

    Results of correct runs are not normal: now and then a loss jumps for an epoch, and a network makes some more
    errors, seldom fewer. So each side has its own width and its own tail. The tail is as heavy as the sample kurtosis
    plus two standard errors, 2√(24/n), says, so that few seeds give wide tails. The centre is estimated, too, which
    widens each side by √(1 + 1/n); so is the width, which limits the degrees of freedom to n. The density jumps at the
    median if the widths differ, but only tails are used.
    """

    scale: str
    centre: float
    low: Side
    high: Side

    @classmethod
    def of(cls, values: np.ndarray, scale: str) -> Spread:
        """Fit to values [n] in the domain of the scale; parameters are rounded to six digits, as in the file."""
        scaled = np.sort(SCALES[scale][0](values))
        centre, half = float(np.median(scaled)), len(scaled) // 2
        resolution = 1 / (2 * centre) if scale == "root" else 1e-5  # one image; the rounding error of a loss
        low, high = Side.of(centre - scaled[:half], resolution), Side.of(scaled[-half:] - centre, resolution)
        return cls(scale, rounded(centre), low, high)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Spread:
        """Return the spread that `dataclasses.asdict` made these values of."""
        sides = {side: Side(**values[side]) for side in ("low", "high")}
        return cls(values["scale"], values["centre"], **sides)

    def above(self, value: float) -> float:
        """Return the share of correct runs with that value or a larger one."""
        distance = self.scaled(value) - self.centre
        return self.high.tail(distance) if distance >= 0 else 1 - self.low.tail(-distance)

    def below(self, value: float) -> float:
        """Return the share of correct runs with that value or a smaller one."""
        distance = self.centre - self.scaled(value)
        return self.low.tail(distance) if distance >= 0 else 1 - self.high.tail(-distance)

    def scaled(self, value: float) -> float:
        """Return the value on the transformed scale."""
        if value > 0:
            return float(SCALES[self.scale][0](value))
        return 0.0 if self.scale == "root" else -math.inf

    def exceeded_by(self, share: float) -> float:
        """Return the value that this share of correct runs exceeds."""
        high = share <= 0.5
        distance = self.high.reached_by(share) if high else -self.low.reached_by(1 - share)
        return SCALES[self.scale][1](self.centre + distance)


def rounded(value: float) -> float:
    """Round to six significant digits."""
    return float(f"{value:.6g}")
