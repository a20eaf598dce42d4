"""The table that verify prints, a line for each stage as soon as it is done."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from mnist_mlp.verify.findings import MARKS
from mnist_mlp.verify.stages import SOAK, STAGES

WIDTH = 110
NAME, PROVES = (max(len(getattr(stage, field)) for stage in (*STAGES, SOAK)) for field in ("name", "proves"))
INDENT = 2 + NAME + 2  # where a reason starts


def head() -> str:
    """Return the head of the table."""
    return f"  {'stage':{NAME}}  {'proves':{PROVES}}  {'seconds':>7}  figure"


def row(stage: Mapping[str, Any]) -> str:
    """Return the line of a stage, and below it the reason if it did not pass."""
    line = f"{MARKS[stage['status']]} {stage['name']:{NAME}}  {stage['proves']:{PROVES}}  {stage['seconds']:7.1f}"
    lines = [f"{line}  {stage['figure']}".rstrip()]
    if stage["reason"]:
        margin = " " * INDENT
        lines += textwrap.wrap(stage["reason"], WIDTH, initial_indent=margin, subsequent_indent=margin)
    return "\n".join(lines)


def closing(report: Mapping[str, Any]) -> str:
    """Return the verdict."""
    count = {status: sum(stage["status"] == status for stage in report["stages"]) for status in MARKS}
    words = [f"{count['passed']} passed"]
    words += [
        f"{count[status]} {word}"
        for status, word in (("refuted", "refuted"), ("error", "could not be tried"), ("skipped", "skipped"))
        if count[status]
    ]
    verdict = {
        "passed": "passed: this machine trains correctly, as far as it was tried",
        "refuted": "REFUTED: this machine does not compute what it should",
        "error": "no verdict: something must be mended first",
    }[report["verdict"]]
    return f"\nverdict  {verdict} ({', '.join(words)}), {report['seconds']:.0f} s"
