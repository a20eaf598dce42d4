"""What several tests need and one of them makes, also where pytest runs in several processes."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The directory `name` of this session, which the first who asks for it fills with `make(directory)`.

    Nobody may change what lies there. What an attempt that failed has left is removed before the next one.
    """
    base = factory.getbasetemp()
    if base.name.startswith("popen-"):  # pytest-xdist: one below the directory that all workers share
        base = base.parent
    path, done = base / f"once-{name}", base / f"once-{name}.done"
    with (base / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            make(path)
            done.touch()
    return path
