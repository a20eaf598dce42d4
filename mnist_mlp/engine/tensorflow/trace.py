"""What TensorFlow and its devices do within a block, as files that TensorBoard and Perfetto open."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

PERFETTO = "perfetto_trace.json.gz"  # as JAX calls it


@contextlib.contextmanager
def traced(directory: Path) -> Iterator[None]:
    """Writes plugins/profile/TIME/ below the directory: *.xplane.pb and perfetto_trace.json.gz."""
    tf.profiler.experimental.start(str(directory))
    try:
        yield
    finally:
        tf.profiler.experimental.stop()
        newest = max((directory / "plugins" / "profile").iterdir())
        for file in newest.glob("*.xplane.pb"):
            (newest / PERFETTO).write_bytes(gzip.compress(json.dumps(as_trace_events(file.read_bytes())).encode()))


def as_trace_events(packed: bytes) -> dict[str, Any]:
    """An XSpace, which TensorFlow writes, in the Trace Event Format of Chrome, which Perfetto reads: a plane (a device)
    is a process there, a line of it a thread. Times from picoseconds to microseconds."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    events: list[dict[str, Any]] = []
    planes = [plane for plane in XSpace.FromString(packed).planes if plane.lines]
    for pid, plane in enumerate(planes, 1):
        events.append({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": plane.name}})
        for tid, line in enumerate(plane.lines, 1):
            name = line.display_name or line.name
            events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}})
            for event in line.events:
                about = plane.event_metadata[event.metadata_id]
                begin = line.timestamp_ns / 1e3 + event.offset_ps / 1e6
                place = {"pid": pid, "tid": tid, "ts": begin, "dur": event.duration_ps / 1e6}
                events.append({"ph": "X", "name": about.display_name or about.name, **place})
    return {"displayTimeUnit": "ns", "traceEvents": events}
