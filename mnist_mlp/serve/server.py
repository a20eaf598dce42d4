"""The listening socket and the uvicorn server, which ends when its last response is sent."""

from __future__ import annotations

import contextlib
import errno
import resource
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import Gauge
from starlette.types import ASGIApp

from mnist_mlp.cli.program import end
from mnist_mlp.cli.signals import SIGNALS, Request, handle, requests, restore
from mnist_mlp.errors import UserError
from mnist_mlp.serve.connections import connection_class
from mnist_mlp.serve.limits import CONNECTIONS

BACKLOG = 2048
IDLE = 30  # seconds that a connection may stay idle between two requests
SPARE = 200  # open files that are not connections


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket to the port, without listening yet. Raise `UserError` if that fails."""
    flag = f"--host={host} --port={port}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        wanted = "expected a name or an address of this machine"
        raise UserError(f"--host={host}: {wanted}, received: {reason}; try --host=127.0.0.1") from None
    family, kind, protocol, _, address = addresses[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        remedy = "stop the program that uses it, or try another --port=N (0: any free port)"
        if error.errno == errno.EADDRNOTAVAIL:
            remedy = "try an address of this machine, or omit --host"
        if error.errno == errno.EACCES:
            remedy = "try --port=N above 1023"
        raise UserError(f"{flag}: expected a free port, received: {error.strerror}; {remedy}") from None
    return listener


def listen(listener: socket.socket) -> None:
    """Start to accept clients. Raise `UserError` if another program has taken the port since `bind`."""
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        port = listener.getsockname()[1]
        raise UserError(
            f"--port={port}: expected a free port, received: {error.strerror}; try another --port=N"
        ) from None


def url_of(listener: socket.socket) -> str:
    """Return the address of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def connection_limit() -> int:
    """Return how many connections may be open at once: CONNECTIONS, or fewer if the limit of open files is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, min(CONNECTIONS, soft - SPARE))


class Server(uvicorn.Server):
    """Calls `ready` once it accepts requests, and shuts down gracefully when a signal requests it."""

    def __init__(self, config: uvicorn.Config, stop: Request, ready: Callable[[], None]):
        super().__init__(config)
        self.stop, self.ready = stop, ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        yield  # `cli.signals.requests` handles them

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or bool(self.stop)


def end_at_once(signum: int, frame: object) -> None:
    """Handle a second signal: exit without unwinding the event loop."""
    end(128 + signum, "interrupted" if signum == signal.SIGINT else "terminated")


def run(
    app: ASGIApp, listener: socket.socket, seconds: float, ready: Callable[[], None], connections: Gauge
) -> tuple[int, str]:
    """Serve until a signal requests a stop and all requests in flight are answered.

    `seconds` is the timeout of `connections.Connection`; `connections` is the gauge of open ones. Return the number of
    responses, and "interrupted" or "terminated".
    """
    listen(listener)
    config = uvicorn.Config(
        app,
        http=connection_class(seconds, connection_limit()),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=int(2 * seconds) + 1,
        backlog=BACKLOG,
    )
    before = handle(SIGNALS, end_at_once)
    try:
        with requests() as stop:
            server = Server(config, stop, ready)
            connections.set_function(lambda: len(server.server_state.connections))
            server.run([listener])
    finally:
        restore(before)
    return server.server_state.total_requests, stop.word
