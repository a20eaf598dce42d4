"""Waits for what may never answer: a TPU that is being set up, other workers."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from mnist_mlp.errors import UserError

Value = TypeVar("Value")
HEARTBEAT = 10.0  # seconds between signs of life


def within(seconds: float, what: str, remedy: str, call: Callable[[], Value]) -> Value:
    """`call()`, or `UserError` where it has not returned after that time; a line on standard error while it lasts.

    The call runs in a thread of its own, so that Ctrl-C is heard while C++ code waits. It cannot be ended:
    the thread goes with the process.
    """
    found: dict[str, Any] = {}

    def work() -> None:
        try:
            found["value"] = call()
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    began = said = time.monotonic()
    while thread.is_alive():
        thread.join(0.05)
        now = time.monotonic()
        if now - began > seconds:
            raise UserError(f"expected {what} within {seconds:g} seconds, it did not answer; {remedy}")
        if now - said > HEARTBEAT:
            said = now
            print(f"waiting for {what} ({now - began:.0f} s) ...", file=sys.stderr, flush=True)
    if "error" in found:
        raise found["error"]
    value: Value = found["value"]
    return value
