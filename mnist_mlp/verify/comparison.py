"""What differs between two reports so far, and what noise is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mnist_mlp.verify.reading import number, rows, shown, words

ABSENT = "absent"
MAGNITUDE = 10.0  # times
Values = tuple[Any, Any]  # of the one report and of the other


@dataclasses.dataclass(frozen=True)
class Noise:
    """How far two figures may differ by chance. `includes` takes both; `told` says it in a few words."""

    includes: Callable[[float, float], bool]
    told: str


def within(difference: float, told: str) -> Noise:
    return Noise(lambda one, other: abs(one - other) <= difference, told)


def within_share(share: float) -> Noise:
    """Allow a difference by that share of the smaller figure, from 0 to 1."""
    return Noise(lambda one, other: is_near(one, other, share), f"±{share:.0%}")


def is_near(one: float, other: float, share: float) -> bool:
    return max(abs(one), abs(other)) <= (1 + share) * min(abs(one), abs(other))


def below_a_magnitude(floor: float) -> Noise:
    """Allow less than an order of magnitude, and all that is below `floor`."""

    def includes(one: float, other: float) -> bool:
        return max(one, other, floor) < MAGNITUDE * max(min(one, other), floor)

    return Noise(includes, f"less than {MAGNITUDE:g} times")


@dataclasses.dataclass
class Comparison:
    """What was compared so far. `equal` and `within_noise` count facts and figures by stage."""

    differences: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    equal: dict[str, int] = dataclasses.field(default_factory=dict)
    within_noise: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, stage: str, what: str, values: Values, noise: str = "", unit: str = "") -> None:
        """Add a difference; `noise` says what would have been noise."""
        one, other = (ABSENT if value is None else value if is_scalar(value) else shown(value) for value in values)
        row = {"stage": stage, "what": what, "one": one, "other": other, "noise": noise, "unit": unit}
        first, second = number(one), number(other)
        if noise and first is not None and second is not None and first > 0 and second > 0:
            row["ratio"] = second / first
        self.differences.append(row)

    def fact(self, stage: str, what: str, values: Values) -> None:
        """Compare two values of which any difference counts."""
        one, other = values
        if one == other:
            self.equal[stage] = self.equal.get(stage, 0) + 1
        else:
            self.add(stage, what, values)

    def facts(self, stage: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        """Compare two mappings key by key; what only one has counts as a difference."""
        for key in dict.fromkeys([*one, *other]):
            self.fact(stage, key, (one.get(key), other.get(key)))

    def figure(self, stage: str, what: str, values: Values, noise: Noise, unit: str = "") -> None:
        """Compare two figures; one that only one report has counts as a difference, and none in both as nothing."""
        one, other = (number(value) for value in values)
        if one is None and other is None:
            return
        if one is not None and other is not None:
            if one == other:
                self.equal[stage] = self.equal.get(stage, 0) + 1
                return
            if noise.includes(one, other):
                self.within_noise[stage] = self.within_noise.get(stage, 0) + 1
                return
        self.add(stage, what, (one, other), noise.told, unit)


def is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def pairs(values: Values, path: Sequence[str], key: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return the rows of two lists that have the same `key`; {} stands for one that a list lacks."""
    one, other = ({words(row, key): row for row in rows(each, *path)} for each in values)
    return {name: (one.get(name, {}), other.get(name, {})) for name in dict.fromkeys([*one, *other])}
