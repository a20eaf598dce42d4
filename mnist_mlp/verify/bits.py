"""Compare the state of two trainings bit by bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

FEW = 4  # bits that a text lists


@dataclasses.dataclass(frozen=True)
class BitDifference:
    """The first element in which two states differ, by the order of their tensors."""

    tensor: str
    element: tuple[int, ...]
    expected: float
    received: float
    flipped: tuple[int, ...]  # bits that differ in this element; 0 is the least significant
    elements: int  # that differ in this tensor
    tensors: tuple[str, ...]  # all that differ

    def __str__(self) -> str:
        where = f"[{', '.join(map(str, self.element))}]" if self.element else ""
        few = len(self.flipped) <= FEW
        bits = f"bit{'s' * (len(self.flipped) > 1)} {', '.join(map(str, self.flipped))}" if few else "many bits"
        text = f"{self.tensor}{where}: expected {self.expected:.9g}, received {self.received:.9g} ({bits})"
        if self.elements > 1:
            text += f", one of {self.elements:,} elements"
        others = len(self.tensors) - 1
        return text + (f", and {others} more tensor{'s' * (others > 1)}" if others else "")

    def as_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        for name in ("expected", "received"):  # JSON has no nan
            values[name] = repr(values[name])
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def difference(expected: Mapping[str, np.ndarray], received: Mapping[str, np.ndarray]) -> BitDifference | None:
    """Return the first difference, or None if every bit is equal. Both have the same names, shapes and types."""
    if expected.keys() != received.keys():
        raise ValueError(f"Expected {sorted(expected)}. Received {sorted(received)}.")
    differing = [name for name in expected if not equal(np.asarray(expected[name]), np.asarray(received[name]))]
    if not differing:
        return None
    name = differing[0]
    one, other = as_bits(np.asarray(expected[name])), as_bits(np.asarray(received[name]))
    places = np.argwhere(one != other)
    at = tuple(int(index) for index in places[0])
    changed = int(one[at]) ^ int(other[at])
    return BitDifference(
        name,
        at,
        float(np.asarray(expected[name])[at]),
        float(np.asarray(received[name])[at]),
        tuple(bit for bit in range(64) if changed >> bit & 1),
        len(places),
        tuple(differing),
    )


def equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether every bit is equal. (0.0 == -0.0 and nan != nan would not say.)"""
    if one.shape != other.shape or one.dtype != other.dtype:
        raise ValueError(f"Expected {one.dtype} {one.shape}. Received {other.dtype} {other.shape}.")
    return bool(np.array_equal(as_bits(one), as_bits(other)))


def as_bits(values: np.ndarray) -> np.ndarray:
    """Return the values as unsigned integers of the same width."""
    return np.ascontiguousarray(values).reshape(values.shape).view(f"u{values.dtype.itemsize}")
