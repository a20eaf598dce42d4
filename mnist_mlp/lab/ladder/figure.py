"""The ladder as one figure: the rungs with their intervals, the three curves, and the approximation error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp.files import figures
from mnist_mlp.lab.ladder import networks
from mnist_mlp.lab.ladder.report import number, warnings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {  # of Okabe and Ito, which the colour-blind tell apart
    "layers": "#0072B2",
    "activations": "#D55E00",
    "optimizers": "#009E73",
    "initialisations": "#CC79A7",
    "regularisers": "#B8860B",
    "cnn": "#333333",
}
INK = "#333333"
ACCURACIES = (10, 50, 80, 90, 95, 97, 98, 99, 99.5, 99.9)  # per cent, marked where they lie within the panel
TITLES = {
    "width": ("Accuracy against width", "neurons in the one hidden layer"),
    "depth": ("Accuracy against depth", "hidden layers of 128 neurons"),
    "images": ("Accuracy against data", "training images of the lecture's net"),
    "approximation": ("Approximation error against width", "hidden neurons, of random weights"),
}


def draw(found: dict[str, Any]) -> Figure:
    """A panel for each part that was measured; `found` is what the program's --json prints."""
    panels = [name for name in TITLES if found[name]]
    columns = 2 if len(panels) > 1 else len(panels)
    rows = -(-len(panels) // 2)
    ladder = bool(found["rungs"])
    height = max(3.2 * rows, 1.2 + 0.27 * lines_of(found["rungs"]) if ladder else 0)
    figure = figures.new(7.2 * ladder + 4.1 * columns, height)
    spans = [7.2] * ladder + [4.1] * columns
    grid = figure.add_gridspec(max(rows, 1), len(spans), width_ratios=spans)
    if ladder:
        draw_rungs(figure.add_subplot(grid[:, 0]), found["rungs"], found["dataset"]["test_examples"])
    for place, name in enumerate(panels):
        axes = figure.add_subplot(grid[place // columns, ladder + place % columns])
        draw_errors(axes, found[name]) if name == "approximation" else draw_curve(axes, name, found[name])
        title, counted = TITLES[name]
        axes.set_title(title, loc="left", fontsize="medium", fontweight="bold", color=INK)
        axes.set_xlabel(counted)
        axes.grid(color="#EEEEEE")
        axes.spines[["top", "right"]].set_visible(False)
    figure.set_layout_engine("constrained", wspace=0.05, hspace=0.05)
    if "dataset" in found:
        figure.suptitle(f"The lecture as a ladder, on {found['dataset']['name']}", fontsize="x-large", color=INK)
    figures.caption(figure, caption(found))
    return figure


def caption(found: dict[str, Any]) -> list[str]:
    """What was measured, and on what."""
    n = len(found["seeds"])
    over = f"{n} seeds: faint dots; bars: 95% intervals of their mean" if n > 1 else "one seed"
    lines = []
    if "dataset" in found:
        data = found["dataset"]
        sizes = f"{data['train_examples']:,} training and {data['test_examples']:,} test images"
        lines.append(f"{data['name']}: {sizes}; {number(found['epochs'], 'epoch')}; {over}")
        lines += [warning[0].upper() + warning[1:] + "." for warning in warnings(found)]
    elif n > 1:
        lines.append(f"median of {n} seeds, with their range")
    return lines


def lines_of(rows: Sequence[dict[str, Any]]) -> float:
    """The height of the ladder, in rows: the names of the groups take one each, and half a one above."""
    return len(rows) + 1.5 * len({row["group"] for row in rows})


def draw_rungs(axes: Axes, rows: Sequence[dict[str, Any]], test_images: int) -> None:
    """The accuracies on a scale on which half as many mistakes is the same step everywhere."""
    least = 0.5 / test_images  # stands for no mistakes at all, of which there is no logarithm

    def missed(share: float) -> float:
        return max(least, 1 - share)

    place, places, names, group = 0.0, [], [], ""
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            place += 0.5
            axes.text(-0.01, place, group, transform=axes.get_yaxis_transform(), ha="right", va="center",
                      color=COLOURS[group], fontweight="bold")  # fmt: skip
            place += 1
        colour = COLOURS[group]
        axes.plot([missed(value) for value in row["accuracies"]], [place] * len(row["accuracies"]), ".",
                  color=colour, alpha=0.35, markeredgewidth=0, markersize=7)  # fmt: skip
        if row["interval"]:
            axes.plot([missed(end) for end in row["interval"]], [place] * 2, color=colour, linewidth=2.5, alpha=0.9,
                      solid_capstyle="butt")  # fmt: skip
        axes.plot(missed(row["accuracy"]), place, "o", color=colour, markersize=6.5, markeredgecolor="white")
        axes.text(1.01, place, f"{100 * row['accuracy']:.2f}", transform=axes.get_yaxis_transform(), va="center",
                  fontsize="small", color=INK)  # fmt: skip
        places.append(place)
        names.append(f"{row['name']}  {row['number']:>2}")
        place += 1
    for row in rows:
        if row["name"] == networks.LECTURE:
            axes.axvline(missed(row["accuracy"]), color=COLOURS["layers"], linewidth=1, alpha=0.5, zorder=0)
            if row["interval"]:
                axes.axvspan(*(missed(end) for end in row["interval"]), color=COLOURS["layers"], alpha=0.08, zorder=0)
    axes.set_xscale("log")
    axes.set_ylim(place, 0)
    values = [missed(value) for row in rows for value in row["accuracies"]]
    low, high = min(values) / 1.3, min(1.0, 1.1 * max(values))
    axes.set_xlim(high, low)  # an interval may go on, up to no mistakes at all
    marks = [mark for mark in ACCURACIES if low <= 1 - mark / 100 <= high]
    axes.set_xticks([1 - mark / 100 for mark in marks], [f"{mark:g}%" for mark in marks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("to halve the mistakes is the same step everywhere; the line: the lecture's net")
    axes.set_title("Test accuracy of each rung", loc="left", fontsize="medium", fontweight="bold", color=INK)


def draw_curve(axes: Axes, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Accuracies in per cent, with the seeds behind their mean."""
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
    """Both errors of each target: solid the L² error, dashed the largest one, shaded the range over the seeds."""
    colours = [COLOURS["layers"], COLOURS["activations"], COLOURS["optimizers"]]
    for target, colour in zip(dict.fromkeys(row["target"] for row in rows), colours, strict=True):
        mine = [row for row in rows if row["target"] == target]
        widths = [row["width"] for row in mine]
        for kind, style, label in (("l2", "o-", target), ("largest", "--", None)):
            axes.plot(widths, [row[f"{kind}_error"] for row in mine], style, color=colour, markersize=4, label=label)
            if kind == "l2":
                ranges = [row["l2_range"] for row in mine]
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
