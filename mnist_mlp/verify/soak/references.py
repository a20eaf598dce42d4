"""Find where two devices differ, each of which repeats itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnist_mlp.verify import bits
from mnist_mlp.verify.soak import gradients


def first_difference(right: Path, wrong: Path) -> str:
    """Return the first difference between the files in which two devices wrote what they have at each point."""
    with np.load(right) as one, np.load(wrong) as other:
        return located(by_point(dict(one)), by_point(dict(other)))


def located(right: list[dict[str, np.ndarray]], wrong: list[dict[str, np.ndarray]]) -> str:
    for number, (one, other) in enumerate(zip(right, wrong, strict=True)):
        if difference := bits.difference(one, other):
            single = 0 < number < len(right) - 1  # one step leads there
            gradient = gradients.explain(right[number - 1], one, other) if single else None
            return "; ".join(map(str, filter(None, (difference, gradient))))
    return "they are equal now"


def by_point(arrays: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Return the values of each point by name; the names in the file begin with the number of the point."""
    points: dict[int, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        number, _, name = key.partition(" ")
        points.setdefault(int(number), {})[name] = value
    return [points[number] for number in sorted(points)]
