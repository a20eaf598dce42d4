"""What a confusion matrix says: accuracy with its interval, and a row for each class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


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
