"""Run all combinations of some settings: `activation=relu,tanh networkShape=4,8x2` makes four."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mnist_mlp.errors import UserError
from mnist_mlp.lab.playground.history import History, check_amount, check_memory, json_ready, run_seeds
from mnist_mlp.lab.playground.random_stream import as_browser
from mnist_mlp.lab.playground.url_state import CHOICES, FIELDS, RANGES, State, as_text, number
from mnist_mlp.text import nearest, quoted

LARGEST, RUNS = 500, 50_000  # combinations, and runs of all of them together, at most
EXAMPLE = "--sweep activation=relu,tanh networkShape=4,8x2"
SHAPES = "try --sweep networkShape=4,8x2 (x separates layers, a comma alternatives), or none for no hidden layer"
OF_DATA = ("dataset", "regDataset", "noise")  # settings without effect on your own points
WITHOUT_URL = "the page would read other settings from it, as for noise=90"
MEASURES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "dead_weights")


@dataclasses.dataclass(frozen=True)
class Row:
    """One combination with its final `MEASURES`. Histories are not kept: those of a large sweep would fill memory."""

    settings: dict[str, str]
    state: State
    runs: dict[str, dict[str, float]]  # measures by seed
    finite: bool

    @property
    def name(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.settings.items())

    @property
    def url(self) -> str | None:
        """The URL of the first run; None if the page would read something else from it."""
        url = self.state.to_url()
        try:
            return url if State.from_url(url) == self.state else None
        except UserError:
            return None


def combinations(state: State, words: Sequence[str], *, own: bool = False) -> list[tuple[dict[str, str], State]]:
    """Return the settings and the state of each combination.

    Commas separate alternatives; in a networkShape, x separates layers (8x2), and none means no hidden layer. Values
    are used as they are, even if the page would not accept them in its URL; equal values (0.1 and .1) count once.
    `own`: the points are your own. Raise `UserError` for an unknown key or value.
    """
    axes: dict[str, list[tuple[str, Any]]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals and key in FIELDS:
            raise UserError(f"--sweep: expected values after {key}=, received none; try {EXAMPLE}")
        if not equals or key not in FIELDS:
            raise UserError(
                f"--sweep: expected key=value,value with a key of the page, received {quoted(word)}"
                f"{nearest(key, list(FIELDS))}; try {EXAMPLE}"
            )
        if own and key in OF_DATA:
            raise UserError(f"--sweep {key} draws points and cannot be combined with --data; omit one of them")
        if key in axes:
            raise UserError(f"--sweep: expected each key once, received {key} twice; try {key}=value,value")
        values_of_key: dict[Any, str] = {}
        for part in map(str.strip, text.split(",")):
            values_of_key.setdefault(checked(state, key, part), part)
        axes[key] = [(part, value) for value, part in values_of_key.items()]
    count = math.prod(len(axis) for axis in axes.values())
    if count > LARGEST:
        raise UserError(f"--sweep: expected at most {LARGEST} combinations, received {count:,}; try fewer values")
    chosen = []
    for values in itertools.product(*axes.values()):
        named = dict(zip(axes, values, strict=True))
        changes = {key: value for key, (_, value) in named.items()}
        chosen.append(({key: part for key, (part, _) in named.items()}, dataclasses.replace(state, **changes)))
    return chosen


def checked(state: State, key: str, text: str) -> Any:
    """Return a value as the state stores it. Raise `UserError`, which for a shape explains the notation."""
    try:
        return getattr(dataclasses.replace(state, **{key: value_of(key, text)}), key)
    except UserError as error:
        if key != "networkShape":
            raise
        raise UserError(f"--sweep networkShape={text}: {str(error).partition('; ')[0]}; {SHAPES}") from None


def value_of(key: str, text: str) -> Any:
    """Convert text to a value for the state, which validates it."""
    if key == "networkShape":
        return () if text in ("", "none") else tuple(number(key, size) for size in text.split("x"))
    if key in RANGES:
        return number(key, text)
    if isinstance(FIELDS[key].default, bool) and text in ("true", "false"):
        return text == "true"
    if key == "seed":
        if not text:
            raise UserError("--sweep: expected a string for each seed, received none; try seed=1,2,3")
        return as_browser(text)
    if key in CHOICES:  # case-insensitive, like other flags
        return next((choice for choice in CHOICES[key] if choice.lower() == text.lower()), text)
    return text


def run(
    chosen: Sequence[tuple[dict[str, str], State]],
    epochs: int,
    seeds_of: Callable[[State], Sequence[str]],
    points: Sequence[Sequence[float]] | None = None,
    progress: Callable[[str, int], object] | None = None,
) -> Iterator[Row]:
    """Train one combination after the other, the seeds of each side by side.

    Raise `UserError` before the first one if any of them, or all together, would be too much.
    """
    count = sum(len(seeds_of(state)) for _, state in chosen)
    check_amount(epochs, count)
    if count > RUNS:
        raise UserError(
            f"--sweep: expected at most {RUNS:,} runs in total, received {count:,}; try fewer seeds or values"
        )
    for _, state in chosen:
        check_memory(state, len(seeds_of(state)), len(points) if points else 1200)
    for index, (settings, state) in enumerate(chosen, start=1):

        def report(epoch: int, prefix: str = f"{index} of {len(chosen)}, ") -> None:
            if progress:
                progress(prefix, epoch)

        histories = run_seeds(state, epochs, seeds_of(state), points=points, progress=report)
        runs = {history.state.seed: measures(history) for history in histories}
        yield Row(settings, state, runs, all(history.finite for history in histories))
        del histories  # free the memory before the next combination


def best(rows: Sequence[Row]) -> Row | None:
    """Return the combination with the lowest median test loss among those that the page can show, if there is one."""
    median = {id(row): float(np.median([run["test_loss"] for run in row.runs.values()])) for row in rows}
    candidates = [row for row in rows if row.url and math.isfinite(median[id(row)])]
    return min(candidates, key=lambda row: median[id(row)], default=None)


def measures(history: History) -> dict[str, float]:
    """Return the final measures of a run; the accuracy of a regression is nan."""
    last, accuracy = history.losses[-1], history.accuracy or {"train": math.nan, "test": math.nan}
    values = (last["train"], last["test"], accuracy["train"], accuracy["test"], history.dead_weights)
    return dict(zip(MEASURES, values, strict=True))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum; nan if any value is."""
    with np.errstate(all="ignore"):
        return {"median": float(np.median(values)), "min": float(np.min(values)), "max": float(np.max(values))}


def fixed(value: float, digits: int = 3, sign: str = "") -> str:
    """Format a number with `digits` decimals; from a million up as 1.23e+06."""
    return f"{value:{sign}.{digits}f}" if not abs(value) >= 1e6 else f"{value:{sign}.3g}"


def format_spread(values: Sequence[float], digits: int = 3) -> str:
    """Return "0.156 [0.056..0.431]", or a single value."""
    if len(values) == 1:
        return fixed(values[0], digits)
    s = spread(values)
    return f"{fixed(s['median'], digits)} [{fixed(s['min'], digits)}..{fixed(s['max'], digits)}]"


def table(rows: Sequence[Row]) -> str:
    """Return a line for each combination, in columns."""
    keys = list(rows[0].settings)
    names = {"test_loss": "test loss", "train_loss": "train loss", "test_accuracy": "test accuracy"}
    if any(row.state.problem == "regression" for row in rows):
        del names["test_accuracy"]
    if any(run["dead_weights"] for row in rows for run in row.runs.values()):
        names["dead_weights"] = "dead weights"
    lines = [[*keys, *names.values()]]
    for row in rows:
        values = row.runs.values()
        cells = [format_spread([v[m] for v in values], 0 if m == "dead_weights" else 3) for m in names]
        lines.append([*(row.settings[key] or "none" for key in keys), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return for each combination its settings, URL, and the final measures of its runs with their spread."""
    entries = []
    for row in rows:
        entries.append(
            {
                "settings": row.settings,
                "url": row.url,
                **({} if row.url else {"note": f"no URL: {WITHOUT_URL}"}),
                **{name: spread([v[name] for v in row.runs.values()]) for name in MEASURES},
                "runs": [{"seed": seed, **v} for seed, v in row.runs.items()],
            }
        )
    ready: list[dict[str, Any]] = json_ready(entries)
    return ready


def as_csv(rows: Sequence[Row]) -> str:
    """Return a line for each run: its settings, seed and final measures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [key for key in rows[0].settings if key != "seed"]
    writer.writerow([*keys, "seed", *MEASURES])
    for row in rows:
        for seed, values in row.runs.items():
            settings = [as_text(getattr(row.state, key)) for key in keys]
            writer.writerow([*settings, seed, *values.values()])
    return text.getvalue()
