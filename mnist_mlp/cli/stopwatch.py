"""The seconds of a program's parts, and its peak memory."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, in 10⁶ bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


class Stopwatch:
    """A stopwatch for the stages of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.began = self.last = time.perf_counter()

    def end(self, stage: str) -> None:
        """The time since the last call belongs to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = now - self.last
        self.last = now

    def measured(self) -> dict[str, Any]:
        """The fields of a result that say what the run took so far."""
        total = time.perf_counter() - self.began
        return {"seconds": {**self.seconds, "total": total}, "peak_memory_mb": peak_memory_mb()}
