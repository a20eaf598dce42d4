"""The seconds of a program's stages, and its peak memory."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any


def peak_memory_mb() -> float:
    """Return the peak resident set size of this process in 10⁶ bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


class Stopwatch:
    """Measures the stages of a program."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.began = self.last = time.perf_counter()

    def end(self, stage: str) -> None:
        """End `stage`, which began when the previous one ended."""
        now = time.perf_counter()
        self.seconds[stage] = now - self.last
        self.last = now

    def measured(self) -> dict[str, Any]:
        """Return the fields of a result for time and memory."""
        total = time.perf_counter() - self.began
        return {"seconds": {**self.seconds, "total": total}, "peak_memory_mb": peak_memory_mb()}
