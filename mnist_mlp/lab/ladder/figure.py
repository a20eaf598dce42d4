"""The figure of the ladder: the rungs with their intervals, the three curves, and the approximation error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp.files import figures
from mnist_mlp.lab.ladder import networks
from mnist_mlp.lab.ladder.report import number, warnings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {  # mostly the palette of Okabe and Ito, which the colour-blind can distinguish
    "layers": "#0072B2",
    "activations": "#D55E00",
    "optimizers": "#009E73",
    "initialisations": "#CC79A7",
    "regularisers": "#B8860B",
    "cnn": "#333333",
}
INK = "#333333"
ACCURACIES = (10, 50, 80, 90, 95, 97, 98, 99, 99.5, 99.9)  # ticks in percent, as far as they lie within the panel
TITLES = {
    "width": ("Accuracy against width", "neurons in the one hidden layer"),
    "depth": ("Accuracy against depth", "hidden layers of 128 neurons"),
    "images": ("Accuracy against data", "training images of the lecture's net"),
    "approximation": ("Approximation error against width", "hidden neurons, with random weights"),
}


def draw(result: dict[str, Any]) -> Figure:
    """Draw a panel for each part of the `result` of `climb`."""
    panels = [name for name in TITLES if result[name]]
    columns = 2 if len(panels) > 1 else len(panels)
    rows = -(-len(panels) // 2)
    ladder = bool(result["rungs"])
    height = max(3.2 * rows, 1.2 + 0.27 * lines_of(result["rungs"]) if ladder else 0)
    figure = figures.new(7.2 * ladder + 4.1 * columns, height)
    spans = [7.2] * ladder + [4.1] * columns
    grid = figure.add_gridspec(max(rows, 1), len(spans), width_ratios=spans)
    if ladder:
        draw_rungs(figure.add_subplot(grid[:, 0]), result["rungs"], result["dataset"]["test_examples"])
    for index, name in enumerate(panels):
        axes = figure.add_subplot(grid[index // columns, ladder + index % columns])
        draw_errors(axes, result[name]) if name == "approximation" else draw_curve(axes, name, result[name])
        title, counted = TITLES[name]
        axes.set_title(title, loc="left", fontsize="medium", fontweight="bold", color=INK)
        axes.set_xlabel(counted)
        axes.grid(color="#EEEEEE")
        axes.spines[["top", "right"]].set_visible(False)
    figure.set_layout_engine("constrained", wspace=0.05, hspace=0.05)
    if "dataset" in result:
        figure.suptitle(f"The lecture as a ladder, on {result['dataset']['name']}", fontsize="x-large", color=INK)
    figures.caption(figure, caption(result))
    return figure


def caption(result: dict[str, Any]) -> list[str]:
    """Describe the data, the seeds and the marks."""
    n = len(result["seeds"])
    over = f"{n} seeds: faint dots; bars: 95% intervals of their mean" if n > 1 else "one seed"
    lines = []
    if "dataset" in result:
        data = result["dataset"]
        sizes = f"{data['train_examples']:,} training and {data['test_examples']:,} test images"
        lines.append(f"{data['name']}: {sizes}; {number(result['epochs'], 'epoch')}; {over}")
        lines += [warning[0].upper() + warning[1:] + "." for warning in warnings(result)]
    elif n > 1:
        lines.append(f"median and range of {n} seeds")
    return lines


def lines_of(rows: Sequence[dict[str, Any]]) -> float:
    """Return the height of the ladder in rows; the name of each group takes one and a half."""
    return len(rows) + 1.5 * len({row["group"] for row in rows})


def draw_rungs(axes: Axes, rows: Sequence[dict[str, Any]], test_images: int) -> None:
    """Draw the accuracies on a logarithmic scale of the error rate: halving the errors is the same step everywhere."""
    least = 0.5 / test_images  # stands for no errors at all, which has no logarithm

    def error_rate(accuracy: float) -> float:
        return max(least, 1 - accuracy)

    y, ticks, names, group = 0.0, [], [], ""
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            y += 0.5
            axes.text(-0.01, y, group, transform=axes.get_yaxis_transform(), ha="right", va="center",
                      color=COLOURS[group], fontweight="bold")  # fmt: skip
            y += 1
        colour = COLOURS[group]
        axes.plot([error_rate(value) for value in row["accuracies"]], [y] * len(row["accuracies"]), ".",
                  color=colour, alpha=0.35, markeredgewidth=0, markersize=7)  # fmt: skip
        if row["interval"]:
            axes.plot([error_rate(end) for end in row["interval"]], [y] * 2, color=colour, linewidth=2.5, alpha=0.9,
                      solid_capstyle="butt")  # fmt: skip
        axes.plot(error_rate(row["accuracy"]), y, "o", color=colour, markersize=6.5, markeredgecolor="white")
        axes.text(1.01, y, f"{100 * row['accuracy']:.2f}", transform=axes.get_yaxis_transform(), va="center",
                  fontsize="small", color=INK)  # fmt: skip
        ticks.append(y)
        names.append(f"{row['name']}  {row['number']:>2}")
        y += 1
    for row in rows:
        if row["name"] == networks.LECTURE:
            axes.axvline(error_rate(row["accuracy"]), color=COLOURS["layers"], linewidth=1, alpha=0.5, zorder=0)
            if row["interval"]:
                ends = (error_rate(end) for end in row["interval"])
                axes.axvspan(*ends, color=COLOURS["layers"], alpha=0.08, zorder=0)
    axes.set_xscale("log")
    axes.set_ylim(y, 0)
    values = [error_rate(value) for row in rows for value in row["accuracies"]]
    low, high = min(values) / 1.3, min(1.0, 1.1 * max(values))
    axes.set_xlim(high, low)  # an interval may extend beyond, as far as no errors at all
    marks = [mark for mark in ACCURACIES if low <= 1 - mark / 100 <= high]
    axes.set_xticks([1 - mark / 100 for mark in marks], [f"{mark:g}%" for mark in marks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(ticks, names)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("halving the errors is the same step everywhere; the line is the lecture's net")
    axes.set_title("Test accuracy of each rung", loc="left", fontsize="medium", fontweight="bold", color=INK)


def draw_curve(axes: Axes, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Draw accuracies in percent, with the seeds behind their mean."""
    counts, means = [row[name] for row in rows], [100 * row["accuracy"] for row in rows]
    for count, row in zip(counts, rows, strict=True):
        values = [100 * value for value in row["accuracies"]]
        axes.plot([count] * len(values), values, ".", color=COLOURS["layers"], alpha=0.35, markeredgewidth=0)
    ends = [row["interval"] or [row["accuracy"]] * 2 for row in rows]
    reach = [[mean - 100 * low for mean, (low, _) in zip(means, ends, strict=True)],
             [100 * high - mean for mean, (_, high) in zip(means, ends, strict=True)]]  # fmt: skip
    axes.errorbar(counts, means, reach, fmt="o-", color=COLOURS["layers"], markersize=5, linewidth=1.3, capsize=3)
    if name != "depth":
        axes.set_xscale("log")
    last = counts[-1]
    shown = counts if name != "images" else [count for count in (10, 100, 1000, 10_000) if 3 * count <= last] + [last]
    axes.set_xticks(shown, [f"{count:,}" for count in shown])
    axes.set_xticks([], minor=True)
    axes.set_ylabel("test accuracy, %")


def draw_errors(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    """Draw both errors of each target: L² error solid with the range over seeds shaded, largest error dashed."""
    colours = [COLOURS["layers"], COLOURS["activations"], COLOURS["optimizers"]]
    for target, colour in zip(dict.fromkeys(row["target"] for row in rows), colours, strict=True):
        curve = [row for row in rows if row["target"] == target]
        widths = [row["width"] for row in curve]
        for kind, style, label in (("l2", "o-", target), ("largest", "--", None)):
            axes.plot(widths, [row[f"{kind}_error"] for row in curve], style, color=colour, markersize=4, label=label)
            if kind == "l2":
                ranges = [row["l2_range"] for row in curve]
                axes.fill_between(widths, [low for low, _ in ranges], [high for _, high in ranges], color=colour,
                                  alpha=0.15, linewidth=0)  # fmt: skip
    axes.plot([], [], "o-", color=INK, markersize=4, label="L² error")
    axes.plot([], [], "--", color=INK, label="largest error")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xticks([], minor=True)
    axes.set_ylabel("error")
    axes.legend(fontsize="x-small", frameon=False)
