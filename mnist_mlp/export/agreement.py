"""Whether an exported file predicts what the trained model predicts, image by image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from mnist_mlp.models import numpy_forward
from mnist_mlp.models.portable import Array, Layer

ROUNDINGS = 16  # how many times the error of one float32 computation another one may deviate
LEAST_TOLERANCE = 1e-5  # in probability
LOST = 0.002  # where a format computes in fewer bits: share of the images by which fewer may be right
MOVED = Fraction(1, 3)  # images whose class may change there, per image that the trained model has wrong


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An exported file beside the trained model, on the same images.

    `tolerance` bounds every probability's difference; None where fewer bits are computed with (int8, bfloat16). There
    the images right no longer, less those newly right, may be 0.2% of all, rounded up; and a third as many images as
    the trained model has wrong, rounded up and at least one, may change their class: what rounding moves, and what is
    wrong, are images near a boundary.
    """

    agreements: int  # images with the same class
    total: int
    correct: int
    largest_difference: float  # of one probability
    tolerance: float | None
    agrees: bool
    first_difference: dict[str, Any] | None  # the first image beyond the tolerance, or with another class


def tolerance_of(layers: Sequence[Layer], images: Array) -> float:
    """How far a float32 computation of these probabilities may be from another one.

    Measured: sixteen times the largest difference between float32 and float64 in NumPy, and at least 1e-5. So it is
    wider where large weights or raw pixels make the logits large, as float32 rounding is.
    """
    single, double = (numpy_forward.probabilities(layers, images, dtype) for dtype in ("float32", "float64"))
    return max(LEAST_TOLERANCE, ROUNDINGS * float(np.abs(single - double).max()))


def compare(labels: Array, trained: Array, exported: Array, classes: Array, tolerance: float | None) -> Comparison:
    """Holds an export against the trained model: probabilities [n, 10] of both, and the classes [n] of the export.

    An image agrees where the export's class is the trained model's and has the largest of the export's probabilities.
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
        right = int((expected == labels).sum())
        may_move = max(1, math.ceil(MOVED * (len(labels) - right)))
        agrees = beyond.sum() <= may_move and right - correct <= math.ceil(LOST * len(labels))
    else:
        beyond = (apart > tolerance) | ~largest
        agrees = not beyond.any()
    different = np.flatnonzero(beyond if beyond.any() else ~same)
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
    """What both say of one image."""
    ours, theirs = int(trained[image].argmax()), int(classes[image])
    return {
        "image": image,
        "label": int(labels[image]),
        "trained": {"class": ours, "probability": float(trained[image, ours])},
        "export": {"class": theirs, "probability": float(exported[image, theirs])},
    }
