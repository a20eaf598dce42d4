"""What a device found beside what was expected: the largest difference of each quantity, and the first that is too
large."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mnist_mlp.parity.problem import Expected


@dataclasses.dataclass(frozen=True)
class Difference:
    """The element of a quantity that comes nearest to its bound, or is furthest beyond it."""

    quantity: str
    step: int | None  # None: of no single step
    element: tuple[int, ...]
    expected: float
    received: float
    bound: float
    share: float  # of the bound; more than 1 is too much
    relative: float  # the largest difference within the quantity, as a share of its largest number

    @property
    def agrees(self) -> bool:
        return self.share <= 1


def difference(quantity: str, step: int | None, expected: Expected, received: np.ndarray) -> Difference:
    """Compares a quantity element by element; what is no number is infinitely far off."""
    value, bound = np.broadcast_arrays(expected.value, expected.bound)
    if np.shape(received) != value.shape:
        raise ValueError(f"Expected {quantity} of shape {value.shape}. Received {np.shape(received)}.")
    received = np.asarray(received, np.float64)
    with np.errstate(all="ignore"):  # of a device that gives inf
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
    """Collects differences, in the order in which the quantities come about."""

    def __init__(self) -> None:
        self.worst: dict[str, Difference] = {}
        self.relative: dict[str, float] = {}
        self.first: list[Difference] = []  # those that do not agree at the first step where one does not

    def add(self, step: int | None, expected: Mapping[str, Expected], received: Mapping[str, np.ndarray]) -> None:
        """One step, or what belongs to none. Both have the same quantities."""
        if expected.keys() != received.keys():
            raise ValueError(f"Expected {sorted(expected)}. Received {sorted(received)}.")
        found = [difference(name, step, expected[name], received[name]) for name in received]
        if not self.first:
            self.first = [each for each in found if not each.agrees]
        for each in found:
            before = self.worst.get(each.quantity)
            if before is None or each.share > before.share:
                self.worst[each.quantity] = each
            self.relative[each.quantity] = max(each.relative, self.relative.get(each.quantity, 0.0))

    def rows(self) -> list[dict[str, Any]]:
        """A row for each quantity as JSON values: where it came nearest to its bound, and its largest relative
        difference in any step."""
        return [{**as_json(each), "relative": self.relative[name]} for name, each in self.worst.items()]


def as_json(found: Difference) -> dict[str, Any]:
    return {**dataclasses.asdict(found), "element": list(found.element)}
