"""Open the lecture's Playground: a page on this machine that needs no network.

Open the address that it prints. The page computes in the browser; the server only sends its files. Ctrl-C ends it.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Sequence

from mnist_mlp.cli import flags
from mnist_mlp.options import check, option, option_of
from mnist_mlp.serve.command import Options as ServeOptions
from mnist_mlp.serve.command import check_packages

SECONDS = 20.0  # for a request to arrive, and again for its response


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    host: str = option_of(ServeOptions, "host")
    port: int = option(8502, "port to listen on; 0: any free port", low=0, high=65535)
    open: bool = option(False, "open the page in the browser of this machine")
    origin: tuple[str, ...] = option_of(ServeOptions, "origin")
    behind_proxy: bool = option_of(ServeOptions, "behind_proxy")

    def __post_init__(self) -> None:
        check(self)


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab", about=__doc__)
    check_packages()

    from mnist_mlp.lab.live.app import make_app
    from mnist_mlp.serve import origins, server
    from mnist_mlp.serve.metrics import Metrics

    access = origins.access_to(options.host, options.origin, options.behind_proxy)
    listener = server.bind(options.host, options.port)
    metrics = Metrics()
    app = make_app(access, metrics)

    def ready() -> None:
        url = server.url_of(listener)
        print(f"{url}   the Playground; press Ctrl-C to stop", flush=True)
        if not origins.is_loopback(options.host):
            print("warning: every machine that can reach this address can open the page", flush=True)
        if options.open:
            threading.Thread(target=open_in_browser, args=(url,), daemon=True).start()

    _, stopped = server.run(app, listener, SECONDS, ready, metrics.connections)
    print(stopped, flush=True)


def open_in_browser(url: str) -> None:
    """Open the page, or report that there is no browser; in a thread, because a browser in a terminal blocks."""
    import webbrowser

    address = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    if not webbrowser.open(address):
        print(f"no browser was found; open {address} in one", file=sys.stderr, flush=True)
