"""The socket, and uvicorn on it: from the first line to the last answer."""

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
from mnist_mlp.serve.connections import of_limits
from mnist_mlp.serve.limits import CONNECTIONS

BACKLOG = 2048
IDLE = 30  # seconds that a connection may be silent between two requests
SPARE = 200  # files that are not connections


def bind(host: str, port: int) -> socket.socket:
    """A socket on that port; nobody is let in yet. Raises `UserError` where it cannot be had."""
    flag = f"--host={host} --port={port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host={host}: expected a name or an address of this machine, received: {reason}") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        remedy = "stop the program that has it, or take another with --port=N (0: any that is free)"
        if error.errno == errno.EADDRNOTAVAIL:
            remedy = "name an address of this machine, or leave --host out"
        if error.errno == errno.EACCES:
            remedy = "take one above 1023 with --port=N"
        raise UserError(f"{flag}: expected a port that is free, received: {error.strerror}; {remedy}") from None
    return listener


def listen(listener: socket.socket) -> None:
    """Lets clients in. Raises `UserError` where another program was quicker."""
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        port = listener.getsockname()[1]
        raise UserError(
            f"--port={port}: expected a port that is free, received: {error.strerror}; take another with --port=N"
        ) from None


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def room() -> int:
    """How many connections may be open at a time: as many files as the system allows, at most CONNECTIONS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, min(CONNECTIONS, soft - SPARE))


class Server(uvicorn.Server):
    """Ends in good order when it is asked to; says when it is ready."""

    def __init__(self, config: uvicorn.Config, asked: Request, ready: Callable[[], None]):
        super().__init__(config)
        self.asked, self.ready = asked, ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        yield  # they are ours: see `interruption.requests`

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or bool(self.asked)


def end_at_once(signum: int, frame: object) -> None:
    """For a second signal: an exception would first go through whatever the loop is doing."""
    end(128 + signum, "interrupted" if signum == signal.SIGINT else "terminated")


def run(
    app: ASGIApp, listener: socket.socket, seconds: float, ready: Callable[[], None], connections: Gauge
) -> tuple[int, str]:
    """Serves until a signal asks to stop and what was in flight is answered: how many answers, and what happened.

    `seconds` is the time of `connections.Connection`; `connections` is told how many there are.
    """
    listen(listener)
    config = uvicorn.Config(
        app,
        http=of_limits(seconds, room()),
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
        with requests() as asked:
            server = Server(config, asked, ready)
            connections.set_function(lambda: len(server.server_state.connections))
            server.run([listener])
    finally:
        restore(before)
    return server.server_state.total_requests, asked.word
