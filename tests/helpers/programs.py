"""Programs of the package as a user types them, and what is expected of their answers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from helpers.fork_server import run
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.errors import UserError

FRAMEWORKS = ("keras", "tensorflow", "jax", "tensorflow_datasets")


def program(name: str, *argv: object, blocked: bool = True, **more: Any) -> subprocess.CompletedProcess:
    """`python -m mnist_mlp.NAME ARGV…`, by default where importing a framework fails, else with TensorFlow."""
    if blocked:
        return run(name, *argv, backend=None, absent=FRAMEWORKS, **more)
    return run(name, *argv, backend="tensorflow", **more)


def door(*argv: object, **more: Any) -> subprocess.CompletedProcess:
    """`python -m mnist_mlp ARGV…`"""
    return run("__main__", *argv, backend=None, **more)


def exit_code(main: Callable[[Sequence[str]], object], *arguments: str) -> object:
    """Return what a program's `main`, called in this process, would end the process with."""
    try:
        main(arguments)
    except SystemExit as error:
        return error.code
    except UserError:
        return 2
    return 0


def refused(done: subprocess.CompletedProcess, *words: str) -> None:
    """Check an answer to a user's mistake: one line, exit code 2, nothing on standard output."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


class Collector(Reporter):
    """Keeps what is reported: lines in `lines`, progress in `progress_seen`."""

    def __init__(self, lines: list[str] | None = None) -> None:
        self.lines: list[str] = [] if lines is None else lines
        self.progress_seen: list[Any] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, now: Any) -> None:
        self.progress_seen.append(now)
