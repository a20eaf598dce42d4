"""Would one wrong number in a gradient explain what differs after a step of Adam?

After a step m' = m + (1 − β₁)·(g − m), so m' tells g: a bit that flipped in one element of a gradient shows in the same
element of both moments and of the weight, and nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mnist_mlp.verify import bits

BETA_1, BETA_2 = 0.9, 0.999  # Keras' Adam
FIRST, SECOND = "_momentum", "_velocity"  # ends of the names of the moments
CLOSE = 0.2  # how far the flip of a bit may be from what the moment shows, as a share
FINEST = 8  # units in the last place of a moment: a smaller change does not tell one bit from the next


@dataclasses.dataclass(frozen=True)
class WrongGradient:
    """An element of a gradient, known about as well as float32 tells it through the moment."""

    weight: str  # "hidden_1/kernel"
    element: tuple[int, ...]
    expected: float
    received: float
    bits: tuple[int, ...]  # each of these, if it had flipped, would explain it; () if float32 does not tell

    def __str__(self) -> str:
        where = f"{self.weight}[{', '.join(map(str, self.element))}]"
        *most, last = map(str, self.bits) if self.bits else ("",)
        bit = f" (bit {', '.join(most)}{' or ' if most else ''}{last})" if self.bits else ""
        return f"as if the gradient of {where} had been {self.received:.4g} instead of {self.expected:.4g}{bit}"

    def as_json(self) -> dict[str, Any]:
        return {
            "weight": self.weight,
            "element": list(self.element),
            "expected": repr(self.expected),
            "received": repr(self.received),
            "bits": list(self.bits),
        }


def explain(
    before: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], received: Mapping[str, np.ndarray]
) -> WrongGradient | None:
    """Return the wrong gradient that turns the state `expected` after a step into `received`, or None."""
    different = [name for name in expected if not bits.equal(expected[name], received[name])]
    firsts = [name for name in different if name.endswith(FIRST)]
    if len(firsts) != 1:
        return None
    name = firsts[0].rpartition("/")[2].removesuffix(FIRST)
    second = next(other for other in expected if other.endswith(f"/{name}{SECOND}"))
    weight = next(other for other in expected if other.startswith("model/") and own_name(other) == name)
    places = {tuple(map(int, at)) for each in different for at in np.argwhere(unequal(expected[each], received[each]))}
    if set(different) - {weight, firsts[0], second} or len(places) != 1:
        return None
    (at,) = places
    m, right, wrong = (float(state[firsts[0]][at]) for state in (before, expected, received))
    gradient = np.float32(m + (right - m) / (1 - BETA_1))
    observed = float(m + (wrong - m) / (1 - BETA_1))
    shown = (1 - BETA_2) * abs(observed**2 - float(gradient) ** 2)  # how much the second moment would differ
    if second not in different and shown > 2 * float(np.spacing(expected[second][at])):
        return None  # the gradient was right: the moment itself is wrong
    resolution = FINEST * np.spacing(np.float32(max(abs(m), abs(right))))
    flipped = () if abs(wrong - right) < resolution else flipped_bits(gradient, observed)
    return WrongGradient(weight.removeprefix("model/"), at, float(gradient), observed, flipped)


def unequal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return bits.as_bits(one) != bits.as_bits(other)


def own_name(name: str) -> str:
    """Return "hidden_1_kernel" for "model/hidden_1/kernel", as its moments are called."""
    return "_".join(name.split("/")[1:])


def flipped_bits(gradient: np.float32, observed: float) -> tuple[int, ...]:
    """Return the bits of float32 whose flip turns the gradient into about what was observed."""
    flips = (gradient.view(np.uint32) ^ (np.uint32(1) << np.arange(32, dtype=np.uint32))).view(np.float32)
    with np.errstate(all="ignore"):
        change = flips.astype(np.float64) - np.float64(gradient)
        shown = observed - np.float64(gradient)
        if not np.isfinite(shown):
            fits = ~np.isfinite(flips)
        else:
            fits = np.abs(change - shown) < CLOSE * np.minimum(np.abs(change), abs(shown))
    return tuple(map(int, np.flatnonzero(fits)))
