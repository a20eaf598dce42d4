"""HTTP connections with limits that uvicorn lacks: time for request and response, size of the head, their number."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mnist_mlp.serve.limits import CONNECTIONS, HEAD

LAST = 0.2  # seconds for requests that are on their way when the server stops
ENDLESS = "mnist_mlp.endless"  # an ASGI extension: the application calls it if its response has no end


class Connection(HttpToolsProtocol):
    """One client, with `seconds` for a request to arrive and as many for its response."""

    seconds: ClassVar[float] = 20.0
    limit: ClassVar[int] = CONNECTIONS
    timer: asyncio.TimerHandle | None = None
    arriving = True  # waiting for a request, or for the rest of one
    head = 0  # bytes of its head so far; -1 after the head
    stopping = False
    endless = False  # whether the response under way has no end of its own: a stream of events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > self.limit:
            self.transport.abort()
        else:
            self.start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_timer()
        super().connection_lost(exc)

    def start_timer(self) -> None:
        """Start the timer, or restart it."""
        self.stop_timer()
        self.timer = self.loop.call_later(self.seconds, self.on_timeout)

    def stop_timer(self) -> None:
        """Stop the timer if it runs."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def data_received(self, data: bytes) -> None:
        if self.timer is None:
            self.arriving, self.head = True, 0
            self.start_timer()
        if self.head >= 0:
            self.head += len(data)
            before = self.head
            super().data_received(data)
            if self.head == before > HEAD:  # the head has not ended
                self.refuse(431, f"expected request headers of at most {HEAD:,} bytes, received more")
        else:
            super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.arriving, self.head = True, max(self.head, 0)

    def on_headers_complete(self) -> None:
        self.head, self.endless = -1, False
        super().on_headers_complete()
        self.cycle.scope.setdefault("extensions", {})[ENDLESS] = self.has_no_end  # type: ignore[index, assignment]
        if self.stopping:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.arriving = False
        self.start_timer()

    def has_no_end(self) -> None:
        """Let the response under way last until the client leaves or the server stops."""
        self.endless = True
        self.stop_timer()

    def on_response_complete(self) -> None:
        complete = not self.arriving
        super().on_response_complete()
        if complete and not self.pipeline:
            self.stop_timer()  # uvicorn's keep-alive timeout follows

    def on_timeout(self) -> None:
        """Refuse a request that took too long to arrive or to answer."""
        self.timer = None
        answered = self.head < 0 and self.cycle.response_started  # refused before, and the body is still arriving
        if self.arriving and not answered:
            self.refuse(408, f"expected a complete request within {self.seconds:g} seconds")
        elif not self.arriving and not self.cycle.response_started:
            self.refuse(503, f"no response within {self.seconds:g} seconds: the server is overloaded; try again")
        else:
            self.transport.abort()

    def refuse(self, status: int, message: str) -> None:
        """Send an error response and close the connection."""
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
        if self.endless and not self.cycle.response_complete:
            self.transport.close()  # clients of streams come back, if there is a server to come back to
        elif self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST, self.close_if_idle)
        else:
            super().shutdown()

    def close_if_idle(self) -> None:
        """Close the connection unless a request has arrived."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def connection_class(seconds: float, limit: int) -> type[Any]:
    """Return the class of connections with these limits, for uvicorn's `http` option."""
    return type("LimitedConnection", (Connection,), {"seconds": seconds, "limit": limit})
