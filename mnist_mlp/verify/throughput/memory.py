"""Memory: what is free, and whether an error says that there is too little."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

TOO_LITTLE = re.compile(r"RESOURCE_EXHAUSTED|out of memory|bad_alloc|Allocation .* exceeds", re.IGNORECASE)


def is_too_little(error: Exception) -> bool:
    """Return whether an exception of NumPy, TensorFlow or JAX says that memory is short."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return True
    return isinstance(error, RuntimeError) and bool(TOO_LITTLE.search(str(error)))


def available(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process can still use on a Linux machine, in its container if it is in one, or None.

    Linux gives more than it has, and kills the process later: no error would tell.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        meminfo = (root / "proc/meminfo").read_text()
        found.append(1024 * int(re.search(r"MemAvailable:\s*(\d+)", meminfo)[1]))  # type: ignore[index]
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
        group = root / "sys/fs/cgroup"
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = re.search(r"^inactive_file (\d+)", (group / "memory.stat").read_text(), re.MULTILINE)
        found.append(max(0, limit - used + (int(cached[1]) if cached else 0)))
    return min(found, default=None)
