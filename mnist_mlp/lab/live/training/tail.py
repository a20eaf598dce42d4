"""One reader of a run's events for everybody who looks on.

`Tail` reads what is new once and keeps its end in memory; each watcher has a position of its own in it, so nobody waits
for a slow one, and nothing piles up for him: who is far behind reads the file.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_mlp.lab.live.training import events

RECENT = 2**20  # bytes of lines kept in memory
POINTS = 2000  # of the curves that a watcher gets who comes late: the steps before that are sent together
AT_ONCE = 2**18  # bytes of a chunk for one watcher
Event = tuple[int, bytes]  # its identity, and its line


class Tail:
    """The events in a file, as far as they are read. Use it on one thread; `backlog` may be read on others."""

    def __init__(self, file: Path):
        self.file = file
        self.position = 0  # the identity of the last event that is read
        self.recent: collections.deque[Event] = collections.deque()
        self.begin = 0  # where the first of them begins
        self.kept = 0  # bytes
        self.newest: dict[str, int] = {}  # identity of the newest event, by its kind
        self.last: dict[str, dict[str, Any]] = {}  # the newest event itself, but of the large kinds
        self.steps = 0

    def read(self) -> bool:
        """Read what is new. Return whether there was anything."""
        before = self.position
        for identity, line in events.lines(self.file, self.position):
            self.add(identity, line)
        return self.position > before

    def add(self, identity: int, line: bytes) -> None:
        """Note an event, and forget the oldest ones beyond RECENT."""
        kind = events.kind_of(line)
        self.position, self.newest[kind] = identity, identity
        if kind not in events.LARGE:
            self.last[kind] = json.loads(line)
        self.steps += kind == "step"
        self.recent.append((identity, line))
        self.kept += len(line)
        while self.kept > RECENT and len(self.recent) > 1:
            self.begin, dropped = self.recent.popleft()
            self.kept -= len(dropped)

    def at(self, identity: int) -> int:
        """Return where a watcher continues who has seen the event `identity`: there, or at 0 if this file has none."""
        known = 0 <= identity <= self.position and events.ends_a_line(self.file, identity)
        return identity if known else 0

    def behind(self, position: int) -> bool:
        """Whether events after `position` are no longer in memory."""
        return position < self.begin

    def since(self, position: int) -> list[Event]:
        """Return the events after `position` that are in memory, at most AT_ONCE bytes of them."""
        found, size = [], 0
        for event in reversed(self.recent):
            if event[0] <= position:
                break
            found.append(event)
        found.reverse()
        for count, (_, line) in enumerate(found, start=1):
            size += len(line)
            if size > AT_ONCE:
                return found[:count]
        return found

    def backlog(self, position: int) -> Iterator[Event]:
        """Yield the events after `position` that are read so far, thinned (see `events.thinned`)."""
        found = events.lines(self.file, position, self.position)
        return events.thinned(found, dict(self.newest), -(-self.steps // POINTS))
