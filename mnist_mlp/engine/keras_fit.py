"""Plain `Model.fit` behind the engine's contract: the oracle for the compiled engines, and slow. Keras alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import keras
import numpy as np

from mnist_mlp.data import Split
from mnist_mlp.engine.augmentation import distort
from mnist_mlp.engine.base import PLAIN, Counts, DeviceSet, Recipe, Sums, read_state, write_state
from mnist_mlp.engine.batching import SECONDS_PER_CALL
from mnist_mlp.errors import UserError
from mnist_mlp.models.networks import to_logits, with_hidden
from mnist_mlp.stats import metrics
from mnist_mlp.stats.metrics import confusion_matrix

# Of an epoch: its steps so far, their mean loss and accuracy, seconds a step.
Heard = Callable[[int, float, float, float], None]


class FitEngine:
    """See `Engine` for the contract. `optimizer` may be None where nothing is trained."""

    whole_epochs = True  # fit tells the mean of an epoch's losses, not each
    step_on: list[str] = []  # fit does not tell
    hear: Heard | None = None

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer | None,
        splits: Mapping[str, Split],
        batch_size: int,
        attached: DeviceSet,
        recipe: Recipe = PLAIN,
    ):
        self.model, self.optimizer, self.splits = model, optimizer, splits
        self.recipe, self.seed = recipe, recipe.seed
        self.batch_size, self.attached = batch_size, attached
        self.network = to_logits(model)
        loss, told = cross_entropy(recipe.label_smoothing)
        self.network.compile(
            optimizer=optimizer or "sgd",
            jit_compile=False if attached.xla is False else "auto",
            loss=loss,
            metrics=[
                keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
                told,
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
            self.distorted(order),
            split.labels[used],
            batch_size=order.shape[1],
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=[ProgressCallback(self.hear)] if self.hear else [],
        ).history
        seen = len(used)
        return Sums(np.array([history["cross_entropy"][0] * seen]), round(history["accuracy"][0] * seen), seen)

    def distorted(self, order: np.ndarray) -> np.ndarray:
        """The images of an order, one after the other, as its steps are to see them."""
        images = self.splits["train"].images
        if self.recipe.augment == "none":
            return images[order[order >= 0]]
        begin = int(keras.ops.convert_to_numpy(self.optimizer.iterations))
        rows = [row[row >= 0] for row in order]
        seen = [
            distort(images[row].astype("float32"), self.recipe.augment, self.seed, begin + step, row)
            for step, row in enumerate(rows)
        ]
        return np.concatenate([keras.ops.convert_to_numpy(each) for each in seen])

    def evaluate(self, split: str) -> Counts:
        images, labels = self.splits[split].images, self.splits[split].labels
        logits = self.network.predict(images, batch_size=self.batch_size, verbose=0).astype(np.float64)
        loss_sum = float(metrics.cross_entropy(logits, labels).sum())
        return Counts(confusion_matrix(labels, logits.argmax(1)), loss_sum)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.model.predict(images, batch_size=self.batch_size, verbose=0)

    def logits(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        return self.network.predict(images, batch_size=batch_size or self.batch_size, verbose=0)

    @cached_property
    def layers_model(self) -> keras.Model:
        return with_hidden(self.model)

    def layers(self, images: np.ndarray) -> list[np.ndarray]:
        found = self.layers_model.predict(images, batch_size=len(images), verbose=0)
        return found if isinstance(found, list) else [found]

    def state(self) -> dict[str, np.ndarray]:
        return read_state(self.model, self.optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        write_state(self.model, self.optimizer, state)

    def step_flops(self) -> float:
        raise UserError("--engine=fit: its operations are not counted; type --engine=compiled")

    def mean_over_workers(self, values: Sequence[float]) -> list[float]:
        return list(values)


class ProgressCallback(keras.callbacks.Callback):
    """Tells about once a second how far an epoch of fit is."""

    def __init__(self, hear: Heard):
        super().__init__()
        self.hear = hear

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        now = time.perf_counter()
        if batch == 0:
            self.began = self.last = now  # without what compiled it
        elif now - self.last > SECONDS_PER_CALL:
            self.last = now
            self.hear(batch + 1, logs["cross_entropy"], logs["accuracy"], (now - self.began) / batch)


def cross_entropy(smoothing: float) -> tuple[keras.losses.Loss | Callable, keras.metrics.Metric]:
    """A loss of labels, integers [n], and logits, float32 [n, 10], in nats, and the metric that tells its mean: the
    cross-entropy against labels of which that share is spread evenly over the classes."""
    name = "cross_entropy"
    if not smoothing:
        metric = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name=name)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True), metric

    def loss(labels, logits):
        labels = keras.ops.one_hot(keras.ops.reshape(keras.ops.cast(labels, "int32"), (-1,)), 10)
        return keras.losses.categorical_crossentropy(labels, logits, from_logits=True, label_smoothing=smoothing)

    return loss, keras.metrics.MeanMetricWrapper(loss, name=name)
