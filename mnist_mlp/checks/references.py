"""The shipped references: how the results of right runs are spread over the seeds, and how they were made.

references.json holds them, summed up by make_references.py from a hundred seeds or more for each.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.config import RECIPE, Config
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import DAMAGED, read_json
from mnist_mlp.options import tagged
from mnist_mlp.stats.tails import Spread, rounded

FILE = Path(__file__).with_name("references.json")
DECIDING = tuple(  # a reference names its data set beside them; `find` refuses early stopping
    name for name in tagged(Config, affects="result") if name not in ("dataset", "early_stopping")
)
QUANTILES = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
FEWEST = 100  # seeds of a reference


@dataclasses.dataclass(frozen=True)
class Reference:
    """One reference, as it stands in the file."""

    options: dict[str, Any]  # dataset and those of DECIDING
    learning_rate: float  # the optimizer's own, where the options have None
    train_examples: int
    test_examples: int
    first_seed: int
    seeds: int
    right: dict[str, Any]  # test images: mean, sd, quantiles; spread: of the number of wrong ones, plus ½
    losses: list[dict[str, Any]]  # the same of the mean training loss of each epoch, in nats
    made: dict[str, Any]  # command, date, device, backend, versions

    @functools.cached_property
    def wrong(self) -> Spread:
        """How the number of test images that are wrong, plus ½, is spread."""
        return Spread.from_dict(self.right["spread"])

    @functools.cached_property
    def epochs(self) -> list[Spread]:
        """How the loss of each epoch is spread."""
        return [Spread.from_dict(epoch["spread"]) for epoch in self.losses]

    def differing(self, config: Config, dataset: str) -> list[str]:
        """The names of the options that this reference was not made with."""
        wanted = {**self.options, "learning_rate": self.rate(self.options["learning_rate"])}
        has = {**{name: getattr(config, name) for name in DECIDING}, "dataset": dataset}
        has["learning_rate"] = self.rate(has["learning_rate"])
        return [name for name, value in wanted.items() if has[name] != value]

    def rate(self, given: float | None) -> float:
        """A learning rate as a number, where it may have been left to the optimizer."""
        return self.learning_rate if given is None and self.options["learning_rate"] is None else given or 0.0


def summary(rows: Sequence[dict[str, Any]], made: dict[str, Any]) -> Reference:
    """The reference of raw results, one row for each seed, as make_references.py writes them."""
    first, seeds = rows[0], sorted(row["seed"] for row in rows)
    right = np.array([row["right"] for row in rows])
    losses = np.array([row["losses"] for row in rows])
    return Reference(
        options=first["options"],
        learning_rate=first["learning_rate"],
        train_examples=first["train_examples"],
        test_examples=first["total"],
        first_seed=seeds[0],
        seeds=len(seeds),
        right=described(right, Spread.of(first["total"] - right + 0.5, "root")),
        losses=[described(epoch, Spread.of(epoch, "log")) for epoch in losses.T],
        made=made,
    )


def described(values: np.ndarray, spread: Spread) -> dict[str, Any]:
    """Mean, sd and quantiles of some values, and a spread."""
    return {
        "mean": rounded(float(values.mean())),
        "sd": rounded(float(values.std(ddof=1))),
        "quantiles": {f"{q:g}": rounded(float(np.quantile(values, q, method="nearest"))) for q in QUANTILES},
        "spread": dataclasses.asdict(spread),
    }


def read(file: Path = FILE) -> tuple[Reference, ...]:
    """The references in a file, none where there is no file. Raises `UserError` where it is damaged."""
    try:
        references = tuple(Reference(**values) for values in read_json(file)["references"])
    except FileNotFoundError:
        return ()
    except DAMAGED:
        raise UserError(f"{file}: expected references, it is damaged; install mnist_mlp once more") from None
    newer = {name: getattr(Config, name) for name in RECIPE}  # options that came after some of the references
    return tuple(dataclasses.replace(each, options={**newer, **each.options}) for each in references)


def find(config: Config, dataset: str, file: Path = FILE) -> Reference:
    """The reference for a run with those options on that data set. Raises `UserError`, which names the flag that
    differs, where there is none."""
    if config.early_stopping is not None:
        raise UserError("--gate: expected a run of all its epochs, received --early_stopping; leave one of them out")
    there = read(file)
    same_set = [reference for reference in there if reference.options["dataset"] == dataset]
    if not same_set:
        names = sorted({reference.options["dataset"] for reference in there})
        raise UserError(f"--gate: expected one of the data sets {', '.join(names) or '(none)'}; received {dataset}")
    differences = {id(reference): reference.differing(config, dataset) for reference in same_set}
    nearest = min(same_set, key=lambda each: ("model" in differences[id(each)], len(differences[id(each)])))
    differing = differences[id(nearest)]
    if not differing:
        return nearest
    if "model" in differing:
        models = ", ".join(dict.fromkeys(reference.options["model"] for reference in same_set))
        wanted, has, remedy = f"one of the models {models}", f"--model={config.model}", "type one of them"
    else:
        wanted, has = flags(nearest.options, differing), flags(config.to_dict(), differing)
        remedy = f"type {wanted}" if "no --" not in wanted else f"leave {has} out"
    others = [name for name in DECIDING if getattr(config, name) != getattr(Config, name)]
    if config.preset in ("speedrun", "best"):  # whose options nobody has typed
        has, remedy = f"--preset={config.preset}", "leave --gate out"
    options = f"--dataset={dataset} {flags(config.to_dict(), others)}".rstrip()
    command = f"python -m mnist_mlp.checks.make_references {options}"
    raise UserError(f"--gate: on {dataset} expected {wanted}, received {has}; {remedy}, or make a reference: {command}")


def flags(values: Mapping[str, Any], names: Sequence[str]) -> str:
    """Options as one types them."""
    return " ".join(f"--{name}={values[name]}" if values[name] is not None else f"no --{name}" for name in names)
