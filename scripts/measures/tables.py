"""Figures of several runs as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from measures.running import Series

UNITS = {"s": 2, "ms": 1, "µs": 1, "MB": 0, "%": 2, "": 2, "/s": 0}  # and the digits behind the point


def column(series: Series, figure: str, scale: float = 1.0) -> list[float]:
    """A figure of all runs, in the order of the rounds."""
    return [scale * run[figure] for run in series["runs"]]


def ratios(of: Sequence[float], base: Sequence[float]) -> list[float]:
    """of / base, pair by pair: of the same round."""
    return [one / other for one, other in zip(of, base, strict=True)]


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median (min–max); nothing where there is no such figure."""
    if not values:
        return "–"
    digits = UNITS[unit]
    low, middle, high = (f"{v:,.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    shown_unit = f" {unit}" * bool(unit and unit != "/s")
    return f"{middle}{shown_unit} ({low}–{high})" if len(values) > 1 else middle + shown_unit


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of_program(found: Sequence[Series], name: str) -> Series | None:
    """The one series of that program, if it was measured."""
    return next((series for series in found if series["program"] == name), None)
