"""What the lecture says of the loss and of the trained network, held against networks that are trained here."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from mnist_mlp.lab.explain.lesson import Claim, Lesson, Trained, logits_of
from mnist_mlp.models import initialization, networks
from mnist_mlp.stats.metrics import compare_seeds, cross_entropy, difference_interval, wilson_interval

LECTURES_ACCURACY = 0.9622  # of the test images on the lecture's slide: one run, pixels from 0 to 255
LECTURES_RUN = ("mnist", 32, 5)  # its data, batch and epochs
LN_10 = math.log(10)


def loss_at_the_start(lesson: Lesson) -> list[Claim]:
    train = lesson.dataset.train
    raw = networks.build("mlp", pixels="raw")
    losses, raw_losses, apart = [], [], 0.0
    for seed in lesson.seeds:
        lesson.trainer.begin(seed)
        initialization.initialize(raw, seed)
        logits, raw_logits = logits_of(lesson.model, train.images), logits_of(raw, train.images)
        losses.append(cross_entropy(logits, train.labels).mean())
        raw_losses.append(cross_entropy(raw_logits, train.labels).mean())
        apart = max(apart, float(np.abs(raw_logits - 255 * logits).max() / np.abs(raw_logits).max()))
    seeds = f"of {len(train):,} images, {len(losses)} seeds"
    return [
        Claim(
            "before training the loss is about ln 10, within a tenth of it: each of ten classes is as likely",
            f"−ln(1/10) = {LN_10:.4f}",
            f"{spread(losses, '.4f')} (mean {seeds})",
            bool(abs(np.mean(losses) - LN_10) < LN_10 / 10),
        ),
        Claim(
            "pixels from 0 to 255 make the logits 255 times as large, so the loss starts far higher",
            "relu(255·z) = 255·relu(z), and the biases start at 0",
            f"255 times, but for {apart:.0e} of the largest; the loss starts at {spread(raw_losses, '.1f')}",
            bool(apart < 1e-4 and np.mean(raw_losses) > np.mean(losses)),
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
            "over the epochs the loss falls",
            "the mean over all images, each scored in its step",
            f"{epochs[:, 0].mean():.4f} → {epochs[:, -1].mean():.4f}; lower than before in {falls.sum()} of "
            f"{falls.size} epochs",
            bool((epochs[:, -1] < epochs[:, 0]).all()),
        ),
        Claim(
            "from step to step it goes up and down",
            "each step has other images: their mean loss is a sample",
            f"higher than in the step before in {rises.sum():,} of {rises.size:,} steps",
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
            "σ(z) = 1/(1 + exp(−z)), each for itself",
            f"sums from {sigmoids.min():.2f} to {sigmoids.max():.2f} over {len(images):,} images",
            bool(np.abs(sigmoids - 1).max() > 0.01),
        ),
        Claim(
            "softmax gives ten probabilities that do",
            "exp(zᵢ) / Σ exp(zⱼ); float32 rounds by 6e-08",
            f"all from {probabilities.min():.0e} to {probabilities.max():.4f}; the sums are 1 up to {off:.0e}",
            bool(off < 2e-6 and probabilities.min() >= 0 and probabilities.max() <= 1),
        ),
        Claim(
            "and changes no answer: the largest logit has the largest probability",
            "exp rises, and all ten are divided by the same",
            f"{same:,} of {len(images):,} images",
            same == len(images),
        ),
    ]


def score(lesson: Lesson) -> list[Claim]:
    trained, labels = lesson.trained, lesson.dataset.test.labels
    correct, total = int(trained.right[0].sum()), len(labels)
    low, high = wilson_interval(correct, total)
    often = int(np.bincount(labels).max())
    return [
        Claim(
            "above always giving the most frequent class",
            f"{often:,}/{total:,} = {often / total:.2%}",
            f"{correct:,} of {total:,} = {correct / total:.2%} (95%: {100 * low:.2f}–{100 * high:.2f}%); "
            f"{len(lesson.seeds)} seeds: {percent(trained.accuracy)}",
            bool(low > often / total),
        )
    ]


def compare_train_and_test(lesson: Lesson) -> list[Claim]:
    train, right = lesson.dataset.train, lesson.trained.right[0]
    logits = logits_of(lesson.model, train.images)
    known = int((logits.argmax(1) == train.labels).sum())
    low, high = difference_interval(known, len(train), int(right.sum()), len(right))
    gap = known / len(train) - right.mean()
    return [
        Claim(
            "yes: it does better on the images that it has learned from",
            "accuracy on the training images − on the test images",
            f"{known / len(train):.2%} − {right.mean():.2%} = {points(gap, low, high)}"
            + cannot_tell(answer := sure(low, high), f"{len(right):,} images"),
            answer,
        )
    ]


def leave_out_the_hidden_layers(lesson: Lesson) -> list[Claim]:
    trainer = lesson.compiled("softmax")
    alone, held = lesson.fit(trainer), trainer.model.count_params()
    measured, holds = compare(lesson.trained, alone)
    return [
        Claim(
            "one layer is left, softmax regression: 7,850 parameters",
            "(784 + 1) · 10 = 7,850",
            f"{held:,} parameters in {len(trainer.model.trainable_variables)} arrays",
            held == 7850,
        ),
        Claim("hidden layers help", "accuracy with them − without, seed by seed", measured, holds),
    ]


def leave_pixels_as_they_are(lesson: Lesson) -> list[Claim]:
    raw = lesson.fit(lesson.compiled("mlp", pixels="raw"))
    measured, holds = compare(lesson.trained, raw)
    claims = [Claim("it ends lower", "accuracy on pixels from 0 to 1 − from 0 to 255, seed by seed", measured, holds)]
    if (lesson.dataset.name, lesson.batch_size, lesson.epochs) == LECTURES_RUN:
        apart = LECTURES_ACCURACY - raw.accuracy.mean()
        claims.append(
            Claim(
                "that is the lecture's own run: within 1.5 points of its slide",
                f"test accuracy on the slide, one run: {LECTURES_ACCURACY:.2%}",
                f"{percent(raw.accuracy)} ({len(raw.accuracy)} seeds); the slide's is {100 * abs(apart):.2f} points "
                f"{'higher' if apart > 0 else 'lower'}",
                bool(abs(apart) < 0.015),
            )
        )
    return claims


def compare(one: Trained, other: Trained) -> tuple[str, bool | None]:
    """The difference of two accuracies in words, and whether the first one is higher: only if both another seed
    (Student's t) and other test images (McNemar) would leave it so."""
    found = compare_seeds(one.right, other.right)
    (low, high), p = found["difference_interval"], found["p"]
    answer = sure(low, high) if p < 0.05 else None
    means = one.accuracy.mean(), other.accuracy.mean()
    words = f"{means[0]:.2%} − {means[1]:.2%} = {points(means[0] - means[1], low, high)}, McNemar's p "
    words += "< 0.0001" if p < 1e-4 else f"= {p:.2g}"
    return words + cannot_tell(answer, f"{one.right.shape[1]:,} images and {len(one.right)} seeds"), answer


def sure(low: float, high: float) -> bool | None:
    """Whether a difference with that interval is positive; None where 0 lies in the interval."""
    return None if low <= 0 <= high else low > 0


def cannot_tell(answer: bool | None, evidence: str) -> str:
    """What to say where a difference may as well be chance."""
    return f": not to be told apart with {evidence}" if answer is None else ""


def points(difference: float, low: float, high: float) -> str:
    """A difference of shares with its interval, in hundredths."""
    return f"{100 * difference:.2f} points (95%: {100 * low:.2f} to {100 * high:.2f})".replace("-", "−")


def spread(values: list[float] | np.ndarray, form: str) -> str:
    """Mean ± standard deviation."""
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"


percent = functools.partial(spread, form=".2%")

AFTER_TRAINING: list[tuple[str, Callable[[Lesson], list[Claim]]]] = [
    ("What is the loss before training?", loss_at_the_start),
    ("Does the loss fall along the trajectory?", follow_the_loss),
    ("Should the last layer be a sigmoid?", look_at_softmax),
    ("What is the final test accuracy?", score),
    ("Does it overfit?", compare_train_and_test),
    ("What happens without the hidden layers?", leave_out_the_hidden_layers),
    ("What if the pixels stay at 0 to 255, as in the lecture?", leave_pixels_as_they_are),
]
