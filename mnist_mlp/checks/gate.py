"""The gate: is a run one of those that its program gives over the seeds, or too bad, or too good, to be one?

A run is held against a reference (reference.py) by the number of test images that it gets right and by the training
loss of each epoch, on both sides. Of right runs the share `--false_alarms` fails, all comparisons taken together
(Bonferroni): half of it goes to the count, half is divided among the epochs, and each part between its two sides.
The losses of a run's epochs rise and fall together, so rather less than that fails.

That holds by the spread that is fitted to the reference's seeds (spread.py). A few hundred of them show what happens to
1 run in 100; what happens to 1 in 10,000 is extrapolated by Student's t, and so are p and what is noticed so far out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp.checks import references
from mnist_mlp.checks.references import Reference
from mnist_mlp.errors import Refuted, UserError

if TYPE_CHECKING:
    from mnist_mlp.config import Config
    from mnist_mlp.data import Dataset
    from mnist_mlp.runs.result import Result

POWERS = (0.5, 0.9, 0.99)  # for these it is stated which loss of accuracy is noticed with that probability
FEW, MANY, HIGH, LOW = "too few right", "too many right", "loss too high", "loss too low"
OTHER_EPOCHS, OTHER_DATA = "another number of epochs", "another number of training images"
ORIGIN = ("options", "train_examples", "test_examples", "first_seed", "seeds", "made")  # of a reference, in a verdict
MEANS = {
    OTHER_DATA: "the numbers below are those of another program",
    OTHER_EPOCHS: "stopped early, or gone on with, which the runs of the reference were not",
    FEW: "learned less than it should, or scored wrongly: weights, test images, labels, counting",
    MANY: "too good to be true: are test images among the training images?",
    HIGH: "learns more slowly than it should: labels, order, gradients, optimizer, initial weights",
    LOW: "learns faster than it should: more or other images, more steps, another loss",
}


Judge = Callable[["Result"], dict[str, Any]]


def watch(config: Config, dataset: Dataset) -> Judge:
    """A function that gives the verdict on a result of that config and data set; {} where there is no `--gate`.

    Raises `UserError`, before anything is trained, where there is no reference for it.
    """
    if not config.gate:
        return lambda result: {}
    gate = Gate(references.find(config, dataset.name), config.false_alarms)
    if len(dataset.test) != gate.reference.test_examples:
        raise UserError(
            f"--gate: expected the {gate.reference.test_examples:,} test images of {dataset.name}, "
            f"received {len(dataset.test):,}; leave --gate out"
        )

    def judge(result: Result) -> dict[str, Any]:
        losses = [math.nan if row["loss"] is None else row["loss"] for row in result.epochs]
        return gate.verdict(result.test["correct"], losses, result.dataset["train_examples"])

    return judge


def refuse(result: Result, run_dir: str) -> None:
    """How a program ends: raises `Refuted` where the result failed; of several workers only the chief's says so."""
    if result.gate and not result.gate["passed"] and result.device["worker_index"] == 0:
        raise Refuted(f"the gate failed: {', '.join(result.gate['found'])}; the run is kept in {run_dir}")


@dataclasses.dataclass(frozen=True)
class Gate:
    """A reference, and the share of right runs that may fail."""

    reference: Reference
    false_alarms: float

    def verdict(self, right: int, losses: Sequence[float], train_examples: int) -> dict[str, Any]:
        """Of a run with so many test images right and these mean losses (nats), an epoch each. JSON values.

        "passed"; "p": the share of right runs as far out as this one, at most; "found": what is out, and what that may
        mean; "right": the count observed, expected (mean and sd), accepted (the lowest and the highest) and its p,
        two-sided and on its own; "losses": the same of each epoch; "p_losses": of all of these; "noticed": see there.
        """
        epochs = len(self.reference.losses)
        counted, learned = self.count(right), [self.loss(*each) for each in enumerate(losses[:epochs])]
        p_losses = min([1.0, *(epochs * row["p"] for row in learned)])
        p = min(1.0, 2 * counted["p"], 2 * p_losses)
        found = [row["out"] for row in (counted, *learned) if row["out"]]
        if len(losses) != epochs:
            found.append(OTHER_EPOCHS)
        if train_examples != self.reference.train_examples:
            found.append(OTHER_DATA)
        return {
            "passed": not found,
            "p": p,
            "false_alarms": self.false_alarms,
            "found": {kind: means for kind, means in MEANS.items() if kind in found},
            "right": counted,
            "losses": learned,
            "p_losses": p_losses,
            "noticed": {f"{power:g}": self.noticed(power) for power in POWERS},
            "train_examples": train_examples,
            "reference": {name: getattr(self.reference, name) for name in ORIGIN},
        }

    def count(self, right: int) -> dict[str, Any]:
        """The row of the count. The wrong images are whole numbers; each stands for what lies within half of one."""
        total, spread = self.reference.test_examples, self.reference.wrong
        wrong, share = total - right, self.false_alarms / 4
        few, many = spread.above(wrong), spread.below(wrong + 1)  # the spread is of wrong + 1/2
        most, least = self.most_wrong, max(0, math.ceil(spread.exceeded_by(1 - share) - 1))
        return {
            "observed": right,
            "expected": self.reference.right["mean"],
            "sd": self.reference.right["sd"],
            "accepted": [total - most, total - least],
            "p": min(1.0, 2 * few, 2 * many),
            "out": FEW if wrong > most else MANY if wrong < least else "",
        }

    @property
    def most_wrong(self) -> int:
        """How many test images may be wrong."""
        return min(self.reference.test_examples, math.floor(self.reference.wrong.exceeded_by(self.false_alarms / 4)))

    def loss(self, epoch: int, observed: float) -> dict[str, Any]:
        """The row of an epoch, counted from 0."""
        known, spread = self.reference.losses[epoch], self.reference.epochs[epoch]
        share = self.false_alarms / 4 / len(self.reference.losses)
        low, high = spread.exceeded_by(1 - share), spread.exceeded_by(share)
        return {
            "epoch": epoch + 1,
            "observed": observed,
            "expected": known["mean"],
            "sd": known["sd"],
            "accepted": [low, high],
            "p": min(1.0, 2 * spread.above(observed), 2 * spread.below(observed)),
            "out": LOW if observed < low else "" if observed <= high else HIGH,  # HIGH also for nan
        }

    def noticed(self, power: float) -> float:
        """The smallest loss of accuracy, from 0 to 1, that the count notices with that probability.

        A run that gets d images fewer right than it would fails where so many more are wrong than may be: where its own
        wrong ones exceed what is accepted less d, which the reference knows the probability of.
        """
        reached = math.floor(self.reference.wrong.exceeded_by(power))
        return max(0, self.most_wrong + 1 - reached) / self.reference.test_examples
