"""The report of a run: a page of text, and the points as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_mlp.lab.playground.history import History
from mnist_mlp.lab.playground.points import EDGE
from mnist_mlp.lab.playground.sweep import fixed, format_spread
from mnist_mlp.lab.playground.url_state import State, as_text, parameter_count

SMALL = 60  # print weights and biases up to this number
EPOCHS = (0, 1, 10, 100, 1000, 10_000, 100_000)  # whose losses are printed, and the last one
OWN_POINTS = " (the page has other points)"
LABELS = {"xSquared": "x²", "ySquared": "y²", "xTimesY": "x·y", "sinX": "sin x", "sinY": "sin y"}


def text(histories: Sequence[History], *, data: str = "") -> str:
    """Return the report on the runs of one or several seeds. `data` is the file of your own points, if any."""
    history = histories[0]
    lines = [
        f"state     {settings(history.state)}",
        f"seed      {', '.join(repr(each.state.seed) for each in histories[:10])}"
        f"{f' and {len(histories) - 10} more' if len(histories) > 10 else ''}",
        f"data      {data_line(history, data)}",
        f"network   {arithmetic(history.state)}",
        "",
        *losses(histories),
        "",
    ]
    if history.accuracy:
        shares = {part: [h.accuracy[part] for h in histories if h.accuracy] for part in history.accuracy}
        lines.append(f"accuracy  {', '.join(f'{part} {format_spread(values)}' for part, values in shares.items())}")
    if history.state.regularization == "L1":
        lines.append(f"dead      {format_spread([h.dead_weights for h in histories], 0)} weights set to 0 by L1")
    if len(history.parameters) <= SMALL:
        lines += ["weights   of the first seed" if len(histories) > 1 else "weights", *weights(history)]
    lines += ["", f"page      {history.state.to_url()}{OWN_POINTS * history.own_points}"]
    return "\n".join(lines)


def settings(state: State) -> str:
    """Return the training settings in one line."""
    penalty = "" if state.regularization == "none" else f", {state.regularization} at rate {state.regularizationRate:g}"
    zero = ", all initial weights 0" if state.initZero else ""
    return f"{state.activation}, learning rate {state.learningRate:g}, batch {state.batchSize:g}{penalty}{zero}"


def data_line(history: History, data: str) -> str:
    """Return the source of the points and the size of both parts."""
    state = history.state
    name = state.dataset if state.problem == "classification" else state.regDataset
    source = f"own points{f' from {data}' * bool(data)}" if history.own_points else f"{name}, noise {state.noise:g}"
    parts = f"{len(history.train_points):,} training points, {len(history.test_points):,} test points"
    return f"{source}, {state.problem}: {parts}"


def arithmetic(state: State) -> str:
    """Return the layers of the network and the sum of its weights and biases."""
    inputs = ", ".join(LABELS.get(name, name) for name in state.features) or "no inputs"
    terms = [f"{1 + a}·{b}" for a, b in zip(state.sizes, state.sizes[1:], strict=False)]
    count = parameter_count(state.sizes)
    hidden = " → ".join(map(str, state.networkShape))
    return (
        f"{inputs} → {f'{hidden} → ' if hidden else ''}1 output; "
        f"{' + '.join(terms) if len(terms) <= 8 else 'in total'} = {count:,} weights and biases"
    )


def losses(histories: Sequence[History]) -> list[str]:
    """Return the losses at some epochs, including the last, in columns."""
    last = histories[0].epochs
    rows = [["epoch", "train loss", "test loss"]]
    for epoch in [*(epoch for epoch in EPOCHS if epoch < last), last]:
        cells = (format_spread([h.losses[epoch][part] for h in histories]) for part in ("train", "test"))
        rows.append([f"{epoch:,}", *cells])
    width = max(len(row[1]) for row in rows)
    return [f"{epoch:>9} {train:>{width}}   {test}" for epoch, train, test in rows]


def weights(history: History) -> list[str]:
    """Return a line with the bias and weights of each node."""
    lines = []
    for number, layer in enumerate(history.layers(), start=1):
        last = number == len(history.state.sizes) - 1
        for node, row in enumerate(layer, start=1):
            name = "output" if last else f"{number}.{node}"
            lines.append(
                f"  {name:>7}  bias {fixed(row[0], 4, '+')}  {' '.join(fixed(w, 4, '+') for w in row[1:])}".rstrip()
            )
    return lines


def points_csv(history: History) -> str:
    """Return lines split,x,y,label,output: each point with the output of the trained network."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["split", "x", "y", "label", "output"])
    for split, points in (("train", history.train_points), ("test", history.test_points)):
        array: Any = np.array(points, float).reshape(-1, 3)
        outputs = history.activations(array[:, :2])[-1][0]
        for (x, y, label), output in zip(points, outputs.tolist(), strict=True):
            writer.writerow([split, x, y, f"{label:.0f}" if label in (-1, 1) else label, output])
    return lines.getvalue()


def own_notes(points: Sequence[Sequence[float]], state: State) -> list[str]:
    """Return notes on your own points: which settings they override, and how many lie outside of the map."""
    name = "dataset" if state.problem == "classification" else "regDataset"
    notes = [f"--data: the points are your own; {name} and noise of the URL have no effect"]
    outside = sum(max(abs(x), abs(y)) > EDGE for x, y, _ in points)
    if outside:
        notes.append(
            f"--data: {outside:,} of {len(points):,} points lie outside the map, which shows −6 to 6; they are "
            "still used"
        )
    return notes


def warnings(histories: Sequence[History]) -> list[str]:
    """Explain results that look like a fault of this program but are what the page computes."""
    history, notes = histories[0], []
    state = history.state
    n = len(history.train_points)
    if not n or not history.test_points:
        notes.append(
            f"percTrainData={as_text(state.percTrainData)} leaves no training or no test points; that loss is nan"
        )
    elif history.epochs and history.parameters == history.initial_parameters:
        notes.append(
            f"no update was made: {n:,} training points never fill a batch of {as_text(state.batchSize)}"
            if not any(state.batchSize and math.fmod(i, state.batchSize) == 0 for i in range(1, n + 1))
            else "no weight changed: learningRate is 0"
            if not state.learningRate
            else "no weight changed: every step (learningRate times gradient) was 0 or too small to change a number"
        )
    diverged = [each.state.seed for each in histories if not each.finite]
    if diverged:
        notes.append(
            f"training diverged (nan or inf; null in JSON) with seed {', '.join(diverged[:5])}"
            f"{', …' if len(diverged) > 5 else ''}, as on the page; try a learningRate below {state.learningRate:g}"
        )
    return notes
