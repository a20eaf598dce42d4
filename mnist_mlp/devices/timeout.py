"""A time limit for calls that may never return: setting up a TPU, or connecting to other workers."""

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
HEARTBEAT = 10.0  # seconds between lines that say what is being waited for
GRACE = 5.0  # seconds after the limit at which the watchdog kills this process

# A separate process, because a call that holds the GIL stops every thread of this one.
WATCHDOG = """
import os, select, sys
if not select.select([0], [], [], float(sys.argv[1]))[0]:
    print(sys.argv[2], file=sys.stderr, flush=True)
    if os.getppid() == int(sys.argv[3]):
        os.kill(int(sys.argv[3]), 9)
"""


def within(seconds: float, what: str, remedy: str, call: Callable[[], Value]) -> Value:
    """Return `call()`. Raises `UserError` if it takes longer than `seconds`; reports on standard error meanwhile.

    The call runs in its own thread so that Ctrl-C works while C++ code waits. The thread cannot be stopped:
    it ends with the process.
    """
    late = f"no answer from {what} within {seconds:g} seconds; {remedy}"
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["value"] = call()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    began = reported = time.monotonic()
    with watchdog(seconds + GRACE, f"error: {late}"):
        thread.start()
        while thread.is_alive():
            thread.join(0.05)
            now = time.monotonic()
            if now - began > seconds:
                raise UserError(late)
            if now - reported > HEARTBEAT:
                reported = now
                print(f"waiting for {what} ({now - began:.0f} s) ...", file=sys.stderr, flush=True)
    if "error" in outcome:
        raise outcome["error"]
    value: Value = outcome["value"]
    return value


@contextlib.contextmanager
def watchdog(seconds: float, last_words: str) -> Iterator[None]:
    """Kill this process, with `last_words` on standard error, if the block takes longer than `seconds`."""
    command = [sys.executable, "-I", "-S", "-c", WATCHDOG, str(seconds), last_words, str(os.getpid())]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.communicate()
