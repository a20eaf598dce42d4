"""What a program says while it works: lines that stay, and on a terminal one line that tells how far the work has come.

The latter is written over and over on standard error, and leaves no trace; a log gets none of it.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

ERASE = "\x1b[K"  # from the cursor to the end of the line
WIDTH = 80  # columns of a terminal that does not tell


class Screen:
    """`stream`: where the lines go that stay; not given: standard output. `quiet`: nothing is said at all."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False):
        self.stream, self.quiet = stream or sys.stdout, quiet
        self.on = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.shown = False

    @property
    def width(self) -> int:
        """How many columns a line may have that is shown."""
        try:
            return (os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH) - 1
        except OSError:
            return WIDTH - 1

    @property
    def plain(self) -> bool:
        """Whether the terminal takes ASCII alone."""
        return not (sys.stderr.encoding or "").lower().startswith("utf")

    def say(self, text: str) -> None:
        """Lines that stay."""
        self.clear()
        if not self.quiet:
            write(self.stream, text + "\n")

    def show(self, text: str) -> None:
        """One line, without control characters, in the place of the last one that was shown."""
        if self.on:
            self.shown = True
            write(sys.stderr, f"\r{text[: self.width]}{ERASE}")

    def clear(self) -> None:
        """Takes away what is shown."""
        if self.shown:
            self.shown = False
            write(sys.stderr, f"\r{ERASE}")

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()


def write(stream: TextIO, text: str) -> None:
    """At once; not at all where the terminal was closed: SIGHUP says so too."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
