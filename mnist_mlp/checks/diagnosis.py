"""Recognize common training mistakes from the evidence of a run: loss curves, activations, weights, data and counts.

Used by `train --diagnose`, and by `lab.mistakes`, which makes each mistake on purpose.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data
from mnist_mlp.checks.evidence import BLIND, FURTHER, Evidence, gather, sample
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.runs import summary

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

# Thresholds. The comments give the most extreme value of the correct program, and the least extreme of the mistake,
# after 5 epochs on the digits (correct: 90 seeds, 0–9, 100–149 and 200–229; mistakes: the 40 without 100–149) and,
# after the bar, on MNIST (2 seeds).
MIXING = 5.0  # `class_mixing`: 1.13, 29.7 | 1.01, 31.9
LEAKED = 0.01  # share of the test images: 0, 1 | 0, 1
SHIFT = 0.5  # share that is correct after a shift: 0.017, 0.936 | 0.008, 0.977
SUM = 1e-3  # distance of an image's sum of logits from 1: over 1, 0.00 | the same
ZERO_LOGITS = 0.1  # share: 0, 0.38 | 0, 0.77
ALIKE = 1e-5  # Layer.spread: 1.69, 0 | 1.32, 0
SATURATED = 0.5  # Layer.saturated, also of mlp_sigmoid and mlp_tanh on pixels from 0 to 1: 0, 0.945 | 0, 0.954
RAW = 10.0  # Evidence.brightest: 1, 255
PEAK = 4.0  # largest loss of an epoch over the initial loss: 0.64 (no shuffling 1.2, dead ReLUs 2.1), 306 | 0.10, 15
LITTLE = 0.6  # Evidence.left: 0.074, 0.99 | 0.018, 0.77
FAR = 5.0  # Evidence.furthest, a second sign of too large a learning rate: 0.47 (dead ReLUs 1.8), 81 | 2.0 (4.3), 95
NEAR = 1e-4  # Evidence.furthest per step: 1.9e-3, 8.2e-6 | 2.1e-4, 5.8e-6
SILENT = 0.6  # Evidence.silent: 0.34 (on raw pixels 0.49), 0.755 | 0.02 (0.35), 0.81
AGAIN = 0.5  # `repetition`, above which the text mentions it: 0.34, 0.32 | 0.00, 0.93


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """A mistake that the evidence shows."""

    name: str
    told_by: str  # the kind of evidence
    seen: str  # the evidence itself, with its numbers
    means: str
    remedy: str


def diagnose(evidence: Evidence) -> list[Diagnosis]:
    """Return the mistakes that the evidence shows, in the order of `RULES`, without those that follow from another."""
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
    config: Config, engine: Engine, make_model: Make, splits: Mapping[str, data.Split], reporter: Reporter
) -> Watch:
    """Return a function that diagnoses the run after training and reports what it finds.

    It takes the history and the confusion matrix (None if training diverged), and returns `Diagnosis` rows as JSON
    values. Without `--diagnose` it does nothing, and no data is kept for it.
    """
    if not config.diagnose:
        return lambda history, confusion: []
    indices = batch_indices(config.seed, 0, len(splits["train"]), config.batch_size)
    sampled = sample(splits["train"], splits["test"], indices)

    def inspect_run(history: Rows, confusion: list[list[int]] | None) -> Rows:
        diverged = confusion is None
        losses = [math.inf] if diverged else [row["loss"] for row in history]
        counts = None if diverged else np.array(confusion)
        found = diagnose(gather(make_model(), engine.state(), sampled, losses=losses, confusion=counts))
        rows = [dataclasses.asdict(each) for each in found]
        reporter.line(summary.diagnosed(rows))
        return rows

    return inspect_run


# Each rule below returns the evidence for its mistake as text, or "" if there is none.


def no_shuffling(evidence: Evidence) -> str:
    if evidence.mixing < MIXING:
        return ""
    seen = f"the classes are distributed over the batches {evidence.mixing:.3g} times as unevenly as by chance"
    if evidence.repeats is not None and evidence.repeats > AGAIN:
        seen += f"; the loss rises and falls at the same steps of each epoch (correlation {evidence.repeats:.2f})"
    return seen


def test_images_in_training(evidence: Evidence) -> str:
    if evidence.leaked <= LEAKED * evidence.test_examples:
        return ""
    return f"{evidence.leaked:,} of the {evidence.test_examples:,} test images are also training images, byte for byte"


def labels_shifted(evidence: Evidence) -> str:
    if evidence.confusion is None:
        return ""
    total = evidence.confusion.sum()
    correct = [float(np.trace(np.roll(evidence.confusion, -k, axis=1)) / total) for k in range(10)]
    shift = int(np.argmax(correct))
    if not shift or correct[shift] < SHIFT:
        return ""
    shifted = f"label + {shift}" if shift <= 5 else f"label − {10 - shift}"
    return (
        f"{percent(correct[0])} of the test images are correct, but {percent(correct[shift])} if the prediction is "
        f"compared with {shifted} (modulo 10)"
    )


def last_batch_not_scored(evidence: Evidence) -> str:
    if evidence.confusion is None or (scored := int(evidence.confusion.sum())) >= evidence.test_examples:
        return ""
    return (
        f"only {scored:,} of the {evidence.test_examples:,} test images were scored, "
        f"{evidence.test_examples - scored:,} were not"
    )


def softmax_twice(evidence: Evidence) -> str:
    logits = evidence.logits
    if not (logits.lowest >= 0 and logits.sums[0] > 1 - SUM and logits.sums[1] < 1 + SUM):
        return ""
    return (
        f"the values that the loss receives as logits lie between {logits.lowest:.2g} and {logits.highest:.2g} and sum "
        f"to 1 for each image; the final loss is {evidence.end_loss:.3g} and cannot fall below ln(1 + 9/e) = 1.461"
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
        f"after {evidence.steps:,} steps {names} still have identical weights; the loss is {evidence.end_loss:.4g} "
        f"(a blind guess: {BLIND:.4g})"
    )


def raw_pixels_with_sigmoid(evidence: Evidence) -> str:
    first = evidence.layers[0] if evidence.layers else None
    if first is None or first.saturated < SATURATED or evidence.brightest < RAW:
        return ""
    return (
        f"{first.name} sees values up to {evidence.brightest:.3g}: before training, {percent(first.saturated)} of its "
        f"{first.activation} outputs lie where the slope is under 1% of its maximum"
    )


def learning_rate_too_large(evidence: Evidence) -> str:
    silent = f"silent ReLU units: {percent(evidence.silent)}"
    if not all(map(math.isfinite, (*evidence.losses, evidence.end_loss))):
        return "the loss or a weight is no longer finite"
    peak = max(evidence.losses, default=0.0)
    if peak > PEAK * max(evidence.start_loss, BLIND):
        return (
            f"the mean loss of an epoch rose to {peak:.4g}, from {evidence.start_loss:.3g} with the initial weights; "
            f"the weights moved by {evidence.furthest:.3g} times their norm ({silent})"
        )
    if evidence.left > LITTLE and evidence.furthest > FAR:
        return (
            f"the weights moved by {evidence.furthest:.3g} times their norm, and the loss is {evidence.end_loss:.3g} "
            f"(with the initial weights: {evidence.start_loss:.3g}; {silent})"
        )
    return ""


def dead_relus(evidence: Evidence) -> str:
    if (share := evidence.silent) < SILENT:
        return ""
    layers = ", ".join(f"{layer.name} {percent(layer.silent)}" for layer in evidence.relus)
    return f"{percent(share)} of the ReLU units output 0 for every image of the sample ({layers})"


def learning_rate_too_small(evidence: Evidence) -> str:
    hardly_moved = evidence.left > LITTLE and evidence.furthest < NEAR * evidence.steps
    if not hardly_moved or evidence.further_loss >= evidence.end_loss:
        return ""
    return (
        f"after {evidence.steps:,} steps the loss is {evidence.end_loss:.4g}, from {evidence.start_loss:.4g} at the "
        f"start, and no layer has moved by more than {percent(evidence.furthest)} of its norm; {FURTHER} times as far "
        f"in the same direction the loss is {evidence.further_loss:.4g}"
    )


def percent(share: float) -> str:
    return f"{100 * share:.3g}%"


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a mistake is recognized: `seen` returns the evidence as text, or "" if there is none."""

    seen: Callable[[Evidence], str]
    told_by: str
    means: str
    remedy: str
    follows_from: tuple[str, ...] = ()  # mistakes that cause the same evidence


RULES = {
    LEAKAGE: Rule(
        test_images_in_training,
        "images",
        "the network has seen the answers: its accuracy on them says nothing about new images",
        "train on images that are not in the test set; split the data before anything else",
    ),
    SHIFTED: Rule(
        labels_shifted,
        "confusion matrix",
        "the network learned, but the labels of the training and test images do not mean the same classes",
        "count both splits' labels from 0, and look at ten images with their labels",
    ),
    LAST_BATCH: Rule(
        last_batch_not_scored,
        "number of test images",
        "the accuracy is that of a smaller test set, without the images that do not fill the last batch",
        "score ceil(n / batch) batches with weight 0 for the padding, or divide by the number scored and report it",
    ),
    NO_SHUFFLING: Rule(
        no_shuffling,
        "order of the examples",
        "the network learns one class after another and forgets the rest; the last batches decide",
        "reshuffle all examples in each epoch",
    ),
    SOFTMAX_TWICE: Rule(
        softmax_twice,
        "logits",
        "the loss applies a softmax to probabilities: it never comes near 0, and its gradient is small",
        "remove the activation of the last layer, or pass from_logits=False to the loss",
    ),
    ZEROS: Rule(
        zero_initialisation,
        "weights",
        "identical units get identical gradients (zero if all weights are 0), so a layer is worth a single unit",
        "initialize the weights at random, for example with glorot_uniform",
    ),
    RELU_LOGITS: Rule(
        relu_on_the_logits,
        "logits",
        "a class whose logit is 0 gets no gradient: it cannot be ruled out, nor learned if all its logits are 0",
        "remove the activation of the last layer",
        (ZEROS, SOFTMAX_TWICE),
    ),
    RAW_SIGMOID: Rule(
        raw_pixels_with_sigmoid,
        "activations",
        "a saturated unit passes almost no gradient to its weights",
        "scale the pixels to the range 0–1 (--pixels=unit)",
    ),
    RATE_TOO_LARGE: Rule(
        learning_rate_too_large,
        "losses",
        "each step overshoots; the damage, such as ReLUs that no image activates any more, is permanent",
        "use a 10 times smaller learning rate, and repeat until this diagnosis is gone",
        (ZEROS,),
    ),
    DEAD_RELUS: Rule(
        dead_relus,
        "activations",
        "a ReLU that is 0 for every image gets no gradient and never recovers: the network is effectively narrower",
        "scale the pixels to the range 0–1 and use a smaller learning rate, or activations with a slope on both sides",
        (ZEROS, RATE_TOO_LARGE, NO_SHUFFLING),
    ),
    RATE_TOO_SMALL: Rule(
        learning_rate_too_small,
        "losses and weights",
        "at this learning rate, this many steps hardly move the weights: training has hardly begun",
        "use a 10 times larger learning rate, and repeat until this diagnosis is gone; or train for many more epochs",
        (ZEROS, SOFTMAX_TWICE, RELU_LOGITS, RAW_SIGMOID, NO_SHUFFLING, RATE_TOO_LARGE, DEAD_RELUS),
    ),
}
