"""The trained network as the server asks it: on the planned device, in batches of a few shapes, all compiled before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_mlp.engine.base import Engine
from mnist_mlp.errors import UserError
from mnist_mlp.models.networks import hidden_layers

STEP = 4  # from one shape to the next: 1, 4, 16, 64 images


class Network:
    """`look(images)`: what the hidden layers give and the probabilities, for 1 to `largest` images.

    What runs it is the engine that evaluates and predicts, on the device of the plan, so that an answer is that of the
    framework and the device that the server names. NumPy would take 0.2 ms for 32 images instead of TensorFlow's 0.5
    (two cores), a difference that is small beside what the server spends on as many requests.
    """

    def __init__(self, engine: Engine, largest: int):
        self.engine = engine
        self.sizes = [1]
        while self.sizes[-1] < largest:
            self.sizes.append(min(self.sizes[-1] * STEP, largest))
        self.names = [layer.name for layer in hidden_layers(engine.model)]
        self.units = [int(layer.output.shape[-1]) for layer in hidden_layers(engine.model)]

    def compile(self) -> None:
        """Compiles every shape. Raises `UserError` where what comes out are no numbers."""
        for size in self.sizes:
            image = np.linspace(0, 255, 784).astype(np.uint8).reshape(1, 28, 28)
            if not all(np.isfinite(output).all() for output in self.look(np.repeat(image, size, 0))):
                raise UserError("model.keras: expected probabilities, received nan: training diverged; train again")

    def look(self, images: np.ndarray) -> list[np.ndarray]:
        """float32 [n, units] of each hidden layer, and last [n, 10], of uint8 images [n, 28, 28]."""
        n = len(images)
        size = next(size for size in self.sizes if size >= n)
        if size > n:
            images = np.concatenate([images, np.zeros((size - n, 28, 28), np.uint8)])
        return [output[:n] for output in self.engine.layers(images)]


@dataclasses.dataclass(frozen=True)
class About:
    """What the server says of itself."""

    run: str
    network: str
    parameters: int
    hidden: Sequence[tuple[str, int]]  # layers, with their neurons
    dataset: str  # for people
    classes: Sequence[str]
    test_accuracy: float
    device: str
    backend: str
    weights_on: Sequence[str]
    computed_on: Sequence[str]
    version: str

    def as_dict(self) -> dict[str, Any]:
        return {"status": "ok", "model": "mnist", **dataclasses.asdict(self)}
