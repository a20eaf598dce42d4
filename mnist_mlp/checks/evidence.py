"""Collect the evidence for the diagnosis: numbers from a run's loss curves, activations, weights and data.

`sample` inspects the data before training, `gather` the network after it. No framework is imported here: the layers of
a Keras model are called one by one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mnist_mlp.data import Split
from mnist_mlp.stats.metrics import cross_entropy

if TYPE_CHECKING:
    import keras

SAMPLED = 500  # training images on which activations are computed
FURTHER = 4  # the loss is also computed this many times as far from the initial weights
BLIND = math.log(10)  # the loss of a uniform guess over ten classes
GROUP = 32  # smallest number of consecutive examples over which class mixing is measured


@dataclasses.dataclass(frozen=True)
class Sample:
    """Evidence from the data and the batch indices alone, and the images on which the network is inspected."""

    images: np.ndarray  # uint8 [n, 28, 28]: evenly spaced training images, at most SAMPLED
    labels: np.ndarray  # uint8 [n]
    test_examples: int
    leaked: int  # test images that are also training images, byte for byte
    mixing: float  # see `class_mixing`
    steps: int  # per epoch


@dataclasses.dataclass(frozen=True)
class Layer:
    """A hidden layer with weights. Shares are fractions from 0 to 1; the units of a convolution are its channels."""

    name: str
    activation: str
    units: int
    moved: float  # ‖w − w₀‖ / ‖w₀‖ of its kernel
    spread: float  # after training: largest difference between the kernels of two units, over the largest weight
    silent: float  # after training: share of units that output 0 for every sampled image
    saturated: float  # before training: share of outputs where the sigmoid's or tanh's slope is under 1% of its maximum


@dataclasses.dataclass(frozen=True)
class Logits:
    """What the loss receives as logits for the sampled images, after training."""

    lowest: float
    highest: float
    zeros: float  # share that is exactly 0
    sums: tuple[float, float]  # smallest and largest sum of an image's ten logits
    moved: float  # as in Layer


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All evidence of a run. Losses are mean cross-entropies in nats."""

    losses: tuple[float, ...]  # training loss of each epoch; inf if training diverged in it
    steps: int  # in all epochs
    repeats: float | None  # see `repetition`; None if the losses of single steps are unknown
    start_loss: float  # of the sampled images: with the initial weights,
    end_loss: float  # with the trained weights,
    further_loss: float  # and FURTHER times as far from the initial weights in the same direction
    brightest: float  # largest input of the first layer with weights
    layers: tuple[Layer, ...]
    logits: Logits
    mixing: float
    leaked: int
    test_examples: int
    confusion: np.ndarray | None  # int [10, 10] of the test images, truth in rows; None if they were not scored

    @property
    def left(self) -> float:
        """The final loss as a fraction of the initial one, or of a blind guess's if that is lower."""
        return self.end_loss / min(self.start_loss, BLIND)

    @property
    def furthest(self) -> float:
        """The largest relative change of any layer's kernel."""
        return max([*(layer.moved for layer in self.layers), self.logits.moved])

    @property
    def relus(self) -> list[Layer]:
        return [layer for layer in self.layers if layer.activation == "relu"]

    @property
    def silent(self) -> float:
        """The share of all hidden ReLU units that output 0 for every sampled image."""
        return sum(layer.units * layer.silent for layer in self.relus) / max(1, sum(each.units for each in self.relus))


def sample(train: Split, test: Split, indices: np.ndarray) -> Sample:
    """Return the evidence in the data. `indices`: int32 [steps, batch], the examples of an epoch, -1 for padding."""
    chosen = np.linspace(0, len(train) - 1, min(SAMPLED, len(train))).astype(int)
    known = {hash(image.tobytes()) for image in train.images}
    leaked = sum(hash(image.tobytes()) in known for image in test.images)
    return Sample(
        images=train.images[chosen],
        labels=train.labels[chosen],
        test_examples=len(test),
        leaked=leaked,
        mixing=class_mixing(train.labels, indices),
        steps=len(indices),
    )


def class_mixing(labels: np.ndarray, indices: np.ndarray) -> float:
    """Return how unevenly batch indices spread the classes: Pearson's χ² of groups of examples, per degree of freedom.

    About 1 for a random order, n if each group of n examples has a single class. A group is one batch, or several that
    together have at least GROUP examples. 1 if there is no complete group: then the order does not matter.
    """
    size = indices.shape[1] * -(-GROUP // indices.shape[1])
    used = labels[indices[indices >= 0]]
    groups = used[: len(used) // size * size].reshape(-1, size)
    shares = np.bincount(used) / len(used)
    shares = shares[np.nonzero(shares)]
    classes = np.unique(used)
    if not len(groups) or len(classes) < 2:
        return 1.0
    counts = (groups[:, :, None] == classes).sum(1)  # [groups, classes]
    return float(((counts - size * shares) ** 2 / (size * shares)).sum() / len(groups) / (len(classes) - 1))


def repetition(step_losses: np.ndarray, epochs: int) -> float | None:
    """Return how much the loss rises and falls at the same steps of the last two epochs: their detrended correlation.

    None if there are fewer than two epochs, fewer than 10 steps in one, or a loss that is not finite.
    """
    steps = len(step_losses) // max(1, epochs)
    if epochs < 2 or steps < 10 or not np.isfinite(step_losses).all():
        return None
    x = np.arange(steps)
    last = step_losses[-2 * steps :].reshape(2, steps)
    residues = [values - np.polyval(np.polyfit(x, values, 1), x) for values in last]
    return float(np.corrcoef(residues)[0, 1])


# Six parameters: each is another kind of thing that a run leaves; no two belong together.
def gather(
    model: keras.Model,
    trained: Mapping[str, np.ndarray],
    sample: Sample,
    *,
    losses: Sequence[float],
    confusion: np.ndarray | None,
    step_losses: np.ndarray | None = None,
) -> Evidence:
    """Return the evidence from a network with its initial weights, and with those in `trained`, an engine's state.

    `model` has the initial weights, and its layers follow each other in a line. Its weights are changed.
    """
    from mnist_mlp.engine.base import named_variables, read_state

    variables, first = named_variables(model, None), read_state(model, None)

    def step_to(times: float) -> None:
        for name, variable in variables.items():
            if first[name].dtype.kind == "f":
                variable.assign(first[name] + times * (np.asarray(trained[name]) - first[name]))

    with np.errstate(all="ignore"):  # weights that are not finite give nan, which no rule takes for evidence
        start, brightest = inspect(model, sample.images)
        step_to(1)
        end, _ = inspect(model, sample.images)
        step_to(FURTHER)
        further, _ = inspect(model, sample.images)
        kernels = {layer: (first[kernel_of(layer)], np.asarray(trained[kernel_of(layer)])) for layer in start}
        *hidden, last = start
        return Evidence(
            losses=tuple(map(float, losses)),
            steps=sample.steps * len(losses),
            repeats=None if step_losses is None else repetition(step_losses, len(losses)),
            start_loss=float(cross_entropy(start[last][1], sample.labels).mean()),
            end_loss=float(cross_entropy(end[last][1], sample.labels).mean()),
            further_loss=float(cross_entropy(further[last][1], sample.labels).mean()),
            brightest=brightest,
            layers=tuple(layer_evidence(name, *kernels[name], start[name], end[name]) for name in hidden),
            logits=logits_evidence(*kernels[last], end[last][1]),
            mixing=sample.mixing,
            leaked=sample.leaked,
            test_examples=sample.test_examples,
            confusion=confusion,
        )


def kernel_of(layer: str) -> str:
    """Return the name of a layer's kernel in an engine's state."""
    return f"model/{layer}/kernel"


def inspect(model: keras.Model, images: np.ndarray) -> tuple[dict[str, tuple[str, np.ndarray]], float]:
    """Return, for each layer with weights, its activation's name and its outputs, float32 [n, …, units]; and the
    largest input of the first such layer."""
    outputs: dict[str, tuple[str, np.ndarray]] = {}
    brightest = 0.0
    x = images.astype("float32")
    for layer in model.layers[1:]:  # without the input
        if layer.trainable_variables and not outputs:
            brightest = float(np.asarray(x).astype("float32").max())
        x = layer(x)
        if layer.trainable_variables:
            outputs[layer.name] = (layer.activation.__name__, np.asarray(x).astype("float32"))
    return outputs, brightest


def layer_evidence(
    name: str,
    kernel_before: np.ndarray,
    kernel: np.ndarray,
    before: tuple[str, np.ndarray],
    after: tuple[str, np.ndarray],
) -> Layer:
    """Return the evidence of a hidden layer, from its kernel and what `inspect` returned, before and after training."""
    activation, outputs = before
    per_unit = after[1].reshape(-1, kernel.shape[-1])
    flat = kernel.reshape(-1, kernel.shape[-1])
    largest = float(np.abs(flat).max())
    slope = {"sigmoid": 4 * outputs * (1 - outputs), "tanh": 1 - outputs**2}.get(activation, np.ones(1))
    return Layer(
        name=name,
        activation=activation,
        units=kernel.shape[-1],
        moved=moved(kernel_before, kernel),
        spread=float(np.ptp(flat, axis=1).max()) / largest if largest else 0.0,
        silent=float((per_unit == 0).all(0).mean()),
        saturated=float((slope < 0.01).mean()),
    )


def logits_evidence(kernel_before: np.ndarray, kernel: np.ndarray, logits: np.ndarray) -> Logits:
    """Return the evidence of the last layer, from its kernel before and after training, and its outputs after."""
    sums = logits.astype(np.float64).sum(1)
    return Logits(
        lowest=float(logits.min()),
        highest=float(logits.max()),
        zeros=float((logits == 0).mean()),
        sums=(float(sums.min()), float(sums.max())),
        moved=moved(kernel_before, kernel),
    )


def moved(before: np.ndarray, after: np.ndarray) -> float:
    """Return ‖w − w₀‖ / ‖w₀‖: inf if only w₀ is 0, 0 if both are."""
    distance, size = float(np.linalg.norm(after - before)), float(np.linalg.norm(before))
    return distance / size if size else (float("inf") if distance else 0.0)
