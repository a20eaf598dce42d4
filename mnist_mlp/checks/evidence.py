"""What a training run leaves behind to tell a mistake by: numbers from its curves, activations, weights and data.

`probe` looks at the data before training, `gather` at the network after it. No framework is imported here: the layers
of a Keras model are called one by one.
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

PROBED = 500  # training images on which activations are looked at
FURTHER = 4  # how many times as far from the initial weights the loss is tried
BLIND = math.log(10)  # the loss of a network that knows nothing of ten equally frequent classes
GROUP = 32  # examples in a row over which the mixture of classes is judged, at least


@dataclasses.dataclass(frozen=True)
class Probe:
    """What is known from the data and their order alone."""

    images: np.ndarray  # uint8 [n, 28, 28], training images, evenly taken, at most PROBED
    labels: np.ndarray  # uint8 [n]
    test_examples: int
    leaked: int  # test images that are training images too, byte for byte
    mixing: float  # see `class_mixing`
    steps: int  # of an epoch


@dataclasses.dataclass(frozen=True)
class Layer:
    """A hidden layer with weights. Shares are from 0 to 1; a unit of a convolution is a channel."""

    name: str
    activation: str
    units: int
    moved: float  # ‖w − w₀‖ / ‖w₀‖ of its kernel
    spread: float  # after training, the largest difference between the kernels of two units over the largest weight
    silent: float  # after training, share of units that give 0 for every probed image
    saturated: float  # at the start, share of outputs where the slope of a sigmoid or tanh is under 1% of its largest


@dataclasses.dataclass(frozen=True)
class Logits:
    """What the loss takes for logits, of the probed images after training."""

    lowest: float
    highest: float
    zeros: float  # share that is exactly 0
    sums: tuple[float, float]  # the smallest and the largest sum over the ten of an image
    moved: float  # as in Layer


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is known of a run. Losses are mean cross-entropies in nats."""

    losses: tuple[float, ...]  # of each epoch, as trained; inf where training diverged in it
    steps: int  # of all epochs
    repeats: float | None  # see `repetition`; None where the steps' losses are not known
    start_loss: float  # of the probed images: with the initial weights,
    end_loss: float  # with the trained ones,
    further_loss: float  # and FURTHER times as far from the initial weights, in the same direction
    brightest: float  # the largest value that the first layer with weights sees
    layers: tuple[Layer, ...]
    logits: Logits
    mixing: float
    leaked: int
    test_examples: int
    confusion: np.ndarray | None  # int [10, 10] of the test images, rows are the truth; None where they were not scored

    @property
    def left(self) -> float:
        """The share of the loss that is left of the initial one, or of a blind guess's where that is lower."""
        return self.end_loss / min(self.start_loss, BLIND)

    @property
    def furthest(self) -> float:
        """How far the layer has moved that moved most, by the size of its initial weights."""
        return max(layer.moved for layer in (*self.layers, self.logits))

    @property
    def relus(self) -> list[Layer]:
        return [layer for layer in self.layers if layer.activation == "relu"]

    @property
    def silent(self) -> float:
        """The share of all hidden ReLU units that give 0 for every probed image."""
        return sum(layer.units * layer.silent for layer in self.relus) / max(1, sum(each.units for each in self.relus))


def probe(train: Split, test: Split, order: np.ndarray) -> Probe:
    """What the data say. `order`: int32 [steps, batch], the examples of an epoch, -1 where there is none."""
    chosen = np.linspace(0, len(train) - 1, min(PROBED, len(train))).astype(int)
    known = {hash(image.tobytes()) for image in train.images}
    leaked = sum(hash(image.tobytes()) in known for image in test.images)
    return Probe(
        images=train.images[chosen],
        labels=train.labels[chosen],
        test_examples=len(test),
        leaked=leaked,
        mixing=class_mixing(train.labels, order),
        steps=len(order),
    )


def class_mixing(labels: np.ndarray, order: np.ndarray) -> float:
    """How unevenly an order spreads the classes: Pearson's χ² of its groups over the degrees of freedom.

    About 1 where the order was drawn, n where each group of n examples is of one class. A group is a batch, or several
    up to GROUP examples. 1 where there is no whole group: then the order plays no role.
    """
    size = order.shape[1] * -(-GROUP // order.shape[1])
    used = labels[order[order >= 0]]
    groups = used[: len(used) // size * size].reshape(-1, size)
    shares = np.bincount(used) / len(used)
    shares = shares[np.nonzero(shares)]
    classes = np.unique(used)
    if not len(groups) or len(classes) < 2:
        return 1.0
    counts = (groups[:, :, None] == classes).sum(1)  # [groups, classes]
    return float(((counts - size * shares) ** 2 / (size * shares)).sum() / len(groups) / (len(classes) - 1))


def repetition(step_losses: np.ndarray, epochs: int) -> float | None:
    """How far the loss rises and falls at the same steps of the last two epochs: their correlation without trend.

    None where there are no two epochs, or too few steps in one (10).
    """
    steps = len(step_losses) // max(1, epochs)
    if epochs < 2 or steps < 10 or not np.isfinite(step_losses).all():
        return None
    x = np.arange(steps)
    last = step_losses[-2 * steps :].reshape(2, steps)
    residues = [values - np.polyval(np.polyfit(x, values, 1), x) for values in last]
    return float(np.corrcoef(residues)[0, 1])


def gather(
    model: keras.Model,
    trained: Mapping[str, np.ndarray],
    probe: Probe,
    *,
    losses: Sequence[float],
    confusion: np.ndarray | None,
    step_losses: np.ndarray | None = None,
) -> Evidence:
    """Looks at a network with its initial weights, then with those of `trained`, an engine's state.

    `model` is one of `models`, with nothing between its layers but the next one; it ends with other weights.
    """
    from mnist_mlp.engine.base import named_variables, read_state

    variables, first = named_variables(model, None), read_state(model, None)

    def step_to(times: float) -> None:
        for name, variable in variables.items():
            if first[name].dtype.kind == "f":
                variable.assign(first[name] + times * (np.asarray(trained[name]) - first[name]))

    with np.errstate(all="ignore"):  # weights that are no longer finite give nan, of which nothing is said
        start, brightest = inspect(model, probe.images)
        step_to(1)
        end, _ = inspect(model, probe.images)
        step_to(FURTHER)
        further, _ = inspect(model, probe.images)
        kernels = {layer: (first[kernel_of(layer)], np.asarray(trained[kernel_of(layer)])) for layer in start}
        *hidden, last = start
        return Evidence(
            losses=tuple(map(float, losses)),
            steps=probe.steps * len(losses),
            repeats=None if step_losses is None else repetition(step_losses, len(losses)),
            start_loss=float(cross_entropy(start[last][1], probe.labels).mean()),
            end_loss=float(cross_entropy(end[last][1], probe.labels).mean()),
            further_loss=float(cross_entropy(further[last][1], probe.labels).mean()),
            brightest=brightest,
            layers=tuple(layer_evidence(name, *kernels[name], start[name], end[name]) for name in hidden),
            logits=logits_evidence(*kernels[last], end[last][1]),
            mixing=probe.mixing,
            leaked=probe.leaked,
            test_examples=probe.test_examples,
            confusion=confusion,
        )


def kernel_of(layer: str) -> str:
    """The name of a layer's kernel in an engine's state."""
    return f"model/{layer}/kernel"


def inspect(model: keras.Model, images: np.ndarray) -> tuple[dict[str, tuple[str, np.ndarray]], float]:
    """Of each layer with weights its activation's name and its outputs, float32 [n, …, units]; and the largest value
    that the first of them sees."""
    found: dict[str, tuple[str, np.ndarray]] = {}
    brightest = 0.0
    x = images.astype("float32")
    for layer in model.layers[1:]:  # without the input
        if layer.trainable_variables and not found:
            brightest = float(np.asarray(x).astype("float32").max())
        x = layer(x)
        if layer.trainable_variables:
            found[layer.name] = (layer.activation.__name__, np.asarray(x).astype("float32"))
    return found, brightest


def layer_evidence(
    name: str,
    kernel_before: np.ndarray,
    kernel: np.ndarray,
    before: tuple[str, np.ndarray],
    after: tuple[str, np.ndarray],
) -> Layer:
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
    sums = logits.astype(np.float64).sum(1)
    zeros = float((logits == 0).mean())
    return Logits(
        *map(float, (logits.min(), logits.max())),
        zeros=zeros,
        sums=(float(sums.min()), float(sums.max())),
        moved=moved(kernel_before, kernel),
    )


def moved(before: np.ndarray, after: np.ndarray) -> float:
    """‖w − w₀‖ / ‖w₀‖: inf if only w₀ is 0, 0 if nothing moved."""
    way, size = float(np.linalg.norm(after - before)), float(np.linalg.norm(before))
    return way / size if size else (float("inf") if way else 0.0)
