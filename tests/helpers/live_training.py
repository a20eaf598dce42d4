"""The room in which runs are watched, within this process: its application, and somebody who looks on."""

import asyncio
import contextlib
import json
import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from mnist_mlp.lab.live import app as live
from mnist_mlp.lab.live.training.routes import routes
from mnist_mlp.serve.metrics import Metrics
from mnist_mlp.serve.middleware import Middleware
from mnist_mlp.serve.origins import access_to


def application(runner, **options):
    """The room's routes, mounted as the lab mounts them."""
    app = Starlette(routes=routes(runner, **options), exception_handlers={HTTPException: live.refuse})
    return Middleware(app, {}, Metrics(), ["/training"], access_to("127.0.0.1"))


class Watcher:
    """Reads a stream of events in a task of its own; in a `with`, it leaves at the end."""

    def __init__(self, app, path, last_event_id=""):
        self.app, self.path, self.last = app, path, last_event_id
        self.status, self.events, self.ids = None, [], []
        self.ended = False  # whether the server said so
        self.comments = 0  # that only keep the stream alive
        self.text = b""
        self.gone = asyncio.Event()

    async def __aenter__(self):
        path, _, query = self.path.partition("?")
        headers = [(b"host", b"localhost")] + [(b"last-event-id", self.last.encode())] * bool(self.last)
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": path}
        scope |= {"scheme": "http", "raw_path": path.encode(), "query_string": query.encode(), "root_path": ""}
        scope |= {"headers": headers, "server": ("localhost", 80), "client": ("127.0.0.1", 1), "state": {}}
        self.task = asyncio.create_task(self.app(scope, self.receive, self.send))
        return self

    async def __aexit__(self, *error):
        self.gone.set()
        await asyncio.wait_for(self.task, 10)

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.text += message["body"]
        *frames, self.text = self.text.split(b"\n\n")
        for each in frames:
            self.comments += each.startswith(b":")
            fields = dict(line.split(b": ", 1) for line in each.splitlines() if not line.startswith(b":"))
            if fields.get(b"event") == b"end":
                self.ended = True
            elif b"data" in fields:
                self.events.append(json.loads(fields[b"data"]))
                self.ids.append(fields.get(b"id", b"").decode())

    def of(self, kind):
        """The events of a kind so far."""
        return [event for event in self.events if event["kind"] == kind]

    def logged(self):
        """The events that are in the file: those with an id."""
        return [event for event, identity in zip(self.events, self.ids, strict=True) if identity]

    def states(self):
        return [event["state"] for event in self.of("state")]

    async def until(self, true, seconds=120):
        """Wait until `true(self)`."""
        end = time.monotonic() + seconds
        while not true(self):
            assert not self.task.done() or true(self), (self.status, self.states(), self.of("run")[-1:])
            assert time.monotonic() < end, (self.states(), self.of("run")[-1:], [e["kind"] for e in self.events[-5:]])
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def ending(runner):
    """See that no process of the runner outlives the block."""
    try:
        yield runner
    finally:
        if runner.ticking:
            runner.ticking.cancel()
        runner.close()
