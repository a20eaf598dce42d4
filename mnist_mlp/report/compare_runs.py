"""Compare runs on the same test images: McNemar's test for each pair, with Holm's correction."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data.sets import not_mnist
from mnist_mlp.report.content import RunContent
from mnist_mlp.stats.metrics import holm, mcnemar, paired_difference_interval

ALPHA = 0.05  # significance level


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two runs on the same images. `difference` is the first run's accuracy minus the second's."""

    one: str
    other: str
    only_one: int  # images that only the first run recognizes
    only_other: int
    images: int
    difference: float
    interval: tuple[float, float]  # 95% interval of the difference, for paired data
    p: float  # of McNemar's exact test
    p_holm: float = 1.0  # with Holm's correction for all pairs

    def conclusion(self) -> str:
        """State what the test shows."""
        if self.p >= ALPHA:
            share = f"{100 * self.p:.0f}% of such cases"
            return f"No significant difference: chance alone gives as large a difference in {share}."
        if self.p_holm >= ALPHA:
            return "No significant difference after correction for the number of comparisons."
        better, worse = (self.one, self.other) if self.difference > 0 else (self.other, self.one)
        return f"{better} is significantly better than {worse} on such images."


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The runs, the pairs that can be tested, and messages about the others."""

    runs: list[RunContent]
    pairs: list[Pair]
    left_out: list[str]


def compare(runs: Sequence[RunContent], hashes: Sequence[str]) -> Comparison:
    """Test all pairs of runs. `hashes` identify the test images and their order."""
    pairs, left_out = [], []
    for (one, hash_of_one), (other, hash_of_other) in itertools.combinations(zip(runs, hashes, strict=True), 2):
        names = f"{one.name} and {other.name}"
        if one.predictions is None or other.predictions is None:
            missing = one if one.predictions is None else other
            left_out.append(f"{names} are not tested. {missing.why_not}")
        elif hash_of_one != hash_of_other:
            left_out.append(
                f"{names} are not tested. McNemar’s test needs the same test images in the same order; theirs differ."
            )
        else:
            pairs.append(pair_of(one.name, other.name, one.predictions.correct, other.predictions.correct))
    corrected = holm([pair.p for pair in pairs])
    tested = [dataclasses.replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True)]
    return Comparison(list(runs), tested, left_out)


def pair_of(one: str, other: str, correct: NDArray[np.bool_], other_correct: NDArray[np.bool_]) -> Pair:
    """Test two runs, given their names and which of the same images each classifies correctly."""
    only_one, only_other = int((correct & ~other_correct).sum()), int((other_correct & ~correct).sum())
    both, neither = int((correct & other_correct).sum()), int((~correct & ~other_correct).sum())
    n = len(correct)
    return Pair(
        *(one, other, only_one, only_other, n, (only_one - only_other) / n),
        paired_difference_interval(both, only_one, only_other, neither),
        mcnemar(correct, other_correct),
    )


def remarks(comparison: Comparison) -> list[str]:
    """What a reader must not miss."""
    found = []
    data = {run.result["dataset"]["name"] for run in comparison.runs}
    if len(data) > 1:
        found.append(
            f"These runs have different data ({', '.join(sorted(data))}): their accuracies cannot be compared."
        )
    elif remark := not_mnist(data.pop()):
        found.append(f"{remark[0].upper()}{remark[1:]}.")
    devices = {(run.result["device"]["actual"], run.result["backend"]) for run in comparison.runs}
    if len(devices) > 1:
        found.append("The times were measured on different devices or frameworks.")
    for run in comparison.runs:
        if not run.counts_agree:
            found.append(
                f"{run.name}: some recomputed predictions differ from those of the run; "
                "the tests use the recomputed ones."
            )
    return [*found, *comparison.left_out]
