"""Ctrl-C and SIGTERM where they must not end the program there and then.

While a run trains, the first asks it to stop where it can go on later, and the second ends it. Where something must not
be left half done, they wait. (A mask of signals would not do: it holds for one thread, and NumPy's take them too.)
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
AGAIN = 0.5  # seconds; what follows sooner is the same request: `timeout` sends its signal twice


class Request:
    """Whether the run has been asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.since = 0.0

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def word(self) -> str:
        """What has happened, in a word; of several workers, another one may have been asked."""
        if self.signal is None:
            return "stopped"
        return "interrupted" if self.signal == signal.SIGINT else "terminated"


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Within the block a first signal is only noted; a second one goes to the handler that was there before.

    Outside the main thread, where Python has no signals, nothing is ever noted. What is ignored stays ignored.
    """
    request = Request()

    def note(signum: int, frame: object) -> None:
        now = time.monotonic()
        if not request:
            request.signal, request.since = signal.Signals(signum), now
            with contextlib.suppress(OSError, ValueError, AttributeError):  # the terminal may be what has gone
                terminal = sys.stderr.fileno()
                if os.isatty(terminal):
                    erase = b"\n" if os.environ.get("TERM") == "dumb" else b"\r\x1b[K"  # what is shown, and ^C
                    os.write(terminal, erase + b"stopping within seconds; once more stops at once\n")
        elif now - request.since > AGAIN:
            put_back(before)
            signal.raise_signal(signum)

    before = handle(SIGNALS, note)
    try:
        yield request
    finally:
        put_back(before)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Lets signals wait until the end of the block: while frameworks are imported, say, what is raised within the start
    of their C++ parts is fatal."""
    came: list[int] = []
    before = handle((*SIGNALS, signal.SIGALRM), lambda signum, frame: came.append(signum))
    try:
        yield
    finally:
        put_back(before)
        if came:
            signal.raise_signal(came[0])


def handle(signals: Sequence[signal.Signals], handler: Callable[[int, Any], None]) -> dict[signal.Signals, Any]:
    """Sets a handler, but not for what is ignored, nor outside the main thread; the handlers that were there."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for signum in signals:
            there = signal.getsignal(signum)
            if there not in (signal.SIG_IGN, None):  # None: not one that Python knows how to put back
                before[signum] = there
                signal.signal(signum, handler)
    return before


def put_back(handlers: Mapping[signal.Signals, Any]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
