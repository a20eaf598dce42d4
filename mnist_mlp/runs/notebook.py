"""A result as a notebook shows it: the headline, the curves and the confusion matrix, in HTML without scripts.

All styles are inline, since a notebook's page has a style sheet of its own; colours work on light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 320, 120, 8  # of the chart, in pixels
TRAINING, VALIDATION = "#0877bd", "#f59322"


def render(result: Any) -> str:
    """Return a `Result` as HTML."""
    parts = headline(result), curves(result.epochs), confusion(result.test)
    return f'<div style="font-family:sans-serif">{"".join(parts)}</div>'


def headline(result: Any) -> str:
    """Return the test accuracy with its interval, and what it was measured on."""
    test, data = result.test, escape(result.dataset["name"])
    low, high = (f"{100 * bound:.2f}" for bound in test["interval"])
    accuracy = (
        f"<b>{100 * test['accuracy']:.2f}%</b> of {test['total']:,} test images of {data} "
        f"({test['correct']:,} correct; 95% interval {low}–{high}%)"
    )
    device = escape(f"{result.device['actual']}, {result.backend}")
    about = f"{escape(result.network)}, {result.parameters:,} parameters, {len(result.epochs)} epochs on {device}"
    return f"<p>{accuracy}<br><small>{about}</small></p>"


def curves(epochs: Sequence[dict[str, Any]]) -> str:
    """Return the loss of each epoch as a chart."""
    lines = {
        "training loss": (TRAINING, [row["loss"] for row in epochs]),
        "validation loss": (VALIDATION, [row["validation_loss"] for row in epochs if "validation_loss" in row]),
    }
    lines = {name: (colour, values) for name, (colour, values) in lines.items() if any(v is not None for v in values)}
    if not lines:
        return ""
    top = max(value for _, values in lines.values() for value in values if value is not None) or 1.0
    drawn = "".join(polyline(values, top, colour) for colour, values in lines.values())
    legend = " · ".join(
        f'<span style="color:{colour}">{name}: {final(values)}</span>' for name, (colour, values) in lines.items()
    )
    title = f"<title>loss of each epoch, from 0 to {top:.3g}</title>"
    chart = f'<svg width="{WIDTH}" height="{HEIGHT}" role="img">{title}{drawn}</svg>'
    return f"<p>{chart}<br><small>{legend}</small></p>"


def final(values: Sequence[float | None]) -> str:
    return "not finite" if values[-1] is None else f"{values[-1]:.4f}"


def polyline(values: Sequence[float | None], top: float, colour: str) -> str:
    """Return a line through the finite values, 0 at the bottom; a single value is a dot."""
    step = (WIDTH - 2 * MARGIN) / max(1, len(values) - 1)
    points = [
        (MARGIN + step * index, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / top)
        for index, value in enumerate(values)
        if value is not None
    ]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'


def confusion(test: dict[str, Any]) -> str:
    """Return the confusion matrix as a table: rows are the true classes, columns the predicted ones."""
    matrix = test["confusion"]
    most = max((count for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j), default=0) or 1
    cell = "padding:2px 6px;text-align:right"

    def shade(true: int, predicted: int, count: int) -> str:
        if true == predicted:
            return "font-weight:bold"
        return f"background:rgba(245,147,34,{0.8 * count / most:.2f})" if count else "opacity:0.3"

    head = "".join(f'<th style="{cell}">{predicted}</th>' for predicted in range(len(matrix)))
    rows = "".join(
        f'<tr><th style="{cell}">{true}</th>'
        + "".join(f'<td style="{cell};{shade(true, p, count)}">{count:,}</td>' for p, count in enumerate(row))
        + "</tr>"
        for true, row in enumerate(matrix)
    )
    caption = '<caption style="text-align:left"><small>rows: true class; columns: predicted</small></caption>'
    return f'<table style="font-size:small">{caption}<tr><th></th>{head}</tr>{rows}</table>'
