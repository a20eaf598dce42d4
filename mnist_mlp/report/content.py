"""What a page is made of: the result of a run, its weights, and what the network says of the test images."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.config import Config
from mnist_mlp.data import Split
from mnist_mlp.data.dataset import class_names
from mnist_mlp.models import numpy_forward, portable
from mnist_mlp.models.portable import Array, Layer
from mnist_mlp.stats.metrics import confusion_matrix

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine

AT_ONCE = 1000  # test images per call: the program for them is compiled for this one use, and called ten times


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The test images, and the network's logits of them, float64 [n, 10], as its device computed them."""

    test: Split
    logits: NDArray[np.float64]

    @functools.cached_property
    def losses(self) -> NDArray[np.float64]:
        """float64 [n]: −log of the probability given to the truth, in nats."""
        # Not metrics.cross_entropy, whose last bits differ: pages of older runs would change.
        return -self.log_probabilities[np.arange(len(self.test)), self.test.labels]

    @functools.cached_property
    def log_probabilities(self) -> NDArray[np.float64]:
        """float64 [n, 10]; exact also where a probability rounds to 0."""
        with np.errstate(all="ignore"):  # logits of a run that diverged
            shifted = self.logits - self.logits.max(1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    @functools.cached_property
    def predicted(self) -> NDArray[np.int64]:
        return self.logits.argmax(1)

    @functools.cached_property
    def right(self) -> NDArray[np.bool_]:
        return self.predicted == self.test.labels

    @functools.cached_property
    def confusion(self) -> NDArray[np.int64]:
        return confusion_matrix(self.test.labels, self.predicted)

    def probabilities(self, index: int) -> NDArray[np.float64]:
        """float64 [10] of one image."""
        return np.exp(self.log_probabilities[index])


@dataclasses.dataclass(frozen=True)
class Material:
    """All that the page of a run shows. `result` is what result.json holds: None is a number that is not finite."""

    name: str  # of the run's directory
    config: Config
    result: dict[str, Any]
    layers: list[Layer]
    seen: Predictions | None
    why_not: str = ""  # there is no `seen`

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        return class_names(self.result["dataset"]["name"])

    @property
    def counts_agree(self) -> bool:
        """Whether what is shown of single images adds up to the counts of the result."""
        return self.seen is None or self.seen.confusion.tolist() == self.result["test"]["confusion"]


def predict_test(engine: Engine, test: Split) -> Predictions:
    """What the engine's network says of the test images. Nothing is chosen by it: the result stands already."""
    return Predictions(test, engine.logits(test.images, AT_ONCE).astype(np.float64))


def weights_of(engine: Engine) -> list[Layer]:
    """Copies of the network's layers as they are now."""
    return [
        dataclasses.replace(layer, kernel=np.array(layer.kernel), bias=np.array(layer.bias))
        if layer.kernel is not None
        else layer
        for layer in portable.layers_of(engine.model)
    ]


def activations(layers: list[Layer], images: NDArray[np.uint8]) -> dict[str, Array]:
    """What each hidden layer with weights gives, float32 [n, …], and under "pixels" the images, [n, 784].

    In NumPy: for ten images no program is worth compiling.
    """
    found: dict[str, Array] = {"pixels": images.reshape(len(images), -1).astype(np.float32) / 255}
    x: Array = images.astype(np.float32)
    for layer in layers:
        if layer.name == "logits":
            break
        x = numpy_forward.apply(layer, x)
        if layer.kernel is not None:
            found[layer.name] = x
    return found
