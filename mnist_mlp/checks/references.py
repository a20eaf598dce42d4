"""The shipped references: the distribution of correct runs' results over the seeds, and how it was made.

make_references.py writes them to references.json, each from a hundred seeds or more.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.config import Config
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
    """One reference, with the keys that it has in the file."""

    options: dict[str, Any]  # the dataset, and the options in DECIDING
    learning_rate: float  # the optimizer's default if the options have None
    train_examples: int
    test_examples: int
    first_seed: int
    seeds: int
    right: dict[str, Any]  # correct test images: mean, sd, quantiles; "spread": of the errors, plus ½
    losses: list[dict[str, Any]]  # the same for the mean training loss of each epoch, in nats
    made: dict[str, Any]  # command, date, device, backend, versions

    @functools.cached_property
    def errors(self) -> Spread:
        """The distribution of the number of errors on the test images, plus ½."""
        return Spread.from_dict(self.right["spread"])

    @functools.cached_property
    def epochs(self) -> list[Spread]:
        """The distribution of each epoch's loss."""
        return [Spread.from_dict(epoch["spread"]) for epoch in self.losses]

    def differing(self, config: Config, dataset: str) -> list[str]:
        """Return the names of the options in which a run differs from this reference."""
        wanted = {**self.options, "learning_rate": self.rate(self.options["learning_rate"])}
        has = {**{name: getattr(config, name) for name in DECIDING}, "dataset": dataset}
        has["learning_rate"] = self.rate(has["learning_rate"])
        return [name for name, value in wanted.items() if has[name] != value]

    def rate(self, given: float | None) -> float:
        """Return a learning rate as a number; None stands for the optimizer's default."""
        return self.learning_rate if given is None and self.options["learning_rate"] is None else given or 0.0


def summary(rows: Sequence[dict[str, Any]], made: dict[str, Any]) -> Reference:
    """Return the reference of raw results, one row per seed as make_references.py writes them."""
    first, seeds = rows[0], sorted(row["seed"] for row in rows)
    correct = np.array([row["right"] for row in rows])
    losses = np.array([row["losses"] for row in rows])
    return Reference(
        options=first["options"],
        learning_rate=first["learning_rate"],
        train_examples=first["train_examples"],
        test_examples=first["total"],
        first_seed=seeds[0],
        seeds=len(seeds),
        right=described(correct, Spread.of(first["total"] - correct + 0.5, "root")),
        losses=[described(epoch, Spread.of(epoch, "log")) for epoch in losses.T],
        made=made,
    )


def described(values: np.ndarray, spread: Spread) -> dict[str, Any]:
    """Return the mean, sd and quantiles of some values, and a fitted spread."""
    return {
        "mean": rounded(float(values.mean())),
        "sd": rounded(float(values.std(ddof=1))),
        "quantiles": {f"{q:g}": rounded(float(np.quantile(values, q, method="nearest"))) for q in QUANTILES},
        "spread": dataclasses.asdict(spread),
    }


def read(file: Path = FILE) -> tuple[Reference, ...]:
    """Return the references in a file, none if there is no file. Raise `UserError` if it is damaged."""
    try:
        references = tuple(Reference(**values) for values in read_json(file)["references"])
    except FileNotFoundError:
        return ()
    except DAMAGED:
        raise UserError(f"{file}: the references are damaged; reinstall mnist_mlp") from None
    return tuple(dataclasses.replace(each, options=completed(each.options)) for each in references)


def completed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a reference, with the defaults of those that are younger than it."""
    return {**{name: getattr(Config, name) for name in DECIDING}, **options}


def find(config: Config, dataset: str, file: Path = FILE) -> Reference:
    """Return the reference for a run with those options on that data set.

    Raise `UserError`, which names the flag that differs, if there is none.
    """
    if config.early_stopping is not None:
        raise UserError("--gate cannot be combined with --early_stopping; use only one of the two")
    known = read(file)
    same_set = [reference for reference in known if reference.options["dataset"] == dataset]
    if not same_set:
        names = sorted({reference.options["dataset"] for reference in known})
        raise UserError(f"--gate: expected one of the data sets {', '.join(names) or '(none)'}, received {dataset}")
    differences = {id(reference): reference.differing(config, dataset) for reference in same_set}
    nearest = min(same_set, key=lambda each: ("model" in differences[id(each)], len(differences[id(each)])))
    differing = differences[id(nearest)]
    if not differing:
        return nearest
    if "model" in differing:
        models = ", ".join(dict.fromkeys(reference.options["model"] for reference in same_set))
        wanted, has, remedy = f"one of the models {models}", f"--model={config.model}", "try one of them"
    else:
        wanted, has = flags(nearest.options, differing), flags(config.to_dict(), differing)
        remedy = f"try {wanted}" if "no --" not in wanted else f"remove {has}"
    others = [name for name in DECIDING if getattr(config, name) != getattr(Config, name)]
    if config.preset in ("speedrun", "best", "robust"):  # whose options nobody has typed
        has, remedy = f"--preset={config.preset}", "run without --gate"
    options = f"--dataset={dataset} {flags(config.to_dict(), others)}".rstrip()
    command = f"python -m mnist_mlp.training.make_references {options}"
    raise UserError(f"--gate: on {dataset} expected {wanted}, received {has}; {remedy}, or make a reference: {command}")


def flags(values: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return options as a command line has them."""
    return " ".join(f"--{name}={values[name]}" if values[name] is not None else f"no --{name}" for name in names)
