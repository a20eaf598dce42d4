"""Run a program of the package, `python -m mnist_mlp.NAME`, from its imports to its exit code.

Exit codes: 0 success, 1 a bug (with a traceback), 2 an error that the user can fix, 3 training diverged, 4 a claim does
not hold, 75 stopped by Ctrl-C, SIGTERM or SIGHUP with everything saved; 130, 143, 129 killed by them at once; 141 the
reader of the output closed it.
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

from mnist_mlp.cli import load_framework, stderr_filter, variables
from mnist_mlp.errors import Stopped, UserError
from mnist_mlp.files import user_dirs
from mnist_mlp.text import spelled_out

REMINDER = 1.0  # seconds after which an interrupt that did not end the program is raised again


def start(module: str) -> None:
    """Run the `main` of that module. Ctrl-C during its imports ends the process without a traceback."""
    variables.remove_ignored()  # NumPy, too, reads some
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    run(importlib.import_module(module).main)


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Call `main` with the command-line arguments, and end the process with its exit code."""
    variables.remove_ignored()
    received, since = 0, 0.0

    def interrupt(signum: int, frame: object) -> None:
        nonlocal received, since
        if received and time.monotonic() - since < 1:
            return  # pressed twice: the first one is being handled
        received, since = signum, time.monotonic()
        # Python prints and drops exceptions raised in a callback of its garbage collector; JAX installs one.
        sys.unraisablehook = lambda dropped: None
        signal.setitimer(signal.ITIMER_REAL, REMINDER, REMINDER)
        raise KeyboardInterrupt

    def remind(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, remind)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # the shell may have it ignored, as nohup does
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
        if received:  # C code that is interrupted in an import may replace KeyboardInterrupt with another exception
            kept = f"; {error}" if isinstance(error, KeyboardInterrupt) and str(error) else ""
            end(128 + received, f"{'interrupted' if received == signal.SIGINT else 'terminated'}{kept}")
        if isinstance(error, SystemExit):
            if error.code is None or isinstance(error.code, int):
                end(error.code or 0)
            end(1, str(error.code))
        if isinstance(error, UserError):
            end(error.exit_code, f"{error.prefix}{error}")
        if isinstance(error, BrokenPipeError):  # as in `… | head`
            end(141)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            end(2, "error: no space left on device; free some space or choose another directory")
        if isinstance(error, OSError) and error.filename is not None:  # such as a directory without permission
            end(2, f"error: cannot read or write {error.filename}: {error.strerror}")
        if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # tempfile has tried them all
            end(
                2,
                "error: no temporary directory can be written to; free some space, or set TMPDIR to another directory",
            )
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            end(2, "error: out of memory; try a smaller --batch_size")
        raise


def prepare_streams() -> None:
    """Make every line printable: replace closed streams by the null device, escape what the encoding lacks."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that is opened would get this number
            os.open(os.devnull, os.O_RDWR)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w", closefd=False))  # noqa: SIM115 (open until the process ends)
        getattr(sys, name).reconfigure(errors="backslashreplace")


def end(code: int, message: str = "") -> NoReturn:
    """End the process with this exit code, and with the message, if any, on one line of standard error.

    The interpreter is not shut down: unloading TensorFlow takes 0.6 s, and after an interrupted import Python would
    die of a signal instead of returning `code`. All files are synced or flushed by now.
    """
    user_dirs.remove_scratch()
    with contextlib.suppress(OSError):  # standard error may be a full disk
        if message:
            print(spelled_out(message.replace("\n", " ")[:2000]), file=sys.stderr)
        sys.stderr.flush()
    os._exit(code)
