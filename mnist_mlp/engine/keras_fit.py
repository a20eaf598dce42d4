"""Plain `Model.fit` behind the engine's contract: slow, and the reference for the compiled engines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mnist_mlp.data import Split
from mnist_mlp.engine.augmentation import distort
from mnist_mlp.engine.base import PLAIN, Counts, DeviceSet, OnBatch, OnProgress, Recipe, Sums, read_state, write_state
from mnist_mlp.engine.batching import SECONDS_PER_CALL
from mnist_mlp.errors import UserError
from mnist_mlp.models.networks import to_logits, with_hidden
from mnist_mlp.stats import metrics
from mnist_mlp.stats.metrics import confusion_matrix


class FitEngine:
    """See `Engine` for the contract. `optimizer` may be None if nothing is trained."""

    whole_epochs = True  # `fit` reports the mean loss of an epoch, not that of each step
    step_on: list[str] = []  # `fit` does not report it
    on_progress: OnProgress | None = None
    on_batch: OnBatch | None = None

    # Six parameters, as of `CompiledEngine`.
    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer | None,
        splits: Mapping[str, Split],
        batch_size: int,
        devices: DeviceSet,
        recipe: Recipe = PLAIN,
    ):
        self.model, self.optimizer, self.splits = model, optimizer, splits
        self.recipe, self.seed = recipe, recipe.seed
        self.batch_size, self.devices = batch_size, devices
        self.network = to_logits(model)
        loss, loss_metric = cross_entropy(recipe.label_smoothing)
        self.network.compile(
            optimizer=optimizer or "sgd",
            jit_compile=False if devices.xla is False else "auto",
            loss=loss,
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy"), loss_metric],
        )
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
        self.xla = bool(self.network.jit_compile)
        self.backend = keras.backend.backend()

    @property
    def weights_on(self) -> list[str]:
        return [str(self.model.trainable_variables[-1].value.device).rpartition("device:")[2].upper()]

    def compile(self) -> None:
        """Do nothing: `fit` compiles in its first epoch."""

    def train(self, batch_indices: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        batch_indices = batch_indices[start:stop]
        used = batch_indices[batch_indices >= 0]
        if (batch_indices.ravel()[: len(used)] < 0).any():  # `fit` would cut other batches
            raise ValueError("Expected padding only at the end of the batch indices. Received some before the end.")
        watch = TrainingBatches(self.on_batch) if self.on_batch else None
        progress = ProgressCallback(self.on_progress) if self.on_progress else None
        history = self.network.fit(
            self.distorted(batch_indices),
            self.splits["train"].labels[used],
            batch_size=batch_indices.shape[1],
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=[callback for callback in (progress, watch) if callback],
        ).history
        seen = len(used) if watch is None else min(len(used), watch.batches * batch_indices.shape[1])
        return Sums(np.array([history["cross_entropy"][0] * seen]), round(history["accuracy"][0] * seen), seen)

    def distorted(self, batch_indices: np.ndarray) -> np.ndarray:
        """Return the training images of the batches, one after the other, distorted as the recipe says."""
        images = self.splits["train"].images
        if self.recipe.augment == "none" or self.optimizer is None:
            return images[batch_indices[batch_indices >= 0]]
        first = int(keras.ops.convert_to_numpy(self.optimizer.iterations))
        rows = [row[row >= 0] for row in batch_indices]
        batches = [
            distort(images[row].astype("float32"), self.recipe.augment, self.seed, first + step, row)
            for step, row in enumerate(rows)
        ]
        return np.concatenate([keras.ops.convert_to_numpy(batch) for batch in batches])

    def evaluate(self, split: str) -> Counts:
        images, labels = self.splits[split].images, self.splits[split].labels
        watch = [EvaluationBatches(self.on_batch, labels)] if self.on_batch else []
        logits = self.network.predict(images, batch_size=self.batch_size, verbose=0, callbacks=watch)
        logits = logits.astype(np.float64)
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
        outputs = self.layers_model.predict(images, batch_size=len(images), verbose=0)
        return outputs if isinstance(outputs, list) else [outputs]

    def pixel_gradients(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        raise UserError("--engine=fit: gradients by pixels are not computed; use --engine=compiled")

    def state(self) -> dict[str, np.ndarray]:
        return read_state(self.model, self.optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        write_state(self.model, self.optimizer, state)

    def step_flops(self) -> float:
        raise UserError("--engine=fit: floating-point operations are not counted; use --engine=compiled")

    def copy(self, array: np.ndarray) -> np.ndarray:
        raise UserError("--engine=fit: copies to the device are not measured; use --engine=compiled")

    def matrix_product(self, left: np.ndarray, right: np.ndarray) -> Callable[[int], np.ndarray]:
        raise UserError("--engine=fit: matrix products are not measured; use --engine=compiled")

    def mean_over_workers(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def leave_workers(self) -> None:
        pass  # there are none

    def trace(self, directory: Path) -> AbstractContextManager[None]:
        if self.backend == "jax":
            from mnist_mlp.engine.jax.trace import traced
        else:
            from mnist_mlp.engine.tensorflow.trace import traced
        return traced(directory)


class ProgressCallback(keras.callbacks.Callback):
    """Report the progress of an epoch of `fit` about once a second."""

    def __init__(self, on_progress: OnProgress):
        super().__init__()
        self.on_progress = on_progress

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        now = time.perf_counter()
        if batch == 0:
            self.began = self.last = now  # after the step that compiled
        elif now - self.last > SECONDS_PER_CALL:
            self.last = now
            self.on_progress(batch + 1, logs["cross_entropy"], logs["accuracy"], (now - self.began) / batch)


class TrainingBatches(keras.callbacks.Callback):
    """Pass the batches of an epoch of `fit` on to `on_batch`, and count them."""

    def __init__(self, on_batch: OnBatch):
        super().__init__()
        self.on_batch, self.batches = on_batch, 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.pass_on("on_train_batch_begin", batch, {})

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.batches = batch + 1
        # The loss of the history: without penalties.
        self.pass_on("on_train_batch_end", batch, {"loss": logs["cross_entropy"], "accuracy": logs["accuracy"]})

    def pass_on(self, hook: str, batch: int, logs: dict[str, float]) -> None:
        model = self.model  # on JAX, asking for it gives the variables their values, and takes over what is assigned
        if self.on_batch(hook, batch, {name: float(value) for name, value in logs.items()}):
            model.stop_training = True


class EvaluationBatches(keras.callbacks.Callback):
    """Pass the batches of an evaluation on to `on_batch`, with the means over them so far, as `Model.evaluate` does."""

    def __init__(self, on_batch: OnBatch, labels: np.ndarray):
        super().__init__()
        self.on_batch, self.labels = on_batch, labels
        self.seen, self.loss_sum, self.correct = 0, 0.0, 0

    def on_predict_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_batch("on_test_batch_begin", batch, {})

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        logits = np.asarray(logs["outputs"], np.float64)
        labels = self.labels[self.seen : self.seen + len(logits)]
        self.seen += len(logits)
        self.loss_sum += float(metrics.cross_entropy(logits, labels).sum())
        self.correct += int((logits.argmax(1) == labels).sum())
        means = {"loss": self.loss_sum / self.seen, "accuracy": self.correct / self.seen}
        self.on_batch("on_test_batch_end", batch, means)


def cross_entropy(smoothing: float) -> tuple[keras.losses.Loss | Callable, keras.metrics.Metric]:
    """Return the cross-entropy of labels, integers [n], and logits, float32 [n, 10], as a loss and as a metric.

    `smoothing` is the share of a label that is spread evenly over the classes.
    """
    name = "cross_entropy"
    if not smoothing:
        metric = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name=name)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True), metric

    def loss(labels: Any, logits: Any) -> Any:
        labels = keras.ops.one_hot(keras.ops.reshape(keras.ops.cast(labels, "int32"), (-1,)), 10)
        return keras.losses.categorical_crossentropy(labels, logits, from_logits=True, label_smoothing=smoothing)

    return loss, keras.metrics.MeanMetricWrapper(loss, name=name)
