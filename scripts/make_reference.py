#!/usr/bin/env python3
"""Makes the reference that `train --gate` holds a run against, or measures how often right runs fail at the gate.

Trains with --seeds seeds from --first_seed on. What each came to is added to --output, a line of JSON for each; seeds
that are there already are not trained again, so a command that was interrupted goes on. Then their summary is put into
--references, in place of one with the same options.

With --check nothing is summed up: the seeds, which must be others than those of the reference, are held against it.
Printed is how many fail, by chance alone, and how many if as many images less were right as the gate says it notices.

Every other flag is one of `python -m mnist_mlp.train`: --preset, --dataset, --model, --data_dir, --backend and so on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mnist_mlp import data, devices
from mnist_mlp.checks import gate, references
from mnist_mlp.checks.gate import Gate
from mnist_mlp.checks.references import DECIDING, FEWEST, Reference, flags
from mnist_mlp.cli import program
from mnist_mlp.cli.flags import given_flags, with_preset
from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.config import PRESETS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic

RATES = (0.05, 0.01, 1e-4)  # of false alarms, for --check
Row = dict[str, Any]  # what one seed came to


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--first_seed", type=int, help="the first of them (default: 1000, with --check 5000)")
    parser.add_argument(
        "--output", type=Path, default=Path("references.jsonl"), help="file of the raw results (default: %(default)s)"
    )
    parser.add_argument(
        "--references", type=Path, default=references.FILE, help="file of the summaries (default: the shipped one)"
    )
    parser.add_argument("--check", action="store_true", help="hold fresh seeds against the reference that is there")
    try:
        arguments, rest = parser.parse_known_args(argv)
    finally:
        sys.stdout.flush()  # the help
    config = with_preset(PRESETS, given_flags(Config, rest, program="train", about=__doc__))
    first = arguments.first_seed if arguments.first_seed is not None else 5000 if arguments.check else 1000
    seeds = range(first, first + arguments.seeds)
    dataset = data.load(config)
    if arguments.check:
        found = references.find(config, dataset.name, arguments.references)
        if set(seeds) & set(range(found.first_seed, found.first_seed + found.seeds)):
            raise UserError(f"--first_seed={first}: expected seeds that are not the reference's; type another one")
        print(checked(found, list(results(config, dataset, seeds, arguments.output))))
        return
    if len(seeds) < FEWEST:
        raise UserError(f"--seeds={len(seeds)}: expected {FEWEST} or more; type --seeds={FEWEST}")
    made = summed_up(config, list(results(config, dataset, seeds, arguments.output)))
    put(made, arguments.references)
    print(f"{arguments.references}: {made.right['mean']:,.1f} ± {made.right['sd']:.1f} right of {made.test_examples:,}")


def results(config: Config, dataset: data.Dataset, seeds: range, output: Path) -> Iterator[Row]:
    """The row of each seed: from the file where it is there, else trained now and added to it.

    Raises `UserError` where the versions of the packages are not the same for all.
    """
    plan = devices.plan(config)
    options = {"dataset": dataset.name} | {name: getattr(config, name) for name in DECIDING}
    there = {
        row["seed"]: row for row in rows_of(output) if row["options"] == options and row["backend"] == plan.backend
    }
    train = first = None
    for seed in seeds:
        row = there.get(seed)
        if row is None:
            train = train or trainer(config, plan, dataset)
            row = {"options": options, "seed": seed, **train(seed), "date": time.strftime("%Y-%m-%d")}
        first = first or row
        if row["versions"] != first["versions"]:
            raise UserError(mixed(first, row, output))
        if seed not in there:
            with open(output, "a") as file:
                file.write(json.dumps(row) + "\n")
            if sys.stderr.isatty():
                print(f"seed {seed} of {seeds[-1]}: {row['right']:,} right", end="\r", file=sys.stderr)
        yield row


def mixed(one: Row, other: Row, output: Path) -> str:
    """What to say of two rows that other versions made."""
    before, now = one["versions"], other["versions"]
    differing = [name for name in before | now if before.get(name) != now.get(name)]
    received = ", ".join(f"{name} {before.get(name)} and {now.get(name)}" for name in differing)
    seeds = f"seeds {one['seed']} and {other['seed']}"
    return f"--output={output}: expected one version for all seeds, received {received} ({seeds}); name another file"


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a raw file, but for a line that a killed process left unfinished."""
    if path.exists():
        *lines, rest = path.read_text().split("\n")
        if rest:
            atomic.write_text(path, "".join(f"{line}\n" for line in lines))
        yield from map(json.loads, lines)


def trainer(config: Config, plan: devices.Plan, dataset: data.Dataset) -> Any:
    """A function that trains with a seed, on a network compiled once, and gives what `train` would have come to."""
    refused = {
        f"--engine={config.engine}": config.engine == "fit",
        f"--strategy={config.strategy}": bool(plan.workers),
        f"--validation_fraction={config.validation_fraction:g}": config.validation_fraction > 0,
    }
    if others := " ".join(flag for flag, given in refused.items() if given):
        raise UserError(
            f"expected one process, the compiled engine and all training images, received {others}; leave {others} out"
        )
    os.environ.update(plan.environment)
    with defer_signals():
        from mnist_mlp.engine.base import Recipe
        from mnist_mlp.models import networks
        from mnist_mlp.runs.result import versions
        from mnist_mlp.training import optimizers
        from mnist_mlp.training.multi_seed import MultiSeedTrainer
    make_model = partial(networks.build, config.model, pixels=config.pixels, precision=config.precision)
    make_optimizer = partial(optimizers.of_config, config, math.ceil(len(dataset.train) / config.batch_size))
    recipe = Recipe(config.augment, config.label_smoothing)
    trainer = MultiSeedTrainer(plan, make_model, make_optimizer, dataset, config.batch_size, recipe)

    def train(seed: int) -> Row:
        curve, counts = trainer.fit(seed, config.epochs), trainer.test()
        return {
            "right": counts.correct,
            "total": counts.total,
            "test_loss": counts.loss_sum / counts.total,
            "losses": curve.losses.tolist(),
            "accuracies": curve.accuracy.tolist(),
            "train_examples": len(dataset.train),
            "backend": plan.backend,
            "device": trainer.engine.devices.name,
            "versions": versions(plan.backend),
            "learning_rate": optimizers.peak_rate(trainer.engine.optimizer),
        }

    return train


def summed_up(config: Config, rows: list[Row]) -> Reference:
    """The reference of those results, with how it came about."""
    first, seeds = rows[0], [row["seed"] for row in rows]
    others = [name for name in DECIDING if getattr(config, name) != getattr(Config, name)]
    options = flags(first["options"], ["dataset", *others])
    made = {
        "command": f"scripts/make_reference.py {options} --seeds={len(seeds)} --first_seed={seeds[0]}",
        "date": max(row["date"] for row in rows),
        **{name: first[name] for name in ("backend", "device", "versions")},
    }
    return references.summary(rows, made)


def put(made: Reference, path: Path) -> None:
    """Puts a reference among those of a file."""
    there = [known for known in references.read(path) if known.options != made.options]
    defaults = {"dataset": "digits"} | {name: getattr(Config, name) for name in DECIDING}

    def place(known: Reference) -> tuple[str, int, str]:
        """The plain ones of a data set come first."""
        others = sum(known.options[name] != value for name, value in defaults.items())
        return known.options["dataset"], others, json.dumps(known.options)

    ordered = sorted([*there, made], key=place)
    atomic.write_json(path, {"references": [dataclasses.asdict(known) for known in ordered]})


def checked(found: Reference, rows: list[Row]) -> str:
    """How many of the results fail, in words, at each of RATES."""
    lines = [f"{len(rows)} seeds from {rows[0]['seed']} held against {found.seeds} from {found.first_seed}; failed:"]
    for rate in RATES:
        judge = Gate(found, rate)
        failed = [list(judge.verdict(row["right"], row["losses"], row["train_examples"])["found"]) for row in rows]
        counts = {kind: sum(kind in each for each in failed) for kind in (gate.FEW, gate.MANY, gate.HIGH, gate.LOW)}
        told = ", ".join(f"{kind} {count}" for kind, count in counts.items() if count)
        share = sum(map(bool, failed)) / len(rows)
        lines.append(f"  at {100 * rate:g}%: {sum(map(bool, failed))} = {100 * share:.3g}%" + f" ({told})" * bool(told))
        noticed = {}
        for power in gate.POWERS:
            less = round(judge.noticed(power) * found.test_examples)
            share = sum(judge.count(max(0, row["right"] - less))["out"] == gate.FEW for row in rows) / len(rows)
            noticed[less] = f"{less} right less: noticed in {100 * share:.3g}% (stated: {100 * power:g}%)"
        lines.append("    " + ", ".join(noticed.values()))
    return "\n".join(lines)


if __name__ == "__main__":
    program.run(lambda argv: main(list(argv)))
