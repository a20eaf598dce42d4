"""The answers to exercises 7 to 10: the spiral, activations, layers, and the settings of SGD.

Each function takes the runs of its exercise by name (see `exercises.EXERCISES`) and yields claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mnist_mlp.lab.playground.exercises.measures import best_threshold, drop_after_plateau, largest_rise
from mnist_mlp.lab.playground.exercises.parts import LECTURE_SPIRAL, Claim, Runs, final, judged, points, spread
from mnist_mlp.lab.playground.history import History


def answer_7(runs: Runs) -> Iterator[Claim]:
    """The size of the network, the shape of its loss curve, and the spread over seeds."""
    sigmoid, tanh = runs["8 sigmoid"], runs["8 tanh"]
    layers = sigmoid[0].layers()
    (h, inputs), (o, hidden) = ((layer.shape[0], layer.shape[1] - 1) for layer in layers)
    total = len(sigmoid[0].parameters)
    yield Claim(
        f"{inputs}·{h} + {hidden}·{o} = {inputs * h + hidden * o} weights and {h} + {o} = {h + o} biases: "
        f"{total} = {inputs * h + hidden * o + h} + {o} parameters",
        inputs * h + hidden * o + h + o == total,
    )
    for name, histories in (("sigmoid", sigmoid), ("tanh", tanh)):
        drops = [drop for drop in map(drop_after_plateau, histories) if drop]
        example = (
            f": for the first of them, {drops[0].slow:.4f} per 1000 epochs for {drops[0].epochs:,} epochs from epoch "
            f"{drops[0].plateau:,}, and {drops[0].fast:.4f} at epoch {drops[0].drop:,}"
            if drops
            else ""
        )
        yield Claim(
            f"{name}: the train loss has a plateau and later falls at least five times as fast for "
            f"{len(drops)} of {len(histories)} seeds{example}",
            judged(histories, 2 * len(drops) > len(histories)) if name == "sigmoid" else None,
        )
        rise = [largest_rise(history) for history in histories]
        yield Claim(
            f"{name}: seeds end at train losses of {spread(final(histories, 'train'))} and test losses of "
            f"{spread(final(histories))}; in between, the train loss rises again by up to {spread(rise)}: the result "
            "depends on the seed, that is on the points and the initial weights",
            judged(histories, np.ptp(final(histories)) > 0.05),
        )
    for epoch in (7000, 8000, 9000, 10_000):
        yield from at_epoch(runs.get("8 sigmoid, longer", []), epoch)


def at_epoch(histories: Sequence[History], epoch: int) -> Iterator[Claim]:
    """Whether the lecture's losses lie within the range of the seeds at a later epoch."""
    if not histories:
        return
    losses = [[history.losses[epoch][part] for history in histories] for part in ("test", "train")]
    inside = [min(values) <= slide <= max(values) for values, slide in zip(losses, LECTURE_SPIRAL, strict=True)]
    test, train = map(spread, losses)
    lecture = "/".join(f"{value:.3f}" for value in LECTURE_SPIRAL)
    yield Claim(f"sigmoid, epoch {epoch:,}: test {test}, train {train}: the lecture's {lecture} is within", all(inside))


def answer_8(runs: Runs) -> Iterator[Claim]:
    """The role of the activation in six layers of eight neurons."""
    for name, histories in runs.items():
        ends = f"train loss {spread(final(histories, 'train'))}, test loss {spread(final(histories))}"
        trains = bool(np.median(final(histories, "train")) < 0.25)
        if name in ("relu", "tanh"):
            yield Claim(f"{name} trains: {ends}", judged(histories, trains))
        else:
            yield Claim(f"{name} does not train: {ends}", judged(histories, not trains))
    history = runs["linear"][0]
    slope: np.ndarray = np.eye(2)
    offset: np.ndarray = np.zeros(2)
    for layer in history.layers():
        offset = layer[:, 0] + layer[:, 1:] @ offset
        slope = layer[:, 1:] @ slope
    xy, _ = points(history)
    difference = float(np.abs(np.tanh(xy @ slope[0] + offset[0]) - history.activations(xy)[-1][0]).max())
    yield Claim(
        f"linear layers are a linear model: {len(history.parameters)} parameters multiply out to 2 weights and a bias, "
        f"w = ({slope[0, 0]:.3f}, {slope[0, 1]:.3f}), b = {offset[0]:.3f}, with the same output to {difference:.0e}",
        difference < 1e-9,
    )
    xy, _ = points(runs["sigmoid"][0])
    ranges = [float(np.ptp(h.activations(xy)[-1][0])) for h in runs["sigmoid"]]
    yield Claim(
        f"sigmoid gives the same output everywhere, to within {spread(ranges, '.1e')}",
        judged(runs["sigmoid"], max(ranges) < 0.1),
    )


def layer_accuracies(histories: Sequence[History]) -> np.ndarray:
    """Return the test accuracy of the best single neuron of each layer, with one threshold (see `best_threshold`):
    float64 [seeds, layers], features first, output last."""
    return np.array([best_threshold(history) for history in histories])


def answer_9(runs: Runs) -> Iterator[Claim]:
    """How well a single neuron classifies, layer by layer."""
    for name, histories in runs.items():
        table = layer_accuracies(histories)
        names = ["features", *(f"layer {k}" for k in range(1, table.shape[1] - 1)), "output"]
        cells = ", ".join(f"{n} {100 * m:.0f}%" for n, m in zip(names, np.median(table, axis=0), strict=True))
        yield Claim(f"{name}: test accuracy of the best single neuron, with one threshold: {cells}")
        early, late = np.median(table[:, 1]), np.median(table[:, -2])
        yield Claim(
            f"{name}: the first layer has straight edges ({100 * early:.0f}%), the last nearly has the answer "
            f"({100 * late:.0f}%, the output {100 * np.median(table[:, -1]):.0f}%)",
            judged(histories, late > early + 0.15),
        )


def answer_10(runs: Runs) -> Iterator[Claim]:
    """Learning rate, batch size, epochs, and initial weights."""
    usual = runs["step 0.03"]
    ends = {name: final(histories, "train") for name, histories in runs.items()}
    for name in ("step 0.0001", "step 0.03", "step 10"):
        yield Claim(f"{name}: train loss {spread(ends[name])}, test loss {spread(final(runs[name]))}")
    best = float(np.median(ends["step 0.03"]))
    yield Claim(
        "too small: hardly any progress in the same number of epochs",
        judged(usual, np.median(ends["step 0.0001"]) > 2 * best),
    )
    before = np.median([history.losses[0]["train"] for history in runs["step 10"]])
    yield Claim(
        "too large: no better than before training, or worse", judged(usual, np.median(ends["step 10"]) >= before)
    )
    for name in ("batch 1", "batch 30"):
        yield Claim(f"{name}: train loss {spread(ends[name])} (batch 10: {spread(ends['step 0.03'])})")
    yield Claim(
        "a larger batch makes fewer steps per epoch and less progress",
        judged(usual, np.median(ends["batch 30"]) > best),
    )
    curves = np.array([[row["train"] for row in history.losses] for history in usual])
    epochs = [epoch for epoch in (10, 30, 100, 300) if epoch < curves.shape[1]]
    medians = ", ".join(f"{epoch}: {np.median(curves[:, epoch]):.3f}" for epoch in epochs)
    yield Claim(
        f"epochs (step 0.03, median train loss): {medians}",
        judged(usual, (np.diff(np.median(curves, axis=0)[epochs]) < 0).all()),
    )
    for activation in ("tanh", "relu", "linear"):
        stuck = runs[f"zero, {activation}"]
        zeros = [not any(history.parameters[:-5] + history.parameters[-4:]) for history in stuck]  # all but one bias
        means = [points(history)[1].mean() for history in stuck]
        off = max(abs(np.tanh(history.parameters[-5]) - mean) for history, mean in zip(stuck, means, strict=True))
        yield Claim(
            f"all zero, {activation}: train loss {spread(final(stuck, 'train'))}; all weights are still exactly 0, "
            f"only the bias of the output has changed, so the output is the mean of the labels everywhere, up to "
            f"{off:.3f}",
            all(zeros) and bool(off < 0.05),
        )
    sigmoid = runs["zero, sigmoid"]
    units = [history.layers()[0] for history in sigmoid]  # [4, bias and 2 weights]
    apart = max(float(np.ptp(layer, axis=0).max()) for layer in units)
    moved = min(float(np.abs(layer).max()) for layer in units)
    yield Claim(
        f"all zero, sigmoid: trains (in each run a weight of {moved:.2f} or more), train loss "
        f"{spread(ends['zero, sigmoid'])}, but all four neurons remain identical "
        f"(largest difference {apart:g}): one neuron, four times",
        apart == 0 and moved > 0.1,
    )
