"""The content of a run's page: its result, its weights, and its predictions for the test images."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.config import Config
from mnist_mlp.data import Split
from mnist_mlp.data.sets import class_names
from mnist_mlp.engine.batching import IMAGES_PER_CALL
from mnist_mlp.models import numpy_forward, portable
from mnist_mlp.models.neighbours import TrainingImages
from mnist_mlp.models.portable import Array, Layer
from mnist_mlp.stats.metrics import confusion_matrix

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The test images and their logits, float64 [n, 10], as the network's device computed them."""

    test: Split
    logits: NDArray[np.float64]

    @functools.cached_property
    def losses(self) -> NDArray[np.float64]:
        """float64 [n]: −log of the probability of the true class, in nats."""
        # Not metrics.cross_entropy, whose last bits differ: pages of older runs would change.
        return -self.log_probabilities[np.arange(len(self.test)), self.test.labels]

    @functools.cached_property
    def log_probabilities(self) -> NDArray[np.float64]:
        """float64 [n, 10]; exact even where a probability rounds to 0."""
        with np.errstate(all="ignore"):  # logits of a run that diverged
            shifted = self.logits - self.logits.max(1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    @functools.cached_property
    def predicted(self) -> NDArray[np.int64]:
        return self.logits.argmax(1)

    @functools.cached_property
    def correct(self) -> NDArray[np.bool_]:
        return self.predicted == self.test.labels

    @functools.cached_property
    def confusion(self) -> NDArray[np.int64]:
        return confusion_matrix(self.test.labels, self.predicted)

    def probabilities(self, index: int) -> NDArray[np.float64]:
        """float64 [10] of one image."""
        return np.exp(self.log_probabilities[index])


@dataclasses.dataclass(frozen=True)
class RunContent:
    """All that the page of a run shows. `result` is the content of result.json, where None is a non-finite number."""

    name: str  # of the run directory
    config: Config
    result: dict[str, Any]
    layers: list[Layer]
    predictions: Predictions | None
    why_not: str = ""  # says why there are no predictions
    training: TrainingImages | None = None  # some that the run was trained on, if they are available

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        return class_names(self.result["dataset"])

    @property
    def counts_agree(self) -> bool:
        """Whether the predictions agree with the counts of the result."""
        return self.predictions is None or self.predictions.confusion.tolist() == self.result["test"]["confusion"]


def predict_test(engine: Engine, test: Split) -> Predictions:
    """Predict the test images with the engine's network."""
    return Predictions(test, engine.logits(test.images, IMAGES_PER_CALL).astype(np.float64))


def weights_of(engine: Engine) -> list[Layer]:
    """Return copies of the network's layers."""
    return [
        dataclasses.replace(layer, kernel=np.array(layer.kernel), bias=np.array(layer.bias))
        if layer.kernel is not None
        else layer
        for layer in portable.layers_of(engine.model)
    ]


def activations(layers: list[Layer], images: NDArray[np.uint8]) -> dict[str, Array]:
    """Return the activations of each hidden layer with weights, float32 [n, …], and as "pixels" the images, [n, 784].

    Computed in NumPy: compiling a program for ten images is not worth the time.
    """
    outputs: dict[str, Array] = {"pixels": images.reshape(len(images), -1).astype(np.float32) / 255}
    x: Array = images.astype(np.float32)
    for layer in layers:
        if layer.name == "logits":
            break
        x = numpy_forward.apply(layer, x)
        if layer.kernel is not None:
            outputs[layer.name] = x
    return outputs
