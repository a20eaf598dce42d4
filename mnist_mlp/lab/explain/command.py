"""Answer the lecture's questions by measuring the running network.

Each line shows a claim, the arithmetic behind it, the measurement, and ✓ or ✗, or – if these data cannot decide. The
exit code is 4 if a claim does not hold.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.terminal import PRINT, Reporter, Terminal
from mnist_mlp.config import DATA, ONE_PROCESS, Config
from mnist_mlp.errors import Refuted
from mnist_mlp.options import check, option, option_of
from mnist_mlp.runs.result import dataset_block, versions
from mnist_mlp.text import remarks

if TYPE_CHECKING:
    from mnist_mlp.lab.explain.lesson import Claim

WIDTHS = (38, 36, 40)  # column widths in characters
MARKS = {True: "✓", False: "✗", None: "–"}


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program. The network is fixed, because the claims are about the lecture's."""

    dataset: str = option_of(Config, "dataset")
    data_dir: str = option_of(Config, "data_dir")
    data_source: str = option_of(Config, "data_source")
    batch_size: int = option_of(Config, "batch_size")
    epochs: int = option(5, "passes over the training images in each run", low=2, high=1_000_000)
    seed: int = option_of(Config, "seed")
    seeds: int = option(3, "number of seeds for each network, starting at --seed", low=2, high=1000)
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    json: bool = option(False, "print the claims as one JSON object; the report goes to standard error")

    def __post_init__(self) -> None:
        check(self)


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab.explain", about=__doc__)
    with Terminal(sys.stderr if options.json else sys.stdout) as terminal:
        explained = explain(options, reporter=terminal)
    if options.json:
        print(json.dumps(explained, allow_nan=False))
    refuted = [row["claim"] for row in explained["claims"] if row["holds"] is False]
    if refuted:
        raise Refuted(f"✗ does not hold here: {'; '.join(refuted)}")


def explain(options: Options, *, dataset: data.Dataset | None = None, reporter: Reporter = PRINT) -> dict[str, Any]:
    """Measure all claims. Return them with the data set, device, versions and seconds.

    Each of the "claims" has the keys question, claim, arithmetic, measured and holds (True, False, or None if these
    data cannot decide). `dataset` replaces the data that the options name. Raise `UserError`.
    """
    began = time.perf_counter()
    plan = devices.plan(options)
    source = {name: getattr(options, name) for name in DATA}
    dataset = data.checked_own(dataset) or data.load(Config(**source))
    load(plan)
    from mnist_mlp.lab.explain.after_training import AFTER_TRAINING
    from mnist_mlp.lab.explain.before_training import BEFORE_TRAINING
    from mnist_mlp.lab.explain.lesson import Lesson

    seeds = list(range(options.seed, options.seed + options.seeds))
    lesson = Lesson(plan, dataset, options.batch_size, options.epochs, seeds)
    device_set = lesson.engine.devices
    reporter.line(opening(options, dataset, f"{device_set.name}, {lesson.engine.backend}", device_set.notes))
    rows: list[dict[str, Any]] = []
    for question, answer in [*BEFORE_TRAINING, *AFTER_TRAINING]:
        claims = answer(lesson)
        rows += [{"question": question, **dataclasses.asdict(claim)} for claim in claims]
        reporter.line("\n".join(["", question, *map(lines, claims)]))
    seconds = time.perf_counter() - began
    reporter.line(closing(rows, seconds))
    return {
        "dataset": dataset_block(dataset, len(dataset.train), 0),
        "device": device_set.name,
        "backend": lesson.engine.backend,
        "batch_size": options.batch_size,
        "epochs": options.epochs,
        "seeds": seeds,
        "claims": rows,
        "versions": versions(lesson.engine.backend),
        "seconds": seconds,
    }


def opening(options: Options, dataset: data.Dataset, device: str, notes: Sequence[str]) -> str:
    """Return the data, device and training, and the column headers."""
    training = f"{options.epochs} epochs in batches of {options.batch_size}, {options.seeds} seeds from {options.seed}"
    return "\n".join(
        [
            f"data     {dataset.name}: {len(dataset.train):,} training + {len(dataset.test):,} test images",
            *remarks(list(dataset.notes)),
            f"device   {device}",
            *remarks(list(notes)),
            f"training {training}",
            "",
            columns(("claim", "arithmetic", "measured"), mark=" "),
        ]
    )


def lines(claim: Claim) -> str:
    return columns((claim.claim, claim.arithmetic, claim.measured), mark=MARKS[claim.holds])


def columns(cells: Sequence[str], mark: str) -> str:
    """Return the cells side by side, each wrapped to its width, with a mark before the first line."""
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, WIDTHS, strict=True)]
    rows = itertools.zip_longest(*wrapped, fillvalue="")
    text = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, WIDTHS, strict=True)).rstrip() for row in rows]
    return f"{mark} " + "\n  ".join(text)


def closing(rows: Sequence[dict[str, Any]], seconds: float) -> str:
    """Return how many claims hold."""
    counts = {mark: sum(row["holds"] is holds for row in rows) for holds, mark in MARKS.items()}
    undecided = f", {counts['–']} – (these data cannot decide)" if counts["–"] else ""
    return f"\n{len(rows)} claims: {counts['✓']} ✓, {counts['✗']} ✗{undecided}; {seconds:.1f} s"
