"""What JAX and its devices do within a block, as files that TensorBoard and Perfetto open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax


@contextlib.contextmanager
def traced(directory: Path) -> Iterator[None]:
    """Writes plugins/profile/TIME/ below the directory: *.xplane.pb and perfetto_trace.json.gz."""
    jax.profiler.start_trace(str(directory), create_perfetto_trace=True)
    try:
        yield
    finally:
        jax.profiler.stop_trace()
