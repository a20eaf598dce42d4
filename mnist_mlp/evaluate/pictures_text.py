"""The score on pictures of one's own, as text for the console."""

from __future__ import annotations

import dataclasses
from typing import Any

from mnist_mlp.runs import summary
from mnist_mlp.runs.result import Result
from mnist_mlp.text import remarks, spelled_out

LISTED = 50  # refusals, and as many mistakes; --json and --output have all of them
INDENT = " " * 9


def setting(result: dict[str, Any], trained: Result) -> str:
    """Return the lines about the pictures and the device."""
    count = f"{result['total']:,} picture{'s' * (result['total'] != 1)}"
    on_device = dataclasses.replace(trained, device=result["device"], backend=result["backend"])
    lines = [
        f"pictures {count} in {spelled_out(result['images'])}",
        f"{INDENT}labels: {result['layout']}" + ("" if result["settings"]["reframe"] else "; used as they are"),
        *remarks(result["notes"]),
        *summary.device(on_device),
    ]
    return "\n".join(lines)


def closing(result: dict[str, Any]) -> str:
    """Return the counts, the classes, and what was refused or mistaken."""
    refused, answered = result["refused"], result["answered"]
    errors = "; 1 refused one counts as an error" if refused == 1 else f"; {refused:,} refused ones count as errors"
    lines = ["", f"correct  {share_of(result, 'total', 'accuracy', 'interval')}{errors if refused else ''}"]
    if refused and answered:
        lines.append(f"answered {share_of(result, 'answered', 'answered_accuracy', 'answered_interval')}")
    lines += summary.class_table(result["per_class"])
    names = result["classes"]
    if result["mistakes"]:
        lines.append(f"mistakes {len(result['mistakes']):,}")
        lines += listed([f"{each['file']}: {mistake(each, names)}" for each in result["mistakes"]])
    if refused:
        lines.append(f"refused  {refused:,}")
        lines += listed([f"{each['file']}: {each['reason']}" for each in result["refusals"]])
    return "\n".join([*lines, f"run      {result['run_dir']}"])


def share_of(result: dict[str, Any], total: str, accuracy: str, interval: str) -> str:
    """Return how many are correct of the pictures that `total` counts: "9 of 10 = 90.00% (95% interval …)"."""
    low, high = result[interval]
    return (
        f"{result['correct']:,} of {result[total]:,} = {100 * result[accuracy]:.2f}% "
        f"(95% interval {100 * low:.2f}–{100 * high:.2f}%)"
    )


def mistake(outcome: dict[str, Any], names: list[str]) -> str:
    """Return a mistake in words: "7 taken for 1 (p 0.98)"."""
    found = outcome["class"]
    return f"{names[outcome['label']]} taken for {names[found]} (p {outcome['p'][found]:.2f})"


def listed(lines: list[str]) -> list[str]:
    """Return the first lines, each on one line whatever the names of files are, and how many more there are."""
    shown = [f"{INDENT}{spelled_out(line)}" for line in lines[:LISTED]]
    more = [f"{INDENT}… and {len(lines) - LISTED:,} more: --output and --json list all of them"]
    return [*shown, *more] if len(lines) > LISTED else shown
