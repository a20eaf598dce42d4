"""What counts of right answers say: intervals, tests, and of a confusion matrix a row for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from mnist_mlp.stats import student_t


def wilson_interval(correct: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The Wilson score interval of a proportion; the default z gives 95%.

    Unlike mean ± z·sd it stays within [0, 1] and is right near both ends.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"Expected 0 ≤ correct ≤ total and total ≥ 1. Received {correct} and {total}.")
    share, square = correct / total, z * z
    centre = share + square / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def difference_interval(correct: int, total: int, other_correct: int, other_total: int) -> tuple[float, float]:
    """The 95% interval of the first proportion minus the second, measured on different examples.

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
    """int64 [10, 10]: entry [t, p] counts the images of class t that were taken for class p."""
    return np.bincount(10 * labels.astype(np.int64) + predicted, minlength=100).reshape(10, 10)


def per_class(confusion: np.ndarray) -> list[dict[str, Any]]:
    """For each class: examples, correct, precision (None if it was never predicted), recall (None if there
    are no examples), and the class it is most often taken for (None if there is no mistake)."""
    rows = []
    for digit in range(len(confusion)):
        examples, predicted = int(confusion[digit].sum()), int(confusion[:, digit].sum())
        correct = int(confusion[digit, digit])
        mistakes = confusion[digit].copy()
        mistakes[digit] = 0
        rows.append(
            {
                "class": digit,
                "examples": examples,
                "correct": correct,
                "precision": correct / predicted if predicted else None,
                "recall": correct / examples if examples else None,
                "mistaken_for": int(mistakes.argmax()) if mistakes.any() else None,
            }
        )
    return rows


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean that these independent values estimate, by Student's t; of one, all numbers."""
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    mean = float(np.mean(values))
    reach = student_t.quantile(0.025, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - reach, mean + reach


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """p of McNemar's exact test: that two classifiers, right (True) or wrong on the same images, are equally good.

    Only the images on which they differ count: each is then as likely to speak for either.
    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947).
    """
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    n = only_one + only_other
    tail = sum(math.comb(n, k) for k in range(min(only_one, only_other) + 1))
    return min(1.0, float(Fraction(tail, 2**n) * 2))


def paired_difference_interval(both: int, only_one: int, only_other: int, neither: int) -> tuple[float, float]:
    """The 95% interval of the first proportion minus the second, measured on the same examples: so many were right for
    both, for one of the two alone, for neither.

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
    """The p of several tests, enlarged: calling those below 0.05 different makes one or more false alarms in at most
    5% of such tables.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def combined_p(values: Sequence[float]) -> float:
    """One p for several tests of the same hypothesis: twice their median, valid however they depend.

    Source: B. Rüger, "Das maximale Signifikanzniveau des Tests", Metrika 25 (1978).
    """
    return min(1.0, 2 * float(np.median(values))) if len(values) > 1 else float(values[0])


def compare_seeds(one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Two programs trained with the same seeds, bool [seeds, test images]: right or wrong on the same images.

    `difference`: of the mean accuracies, the first minus the second; `difference_interval`: Student's 95% interval over
    the seeds, None for one seed; `p_by_seed`: McNemar's, and `p`: combined. The interval speaks of other seeds on these
    images, p of other images for these trained networks: a difference is shown only where both agree.
    """
    differences = one.mean(1) - other.mean(1)
    by_seed = [mcnemar(*pair) for pair in zip(one, other, strict=True)]
    return {
        "difference": float(differences.mean()),
        "difference_interval": list(mean_interval(differences)) if len(differences) > 1 else None,
        "p": combined_p(by_seed),
        "p_by_seed": by_seed,
    }
