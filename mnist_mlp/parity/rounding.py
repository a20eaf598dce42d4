"""How far a right device may be from exact arithmetic: a bound for each number, derived from the precision.

Each operation rounds: its result by a relative error of at most u, the unit roundoff, a matrix product also its factors
(tf32, bfloat16), and a sum of k terms k times. These errors are taken for independent and 0 on average, as by N. Higham
and T. Mary ("A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019). The partial sums
of terms of either sign, as they are here, stay of the order of √(Σ a²b²) (the same, "Sharper probabilistic backward
error analysis for basic linear algebra kernels with random data", SISC 42, 2020), so that a sum of k products has a
deviation of u·√k·√(Σ a²b²). The deviations are carried through the network by its derivatives, beside the numbers
themselves, and `DEVIATIONS` of them are allowed.

A factor that is rounded is so for all examples of a batch, be it a weight or a pixel: there the errors are not
independent, and may add up. Where the sum at a ReLU is within its bound of 0, its derivative may be 0 or 1. What is
several operations, such as an activation or Adam's update, may round as often, four times at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnist_mlp.parity import oracle
from mnist_mlp.parity.oracle import BETA_1, BETA_2, Moments, Pass

DEVIATIONS = 8.0  # standard deviations; of 10⁸ comparisons none is that far off by chance
FLOAT32, TF32, BFLOAT16 = 2.0**-24, 2.0**-11, 2.0**-8  # unit roundoffs: 24, 11 and 8 bits of significand
IN_COMMON = 0.5  # share of these for errors that may all add up, which are bounds already
TINY = 2.0**-126  # below it a device may take a float32 for 0


@dataclass(frozen=True)
class Units:
    """The unit roundoffs of a layer."""

    factors: float  # of the factors of its matrix products; 0: taken as they are
    sums: float  # of each addition in them
    results: float  # of what it gives on


PRODUCTS = {  # by what a device promises of the matrix products of float32 layers
    "float32": Units(0.0, FLOAT32, FLOAT32),
    "tf32": Units(TF32, FLOAT32, FLOAT32),
    "bfloat16": Units(BFLOAT16, FLOAT32, FLOAT32),
}
BFLOAT16_LAYER = Units(BFLOAT16, FLOAT32, BFLOAT16)


@dataclass(frozen=True)
class Precision:
    """What a network is computed in."""

    products: str = "float32"  # a key of PRODUCTS
    layers: str = "float32"  # or "bfloat16": the layers before the logits, which are always float32

    @property
    def coarse(self) -> bool:
        """Whether factors are rounded."""
        return (self.products, self.layers) != ("float32", "float32")

    def __post_init__(self) -> None:
        if self.products not in PRODUCTS or self.layers not in ("float32", "bfloat16"):
            raise ValueError(f"Expected a precision that is known. Received {self}.")

    @property
    def pixels(self) -> float:
        """The unit roundoff of what the first Dense layer sees."""
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
    """The bounds for a batch as the oracle computed it."""
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
            pixels = precision.pixels if depth == 0 else 0.0  # rounded also before a layer that rounds no factors
            together = delta + max(2 * units.factors, pixels) * abs(found.deltas[depth])
            kernel = np.maximum(kernel, IN_COMMON * abs(found.inputs[depth]).T @ together)
            bias = np.maximum(bias, IN_COMMON * delta.sum(0))
        rounded = units.results + 3 * FLOAT32  # the latter in the first moment, from which a gradient is read
        of_layer = found.gradients[2 * depth : 2 * depth + 2]
        gradients = [*(s + rounded * abs(g) for s, g in zip((kernel, bias), of_layer, strict=True)), *gradients]
        if depth:
            delta = backward(found, weights, activation, precision, depth, (sums[depth - 1], delta))
    lost = TINY * (examples + 1 / (1 - BETA_1))  # of a gradient: in each term, and by its first moment
    return Bounds(
        DEVIATIONS * loss + TINY,
        DEVIATIONS * sums[-1] + TINY,
        DEVIATIONS * probabilities,
        [DEVIATIONS * s + lost for s in gradients],
    )


def forward(
    found: Pass, weights: Sequence[np.ndarray], activation: str, precision: Precision
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The deviations of the inputs of each layer and of its sums."""
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
    """The deviations of the mean loss, and of its derivatives by the logits; the loss is always float32."""
    n, values = len(found.losses), found.sums[-1]
    reach = 2 + abs(values - values.max(1, keepdims=True))  # an exponential's error grows with its argument
    mean = (found.probabilities**2 * logits**2).sum(1, keepdims=True)
    relative = np.sqrt(logits**2 + mean) + FLOAT32 * reach
    grown = np.expm1(np.minimum(DEVIATIONS * relative, 80)) / DEVIATIONS  # a probability is off by a factor
    deltas = found.probabilities * grown / n + TINY
    losses = np.sqrt((logits**2).max(1) + mean[:, 0]) + FLOAT32 * (reach.max(1) + abs(values).max(1))
    together = losses.mean() if precision.coarse else np.sqrt((losses**2).sum()) / n
    return float(together + FLOAT32 * np.sqrt(n) * found.losses.mean()), deltas


def backward(
    found: Pass,
    weights: Sequence[np.ndarray],
    activation: str,
    precision: Precision,
    depth: int,
    deviations: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """The deviations of the derivatives by the sums below layer `depth`, from those of these sums and of its own
    derivatives."""
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
    """The derivative of an activation, and how far it may be off where its argument is."""
    slope = oracle.SLOPES[activation](sums, outputs) * 1.0
    if activation == "relu":
        return slope, (abs(sums) <= DEVIATIONS * deviations) * 1.0
    steepest = {"sigmoid": abs(1 - 2 * outputs), "tanh": 2 * abs(outputs)}[activation]  # f″ = f′ · this
    return slope, slope * steepest * deviations + 4 * units.results


def product(a: np.ndarray, a_deviation: np.ndarray, b: np.ndarray, b_deviation: np.ndarray, units: Units) -> np.ndarray:
    """The deviations of the matrix product a·b."""
    a2, b2 = a**2, b**2
    rounded_a, rounded_b = a_deviation**2 + units.factors**2 * a2, b_deviation**2 + units.factors**2 * b2
    return np.sqrt(a2 @ (rounded_b + a.shape[1] * units.sums**2 * b2) + rounded_a @ (b2 + b_deviation**2))


def adam_bounds(
    weight: np.ndarray,
    moments: Moments,
    gradient: np.ndarray,
    bound: np.ndarray,
    step: int,
    learning_rate: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far a weight and its two moments may be from the oracle's after Adam's update number `step`, where the
    gradient may be off by `bound`."""
    low, high = gradient - bound, gradient + bound
    turn = np.clip(turning_gradient(moments), low, high)  # the update is largest at one of the ends, or here
    after, (first, second) = oracle.adam(weight, moments, gradient, step, learning_rate)
    ends = [oracle.adam(weight, moments, end, step, learning_rate)[0] for end in (low, turn, high)]
    reach = np.max([abs(end - after) for end in ends], axis=0)
    # The step size holds 1 − βᵗ, of which βᵗ is rounded at 1, and see `rate_error`.
    rate = 4 + sum(1 / (1 - beta**step) for beta in (BETA_1, BETA_2))
    moved = np.max([abs(end - weight) for end in (after, *ends)], axis=0)
    reach += rate_error(step) * moved
    lost = TINY / oracle.EPSILON  # of the step size times the first moment, before it is divided
    return (
        reach + DEVIATIONS * FLOAT32 * (abs(after) + rate * moved) + lost,
        (1 - BETA_1) * bound + DEVIATIONS * FLOAT32 * (4 * abs(first) + abs(moments[0])) + TINY,
        (1 - BETA_2) * bound * (2 * abs(gradient) + bound) + DEVIATIONS * FLOAT32 * (4 * second + moments[1]) + TINY,
    )


def rate_error(step: int) -> float:
    """The relative error of Adam's step size that comes of its β, which float32 rounds: t times over in βᵗ."""
    return FLOAT32 * sum(step * beta**step / (1 - beta**step) for beta in (BETA_1, BETA_2))


def turning_gradient(moments: Moments) -> np.ndarray:
    """The gradient g at which Adam's update (M + a·g) / (s + ε), s² = v + c·g², has its extremum, or 0 where it has
    none: a·(v + ε·s) = c·g·M, and squared an equation of the second degree in s."""
    a, c, e = 1 - BETA_1, 1 - BETA_2, oracle.EPSILON
    rest, v = BETA_1 * moments[0], BETA_2 * moments[1]
    square = c * rest**2
    leading = square - (a * e) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        s = (a**2 * v * e + np.sqrt((a**2 * v * e) ** 2 + leading * (a**2 * v + square) * v)) / leading
        turn = a * (v + e * s) / (c * rest)
    return np.where(leading > 0, np.nan_to_num(turn), 0.0)
