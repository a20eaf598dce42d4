"""The middleware of every request: a check of its host and origin, security headers, metrics."""

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


class Middleware:
    """Wraps the application: refuses requests from other sites, adds headers, counts.

    `direct` are endpoints by path whose POST requests bypass `app`; `hosts` are the names by which the server may be
    addressed (None: any); `routes` are the paths that the metrics tell apart.
    """

    def __init__(  # five parts that make_app has just built
        self,
        app: ASGIApp,
        direct: Mapping[str, Callable[[Request], Awaitable[Response]]],
        metrics: Metrics,
        routes: Collection[str],
        hosts: Collection[str] | None,
    ):
        self.app, self.metrics = app, metrics
        self.direct = direct
        self.routes = frozenset(routes)
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499  # as in nginx: the client closed the connection before a response

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *SECURITY]
            await send(message)

        self.metrics.in_flight.inc()
        try:
            answer: ASGIApp | None = self.refuse_foreign(Headers(scope=scope))
            if answer is None and scope["method"] == "POST" and scope["path"] in self.direct:
                answer = await self.answer(Request(scope, receive))
            await (answer or self.app)(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass
        except Exception:
            if status == 499:  # nothing was sent yet; the traceback goes to the log
                await responses.error(500, "internal error; see the log of the server")(
                    scope, receive, send_with_headers
                )
            raise
        finally:
            self.metrics.in_flight.dec()
            route = scope["path"] if scope["path"] in self.routes else "other"
            self.metrics.answered(route, status, time.perf_counter() - began)

    async def answer(self, request: Request) -> Response:
        """Call a direct endpoint."""
        try:
            return await self.direct[request.scope["path"]](request)
        except Refused as error:
            return responses.refusal(error)

    def refuse_foreign(self, headers: Headers) -> ASGIApp | None:
        """Return a 403 response if a page of another site sent the request in a user's browser, else None."""
        host = headers.get("host", "")
        if self.hosts is not None and host and host_name(host) not in self.hosts:  # DNS rebinding
            return responses.error(
                403, f"expected the host {' or '.join(sorted(self.hosts))}, received {host[:100]}; to serve other "
                "names, start the server with --host"
            )  # fmt: skip
        origin = headers.get("origin")
        own = (f"http://{host}".lower(), f"https://{host}".lower())  # https behind a proxy that terminates TLS
        if origin is not None and origin.lower() not in own:
            return responses.error(403, f"expected a request from this server's page, received origin {origin[:100]}")
        return None


def host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.strip("[]").lower()


def allowed_hosts(host: str) -> frozenset[str] | None:
    """Return the names of a server that listens at `host`, if that is the loopback interface; None (any) otherwise."""
    return frozenset({host.lower(), "localhost", "127.0.0.1", "::1"}) if is_loopback(host) else None


def is_loopback(host: str) -> bool:
    """Return whether `host` is an address or name of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
