"""Runs a TensorFlow Playground URL without a browser: the same data, weights, updates and losses as the page's.

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
from mnist_mlp.cli.terminal import Terminal
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.lab.playground import history, points, report, sweep
from mnist_mlp.lab.playground.history import EPOCHS
from mnist_mlp.lab.playground.url_state import State
from mnist_mlp.options import check, option, path_of

WITHOUT_EXERCISE = ("state", "epochs", "csv", "data", "sweep")


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    state: str = option("", "a Playground URL, or what stands behind its #, in quotes", positional=True)
    epochs: int | None = option(None, "passes over the training data; not given: 100", kind=int, low=0, high=EPOCHS)
    seeds: int | None = option(
        None, "runs: the first with the state's seed, the others with seed-2, seed-3, …", kind=int, low=1, high=1000
    )
    json: bool = option(False, "print one JSON object instead of the report")
    csv: str = option("", "file for the points: split,x,y,label,output; with --sweep for the table")
    figure: str = option("", "file for the picture: .png, .svg or .pdf")
    data: str = option("", "your own points instead of the state's: a CSV file of x,y,label")
    sweep: tuple[str, ...] = option(
        (), "all combinations of settings: activation=relu,tanh networkShape=4,8x2", kind=tuple
    )
    exercise: int | None = option(
        None, "one of the lecture's exercises, with question and answer", kind=int, low=1, high=10
    )

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "sweep", tuple(word for word in self.sweep if word))  # --sweep= is as not given
        if self.exercise is not None:
            for name in WITHOUT_EXERCISE:
                if getattr(self, name) not in ("", (), None):
                    flag = "a state" if name == "state" else f"--{name}"
                    raise UserError(f"expected --exercise or {flag}, received both; leave one of them out")
        if self.sweep and self.figure:
            raise UserError("expected --sweep or --figure, received both; draw one state at a time")


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab.playground", about=__doc__)
    check_distinct(options)
    figure = figure_file(options) if options.figure else None
    table = outputs.file_to_write("csv", options.csv).resolve() if options.csv else None
    if options.exercise is not None:
        return run_exercise(options, options.exercise, figure)

    state = State.from_url(options.state)
    for note in state.notes:
        tell(note)
    own = points.read_csv(path_of("data", options.data), state.problem) if options.data else None
    for note in report.own_notes(own, state) if own else []:
        tell(note)
    if options.sweep:
        return run_sweep(options, state, own, table)

    epochs = epochs_of(options)
    with Terminal() as screen:
        show = Progress(screen, epochs)
        histories = history.run_seeds(state, epochs, seeds_of(options, state), points=own, progress=show)
    for note in report.warnings(histories):
        tell(note)
    say(options, histories)
    if table:
        atomic.write_text(table, report.points_csv(histories[0]))
    if figure:
        from mnist_mlp.lab.playground import figure as picture

        picture.draw(histories[0], figure, others=histories[1:])
    if not options.json:
        print(f"picture   {options.figure or 'add --figure=playground.png'}")
        if table:
            print(f"points    {options.csv}")


def say(options: Options, histories: Sequence[history.History]) -> None:
    """Prints the report, or the JSON object: before the files are written, so that a failure there loses nothing."""
    if options.json:
        first = histories[0].to_dict()
        more: dict[str, Any] = {"runs": [each.to_dict() for each in histories]} if len(histories) > 1 else {}
        print_json({**first, **more})
    else:
        print(report.text(histories, data=options.data), flush=True)


def run_exercise(options: Options, number: int, figure: Path | None) -> None:
    from mnist_mlp.lab.playground import exercises

    seeds = exercises.SEEDS if options.seeds is None else options.seeds
    say = (lambda line: None) if options.json else (lambda line: print(line, flush=True))
    answer = exercises.run(number, seeds=seeds, say=say, figure=figure)
    if options.json:
        print_json({"exercise": answer})
    elif not figure:
        print(f"\npicture   add --figure=exercise{number}.png")


def run_sweep(options: Options, state: State, own: Sequence[points.Point] | None, table: Path | None) -> None:
    """Without a seed in the state all combinations share the one that was drawn."""
    chosen = sweep.combinations(state, options.sweep, own=own is not None)
    epochs = epochs_of(options)
    with Terminal() as screen:
        show = Progress(screen, epochs)
        rows = list(sweep.run(chosen, epochs, lambda each: seeds_of(options, each), own, show.at))
    for row in rows:
        if not row.finite:
            tell(f"{' '.join(f'{k}={v}' for k, v in row.settings.items())}: training left the range of numbers")
    without = sum(row.url is None for row in rows)
    if without:
        tell(f"{without} of {len(rows)} combinations have no URL: {sweep.WITHOUT_URL}")
    if options.json:
        head = {"url": state.to_url(), "seed": state.seed, "epochs": epochs, "own_points": own is not None}
        print_json({**head, "sweep": sweep.as_json(rows)})
    else:
        seeds = options.seeds or 1
        many = "s: median [min..max]" if seeds > 1 else ""
        print(f"{len(rows)} combination{'s' * (len(rows) > 1)}, {epochs:,} epochs, {seeds} seed{many}\n")
        print(sweep.table(rows))
        print(f"\npage      {state.to_url()}{report.BUT_OWN * (own is not None)}", flush=True)
    if table:
        atomic.write_text(table, sweep.as_csv(rows))
        if not options.json:
            print(f"table     {options.csv}")


def epochs_of(options: Options) -> int:
    return 100 if options.epochs is None else options.epochs


def seeds_of(options: Options, state: State) -> list[str]:
    """The state's own seed, then seeds made of it."""
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


def tell(note: str) -> None:
    print(f"note: {note}", file=sys.stderr)


class Progress:
    """The epoch that training is at, on a terminal, now and then."""

    def __init__(self, screen: Terminal, epochs: int) -> None:
        self.screen, self.epochs, self.last = screen, epochs, time.monotonic()

    def __call__(self, epoch: int) -> None:
        self.at("", epoch)

    def at(self, place: str, epoch: int) -> None:
        now = time.monotonic()
        if now - self.last > 0.5:
            self.last = now
            self.screen.progress(f"{place}epoch {epoch:,} of {self.epochs:,}")
