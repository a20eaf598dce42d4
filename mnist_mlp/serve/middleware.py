"""The middleware of every request: a check of its host and origin, the headers of CORS and security, metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnist_mlp.serve import responses
from mnist_mlp.serve.limits import Refused
from mnist_mlp.serve.metrics import Metrics
from mnist_mlp.serve.origins import Access

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
SECURITY = [
    (b"content-security-policy", f"{POLICY}base-uri 'none'; form-action 'none'; frame-ancestors 'self'".encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Middleware:
    """Wraps the application: refuses requests from other sites, adds headers, counts.

    `direct` are endpoints by path whose POST requests bypass `app`; `access` says who may use the server; `routes` are
    the paths that the metrics tell apart.
    """

    def __init__(  # five parts that make_app has just built
        self,
        app: ASGIApp,
        direct: Mapping[str, Callable[[Request], Awaitable[Response]]],
        metrics: Metrics,
        routes: Collection[str],
        access: Access,
    ):
        self.app, self.metrics = app, metrics
        self.direct = direct
        self.routes = frozenset(routes)
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499  # as in nginx: the client closed the connection before a response
        headers = Headers(scope=scope)
        shared = self.sharing(headers)
        scope = below(self.access.prefix(headers), scope)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *SECURITY, *shared]
            await send(message)

        self.metrics.in_flight.inc()
        try:
            answer = self.answer_to_head(scope, headers)
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

    def answer_to_head(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """Return the response if the head of a request decides it, else None.

        A page of another site gets 403, a preflight request of a listed one its permission. The page's links are
        relative: below a prefix, its address needs the slash at its end.
        """
        if refusal := self.access.refusal(headers, scope["server"][1] if scope.get("server") else None):
            return responses.error(403, refusal)
        asked = headers.get("access-control-request-method")
        if scope["method"] == "OPTIONS" and asked and self.is_listed(headers):
            return Response(status_code=204, headers=PREFLIGHT | {"access-control-allow-headers": wanted(headers)})
        prefix = scope.get("state", {}).get("prefix", "")
        return RedirectResponse(f"{prefix}/") if prefix and not scope["path"] else None

    def is_listed(self, headers: Headers) -> bool:
        """Return whether a page of another site sent the request that may."""
        return headers.get("origin", "").lower() in self.access.origins

    def sharing(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return the headers that let a page of a listed origin read the response."""
        if not self.access.origins:
            return []
        varies = (b"vary", b"Origin")
        if not self.is_listed(headers):
            return [varies]
        found = [varies, (b"access-control-allow-origin", headers["origin"].encode("latin-1"))]
        found.append((b"access-control-expose-headers", b"retry-after"))
        if headers.get("access-control-request-private-network"):  # of a public page to a server on this machine
            found.append((b"access-control-allow-private-network", b"true"))
        return found


PREFLIGHT = {"access-control-allow-methods": "GET, HEAD, POST", "access-control-max-age": "600"}


def wanted(headers: Headers) -> str:
    """Return the headers that a page asks to send. They carry no rights here, so all are allowed."""
    return headers.get("access-control-request-headers", "content-type")


def below(prefix: str, scope: Scope) -> Scope:
    """Return a request below the prefix that a proxy shows, as if there was none, whether or not the proxy cut it."""
    if not prefix:
        return scope
    path = scope["path"]
    cut = path[len(prefix) :] if path == prefix or path.startswith(f"{prefix}/") else path
    return {**scope, "path": cut, "state": {**scope.get("state", {}), "prefix": prefix}}
