"""Which hosts and origins a request may name: only pages of this server may use it, and those that --origin lists.

A browser says in `Origin` from where the page is that sends a request, and in `Host` how the page addresses the server.
A proxy in front of the server may change either: `--behind_proxy` trusts what the proxy says about them.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers

from mnist_mlp.errors import UserError

DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclasses.dataclass(frozen=True)
class Access:
    """Who may use the server.

    `hosts` are the names by which it may be addressed (None: any), `origins` the origins of other pages that may use
    it, and `behind_proxy` says whether the X-Forwarded headers are a proxy's.
    """

    hosts: frozenset[str] | None
    origins: frozenset[str] = frozenset()
    behind_proxy: bool = False

    def refusal(self, headers: Headers, port: int | None) -> str:
        """Return why a request is refused, or "" if it is not; `port` is where the server listens."""
        host = headers.get("host", "")
        if self.hosts is not None and host and host_name(host) not in self.hosts:  # DNS rebinding
            return (
                f"expected the host {' or '.join(sorted(self.hosts))}, received {host[:100]}; behind a proxy, start "
                f"the server with --behind_proxy, or with --origin and the address of the page; to serve other names "
                "directly, with --host"
            )
        origin = headers.get("origin")
        if origin is None or origin.lower() in self.origins or origin.lower() in self.own(headers, port):
            return ""
        option = f"--origin={origin[:100]}" if is_origin(origin) else "--origin, and a page that has an address"
        return (
            f"expected a request from this server's page, received origin {origin[:100]}; to let its pages use this "
            f"server, start it with {option}, or with --behind_proxy if a proxy changes Host or Origin"
        )

    def own(self, headers: Headers, port: int | None) -> set[str]:
        """Return the origins of the server's own page, as the request tells its address."""
        host = headers.get("host", "")
        own = {f"http://{host}", f"https://{host}"}  # https behind a proxy that terminates TLS
        if self.behind_proxy:
            seen_as = forwarded(headers, "host") or host
            schemes = [forwarded(headers, "proto")] if forwarded(headers, "proto") else ["http", "https"]
            own |= {f"{scheme}://{seen_as}" for scheme in schemes}
            own |= {f"http://{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]")}  # Origin rewritten, too
        return {normalized(each) for each in own}

    def prefix(self, headers: Headers) -> str:
        """Return the path under which a proxy shows the server, such as "/mnist"; "" without one."""
        prefix = forwarded(headers, "prefix").rstrip("/") if self.behind_proxy else ""
        return prefix if re.fullmatch(r"(/[\w.~%!$&'()*+,;=:@-]+)+", prefix) else ""


def forwarded(headers: Headers, what: str) -> str:
    """Return what a proxy says in X-Forwarded-Host, -Proto or -Prefix; of several proxies, the first counts."""
    return headers.get(f"x-forwarded-{what}", "").partition(",")[0].strip()


def host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.strip("[]").lower()


def access_to(host: str, origins: Iterable[str] = (), behind_proxy: bool = False) -> Access:
    """Return who may use a server that listens at `host`. Raise `UserError` for what is no origin.

    On the loopback interface, it may be addressed by the names of that, and by the hosts of `origins`. Elsewhere and
    behind a proxy, any name leads to it.
    """
    listed = frozenset(checked(origin) for origin in origins)
    if behind_proxy or not is_loopback(host):
        return Access(None, listed, behind_proxy)
    named = {host_name(origin.partition("://")[2]) for origin in listed}
    return Access(frozenset({host.lower(), "localhost", "127.0.0.1", "::1", *named}), listed)


def checked(origin: str) -> str:
    """Return an origin of --origin as browsers write it. Raise `UserError`."""
    bare = origin.strip().rstrip("/")
    if is_origin(bare):
        return normalized(bare)
    example = "https://lab.example"
    if found := re.match(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", bare, re.IGNORECASE):
        example = found[0]
    elif re.fullmatch(r"[\w.-]+(:\d+)?", bare) and bare != "null":
        example = f"https://{bare}"
    why = {"*": "; every site that you visit could use the server", "null": "; any page can be without an origin"}
    raise UserError(
        f"--origin: expected the origin of a page, scheme://host or scheme://host:port, received {origin[:100]!r}"
        f"{why.get(bare, '')}; try --origin={example}"
    )


def is_origin(text: str) -> bool:
    """Return whether a text has the form of an origin."""
    return re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s*@]+", text, re.IGNORECASE) is not None


def normalized(origin: str) -> str:
    """Return an origin in lower case and without the port that its scheme implies, as browsers send it."""
    scheme, _, host = origin.lower().partition("://")
    return f"{scheme}://{host.removesuffix(':' + DEFAULT_PORTS.get(scheme, ' '))}"


def is_loopback(host: str) -> bool:
    """Return whether `host` is an address or name of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
