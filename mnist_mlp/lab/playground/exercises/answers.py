"""The answers to the lecture's exercises 1 to 6, read off the runs: one neuron, and one hidden layer on the circle.

Each function takes the runs of its exercise by name (`exercises.EXERCISES` lists them) and yields claims.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mnist_mlp.lab.playground.exercises.measures import alike, likeness
from mnist_mlp.lab.playground.exercises.parts import (
    Claim,
    Runs,
    accuracy,
    final,
    judged,
    loss,
    points,
    spread,
    with_parameters,
)

BY_HAND = ((0.0, 1.0, 1.0), (0.0, 1.0, 0.0), (4.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, -1.0, -1.0))  # b, w₁, w₂


def named(parameters: tuple[float, ...]) -> str:
    """Parameters set by hand, as they are told."""
    b, w1, w2 = parameters
    return f"b = {b:g}, w = ({w1:g}, {w2:g})".replace("-", "−")


def percent(values: np.ndarray) -> str:
    """Shares, from 0 to 1, as a spread of percentages."""
    return spread(100 * np.asarray(values), ".1f") + "%"


def answer_1(runs: Runs) -> Iterator[Claim]:
    """Which feature's colour alone tells the two classes apart: the share of points for which it does."""
    yield Claim("orange is negative, blue positive, grey 0: of a point's label, a neuron's output, a weight, a bias")
    found = {}
    for name, (history, *_) in runs.items():
        xy, labels = points(history)
        features = history.activations(xy)[0]
        right = [float(np.mean((values >= 0) == (labels >= 0))) for values in features]
        best = int(np.argmax(right))
        found[name] = (history.state.features[best], right[best])
        yield Claim(f"{name}: the colour of {found[name][0]} alone is right for {100 * right[best]:.1f}% of the points")
    yield Claim("xor is the colour of one feature, the product x·y", found["xor"] == ("xTimesY", 1.0))
    yield Claim("gauss is nearly the colour of x or of y", found["gauss"][1] > 0.98)
    alone = max(found[name][1] for name in ("circle", "spiral"))
    yield Claim(f"circle and spiral are the colour of none: at best {100 * alone:.1f}%", alone < 0.75)


def answer_2(runs: Runs) -> Iterator[Claim]:
    """The model that is one neuron, and its loss for parameters set by hand."""
    (history,) = runs["gauss"][:1]
    bias, *weights = history.initial_parameters
    yield Claim(f"{len(weights)} weights + 1 bias = {len(history.initial_parameters)} parameters", len(weights) == 2)
    xy, labels = points(history)
    z = bias + xy @ np.array(weights)
    outputs = history.activations(xy, history.initial_parameters)[-1][0]
    difference = float(np.abs((1 + outputs) / 2 - 1 / (1 + np.exp(-2 * z))).max())
    yield Claim(
        f"the output is o = tanh(b + w·x), and (1 + o)/2 = σ(2(b + w·x)), largest difference {difference:.0e}: "
        "logistic regression's function",
        difference < 1e-12,
    )
    yield Claim("yet fitted to another loss: the page's is ½(o − t)² with t = ±1, not the logistic loss")
    losses = {}
    for parameters in BY_HAND:
        by_hand = with_parameters(history, parameters)
        losses[parameters] = by_hand.losses[0]["train"]
        yield Claim(
            f"by hand {named(parameters)}: train loss {losses[parameters]:.3f}, "
            f"test loss {by_hand.losses[0]['test']:.3f}, {percent(accuracy([by_hand]))} of the test points right"
        )
    yield Claim("w = (1, 1), b = 0 is as good as perfect (train loss below 0.01)", losses[BY_HAND[0]] < 0.01)
    yield Claim("all zero: always o = 0, a loss of exactly ½", losses[BY_HAND[3]] == 0.5)
    yield Claim("the wrong sign: near 2, the largest loss that there is", losses[BY_HAND[4]] > 1.9)


def answer_3(runs: Runs) -> Iterator[Claim]:
    """Stochastic gradient descent on one neuron: how the loss falls, and what a rerun gives."""
    histories = runs["gauss"]
    first = histories[0]
    batch, epochs, count = int(first.state.batchSize), len(first.losses) - 1, len(first.train_points)
    yield Claim(
        f"the algorithm: stochastic gradient descent; {count} points in batches of {batch} are {count // batch} steps "
        f"an epoch, {count // batch * epochs:,} steps in {epochs} epochs"
    )
    fell = [history.losses[0]["train"] > 2 * history.losses[-1]["train"] for history in histories]
    start = np.array([history.losses[0]["train"] for history in histories])
    yield Claim(
        f"the train loss falls: {spread(start)} before, {spread(final(histories, 'train'), '.5f')} after", all(fell)
    )
    curves = np.array([[row["train"] for row in history.losses] for history in histories])
    rises = int((np.diff(curves, axis=1) > 0).sum())
    yield Claim(f"it falls in every epoch (epochs in which it rose: {rises} of {curves[:, 1:].size:,})", rises == 0)
    nearly = [int(np.argmax(curve < curve[-1] + (curve[0] - curve[-1]) / 20)) for curve in curves]
    yield Claim(
        f"95% of the fall is done after {spread(nearly, '.0f')} epochs: fast, then ever slower",
        judged(histories, np.median(nearly) < epochs / 10),
    )
    yield Claim(
        f"rerun: the test loss ends at {spread(final(histories), '.5f')}",
        judged(histories, final(histories).max() < 0.005),
    )


def answer_4(runs: Runs) -> Iterator[Claim]:
    """Whether restarts end at the same weights, and whether that is for convexity."""
    same, fresh = (np.array([h.parameters for h in runs[name]]) for name in ("restarts", "new data"))
    before = np.array([history.initial_parameters for history in runs["restarts"]])
    wrong = 1 - accuracy(runs["restarts"], "train")
    yield Claim(f"not separable: {percent(wrong)} of the training points stay on the wrong side", bool(wrong.min() > 0))
    for name, column in (("b", 0), ("w1", 1), ("w2", 2)):
        yield Claim(
            f"{name} over restarts on the same points {spread(same[:, column], '.4f')}, on new points "
            f"{spread(fresh[:, column])}"
        )
    apart, apart_fresh, apart_before = (float(np.ptp(each, axis=0).max()) for each in (same, fresh, before))
    yield Claim(
        f"same points, other initial weights: they start up to {apart_before:.3f} apart and end {apart:.1e} apart",
        judged(runs["restarts"], apart < 0.01),
    )
    yield Claim(
        f"a new seed in the URL also draws new points: then the weights end {apart_fresh:.3f} apart",
        judged(runs["new data"], apart_fresh > 10 * apart),
    )
    (history,) = runs["restarts"][:1]
    xy, labels = points(history)

    def at(*parameters: float) -> float:
        return loss(history.activations(xy, parameters)[-1][0], labels)

    ends, middle = (at(0, -10, -10) + at(0, 0, 0)) / 2, at(0, -5, -5)
    yield Claim(
        f"the logistic loss is convex, the page's ½(tanh − t)² is not: {middle:.2f} at w = (−5, −5), more than the "
        f"mean {ends:.2f} of w = (−10, −10) and (0, 0); that restarts agree is measured here, not proved by convexity",
        middle > ends,
    )


def answer_5(runs: Runs) -> Iterator[Claim]:
    """What a straight line makes of the circle, and what squares do."""
    line, squares = runs["x and y"], runs["x, y, x² and y²"]
    yield Claim(
        f"logistic regression fails: test loss {spread(final(line))}, that of always answering 0 being 0.500",
        judged(line, np.abs(np.median(final(line)) - 0.5) < 0.03),
    )
    yield Claim(f"its accuracy on the test points: {percent(accuracy(line))}")
    yield Claim(
        f"x² and y² mend it (median below 0.15): test loss {spread(final(squares))}, "
        f"{percent(accuracy(squares))} right",
        judged(squares, np.median(final(squares)) < 0.15),
    )
    mended = [history for history in squares if history.losses[-1]["train"] < 0.5]
    stuck = len(squares) - len(mended)
    yield Claim(
        f"not from every start: {stuck} of {len(squares)} seeds end at 0.5 or more; x² is up to 25, so tanh may begin "
        "saturated on the wrong side, and its gradient is nearly 0"
    )
    weights = np.array([history.layers()[-1][0] for history in mended])  # [seeds, bias and weights of x, y, x², y²]
    if mended:
        yield Claim(
            f"where they do, the weights of x² {spread(weights[:, 3])} and y² {spread(weights[:, 4])} are negative, "
            f"the bias {spread(weights[:, 0])} positive: inside an ellipse is blue",
            judged(squares, (weights[:, 3:] < 0).all() and (weights[:, 0] > 0).all()),
        )


def answer_6(runs: Runs) -> Iterator[Claim]:
    """How many hidden neurons the circle takes, and whether a restart finds the same ones."""
    one, three, four = (runs[f"{count} tanh"] for count in (1, 3, 4))
    for name, histories in (("one", one), ("three", three), ("four", four)):
        yield Claim(f"{name}: test loss {spread(final(histories))}, {percent(accuracy(histories))} right")
    yield Claim(
        "one neuron draws one straight edge and fails (loss above 0.25)", judged(one, np.median(final(one)) > 0.25)
    )
    yield Claim("three close a curve (median loss below 0.15)", judged(three, np.median(final(three)) < 0.15))
    ratio = float(np.median(final(four)) / np.median(final(three)))
    yield Claim(f"a fourth changes the loss by a factor of {ratio:.2f} only", judged(four, 0.5 < ratio < 1.5))
    if len(four) > 1:
        pairs = [(a, b) for at, a in enumerate(four) for b in four[at + 1 :]]
        hidden = [alike(a, b) for a, b in pairs]
        outputs = [likeness(a, b) for a, b in pairs]
        yield Claim(
            f"restart (same points, other weights): outputs correlate by {spread(outputs)}, the hidden neuron with the "
            f"weakest counterpart in the other run by {spread(hidden)}: other features, the same function",
            judged(four, np.median(hidden) < 0.95 < np.median(outputs)),
        )
