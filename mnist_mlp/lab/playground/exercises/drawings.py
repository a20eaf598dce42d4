"""The figures of the exercises: panels with output map, hidden neurons and losses; two exercises have special ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_mlp.files import figures
from mnist_mlp.lab.playground import figure as picture
from mnist_mlp.lab.playground.exercises.answers import BY_HAND, format_parameters
from mnist_mlp.lab.playground.exercises.answers_deep import layer_accuracies
from mnist_mlp.lab.playground.exercises.parts import Exercise, Panel, Runs, with_parameters
from mnist_mlp.lab.playground.figure_network import LABELS, QUIET, colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 5  # panels in a row, at most
EDGE = 2.5  # edge of an output map, in inches


def draw(exercise: Exercise, runs: Runs, file: Path) -> None:
    """Save the exercise's figure."""
    figures.save(figure(exercise, runs), file)


def figure(exercise: Exercise, runs: Runs) -> Figure:
    """Return the exercise's figure, to be shown in a notebook or saved."""
    if exercise.figure:
        return exercise.figure(runs)
    chosen = exercise.panels(runs) if exercise.panels else []
    return panels(chosen or [Panel(name, first, others) for name, (first, *others) in runs.items()])


def by_hand(runs: Runs) -> list[Panel]:
    """Return the panels of exercise 2: one neuron with parameters set by hand."""
    history = runs["gauss"][0]
    return [Panel(format_parameters(parameters), with_parameters(history, parameters)) for parameters in BY_HAND]


def each_seed(name: str) -> Callable[[Runs], list[Panel]]:
    """Return a function that makes a panel for each seed of a trial, up to one row."""
    return lambda runs: [Panel(f"run {k}", history) for k, history in enumerate(runs[name][:COLUMNS], start=1)]


def two_restarts(*names: str, first: str) -> Callable[[Runs], list[Panel]]:
    """Return a function that makes a panel of trial `first` and two of each other trial."""

    def chosen(runs: Runs) -> list[Panel]:
        rest = [(name, k) for name in names for k in range(len(runs[name][:2]))]
        return [Panel(f"{name}, run {k + 1}", runs[name][k], runs[name]) for name, k in ((first, 0), *rest)]

    return chosen


def panels(chosen: Sequence[Panel]) -> Figure:
    """Draw panels side by side, up to `COLUMNS` in a row."""
    rows = -(-len(chosen) // COLUMNS)
    columns = -(-len(chosen) // rows)
    layers = max(len(panel.history.state.networkShape) for panel in chosen)
    widest = max((units for panel in chosen for units in panel.history.state.networkShape), default=1)
    strip = EDGE * layers / max(widest, 4)  # so that all maps of hidden neurons are squares of the same size
    chart = 0.8 if any(panel.history.epochs for panel in chosen) else 0.1
    drawn = figures.new(columns * (EDGE + 0.4), rows * (EDGE + strip + chart + 0.55), facecolor="white")
    parts = drawn.subfigures(rows, columns, squeeze=False).ravel()
    heights = [EDGE, *([strip] if layers else []), chart]
    for part, panel in zip(parts, chosen, strict=False):
        top, *middle, bottom = part.subplots(len(heights), 1, height_ratios=heights)
        values = picture.maps(panel.history)
        picture.output_map(top, panel.history, values[-1][0], radius=1.6)
        top.set_title(panel.title, fontsize=9, color="#222")
        if middle:
            neurons(middle[0], values[1:-1], max(widest, 4))
        losses = panel.history.losses[-1]
        if panel.history.epochs:
            picture.loss_chart(bottom, panel.history, panel.others)
        else:
            bottom.axis("off")
        bottom.set_title("test {test:.3f}, training {train:.3f}".format(**losses), fontsize=8, color=QUIET, pad=3)
    return drawn


def neurons(axes: Axes, layers: Sequence[np.ndarray], widest: int) -> None:
    """Draw the maps of hidden neurons, a row for each layer."""
    for row, images in enumerate(layers):
        left = (widest - len(images)) / 2
        for at, image in enumerate(images, start=1):
            box = (left + at - 0.95, left + at - 0.05, row + 0.95, row + 0.05)
            axes.imshow(colours(image), extent=box, origin="lower", interpolation="antialiased")
    axes.set(xlim=(0, widest), ylim=(max(len(layers), 1), 0), aspect="equal")
    axes.axis("off")


def features_and_data(runs: Runs) -> Figure:
    """Draw exercise 1: the seven features on the plane and the data sets."""
    drawn = figures.new(10.5, 5.2, facecolor="white")
    above, below = drawn.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.7))[:, 0]
    values = picture.maps(next(iter(runs.values()))[0])[0]
    tops = above.subplots(1, len(LABELS))
    for axes, label, image in zip(tops, LABELS.values(), values, strict=True):
        axes.imshow(colours(image), extent=(-6, 6, -6, 6), origin="lower", interpolation="nearest")
        axes.set_title(label, fontsize=10)
        axes.set(xticks=(), yticks=())
        axes.spines[:].set_visible(False)
    for axes, (name, (history, *_)) in zip(below.subplots(1, len(runs)), runs.items(), strict=True):
        picture.output_map(axes, history, np.zeros((picture.CELLS, picture.CELLS)), radius=1.7)
        axes.set_title(name, fontsize=10)
    figures.caption(drawn, ["features and labels: orange −1 and below, grey 0, blue +1 and above"])
    return drawn


def layer_by_layer(runs: Runs) -> Figure:
    """Draw exercise 9: the maps of all neurons, a row for each layer, with the accuracy of its best single neuron."""
    drawn = figures.new(5.2 * len(runs), 5.3, facecolor="white")
    for part, (name, histories) in zip(drawn.subfigures(1, len(runs), squeeze=False)[0], runs.items(), strict=True):
        values = picture.maps(histories[0])
        axes = part.subplots()
        neurons(axes, values, 8)
        right = np.median(layer_accuracies(histories), axis=0)
        names = ["features", *(f"layer {k}" for k in range(1, len(values) - 1)), "output"]
        for row, (layer, share) in enumerate(zip(names, right, strict=True)):
            axes.text(-0.15, row + 0.5, layer, fontsize=8, ha="right", va="center", color="#222")
            axes.text(8.15, row + 0.5, f"{100 * share:.0f}%", fontsize=8, ha="left", va="center", color="#222")
        part.suptitle(name, fontsize=10)
    figures.caption(drawn, ["right: test accuracy of the best single neuron with one threshold, median over seeds"])
    return drawn
