"""The figure of the mistakes: the losses of each beside those of the correct program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.files import figures
from mnist_mlp.lab.mistakes.programs import RIGHT, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
BLUE, ORANGE = "#1f5fa8", "#d9700a"
POINTS = 400  # of a curve, at most; each is a mean over neighbouring steps


def draw(outcomes: Mapping[str, Outcome], result: dict[str, Any]) -> Figure:
    """Draw a panel for each mistake, from the outcomes of the first seed and the `result` of `make`."""
    mistakes = [name for name in outcomes if name != RIGHT]
    columns = min(COLUMNS, len(mistakes))
    rows = math.ceil(len(mistakes) / columns)
    figure = figures.new(3.2 * columns, 2.5 * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for name, ax in zip(mistakes, axes, strict=False):
        panel(ax, name, outcomes[name], outcomes[RIGHT])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    for ax in axes[len(mistakes) :]:
        ax.axis("off")
    for ax in axes[::columns]:
        ax.set_ylabel("loss of a batch", fontsize="small")
    for ax in axes[max(0, len(mistakes) - columns) : len(mistakes)]:
        ax.set_xlabel("step", fontsize="small")
    block = result["dataset"]
    figures.caption(
        figure,
        [
            f"{block['name']}, {block['train_examples']:,} training images, {result['epochs']} epochs, "
            f"seed {result['seeds'][0]}. Below each title: test accuracy, and the evidence of the mistake."
        ],
    )
    return figure


def panel(ax: Axes, name: str, wrong: Outcome, right: Outcome) -> None:
    for outcome, colour, width, label in ((right, BLUE, 1.6, RIGHT), (wrong, ORANGE, 1.0, "with the mistake")):
        steps, losses = thinned(outcome.curve.step_losses)
        ax.plot(steps, losses, color=colour, linewidth=width, alpha=0.9, label=label)
    ax.set_yscale("log")
    evidence = next((f"evidence: {each.told_by}" for each in wrong.diagnoses if each.name == name), "not recognized")
    ax.set_title(name, fontsize="medium", loc="left", pad=20)
    subtitle = f"{100 * wrong.accuracy:.1f}% (correct: {100 * right.accuracy:.1f}%), {evidence}"
    text = ax.text(0, 1.03, subtitle, transform=ax.transAxes, fontsize=7, color="#444")
    text.set_in_layout(False)  # so that all panels keep the same width
    ax.tick_params(labelsize=7)
    ax.grid(True, which="major", color="#e5e5e5", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def thinned(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps, counted from 1, and losses, averaged to at most POINTS points."""
    pieces = np.array_split(np.asarray(losses), min(POINTS, max(1, len(losses))))
    ends = np.cumsum([len(piece) for piece in pieces])
    return ends, np.array([piece.mean() if len(piece) else np.nan for piece in pieces])
