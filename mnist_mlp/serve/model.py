"""The trained network on its device, in batches of a few sizes that are all compiled before the server starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_mlp.engine.base import Engine
from mnist_mlp.errors import UserError
from mnist_mlp.models.networks import hidden_layers

STEP = 4  # factor between batch sizes: 1, 4, 16, 64 images


class Network:
    """The hidden activations and probabilities of 1 to `largest` images.

    The engine computes them, as in evaluate and predict, so a response comes from the framework and device that the
    server reports. (NumPy would take 0.2 ms for 32 images instead of TensorFlow's 0.5 ms on two cores, which is little
    compared with the cost of 32 requests.)
    """

    def __init__(self, engine: Engine, largest: int):
        self.engine = engine
        self.sizes = [1]
        while self.sizes[-1] < largest:
            self.sizes.append(min(self.sizes[-1] * STEP, largest))
        self.names = [layer.name for layer in hidden_layers(engine.model)]
        self.units = [int(layer.output.shape[-1]) for layer in hidden_layers(engine.model)]

    def compile(self) -> None:
        """Compile every batch size. Raise `UserError` if the outputs are not finite."""
        for size in self.sizes:
            image = np.linspace(0, 255, 784).astype(np.uint8).reshape(1, 28, 28)
            if not all(np.isfinite(output).all() for output in self.forward(np.repeat(image, size, 0))):
                raise UserError("model.keras predicts nan: its training diverged; train a new run")

    def forward(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the activations of each hidden layer, float32 [n, units], and the probabilities [n, 10].

        `images` are uint8 [n, 28, 28]; they are padded to the next batch size.
        """
        n = len(images)
        size = next(size for size in self.sizes if size >= n)
        if size > n:
            images = np.concatenate([images, np.zeros((size - n, 28, 28), np.uint8)])
        return [output[:n] for output in self.engine.layers(images)]


@dataclasses.dataclass(frozen=True)
class About:
    """The content of /healthz."""

    run: str
    network: str
    parameters: int
    hidden: Sequence[tuple[str, int]]  # name and number of neurons of each hidden layer
    dataset: str  # its title
    classes: Sequence[str]
    test_accuracy: float
    device: str
    backend: str
    weights_on: Sequence[str]
    computed_on: Sequence[str]
    version: str
    temperature: float | None = None  # of the probabilities, if the run is calibrated
    shows: str = "a digit"  # what is drawn

    def as_dict(self) -> dict[str, Any]:
        return {"status": "ok", "model": "mnist", **dataclasses.asdict(self)}
