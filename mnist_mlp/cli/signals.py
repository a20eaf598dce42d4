"""SIGINT (Ctrl-C), SIGTERM and SIGHUP where they must not end the program at once.

During training the first signal requests a stop at a point from which the run can be resumed; the second ends the
program. Code that must not be interrupted defers them. (A signal mask would not suffice: it applies to one thread, and
NumPy's threads receive signals, too.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 0.5  # seconds within which a second signal is the same request: `timeout` sends its signal twice


class Request:
    """Whether a stop was requested, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.since = 0.0

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def word(self) -> str:
        """What happened, as a participle. With several workers, the signal may have reached another one."""
        if self.signal is None:
            return "stopped"
        return "interrupted" if self.signal == signal.SIGINT else "terminated"


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Record the first signal within the block; pass a second one to the previous handler.

    Outside the main thread, where Python handles no signals, none is recorded. Ignored signals stay ignored.
    """
    request = Request()

    def note(signum: int, frame: object) -> None:
        now = time.monotonic()
        if not request:
            request.signal, request.since = signal.Signals(signum), now
            with contextlib.suppress(OSError, ValueError, AttributeError):  # the terminal may have been closed
                terminal = sys.stderr.fileno()
                if os.isatty(terminal):
                    erase = b"\n" if os.environ.get("TERM") == "dumb" else b"\r\x1b[K"  # the progress line, and ^C
                    os.write(terminal, erase + b"stopping after the current step; press Ctrl-C again to quit now\n")
        elif now - request.since > AGAIN:
            restore(before)
            signal.raise_signal(signum)

    before = handle(SIGNALS, note)
    try:
        yield request
    finally:
        restore(before)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Defer signals until the end of the block.

    For example while a framework is imported: an exception raised while its C++ code initializes is fatal.
    """
    received: list[int] = []
    before = handle((*SIGNALS, signal.SIGALRM), lambda signum, frame: received.append(signum))
    try:
        yield
    finally:
        restore(before)
        if received:
            signal.raise_signal(received[0])


def handle(signals: Sequence[signal.Signals], handler: Callable[[int, Any], None]) -> dict[signal.Signals, Any]:
    """Set a handler, except for ignored signals and outside the main thread; return the previous handlers."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for signum in signals:
            previous = signal.getsignal(signum)
            if previous not in (signal.SIG_IGN, None):  # None: a handler that Python cannot restore
                before[signum] = previous
                signal.signal(signum, handler)
    return before


def restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
