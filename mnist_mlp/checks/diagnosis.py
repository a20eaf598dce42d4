"""Names the classic mistakes from the evidence of a run: its curves, activations, weights, data and counts.

Used by `train --diagnose`, and by `lab.mistakes`, which makes each mistake on purpose.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data
from mnist_mlp.checks.evidence import BLIND, FURTHER, Evidence, gather, probe
from mnist_mlp.data.batches import batch_indices

if TYPE_CHECKING:
    import keras

    from mnist_mlp.config import Config
    from mnist_mlp.engine.base import Engine

RAW_SIGMOID = "raw pixels with sigmoid"
NO_SHUFFLING = "no shuffling"
RELU_LOGITS = "ReLU on the logits"
SOFTMAX_TWICE = "softmax twice"
ZEROS = "zero initialisation"
RATE_TOO_LARGE = "learning rate too large"
RATE_TOO_SMALL = "learning rate too small"
LEAKAGE = "test images in training"
SHIFTED = "labels shifted"
LAST_BATCH = "last batch not scored"
DEAD_RELUS = "dead ReLUs"

# Thresholds. Behind each: the worst of the right program, and the worst of the mistake. Measured after 5 epochs on the
# digits (right: 90 seeds, 0–9 and 100–149 and 200–229; mistakes: 40, without 100–149) and, after the bar, on MNIST (2).
MIXING = 5.0  # `class_mixing`: 1.13, 29.7 | 1.01, 31.9
LEAKED = 0.01  # share of the test images: 0, 1 | 0, 1
SHIFT = 0.5  # share right after a shift: 0.017, 0.936 | 0.008, 0.977
SUM = 1e-3  # distance of the sums of logits from 1: over 1, 0 to two digits | the same
ZERO_LOGITS = 0.1  # share: 0, 0.38 | 0, 0.77
ALIKE = 1e-5  # Layer.spread: 1.69, 0 | 1.32, 0
SATURATED = 0.5  # Layer.saturated, also of mlp_sigmoid and mlp_tanh on pixels from 0 to 1: 0, 0.945 | 0, 0.954
RAW = 10.0  # the largest value seen: 1, 255
PEAK = 4.0  # largest loss of an epoch over the first: 0.64 (no shuffling 1.2, dead ReLUs 2.1), 306 | 0.10, 15
LITTLE = 0.6  # Evidence.left: 0.074, 0.99 | 0.018, 0.77
FAR = 5.0  # Evidence.furthest, a second way to tell a rate that is too large: 0.47 (dead ReLUs 1.8), 81 | 2.0 (4.3), 95
NEAR = 1e-4  # Evidence.furthest per step: 1.9e-3, 8.2e-6 | 2.1e-4, 5.8e-6
SILENT = 0.6  # Evidence.silent: 0.34 (on raw pixels 0.49), 0.755 | 0.02 (0.35), 0.81
AGAIN = 0.5  # `repetition`, from where on it is worth telling: 0.34, 0.32 | 0.00, 0.93


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """A mistake that the evidence shows."""

    name: str
    told_by: str  # which part of the evidence shows it
    seen: str  # the numbers that do
    means: str
    remedy: str


def diagnose(evidence: Evidence) -> list[Diagnosis]:
    """The mistakes that show, in the order of `RULES`: causes alone, not what follows from them."""
    found: dict[str, Diagnosis] = {}
    for name, rule in RULES.items():
        seen = rule.seen(evidence)
        if seen and not found.keys() & set(rule.follows_from):
            found[name] = Diagnosis(name, rule.told_by, seen, rule.means, rule.remedy)
    return list(found.values())


Rows = list[dict[str, Any]]
Make = Callable[[], "keras.Model"]
Watch = Callable[[Rows, "list[list[int]] | None"], Rows]


def watch(
    config: Config, engine: Engine, make_model: Make, splits: Mapping[str, data.Split], tell: Callable[[Rows], None]
) -> Watch:
    """A function that names the mistakes of a run, as JSON values, from its history and its confusion matrix (None
    where training diverged), and tells them. Without `--diagnose` it does nothing, and nothing is kept for it."""
    if not config.diagnose:
        return lambda history, confusion: []
    order = batch_indices(config.seed, 0, len(splits["train"]), config.batch_size)
    seen = probe(splits["train"], splits["test"], order)

    def look(history: Rows, confusion: list[list[int]] | None) -> Rows:
        diverged = confusion is None
        losses = [math.inf] if diverged else [row["loss"] for row in history]
        counts = None if diverged else np.array(confusion)
        found = diagnose(gather(make_model(), engine.state(), seen, losses=losses, confusion=counts))
        rows = [dataclasses.asdict(each) for each in found]
        tell(rows)
        return rows

    return look


def no_shuffling(evidence: Evidence) -> str:
    if evidence.mixing < MIXING:
        return ""
    seen = f"the classes are spread over the batches {evidence.mixing:.3g} times as unevenly as by chance"
    if evidence.repeats is not None and evidence.repeats > AGAIN:
        seen += f"; the loss rises and falls at the same steps of each epoch (correlation {evidence.repeats:.2f})"
    return seen


def test_images_in_training(evidence: Evidence) -> str:
    if evidence.leaked <= LEAKED * evidence.test_examples:
        return ""
    return f"{evidence.leaked:,} of the {evidence.test_examples:,} test images are training images too, byte for byte"


def labels_shifted(evidence: Evidence) -> str:
    if evidence.confusion is None:
        return ""
    total = evidence.confusion.sum()
    right = [float(np.trace(np.roll(evidence.confusion, -k, axis=1)) / total) for k in range(10)]
    by = int(np.argmax(right))
    if not by or right[by] < SHIFT:
        return ""
    said = f"label + {by}" if by <= 5 else f"label − {10 - by}"
    return (
        f"{percent(right[0])} of the test images are right, but {percent(right[by])} if the answer is read as "
        f"{said} (modulo 10)"
    )


def last_batch_not_scored(evidence: Evidence) -> str:
    if evidence.confusion is None or (scored := int(evidence.confusion.sum())) >= evidence.test_examples:
        return ""
    return (
        f"{scored:,} of the {evidence.test_examples:,} test images were scored, "
        f"the other {evidence.test_examples - scored:,} were not"
    )


def softmax_twice(evidence: Evidence) -> str:
    logits = evidence.logits
    if not (logits.lowest >= 0 and logits.sums[0] > 1 - SUM and logits.sums[1] < 1 + SUM):
        return ""
    return (
        f"what the loss takes for logits lies from {logits.lowest:.2g} to {logits.highest:.2g} and sums to 1 for each "
        f"image; the loss ends at {evidence.end_loss:.3g} and cannot fall below ln(1 + 9/e) = 1.461"
    )


def relu_on_the_logits(evidence: Evidence) -> str:
    if not (evidence.logits.lowest >= 0 and evidence.logits.zeros > ZERO_LOGITS):
        return ""
    return f"no logit is negative, and {percent(evidence.logits.zeros)} of them are exactly 0"


def zero_initialisation(evidence: Evidence) -> str:
    alike = [layer for layer in evidence.layers if layer.units > 1 and layer.spread < ALIKE]
    if not alike:
        return ""
    names = ", ".join(f"the {layer.units} units of {layer.name}" for layer in alike)
    return (
        f"after {evidence.steps:,} steps {names} still have the same weights each; the loss is {evidence.end_loss:.4g} "
        f"(that of a blind guess: {BLIND:.4g})"
    )


def raw_pixels_with_sigmoid(evidence: Evidence) -> str:
    first = evidence.layers[0] if evidence.layers else None
    if first is None or first.saturated < SATURATED or evidence.brightest < RAW:
        return ""
    return (
        f"{first.name} sees values up to {evidence.brightest:.3g}: at the start {percent(first.saturated)} of its "
        f"{first.activation} outputs stand where the slope is under 1% of the largest"
    )


def learning_rate_too_large(evidence: Evidence) -> str:
    dead = percent(evidence.silent)
    if not all(map(math.isfinite, (*evidence.losses, evidence.end_loss))):
        return "the loss or a weight is no longer a finite number"
    peak = max(evidence.losses, default=0.0)
    if peak > PEAK * max(evidence.start_loss, BLIND):
        return (
            f"the mean loss of an epoch rose to {peak:.4g}, with the initial weights it was {evidence.start_loss:.3g}; "
            f"the weights moved by {evidence.furthest:.3g} times their size (silent units: {dead})"
        )
    if evidence.left > LITTLE and evidence.furthest > FAR:
        return (
            f"the weights moved by {evidence.furthest:.3g} times their size, and the loss is {evidence.end_loss:.3g} "
            f"(with the initial weights: {evidence.start_loss:.3g}; silent units: {dead})"
        )
    return ""


def dead_relus(evidence: Evidence) -> str:
    if (share := evidence.silent) < SILENT:
        return ""
    layers = ", ".join(f"{layer.name} {percent(layer.silent)}" for layer in evidence.relus)
    return f"{percent(share)} of the ReLU units give 0 for every image of the sample ({layers})"


def learning_rate_too_small(evidence: Evidence) -> str:
    hardly_moved = evidence.left > LITTLE and evidence.furthest < NEAR * evidence.steps
    if not hardly_moved or evidence.further_loss >= evidence.end_loss:
        return ""
    return (
        f"after {evidence.steps:,} steps the loss is {evidence.end_loss:.4g}, at the start {evidence.start_loss:.4g}, "
        f"and no layer has moved by more than {percent(evidence.furthest)} of its size; {FURTHER} times as far the "
        f"same way the loss is {evidence.further_loss:.4g}"
    )


def percent(share: float) -> str:
    return f"{100 * share:.3g}%"


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a mistake is recognised; `seen` gives the numbers, or nothing where it does not show."""

    seen: Callable[[Evidence], str]
    told_by: str
    means: str
    remedy: str
    follows_from: tuple[str, ...] = ()  # mistakes that bring the same evidence about


RULES = {
    LEAKAGE: Rule(
        test_images_in_training,
        "images",
        "the network has seen the answers: accuracy on them says nothing about new images",
        "train on images that are not in the test set; split before anything else",
    ),
    SHIFTED: Rule(
        labels_shifted,
        "confusion matrix",
        "the network learned well, but the labels of training and test do not mean the same classes",
        "let both splits' labels count from 0, and look at ten images with their labels",
    ),
    LAST_BATCH: Rule(
        last_batch_not_scored,
        "number of test images",
        "the accuracy is that of another, smaller test set: the end of it does not fill a batch",
        "score ceil(n / batch) batches and give the padding weight 0, or divide by what was scored and say so",
    ),
    NO_SHUFFLING: Rule(
        no_shuffling,
        "order of the examples",
        "the network learns one class and forgets the others, over and over; its last batches decide",
        "draw a new order of all examples in each epoch",
    ),
    SOFTMAX_TWICE: Rule(
        softmax_twice,
        "logits",
        "the loss applies a softmax to probabilities: it never comes near 0, and its gradient is small",
        "leave the activation of the last layer out, or tell the loss that it gets probabilities (from_logits=False)",
    ),
    ZEROS: Rule(
        zero_initialisation,
        "weights",
        "equal units get equal gradients (zero ones where all weights are 0), so that a layer is worth one unit",
        "draw the initial weights at random, such as glorot_uniform",
    ),
    RELU_LOGITS: Rule(
        relu_on_the_logits,
        "logits",
        "a class whose logit is 0 gets no gradient: it can neither be ruled out nor, if all its logits are 0, learned",
        "leave the activation of the last layer out",
        (ZEROS, SOFTMAX_TWICE),
    ),
    RAW_SIGMOID: Rule(
        raw_pixels_with_sigmoid,
        "activations",
        "a saturated unit passes almost no gradient to its weights",
        "scale the pixels to 0 to 1 (--pixels=unit)",
    ),
    RATE_TOO_LARGE: Rule(
        learning_rate_too_large,
        "losses",
        "each step overshoots; what it breaks, such as ReLUs that no image reaches any more, stays broken",
        "take a learning rate 10 times smaller, and again while this is said",
        (ZEROS,),
    ),
    DEAD_RELUS: Rule(
        dead_relus,
        "activations",
        "a ReLU that is 0 for every image gets no gradient and never comes back: the network is narrower than written",
        "scale the pixels to 0 to 1, and take a smaller learning rate; or activations with a slope on both sides",
        (ZEROS, RATE_TOO_LARGE, NO_SHUFFLING),
    ),
    RATE_TOO_SMALL: Rule(
        learning_rate_too_small,
        "losses and weights",
        "so many steps of this size do not lead far: training has hardly begun",
        "take a learning rate 10 times larger, and again while this is said; or train for many more epochs",
        (ZEROS, SOFTMAX_TWICE, RELU_LOGITS, RAW_SIGMOID, NO_SHUFFLING, RATE_TOO_LARGE, DEAD_RELUS),
    ),
}
