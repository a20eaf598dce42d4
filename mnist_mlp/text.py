"""Text for people: quoted values, "did you mean", notes, tables."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from typing import Any


def quoted(value: Any) -> str:
    """Return a value as a message shows it: text in quotes, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def spelled_out(text: str) -> str:
    """Return the text on one line, safe for a terminal and for UTF-8.

    Characters that cannot be printed, such as control and direction marks, are escaped as in Python: \\n, \\x1b,
    \\u202e, \\udcff.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def nearest(word: str, known: Sequence[str]) -> str:
    """Return "; did you mean 'X'?" for the closest of the known words, or "" if none is close."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def remarks(notes: list[str]) -> list[str]:
    """Return notes that must not be overlooked: wrapped, and marked with an exclamation mark."""
    return [textwrap.fill(note, 110, initial_indent="  !      ", subsequent_indent=" " * 9) for note in notes]


def division(examples: int, batch: int, steps: int) -> str:
    """Return the division behind a number of steps: "60000/32 = 1875", rounded up "10000/32 → 313"."""
    return f"{examples}/{batch} {'=' if steps * batch == examples else '→'} {steps}"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table: the first column aligned left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
