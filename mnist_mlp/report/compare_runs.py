"""Runs held against each other on the test images that they share."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.report.content import Material
from mnist_mlp.stats.metrics import holm, mcnemar, paired_difference_interval

ALPHA = 0.05  # what is called shown


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two runs on the same images. The difference is of their accuracies, the first minus the second."""

    one: str
    other: str
    only_one: int  # images that only the first recognises
    only_other: int
    images: int
    difference: float
    interval: tuple[float, float]  # of the difference, 95%, paired
    p: float  # McNemar's, exact
    p_holm: float = 1.0  # after Holm's correction for all pairs

    def in_words(self) -> str:
        """What may be concluded."""
        if self.p >= ALPHA:
            return f"No difference is shown: chance alone gives as much in {100 * self.p:.0f}% of such cases."
        if self.p_holm >= ALPHA:
            return "No difference is shown: among so many comparisons chance alone gives as much too often."
        better, worse = (self.one, self.other) if self.difference > 0 else (self.other, self.one)
        return f"{better} is better than {worse} on such images."


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The runs; the pairs of them that can be tested; and why the others cannot."""

    runs: list[Material]
    pairs: list[Pair]
    left_out: list[str]


def compare(runs: Sequence[Material], hashes: Sequence[str]) -> Comparison:
    """All pairs of runs. `hashes` are of the test images in their order: where they differ, so do the images."""
    pairs, left_out = [], []
    for (one, its), (other, others) in itertools.combinations(zip(runs, hashes, strict=True), 2):
        who = f"{one.name} and {other.name}"
        if one.seen is None or other.seen is None:
            missing = one if one.seen is None else other
            left_out.append(f"{who}: no test. {missing.why_not}")
        elif its != others:
            left_out.append(
                f"{who}: no test. McNemar’s needs the same test images in the same order, and these runs have others."
            )
        else:
            pairs.append(pair_of(one.name, other.name, one.seen.right, other.seen.right))
    corrected = holm([pair.p for pair in pairs])
    found = [dataclasses.replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True)]
    return Comparison(list(runs), found, left_out)


def pair_of(one: str, other: str, right: NDArray[np.bool_], others: NDArray[np.bool_]) -> Pair:
    """The test of two runs, by name, and which of the same images each has right."""
    only_one, only_other = int((right & ~others).sum()), int((others & ~right).sum())
    both, neither = int((right & others).sum()), int((~right & ~others).sum())
    n = len(right)
    return Pair(
        *(one, other, only_one, only_other, n, (only_one - only_other) / n),
        paired_difference_interval(both, only_one, only_other, neither),
        mcnemar(right, others),
    )


def remarks(comparison: Comparison) -> list[str]:
    """What must not be overlooked."""
    found = []
    data = {run.result["dataset"]["name"] for run in comparison.runs}
    if len(data) > 1:
        found.append(
            f"These runs have different data ({', '.join(sorted(data))}): their accuracies say nothing of each other."
        )
    elif data != {"mnist"}:
        found.append(f"Measured on {data.pop()}: this is not MNIST accuracy.")
    devices = {(run.result["device"]["actual"], run.result["backend"]) for run in comparison.runs}
    if len(devices) > 1:
        found.append("The seconds are of different devices or frameworks.")
    for run in comparison.runs:
        if not run.counts_agree:
            found.append(
                f"{run.name}: computed again, some images come out otherwise than when the run was scored; the pairs "
                "are of what was computed now."
            )
    return [*found, *comparison.left_out]
