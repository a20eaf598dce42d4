"""The answers to exercises 1 to 6: features, one neuron, and one hidden layer on the circle.

Each function takes the runs of its exercise by name (see `exercises.EXERCISES`) and yields claims.
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


def format_parameters(parameters: tuple[float, ...]) -> str:
    b, w1, w2 = parameters
    return f"b = {b:g}, w = ({w1:g}, {w2:g})".replace("-", "−")


def percent(values: np.ndarray) -> str:
    """Format fractions as a spread of percentages."""
    return spread(100 * np.asarray(values), ".1f") + "%"


def answer_1(runs: Runs) -> Iterator[Claim]:
    """How well the colour of a single feature classifies the points."""
    yield Claim("orange is negative, blue positive, grey 0: for labels, outputs of neurons, weights and biases alike")
    best_of = {}
    for name, (history, *_) in runs.items():
        xy, labels = points(history)
        features = history.activations(xy)[0]
        correct = [float(np.mean((values >= 0) == (labels >= 0))) for values in features]
        best = int(np.argmax(correct))
        feature = history.state.features[best]
        best_of[name] = (feature, correct[best])
        yield Claim(f"{name}: the colour of {feature} alone is correct for {100 * correct[best]:.1f}% of the points")
    yield Claim("xor is the colour of one feature, the product x·y", best_of["xor"] == ("xTimesY", 1.0))
    yield Claim("gauss is nearly the colour of x or of y", best_of["gauss"][1] > 0.98)
    alone = max(best_of[name][1] for name in ("circle", "spiral"))
    yield Claim(f"circle and spiral are the colour of no single feature: at best {100 * alone:.1f}%", alone < 0.75)


def answer_2(runs: Runs) -> Iterator[Claim]:
    """The model of one neuron, and its loss for parameters set by hand."""
    (history,) = runs["gauss"][:1]
    bias, *weights = history.initial_parameters
    yield Claim(f"{len(weights)} weights + 1 bias = {len(history.initial_parameters)} parameters", len(weights) == 2)
    xy, labels = points(history)
    z = bias + xy @ np.array(weights)
    outputs = history.activations(xy, history.initial_parameters)[-1][0]
    difference = float(np.abs((1 + outputs) / 2 - 1 / (1 + np.exp(-2 * z))).max())
    yield Claim(
        f"the output is o = tanh(b + w·x), and (1 + o)/2 = σ(2(b + w·x)), largest difference {difference:.0e}: the "
        "model is that of logistic regression",
        difference < 1e-12,
    )
    yield Claim("but with another loss: the page's is ½(o − t)² with t = ±1, not the logistic loss")
    losses = {}
    for parameters in BY_HAND:
        by_hand = with_parameters(history, parameters)
        losses[parameters] = by_hand.losses[0]["train"]
        yield Claim(
            f"by hand {format_parameters(parameters)}: train loss {losses[parameters]:.3f}, "
            f"test loss {by_hand.losses[0]['test']:.3f}, {percent(accuracy([by_hand]))} of the test points correct"
        )
    yield Claim("w = (1, 1), b = 0 is nearly perfect (train loss below 0.01)", losses[BY_HAND[0]] < 0.01)
    yield Claim("all zero: always o = 0, a loss of exactly ½", losses[BY_HAND[3]] == 0.5)
    yield Claim("the wrong sign: near 2, the largest possible loss", losses[BY_HAND[4]] > 1.9)


def answer_3(runs: Runs) -> Iterator[Claim]:
    """Stochastic gradient descent on one neuron: how the loss falls, and what another run gives."""
    histories = runs["gauss"]
    first = histories[0]
    batch, epochs, count = int(first.state.batchSize), len(first.losses) - 1, len(first.train_points)
    yield Claim(
        f"the algorithm is stochastic gradient descent; {count} points in batches of {batch} are {count // batch} "
        f"steps per epoch, {count // batch * epochs:,} steps in {epochs} epochs"
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
        f"95% of the decrease is reached after {spread(nearly, '.0f')} epochs: fast, then ever slower",
        judged(histories, np.median(nearly) < epochs / 10),
    )
    yield Claim(
        f"other runs: the test loss ends at {spread(final(histories), '.5f')}",
        judged(histories, final(histories).max() < 0.005),
    )


def answer_4(runs: Runs) -> Iterator[Claim]:
    """Whether restarts end at the same weights, and whether convexity is the reason."""
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
        f"mean {ends:.2f} of w = (−10, −10) and (0, 0); so the agreement of restarts is an observation, not a "
        "consequence of convexity",
        middle > ends,
    )


def answer_5(runs: Runs) -> Iterator[Claim]:
    """How a straight line does on the circle, and how squares do."""
    line, squares = runs["x and y"], runs["x, y, x² and y²"]
    yield Claim(
        f"logistic regression fails: test loss {spread(final(line))}; always answering 0 gives 0.500",
        judged(line, np.abs(np.median(final(line)) - 0.5) < 0.03),
    )
    yield Claim(f"its accuracy on the test points: {percent(accuracy(line))}")
    yield Claim(
        f"x² and y² fix it (median below 0.15): test loss {spread(final(squares))}, "
        f"{percent(accuracy(squares))} correct",
        judged(squares, np.median(final(squares)) < 0.15),
    )
    trained = [history for history in squares if history.losses[-1]["train"] < 0.5]
    stuck = len(squares) - len(trained)
    yield Claim(
        f"not with every seed: {stuck} of {len(squares)} end at 0.5 or more; x² is up to 25, so tanh may start "
        "saturated on the wrong side, where its gradient is nearly 0"
    )
    weights = np.array([history.layers()[-1][0] for history in trained])  # [seeds, bias and weights of x, y, x², y²]
    if trained:
        yield Claim(
            f"with the others, the weights of x² {spread(weights[:, 3])} and y² {spread(weights[:, 4])} are negative, "
            f"the bias {spread(weights[:, 0])} is positive: the inside of an ellipse is blue",
            judged(squares, (weights[:, 3:] < 0).all() and (weights[:, 0] > 0).all()),
        )


def answer_6(runs: Runs) -> Iterator[Claim]:
    """How many hidden neurons the circle needs, and whether a restart finds the same ones."""
    one, three, four = (runs[f"{count} tanh"] for count in (1, 3, 4))
    for name, histories in (("one", one), ("three", three), ("four", four)):
        yield Claim(f"{name}: test loss {spread(final(histories))}, {percent(accuracy(histories))} correct")
    yield Claim(
        "one neuron draws one straight edge and fails (loss above 0.25)", judged(one, np.median(final(one)) > 0.25)
    )
    yield Claim("three enclose a region (median loss below 0.15)", judged(three, np.median(final(three)) < 0.15))
    ratio = float(np.median(final(four)) / np.median(final(three)))
    yield Claim(f"a fourth changes the loss only by a factor of {ratio:.2f}", judged(four, 0.5 < ratio < 1.5))
    if len(four) > 1:
        pairs = [(a, b) for index, a in enumerate(four) for b in four[index + 1 :]]
        hidden = [alike(a, b) for a, b in pairs]
        outputs = [likeness(a, b) for a, b in pairs]
        yield Claim(
            f"restart (same points, other weights): the outputs correlate by {spread(outputs)}, the hidden neuron with "
            f"the weakest counterpart in the other run by {spread(hidden)}: other features, nearly the same function",
            judged(four, np.median(hidden) < 0.95 < np.median(outputs)),
        )
