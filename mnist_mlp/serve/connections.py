"""Connections, beyond what uvicorn does with them: no client may hold one for long, or send a head without end."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mnist_mlp.serve.limits import CONNECTIONS, HEAD

LAST = 0.2  # seconds in which an idle connection may still bring a request that was on its way when the server stops


class Connection(HttpToolsProtocol):
    """One client. `seconds` are given for a whole request to arrive, and as many for its answer to be taken."""

    seconds: ClassVar[float] = 20.0
    most: ClassVar[int] = CONNECTIONS
    timer: asyncio.TimerHandle | None = None
    arriving = True  # a request is awaited, or on its way
    head = 0  # bytes of its head, so far
    stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > self.most:
            self.transport.abort()
        else:
            self.wind()

    def connection_lost(self, exc: Exception | None) -> None:
        self.unwind()
        super().connection_lost(exc)

    def wind(self) -> None:
        """Starts the clock anew."""
        self.unwind()
        self.timer = self.loop.call_later(self.seconds, self.too_late)

    def unwind(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def data_received(self, data: bytes) -> None:
        if self.timer is None:
            self.arriving, self.head = True, 0
            self.wind()
        if self.head >= 0:
            self.head += len(data)
            before = self.head
            super().data_received(data)
            if self.head == before > HEAD:  # still no end of it
                self.refuse(431, f"expected a request's head of at most {HEAD:,} bytes, received more")
        else:
            super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.arriving, self.head = True, max(self.head, 0)

    def on_headers_complete(self) -> None:
        self.head = -1
        super().on_headers_complete()
        if self.stopping:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.arriving = False
        self.wind()

    def on_response_complete(self) -> None:
        whole = not self.arriving
        super().on_response_complete()
        if whole and not self.pipeline:
            self.unwind()  # what comes next is uvicorn's time for idle connections

    def too_late(self) -> None:
        self.timer = None
        answered = self.head < 0 and self.cycle.response_started  # refused already, and still being sent
        if self.arriving and not answered:
            self.refuse(408, f"expected a whole request within {self.seconds:g} seconds")
        elif not self.arriving and not self.cycle.response_started:
            self.refuse(503, f"no answer within {self.seconds:g} seconds: too much is asked; try again")
        else:
            self.transport.abort()

    def refuse(self, status: int, message: str) -> None:
        """The last words of a connection."""
        if self.transport.is_closing():
            return
        body = orjson.dumps({"error": message})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        self.stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST, self.end_if_idle)
        else:
            super().shutdown()

    def end_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def of_limits(seconds: float, most: int) -> type[Any]:
    """The class of connections with those limits, as uvicorn takes it."""
    return type("LimitedConnection", (Connection,), {"seconds": seconds, "most": most})
