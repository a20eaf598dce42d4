"""Server-sent events: the stream of one run, or of all that are in view, to one watcher.

A frame's `id` is the identity of its event, or for several runs "NAME:IDENTITY" of each. A browser that lost its
connection sends the last one back (Last-Event-ID), and misses nothing. Frames without an id tell how a run stands: its
place in the queue, that its process was killed. They come at the start and after each change.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from mnist_mlp.lab.live.training import orders
from mnist_mlp.serve.connections import ENDLESS
from mnist_mlp.serve.limits import Refused

if TYPE_CHECKING:
    from mnist_mlp.lab.live.training.runner import LiveRun, Runner

WATCHERS = 200  # streams at once
ALIVE = 15.0  # seconds after which a stream without news sends a comment, so that proxies keep it
PATIENCE = 30.0  # seconds for a watcher to take a chunk
CHUNK = 200  # events of a backlog in one chunk
LONGEST = 1000  # characters of an id that comes back
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # a proxy must not collect the events
}
HEAD = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


def frame(line: bytes, identity: str = "") -> bytes:
    """Return an event as a frame."""
    head = f"id: {identity}\n".encode() if identity else b""
    return head + b"data: " + line + b"\n\n"


def seen(text: str, *, one: bool) -> dict[str, int]:
    """Return the positions in a Last-Event-ID: {"": identity} of one run, {name: identity} of several.

    Raise `Refused` for what no stream has sent.
    """
    found: dict[str, int] = {}
    if len(text) > LONGEST:
        raise Refused(400, f"Last-Event-ID: expected the id of an event, received {len(text):,} characters")
    for part in filter(None, text.split(",")):
        name, colon, number = part.rpartition(":")
        whole = number.isascii() and number.isdigit() and len(number) <= 15
        if not whole or bool(colon) is one or (colon and not orders.NAME.fullmatch(name)):
            wanted = "the id of an event, a whole number" if one else "ids of events, NAME:NUMBER,…"
            raise Refused(400, f"Last-Event-ID: expected {wanted}, received {text[:60]!r}")
        found[name] = int(number)
    return found


class Stream:
    """The response to one watcher, of one run, or of all that are in view. `positions` as `seen` returns them."""

    def __init__(self, runner: Runner, run: LiveRun | None, positions: Mapping[str, int]):
        self.runner, self.run = runner, run
        self.positions: dict[str, int] = {}
        self.wanted = {run.name: positions.get("", 0)} if run else dict(positions)
        self.sent: dict[str, bytes] = {}  # how a run stands, as this watcher knows it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.get("extensions", {}).get(ENDLESS, lambda: None)()
        await send({"type": "http.response.start", "status": 200, "headers": HEAD})
        gone = asyncio.ensure_future(left(receive))
        sending = asyncio.ensure_future(self.send_all(send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not gone.done():
                sending.result()  # raises what it raised
                await send({"type": "http.response.body", "body": b""})
        finally:
            for task in (gone, sending):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    async def send_all(self, send: Send) -> None:
        """Send the events as they come, until the watcher is gone or what is to be seen has ended."""
        with self.runner.watched():
            async for chunk in self.chunks():
                message = {"type": "http.response.body", "body": chunk, "more_body": True}
                taking = asyncio.ensure_future(send(message))
                try:
                    taken, _ = await asyncio.wait({taking}, timeout=PATIENCE)
                finally:
                    taking.cancel()
                if not taken:
                    return  # he takes nothing any more; should he come back, he continues where he was

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield frames in chunks."""
        yield b"retry: 1000\n\n"
        while True:
            version = self.runner.version
            sent = False
            for run in self.runs():
                async for chunk in self.news(run):
                    sent = True
                    yield chunk
            if self.run and over(self.run, self.positions[self.run.name]):
                yield b"event: end\ndata: {}\n\n"
                return
            if not sent and not await self.runner.changed(version, ALIVE):
                yield b": still here\n\n"

    def runs(self) -> list[LiveRun]:
        """Return what is to be seen, and forget what no longer is."""
        runs = [self.run] if self.run else self.runner.in_view()
        names = {run.name for run in runs}
        self.positions = {name: position for name, position in self.positions.items() if name in names}
        return runs

    async def news(self, run: LiveRun) -> AsyncIterator[bytes]:
        """Yield what this watcher does not know of a run yet."""
        if run.name not in self.positions:
            self.positions[run.name] = run.tail.at(self.wanted.get(run.name, 0))
        if run.tail.behind(self.positions[run.name]):
            async for chunk in self.backlog(run):
                yield chunk
        while found := run.tail.since(self.positions[run.name]):
            yield b"".join(self.framed(run, identity, line) for identity, line in found)
        standing = json.dumps(run.standing()).encode()
        if self.sent.get(run.name) != standing:
            self.sent[run.name] = standing
            yield frame(b'{"kind": "run", ' + standing[1:])

    async def backlog(self, run: LiveRun) -> AsyncIterator[bytes]:
        """Yield what only the file has, read in a thread: it may be long."""
        until = run.tail.position
        found = run.tail.backlog(self.positions[run.name])
        loop = asyncio.get_running_loop()
        while some := await loop.run_in_executor(None, lambda: list(islice(found, CHUNK))):
            yield b"".join(self.framed(run, identity, line) for identity, line in some)
        self.positions[run.name] = until

    def framed(self, run: LiveRun, identity: int, line: bytes) -> bytes:
        """Return the frame of an event, and note that it is sent."""
        self.positions[run.name] = identity
        if self.run:
            return frame(line, str(identity))
        return frame(line, ",".join(f"{name}:{position}" for name, position in self.positions.items()))


def over(run: LiveRun, position: int) -> bool:
    """Whether a run has ended, and a watcher at that position has all of it."""
    return not run.active and position >= run.tail.position


async def left(receive: Receive) -> None:
    """Return when the watcher has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
