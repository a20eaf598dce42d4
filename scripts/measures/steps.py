"""step, batch, data, replicas: steady steps and epochs of training, without compilation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

from measures.programs import PROGRAMS, Asked, Program, run_our_steps, run_rival
from measures.running import Case, Figures, Series, alternate
from measures.tables import column, markdown, of_program, ratios, spread

BATCH_SIZES = tuple(2**power for power in range(5, 14))  # 32 … 8192
TIMES = (1, 4, 16)
REPLICAS = (1, 2)
EPOCHS_OF_REPLICAS = 3  # at most: TensorFlow's replicas take tens of seconds for one
OURS = ("ours", "ours-jax")
FLOORS = ("floor", "floor-1")


def once(
    program: Program, asked: Asked, number: int, batch_size: int = 32, times: int = 1, replicas: int = 1
) -> Figures:
    if not program.backend:
        return run_rival(program, asked, batch_size)
    flags = [f"--preset={asked.preset}", f"--epochs={asked.epochs}", f"--batch_size={batch_size}"]
    flags += [f"--replicas={replicas}"] * (replicas > 1)
    return run_our_steps(program, asked, flags, times)


def measure_step(asked: Asked) -> list[Series]:
    programs = asked.chosen([program.name for program in PROGRAMS.values() if not program.first])
    return alternate(
        [Case({"program": each.name}, partial(once, each, asked)) for each in programs], asked.runs, asked.say
    )


def measure_varied(asked: Asked, programs: Sequence[str], option: str, values: Sequence[int]) -> list[Series]:
    """Each of the programs with each of the values of an option of `once`."""
    cases = [
        Case({"program": program.name, option: value}, partial(once, program, asked, **{option: value}))
        for program in asked.chosen(programs)
        for value in values
    ]
    return alternate(cases, asked.runs, asked.say)


def measure_batch(asked: Asked) -> list[Series]:
    """Ours, or the programs that are asked for by name."""
    return measure_varied(
        asked, [each for each in PROGRAMS if each in asked.programs] or OURS, "batch_size", BATCH_SIZES
    )


def measure_data(asked: Asked) -> list[Series]:
    return measure_varied(asked, OURS, "times", TIMES)


def measure_replicas(asked: Asked) -> list[Series]:
    asked = dataclasses.replace(asked, epochs=min(asked.epochs, EPOCHS_OF_REPLICAS))
    return measure_varied(asked, OURS, "replicas", REPLICAS)


def step_table(found: Sequence[Series]) -> str:
    """µs per step, and how many times as long as ours; then ours against the floor."""
    ours = [series for series in found if series["program"] in OURS]
    rows = []
    for series in found:
        calls = column(series, "calls") if series in ours else []
        against = [spread(ratios(column(series, "step"), column(base, "step"))) for base in ours]
        rows.append(
            [PROGRAMS[series["program"]].label, spread(column(series, "step"), "µs"), spread(calls, "µs"), *against]
        )
    head = ["program", "steady step", "of it in compiled calls", *(f"/ {PROGRAMS[s['program']].label}" for s in ours)]
    lines = [markdown(head, rows)]
    floors = [floor for name in FLOORS if (floor := of_program(found, name))]
    if floors and ours:
        lowest = [min(steps) for steps in zip(*(column(floor, "step") for floor in floors), strict=True)]
        told = [
            f"{PROGRAMS[s['program']].label} {spread(ratios(column(s, 'step'), lowest))}, its compiled calls "
            f"{spread(ratios(column(s, 'calls'), lowest))}"
            for s in ours
        ]
        lines.append(f"Against the floor (of each round the lower one, {spread(lowest, 'µs')}): {'; '.join(told)}")
    return "\n\n".join(lines)


def batch_table(found: Sequence[Series]) -> str:
    """µs per step, and images per second."""
    names = list(dict.fromkeys(series["program"] for series in found))
    head = ["batch size", *(f"{PROGRAMS[name].label}: {unit}" for name in names for unit in ("step", "images/s"))]
    rows = []
    for size in dict.fromkeys(series["batch_size"] for series in found):
        row = [str(size)]
        for name in names:
            (series,) = (each for each in found if each["program"] == name and each["batch_size"] == size)
            steps = column(series, "step")
            row += [spread(steps, "µs"), spread([1e6 * size / step for step in steps], "/s")]
        rows.append(row)
    return markdown(head, rows)


def data_table(found: Sequence[Series]) -> str:
    """Steady seconds of an epoch, and how many times those of the data once."""
    return varied_table(found, "times", "data", "×", "epoch", "s")


def replicas_table(found: Sequence[Series]) -> str:
    """Steady µs of a step, and how many times those of one replica."""
    return varied_table(found, "replicas", "replicas", "", "step", "µs")


def varied_table(found: Sequence[Series], option: str, word: str, mark: str, figure: str, unit: str) -> str:
    """A figure for each value of an option, against the first value of the same program."""
    rows = []
    for series in found:
        first = next(each for each in found if each["program"] == series["program"])
        values = column(series, figure)
        against = spread(ratios(values, column(first, figure)))
        rows.append([PROGRAMS[series["program"]].label, f"{mark}{series[option]}", spread(values, unit), against])
    return markdown(["program", word, f"steady {figure}", f"/ {mark}{found[0][option]}"], rows)
