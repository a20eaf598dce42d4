"""Compare the predictions of an exported file with those of the trained model, image by image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from mnist_mlp.models import numpy_forward
from mnist_mlp.models.portable import Array, Layer

ROUNDINGS = 16  # tolerance as a multiple of the float32 rounding error
LEAST_TOLERANCE = 1e-5  # of a probability
LOST = 0.002  # with fewer bits than float32: the share of images that may be lost, correct ones less new errors
MOVED = Fraction(1, 3)  # with fewer bits: images whose class may change, per error of the trained model


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The predictions of an exported file compared with the trained model's, on the same images.

    `tolerance` bounds the difference of every probability; None if the file computes with fewer bits (int8, bfloat16).
    Then accuracy may drop by 0.2% of the images (rounded up), and the number of images that change their class may be a
    third of the trained model's errors (rounded up, at least one): images that rounding moves and images that the model
    gets wrong both lie near a decision boundary.
    """

    agreements: int  # images with the same class
    total: int
    correct: int
    largest_difference: float  # of one probability
    tolerance: float | None
    agrees: bool
    # The first image beyond the tolerance and with another class; else beyond the tolerance; else with another class.
    first_difference: dict[str, Any] | None


def tolerance_of(layers: Sequence[Layer], images: Array) -> float:
    """Return how far two float32 computations of these probabilities may differ.

    Sixteen times the largest difference between float32 and float64 in NumPy, and at least 1e-5. Large weights or raw
    pixels give large logits, hence larger rounding errors and a larger tolerance.
    """
    single, double = (numpy_forward.probabilities(layers, images, dtype) for dtype in ("float32", "float64"))
    return max(LEAST_TOLERANCE, ROUNDINGS * float(np.abs(single - double).max()))


def compare(labels: Array, trained: Array, exported: Array, classes: Array, tolerance: float | None) -> Comparison:
    """Compare an export with the trained model: probabilities [n, 10] of both, and the classes [n] of the export.

    An image agrees if the export's class is the trained model's and has the largest of the export's probabilities.
    """
    expected = trained.argmax(axis=1)
    if exported.shape != trained.shape or classes.shape != expected.shape:
        raise ValueError(f"expected predictions {trained.shape}, received {exported.shape} and {classes.shape}")
    largest = exported[np.arange(len(exported)), np.clip(classes, 0, 9)] >= exported.max(axis=1)  # False for nan
    same = (classes == expected) & largest
    apart = np.abs(exported.astype("float64") - trained).max(axis=1)
    correct = int((classes == labels).sum())
    if tolerance is None:
        beyond = ~same
        before = int((expected == labels).sum())
        may_move = max(1, math.ceil(MOVED * (len(labels) - before)))
        agrees = beyond.sum() <= may_move and before - correct <= math.ceil(LOST * len(labels))
    else:
        beyond = (apart > tolerance) | ~largest
        agrees = not beyond.any()
    telling = next((chosen for chosen in (beyond & ~same, beyond, ~same) if chosen.any()), beyond)
    different = np.flatnonzero(telling)
    return Comparison(
        agreements=int(same.sum()),
        total=len(labels),
        correct=correct,
        largest_difference=float(apart.max()),
        tolerance=tolerance,
        agrees=bool(agrees),
        first_difference=difference(int(different[0]), labels, trained, exported, classes) if len(different) else None,
    )


def difference(image: int, labels: Array, trained: Array, exported: Array, classes: Array) -> dict[str, Any]:
    """Return both predictions for one image, and both probabilities of the class in which they differ the most."""
    ours, theirs = int(trained[image].argmax()), int(classes[image])
    apart = int(np.nan_to_num(np.abs(exported[image] - trained[image]), nan=np.inf).argmax())
    return {
        "image": image,
        "label": int(labels[image]),
        "trained": {"class": ours, "probability": float(trained[image, ours])},
        "export": {"class": theirs, "probability": float(exported[image, theirs])},
        "apart": {"class": apart, "trained": float(trained[image, apart]), "export": float(exported[image, apart])},
    }
