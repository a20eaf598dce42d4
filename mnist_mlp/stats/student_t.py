"""The tail of Student's t distribution and its quantiles, for any degrees of freedom, whole or not."""

from __future__ import annotations

import functools
import math

LIMIT = 500  # terms of the continued fraction; it is there after about √df of them


def tail(t: float, df: float) -> float:
    """P(T ≥ t), for `df` > 0 degrees of freedom."""
    if not df > 0:
        raise ValueError(f"Expected df > 0. Received {df}.")
    if math.isinf(t):
        return float(t < 0)
    half = 0.5 * incomplete_beta(df / (df + t * t), t * t / (df + t * t), df / 2, 0.5)
    return half if t >= 0 else 1 - half


@functools.lru_cache(maxsize=4096)  # a gate asks for the same ones for each run
def quantile(share: float, df: float) -> float:
    """The t with tail(t, df) = `share`, 0 < share < 1: exceeded with that probability."""
    if not 0 < share < 1:
        raise ValueError(f"Expected 0 < share < 1. Received {share}.")
    if share > 0.5:
        return -quantile(1 - share, df)
    low, high = 0.0, 1.0
    while tail(high, df) > share:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):  # down to the last bit
        low, high = (middle, high) if tail(middle, df) > share else (low, middle)
    return high


def incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), with `rest` = 1 − x, given apart since it may be tiny.

    Source: NIST Digital Library of Mathematical Functions, 8.17.22 (continued fraction) and 8.17.4 (the other end).
    """
    if x <= 0 or rest <= 0:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):  # where the fraction is slow
        return 1 - incomplete_beta(rest, x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    return math.exp(log_front) / a * continued_fraction(x, a, b)


def continued_fraction(x: float, a: float, b: float) -> float:
    """1/(1 + d₁/(1 + d₂/(1 + …))) of the incomplete beta function, by Lentz' method.

    Source: I. Thompson and A. Barnett, "Coulomb and Bessel functions of complex arguments and order", J. Comput.
    Phys. 64 (1986).
    """
    numerator, denominator = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = denominator
    for m in range(1, LIMIT):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for d in (even, odd):
            numerator, denominator = 1 + d / numerator, 1 / (1 + d * denominator)
            value *= numerator * denominator
        if abs(numerator * denominator - 1) < 1e-15:
            return value
    raise ArithmeticError(f"Expected the continued fraction to converge. Received x = {x}, a = {a}, b = {b}.")
