"""process: whole processes, from start to end, in parts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measures.programs import PARTS, PROGRAMS, Asked, Program, run_ours, run_rival
from measures.running import Case, Figures, Series, alternate
from measures.tables import column, markdown, ratios, spread
from mnist_mlp.files import figures

TRAINING = tuple(program.name for program in PROGRAMS.values() if program.trains)
STAGES = (*PARTS, "rest")
COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#BBBBBB")  # of Okabe and Ito, and grey


def measure(asked: Asked) -> list[Series]:
    programs = asked.chosen(TRAINING)
    for program in programs:
        if program.backend and not program.first:  # what is measured is a later run
            asked.say(f"once before  {program.name}: {once(program, asked, 0)['process']:.1f} s")
    cases = [Case({"program": program.name}, partial(once, program, asked)) for program in programs]
    return alternate(cases, asked.runs, asked.say)


def once(program: Program, asked: Asked, number: int) -> Figures:
    if program.backend:
        return run_ours(program, asked, [f"--preset={asked.preset}", f"--epochs={asked.epochs}"])
    return run_rival(program, asked)


def table(found: Sequence[Series]) -> str:
    """Seconds, memory and accuracy; then the parts of the seconds. The base of the ratios is the first program."""
    base = found[0]
    rows, parts = [], []
    for series in found:
        label = PROGRAMS[series["program"]].label
        rows.append(
            [
                label,
                spread(column(series, "process"), "s"),
                spread(ratios(column(series, "process"), column(base, "process"))),
                spread(column(series, "cpu"), "s"),
                spread(column(series, "memory"), "MB"),
                spread(ratios(column(series, "memory"), column(base, "memory"))),
                spread(column(series, "accuracy", 100), "%"),
            ]
        )
        parts.append([label, *(f"{statistics.median(column(series, stage)):.2f}" for stage in STAGES)])
    against = f"/ {PROGRAMS[base['program']].label}"
    head = ["program", "whole process", against, "of CPU", "peak memory", against, "test accuracy"]
    below = "In parts, median seconds (rest: Python's start, saving, the end):"
    return "\n\n".join([markdown(head, rows), below, markdown(["program", *STAGES], parts)])


def draw(found: Sequence[Series], caption: Sequence[str], file: Path) -> None:
    """The median process of each program as a bar of its parts."""
    from matplotlib.ticker import MaxNLocator

    figure = figures.new(8, 1.3 + 0.45 * len(found))
    axes = figure.add_subplot()
    ordered = sorted(found, key=lambda series: statistics.median(column(series, "process")))
    for place, series in enumerate(ordered):
        left = 0.0
        for stage, colour in zip(STAGES, COLOURS, strict=True):
            width = max(0.0, statistics.median(column(series, stage)))
            label = stage if place == 0 else None
            axes.barh(place, width, 0.68, left, color=colour, edgecolor="white", linewidth=0.5, label=label)
            left += width
        seconds = column(series, "process")
        axes.plot([min(seconds), max(seconds)], [place] * 2, color="#333333", linewidth=1, solid_capstyle="butt")
        right = max(left, max(seconds))
        axes.annotate(f"{statistics.median(seconds):.1f} s", (right, place), (4, 0), textcoords="offset points",
                      va="center", fontsize="small", color="#333333")  # fmt: skip
    names = [PROGRAMS[series["program"]] for series in ordered]
    axes.set_yticks(range(len(ordered)), [name.label for name in names])
    for text, name in zip(axes.get_yticklabels(), names, strict=True):
        text.set_fontweight("bold" if name.backend else "normal")
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("seconds from the start of the process to its end")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(ncols=len(STAGES), loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize="small",
                borderaxespad=0, handlelength=1, columnspacing=1.2)  # fmt: skip
    figures.caption(figure, caption)
    figures.save(figure, file)
