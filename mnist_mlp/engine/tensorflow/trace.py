"""Trace what TensorFlow and its devices do."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

PERFETTO = "perfetto_trace.json.gz"  # the name that JAX uses


@contextlib.contextmanager
def traced(directory: Path) -> Iterator[None]:
    """Write a trace of the block to plugins/profile/TIME/ below the directory: *.xplane.pb for TensorBoard, and
    perfetto_trace.json.gz for Perfetto."""
    tf.profiler.experimental.start(str(directory))
    try:
        yield
    finally:
        tf.profiler.experimental.stop()
        newest = max((directory / "plugins" / "profile").iterdir())
        for file in newest.glob("*.xplane.pb"):
            (newest / PERFETTO).write_bytes(gzip.compress(json.dumps(as_trace_events(file.read_bytes())).encode()))


def as_trace_events(xspace: bytes) -> dict[str, Any]:
    """Convert an XSpace, which TensorFlow writes, to Chrome's Trace Event Format, which Perfetto reads.

    A plane (a device) becomes a process, and each of its lines a thread. Picoseconds become microseconds.
    """
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    events: list[dict[str, Any]] = []
    planes = [plane for plane in XSpace.FromString(xspace).planes if plane.lines]
    for pid, plane in enumerate(planes, 1):
        events.append({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": plane.name}})
        for tid, line in enumerate(plane.lines, 1):
            name = line.display_name or line.name
            events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}})
            for event in line.events:
                metadata = plane.event_metadata[event.metadata_id]
                begin = line.timestamp_ns / 1e3 + event.offset_ps / 1e6
                span = {"pid": pid, "tid": tid, "ts": begin, "dur": event.duration_ps / 1e6}
                events.append({"ph": "X", "name": metadata.display_name or metadata.name, **span})
    return {"displayTimeUnit": "ns", "traceEvents": events}
