"""The losses of each mistake beside those of the right program, as a figure of small panels."""

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
POINTS = 400  # of a curve, at most: means over as many pieces


def draw(outcomes: Mapping[str, Outcome], found: dict[str, Any]) -> Figure:
    """A panel for each mistake; `found` is what `mistakes.make` gives, the outcomes are those of its first seed."""
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
    block = found["dataset"]
    figures.caption(
        figure,
        [
            f"{block['name']}, {block['train_examples']:,} training images, {found['epochs']} epochs, "
            f"seed {found['seeds'][0]}. Below each title: test accuracy, and what told the mistake."
        ],
    )
    return figure


def panel(ax: Axes, name: str, wrong: Outcome, right: Outcome) -> None:
    for outcome, colour, width, label in ((right, BLUE, 1.6, RIGHT), (wrong, ORANGE, 1.0, "with the mistake")):
        steps, losses = thinned(outcome.curve.step_losses)
        ax.plot(steps, losses, color=colour, linewidth=width, alpha=0.9, label=label)
    ax.set_yscale("log")
    told = next((f"told by the {each.told_by}" for each in wrong.diagnoses if each.name == name), "not told")
    ax.set_title(name, fontsize="medium", loc="left", pad=20)
    words = f"{100 * wrong.accuracy:.1f}% (right: {100 * right.accuracy:.1f}%), {told}"
    text = ax.text(0, 1.03, words, transform=ax.transAxes, fontsize=7, color="#444")
    text.set_in_layout(False)  # all panels of one width
    ax.tick_params(labelsize=7)
    ax.grid(True, which="major", color="#e5e5e5", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def thinned(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps, from 1 on, and losses, as means over at most POINTS pieces."""
    pieces = np.array_split(np.asarray(losses), min(POINTS, max(1, len(losses))))
    ends = np.cumsum([len(piece) for piece in pieces])
    return ends, np.array([piece.mean() if len(piece) else np.nan for piece in pieces])
