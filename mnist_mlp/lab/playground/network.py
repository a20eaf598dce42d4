"""The page's network and its training, for one seed or several side by side.

Arrays of K networks have K as their first axis; those of a single network omit it, which makes NumPy faster. All
weights and biases lie in one buffer in the page's order: layer by layer, node by node, the bias first. So a layer is a
view [units, 1 + inputs], its inputs have a first row of ones, and an update is one subtraction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.lab.playground import exact, fdlibm
from mnist_mlp.lab.playground.points import Point
from mnist_mlp.lab.playground.random_stream import Stream
from mnist_mlp.lab.playground.url_state import State

Array = NDArray[np.float64]
BIAS = 0.1  # initial value of every bias
EXACT = 100  # epochs computed bit for bit like the page
LARGEST = 4_000_000  # terms of a matrix product in exact order, at most; larger ones use BLAS from the start


def initial_parameters(state: State, stream: Stream) -> Array:
    """Return the initial weights and biases, float64 [P]. With initZero the weights are drawn, too, and discarded."""
    values: list[float] = []
    for inputs, units in zip(state.sizes, state.sizes[1:], strict=False):
        for _ in range(units):
            values.append(BIAS)
            values.extend(stream.random() - 0.5 for _ in range(inputs))
    return np.zeros(len(values)) if state.initZero else np.array(values)


def features(state: State, points: Sequence[Point]) -> Array:
    """Return the inputs of the network at the points, float64 [F, n], bit for bit like the page."""
    x, y = (np.array([point[i] for point in points], float) for i in (0, 1))
    return rows_of(state, x, y, lambda values: np.array([fdlibm.sin(v) for v in values.tolist()], float))


def rows_of(state: State, x: Array, y: Array, sine: Callable[[Array], Array] = np.sin) -> Array:
    """Return the features of a state at (x, y), float64 [F, n]."""
    make: dict[str, Callable[[], Array]] = {
        **{"x": lambda: x, "y": lambda: y, "xSquared": lambda: x * x, "ySquared": lambda: y * y},
        **{"xTimesY": lambda: x * y, "sinX": lambda: sine(x), "sinY": lambda: sine(y)},
    }
    return np.array([make[name]() for name in state.features], float).reshape(len(state.features), len(x))


def with_ones(values: Array) -> Array:
    """Prepend a row of ones, the input of the biases: […, n, m] → […, 1 + n, m]."""
    *lead, _, m = values.shape
    return np.concatenate([np.ones((*lead, 1, m)), values], axis=-2)


def layers_of(parameters: Array, sizes: Sequence[int]) -> list[Array]:
    """Return the layers as views […, units, 1 + inputs] of a buffer […, P]."""
    layers, start = [], 0
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        end = start + units * (1 + inputs)
        layers.append(parameters[..., start:end].reshape(*parameters.shape[:-1], units, 1 + inputs))
        start = end
    return layers


class Activation(NamedTuple):
    """An activation function, computed in place."""

    apply: Callable[[Array], object]  # of the weighted inputs
    exact: Callable[[Array], object]  # the same, bit for bit like the page
    slope: Callable[[Array, Array, Array], object]  # multiply errors by the derivative, given outputs and scratch


def sigmoid(z: Array) -> None:
    np.negative(z, out=z)
    np.exp(z, out=z)
    np.add(z, 1, out=z)
    np.reciprocal(z, out=z)


def relu(z: Array) -> None:
    np.maximum(z, 0, out=z)


def slope_of_sigmoid(error: Array, o: Array, scratch: Array) -> None:
    np.subtract(1, o, out=scratch)
    np.multiply(scratch, o, out=scratch)
    np.multiply(error, scratch, out=error)


def slope_of_tanh(error: Array, o: Array, scratch: Array) -> None:
    np.multiply(o, o, out=scratch)
    np.subtract(1, scratch, out=scratch)
    np.multiply(error, scratch, out=error)


ACTIVATIONS = {
    "tanh": Activation(lambda z: np.tanh(z, out=z), exact.tanh, slope_of_tanh),
    "sigmoid": Activation(sigmoid, exact.sigmoid, slope_of_sigmoid),
    "relu": Activation(relu, relu, lambda error, o, scratch: np.multiply(error, np.greater(o, 0), out=error)),
    "linear": Activation(lambda z: None, lambda z: None, lambda error, o, scratch: None),
}


def activations_of(state: State) -> list[Activation]:
    """Return the activation of each layer; that of the output is tanh for classification, linear for regression."""
    last = "tanh" if state.problem == "classification" else "linear"
    return [ACTIVATIONS[state.activation]] * len(state.networkShape) + [ACTIVATIONS[last]]


class Work:
    """Buffers for the values and errors of m samples in each layer."""

    def __init__(self, sizes: Sequence[int], lead: tuple[int, ...], m: int) -> None:
        self.inner = [np.ones((*lead, 1 + units, m)) for units in sizes[1:-1]]  # including the row of ones
        self.outputs = [values[..., 1:, :] for values in self.inner] + [np.empty((*lead, 1, m))]
        self.errors = [np.empty((*lead, units, m)) for units in sizes[1:]]
        self.scratch = [np.empty((*lead, units, m)) for units in sizes[1:]]
        self.m, self.largest = m, math.prod(lead) * m * max(a * b for a, b in zip(sizes, sizes[1:], strict=False))


class Batch(NamedTuple):
    """The samples between two updates."""

    inputs: Array  # [K, 1 + F, m]
    labels: Array  # [K, 1, m]
    work: Work


class Network:
    """K networks of one shape. `parameters`, float64 [K, P] or [P] for a single one, are updated in place."""

    def __init__(self, state: State, parameters: Array) -> None:
        self.state, self.sizes, self.lead = state, state.sizes, parameters.shape[:-1]
        self.parameters = parameters
        self.layers = layers_of(parameters, state.sizes)
        self.activations = activations_of(state)
        self.exact = True  # bit for bit like the page, at two or three times the cost
        self.product: Any = np.matmul if self.lead else np.dot  # same result; dot is faster for a small matrix
        self.gradient = np.empty_like(parameters)
        self.gradients = layers_of(self.gradient, state.sizes)
        self.backward = [layer[..., 1:].swapaxes(-1, -2) for layer in self.layers]  # without biases
        self.dead = np.zeros(parameters.shape, bool)
        self.rates: dict[int, tuple[Array, Array]] = {}
        self.bias = np.zeros(parameters.shape[-1], bool)
        for layer in layers_of(self.bias, state.sizes):
            layer[:, 0] = True
        self.decay = np.where(self.bias, 0, state.learningRate * state.regularizationRate)

    def forward(self, inputs: Array, work: Work, as_page: bool = False) -> Array:
        """Return the outputs […, 1, m] for inputs […, 1 + F, m]; `work` keeps the values of the layers."""
        product = exact.product if as_page else self.product
        for layer, activation, outputs, inner in zip(
            self.layers, self.activations, work.outputs, [*work.inner, work.outputs[-1]], strict=True
        ):
            product(layer, inputs, out=outputs)
            (activation.exact if as_page else activation.apply)(outputs)
            inputs = inner
        return inputs

    def step(self, batch: Batch) -> None:
        """Update the weights by the mean gradient of the errors ½(o − t)² of a batch, and the penalty."""
        work = batch.work
        as_page = self.exact and work.largest <= LARGEST
        product = exact.product if as_page else self.product
        np.subtract(self.forward(batch.inputs, work, as_page), batch.labels, out=work.errors[-1])
        for i in range(len(self.layers) - 1, -1, -1):
            self.activations[i].slope(work.errors[i], work.outputs[i], work.scratch[i])
            inputs = work.inner[i - 1] if i else batch.inputs
            product(work.errors[i], inputs.swapaxes(-1, -2), out=self.gradients[i])
            if i:
                product(self.backward[i], work.errors[i], out=work.errors[i - 1])
        if work.m not in self.rates:  # the page computes (rate / m)·Σg for weights, (rate·Σg) / m for biases
            step = self.state.learningRate
            self.rates[work.m] = np.where(self.bias, step, step / work.m), np.where(self.bias, float(work.m), 1.0)
        rate, divisor = self.rates[work.m]
        np.multiply(self.gradient, rate, out=self.gradient)
        np.divide(self.gradient, divisor, out=self.gradient)
        self.update()

    def update(self) -> None:
        """w1 = w − step, w2 = w1 − lr·rate·R′(w). With L1, a weight that the penalty carries across 0 stays 0."""
        w, kind = self.parameters, self.state.regularization
        if kind == "none":
            np.subtract(w, self.gradient, out=w)
            return
        penalty = (w if kind == "L2" else np.sign(w)) * self.decay
        np.subtract(w, self.gradient, out=w)
        if kind == "L2":
            np.subtract(w, penalty, out=w)
            return
        after = w - penalty
        self.dead |= w * after < 0
        w[...] = after
        w[self.dead] = 0


class Schedule:
    """The page's batches: samples in a fixed order, with an update when (i + 1) mod batchSize = 0.

    Samples after the last update of an epoch carry over into the first update of the next. The weights do not change
    in between, so these samples are simply prepended to that batch.
    """

    def __init__(self, state: State, lead: tuple[int, ...], inputs: Array, labels: Array) -> None:
        n, size = inputs.shape[-1], state.batchSize
        ends = [i for i in range(1, n + 1) if size and math.fmod(i, size) == 0]
        works: dict[int, Work] = {}

        def batch(chosen: Sequence[int]) -> Batch:
            if len(chosen) not in works:
                works[len(chosen)] = Work(state.sizes, lead, len(chosen))
            return Batch(
                np.ascontiguousarray(inputs[..., chosen]),
                np.ascontiguousarray(labels[..., chosen]),
                works[len(chosen)],
            )

        self.first = [batch(range(a, b)) for a, b in zip([0, *ends], ends, strict=False)]  # of the first epoch
        self.later = self.first
        if ends and ends[-1] < n:
            self.later = [batch([*range(ends[-1], n), *range(ends[0])]), *self.first[1:]]
