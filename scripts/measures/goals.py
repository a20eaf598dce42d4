"""to98, to99: from process start to a model that is right on so many test images, and with how many seeds it is."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from functools import partial

from measures.programs import PROGRAMS, Asked, Program, run_ours
from measures.running import Case, Figures, Series, alternate
from measures.steps import OURS
from measures.tables import column, markdown, spread
from mnist_mlp.config import PRESETS
from mnist_mlp.errors import UserError

SHARE = 0.95  # of the seeds that must reach it


@dataclasses.dataclass(frozen=True)
class Goal:
    accuracy: float
    preset: str
    flags: tuple[str, ...] = ()  # over the preset's


GOALS = {
    "to98": Goal(0.98, "speedrun"),
    "to99": Goal(0.99, "best", ("--epochs=20", "--learning_rate=0.003")),  # chosen on a validation split
}


def check(name: str, real: bool) -> None:
    """Raises `UserError` where the preset of a goal is not there, or there is no `real` MNIST."""
    goal = GOALS[name]
    if not real:
        raise UserError(f"{name}: expected MNIST, received random images; use --data_dir=DIR")
    if goal.preset not in PRESETS:
        raise UserError(f"{name}: this version has no preset {goal.preset}, only {', '.join(PRESETS)}; omit {name}")


def measure(name: str, asked: Asked) -> list[Series]:
    """Each seed as a process of its own: as many times are measured as accuracies."""
    flags = [f"--preset={GOALS[name].preset}", *GOALS[name].flags]
    for program in asked.chosen(OURS):
        once(program, asked, flags, 0)  # what is measured is a later run
    cases = [Case({"program": program.name}, partial(once, program, asked, flags)) for program in asked.chosen(OURS)]
    return alternate(cases, asked.seeds, asked.say)


def once(program: Program, asked: Asked, flags: Sequence[str], number: int) -> Figures:
    return run_ours(program, asked, [*flags, f"--seed={number}"])


def table(name: str, found: Sequence[Series]) -> str:
    goal = GOALS[name]
    rows = []
    for series in found:
        accuracies = column(series, "accuracy", 100)
        mean, sd = statistics.mean(accuracies), statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        rows.append(
            [
                PROGRAMS[series["program"]].label,
                told(accuracies, 100 * goal.accuracy),
                f"{mean:.2f}% ± {sd:.2f}, {min(accuracies):.2f}–{max(accuracies):.2f}",
                spread(column(series, "process"), "s"),
                spread(column(series, "train"), "s"),
            ]
        )
    flags = " ".join([f"--preset={goal.preset}", *goal.flags])
    head = ["program", f"seeds that reach {100 * goal.accuracy:g}%", "accuracy", "whole process", "training"]
    return f"`{flags}`, seeds from 0 on\n\n{markdown(head, rows)}"


def told(accuracies: Sequence[float], goal: float) -> str:
    """How many reach it, and whether these are enough."""
    reached = sum(accuracy >= goal - 1e-9 for accuracy in accuracies)  # 98.00000000000001 is what 0.98 · 100 may be
    enough = "enough" if reached >= SHARE * len(accuracies) else "too few"
    return f"{reached} of {len(accuracies)}, {enough}"
