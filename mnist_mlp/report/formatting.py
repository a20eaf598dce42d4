"""Format numbers for pages and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """ "97.7%"; a dash for None or a value that is not finite."""
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}%"


def probability(p: float) -> str:
    """A probability from 0 to 1, but never "100%" or "0%" for one that is only close to it."""
    if not math.isfinite(p):
        return "nan"
    if p < 0.0005:
        return "0%" if p == 0 else "<0.1%"
    return "100.0%" if p == 1 else ">99.9%" if p > 0.9995 else f"{100 * p:.1f}%"


def number(value: float | None, digits: int = 4) -> str:
    """A number such as a loss. None stands for a number that is not finite, which JSON lacks."""
    return "not a finite number" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def seconds(value: float) -> str:
    """ "0.52 s", "2 min 20 s"."""
    if value < 120:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def interval(ends: Sequence[float], digits: int = 2) -> str:
    """ "97.48–98.06%"."""
    low, high = ends
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f}%"


def several(count: int, what: str) -> str:
    """ "1 epoch", "5 epochs"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def p_value(p: float) -> str:
    """ "0.032", "<0.0001"."""
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"


def three_digits(value: float) -> str:
    """ "7.60", "10.4", "1234"."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
