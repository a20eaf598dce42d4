"""Asks the running network what the lecture asks its students, and checks each answer against what it measures.

Each line is a claim, the arithmetic behind it, what was measured here and now, and ✓ or ✗, or – where these data cannot
tell. The exit code is 4 if a claim does not hold.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.config import DATA, ONE_PROCESS, Config
from mnist_mlp.errors import Refuted
from mnist_mlp.options import check, option, option_of
from mnist_mlp.runs.result import dataset_block, versions
from mnist_mlp.text import remarks

if TYPE_CHECKING:
    from mnist_mlp.lab.explain.lesson import Claim

WIDTHS = (38, 36, 40)  # of the columns, in characters
MARKS = {True: "✓", False: "✗", None: "–"}


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program. The network is the lecture's: the claims are about it."""

    dataset: str = option_of(Config, "dataset")
    data_dir: str = option_of(Config, "data_dir")
    data_source: str = option_of(Config, "data_source")
    batch_size: int = option_of(Config, "batch_size")
    epochs: int = option(5, "passes over the training images, in each training", low=2, high=1_000_000)
    seed: int = option_of(Config, "seed")
    seeds: int = option(3, "how many seeds, from --seed on, each network is trained with", low=2, high=1000)
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    json: bool = option(False, "print the claims as one JSON object; the lines go to standard error")

    def __post_init__(self) -> None:
        check(self)


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab.explain", about=__doc__)
    stream = sys.stderr if options.json else sys.stdout
    explained = explain(options, say=lambda text: print(text, file=stream, flush=True))
    if options.json:
        print(json.dumps(explained, allow_nan=False))
    wrong = [row["claim"] for row in explained["claims"] if row["holds"] is False]
    if wrong:
        raise Refuted(f"✗ does not hold here: {'; '.join(wrong)}")


def explain(
    options: Options, *, dataset: data.Dataset | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """All claims with what was measured, and on what: dataset, device, versions, seconds.

    Its "claims" are rows with the keys question, claim, arithmetic, measured and holds (True, False or, where these
    data cannot tell, None). `say` gets the lines, question by question. `dataset` replaces what the options name with
    images of your own. Raises `UserError`.
    """
    began = time.perf_counter()
    plan = devices.plan(options)
    places = {name: getattr(options, name) for name in DATA}
    dataset = dataset or data.load(Config(**places))
    load(plan)
    from mnist_mlp.lab.explain.after_training import AFTER_TRAINING
    from mnist_mlp.lab.explain.before_training import BEFORE_TRAINING
    from mnist_mlp.lab.explain.lesson import Lesson

    seeds = list(range(options.seed, options.seed + options.seeds))
    lesson = Lesson(plan, dataset, options.batch_size, options.epochs, seeds)
    attached = lesson.engine.devices
    say(opening(options, dataset, f"{attached.name}, {lesson.engine.backend}", attached.notes))
    rows: list[dict[str, Any]] = []
    for question, answer in [*BEFORE_TRAINING, *AFTER_TRAINING]:
        claims = answer(lesson)
        rows += [{"question": question, **dataclasses.asdict(claim)} for claim in claims]
        say("\n".join(["", question, *map(lines, claims)]))
    seconds = time.perf_counter() - began
    say(closing(rows, seconds))
    return {
        "dataset": dataset_block(dataset, len(dataset.train), 0),
        "device": attached.name,
        "backend": lesson.engine.backend,
        "batch_size": options.batch_size,
        "epochs": options.epochs,
        "seeds": seeds,
        "claims": rows,
        "versions": versions(lesson.engine.backend),
        "seconds": seconds,
    }


def opening(options: Options, dataset: data.Dataset, device: str, notes: Sequence[str]) -> str:
    """What it is measured on, and the heads of the columns."""
    trainings = f"{options.epochs} epochs in batches of {options.batch_size}, {options.seeds} seeds from {options.seed}"
    return "\n".join(
        [
            f"data     {dataset.name}: {len(dataset.train):,} training + {len(dataset.test):,} test images",
            *remarks(list(dataset.notes)),
            f"device   {device}",
            *remarks(list(notes)),
            f"training {trainings}",
            "",
            columns(("claim", "arithmetic", "measured"), mark=" "),
        ]
    )


def lines(claim: Claim) -> str:
    return columns((claim.claim, claim.arithmetic, claim.measured), mark=MARKS[claim.holds])


def columns(cells: Sequence[str], mark: str) -> str:
    """The cells side by side, each wrapped to its width, with a mark in front of the first line."""
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, WIDTHS, strict=True)]
    rows = itertools.zip_longest(*wrapped, fillvalue="")
    text = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, WIDTHS, strict=True)).rstrip() for row in rows]
    return f"{mark} " + "\n  ".join(text)


def closing(rows: Sequence[dict[str, Any]], seconds: float) -> str:
    """How many claims hold."""
    counts = {mark: sum(row["holds"] is holds for row in rows) for holds, mark in MARKS.items()}
    open_ones = f", {counts['–']} – (these data cannot tell)" if counts["–"] else ""
    return f"\n{len(rows)} claims: {counts['✓']} ✓, {counts['✗']} ✗{open_ones}; {seconds:.1f} s"
