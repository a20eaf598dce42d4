"""Metrics of a classifier: loss, confusion matrix, rows per class, confidence intervals and significance tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from mnist_mlp.stats import student_t


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return −log softmax(logits)[label] for each example, in nats: float64 [n].

    `logits` are floats [n, classes] of any precision, `labels` integers [n]; everything is computed in float64.
    """
    values = logits.astype(np.float64)
    highest = values.max(1)
    log_sums = highest + np.log(np.exp(values - highest[:, None]).sum(1))  # exp of a large logit would overflow
    return log_sums - values[np.arange(len(labels)), labels]


def wilson_interval(correct: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the Wilson score interval of the proportion correct / total; the default z gives 95%.

    Unlike mean ± z·sd it stays within [0, 1] and holds its coverage near both ends.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"expected 0 ≤ correct ≤ total and total ≥ 1, received {correct} and {total}")
    share, square = correct / total, z * z
    centre = share + square / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def difference_interval(correct: int, total: int, other_correct: int, other_total: int) -> tuple[float, float]:
    """Return the 95% interval of the first proportion minus the second, measured on different examples.

    Source: R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998), method 10.
    """
    share, other = correct / total, other_correct / other_total
    (low, high), (other_low, other_high) = wilson_interval(correct, total), wilson_interval(other_correct, other_total)
    return (
        share - other - math.hypot(share - low, other_high - other),
        share - other + math.hypot(high - share, other - other_low),
    )


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return int64 [10, 10]: entry [t, p] counts the images of class t that were predicted as class p."""
    return np.bincount(10 * labels.astype(np.int64) + predicted, minlength=100).reshape(10, 10)


def per_class(confusion: np.ndarray) -> list[dict[str, Any]]:
    """Return one row per class of a confusion matrix, int [classes, classes] with the truth in rows.

    `precision` is None if the class was never predicted, `recall` None if it has no examples, `mistaken_for` (the class
    it is most often confused with) None if it has no errors.
    """
    rows = []
    for digit in range(len(confusion)):
        examples, predicted = int(confusion[digit].sum()), int(confusion[:, digit].sum())
        correct = int(confusion[digit, digit])
        errors = confusion[digit].copy()
        errors[digit] = 0
        rows.append(
            {
                "class": digit,
                "examples": examples,
                "correct": correct,
                "precision": correct / predicted if predicted else None,
                "recall": correct / examples if examples else None,
                "mistaken_for": int(errors.argmax()) if errors.any() else None,
            }
        )
    return rows


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return Student's 95% interval of the mean of independent values; (−inf, inf) for a single value."""
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    mean = float(np.mean(values))
    reach = student_t.quantile(0.025, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - reach, mean + reach


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """Return p of McNemar's exact test that two classifiers are equally good.

    `one` and `other` are bool [n]: correct on the same n images or not. Only the images on which they differ count;
    under the null hypothesis each of these favours either classifier with probability ½.
    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947).
    """
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    n = only_one + only_other
    tail = sum(math.comb(n, k) for k in range(min(only_one, only_other) + 1))
    return min(1.0, float(Fraction(tail, 2**n) * 2))


def paired_difference_interval(both: int, only_one: int, only_other: int, neither: int) -> tuple[float, float]:
    """Return the 95% interval of the first proportion minus the second, measured on the same examples.

    The arguments count the examples that both classifiers, only the first, only the second, or neither got correct.

    Source: R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17 (1998), method 10.
    """
    n = both + only_one + only_other + neither
    one, other = both + only_one, both + only_other
    (low, high), (other_low, other_high) = wilson_interval(one, n), wilson_interval(other, n)
    excess = float(both * neither - only_one * only_other)
    excess = max(excess - n / 2, 0.0) if excess > 0 else excess
    scale = math.sqrt(one * (n - one) * other * (n - other))
    phi = excess / scale if scale else 0.0  # the correlation of the two
    share, other_share = one / n, other / n

    def reach(mine: float, others: float) -> float:
        return math.sqrt(max(0.0, mine**2 - 2 * phi * mine * others + others**2))

    difference = share - other_share
    below = reach(share - low, other_high - other_share)
    return difference - below, difference + reach(high - share, other_share - other_low)


def holm(values: Sequence[float]) -> list[float]:
    """Return the p of several tests, adjusted by Holm's method.

    Calling those below 0.05 significant keeps the probability of any false positive at 5% or less.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def combined_p(values: Sequence[float]) -> float:
    """Return one p for several tests of the same hypothesis: twice their median, valid under any dependence.

    Source: B. Rüger, "Das maximale Signifikanzniveau des Tests", Metrika 25 (1978).
    """
    return min(1.0, 2 * float(np.median(values))) if len(values) > 1 else float(values[0])


def compare_seeds(one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Compare two programs trained with the same seeds; `one` and `other` are bool [seeds, test images], True if
    correct.

    `difference` is the first mean accuracy minus the second, `difference_interval` Student's 95% interval over the
    seeds (None for one seed), `p_by_seed` McNemar's p for each seed, `p` these combined. The interval covers other
    seeds on these images, p covers other images for these trained networks: a difference counts as shown only if both
    agree.
    """
    differences = one.mean(1) - other.mean(1)
    by_seed = [mcnemar(*pair) for pair in zip(one, other, strict=True)]
    return {
        "difference": float(differences.mean()),
        "difference_interval": list(mean_interval(differences)) if len(differences) > 1 else None,
        "p": combined_p(by_seed),
        "p_by_seed": by_seed,
    }
