"""Runs of all combinations of some settings: `activation=relu,tanh networkShape=4,8x2` are four."""

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

LARGEST, RUNS = 500, 50_000  # combinations, and runs of all of them together
EXAMPLE = "--sweep activation=relu,tanh networkShape=4,8x2"
SHAPES = "type --sweep networkShape=4,8x2 (x between layers, a comma between alternatives), or none"
OF_DATA = ("dataset", "regDataset", "noise")  # settings without effect on one's own points
WITHOUT_URL = "the page would read other settings from its address, such as noise=90"
MEASURES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "dead_weights")


@dataclasses.dataclass(frozen=True)
class Row:
    """One combination: its settings as text, its state, and for each seed what the run ended with (`MEASURES`).

    Not the histories: those of a large sweep would fill the memory."""

    settings: dict[str, str]
    state: State
    runs: dict[str, dict[str, float]]  # by the seed
    finite: bool

    @property
    def url(self) -> str | None:
        """The address of the first run; None where the page would read something else from it."""
        url = self.state.to_url()
        try:
            return url if State.from_url(url) == self.state else None
        except UserError:
            return None


def combinations(state: State, words: Sequence[str], *, own: bool = False) -> list[tuple[dict[str, str], State]]:
    """The settings and the state of each combination. Alternatives stand between commas, the layers of a networkShape
    between x: 8x2, or none. Values count as they are, also those that the page would not take from its URL.

    Values that are written in two ways (0.1 and .1) count once. `own`: the points are one's own. Raises `UserError`
    for a key or a value that is none.
    """
    axes: dict[str, list[tuple[str, Any]]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals and key in FIELDS:
            raise UserError(f"--sweep: expected values behind {key}=, received none; type {EXAMPLE}")
        if not equals or key not in FIELDS:
            raise UserError(
                f"--sweep: expected key=value,value with a key of the page, received {quoted(word)}"
                f"{nearest(key, list(FIELDS))}; type {EXAMPLE}"
            )
        if own and key in OF_DATA:
            raise UserError(f"--sweep: expected --data or {key}, which draws points, received both; leave one out")
        if key in axes:
            raise UserError(f"--sweep: expected each key once, received {key} twice; type {key}=value,value")
        values_of_key: dict[Any, str] = {}
        for part in map(str.strip, text.split(",")):
            values_of_key.setdefault(checked(state, key, part), part)
        axes[key] = [(part, value) for value, part in values_of_key.items()]
    count = math.prod(len(axis) for axis in axes.values())
    if count > LARGEST:
        raise UserError(f"--sweep: expected at most {LARGEST} combinations, received {count:,}; type fewer values")
    chosen = []
    for values in itertools.product(*axes.values()):
        named = dict(zip(axes, values, strict=True))
        changes = {key: value for key, (_, value) in named.items()}
        chosen.append(({key: part for key, (part, _) in named.items()}, dataclasses.replace(state, **changes)))
    return chosen


def checked(state: State, key: str, text: str) -> Any:
    """A value as the state keeps it. Raises `UserError`, which for a shape says how one is written here."""
    try:
        return getattr(dataclasses.replace(state, **{key: value_of(key, text)}), key)
    except UserError as error:
        if key != "networkShape":
            raise
        raise UserError(f"--sweep networkShape={text}: {str(error).partition('; ')[0]}; {SHAPES}") from None


def value_of(key: str, text: str) -> Any:
    """A value as the state takes it; what it is, and whether it fits, is for the state to judge."""
    if key == "networkShape":
        return () if text in ("", "none") else tuple(number(key, size) for size in text.split("x"))
    if key in RANGES:
        return number(key, text)
    if isinstance(FIELDS[key].default, bool) and text in ("true", "false"):
        return text == "true"
    if key == "seed":
        if not text:
            raise UserError("--sweep: expected a text for each seed, received none; type seed=1,2,3")
        return as_browser(text)
    if key in CHOICES:  # as on the command line elsewhere, in any case
        return next((choice for choice in CHOICES[key] if choice.lower() == text.lower()), text)
    return text


def run(
    chosen: Sequence[tuple[dict[str, str], State]],
    epochs: int,
    seeds_of: Callable[[State], Sequence[str]],
    points: Sequence[Sequence[float]] | None = None,
    progress: Callable[[str, int], object] | None = None,
) -> Iterator[Row]:
    """Trains one combination after the other, the seeds of each side by side. Raises `UserError` before the first
    where one of them, or all together, would be too much."""
    count = sum(len(seeds_of(state)) for _, state in chosen)
    check_amount(epochs, count)
    if count > RUNS:
        raise UserError(
            f"--sweep: expected at most {RUNS:,} runs in all, received {count:,}; type fewer seeds or values"
        )
    for _, state in chosen:
        check_memory(state, len(seeds_of(state)), len(points) if points else 1200)
    for place, (settings, state) in enumerate(chosen, start=1):
        told = f"{place} of {len(chosen)}, "

        def tell(epoch: int, told: str = told) -> None:
            if progress:
                progress(told, epoch)

        histories = run_seeds(state, epochs, seeds_of(state), points=points, progress=tell)
        runs = {history.state.seed: measures(history) for history in histories}
        yield Row(settings, state, runs, all(history.finite for history in histories))
        del histories  # before the next ones


def measures(history: History) -> dict[str, float]:
    """What a run ended with; nan for an accuracy where there is none."""
    last, accuracy = history.losses[-1], history.accuracy or {"train": math.nan, "test": math.nan}
    values = (last["train"], last["test"], accuracy["train"], accuracy["test"], history.dead_weights)
    return dict(zip(MEASURES, values, strict=True))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest; nan where a value is."""
    with np.errstate(all="ignore"):
        return {"median": float(np.median(values)), "min": float(np.min(values)), "max": float(np.max(values))}


def fixed(value: float, digits: int = 3, sign: str = "") -> str:
    """A number with so many digits behind the point; from a million up as 1.23e+06."""
    return f"{value:{sign}.{digits}f}" if not abs(value) >= 1e6 else f"{value:{sign}.3g}"


def shown_spread(values: Sequence[float], digits: int = 3) -> str:
    """ "0.156 [0.056..0.431]", or the one value."""
    if len(values) == 1:
        return fixed(values[0], digits)
    s = spread(values)
    return f"{fixed(s['median'], digits)} [{fixed(s['min'], digits)}..{fixed(s['max'], digits)}]"


def table(rows: Sequence[Row]) -> str:
    """One line a combination, in columns."""
    keys = list(rows[0].settings)
    names = {"test_loss": "test loss", "train_loss": "train loss", "test_accuracy": "test accuracy"}
    if any(row.state.problem == "regression" for row in rows):
        del names["test_accuracy"]
    if any(run["dead_weights"] for row in rows for run in row.runs.values()):
        names["dead_weights"] = "dead weights"
    lines = [[*keys, *names.values()]]
    for row in rows:
        values = row.runs.values()
        cells = [shown_spread([v[m] for v in values], 0 if m == "dead_weights" else 3) for m in names]
        lines.append([*(row.settings[key] or "none" for key in keys), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each combination its settings, the URL, and at the end of its runs the losses, with their spread."""
    listed = []
    for row in rows:
        listed.append(
            {
                "settings": row.settings,
                "url": row.url,
                **({} if row.url else {"note": f"no URL: {WITHOUT_URL}"}),
                **{name: spread([v[name] for v in row.runs.values()]) for name in MEASURES},
                "runs": [{"seed": seed, **v} for seed, v in row.runs.items()],
            }
        )
    ready: list[dict[str, Any]] = json_ready(listed)
    return ready


def as_csv(rows: Sequence[Row]) -> str:
    """A line for each run: its settings, its seed, and what it ended with."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [key for key in rows[0].settings if key != "seed"]
    writer.writerow([*keys, "seed", *MEASURES])
    for row in rows:
        for seed, values in row.runs.items():
            settings = [as_text(getattr(row.state, key)) for key in keys]
            writer.writerow([*settings, seed, *values.values()])
    return text.getvalue()
