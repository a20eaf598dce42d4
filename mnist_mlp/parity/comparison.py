"""Compare a device's numbers with expected ones: the largest difference of each quantity, the first too large ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mnist_mlp.parity.problem import Expected


@dataclasses.dataclass(frozen=True)
class Difference:
    """The element of a quantity with the largest share of its bound."""

    quantity: str
    step: int | None  # None: not of a single step
    element: tuple[int, ...]
    expected: float
    received: float
    bound: float
    share: float  # difference / bound; more than 1 is too much
    relative: float  # the largest difference in the quantity / its largest magnitude

    @property
    def agrees(self) -> bool:
        return self.share <= 1


def difference(quantity: str, step: int | None, expected: Expected, received: np.ndarray) -> Difference:
    """Compare a quantity element by element. nan counts as infinitely far off."""
    value, bound = np.broadcast_arrays(expected.value, expected.bound)
    if np.shape(received) != value.shape:
        raise ValueError(f"Expected {quantity} of shape {value.shape}. Received {np.shape(received)}.")
    received = np.asarray(received, np.float64)
    with np.errstate(all="ignore"):  # a device may return inf
        distance = np.nan_to_num(abs(received - value), nan=np.inf)
        shares = distance / bound
    at = np.unravel_index(int(shares.argmax()), value.shape)
    largest = float(abs(value).max())
    return Difference(
        quantity,
        step,
        tuple(int(index) for index in at),
        expected=float(value[at]),
        received=float(received[at]),
        bound=float(bound[at]),
        share=float(shares[at]),
        relative=float(distance.max() / largest) if largest else float(distance.max()),
    )


class Comparison:
    """Collects differences, in the order in which quantities are computed."""

    def __init__(self) -> None:
        self.worst: dict[str, Difference] = {}
        self.relative: dict[str, float] = {}
        self.first: list[Difference] = []  # all that disagree at the first step with a disagreement

    def add(self, step: int | None, expected: Mapping[str, Expected], received: Mapping[str, np.ndarray]) -> None:
        """Add the quantities of a step, or of none."""
        if expected.keys() != received.keys():
            raise ValueError(f"Expected {sorted(expected)}. Received {sorted(received)}.")
        differences = [difference(name, step, expected[name], received[name]) for name in received]
        if not self.first:
            self.first = [each for each in differences if not each.agrees]
        for each in differences:
            before = self.worst.get(each.quantity)
            if before is None or each.share > before.share:
                self.worst[each.quantity] = each
            self.relative[each.quantity] = max(each.relative, self.relative.get(each.quantity, 0.0))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each quantity as JSON values: its worst element and its largest relative difference."""
        return [{**as_json(each), "relative": self.relative[name]} for name, each in self.worst.items()]


def as_json(difference: Difference) -> dict[str, Any]:
    return {**dataclasses.asdict(difference), "element": list(difference.element)}
