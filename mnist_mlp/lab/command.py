"""Open the lecture's rooms: pages on this machine that need no network.

Open the address that it prints: the Playground, the lecture's network while it learns, the lecture's questions. Whoever
opens them from another machine (--host) sees the runs, but starts none. Ctrl-C ends it; runs are saved and can go on.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from mnist_mlp.cli import flags
from mnist_mlp.config import Config
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

    runs: str = option("runs/lab", "directory of the training runs; made when somebody opens their room")
    data_dir: str = option_of(Config, "data_dir")
    everyone_trains: bool = option(False, "let other machines start and steer runs, too; default: they look on")

    def __post_init__(self) -> None:
        check(self)


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab", about=__doc__)
    check_packages()

    from mnist_mlp.lab.live.app import make_app
    from mnist_mlp.lab.live.training_app import TrainingApp
    from mnist_mlp.serve import origins, server
    from mnist_mlp.serve.metrics import Metrics

    access = origins.access_to(options.host, options.origin, options.behind_proxy)
    listener = server.bind(options.host, options.port)
    metrics = Metrics()
    training = TrainingApp(
        Path(options.runs),
        everyone=options.everyone_trains,
        behind_proxy=options.behind_proxy,
        data_dir=options.data_dir,
    )
    app = make_app(access, metrics, training)

    def ready() -> None:
        url = server.url_of(listener)
        print(f"{url}   the lecture's rooms; press Ctrl-C to stop", flush=True)
        if not origins.is_loopback(options.host):
            does = "start and steer runs" if options.everyone_trains else "open the page and watch the runs"
            print(f"warning: every machine that can reach this address can {does}", flush=True)
        if options.open:
            threading.Thread(target=open_in_browser, args=(url,), daemon=True).start()

    try:
        _, stopped = server.run(app, listener, SECONDS, ready, metrics.connections)
    finally:
        training.close()
    print(stopped, flush=True)


def open_in_browser(url: str) -> None:
    """Open the page, or report that there is no browser; in a thread, because a browser in a terminal blocks."""
    import webbrowser

    address = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    if not webbrowser.open(address):
        print(f"no browser was found; open {address} in one", file=sys.stderr, flush=True)
