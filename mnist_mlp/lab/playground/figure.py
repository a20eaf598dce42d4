"""The picture of a run, laid out like the page: features, hidden neurons, output map, losses, colours.

Lengths are the page's pixels; one of them is one point (1/72 inch) of the figure. y runs downward, as on the page.
The network itself is drawn by picture_network.py.
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

TRAIN, TEST = "#777777", "#000000"  # the two curves
CELLS = 100  # a map shows [−6, 6]² by 100 × 100 values
LARGEST_LOSS = 1e100  # beyond, the curve lies on the upper edge: Matplotlib's log axes fail near 1e300
DIGITS = 3  # of a loss, as the page shows it


def maps(history: History) -> list[np.ndarray]:
    """What features, hidden layers and output give on the plane: float64 [units, 100, 100] each, y upward.

    With the page's `discretize` they are −1 and +1 only. Of a layer's neurons the first `MOST_NEURONS`.
    """
    across = np.linspace(-EDGE, EDGE, CELLS)
    parts: list[list[np.ndarray]] = []
    for rows in np.split(across, 10):  # one tenth at a time: a layer may have thousands of neurons
        x, y = np.meshgrid(across, rows)
        layers = history.activations(np.column_stack([x.ravel(), y.ravel()]))
        parts.append([layer[:MOST_NEURONS].reshape(-1, len(rows), CELLS) for layer in layers])
    values = [np.concatenate(layer, axis=1) for layer in zip(*parts, strict=True)]
    if history.state.discretize:
        return [np.where(np.isnan(each), each, np.where(each >= 0, 1.0, -1.0)) for each in values]
    return values


def draw(history: History, file: Path, others: Sequence[History] = ()) -> None:
    """Writes the picture of `history`; the losses of `others` (further seeds) stand behind its own, faint."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")  # drawn as an empty box
        figures.save(figure(history, others), file)


def figure(history: History, others: Sequence[History] = ()) -> Figure:
    """The picture, for a notebook or to be saved."""
    values = maps(history)
    place = Layout.of(history)
    drawn = figures.new(place.width / 72, place.height / 72, facecolor="white")
    drawn.set_layout_engine("none")  # everything here has its place
    page = drawn.add_axes((0, 0, 1, 1))
    page.axis("off")
    settings(page, place.margin, place.width, history)
    draw_network(page, place, history, values)

    def part(left: float, top: float, width: float, height: float) -> Axes:
        bottom = 1 - (top + height) / place.height
        return drawn.add_axes((left / place.width, bottom, width / place.width, height / place.height))

    output_map(part(place.map_left, place.map_top, place.map_size, place.map_size), history, values[-1][0])
    losses = part(place.map_left, place.map_top - 122, place.map_size, 74)
    loss_chart(losses, history, others)
    loss_words(page, place.map_left, place.map_left + place.map_size, place.map_top - 156, history, len(others))
    legend(page, place.map_left, place.map_top + place.map_size + 34, place.map_size, history)
    page.set(xlim=(0, place.width), ylim=(place.height, 0), aspect="auto")
    return drawn


def settings(page: Axes, left: float, width: float, history: History) -> None:
    """The page's bar: what the run was, each value under its name."""
    state = history.state
    data = state.regDataset if state.problem == "regression" else state.dataset
    data = "own points" if history.own_points else data
    penalised = state.regularization != "none"
    shown = {
        "epoch": f"{len(history.losses) - 1:,}",
        "data": data + (", initial weights 0" * state.initZero),
        **({} if history.own_points else {"noise": f"{state.noise:g}"}),
        "trained on": f"{state.percTrainData:g}%",
        "batch": f"{state.batchSize:g}",
        "learning rate": f"{state.learningRate:g}",
        "activation": state.activation if state.networkShape else "none hidden",
        "regularization": f"{state.regularization} {state.regularizationRate:g}" if penalised else "none",
        "seed": state.seed if len(state.seed) <= 12 else state.seed[:11] + "…",
    }
    lengths = [max(len(name) * 4.6, len(value) * 6.6) for name, value in shown.items()]
    gap = min(34.0, (width - 2 * left - sum(lengths)) / (len(shown) - 1))
    for (name, value), length in zip(shown.items(), lengths, strict=True):
        page.text(left, 30, name, fontsize=7.5, color=QUIET, va="baseline")
        page.text(left, 47, value, fontsize=10.5, color="#222", va="baseline", parse_math=False)  # a seed with $
        left += length + gap
    page.axhline(64, color="#dddddd", linewidth=0.8)


def output_map(axes: Axes, history: History, values: np.ndarray, *, radius: float = 2.6) -> None:
    """The output on [−6, 6]², `values` float64 [100, 100], with the training points (and, as on the page, the test
    points if `showTestData`) in the colours of their labels."""
    axes.imshow(colours(values), extent=(-EDGE, EDGE, -EDGE, EDGE), origin="lower", interpolation="nearest")
    drawn = [(history.train_points, "white")]
    if history.state.showTestData:
        drawn.append((history.test_points, "black"))
    for points, outline in drawn:
        table = np.array(points, float).reshape(-1, 3)
        x, y, label = table[(np.abs(table[:, :2]) <= EDGE + 1).all(axis=1)].T  # one's own may lie off the map
        axes.scatter(x, y, s=(2 * radius) ** 2, c=colours(label), edgecolors=outline, linewidths=0.7)
    axes.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xticks=range(-6, 7, 2), yticks=range(-6, 7, 2), aspect="equal")
    axes.yaxis.tick_right()
    axes.tick_params(labelsize=7, length=2, color=QUIET, labelcolor=QUIET)
    axes.spines[:].set_visible(False)


def loss_chart(axes: Axes, history: History, others: Sequence[History] = ()) -> None:
    """Training and test loss by epoch, from 0 up and linear as on the page, so that charts can be compared at a
    glance; logarithmic only where a run that diverges would flatten everything else."""
    highest = 0.0
    for each in (*others, history):
        own = each is history
        for part, colour in (("train", TRAIN), ("test", TEST)):
            values = np.array([row[part] for row in each.losses], float)
            values = np.where(np.isfinite(values), np.minimum(values, LARGEST_LOSS), np.nan)
            dot = "." if np.isfinite(values).sum() == 1 else None  # one value makes no line
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


def loss_words(page: Axes, left: float, right: float, top: float, history: History, others: int) -> None:
    """The final losses, and how many of the points lie on the right side."""
    last = history.losses[-1]
    for row, (part, name, colour) in enumerate((("test", "Test loss", TEST), ("train", "Training loss", TRAIN))):
        y = top + 15 * row
        page.text(left, y, name, fontsize=9, color=colour, va="baseline")
        page.text(left + 70, y, shown_loss(last[part]), fontsize=11.5, color=colour, va="baseline")
        if history.accuracy and np.isfinite(history.accuracy[part]):
            right_side = f"{100 * history.accuracy[part]:.1f}% right"
            page.text(right, y, right_side, fontsize=9, color=colour, va="baseline", ha="right")
    if others:
        words = f"faint: {others} other seed{'s' * (others > 1)}"
        page.text(right, top + 30, words, fontsize=7, color=QUIET, va="baseline", ha="right")


def shown_loss(value: float) -> str:
    """A loss with the page's three digits; a run that diverged may have a large one, or none."""
    return f"{value:.{DIGITS}f}" if abs(value) < 1e4 else f"{value:.2e}" if np.isfinite(value) else "–"


def legend(page: Axes, left: float, top: float, width: float, history: History) -> None:
    """The colours, and what they stand for."""
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
