"""The picture of a run, laid out like the page: features, hidden neurons, output map, losses, colours.

Lengths are in pixels of the page; a pixel is a point (1/72 inch) of the figure. y runs downward, as on the page.
figure_network.py draws the network itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.files import figures
from mnist_mlp.lab.playground.figure_network import MOST_NEURONS, QUIET, Layout, colours, draw_network
from mnist_mlp.lab.playground.history import History
from mnist_mlp.lab.playground.points import EDGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, TEST = "#777777", "#000000"  # colours of the curves
CELLS = 100  # a map shows [−6, 6]² as 100 × 100 values
LARGEST_LOSS = 1e100  # larger losses are clipped: Matplotlib's log axes fail near 1e300
DIGITS = 3  # decimals of a loss, as on the page


def maps(history: History) -> list[np.ndarray]:
    """Return the values of features, hidden layers and output on the plane: float64 [units, 100, 100] each, y upward.

    With `discretize`, as on the page, they are only −1 and +1. Layers are truncated to `MOST_NEURONS` neurons.
    """
    axis = np.linspace(-EDGE, EDGE, CELLS)
    parts: list[list[np.ndarray]] = []
    for rows in np.split(axis, 10):  # a tenth at a time, because a layer may have thousands of neurons
        x, y = np.meshgrid(axis, rows)
        layers = history.activations(np.column_stack([x.ravel(), y.ravel()]))
        parts.append([layer[:MOST_NEURONS].reshape(-1, len(rows), CELLS) for layer in layers])
    values = [np.concatenate(layer, axis=1) for layer in zip(*parts, strict=True)]
    if history.state.discretize:
        return [np.where(np.isnan(each), each, np.where(each >= 0, 1.0, -1.0)) for each in values]
    return values


def draw(history: History, file: Path, others: Sequence[History] = ()) -> None:
    """Save the picture of `history`, with the losses of `others` (further seeds) faintly behind its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")  # it becomes an empty box
        figures.save(figure(history, others), file)


def figure(history: History, others: Sequence[History] = ()) -> Figure:
    """Return the picture, to be shown in a notebook or saved."""
    values = maps(history)
    layout = Layout.of(history)
    picture = figures.new(layout.width / 72, layout.height / 72, facecolor="white")
    picture.set_layout_engine("none")  # all positions are fixed
    page = picture.add_axes((0, 0, 1, 1))
    page.axis("off")
    settings(page, layout, history)
    draw_network(page, layout, history, values)

    def part(left: float, top: float, width: float, height: float) -> Axes:
        bottom = 1 - (top + height) / layout.height
        return picture.add_axes((left / layout.width, bottom, width / layout.width, height / layout.height))

    output_map(part(layout.map_left, layout.map_top, layout.map_size, layout.map_size), history, values[-1][0])
    losses = part(layout.map_left, layout.map_top - 122, layout.map_size, 74)
    loss_chart(losses, history, others)
    loss_text(page, layout, history, len(others))
    legend(page, layout, history)
    page.set(xlim=(0, layout.width), ylim=(layout.height, 0), aspect="auto")
    return picture


def settings(page: Axes, layout: Layout, history: History) -> None:
    """Draw the page's top bar: the settings of the run, each value below its name."""
    left = layout.margin
    state = history.state
    data = state.regDataset if state.problem == "regression" else state.dataset
    data = "own points" if history.own_points else data
    penalized = state.regularization != "none"
    values = {
        "epoch": f"{len(history.losses) - 1:,}",
        "data": data + (", initial weights 0" * state.initZero),
        **({} if history.own_points else {"noise": f"{state.noise:g}"}),
        "trained on": f"{state.percTrainData:g}%",
        "batch": f"{state.batchSize:g}",
        "learning rate": f"{state.learningRate:g}",
        "activation": state.activation if state.networkShape else "no hidden layer",
        "regularization": f"{state.regularization} {state.regularizationRate:g}" if penalized else "none",
        "seed": state.seed if len(state.seed) <= 12 else state.seed[:11] + "…",
    }
    lengths = [max(len(name) * 4.6, len(value) * 6.6) for name, value in values.items()]
    gap = min(34.0, (layout.width - 2 * left - sum(lengths)) / (len(values) - 1))
    for (name, value), length in zip(values.items(), lengths, strict=True):
        page.text(left, 30, name, fontsize=7.5, color=QUIET, va="baseline")
        page.text(left, 47, value, fontsize=10.5, color="#222", va="baseline", parse_math=False)  # a seed with $
        left += length + gap
    page.axhline(64, color="#dddddd", linewidth=0.8)


def output_map(axes: Axes, history: History, values: np.ndarray, *, radius: float = 2.6) -> None:
    """Draw the output on [−6, 6]², `values` float64 [100, 100], with the points in the colours of their labels.

    Test points are drawn only with `showTestData`, as on the page.
    """
    axes.imshow(colours(values), extent=(-EDGE, EDGE, -EDGE, EDGE), origin="lower", interpolation="nearest")
    groups = [(history.train_points, "white")]
    if history.state.showTestData:
        groups.append((history.test_points, "black"))
    for points, outline in groups:
        table = np.array(points, float).reshape(-1, 3)
        x, y, label = table[(np.abs(table[:, :2]) <= EDGE + 1).all(axis=1)].T  # your own may lie outside of the map
        axes.scatter(x, y, s=(2 * radius) ** 2, c=colours(label), edgecolors=outline, linewidths=0.7)
    axes.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xticks=range(-6, 7, 2), yticks=range(-6, 7, 2), aspect="equal")
    axes.yaxis.tick_right()
    axes.tick_params(labelsize=7, length=2, color=QUIET, labelcolor=QUIET)
    axes.spines[:].set_visible(False)


def loss_chart(axes: Axes, history: History, others: Sequence[History] = ()) -> None:
    """Draw training and test loss by epoch, on a linear scale from 0, as on the page, so that charts are comparable.

    The scale is logarithmic only if a run that diverges would flatten everything else.
    """
    highest = 0.0
    for each in (*others, history):
        own = each is history
        for part, colour in (("train", TRAIN), ("test", TEST)):
            values = np.array([row[part] for row in each.losses], float)
            values = np.where(np.isfinite(values), np.minimum(values, LARGEST_LOSS), np.nan)
            dot = "." if np.isfinite(values).sum() == 1 else None  # a single value does not make a line
            axes.plot(values, color=colour, marker=dot, linewidth=1.3 if own else 0.6, alpha=1 if own else 0.3)
            highest = max(highest, float(np.max(values, initial=0, where=np.isfinite(values))))
    first = max(history.losses[0].values())
    if highest > 100 * max(first, 1):
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 1 / LARGEST_LOSS), min(high, 10 * LARGEST_LOSS))
    else:
        axes.set_ylim(0, 1.05 * highest or 1)
    axes.set_xlim(0, max(1, len(history.losses) - 1))
    axes.locator_params(axis="x", nbins=4, integer=True)
    axes.xaxis.set_major_formatter(lambda epoch, _: f"{epoch:,.0f}")
    if axes.get_yscale() == "linear":
        axes.locator_params(axis="y", nbins=3)
    axes.tick_params(labelsize=7, length=2, color=QUIET, labelcolor=QUIET)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#cccccc")


def loss_text(page: Axes, layout: Layout, history: History, others: int) -> None:
    """Write the final losses and accuracies above the chart; `others` is the number of further seeds."""
    left, right, top = layout.map_left, layout.map_left + layout.map_size, layout.map_top - 156
    last = history.losses[-1]
    for row, (part, name, colour) in enumerate((("test", "Test loss", TEST), ("train", "Training loss", TRAIN))):
        y = top + 15 * row
        page.text(left, y, name, fontsize=9, color=colour, va="baseline")
        page.text(left + 70, y, format_loss(last[part]), fontsize=11.5, color=colour, va="baseline")
        if history.accuracy and np.isfinite(history.accuracy[part]):
            accuracy = f"{100 * history.accuracy[part]:.1f}% correct"
            page.text(right, y, accuracy, fontsize=9, color=colour, va="baseline", ha="right")
    if others:
        note = f"faint: {others} other seed{'s' * (others > 1)}"
        page.text(right, top + 30, note, fontsize=7, color=QUIET, va="baseline", ha="right")


def format_loss(value: float) -> str:
    """Format a loss with the page's three decimals; that of a run that diverged may be large or nan."""
    return f"{value:.{DIGITS}f}" if abs(value) < 1e4 else f"{value:.2e}" if np.isfinite(value) else "–"


def legend(page: Axes, layout: Layout, history: History) -> None:
    """Draw the colour scale and explain it."""
    left, top, width = layout.map_left, layout.map_top + layout.map_size + 34, layout.map_size
    shades: Any = colours(np.linspace(-1, 1, 201))[None]
    page.imshow(shades, extent=(left, left + width, top + 8, top), interpolation="nearest", aspect="auto")
    for value in (-1, 0, 1):
        at = left + width * (value + 1) / 2
        side = {-1: "left", 0: "center", 1: "right"}[value]
        page.text(at, top + 18, f"{value:+d}".replace("+0", "0").replace("-", "−"), fontsize=7, color=QUIET, ha=side)
    outlines = "points: training, white outline" + ("; test, black" if history.state.showTestData else "")
    what = "colours: labels, outputs, weights and biases" + (" (maps: sign only)" if history.state.discretize else "")
    page.text(left, top + 34, what, fontsize=7, color=QUIET)
    page.text(left, top + 45, outlines, fontsize=7, color=QUIET)
