"""The lecture's claims about the loss and the trained network, checked on networks trained here."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from mnist_mlp.lab.explain.lesson import Claim, Lesson, Trained, logits_of
from mnist_mlp.models import initialization, networks
from mnist_mlp.stats.metrics import compare_seeds, cross_entropy, difference_interval, wilson_interval

SLIDE_ACCURACY = 0.9622  # test accuracy on the lecture's slide: one run, pixels from 0 to 255
SLIDE_RUN = ("mnist", 32, 5)  # its data set, batch size and epochs
LN_10 = math.log(10)


def loss_at_the_start(lesson: Lesson) -> list[Claim]:
    train = lesson.dataset.train
    raw = networks.build("mlp", pixels="raw")
    losses, raw_losses, error = [], [], 0.0
    for seed in lesson.seeds:
        lesson.trainer.reset(seed)
        initialization.initialize(raw, seed)
        logits, raw_logits = logits_of(lesson.model, train.images), logits_of(raw, train.images)
        losses.append(cross_entropy(logits, train.labels).mean())
        raw_losses.append(cross_entropy(raw_logits, train.labels).mean())
        error = max(error, float(np.abs(raw_logits - 255 * logits).max() / np.abs(raw_logits).max()))
    seeds = f"of {len(train):,} images, {len(losses)} seeds"
    return [
        Claim(
            "before training the loss is ln 10 within 10%: all ten classes are equally likely",
            f"−ln(1/10) = {LN_10:.4f}",
            f"{spread(losses, '.4f')} (mean {seeds})",
            bool(abs(np.mean(losses) - LN_10) < LN_10 / 10),
        ),
        Claim(
            "pixels from 0 to 255 make the logits 255 times larger, so the loss starts far higher",
            "relu(255·z) = 255·relu(z), and the biases start at 0",
            f"255 times, up to {error:.0e} of the largest; the loss starts at {spread(raw_losses, '.1f')}",
            bool(error < 1e-4 and np.mean(raw_losses) > np.mean(losses)),
        ),
    ]


def follow_the_loss(lesson: Lesson) -> list[Claim]:
    curves = lesson.trained.curves
    epochs = np.array([curve.losses for curve in curves])  # [seeds, epochs]
    steps = np.array([curve.step_losses for curve in curves])  # [seeds, steps]
    falls, rises = np.diff(epochs) < 0, np.diff(steps) > 0
    several = lesson.batch_size < len(lesson.dataset.train)
    return [
        Claim(
            "from epoch to epoch the loss falls",
            "the mean over all images, each scored in its own step",
            f"{epochs[:, 0].mean():.4f} → {epochs[:, -1].mean():.4f}; lower than the one before in {falls.sum()} of "
            f"{falls.size} epochs",
            bool((epochs[:, -1] < epochs[:, 0]).all()),
        ),
        Claim(
            "from step to step it goes up and down",
            "each step sees other images: their mean loss is a sample",
            f"higher than the step before in {rises.sum():,} of {rises.size:,} steps",
            bool(rises.any()) if several else None,
        ),
    ]


def look_at_softmax(lesson: Lesson) -> list[Claim]:
    images = lesson.dataset.test.images
    _ = lesson.trained
    probabilities, logits = lesson.engine.predict(images), logits_of(lesson.model, images)
    off = float(np.abs(probabilities.sum(1, dtype=np.float64) - 1).max())
    sigmoids = (1 / (1 + np.exp(-logits))).sum(1)
    same = int((probabilities[np.arange(len(images)), logits.argmax(1)] == probabilities.max(1)).sum())
    return [
        Claim(
            "no: ten sigmoids do not sum to 1",
            "σ(z) = 1/(1 + exp(−z)), each on its own",
            f"sums from {sigmoids.min():.2f} to {sigmoids.max():.2f} over {len(images):,} images",
            bool(np.abs(sigmoids - 1).max() > 0.01),
        ),
        Claim(
            "softmax gives ten probabilities that sum to 1",
            "exp(zᵢ) / Σ exp(zⱼ); float32 rounds by 6e-08",
            f"all from {probabilities.min():.0e} to {probabilities.max():.4f}; the sums are 1 up to {off:.0e}",
            bool(off < 2e-6 and probabilities.min() >= 0 and probabilities.max() <= 1),
        ),
        Claim(
            "and it changes no answer: the largest logit has the largest probability",
            "exp is increasing, and all ten are divided by the same sum",
            f"{same:,} of {len(images):,} images",
            same == len(images),
        ),
    ]


def score(lesson: Lesson) -> list[Claim]:
    trained, labels = lesson.trained, lesson.dataset.test.labels
    correct, total = int(trained.correct[0].sum()), len(labels)
    low, high = wilson_interval(correct, total)
    majority = int(np.bincount(labels).max())
    return [
        Claim(
            "better than always answering the most frequent class",
            f"{majority:,}/{total:,} = {majority / total:.2%}",
            f"{correct:,} of {total:,} = {correct / total:.2%} (95%: {100 * low:.2f}–{100 * high:.2f}%); "
            f"{len(lesson.seeds)} seeds: {percent(trained.accuracy)}",
            bool(low > majority / total),
        )
    ]


def compare_train_and_test(lesson: Lesson) -> list[Claim]:
    train, correct = lesson.dataset.train, lesson.trained.correct[0]
    logits = logits_of(lesson.model, train.images)
    train_correct = int((logits.argmax(1) == train.labels).sum())
    low, high = difference_interval(train_correct, len(train), int(correct.sum()), len(correct))
    gap = train_correct / len(train) - correct.mean()
    return [
        Claim(
            "yes: it does better on the images that it was trained on",
            "accuracy on the training images − on the test images",
            f"{train_correct / len(train):.2%} − {correct.mean():.2%} = {points(gap, low, high)}"
            + undecided(answer := sign(low, high), f"{len(correct):,} images"),
            answer,
        )
    ]


def leave_out_the_hidden_layers(lesson: Lesson) -> list[Claim]:
    trainer = lesson.compiled("softmax")
    softmax, parameters = lesson.fit(trainer), trainer.model.count_params()
    measured, holds = compare(lesson.trained, softmax)
    return [
        Claim(
            "one layer remains, softmax regression: 7,850 parameters",
            "(784 + 1) · 10 = 7,850",
            f"{parameters:,} parameters in {len(trainer.model.trainable_variables)} arrays",
            parameters == 7850,
        ),
        Claim("hidden layers help", "accuracy with them − without, seed by seed", measured, holds),
    ]


def leave_pixels_as_they_are(lesson: Lesson) -> list[Claim]:
    raw = lesson.fit(lesson.compiled("mlp", pixels="raw"))
    measured, holds = compare(lesson.trained, raw)
    claims = [
        Claim("the accuracy is lower", "accuracy on pixels from 0 to 1 − from 0 to 255, seed by seed", measured, holds)
    ]
    if (lesson.dataset.name, lesson.batch_size, lesson.epochs) == SLIDE_RUN:
        difference = SLIDE_ACCURACY - raw.accuracy.mean()
        claims.append(
            Claim(
                "that is the lecture's own run: within 1.5 points of its slide",
                f"test accuracy on the slide, one run: {SLIDE_ACCURACY:.2%}",
                f"{percent(raw.accuracy)} ({len(raw.accuracy)} seeds); the slide's is {100 * abs(difference):.2f} "
                f"points {'higher' if difference > 0 else 'lower'}",
                bool(abs(difference) < 0.015),
            )
        )
    return claims


def compare(one: Trained, other: Trained) -> tuple[str, bool | None]:
    """Return the difference of two accuracies as text, and whether the first is higher.

    It counts as higher or lower only if that would hold for other seeds (Student's t) and for other test images
    (McNemar); else the answer is None.
    """
    comparison = compare_seeds(one.correct, other.correct)
    (low, high), p = comparison["difference_interval"], comparison["p"]
    answer = sign(low, high) if p < 0.05 else None
    means = one.accuracy.mean(), other.accuracy.mean()
    text = f"{means[0]:.2%} − {means[1]:.2%} = {points(means[0] - means[1], low, high)}, McNemar's p "
    text += "< 0.0001" if p < 1e-4 else f"= {p:.2g}"
    return text + undecided(answer, f"{one.correct.shape[1]:,} images and {len(one.correct)} seeds"), answer


def sign(low: float, high: float) -> bool | None:
    """Return whether a difference with that interval is positive; None if the interval contains 0."""
    return None if low <= 0 <= high else low > 0


def undecided(answer: bool | None, evidence: str) -> str:
    """Return a remark if a difference may be chance."""
    return f": too close to call with {evidence}" if answer is None else ""


def points(difference: float, low: float, high: float) -> str:
    """Format a difference of proportions with its interval, in percentage points."""
    return f"{100 * difference:.2f} points (95%: {100 * low:.2f} to {100 * high:.2f})".replace("-", "−")


def spread(values: Sequence[float] | np.ndarray, form: str) -> str:
    """Format mean ± standard deviation."""
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"


percent = functools.partial(spread, form=".2%")

AFTER_TRAINING: list[tuple[str, Callable[[Lesson], list[Claim]]]] = [
    ("What is the loss before training?", loss_at_the_start),
    ("Does the loss fall during training?", follow_the_loss),
    ("Should the last layer be a sigmoid?", look_at_softmax),
    ("What is the final test accuracy?", score),
    ("Does it overfit?", compare_train_and_test),
    ("What happens without the hidden layers?", leave_out_the_hidden_layers),
    ("What if the pixels stay at 0 to 255, as in the lecture?", leave_pixels_as_they_are),
]
