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
from mnist_mlp.lab.playground.history import History, check_amount, json_ready, run_seeds
from mnist_mlp.lab.playground.state import CHOICES, FIELDS, RANGES, State, as_text, number
from mnist_mlp.options import nearest, shown

LARGEST = 500  # combinations
MEASURES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "dead_weights")


@dataclasses.dataclass(frozen=True)
class Row:
    """One combination: its settings as text, and its runs, one a seed."""

    settings: dict[str, str]
    histories: list[History]


def combinations(state: State, words: Sequence[str]) -> list[tuple[dict[str, str], State]]:
    """The settings and the state of each combination. Alternatives stand between commas, the layers of a networkShape
    between x: 8x2, or none. Values count as they are, also those that the page would not take from its URL.

    Raises `UserError` for a key or a value that is none.
    """
    axes: dict[str, list[tuple[str, Any]]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in FIELDS:
            raise UserError(
                f"--sweep: expected key=value,value with a key of the page, received {shown(word)}"
                f"{nearest(key, list(FIELDS))}; type --sweep activation=relu,tanh networkShape=4,8x2"
            )
        if key in axes:
            raise UserError(f"--sweep: expected each key once, received {key} twice; type {key}=value,value")
        alternatives = list(dict.fromkeys(part.strip() for part in text.split(",")))
        axes[key] = [(part, value_of(key, part)) for part in alternatives]
    count = math.prod(len(axis) for axis in axes.values())
    if count > LARGEST:
        raise UserError(f"--sweep: expected at most {LARGEST} combinations, received {count:,}; type fewer values")
    chosen = []
    for values in itertools.product(*axes.values()):
        named = dict(zip(axes, values, strict=True))
        changes = {key: value for key, (_, value) in named.items()}
        chosen.append(({key: part for key, (part, _) in named.items()}, dataclasses.replace(state, **changes)))
    return chosen


def value_of(key: str, text: str) -> Any:
    """A value as the state takes it; what it is, and whether it fits, is for the state to judge."""
    if key == "networkShape":
        return () if text in ("", "none") else tuple(number(key, size) for size in text.split("x"))
    if key in RANGES:
        return number(key, text)
    if isinstance(FIELDS[key].default, bool) and text in ("true", "false"):
        return text == "true"
    if key == "seed" and not text:
        raise UserError("--sweep: expected a text for each seed, received none; type seed=1,2,3")
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
    """Trains one combination after the other, the seeds of each side by side."""
    check_amount(epochs, sum(len(seeds_of(state)) for _, state in chosen))
    for place, (settings, state) in enumerate(chosen, start=1):
        told = f"{place} of {len(chosen)}, "

        def tell(epoch: int, told: str = told) -> None:
            if progress:
                progress(told, epoch)

        yield Row(settings, run_seeds(state, epochs, seeds_of(state), points=points, progress=tell))


def measures(history: History) -> dict[str, float]:
    """What a run ended with; nan for an accuracy where there is none."""
    last, accuracy = history.losses[-1], history.accuracy or {"train": math.nan, "test": math.nan}
    values = (last["train"], last["test"], accuracy["train"], accuracy["test"], history.dead_weights)
    return dict(zip(MEASURES, values, strict=True))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest; nan where a value is."""
    with np.errstate(all="ignore"):
        return {"median": float(np.median(values)), "min": float(np.min(values)), "max": float(np.max(values))}


def shown_spread(values: Sequence[float], digits: int = 3) -> str:
    """ "0.156 [0.056..0.431]", or the one value."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    s = spread(values)
    return f"{s['median']:.{digits}f} [{s['min']:.{digits}f}..{s['max']:.{digits}f}]"


def table(rows: Sequence[Row]) -> str:
    """One line a combination, in columns."""
    keys = list(rows[0].settings)
    names = {"test_loss": "test loss", "train_loss": "train loss", "test_accuracy": "test accuracy"}
    if any(history.accuracy is None for row in rows for history in row.histories):
        del names["test_accuracy"]
    if any(history.dead_weights for row in rows for history in row.histories):
        names["dead_weights"] = "dead weights"
    lines = [[*keys, *names.values()]]
    for row in rows:
        values = [measures(history) for history in row.histories]
        cells = [shown_spread([v[m] for v in values], 0 if m == "dead_weights" else 3) for m in names]
        lines.append([*(row.settings[key] or "none" for key in keys), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each combination its settings, the URL, and at the end of its runs the losses, with their spread."""
    listed = []
    for row in rows:
        values = [measures(history) for history in row.histories]
        listed.append(
            {
                "settings": row.settings,
                "url": row.histories[0].state.to_url(),
                **{name: spread([v[name] for v in values]) for name in MEASURES},
                "runs": [{"seed": h.state.seed, **v} for h, v in zip(row.histories, values, strict=True)],
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
        for history in row.histories:
            settings = [as_text(getattr(history.state, key)) for key in keys]
            writer.writerow([*settings, history.state.seed, *measures(history).values()])
    return text.getvalue()
