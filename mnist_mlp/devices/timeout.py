"""For what takes its time: a TPU that is being set up and other workers, which may never answer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mnist_mlp.errors import UserError

Value = TypeVar("Value")
HEARTBEAT = 10.0  # seconds between signs of life
GRACE = 5.0  # seconds until the watchdog acts where we did not


# A process beside ours: it ends us where the call holds Python's global lock, so that no thread of ours could.
WATCHDOG = """
import os, select, sys
if not select.select([0], [], [], float(sys.argv[1]))[0]:
    print(sys.argv[2], file=sys.stderr, flush=True)
    if os.getppid() == int(sys.argv[3]):
        os.kill(int(sys.argv[3]), 9)
"""


def within(seconds: float, what: str, remedy: str, call: Callable[[], Value]) -> Value:
    """`call()`, or `UserError` where it has not returned after that time; a line on standard error while it lasts.

    The call runs in a thread of its own, so that Ctrl-C is heard while C++ code waits. It cannot be ended:
    the thread goes with the process.
    """
    late = f"expected {what} within {seconds:g} seconds, no answer came; {remedy}"
    found: dict[str, Any] = {}

    def work() -> None:
        try:
            found["value"] = call()
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    began = said = time.monotonic()
    with watchdog(seconds + GRACE, f"error: {late}"):
        thread.start()
        while thread.is_alive():
            thread.join(0.05)
            now = time.monotonic()
            if now - began > seconds:
                raise UserError(late)
            if now - said > HEARTBEAT:
                said = now
                print(f"waiting for {what} ({now - began:.0f} s) ...", file=sys.stderr, flush=True)
    if "error" in found:
        raise found["error"]
    value: Value = found["value"]
    return value


@contextlib.contextmanager
def watchdog(seconds: float, last_words: str) -> Iterator[None]:
    """Ends this process, with those words on standard error, if the block lasts longer."""
    command = [sys.executable, "-I", "-S", "-c", WATCHDOG, str(seconds), last_words, str(os.getpid())]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.communicate()
