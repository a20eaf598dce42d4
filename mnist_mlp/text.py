"""Text for people: values as a message quotes them, the nearest known name, notes, alignment, arithmetic."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from typing import Any


def quoted(value: Any) -> str:
    """A value as it stands in a message: in quotes if it is text, and not longer than a line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def spelled_out(text: str) -> str:
    """Text in one line that steers no terminal and fits into UTF-8: what cannot be printed, controls and marks of
    direction among it, as Python writes it: \\n, \\x1b, \\u202e, \\udcff."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def nearest(word: str, known: Sequence[str]) -> str:
    """ "; did you mean X?" for the closest known word, or nothing."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def remarks(notes: list[str]) -> list[str]:
    """Notes that nobody may overlook, wrapped."""
    return [textwrap.fill(note, 110, initial_indent="  !      ", subsequent_indent=" " * 9) for note in notes]


def division(examples: int, batch: int, steps: int) -> str:
    """How a number of steps comes about: "60000/32 = 1875", "10000/32 → 313"."""
    return f"{examples}/{batch} {'=' if steps * batch == examples else '→'} {steps}"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns below each other, the first one to the left."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
