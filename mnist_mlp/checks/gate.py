"""The gate: compare a run's result with the distribution over seeds of correct runs; too bad fails, too good as well.

Two statistics are compared with the reference (references.py), both two-sided: the number of correct test images, and
the training loss of each epoch. A correct run fails with probability `--false_alarms` over all comparisons together
(Bonferroni): half of that goes to the count, half is split evenly between the epochs, and each part between its two
sides. The losses of a run's epochs are correlated, so the actual rate is lower.

The rate relies on the distribution fitted to the reference's seeds (stats/tails.py). A few hundred seeds show what
happens to 1 run in 100; what happens to 1 in 10,000 is extrapolated by Student's t, and so are p and the power.
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

POWERS = (0.5, 0.9, 0.99)  # the verdict states which loss of accuracy is detected with each probability
FEW, MANY, HIGH, LOW = "too few right", "too many right", "loss too high", "loss too low"
OTHER_EPOCHS, OTHER_DATA = "another number of epochs", "another number of training images"
ORIGIN = ("options", "train_examples", "test_examples", "first_seed", "seeds", "made")  # of the reference, in a verdict
MEANS = {
    OTHER_DATA: "the comparisons below are with another program",
    OTHER_EPOCHS: "stopped early, or trained for longer, unlike the runs of the reference",
    FEW: "learned less than it should, or was scored incorrectly: weights, test images, labels, counting",
    MANY: "too good to be true: are test images among the training images?",
    HIGH: "learns more slowly than it should: labels, order, gradients, optimizer, initial weights",
    LOW: "learns faster than it should: more or other images, more steps, another loss",
}


Judge = Callable[["Result"], dict[str, Any]]


def watch(config: Config, dataset: Dataset) -> Judge:
    """Return a function that gives the verdict on the run's result; {} without `--gate`.

    Raise `UserError`, before anything is trained, if there is no reference for the run.
    """
    if not config.gate:
        return lambda result: {}
    gate = Gate(references.find(config, dataset.name), config.false_alarms)
    if len(dataset.test) != gate.reference.test_examples:
        raise UserError(
            f"--gate: expected the {gate.reference.test_examples:,} test images of {dataset.name}, "
            f"received {len(dataset.test):,}; run without --gate"
        )

    def judge(result: Result) -> dict[str, Any]:
        losses = [math.nan if row["loss"] is None else row["loss"] for row in result.epochs]
        return gate.verdict(result.test["correct"], losses, result.dataset["train_examples"])

    return judge


def refuse(result: Result, run_dir: str) -> None:
    """End a program: raise `Refuted` if the result failed the gate. Of several workers, only the chief does."""
    if result.gate and not result.gate["passed"] and result.device["worker_index"] == 0:
        raise Refuted(f"the gate failed: {', '.join(result.gate['found'])}; the run is kept in {run_dir}")


@dataclasses.dataclass(frozen=True)
class Gate:
    """A reference, and the share of correct runs that may fail."""

    reference: Reference
    false_alarms: float

    def verdict(self, correct: int, losses: Sequence[float], train_examples: int) -> dict[str, Any]:
        """Return the verdict on a run, as JSON values.

        `correct` counts its correct test images, `losses` are its mean training losses in nats, one per epoch.

        "passed"; "p": share of correct runs at least as far out as this one, an upper bound; "found": what is out of
        bounds, and what that may mean; "right": the count observed, expected (mean and sd), accepted (lowest and
        highest) and its own two-sided p; "losses": the same for each epoch; "p_losses": p of all epochs together;
        "noticed": see `noticed`.
        """
        epochs = len(self.reference.losses)
        counted, learned = self.count(correct), [self.loss(*each) for each in enumerate(losses[:epochs])]
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

    def count(self, correct: int) -> dict[str, Any]:
        """Return the row of the count. The distribution is continuous, so an integer number of errors stands for the
        interval within ½ of it."""
        total, spread = self.reference.test_examples, self.reference.errors
        errors, share = total - correct, self.false_alarms / 4
        few, many = spread.above(errors), spread.below(errors + 1)  # the spread is of errors + 1/2
        most, least = self.most_errors, max(0, math.ceil(spread.exceeded_by(1 - share) - 1))
        return {
            "observed": correct,
            "expected": self.reference.right["mean"],
            "sd": self.reference.right["sd"],
            "accepted": [total - most, total - least],
            "p": min(1.0, 2 * few, 2 * many),
            "out": FEW if errors > most else MANY if errors < least else "",
        }

    @property
    def most_errors(self) -> int:
        """The largest number of errors that passes."""
        return min(self.reference.test_examples, math.floor(self.reference.errors.exceeded_by(self.false_alarms / 4)))

    def loss(self, epoch: int, observed: float) -> dict[str, Any]:
        """Return the row of an epoch, counted from 0."""
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
            "out": LOW if observed < low else "" if observed <= high else HIGH,  # nan is HIGH
        }

    def noticed(self, power: float) -> float:
        """Return the smallest loss of accuracy, from 0 to 1, that the count detects with that probability.

        Losing d correct images fails the gate if the run's own errors exceed the limit minus d; how often they do is
        known from the reference.
        """
        reached = math.floor(self.reference.errors.exceeded_by(power))
        return max(0, self.most_errors + 1 - reached) / self.reference.test_examples
