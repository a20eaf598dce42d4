"""Reporting: lines that stay, and on a terminal a line of progress.

The progress line is overwritten on standard error and erased at the end; a log contains none of it.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Protocol, TextIO

ERASE = "\x1b[K"  # from the cursor to the end of the line
WIDTH = 80  # columns of a terminal of unknown size


class Progress(Protocol):
    """Something that can be shown as a line of progress."""

    def render(self, width: int, *, ascii_only: bool) -> str:
        """Return one line of at most `width` columns."""


class Reporter:
    """Receives what a program reports. This one prints lines and ignores progress."""

    def line(self, text: str) -> None:
        """Report one or more lines that stay."""
        print(text, flush=True)

    def progress(self, now: Progress | str) -> None:
        """Report progress; called about once a second."""


class Silent(Reporter):
    """Ignores everything."""

    def line(self, text: str) -> None:
        pass


PRINT, SILENT = Reporter(), Silent()


class Terminal(Reporter):
    """Writes lines to `stream` (default: standard output) and shows progress on standard error if it is a terminal.

    `quiet` disables both. Used in a `with`, it erases the progress at the end.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False):
        self.stream, self.quiet = stream or sys.stdout, quiet
        self.on = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.shown = False

    @property
    def width(self) -> int:
        """Columns available for progress."""
        try:
            return (os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH) - 1
        except OSError:
            return WIDTH - 1

    @property
    def ascii_only(self) -> bool:
        """Whether the terminal is limited to ASCII."""
        return not (sys.stderr.encoding or "").lower().startswith("utf")

    def line(self, text: str) -> None:
        self.clear()
        if not self.quiet:
            write(self.stream, text + "\n")

    def progress(self, now: Progress | str) -> None:
        """Show one line, without control characters, in place of the previous one."""
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
    """Write and flush. A closed terminal is ignored: SIGHUP reports it, too."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
