"""Ctrl-C and SIGTERM while a run trains: the first asks it to stop where it can go on later, the second ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
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
    before: dict[signal.Signals, Any] = {}

    def note(signum: int, frame: object) -> None:
        now = time.monotonic()
        if not request:
            request.signal, request.since = signal.Signals(signum), now
            if os.isatty(2):
                os.write(
                    2, b"\nstopping within seconds; once more stops at once\n"
                )  # print might be interrupted itself
        elif now - request.since > AGAIN:
            restore()
            signal.raise_signal(signum)

    def restore() -> None:
        for signum, handler in before.items():
            signal.signal(signum, handler)

    if threading.current_thread() is threading.main_thread():
        for signum in SIGNALS:
            handler = signal.getsignal(signum)
            if handler not in (signal.SIG_IGN, None):  # None: not one that Python knows how to put back
                before[signum] = handler
                signal.signal(signum, note)
    try:
        yield request
    finally:
        restore()
