"""How far a correct device may be from exact arithmetic: a bound for each number, derived from the precision.

Each operation rounds its result with a relative error of at most u, the unit roundoff; a matrix product may also round
its factors (tf32, bfloat16), and a sum of k terms rounds k times. The errors are modelled as independent with mean 0,
following N. Higham and T. Mary ("A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41,
2019). Partial sums of terms with both signs, as here, are of the order of √(Σ a²b²) (by the same authors, "Sharper
probabilistic backward error analysis for basic linear algebra kernels with random data", SISC 42, 2020), so a sum of k
products has a standard deviation of u·√k·√(Σ a²b²). The deviations are propagated through the network by its
derivatives, along with the numbers themselves. A device may be off by `DEVIATIONS` of them.

A rounded factor, be it a weight or a pixel, has the same error in all examples of a batch: such errors are not
independent and may add up. Where the input of a ReLU is within its bound of 0, the derivative may be 0 or 1. Several
operations in one, such as an activation or Adam's update, may round several times, at most four.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnist_mlp.parity import oracle
from mnist_mlp.parity.oracle import BETA_1, BETA_2, Moments, Pass

DEVIATIONS = 8.0  # allowed standard deviations: chance alone exceeds them in none of 10⁸ comparisons
FLOAT32, TF32, BFLOAT16 = 2.0**-24, 2.0**-11, 2.0**-8  # unit roundoffs: 24, 11 and 8 bits of significand
IN_COMMON = 0.5  # DEVIATIONS × this is the factor for errors that may all add up, which are bounds already
TINY = 2.0**-126  # smaller float32 may be flushed to 0


@dataclass(frozen=True)
class Units:
    """The unit roundoffs of a layer."""

    factors: float  # of the factors of its matrix products; 0: not rounded
    sums: float  # of each addition in them
    results: float  # of its output


PRODUCTS = {  # by the promised precision of matrix products in float32 layers
    "float32": Units(0.0, FLOAT32, FLOAT32),
    "tf32": Units(TF32, FLOAT32, FLOAT32),
    "bfloat16": Units(BFLOAT16, FLOAT32, FLOAT32),
}
BFLOAT16_LAYER = Units(BFLOAT16, FLOAT32, BFLOAT16)


@dataclass(frozen=True)
class Precision:
    """The precision of a network's computation."""

    products: str = "float32"  # a key of PRODUCTS
    layers: str = "float32"  # or "bfloat16", except for the logits

    @property
    def coarse(self) -> bool:
        """Whether factors of products are rounded."""
        return (self.products, self.layers) != ("float32", "float32")

    def __post_init__(self) -> None:
        if self.products not in PRODUCTS or self.layers not in ("float32", "bfloat16"):
            raise ValueError(f"Unknown precision. Received: {self}")

    @property
    def pixels(self) -> float:
        """The unit roundoff of the first Dense layer's input."""
        return BFLOAT16 if self.layers == "bfloat16" else FLOAT32

    def units(self, depth: int, last: int) -> Units:
        return BFLOAT16_LAYER if self.layers == "bfloat16" and depth < last else PRODUCTS[self.products]


@dataclass(frozen=True)
class Bounds:
    """How far the numbers of a step may be from the oracle's."""

    loss: float
    logits: np.ndarray
    probabilities: np.ndarray
    gradients: list[np.ndarray]


def bounds(found: Pass, weights: Sequence[np.ndarray], activation: str, precision: Precision) -> Bounds:
    """Return the bounds for a batch as computed by the oracle."""
    inputs, sums = forward(found, weights, activation, precision)
    examples = len(found.losses)
    loss, delta = at_loss(found, sums[-1], precision)
    probabilities = delta * examples
    gradients: list[np.ndarray] = []
    last = len(sums) - 1
    for depth in reversed(range(last + 1)):
        units = precision.units(depth, last)
        kernel = product(found.inputs[depth].T, inputs[depth].T, found.deltas[depth], delta, units)
        bias = np.sqrt((delta**2).sum(0) + examples * (units.sums**2 * found.deltas[depth] ** 2).sum(0))
        if precision.coarse:
            pixels = precision.pixels if depth == 0 else 0.0  # rounded even before a layer that rounds no factors
            together = delta + max(2 * units.factors, pixels) * abs(found.deltas[depth])
            kernel = np.maximum(kernel, IN_COMMON * abs(found.inputs[depth]).T @ together)
            bias = np.maximum(bias, IN_COMMON * delta.sum(0))
        rounded = units.results + 3 * FLOAT32  # the latter in the first moment, from which the gradient is derived
        of_layer = found.gradients[2 * depth : 2 * depth + 2]
        gradients = [*(s + rounded * abs(g) for s, g in zip((kernel, bias), of_layer, strict=True)), *gradients]
        if depth:
            delta = backward(found, weights, activation, precision, depth, (sums[depth - 1], delta))
    lost = TINY * (examples + 1 / (1 - BETA_1))  # of a gradient: in each term, and in its first moment
    return Bounds(
        DEVIATIONS * loss + TINY,
        DEVIATIONS * sums[-1] + TINY,
        DEVIATIONS * probabilities,
        [DEVIATIONS * s + lost for s in gradients],
    )


def forward(
    found: Pass, weights: Sequence[np.ndarray], activation: str, precision: Precision
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the deviations of each layer's inputs and sums."""
    last = len(found.sums) - 1
    deviation = precision.pixels * abs(found.inputs[0])
    inputs, sums = [], []
    for depth, values in enumerate(found.sums):
        units = precision.units(depth, last)
        inputs.append(deviation)
        exact = np.zeros_like(weights[2 * depth])
        own = product(found.inputs[depth], deviation, weights[2 * depth], exact, units)
        sums.append(own + units.results * (abs(values) + abs(weights[2 * depth + 1])))
        if depth < last:
            slope, doubt = slope_bounds(values, found.inputs[depth + 1], sums[-1], activation, units)
            deviation = (abs(slope) + doubt) * sums[-1] + 4 * units.results * abs(found.inputs[depth + 1])
    return inputs, sums


def at_loss(found: Pass, logits: np.ndarray, precision: Precision) -> tuple[float, np.ndarray]:
    """Return the deviations of the mean loss and of its derivatives with respect to the logits, always float32."""
    n, values = len(found.losses), found.sums[-1]
    reach = 2 + abs(values - values.max(1, keepdims=True))  # the error of an exponential grows with its argument
    mean = (found.probabilities**2 * logits**2).sum(1, keepdims=True)
    relative = np.sqrt(logits**2 + mean) + FLOAT32 * reach
    grown = np.expm1(np.minimum(DEVIATIONS * relative, 80)) / DEVIATIONS  # the error of a probability is a factor
    deltas = found.probabilities * grown / n + TINY
    losses = np.sqrt((logits**2).max(1) + mean[:, 0]) + FLOAT32 * (reach.max(1) + abs(values).max(1))
    together = losses.mean() if precision.coarse else np.sqrt((losses**2).sum()) / n
    return float(together + FLOAT32 * np.sqrt(n) * found.losses.mean()), deltas


# Six parameters: those of the formula.
def backward(
    found: Pass,
    weights: Sequence[np.ndarray],
    activation: str,
    precision: Precision,
    depth: int,
    deviations: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Return the deviations of the derivatives with respect to the sums below layer `depth`.

    The first four parameters are those of `bounds`. `deviations` are those of these sums and of the derivatives above.
    """
    sums, delta = deviations
    kernel = weights[2 * depth].T
    units = precision.units(depth, len(found.sums) - 1)
    below = precision.units(depth - 1, len(found.sums) - 1)
    values = abs(found.deltas[depth] @ kernel)
    own = product(found.deltas[depth], delta, kernel, np.zeros_like(kernel), units) + units.results * values
    if precision.coarse:
        own = np.maximum(own, IN_COMMON * delta @ abs(kernel))
    slope, doubt = slope_bounds(found.sums[depth - 1], found.inputs[depth], sums, activation, below)
    return (abs(slope) + doubt) * own + doubt * values + 4 * below.results * abs(slope) * values


def slope_bounds(
    sums: np.ndarray, outputs: np.ndarray, deviations: np.ndarray, activation: str, units: Units
) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative of an activation, and its error due to the error of its argument."""
    slope = oracle.SLOPES[activation](sums, outputs) * 1.0
    if activation == "relu":
        return slope, (abs(sums) <= DEVIATIONS * deviations) * 1.0
    steepest = {"sigmoid": abs(1 - 2 * outputs), "tanh": 2 * abs(outputs)}[activation]  # f″ = f′ · this
    return slope, slope * steepest * deviations + 4 * units.results


def product(a: np.ndarray, a_deviation: np.ndarray, b: np.ndarray, b_deviation: np.ndarray, units: Units) -> np.ndarray:
    """Return the deviations of the matrix product a·b."""
    a2, b2 = a**2, b**2
    rounded_a, rounded_b = a_deviation**2 + units.factors**2 * a2, b_deviation**2 + units.factors**2 * b2
    return np.sqrt(a2 @ (rounded_b + a.shape[1] * units.sums**2 * b2) + rounded_a @ (b2 + b_deviation**2))


# Six parameters: those of Adam's update.
def adam_bounds(
    weight: np.ndarray,
    moments: Moments,
    gradient: np.ndarray,
    bound: np.ndarray,
    step: int,
    learning_rate: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how far a weight and its two moments may be from the oracle's after Adam's update number `step`.

    The parameters are those of `oracle.adam`, and `bound` is the possible error of the gradient.
    """
    low, high = gradient - bound, gradient + bound
    turn = np.clip(turning_gradient(moments), low, high)  # the update is largest at one of the ends, or here
    after, (first, second) = oracle.adam(weight, moments, gradient, step, learning_rate)
    ends = [oracle.adam(weight, moments, end, step, learning_rate)[0] for end in (low, turn, high)]
    reach = np.max([abs(end - after) for end in ends], axis=0)
    # The learning rate contains 1 − βᵗ, where βᵗ is rounded near 1; see also `rate_error`.
    rate = 4 + sum(1 / (1 - beta**step) for beta in (BETA_1, BETA_2))
    moved = np.max([abs(end - weight) for end in (after, *ends)], axis=0)
    reach += rate_error(step) * moved
    lost = TINY / oracle.EPSILON  # in learning rate · first moment, before the division
    return (
        reach + DEVIATIONS * FLOAT32 * (abs(after) + rate * moved) + lost,
        (1 - BETA_1) * bound + DEVIATIONS * FLOAT32 * (4 * abs(first) + abs(moments[0])) + TINY,
        (1 - BETA_2) * bound * (2 * abs(gradient) + bound) + DEVIATIONS * FLOAT32 * (4 * second + moments[1]) + TINY,
    )


def rate_error(step: int) -> float:
    """Return the relative error of Adam's learning rate due to rounding β to float32, t times over in βᵗ."""
    return FLOAT32 * sum(step * beta**step / (1 - beta**step) for beta in (BETA_1, BETA_2))


def turning_gradient(moments: Moments) -> np.ndarray:
    """Return the gradient g at which Adam's update (M + a·g) / (s + ε), s² = v + c·g², has its extremum, or 0.

    There a·(v + ε·s) = c·g·M; squared, this is a quadratic equation in s.
    """
    a, c, e = 1 - BETA_1, 1 - BETA_2, oracle.EPSILON
    rest, v = BETA_1 * moments[0], BETA_2 * moments[1]
    square = c * rest**2
    leading = square - (a * e) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        s = (a**2 * v * e + np.sqrt((a**2 * v * e) ** 2 + leading * (a**2 * v + square) * v)) / leading
        turn = a * (v + e * s) / (c * rest)
    return np.where(leading > 0, np.nan_to_num(turn), 0.0)
