"""The drawings on verify.html, as SVG: a share of a bound, a value within a range, and lines on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mnist_mlp.report.html import Html, tag
from mnist_mlp.report.svg_charts import BOTTOM, HEIGHT, RIGHT, TOP, WIDTH, Line, chart

LEFT = 66  # margin for labels such as 10,000
MOST = 60  # points of a line that are marked with a dot


def share_bar(share: float) -> Html:
    """Return a bar for a share of a bound; a whole one is the bound, and one beyond has another colour."""
    width = round(100 * min(max(share, 0.0), 1.0), 1)
    filled = tag("rect", x=0, y=0, width=width, height=10, class_="beyond" if share > 1 else "within")
    return tag(
        "svg",
        tag("rect", x=0, y=0, width=100, height=10, class_="whole"),
        filled,
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        class_="share",
        role="img",
        aria_label=f"{share:.2g} of the bound",
    )


def range_strip(low: float, high: float, observed: float) -> Html | None:
    """Return a strip for what is accepted, from `low` to `high`, with a dot for what was observed; None if empty."""
    if not low < high:
        return None
    at = round(20 + 80 * (observed - low) / (high - low), 1)
    return tag(
        "svg",
        tag("rect", x=20, y=3, width=80, height=4, class_="whole"),
        tag("circle", cx=min(max(at, 4.0), 116.0), cy=5, r=4, class_="within" if 20 <= at <= 100 else "beyond"),
        viewBox="0 0 120 10",
        class_="share",
        role="img",
        aria_label=f"{observed:.5g} in the range from {low:.5g} to {high:.5g}",
    )


# Six parameters: they say what the chart is called and shows, and what its axes are.
def log_chart(name: str, title: str, about: str, lines: Sequence[Line], x_label: str, unit: str) -> Html:
    """Return a chart whose axes are both logarithmic. Every x and y is positive; `name` is the prefix of ids."""
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points if y is not None]
    ticks = decades(min(ys), max(ys))
    left, right, bottom, top = xs[0], xs[-1], ticks[0], ticks[-1]

    def x_at(x: float) -> float:
        share = math.log(x / left) / math.log(right / left) if right > left else 0.5
        return round(LEFT + 8 + share * (WIDTH - LEFT - RIGHT - 16), 1)

    def y_at(y: float) -> float:
        return round(HEIGHT - BOTTOM - math.log(y / bottom) / math.log(top / bottom) * (HEIGHT - TOP - BOTTOM), 1)

    parts: list[Html] = []
    for y in ticks:
        parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y_at(y), y2=y_at(y)))
        parts.append(
            tag(
                "text", f"{y:,.0f}" if y >= 1 else f"{y:g}", class_="tick", x=LEFT - 7, y=y_at(y) + 4, text_anchor="end"
            )
        )
    marked, free = [], -math.inf
    for x in xs:  # as many labels as have room
        half = 4.5 * len(f"{x:,.0f}")
        if x_at(x) - half >= free:
            marked.append(x)
            free = x_at(x) + half + 6
    for x in marked:
        words = f"{x:,.0f}"
        centre = min(x_at(x), WIDTH - 2 - 4.8 * len(words))
        parts.append(tag("text", words, class_="tick", x=centre, y=HEIGHT - BOTTOM + 17, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(tag("text", x_label, class_="tick", x=middle, y=HEIGHT - 3, text_anchor="middle"))
    for line in lines:
        points = [(x, y) for x, y in line.points if y is not None]
        path = "".join(f"{'L' if index else 'M'}{x_at(x)} {y_at(y)}" for index, (x, y) in enumerate(points))
        dots = [
            tag(
                "circle",
                tag("title", f"{line.name}, {x:,.0f}: {y:.4g} {unit}"),
                cx=x_at(x),
                cy=y_at(y),
                r=3,
                class_="dot",
            )
            for x, y in points[:MOST]
        ]
        parts.append(tag("g", tag("path", d=path, class_="line"), *dots, class_=f"series {line.kind}"))
    return chart(name, title, about, parts)


def decades(least: float, most: float) -> list[float]:
    """Return round ticks of a logarithmic axis around these positive values: 1, 2, 5, 10, …, or powers of ten alone."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    factors = (1,) if last - first > 3 else (1, 2, 5)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    below = max(index for index, tick in enumerate(ticks) if tick <= least * (1 + 1e-9))
    above = min((index for index, tick in enumerate(ticks) if tick >= most * (1 - 1e-9)), default=len(ticks) - 1)
    return ticks[below : max(above, below + 1) + 1]
