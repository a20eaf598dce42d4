"""Where a program reports: lines that stay, and on a terminal one line that says how far the work has come.

The latter is written over and over on standard error, and leaves no trace; a log gets none of it.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Protocol, TextIO

ERASE = "\x1b[K"  # from the cursor to the end of the line
WIDTH = 80  # columns of a terminal that does not say


class Progress(Protocol):
    """How far some work is, for a terminal."""

    def render(self, width: int, *, ascii_only: bool) -> str:
        """One line of at most `width` columns."""


class Reporter:
    """What a program reports to. This one prints the lines and shows no progress."""

    def line(self, text: str) -> None:
        """Report a line, or several, that stay."""
        print(text, flush=True)

    def progress(self, now: Progress | str) -> None:
        """Report how far the work is; called often, about once a second."""


class Silent(Reporter):
    """Drops all that is reported."""

    def line(self, text: str) -> None:
        pass


PRINT, SILENT = Reporter(), Silent()


class Terminal(Reporter):
    """Writes lines to `stream` (default: standard output) and shows progress on standard error, if that is a terminal.

    `quiet` drops both. To be used in a `with`, at whose end the progress is erased.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False):
        self.stream, self.quiet = stream or sys.stdout, quiet
        self.on = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.shown = False

    @property
    def width(self) -> int:
        """How many columns the progress may have."""
        try:
            return (os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH) - 1
        except OSError:
            return WIDTH - 1

    @property
    def ascii_only(self) -> bool:
        """Whether the terminal takes ASCII alone."""
        return not (sys.stderr.encoding or "").lower().startswith("utf")

    def line(self, text: str) -> None:
        self.clear()
        if not self.quiet:
            write(self.stream, text + "\n")

    def progress(self, now: Progress | str) -> None:
        """Show one line, without control characters, in the place of the last one."""
        if self.on:
            self.shown = True
            text = now if isinstance(now, str) else now.render(self.width, ascii_only=self.ascii_only)
            write(sys.stderr, f"\r{text[: self.width]}{ERASE}")

    def clear(self) -> None:
        """Erase the progress."""
        if self.shown:
            self.shown = False
            write(sys.stderr, f"\r{ERASE}")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()


def write(stream: TextIO, text: str) -> None:
    """Write at once; not at all where the terminal was closed, which SIGHUP reports too."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
