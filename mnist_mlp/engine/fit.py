"""Plain `Model.fit` behind the engine's contract: the oracle for the compiled engines, and slow. Keras alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from mnist_mlp.data import Split
from mnist_mlp.engine import Attached, Counts, Sums, read_state, write_state
from mnist_mlp.errors import UserError
from mnist_mlp.metrics import confusion_matrix
from mnist_mlp.models import to_logits


class FitEngine:
    """See `Engine` for the contract. `optimizer` may be None where nothing is trained."""

    whole_epochs = True  # fit tells the mean of an epoch's losses, not each
    step_on: list[str] = []  # fit does not tell

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer | None,
        splits: Mapping[str, Split],
        batch_size: int,
        attached: Attached,
    ):
        self.model, self.optimizer, self.splits = model, optimizer, splits
        self.batch_size, self.attached = batch_size, attached
        self.network = to_logits(model)
        self.network.compile(
            optimizer=optimizer or "sgd",
            jit_compile=False if attached.xla is False else "auto",
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[
                keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
                keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy"),
            ],
        )
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
        self.xla = bool(self.network.jit_compile)
        self.backend = keras.backend.backend()

    @property
    def weights_on(self) -> list[str]:
        return [str(self.model.trainable_variables[-1].value.device).rpartition("device:")[2].upper()]

    def compile(self) -> None:
        """Nothing: `fit` compiles in its first epoch."""

    def train(self, order: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        order = order[start:stop]
        used = order[order >= 0]
        if (order.ravel()[: len(used)] < 0).any():  # fit cuts the batches anew
            raise ValueError("Expected padding at the end of the order alone. Received some before its end.")
        split = self.splits["train"]
        history = self.network.fit(
            split.images[used],
            split.labels[used],
            batch_size=order.shape[1],
            epochs=1,
            shuffle=False,
            verbose=0,
        ).history
        seen = len(used)
        return Sums(np.array([history["cross_entropy"][0] * seen]), round(history["accuracy"][0] * seen), seen)

    def evaluate(self, split: str) -> Counts:
        images, labels = self.splits[split].images, self.splits[split].labels
        logits = self.network.predict(images, batch_size=self.batch_size, verbose=0).astype(np.float64)
        rows = np.arange(len(labels))
        log_sum = logits.max(1) + np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1))
        return Counts(confusion_matrix(labels, logits.argmax(1)), float((log_sum - logits[rows, labels]).sum()))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.model.predict(images, batch_size=self.batch_size, verbose=0)

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.network.predict(images, batch_size=self.batch_size, verbose=0)

    def state(self) -> dict[str, np.ndarray]:
        return read_state(self.model, self.optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        write_state(self.model, self.optimizer, state)

    def step_flops(self) -> float:
        raise UserError("--engine=fit: its operations are not counted; type --engine=compiled")

    def mean_over_workers(self, values: Sequence[float]) -> list[float]:
        return list(values)
