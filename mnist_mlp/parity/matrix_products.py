"""The matrix products of the lecture's network, forward and backward, compared with float64.

In a sum of k products each product and each addition is rounded by at most u = 2⁻²⁴. If these errors are independent
with mean 0, the error of the sum is within λ√k·u of the sum of magnitudes, except with probability 2·exp(−λ²/2) for
each rounding (N. Higham and T. Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput.
41, 2019). So the error of AB is compared, element by element, with |A||B|. With λ = 8, which is `DEVIATIONS`, all 4·10⁸
roundings here are within the bound, except in about ten of a million runs. Rounded or truncated factors may each add
twice their unit roundoff.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from mnist_mlp.parity.questions import Arrays, Finding, Question, finding
from mnist_mlp.parity.rounding import DEVIATIONS, FLOAT32, PRODUCTS

Exact = tuple[np.ndarray, np.ndarray, int]  # a product, the product of the magnitudes, and k
ROWS = (1, 2, 32, 1000)
FORMS = ("forwards", "for_the_kernel", "for_the_input")


@dataclass(frozen=True)
class Product:
    """A product with `rows` examples."""

    form: str
    name: str
    rows: int
    a: np.ndarray
    b: np.ndarray

    @cached_property
    def exact(self) -> tuple[np.ndarray, np.ndarray, int]:
        """The product and that of the magnitudes in float64, and the length k of the sums."""
        a, b = self.a.astype(np.float64), self.b.astype(np.float64)
        a, b = (a.T if self.form == "for_the_kernel" else a), (b.T if self.form == "for_the_input" else b)
        return a @ b, abs(a) @ abs(b), a.shape[1]


def products() -> Iterator[Product]:
    """Yield products forward through the first and last layers, for the gradient of a kernel and of a layer's input.

    The factors have random mantissas and magnitudes from 1 down to 2⁻⁴⁰: a few terms dominate each sum, so that the
    effect of rounding the factors shows fully instead of averaging out.
    """
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        mantissas = rng.uniform(1, 2, shape).astype(np.float32) * rng.choice([-1, 1], shape).astype(np.float32)
        return np.ldexp(mantissas, -rng.integers(0, 41, shape))

    images, hidden, deltas = draw(1000, 784), draw(1000, 64), draw(1000, 128)
    first, second, last = draw(784, 128), draw(128, 64), draw(64, 10)
    for m in ROWS:
        yield Product("forwards", f"[{m}, 784]·[784, 128]", m, images[:m], first)
        yield Product("forwards", f"[{m}, 64]·[64, 10]", m, hidden[:m], last)
        yield Product("for_the_kernel", f"[784, {m}]·[{m}, 128]", m, images[:m], deltas[:m])
        yield Product("for_the_input", f"[{m}, 64]·[64, 128]", m, hidden[:m], second)


def asked(multiplied: Sequence[Product]) -> dict[str, Any]:
    """Return the factors for a device, by form."""
    return {form: {p.name: (p.a, p.b) for p in multiplied if p.form == form} for form in FORMS}


def questions(multiplied: Sequence[Product], promised: str) -> list[Question]:
    """Return how the products are judged; `promised` is a key of `PRODUCTS`."""
    exact = {p.name: p.exact for p in multiplied}
    result = []
    for m in ROWS:
        names = [p.name for p in multiplied if p.rows == m]
        least = min(bits(bound(exact[name][2], promised)) for name in names)
        judge = partial(precision, {name: exact[name] for name in names}, promised)
        result.append(Question(f"matrix products, M = {m}", f"at least {least:.1f} correct bits", judge))
    alone = partial(row_alone, multiplied, exact, promised)
    return [*result, Question("first row alone and with others", "the same within the bounds", alone)]


def bound(k: int, promised: str) -> float:
    """Return the bound of a sum of k products, relative to the sum of their magnitudes."""
    return 4 * PRODUCTS[promised].factors + DEVIATIONS * math.sqrt(k) * FLOAT32


def bits(error: float) -> float:
    """Return the number of correct bits at a relative error; float64 has 53."""
    return 0.0 - math.log2(min(max(error, 2.0**-53), 1.0))  # not -0.0


def precision(exact: Mapping[str, Exact], promised: str, answers: Arrays) -> Finding:
    """Judge the number of correct bits in the worst element of each product."""
    complaints, right = [], {}
    for name, (product, magnitudes, k) in exact.items():
        error = np.nan_to_num(np.abs(answers["products"][name] - product) / magnitudes, nan=np.inf)
        worst = np.unravel_index(error.argmax(), error.shape)
        right[name] = bits(error[worst])
        if error[worst] > bound(k, promised):
            where = f"element {', '.join(map(str, worst))} of {name}"
            complaints.append(f"{right[name]:.1f} correct bits of {bits(bound(k, promised)):.1f} promised: {where}")
    least = min(right, key=right.__getitem__)
    return finding(complaints, f"{right[least]:.1f} correct bits: {least}", **right)


def row_alone(multiplied: Sequence[Product], exact: Mapping[str, Exact], promised: str, answers: Arrays) -> Finding:
    """Judge whether a row of a product is independent of the other rows: M = 1 may use a matrix-vector product."""
    complaints, errors = [], []
    for p in multiplied:
        if p.form != "for_the_kernel" and p.rows > 1:
            alone = p.name.replace(f"[{p.rows},", "[1,", 1)
            difference = np.abs(answers["products"][p.name][0] - answers["products"][alone][0])
            error = float(np.nan_to_num(difference / exact[p.name][1][0], nan=np.inf).max())
            errors.append(error)
            if error > 2 * bound(exact[p.name][2], promised):
                complaints.append(f"{bits(error):.1f} bits in common: {alone} and {p.name}")
    return finding(complaints, f"{bits(max(errors)):.1f} bits in common", bits=bits(max(errors)))
