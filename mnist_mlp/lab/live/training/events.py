"""The events of a run: a file of JSON lines that only grows, and the identity of an event is where its line ends.

One process at a time writes: the one that trains, which holds the lock of the folder. Everybody may read. A line is
whole or not there: the reader takes nothing after the last newline, and a writer that goes on where another was killed
cuts off half a line before it adds its own. So an identity, once given out, stays what it is: whoever comes back with
one continues there, with a seek, whatever became of the server meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_mlp.runs.result import finite

NAME = "events.jsonl"
LARGE = ("look", "scores")  # kinds with pictures: of these a reader who comes late gets the newest only
KIND = re.compile(rb'\{"kind": "([a-z]+)"')  # how every line begins
CHUNK = 2**18  # bytes read at once


class EventLog:
    """Appends events to the file. `run` is the name of the run, which every event has."""

    def __init__(self, file: Path, run: str):
        self.file, self.run = file, run
        self.descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.ftruncate(self.descriptor, whole(self.descriptor))

    def write(self, kind: str, **values: Any) -> None:
        """Append an event. A number that JSON does not have (nan, inf) becomes null."""
        event = {"kind": kind, "run": self.run, "time": round(time.time(), 3), **finite(values)}
        left = memoryview(as_line(event))
        while left:
            left = left[os.write(self.descriptor, left) :]

    def close(self) -> None:
        os.close(self.descriptor)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def as_line(values: dict[str, Any]) -> bytes:
    """Return a JSON object as a line."""
    return json.dumps(values, allow_nan=False).encode() + b"\n"


def whole(descriptor: int) -> int:
    """Return the size of a file up to its last newline."""
    size = os.fstat(descriptor).st_size
    while size:
        start = max(0, size - CHUNK)
        found = os.pread(descriptor, size - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def lines(file: Path, start: int, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (identity, line without its newline) of the whole lines from `start` on, up to `stop`.

    Yields nothing for a file that is not there (yet).
    """
    with contextlib.suppress(FileNotFoundError), open(file, "rb", buffering=CHUNK) as opened:
        opened.seek(start)
        while stop is None or start < stop:
            line = opened.readline()
            if not line.endswith(b"\n"):
                return
            start += len(line)
            yield start, line[:-1]


def ends_a_line(file: Path, identity: int) -> bool:
    """Whether `identity` is that of an event in the file, or 0, which comes before the first."""
    if identity == 0:
        return True
    with contextlib.suppress(FileNotFoundError), open(file, "rb") as opened:
        opened.seek(identity - 1)
        return opened.read(1) == b"\n"
    return False


def kind_of(line: bytes) -> str:
    """Return the kind of an event; "" for a line that no run writes."""
    found = KIND.match(line)
    return found[1].decode() if found else ""


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return two `step` events that follow one another as one: sums are added, means are weighted by images."""
    images = first["images"] + second["images"]
    means = {}
    for name in ("loss", "accuracy"):
        one, other = first[name], second[name]
        known = one is not None and other is not None
        means[name] = (one * first["images"] + other * second["images"]) / images if known and images else other
    return {**second, **means, "images": images, "seconds": first["seconds"] + second["seconds"]}


def thinned(events: Iterator[tuple[int, bytes]], newest: dict[str, int], together: int) -> Iterator[tuple[int, bytes]]:
    """Yield the events for a reader who comes late: of each kind in LARGE the newest, and `together` steps as one.

    `newest` has the identity of the newest event of each kind. A merged event has the identity of its last one.
    """
    held: tuple[int, dict[str, Any], int] | None = None  # identity, event, of how many
    for identity, line in events:
        kind = kind_of(line)
        if kind == "step" and together > 1:
            event = json.loads(line)
            if held and held[2] < together:
                held = identity, merged(held[1], event), held[2] + 1
                continue
            if held:
                yield held[0], json.dumps(held[1]).encode()
            held = identity, event, 1
            continue
        if held:
            yield held[0], json.dumps(held[1]).encode()
            held = None
        if kind not in LARGE or identity >= newest.get(kind, 0):
            yield identity, line
    if held:
        yield held[0], json.dumps(held[1]).encode()
