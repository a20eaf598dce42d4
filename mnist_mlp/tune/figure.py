"""The figure of a search: the methods, the trials in order, and the parameters of the best method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.files import figures
from mnist_mlp.stats.metrics import mean_interval
from mnist_mlp.tune.selection import best_of_each, choose
from mnist_mlp.tune.space import Choice, Range, Space
from mnist_mlp.tune.study import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3  # panels in a row


def draw(file: Path, rows: Sequence[Row], spaces: Mapping[str, Space], about: str) -> None:
    """Draw a search and save the figure."""
    chosen, _ = choose(rows)
    names = sorted(
        name for name in chosen.values if len({row.values[name] for row in rows_of(rows, chosen.method)}) > 1
    )
    below = -(-len(names) // COLUMNS)
    figure = figures.new(10, 3.4 * (1 + below))
    grid = figure.add_gridspec(1 + below, 2 * COLUMNS)
    half = COLUMNS  # of the 2 · COLUMNS columns of the grid
    draw_methods(figure.add_subplot(grid[0, :half]), rows)
    draw_trials(figure.add_subplot(grid[0, half:]), rows)
    for index, name in enumerate(names):
        row, column = divmod(index, COLUMNS)
        axes = figure.add_subplot(grid[1 + row, 2 * column : 2 * column + 2])
        draw_slice(axes, rows_of(rows, chosen.method), name, spaces[chosen.method].get(name), chosen)
    figures.caption(figure, [about])
    figures.save(figure, file)


def rows_of(rows: Sequence[Row], method: str) -> list[Row]:
    return [row for row in rows if row.method == method and row.scores]


def colours(rows: Sequence[Row]) -> dict[str, str]:
    """Return a colour for each method."""
    return {name: f"C{index % 10}" for index, name in enumerate(dict.fromkeys(row.method for row in rows))}


def draw_methods(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw the best trial of each method: its folds, their mean and its interval."""
    best, colour = best_of_each(rows)[::-1], colours(rows)
    for y, row in enumerate(best):
        low, high = mean_interval(row.accuracies)
        mean = 100 * row.accuracy
        reach = [[mean - 100 * max(low, 0)], [100 * min(high, 1) - mean]]
        axes.plot([100 * value for value in row.accuracies], [y] * len(row.scores), "|", color="#999", markersize=9)
        axes.errorbar([mean], [y], xerr=reach, fmt="o", color=colour[row.method], capsize=3)
    axes.set_yticks(range(len(best)), [row.method for row in best])
    axes.set_ylim(-0.6, len(best) - 0.4)
    axes.set_xlabel("accuracy in cross-validation, %")
    axes.set_title("best trial of each method: folds, mean, 95% interval", fontsize="medium")


def draw_trials(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw the accuracy of each trial and the best so far."""
    for method, colour in colours(rows).items():
        trials = rows_of(rows, method)
        complete = [row for row in trials if row.state == "complete"]
        pruned = [row for row in trials if row.state == "pruned"]
        axes.plot([row.number for row in pruned], percent(pruned), "x", color=colour, alpha=0.6, markersize=5)
        axes.plot([row.number for row in complete], percent(complete), "o", color=colour, markersize=4, label=method)
        best = np.maximum.accumulate(percent(complete) or [0])
        axes.step([row.number for row in complete], best[: len(complete)], where="post", color=colour, linewidth=1)
    zoom(axes, rows)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("trial (× pruned: mean of its folds so far)")
    axes.set_ylabel("accuracy, %")
    axes.legend(fontsize="small")
    axes.set_title("trials, and the best so far", fontsize="medium")


def draw_slice(axes: Axes, rows: Sequence[Row], name: str, parameter: Any, chosen: Row) -> None:
    """Draw accuracy against the values of one parameter."""
    categorical = isinstance(parameter, Choice)
    ticks = {value: index for index, value in enumerate(sorted({row.values[name] for row in rows}))}
    for state, mark in (("pruned", "x"), ("complete", "o")):
        some = [row for row in rows if row.state == state]
        x = [ticks[row.values[name]] if categorical else row.values[name] for row in some]
        axes.plot(x, percent(some), mark, color="C0" if state == "complete" else "#999", markersize=5)
    at = ticks[chosen.values[name]] if categorical else chosen.values[name]
    axes.plot([at], [100 * chosen.accuracy], "o", markersize=11, markerfacecolor="none", color="C3")
    if categorical:
        axes.set_xticks(range(len(ticks)), list(ticks))
        axes.set_xlim(-0.5, len(ticks) - 0.5)
    elif isinstance(parameter, Range) and parameter.log:
        axes.set_xscale("log")
    zoom(axes, rows)
    axes.set_xlabel(f"{name} of {chosen.method}")
    axes.set_ylabel("accuracy, %")


def percent(rows: Sequence[Row]) -> list[float]:
    return [100 * row.accuracy for row in rows]


def zoom(axes: Axes, rows: Sequence[Row]) -> None:
    """Cut off the worst trials if they would squeeze the good ones together."""
    values = np.array(percent([row for row in rows if row.scores]))
    low, high = float(np.quantile(values, 0.1)), float(values.max())
    bottom = max(values.min(), low - (high - low))
    pad = 0.05 * max(high - bottom, 0.1)
    axes.set_ylim(bottom - pad, high + pad)
