"""SVG charts: lines, intervals, bars. Colours and fonts come from the classes of the style sheet."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from mnist_mlp.report.html import Html, tag

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 38  # margins for the labels of the axes


@dataclasses.dataclass(frozen=True)
class Line:
    """Points joined by a line, with a gap where y is None (not finite). `kind` is a CSS class."""

    name: str
    kind: str
    points: Sequence[tuple[float, float | None]]
    mark: bool = False  # draw the points only
    bars: Sequence[tuple[float, float, float]] = ()  # vertical ones: (x, low, high)


# Six parameters: four say what the chart is called and shows, two how the y axis is scaled.
def line_chart(name: str, title: str, about: str, lines: Sequence[Line], *, percent: bool, low: float | None) -> Html:
    """Return a chart of lines over epochs.

    `name` is the prefix of ids, `about` a description for screen readers, `low` the start of the y axis.
    """
    values = [y for line in lines for _, y in line.points if y is not None]
    last = max([1.0, *(x for line in lines for x, _ in line.points)])
    first = min([1.0, *(x for line in lines for x, _ in line.points)])
    bottom, top, ticks = scale_of(values, low)
    top = min(top, 1.0) if percent else top
    if top <= bottom:  # all values are 100%
        bottom, ticks = top - 0.1, [top - 0.1, top]

    def x_at(x: float) -> float:
        share = (x - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y_at(y: float) -> float:
        return round(HEIGHT - BOTTOM - (y - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM), 1)

    parts: list[Html] = []
    for y in (tick for tick in ticks if bottom <= tick <= top * (1 + 1e-9)):
        parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y_at(y), y2=y_at(y)))
        words = f"{100 * y:.{decimals(ticks, 100)}f}%" if percent else f"{y:.{decimals(ticks)}f}"
        parts.append(tag("text", words, class_="tick", x=LEFT - 7, y=y_at(y) + 4, text_anchor="end"))
    for x in epochs_marked(int(first), int(last)):
        parts.append(tag("text", x, class_="tick", x=x_at(x), y=HEIGHT - BOTTOM + 17, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(tag("text", "epoch", class_="tick", x=middle, y=HEIGHT - 3, text_anchor="middle"))
    for line in lines:
        parts.append(draw_line(line, x_at, y_at, percent))
    return chart(name, title, about, parts)


def chart(name: str, title: str, about: str, parts: Sequence[Html]) -> Html:
    """Return a drawing of WIDTH × HEIGHT with a title, and a description for screen readers."""
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", about, id=f"{name}-about"),
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{name}-title {name}-about",
        class_="chart",
    )


def draw_line(line: Line, x_at: Callable[[float], float], y_at: Callable[[float], float], percent: bool) -> Html:
    """Return the path of a line, with a labelled dot at each point."""
    parts, pen = [], ""
    path: list[str] = []
    for x, y in line.points:
        pen = "" if y is None else "L" if pen else "M"
        if y is None:
            continue
        path.append(f"{pen}{x_at(x)} {y_at(y)}")
        words = f"{line.name}, epoch {x:g}: {100 * y:.2f}%" if percent else f"{line.name}, epoch {x:g}: {y:.4f}"
        if len(line.points) <= 60 or line.mark:
            centre = {"cx": x_at(x), "cy": y_at(y)}
            parts.append(tag("circle", tag("title", words), r=5 if line.mark else 3, class_="dot", **centre))
    if not line.mark:
        parts.insert(0, tag("path", d="".join(path), class_="line"))
    return tag("g", *parts, class_=f"series {line.kind}")


def legend(lines: Sequence[Line]) -> Html:
    """Return the legend of a chart."""
    items = []
    for line in lines:
        piece = tag("path", d="M1 7H25", class_="line") if not line.mark else None
        dot = tag("circle", cx=13, cy=7, r=5 if line.mark else 3, class_="dot")
        picture = tag("g", piece, dot, class_=f"series {line.kind}")
        items.append(tag("li", tag("svg", picture, viewBox="0 0 26 14", class_="key", aria_hidden="true"), line.name))
    return tag("ul", *items, class_="legend")


def scale_of(values: Sequence[float], low: float | None, about: int = 5) -> tuple[float, float, list[float]]:
    """Return the ends of an axis for these values, and about `about` round ticks."""
    least, most = (min(values), max(values)) if values else (0.0, 1.0)
    least = least if low is None else min(low, least)
    if not most > least:
        most = least + (abs(least) or 1.0) * 0.1
    step = 10.0 ** math.floor(math.log10((most - least) / about))
    step *= next(factor for factor in (1, 2, 5, 10, 20) if (most - least) / (step * factor) <= about)
    bottom, top = math.floor(least / step + 1e-9) * step, math.ceil(most / step - 1e-9) * step
    count = round((top - bottom) / step)
    return bottom, top, [bottom + step * index for index in range(count + 1)]


def decimals(ticks: Sequence[float], times: float = 1.0) -> int:
    """Return how many decimals the labels of an axis need."""
    step = (ticks[1] - ticks[0]) * times if len(ticks) > 1 else 1.0
    return max(0, -math.floor(math.log10(step) + 1e-9))


def epochs_marked(first: int, last: int) -> list[int]:
    """Return at most nine epochs to label, evenly spaced."""
    if last - first < 8:
        return list(range(first, last + 1))
    step = next(step for size in range(9) for step in (10**size, 2 * 10**size, 5 * 10**size) if last / step <= 8)
    return [x for x in range(0, last + 1, step) if x >= first]


def share_chart(name: str, title: str, about: str, lines: Sequence[Line], x_label: str) -> Html:
    """Return a chart of shares over shares. Lines with bars are points around the diagonal, on two equal axes."""
    against = any(line.bars for line in lines)
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points if y is not None]
    ys += [end for line in lines for _, *ends in line.bars for end in ends]
    bottom, top, ticks = scale_of([*ys, *xs, 1.0] if against else [*ys, 1.0], None)
    bottom, top = max(bottom, 0.0), min(top, 1.0)
    if top <= bottom:  # all values are 100%
        bottom, ticks = top - 0.1, [top - 0.1, top]
    left, _, x_ticks = (bottom, top, ticks) if against else scale_of([1.0], 0.0)

    def x_at(x: float) -> float:
        return round(LEFT + (x - left) / (1 - left) * (WIDTH - LEFT - RIGHT), 1)

    def y_at(y: float) -> float:
        return round(HEIGHT - BOTTOM - (y - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM), 1)

    parts: list[Html] = []
    for y in (tick for tick in ticks if bottom <= tick <= top * (1 + 1e-9)):
        words = f"{100 * y:.{decimals(ticks, 100)}f}%"
        parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y_at(y), y2=y_at(y)))
        parts.append(tag("text", words, class_="tick", x=LEFT - 7, y=y_at(y) + 4, text_anchor="end"))
    for x in (tick for tick in x_ticks if left <= tick <= 1 + 1e-9):
        words = f"{100 * x:.{decimals(x_ticks, 100)}f}%"
        at = min(x_at(x), WIDTH - 2 - 4.2 * len(words))  # the last one must not be cut off
        parts.append(tag("text", words, class_="tick", x=at, y=HEIGHT - BOTTOM + 17, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(tag("text", x_label, class_="tick", x=middle, y=HEIGHT - 3, text_anchor="middle"))
    if against:
        ends = {"x1": x_at(bottom), "y1": y_at(bottom), "x2": x_at(top), "y2": y_at(top)}
        parts.append(tag("line", class_="diagonal", **ends))
    for line in lines:
        points = [(x, y) for x, y in line.points if y is not None]
        drawn: list[Html] = [
            tag("line", class_="line", x1=x_at(x), x2=x_at(x), y1=y_at(low), y2=y_at(high))
            for x, low, high in line.bars
        ]
        if not line.bars:
            path = "".join(f"{'L' if index else 'M'}{x_at(x)} {y_at(y)}" for index, (x, y) in enumerate(points))
            drawn.append(tag("path", d=path, class_="line"))
        for x, y in points if line.bars else ():
            words = f"{line.name}, {x_label} {100 * x:.2f}%: {100 * y:.2f}%"
            drawn.append(tag("circle", tag("title", words), cx=x_at(x), cy=y_at(y), r=3.5, class_="dot"))
        parts.append(tag("g", *drawn, class_=f"series {line.kind}" + " bars" * bool(line.bars)))
    return chart(name, title, about, parts)


def interval_chart(name: str, about: str, rows: Sequence[tuple[str, float, float, float]]) -> Html:
    """Return a chart of accuracies with their intervals, one per row: (name, low, accuracy, high)."""
    line, label = 34, 112
    bottom, top, ticks = scale_of([value for _, *values in rows for value in values], None, 4)
    bottom, top = max(bottom, 0.0), min(top, 1.0)
    height = line * len(rows) + 26

    def x_at(share: float) -> float:
        return round(label + (share - bottom) / (top - bottom) * (WIDTH - label - RIGHT - 8), 1)

    parts = [tag("title", about, id=f"{name}-title")]
    for tick in (tick for tick in ticks if bottom <= tick <= top * (1 + 1e-9)):
        parts.append(tag("line", class_="grid", x1=x_at(tick), x2=x_at(tick), y1=4, y2=height - 22))
        words = f"{100 * tick:.{decimals(ticks, 100)}f}%"
        parts.append(tag("text", words, class_="tick", x=x_at(tick), y=height - 6, text_anchor="middle"))
    for index, (run, low, share, high) in enumerate(rows):
        y = line * index + line / 2 + 2
        parts.append(tag("text", run if len(run) <= 15 else f"{run[:14]}…", class_="tick strong", x=0, y=y + 4))
        words = f"{run}: {100 * share:.2f}%, 95% interval {100 * low:.2f}–{100 * high:.2f}%"
        bar = tag("line", class_="line", x1=x_at(low), x2=x_at(high), y1=y, y2=y)
        dot = tag("circle", tag("title", words), cx=x_at(share), cy=y, r=6, class_="dot")
        parts.append(tag("g", bar, dot, class_=f"series run-{index % 6 + 1} thick"))
    size = f"0 0 {WIDTH} {height}"
    return tag("svg", *parts, viewBox=size, role="img", aria_labelledby=f"{name}-title", class_="chart")


def stacked_bar(name: str, about: str, parts: Sequence[tuple[str, float]]) -> Html:
    """Return one bar divided into parts: (name, value). The parts have the classes part-1, part-2, …."""
    whole, left, boxes = sum(value for _, value in parts) or 1.0, 0.0, []
    for index, (part, value) in enumerate(parts):
        width = value / whole * 1000
        words = f"{part}: {value:.2f} s, {100 * value / whole:.0f}%"
        box = tag("rect", tag("title", words), x=round(left, 1), y=0, width=round(width, 1), height=44)
        boxes.append(tag("g", box, class_=f"part part-{index % 8 + 1}"))
        left += width
    size = {"viewBox": "0 0 1000 44", "preserveAspectRatio": "none"}
    title = tag("title", about, id=f"{name}-title")
    return tag("svg", title, *boxes, role="img", aria_labelledby=f"{name}-title", class_="bar", **size)


def ten_bars(name: str, probabilities: Sequence[float], truth: int, predicted: int, names: Sequence[str]) -> Html:
    """Return ten probabilities as bars, with colours for the true and the predicted class."""
    parts = [tag("title", name)]
    for label, p in enumerate(probabilities):
        height = round(46 * p, 1) if math.isfinite(p) else 0
        kind = "truth" if label == truth else "predicted" if label == predicted else "other"
        words = f"{names[label]}: {100 * p:.2f}%"
        box = {"x": 10 * label + 1, "y": round(47 - height, 1), "width": 8, "height": round(height + 1, 1)}
        parts.append(tag("rect", tag("title", words), class_=kind, **box))
        parts.append(tag("text", label, x=10 * label + 5, y=58, text_anchor="middle", class_=kind))
    return tag("svg", *parts, viewBox="0 0 100 60", role="img", aria_label=name, class_="ten")
