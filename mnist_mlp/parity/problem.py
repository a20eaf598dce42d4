"""What both the device and the reference compute: a network, its data, and the batch indices."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mnist_mlp import data
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.parity import oracle, rounding
from mnist_mlp.parity.oracle import Pass
from mnist_mlp.parity.rounding import Bounds, Precision

OPTIONS = ("model", "pixels", "dataset", "batch_size", "seed", "steps", "precision")  # what defines a problem
LEARNING_RATE = 0.001  # of Adam, the lecture's optimizer, whose first moment reveals the gradient
ACTIVATIONS = {"mlp_sigmoid": "sigmoid", "mlp_tanh": "tanh"}  # of the hidden layers; relu in the other models
L2 = {"mlp_l2": 1e-4}
MODELS = ("softmax", "mlp", "wide", "deep", "mlp_sigmoid", "mlp_tanh", "mlp_l2")  # Dense layers only, nothing random


@dataclasses.dataclass(frozen=True)
class State:
    """The variables of a network and of Adam between two steps, in the order of the weights."""

    weights: list[np.ndarray]
    first: list[np.ndarray]  # moments
    second: list[np.ndarray]

    def rounded(self) -> State:
        """Return the state rounded to float32, as devices store it, in float64."""
        parts = (self.weights, self.first, self.second)
        return State(*([values.astype(np.float32).astype(np.float64) for values in part] for part in parts))


@dataclasses.dataclass(frozen=True)
class Expected:
    """A number or an array, and how far a correct device may be from each element."""

    value: np.ndarray
    bound: np.ndarray


@dataclasses.dataclass(frozen=True)
class Problem:
    """A network, its precision, its data and the batches. `weights` are names: "hidden_1/kernel"."""

    model: str
    pixels: str
    precision: Precision
    dataset: data.Dataset
    order: np.ndarray  # batch indices, int32 [steps, batch], -1 for padding
    weights: tuple[str, ...]

    @property
    def activation(self) -> str:
        return ACTIVATIONS.get(self.model, "relu")

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the images, uint8 [n, 28, 28], and labels of a step, without padding."""
        row = self.order[step]
        used = row[row >= 0]
        return self.dataset.train.images[used], self.dataset.train.labels[used]

    def compute(self, weights: list[np.ndarray], images: np.ndarray, labels: np.ndarray) -> Pass:
        """Return the forward and backward pass of a batch, from the formulas."""
        inputs = images.reshape(len(images), 784) / (255.0 if self.pixels == "unit" else 1.0)
        return oracle.batch_pass(weights, inputs, labels, self.activation, L2.get(self.model, 0.0))

    def bounds(self, found: Pass, weights: list[np.ndarray]) -> Bounds:
        """Return how far a device may be from `found`."""
        return rounding.bounds(found, weights, self.activation, self.precision)


def order_of(seed: int, examples: int, batch_size: int, steps: int) -> np.ndarray:
    """Return the batch indices of the first `steps` steps, epoch after epoch: int32 [steps, batch]."""
    epochs = range(-(-steps // -(-examples // batch_size)))
    return np.concatenate([batch_indices(seed, epoch, examples, batch_size) for epoch in epochs])[:steps]


def apply(state: State, gradients: list[np.ndarray], step: int, rate: float = LEARNING_RATE) -> State:
    """Return the state after Adam's update number `step`, counted from 1."""
    after = [
        oracle.adam(weight, moments, gradient, step, rate)
        for weight, moments, gradient in zip(
            state.weights, zip(state.first, state.second, strict=True), gradients, strict=True
        )
    ]
    return State([w for w, _ in after], [m for _, (m, _) in after], [v for _, (_, v) in after])


def expected_update(problem: Problem, state: State, gradients: list[Expected], step: int) -> dict[str, Expected]:
    """Return the results of an update by name."""
    after = apply(state, [gradient.value for gradient in gradients], step)
    update: dict[str, Expected] = {}
    for index, name in enumerate(problem.weights):
        moments = (state.first[index], state.second[index])
        limits = rounding.adam_bounds(
            state.weights[index], moments, gradients[index].value, gradients[index].bound, step, LEARNING_RATE
        )
        parts = (("first moment of", after.first), ("second moment of", after.second), ("updated", after.weights))
        for (what, values), bound in zip(parts, (limits[1], limits[2], limits[0]), strict=True):
            update[f"{what} {name}"] = Expected(values[index], bound)
    return update


def expected_classes(logits: Expected) -> Expected:
    """Return the predicted classes; where the largest logits differ by less than their bounds, any is accepted."""
    highest = logits.value.argmax(1)
    rows = np.arange(len(highest))
    lead = logits.value[rows, highest][:, None] - logits.value
    close = lead <= logits.bound + logits.bound[rows, highest][:, None]
    close[rows, highest] = False
    return Expected(highest.astype(np.float64), np.where(close.any(1), 10.0, 0.5))


def describe(problem: Problem) -> dict[str, Any]:
    """Return the problem as JSON values."""
    return {
        "model": problem.model,
        "pixels": problem.pixels,
        "precision": dataclasses.asdict(problem.precision),
        "dataset": problem.dataset.name,
        "train_sha256": in_order_hash(problem.dataset.train),
        "test_sha256": in_order_hash(problem.dataset.test),
        "steps": len(problem.order),
        "batch_size": problem.order.shape[1],
        "optimizer": "adam",
        "learning_rate": LEARNING_RATE,
    }
