"""Run a program: `python -m mnist_mlp.NAME` from the first import to its exit code.

Exit codes: 0 done, 1 a bug (with traceback), 2 something for the user to mend, 3 training diverged, 4 a claim
refuted, 75 stopped by Ctrl-C, SIGTERM or SIGHUP with everything saved; 130, 143, 129 ended at once by them, 141 nobody
reads the output.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from mnist_mlp.cli import load_framework, stderr_filter
from mnist_mlp.errors import Stopped, UserError
from mnist_mlp.text import spelled_out

REMINDER = 1.0  # seconds after which an interrupt that has not ended the program is raised again


def start(module: str) -> None:
    """Run the `main` of that module. Ctrl-C while it is imported ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    run(importlib.import_module(module).main)


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a program's `main` on the command line's arguments and ends the process with its exit code."""
    received, since = 0, 0.0

    def interrupt(signum: int, frame: object) -> None:
        nonlocal received, since
        if received and time.monotonic() - since < 1:
            return  # pressed twice: the first one is being answered
        received, since = signum, time.monotonic()
        # Python drops, with a traceback, what is raised within a callback of its garbage collector (JAX has one).
        sys.unraisablehook = lambda dropped: None
        signal.setitimer(signal.ITIMER_REAL, REMINDER, REMINDER)
        raise KeyboardInterrupt

    def remind(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, remind)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # ignored where the shell said so, as under nohup
            signal.signal(signum, interrupt)
    try:
        prepare_streams()
        stderr_filter.silence()
        stderr_filter.keep_standard_output()
        load_framework.install()
        main(sys.argv[1:])
        sys.stdout.flush()
        end(0)
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if isinstance(error, Stopped):
            end(error.exit_code, str(error))
        if received:  # also where C code, interrupted in an import, turned KeyboardInterrupt into something else
            kept = f"; {error}" if isinstance(error, KeyboardInterrupt) and str(error) else ""
            end(128 + received, f"{'interrupted' if received == signal.SIGINT else 'terminated'}{kept}")
        if isinstance(error, SystemExit):
            if error.code is None or isinstance(error.code, int):
                end(error.code or 0)
            end(1, str(error.code))
        if isinstance(error, UserError):
            end(error.exit_code, f"{error.prefix}{error}")
        if isinstance(error, BrokenPipeError):  # the reader has seen enough, as in `… | head`
            end(141)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            end(2, "error: expected room for the output, received: no space left; free some, or name another place")
        if isinstance(error, OSError) and error.filename is not None:  # such as a directory without permission
            end(2, f"error: {error.filename}: expected to read or write it, received: {error.strerror}")
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            end(2, "error: expected enough memory for this run, there is too little; type a smaller --batch_size")
        raise


def prepare_streams() -> None:
    """Standard output and error that take every line: closed ones lead nowhere, a poor encoding gets escapes."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed, and the lowest one that is free: what is opened next would take its place
            os.open(os.devnull, os.O_RDWR)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w", closefd=False))  # noqa: SIM115 (open until the process ends)
        getattr(sys, name).reconfigure(errors="backslashreplace")


def end(code: int, message: str = "") -> NoReturn:
    """Ends the process, with one line on standard error if there is something to say.

    At once: taking TensorFlow apart in an orderly way costs 0.6 s, and where an import was interrupted Python
    would end by a signal instead of `code`. What the programs write is synced or flushed before.
    """
    with contextlib.suppress(OSError):  # a standard error that is full
        if message:
            print(spelled_out(message.replace("\n", " ")[:2000]), file=sys.stderr)
        sys.stderr.flush()
    os._exit(code)
