"""The correct program and the classic mistakes, each of which changes one thing in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mnist_mlp.checks import diagnosis
from mnist_mlp.checks.diagnosis import Diagnosis
from mnist_mlp.checks.evidence import Evidence
from mnist_mlp.data import Dataset, Split
from mnist_mlp.stats.metrics import confusion_matrix

if TYPE_CHECKING:
    import keras

    from mnist_mlp.training.multi_seed import Curve, MultiSeedTrainer

RIGHT = "correct program"
BATCH_SIZE = 32


def unchanged(dataset: Dataset) -> Dataset:
    return dataset


def with_test_images(dataset: Dataset) -> Dataset:
    """Append the test images to the training images."""
    parts = (dataset.train, dataset.test)
    images, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels"))
    return dataclasses.replace(dataset, train=Split(images, labels))


def with_shifted_labels(dataset: Dataset) -> Dataset:
    """Add 1 to each training label; 9 becomes 0."""
    shifted = ((dataset.train.labels + 1) % 10).astype(np.uint8)
    return dataclasses.replace(dataset, train=Split(dataset.train.images, shifted))


@dataclasses.dataclass(frozen=True)
class Program:
    """A training program: the lecture's network, 784-128-64-10, with Adam and batches of 32."""

    how: str = "Flatten, Dense 128 ReLU, Dense 64 ReLU, Dense 10; pixels from 0 to 1; Adam 0.001, batch 32, shuffled"
    pixels: str = "unit"
    activation: str = "relu"
    initial: str = "glorot_uniform"
    on_logits: str = "linear"
    learning_rate: float = 0.001
    change: Callable[[Dataset], Dataset] = unchanged
    by_class: bool = False  # train on the images sorted by label, in the same order in each epoch
    whole_batches: bool = False  # drop the test images that do not fill a batch

    def make_model(self) -> keras.Model:
        """Build the network, with the initial weights of seed 0."""
        from mnist_mlp.models import networks

        def stack(dtype: keras.DTypePolicy) -> list[keras.Layer]:
            return networks.dense_stack(dtype, [128, 64], activation=self.activation, kernel_initializer=self.initial)

        return networks.network(
            stack, name="mlp", pixels=self.pixels, activation=self.on_logits, kernel_initializer=self.initial
        )

    @property
    def compiled_as(self) -> tuple[object, ...]:
        """Equal for programs that can share a compiled network with its data."""
        return (self.pixels, self.activation, self.initial, self.on_logits, self.change)

    def fixed_order(self, labels: np.ndarray) -> np.ndarray | None:
        """Return the indices of the training images in order; None if they are shuffled."""
        return np.argsort(labels, kind="stable") if self.by_class else None

    def score(self, trainer: MultiSeedTrainer) -> np.ndarray:
        """Return the confusion matrix of the test images that the program scores."""
        if not self.whole_batches:
            return trainer.test().confusion
        # As with `for _ in range(n // batch)` or a loader that drops the remainder: so did the MNIST examples of
        # tensorflow/models (9,216 of 10,000 images), flax and optax (9,984).
        test = trainer.dataset.test
        scored = len(test) // BATCH_SIZE * BATCH_SIZE
        predicted = trainer.engine.predict(test.images[:scored]).argmax(1)
        return confusion_matrix(test.labels[:scored], predicted)


PROGRAMS = {
    RIGHT: Program(),
    diagnosis.RAW_SIGMOID: Program(
        "pixels left at 0 to 255, sigmoids in the hidden layers", pixels="raw", activation="sigmoid"
    ),
    diagnosis.NO_SHUFFLING: Program("examples sorted by label and never shuffled", by_class=True),
    diagnosis.RELU_LOGITS: Program('Dense(10, activation="relu") before the softmax', on_logits="relu"),
    diagnosis.SOFTMAX_TWICE: Program(
        'Dense(10, activation="softmax"), and a loss that applies softmax itself', on_logits="softmax"
    ),
    diagnosis.ZEROS: Program('kernel_initializer="zeros" in every layer', initial="zeros"),
    diagnosis.RATE_TOO_LARGE: Program("Adam(1.0): the learning rate × 1000", learning_rate=1.0),
    diagnosis.RATE_TOO_SMALL: Program("Adam(0.000001): the learning rate ÷ 1000", learning_rate=1e-6),
    diagnosis.LEAKAGE: Program("the test images are among the training images", change=with_test_images),
    diagnosis.SHIFTED: Program("training labels count from 1, test labels from 0", change=with_shifted_labels),
    diagnosis.LAST_BATCH: Program("the test loop runs n // 32 batches", whole_batches=True),
    diagnosis.DEAD_RELUS: Program(
        "pixels left at 0 to 255, and Adam(0.02): the first steps push the units below 0 for every image",
        pixels="raw",
        learning_rate=0.02,
    ),
}
MISTAKES = tuple(name for name in PROGRAMS if name != RIGHT)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a program with one seed."""

    curve: Curve
    evidence: Evidence
    diagnoses: list[Diagnosis]

    @property
    def accuracy(self) -> float:
        """On the test images that the program scores."""
        confusion = self.evidence.confusion
        return float(np.trace(confusion) / confusion.sum())  # type: ignore[union-attr, arg-type]
