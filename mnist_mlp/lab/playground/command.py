"""Run a TensorFlow Playground URL without a browser: the same data, weights, updates and losses as on the page.

python -m mnist_mlp.lab.playground 'https://playground.tensorflow.org/#activation=relu&dataset=xor&seed=0.5'
python -m mnist_mlp.lab.playground 'dataset=spiral&networkShape=8,8' --epochs=500 --seeds=10 --figure=spiral.png
python -m mnist_mlp.lab.playground --sweep activation=relu,tanh networkShape=4,8x2 --seeds=5
python -m mnist_mlp.lab.playground --exercise=7
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.cli import flags
from mnist_mlp.cli.terminal import PRINT, SILENT, Terminal
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.lab.playground import history, points, report, sweep
from mnist_mlp.lab.playground.history import EPOCHS
from mnist_mlp.lab.playground.url_state import State
from mnist_mlp.options import check, option, path_of

NOT_WITH_EXERCISE = ("state", "epochs", "csv", "data", "sweep")


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    state: str = option("", "a Playground URL, or the part of it after the #, in quotes", positional=True)
    epochs: int | None = option(None, "passes over the training data (default: 100)", kind=int, low=0, high=EPOCHS)
    seeds: int | None = option(
        None,
        "number of runs: the first with the seed of the URL, then SEED-2, SEED-3, … (default: 1; with --exercise 3)",
        kind=int,
        low=1,
        high=1000,
    )
    json: bool = option(False, "print one JSON object instead of the report")
    csv: str = option("", "file for the points (split,x,y,label,output) or, with --sweep, for the table")
    figure: str = option("", "file for the picture: .png, .svg or .pdf")
    data: str = option("", "CSV file with your own points, x,y,label, instead of the dataset of the URL")
    sweep: tuple[str, ...] = option(
        (), "run all combinations of settings: activation=relu,tanh networkShape=4,8x2", kind=tuple
    )
    exercise: int | None = option(None, "run one of the lecture's exercises, with its answer", kind=int, low=1, high=10)

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "sweep", tuple(word for word in self.sweep if word))  # --sweep= means no sweep
        if self.exercise is not None:
            for name in NOT_WITH_EXERCISE:
                if getattr(self, name) not in ("", (), None):
                    flag = "a URL" if name == "state" else f"--{name}"
                    raise UserError(f"--exercise cannot be combined with {flag}; omit one of them")
        if self.sweep and self.figure:
            raise UserError("--sweep cannot be combined with --figure; draw one state at a time")


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab.playground", about=__doc__)
    check_distinct(options)
    figure = figure_file(options) if options.figure else None
    table = outputs.file_to_write("csv", options.csv).resolve() if options.csv else None
    if options.exercise is not None:
        return run_exercise(options, options.exercise, figure)

    state = State.from_url(options.state)
    for note in state.notes:
        print_note(note)
    own = points.read_csv(path_of("data", options.data), state.problem) if options.data else None
    for note in report.own_notes(own, state) if own else []:
        print_note(note)
    if options.sweep:
        return run_sweep(options, state, own, table)

    epochs = epochs_of(options)
    with Terminal() as terminal:
        progress = EpochProgress(terminal, epochs)
        histories = history.run_seeds(state, epochs, seeds_of(options, state), points=own, progress=progress)
    for note in report.warnings(histories):
        print_note(note)
    print_report(options, histories)
    if table:
        atomic.write_text(table, report.points_csv(histories[0]))
    if figure:
        from mnist_mlp.lab.playground import figure as picture

        picture.draw(histories[0], figure, others=histories[1:])
    if not options.json:
        print(f"picture   {options.figure or 'add --figure=playground.png'}")
        if table:
            print(f"points    {options.csv}")


def print_report(options: Options, histories: Sequence[history.History]) -> None:
    """Print the report or the JSON object. This comes before the files are written, so that a failure loses nothing."""
    if options.json:
        first = histories[0].to_dict()
        more: dict[str, Any] = {"runs": [each.to_dict() for each in histories]} if len(histories) > 1 else {}
        print_json({**first, **more})
    else:
        print(report.text(histories, data=options.data), flush=True)


def run_exercise(options: Options, number: int, figure: Path | None) -> None:
    from mnist_mlp.lab.playground import exercises

    seeds = exercises.SEEDS if options.seeds is None else options.seeds
    answer = exercises.run(number, seeds=seeds, reporter=SILENT if options.json else PRINT, figure=figure)
    if options.json:
        print_json({"exercise": answer})
    elif not figure:
        print(f"\npicture   add --figure=exercise{number}.png")


def run_sweep(options: Options, state: State, own: Sequence[points.Point] | None, table: Path | None) -> None:
    """Run a sweep. If the URL has no seed, all combinations share the seed that was drawn."""
    chosen = sweep.combinations(state, options.sweep, own=own is not None)
    epochs = epochs_of(options)
    with Terminal() as terminal:
        progress = EpochProgress(terminal, epochs)
        rows = list(sweep.run(chosen, epochs, lambda each: seeds_of(options, each), own, progress.update))
    for row in rows:
        if not row.finite:
            print_note(f"{row.name}: training diverged (nan or inf)")
    without = sum(row.url is None for row in rows)
    if without:
        print_note(f"{without} of {len(rows)} combinations have no URL: {sweep.WITHOUT_URL}")
    if options.json:
        head = {"url": state.to_url(), "seed": state.seed, "epochs": epochs, "own_points": own is not None}
        print_json({**head, "sweep": sweep.as_json(rows)})
    else:
        seeds = options.seeds or 1
        many = "s: median [min..max]" if seeds > 1 else ""
        print(f"{len(rows)} combination{'s' * (len(rows) > 1)}, {epochs:,} epochs, {seeds} seed{many}\n")
        print(sweep.table(rows), flush=True)
        if best := sweep.best(rows):
            print(f"\nbest      {best.name}: the lowest median test loss")
            print(f"page      {best.url}{report.OWN_POINTS * (own is not None)}", flush=True)
    if table:
        atomic.write_text(table, sweep.as_csv(rows))
        if not options.json:
            print(f"table     {options.csv}")


def epochs_of(options: Options) -> int:
    return 100 if options.epochs is None else options.epochs


def seeds_of(options: Options, state: State) -> list[str]:
    """Return the seed of the state and seeds derived from it."""
    return [state.seed, *(f"{state.seed}-{k}" for k in range(2, (options.seeds or 1) + 1))]


def check_distinct(options: Options) -> None:
    """Raise `UserError` if two flags name the same file."""
    named = [name for name in ("data", "csv", "figure") if getattr(options, name)]
    outputs.check_distinct({name: path_of(name, getattr(options, name)) for name in named})


def figure_file(options: Options) -> Path:
    """Return where the picture goes. Raise `UserError` if it cannot be drawn, before the work that it shows."""
    from mnist_mlp.files import figures

    return figures.file_to_write("figure", options.figure)


def print_json(values: dict[str, Any]) -> None:
    print(json.dumps(history.json_ready(values), allow_nan=False), flush=True)


def print_note(note: str) -> None:
    print(f"note: {note}", file=sys.stderr)


class EpochProgress:
    """Shows the current epoch, at most twice a second."""

    def __init__(self, terminal: Terminal, epochs: int) -> None:
        self.terminal, self.epochs, self.last = terminal, epochs, time.monotonic()

    def __call__(self, epoch: int) -> None:
        self.update("", epoch)

    def update(self, prefix: str, epoch: int) -> None:
        now = time.monotonic()
        if now - self.last > 0.5:
            self.last = now
            self.terminal.progress(f"{prefix}epoch {epoch:,} of {self.epochs:,}")
