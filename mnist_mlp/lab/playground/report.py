"""What a run is told in: a page of text, a table of points."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_mlp.lab.playground.history import History
from mnist_mlp.lab.playground.points import EDGE
from mnist_mlp.lab.playground.sweep import fixed, shown_spread
from mnist_mlp.lab.playground.url_state import State, as_text, parameter_count

SMALL = 60  # weights and biases that are still printed
EPOCHS = (0, 1, 10, 100, 1000, 10_000, 100_000)  # shown, and the last one
BUT_OWN = " (the page has other points)"
LABELS = {"xSquared": "x²", "ySquared": "y²", "xTimesY": "x·y", "sinX": "sin x", "sinY": "sin y"}


def text(histories: Sequence[History], *, data: str = "") -> str:
    """The report on the runs of one or several seeds. `data`: the file of the points, where they are one's own."""
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
        lines.append(f"accuracy  {', '.join(f'{part} {shown_spread(values)}' for part, values in shares.items())}")
    if history.state.regularization == "L1":
        lines.append(f"dead      {shown_spread([h.dead_weights for h in histories], 0)} weights set to 0 by L1")
    if len(history.parameters) <= SMALL:
        lines += ["weights   of the first seed" if len(histories) > 1 else "weights", *weights(history)]
    lines += ["", f"page      {history.state.to_url()}{BUT_OWN * history.own_points}"]
    return "\n".join(lines)


def settings(state: State) -> str:
    """The choices that shape training, in one line."""
    penalty = "" if state.regularization == "none" else f", {state.regularization} at rate {state.regularizationRate:g}"
    zero = ", all weights 0 at the start" if state.initZero else ""
    return f"{state.activation}, learning rate {state.learningRate:g}, batch {state.batchSize:g}{penalty}{zero}"


def data_line(history: History, data: str) -> str:
    """Where the points are from, and how many there are on each side."""
    state = history.state
    name = state.dataset if state.problem == "classification" else state.regDataset
    source = f"own points{f' of {data}' * bool(data)}" if history.own_points else f"{name}, noise {state.noise:g}"
    sides = f"{len(history.train_points):,} to train on, {len(history.test_points):,} to test on"
    return f"{source}, {state.problem}: {sides}"


def arithmetic(state: State) -> str:
    """The network's layers, and how its weights and biases add up."""
    inputs = ", ".join(LABELS.get(name, name) for name in state.features) or "no inputs"
    terms = [f"{1 + a}·{b}" for a, b in zip(state.sizes, state.sizes[1:], strict=False)]
    count = parameter_count(state.sizes)
    hidden = " → ".join(map(str, state.networkShape))
    return (
        f"{inputs} → {f'{hidden} → ' if hidden else ''}1 output; "
        f"{' + '.join(terms) if len(terms) <= 8 else 'in all'} = {count:,} weights and biases"
    )


def losses(histories: Sequence[History]) -> list[str]:
    """The losses at some epochs, the last among them, in columns."""
    last = histories[0].epochs
    shown = [*(epoch for epoch in EPOCHS if epoch < last), last]
    rows = [["epoch", "train loss", "test loss"]]
    for epoch in shown:
        rows.append([f"{epoch:,}", *(shown_spread([h.losses[epoch][p] for h in histories]) for p in ("train", "test"))])
    width = max(len(row[1]) for row in rows)
    return [f"{epoch:>9} {train:>{width}}   {test}" for epoch, train, test in rows]


def weights(history: History) -> list[str]:
    """Each node's bias and weights."""
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
    """Lines split,x,y,label,output: each point and what the trained network answers."""
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
    """What one's own points change in what the state says."""
    name = "dataset" if state.problem == "classification" else "regDataset"
    notes = [f"--data: the points are your own; {name} and noise of the state have no effect"]
    off = sum(max(abs(x), abs(y)) > EDGE for x, y, _ in points)
    if off:
        notes.append(
            f"--data: {off:,} of {len(points):,} points lie off the map, which shows −6 to 6; they count all the same"
        )
    return notes


def warnings(histories: Sequence[History]) -> list[str]:
    """What a reader might take for a fault of this program, and is what the page does."""
    history, notes = histories[0], []
    state = history.state
    n = len(history.train_points)
    if not n or not history.test_points:
        notes.append(f"percTrainData={as_text(state.percTrainData)} leaves no points on one side; its loss is nan")
    elif history.epochs and history.parameters == history.initial_parameters:
        notes.append(
            f"no update was made: a batch of {as_text(state.batchSize)} is never full with {n:,} training points"
            if not any(state.batchSize and math.fmod(i, state.batchSize) == 0 for i in range(1, n + 1))
            else "no weight changed: learningRate is 0"
            if not state.learningRate
            else "no weight changed: each step, learningRate times gradient, was 0 or too small to change a number"
        )
    lost = [each.state.seed for each in histories if not each.finite]
    if lost:
        notes.append(
            f"training left the range of numbers (nan or inf; null in JSON) with seed {', '.join(lost[:5])}"
            f"{', …' if len(lost) > 5 else ''}, as on the page; try a smaller learningRate than {state.learningRate:g}"
        )
    return notes
