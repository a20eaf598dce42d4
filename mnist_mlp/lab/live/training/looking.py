"""What is shown of a network while it learns: pictures of its weights, activations, dead units, scores and mistakes.

Everything is computed on the run's own device, by programs compiled before the first step, between two calls of the
training. What that costs is measured, and `Budget` allows no more than a share of the training's time.
"""

from __future__ import annotations

import base64
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.engine.batching import IMAGES_PER_CALL
from mnist_mlp.models import portable
from mnist_mlp.stats import metrics
from mnist_mlp.stats.calibration import softmax

if TYPE_CHECKING:
    from mnist_mlp.data import Split
    from mnist_mlp.engine.base import Engine
    from mnist_mlp.models.portable import Layer
    from mnist_mlp.training.session import TrainingSession

SHARE = 0.015  # of the training's time, for looking
AT_ONCE = 0.04  # seconds that may be spent ahead of that: the first epoch, too, is scored
SAMPLE = 256  # images, of which the first is the chosen digit: how many tell that a unit is dead
PICTURES = 64  # units of the first layer whose weights are sent
VALUES = 512  # activations of a layer that are sent
MISTAKES = 12


class Budget:
    """How much looking may take: `SHARE` of the time since it was made, by the clock and by the processor's time.

    The clock counts on a device of its own; the processor's time does where this process has to share the processor.
    """

    def __init__(self) -> None:
        self.began = clocks()
        self.spent = np.zeros(2)  # seconds

    def allows(self, seconds: float = 0.0) -> bool:
        """Return whether another `seconds` may be spent."""
        others = clocks() - self.began - self.spent
        wanted = self.spent + [seconds, 0.0]  # how much processor time it will take is known only afterwards
        return bool((wanted <= AT_ONCE + SHARE * others).all())

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time of the block."""
        began = clocks()
        try:
            yield
        finally:
            self.spent += clocks() - began

    def waited(self, since: np.ndarray) -> None:
        """Leave out the time since then: nothing was trained."""
        self.began += clocks() - since


def clocks() -> np.ndarray:
    """Return the seconds of the clock and of the processor time of this process."""
    return np.array([time.perf_counter(), time.process_time()])


class Looker:
    """Looks into the network of a session. `split` is what it is asked about: "validation" (if there is one) or "test".

    `digit` is the index of the image in that split whose activations are shown.
    """

    def __init__(self, session: TrainingSession, split: str = ""):
        self.session, self.digit = session, 0
        self.split = split or ("validation" if session.validation else "test")
        held_out = session.validation if self.split == "validation" else None
        self.images: Split = held_out or session.test
        self.seconds_per_call = math.inf  # of a forward pass over IMAGES_PER_CALL images; measured by `warm_up`

    @property
    def engine(self) -> Engine:
        return self.session.engine

    def warm_up(self) -> None:
        """Compile what will be called, and measure a forward pass."""
        self.engine.layers(self.sample())
        first = self.images.images[:IMAGES_PER_CALL]
        self.engine.logits(first, IMAGES_PER_CALL)
        began = time.perf_counter()
        self.engine.logits(first, IMAGES_PER_CALL)
        self.seconds_per_call = time.perf_counter() - began

    def final_weights(self) -> AbstractContextManager[None]:
        """Return a context in which the network has the weights that the run would save: their average, if wanted."""
        if not self.session.config.ema:
            return nullcontext()
        from mnist_mlp.training.optimizers import averaged

        return averaged(self.engine)

    def sample(self) -> np.ndarray:
        """Return uint8 [SAMPLE, 28, 28]: the chosen digit, and the first images of the split, repeated if few."""
        images = self.images.images
        others = np.arange(SAMPLE - 1) % len(images)
        return images[np.concatenate([[self.digit], others])]

    def look(self) -> dict[str, Any]:
        """Return the values of a `look` event: first-layer weights, the chosen digit layer by layer, dead units."""
        *hidden, probabilities = self.engine.layers(self.sample())
        names = [layer.name for layer in hidden_layers(self.engine)]
        image, label = self.images.images[self.digit], int(self.images.labels[self.digit])
        return {
            "pictures": pictures(portable.layers_of(self.engine.model)),
            "digit": {"split": self.split, "index": self.digit, "label": label, "image": as_base64(image)},
            "activations": [
                {"layer": name, "units": output.shape[1], "values": rounded(output[0, :VALUES])}
                for name, output in zip(names, hidden, strict=True)
            ],
            "probabilities": [float(value) for value in probabilities[0]],
            "images": SAMPLE,
            "dead": [
                {"layer": name, "units": output.shape[1], "dead": int((np.ptp(output, axis=0) == 0).sum())}
                for name, output in zip(names, hidden, strict=True)
            ],
        }

    def write_weights(self, file: Path) -> None:
        """Replace weights.npz. Whoever reads it has the old or the new one; nothing is lost if both are."""
        temporary = file.with_name(f".writing-{file.name}")
        portable.write(portable.layers_of(self.engine.model), temporary)
        os.replace(temporary, file)

    def affordable(self, budget: Budget) -> int:
        """Return how many images of the split can be scored now: all, IMAGES_PER_CALL of them, or none."""
        calls = math.ceil(len(self.images) / IMAGES_PER_CALL)
        if budget.allows(calls * self.seconds_per_call):
            return len(self.images)
        return min(len(self.images), IMAGES_PER_CALL) if budget.allows(self.seconds_per_call) else 0

    def scores(self, count: int) -> dict[str, Any]:
        """Return the values of a `scores` event, of the first `count` images of the split."""
        return self.scores_of(self.engine.logits(self.images.images[:count], IMAGES_PER_CALL))

    def scores_of(self, logits: np.ndarray) -> dict[str, Any]:
        """Return the same of logits, float32 [count, 10], that are already known."""
        count = len(logits)
        labels = self.images.labels[:count]
        losses = metrics.cross_entropy(logits, labels)
        confusion = metrics.confusion_matrix(labels, logits.argmax(1))
        correct = int(np.trace(confusion))
        return {
            "split": self.split,
            "images": count,
            "of": len(self.images),
            "loss": float(losses.mean()),
            "correct": correct,
            "accuracy": correct / count,
            "interval": list(metrics.wilson_interval(correct, count)),
            "confusion": confusion.tolist(),
            "mistakes": mistakes(self.images, logits, losses),
        }


def hidden_layers(engine: Engine) -> list[Any]:
    from mnist_mlp.models import networks

    return networks.hidden_layers(engine.model)


def mistakes(split: Split, logits: np.ndarray, losses: np.ndarray) -> list[dict[str, Any]]:
    """Return the images that the network gets wrong with the highest loss, the worst first."""
    labels, guesses, found = split.labels, logits.argmax(1), []
    wrong = np.flatnonzero(guesses != labels[: len(guesses)])
    for index in wrong[np.argsort(-losses[wrong], kind="stable")][:MISTAKES]:
        probabilities = softmax(logits[index : index + 1])[0]
        found.append(
            {
                "index": int(index),
                "label": int(labels[index]),
                "guess": int(guesses[index]),
                "probability": float(probabilities[guesses[index]]),  # of the guess
                "of_label": float(probabilities[labels[index]]),
                "image": as_base64(split.images[index]),
            }
        )
    return found


def pictures(layers: Sequence[Layer]) -> dict[str, Any] | None:
    """Return the kernels of the first layer with weights as grey pictures: a unit of a dense layer as 28×28 pixels.

    A pixel is 128 + 127·w/scale, rounded; `scales` has the largest |w| of each picture. None if there is none.
    """
    first = next((layer for layer in layers if layer.kernel is not None), None)
    if first is None:
        return None
    kernel = first.weights[0]
    if first.kind == "dense":
        if kernel.shape[0] != 784:
            return None
        shown = kernel.T[:PICTURES].reshape(-1, 28, 28)
    else:
        shown = np.moveaxis(kernel[:, :, 0, :PICTURES], -1, 0)
    scales = np.abs(shown).max(axis=(1, 2))
    pixels = 128 + 127 * shown / np.where(scales > 0, scales, 1)[:, None, None]
    return {
        "layer": first.name,
        "units": kernel.shape[-1],
        "shape": list(shown.shape),
        "pixels": as_base64(np.rint(pixels).astype(np.uint8)),
        "scales": rounded(scales),
    }


def as_base64(pixels: np.ndarray) -> str:
    """Return uint8 pixels, row by row, in base64."""
    return base64.b64encode(np.ascontiguousarray(pixels, np.uint8).tobytes()).decode()


def rounded(values: np.ndarray) -> list[float | None]:
    """Return numbers with four significant digits; None for what is not finite."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.tolist()]
