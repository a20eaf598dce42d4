"""What every request goes through: who may ask, what the answer's headers say, what is counted."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnist_mlp.serve import responses
from mnist_mlp.serve.limits import Refused
from mnist_mlp.serve.metrics import Metrics

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
SECURITY = [
    (b"content-security-policy", f"{POLICY}base-uri 'none'; form-action 'none'; frame-ancestors 'self'".encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Front:
    """The application behind a check of the request's origin, with headers on its answers, counted."""

    def __init__(
        self,
        app: ASGIApp,
        direct: Mapping[str, Callable[[Request], Awaitable[Response]]],
        metrics: Metrics,
        routes: Collection[str],
        hosts: Collection[str] | None,
    ):
        self.app, self.metrics = app, metrics
        self.direct = direct  # paths whose POST goes past `app`
        self.routes = frozenset(routes)
        self.hosts = hosts  # names under which the server may be asked; None: any

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499  # the client has gone without an answer

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *SECURITY]
            await send(message)

        self.metrics.in_flight.inc()
        try:
            answer: ASGIApp | None = self.stranger(Headers(scope=scope))
            if answer is None and scope["method"] == "POST" and scope["path"] in self.direct:
                answer = await self.answer(Request(scope, receive))
            await (answer or self.app)(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass
        except Exception:
            if status == 499:  # nothing was sent: say so, and leave the traceback to the log
                await responses.error(500, "a fault of the server; its log says more")(
                    scope, receive, send_with_headers
                )
            raise
        finally:
            self.metrics.in_flight.dec()
            route = scope["path"] if scope["path"] in self.routes else "other"
            self.metrics.answered(route, status, time.perf_counter() - began)

    async def answer(self, request: Request) -> Response:
        try:
            return await self.direct[request.scope["path"]](request)
        except Refused as error:
            return responses.refusal(error)

    def stranger(self, headers: Headers) -> ASGIApp | None:
        """The refusal of a request that a page of another site makes in somebody's browser; None for the others."""
        host = headers.get("host", "")
        if self.hosts is not None and host and name_of(host) not in self.hosts:  # another name that leads here
            return responses.error(
                403, f"expected to be asked as {' or '.join(sorted(self.hosts))}, received host {host[:100]}; "
                "to be reached by other names, start with --host"
            )  # fmt: skip
        origin = headers.get("origin")
        own = (f"http://{host}".lower(), f"https://{host}".lower())  # the latter behind a proxy that ends TLS
        if origin is not None and origin.lower() not in own:
            return responses.error(403, f"expected requests of this server's own page, received origin {origin[:100]}")
        return None


def name_of(host: str) -> str:
    """The name in a Host header, without the port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.strip("[]").lower()


def names_of(host: str) -> frozenset[str] | None:
    """The names under which a server at `host` is asked: those of the loopback interface, or any elsewhere."""
    return frozenset({host.lower(), "localhost", "127.0.0.1", "::1"}) if is_loopback(host) else None


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
