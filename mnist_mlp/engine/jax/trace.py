"""Trace what JAX and its devices do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax


@contextlib.contextmanager
def traced(directory: Path) -> Iterator[None]:
    """Write a trace of the block to plugins/profile/TIME/ below the directory: *.xplane.pb for TensorBoard, and
    perfetto_trace.json.gz for Perfetto."""
    jax.profiler.start_trace(str(directory), create_perfetto_trace=True)
    try:
        yield
    finally:
        jax.profiler.stop_trace()
