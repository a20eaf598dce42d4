"""How sure a classifier is, and whether it may be: calibration error, temperature, and what can be answered safely.

All functions take probabilities, float [n, classes], and labels, integers [n], or what follows from them for each
image: its confidence, the largest probability, float [n], and whether that class is the true one, bool [n].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.stats.metrics import mean_interval, wilson_interval

Floats = NDArray[np.float64]
BINS = 15  # of equal mass, at most
IMAGES_PER_BIN = 50  # at least
RESAMPLES = 2000  # of the bins' gaps, for the interval
CALIBRATED = 199  # test sets drawn as if the network were calibrated
TAIL = 0.025  # on each side of a 95% interval
PRECISIONS = (0.99, 0.995, 0.999)
CURVE = 50  # points of the risk–coverage curve
LEAST = float(np.finfo(np.float64).tiny)  # a probability of 0 counts as 2.2e-308: its −log is 708, not infinite
COLDEST, HOTTEST = 0.05, 20.0  # bounds of a temperature


def softmax(logits: np.ndarray, temperature: float = 1.0) -> Floats:
    """Return softmax(logits / temperature), float64 [n, classes]."""
    scaled = logits.astype(np.float64) / temperature
    with np.errstate(all="ignore"):  # logits of a run that diverged
        shares = np.exp(scaled - scaled.max(1, keepdims=True))  # exp of a large logit would overflow
        return shares / shares.sum(1, keepdims=True)


def negative_log_likelihoods(probabilities: np.ndarray, labels: np.ndarray) -> Floats:
    """Return −log of the probability of the true class, in nats, float64 [n]."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), LEAST))


def brier_scores(probabilities: np.ndarray, labels: np.ndarray) -> Floats:
    """Return Σ (probability − 1 if it is the true class)² over all classes, from 0 to 2, float64 [n].

    Source: G. W. Brier, "Verification of forecasts expressed in terms of probability", Mon. Weather Review 78 (1950).
    """
    differences = probabilities.astype(np.float64)
    differences[np.arange(len(labels)), labels] -= 1
    return (differences**2).sum(1)


def confidences(probabilities: np.ndarray, labels: np.ndarray) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the confidence, float64 [n], and whether the class with it is the true one, bool [n]."""
    return probabilities.max(1).astype(np.float64), probabilities.argmax(1) == labels


def bin_starts(ordered: np.ndarray) -> NDArray[np.intp]:
    """Return where each bin of equal mass begins among confidences in ascending order.

    Equal confidences share a bin, so the bins do not depend on the order of the images; there may be fewer for it.
    """
    bins = max(1, min(BINS, len(ordered) // IMAGES_PER_BIN))
    cuts = np.arange(bins) * len(ordered) // bins
    return np.unique(np.searchsorted(ordered, ordered[cuts], side="left"))


def reliability(confidence: Floats, correct: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return a row for each bin of equal mass, from the least confident: the number of `images`, their mean
    `confidence`, their `accuracy` and its 95% `interval` (Wilson's)."""
    order = np.argsort(confidence, kind="stable")
    ordered, hits = confidence[order], correct[order]
    starts = bin_starts(ordered)
    counts = np.diff([*starts, len(ordered)])
    return [
        {
            "images": int(n),
            "confidence": float(total / n),
            "accuracy": float(right / n),
            "interval": list(wilson_interval(int(right), int(n))),
        }
        for n, total, right in zip(
            counts, np.add.reduceat(ordered, starts), np.add.reduceat(hits.astype(np.int64), starts), strict=True
        )
    ]


def calibration_error(confidence: Floats, correct: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the expected calibration error (ECE): the mean of |accuracy − confidence| over bins of equal mass.

    `ece`           the plug-in estimate. It is biased upwards: chance alone gives every bin a gap.
    `ece_if_calibrated`  the mean plug-in estimate of perfectly calibrated networks with these confidences: all of it
                    is bias.
    `p_calibrated`  the share of these networks with an ECE as large: a small one shows that ours is not calibrated.
    `ece_interval`  a 95% interval of the true error, from a bootstrap of the bins' gaps. Its lower end is that of the
                    basic bootstrap, which removes the bias, or 0 if a calibrated network could have the same ECE
                    (p > 0.025). Its upper end is 1.96 standard errors above the plug-in estimate, whose bias lies on
                    the safe side: without it, the end is too low where the true error is as small as the bias.

    The draws have a fixed seed. Sources: C. Guo et al., "On calibration of modern neural networks", ICML 2017 (ECE);
    J. Bröcker and L. A. Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting 22 (2007)
    (what a calibrated forecast would show); A. C. Davison and D. V. Hinkley, "Bootstrap methods and their application"
    (1997), section 5.2 (the interval).
    """
    order = np.argsort(confidence, kind="stable")
    ordered, hits = confidence[order], correct[order]
    starts = bin_starts(ordered)
    n, counts = len(ordered), np.diff([*starts, len(ordered)])
    gaps = hits - ordered
    sums = np.add.reduceat(gaps, starts)
    ece = float(np.abs(sums).sum() / n)

    # The sum of a bin's gaps is nearly normal, so its mean and variance stand for a resampling of each image. Where no
    # image of a bin is wrong, its variance is taken from the confidences.
    generator = np.random.Generator(np.random.PCG64(0))
    spread = np.add.reduceat(gaps**2, starts) - sums**2 / counts
    expected = np.add.reduceat(ordered * (1 - ordered), starts)
    drawn = sums + np.sqrt(np.maximum(spread, expected)) * generator.standard_normal((RESAMPLES, len(starts)))
    errors = np.abs(drawn).sum(1) / n
    low = max(0.0, 2 * ece - float(np.quantile(errors, 1 - TAIL)))

    drawn_hits = generator.random((CALIBRATED, n), dtype=np.float32) < ordered.astype(np.float32)
    drawn_sums = np.add.reduceat(drawn_hits, starts, axis=1, dtype=np.int32) - np.add.reduceat(ordered, starts)
    calibrated = np.abs(drawn_sums).sum(1) / n
    p = float((1 + (calibrated >= ece).sum()) / (1 + CALIBRATED))
    return {
        "ece": ece,
        "ece_interval": [low if p <= TAIL else 0.0, ece + 1.96 * float(errors.std())],
        "ece_if_calibrated": float(calibrated.mean()),
        "p_calibrated": p,
    }


def threshold_for(confidence: Floats, correct: NDArray[np.bool_], precision: float) -> float | None:
    """Return the smallest confidence from which on at least the share `precision` of the images is correct.

    None if there is no such confidence: the most confident images are not correct often enough.
    """
    answered, right, at = cumulated(confidence, correct)
    enough = np.flatnonzero(right >= precision * answered)
    return float(at[enough[-1]]) if len(enough) else None


def cumulated(confidence: Floats, correct: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return, for each confidence from the largest down, how many images have at least that, how many of them are
    correct, and the confidence itself."""
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    ends = np.flatnonzero(np.diff(ordered, append=-np.inf))  # equal confidences are answered together
    return ends + 1, np.cumsum(correct[order], dtype=np.int64)[ends], ordered[ends]


def answered_at(confidence: Floats, correct: NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """Return how many of `images` are `answered` at a threshold, their share as `coverage`, and how many of these are
    `correct`, their share as `precision_reached` and its 95% `interval` (Wilson's)."""
    answers = confidence >= threshold
    n, right = int(answers.sum()), int(correct[answers].sum())
    return {
        "answered": n,
        "coverage": n / len(correct),
        "correct": right,
        "precision_reached": right / n if n else None,
        "interval": list(wilson_interval(right, n)) if n else None,
    }


def risk_coverage(confidence: Floats, correct: NDArray[np.bool_]) -> list[list[float]]:
    """Return [coverage, precision] where the most confident images are answered, at about `CURVE` even steps.

    Source: Y. Geifman and R. El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.
    """
    answered, right, _ = cumulated(confidence, correct)
    n = len(correct)
    chosen = np.unique(np.searchsorted(answered, np.arange(1, CURVE + 1) * n / CURVE))
    return [[float(answered[i] / n), float(right[i] / answered[i])] for i in chosen]


def measure(
    probabilities: np.ndarray, labels: np.ndarray, validation: tuple[np.ndarray, np.ndarray] | None = None
) -> dict[str, Any]:
    """Return all of this as JSON values; {} if a probability is not finite, or for fewer than two images.

    `validation` are probabilities and labels of images that were neither trained on nor tested: on these the
    thresholds are chosen; without them on the images themselves, so that their precision is not that of new ones.
    """
    if len(labels) < 2 or not all(np.isfinite(each).all() for each in (probabilities, *(validation or ())[:1])):
        return {}
    confidence, correct = confidences(probabilities, labels)
    losses, scores = negative_log_likelihoods(probabilities, labels), brier_scores(probabilities, labels)
    chosen_on = confidences(*validation) if validation else (confidence, correct)
    rows: list[dict[str, Any]] = []
    for precision in PRECISIONS:
        threshold = threshold_for(*chosen_on, precision)
        at = answered_at(confidence, correct, math.inf if threshold is None else threshold)
        rows.append({"precision": precision, "threshold": threshold, **at})
    return {
        "images": len(labels),
        "confidence": float(confidence.mean()),
        "accuracy": float(correct.mean()),
        **calibration_error(confidence, correct),
        "nll": float(losses.mean()),
        "nll_interval": list(mean_interval(losses)),
        "brier": float(scores.mean()),
        "brier_interval": list(mean_interval(scores)),
        "bins": reliability(confidence, correct),
        "coverage": {
            "chosen_on": "validation" if validation else "test",
            "chosen_on_images": len(chosen_on[0]),
            "rows": rows,
            "curve": risk_coverage(confidence, correct),
        },
    }


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the temperature T for which softmax(logits / T) has the smallest mean negative log-likelihood, and its
    95% interval (from the curvature there and the spread of the images' scores).

    Raise ValueError for fewer than two images, and if there is none from `COLDEST` to `HOTTEST`, as where every image
    is recognized: then the colder the better, without end.

    Source: C. Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    values = logits.astype(np.float64)
    true = values[np.arange(len(labels)), labels]

    def scores(inverse: float) -> tuple[Floats, float]:
        """The derivative of each image's loss by 1/T, and the mean second derivative, which is never negative."""
        shares = softmax(values, 1 / inverse)
        mean = (shares * values).sum(1)
        return mean - true, float(((shares * values**2).sum(1) - mean**2).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if len(labels) < 2:
        raise ValueError(f"expected two images or more, received {len(labels)}")
    if not scores(low)[0].mean() < 0 < scores(high)[0].mean():
        raise ValueError(f"expected a minimum between {COLDEST} and {HOTTEST}, received a loss without one there")
    inverse = 1.0
    for _ in range(100):  # Newton's method, kept between bounds that shrink; a dozen steps as a rule
        slopes, curvature = scores(inverse)
        slope = float(slopes.mean())
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else math.inf
        before, inverse = inverse, step if low < step < high else math.sqrt(low * high)
        if abs(inverse - before) <= 1e-12 * before:
            break
    slopes, curvature = scores(inverse)
    error = math.sqrt(float((slopes**2).mean()) / len(labels)) / curvature / inverse  # of log T
    return 1 / inverse, (math.exp(-1.96 * error) / inverse, math.exp(1.96 * error) / inverse)
