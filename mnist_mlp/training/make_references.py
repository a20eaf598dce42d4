"""Make a reference for `train --gate`, or measure how often correct runs fail at the gate.

Trains with --seeds seeds, starting at --first_seed. The result of each seed is appended to --output as one line of
JSON; seeds that are in the file are not trained again, so an interrupted command can simply be repeated. A summary of
all seeds is then written to --references and replaces one with the same options.

With --check nothing is written to --references. Instead, fresh seeds (others than those of the reference) are compared
with the reference: the program prints how many fail by chance, and how many would fail if their number of correct
images dropped by what the gate claims to notice.

All other flags are those of train: --preset, --dataset, --model, --data_dir, --backend and so on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mnist_mlp import data, devices
from mnist_mlp.checks import gate, references
from mnist_mlp.checks.gate import Gate
from mnist_mlp.checks.references import DECIDING, FEWEST, Reference, flags
from mnist_mlp.cli import program
from mnist_mlp.cli.flags import called_as, given_flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.config import PRESETS, Config, with_preset
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic

RATES = (0.05, 0.01, 1e-4)  # of false alarms, for --check
NAME = "training.make_references"
Row = dict[str, Any]  # the result of one seed


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=called_as(NAME),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--seeds", type=int, default=200, help="number of seeds (default: %(default)s)")
    parser.add_argument("--first_seed", type=int, help="first seed (default: 1000, with --check 5000)")
    parser.add_argument(
        "--output", type=Path, default=Path("references.jsonl"), help="file of the results (default: %(default)s)"
    )
    parser.add_argument(
        "--references", type=Path, default=references.FILE, help="file of the references (default: the shipped one)"
    )
    parser.add_argument("--check", action="store_true", help="compare fresh seeds with the existing reference")
    try:
        arguments, rest = parser.parse_known_args(argv)
    finally:
        sys.stdout.flush()  # --help exits
    config = with_preset(PRESETS, given_flags(Config, rest, program=NAME, about=__doc__ or ""))
    first = arguments.first_seed if arguments.first_seed is not None else 5000 if arguments.check else 1000
    seeds = range(first, first + arguments.seeds)
    dataset = data.load(config)
    if arguments.check:
        found = references.find(config, dataset.name, arguments.references)
        used = range(found.first_seed, found.first_seed + found.seeds)
        if set(seeds) & set(used):
            raise UserError(f"--first_seed={first}: expected seeds other than the reference's, {used[0]} to {used[-1]}")
        print(checked(found, list(results(config, dataset, seeds, arguments.output))))
        return
    if len(seeds) < FEWEST:
        raise UserError(f"--seeds={len(seeds)}: expected {FEWEST} or more; try --seeds={FEWEST}")
    made = summed_up(config, list(results(config, dataset, seeds, arguments.output)))
    put(made, arguments.references)
    mean, sd = made.right["mean"], made.right["sd"]
    print(f"{arguments.references}: {mean:,.1f} ± {sd:.1f} correct of {made.test_examples:,}")


def results(config: Config, dataset: data.Dataset, seeds: range, output: Path) -> Iterator[Row]:
    """Yield the row of each seed: read from the file `output`, or else trained now and appended to it.

    Raises `UserError` if the rows were made with different versions of the packages.
    """
    plan = devices.plan(config)
    options = {"dataset": dataset.name} | {name: getattr(config, name) for name in DECIDING}
    there = {
        row["seed"]: row
        for row in rows_of(output)
        if references.completed(row["options"]) == options and row["backend"] == plan.backend
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
                print(f"seed {seed} of {seeds[-1]}: {row['right']:,} correct", end="\r", file=sys.stderr)
        yield row


def mixed(one: Row, other: Row, output: Path) -> str:
    """Return the message about two rows that were made with different versions."""
    before, now = one["versions"], other["versions"]
    differing = [name for name in before | now if before.get(name) != now.get(name)]
    received = ", ".join(f"{name} {before.get(name)} and {now.get(name)}" for name in differing)
    seeds = f"seeds {one['seed']} and {other['seed']}"
    return f"--output={output}: expected one version for all seeds, received {received} ({seeds}); use another file"


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of results. A last line that a killed process left incomplete is removed."""
    if path.exists():
        *lines, rest = path.read_text().split("\n")
        if rest:
            atomic.write_text(path, "".join(f"{line}\n" for line in lines))
        yield from map(json.loads, lines)


def trainer(config: Config, plan: devices.Plan, dataset: data.Dataset) -> Any:
    """Return a function that trains with a seed and returns its row: what `train` would report.

    The network is compiled once for all seeds.
    """
    refused = {
        f"--engine={config.engine}": config.engine == "fit",
        f"--strategy={config.strategy}": bool(plan.workers),
        f"--validation_fraction={config.validation_fraction:g}": config.validation_fraction > 0,
    }
    if others := " ".join(flag for flag, given in refused.items() if given):
        raise UserError(
            f"expected one process, the compiled engine and all training images, received {others}; omit {others}"
        )
    load(plan)
    from mnist_mlp.engine.base import Recipe
    from mnist_mlp.models import networks
    from mnist_mlp.runs.result import versions
    from mnist_mlp.training import optimizers
    from mnist_mlp.training.multi_seed import MultiSeedTrainer

    make_model = partial(networks.from_config, config)
    make_optimizer = partial(optimizers.from_config, config, math.ceil(len(dataset.train) / config.batch_size))
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
    """Return the reference that summarizes these rows, with a record of how it was made."""
    first, seeds = rows[0], [row["seed"] for row in rows]
    others = [name for name in DECIDING if getattr(config, name) != getattr(Config, name)]
    options = flags(first["options"], ["dataset", *others])
    made = {
        "command": f"python -m mnist_mlp.{NAME} {options} --seeds={len(seeds)} --first_seed={seeds[0]}",
        "date": max(row["date"] for row in rows),
        **{name: first[name] for name in ("backend", "device", "versions")},
    }
    return references.summary(rows, made)


def put(made: Reference, path: Path) -> None:
    """Write a reference to a file, among its others, replacing one with the same options."""
    others = [known for known in references.read(path) if known.options != made.options]
    defaults = {"dataset": "digits"} | {name: getattr(Config, name) for name in DECIDING}

    def position(known: Reference) -> tuple[str, int, str]:
        """Sort by data set, and within it by the number of options that differ from the defaults."""
        different = sum(known.options[name] != value for name, value in defaults.items())
        return known.options["dataset"], different, json.dumps(known.options, sort_keys=True)

    ordered = sorted([*others, made], key=position)
    atomic.write_json(path, {"references": [dataclasses.asdict(known) for known in ordered]})


def checked(found: Reference, rows: list[Row]) -> str:
    """Return a text: how many of the rows fail at each of RATES."""
    lines = [f"{len(rows)} seeds from {rows[0]['seed']} compared with {found.seeds} from {found.first_seed}; failed:"]
    for rate in RATES:
        judge = Gate(found, rate)
        failed = [list(judge.verdict(row["right"], row["losses"], row["train_examples"])["found"]) for row in rows]
        counts = {kind: sum(kind in each for each in failed) for kind in (gate.FEW, gate.MANY, gate.HIGH, gate.LOW)}
        kinds = ", ".join(f"{kind} {count}" for kind, count in counts.items() if count)
        total = sum(map(bool, failed))
        lines.append(f"  at {100 * rate:g}%: {total} = {100 * total / len(rows):.3g}%" + f" ({kinds})" * bool(kinds))
        noticed = {}
        for power in gate.POWERS:
            fewer = round(judge.noticed(power) * found.test_examples)
            share = sum(judge.count(max(0, row["right"] - fewer))["out"] == gate.FEW for row in rows) / len(rows)
            noticed[fewer] = f"{fewer} fewer correct: detected in {100 * share:.3g}% (stated: {100 * power:g}%)"
        lines.append("    " + ", ".join(noticed.values()))
    return "\n".join(lines)


if __name__ == "__main__":
    program.start(f"mnist_mlp.{NAME}")
