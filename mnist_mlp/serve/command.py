"""Serve the network of a run: a page to draw digits on, and the REST API of TensorFlow Serving.

Open the address that it prints; /docs describes the REST API. On Ctrl-C or SIGTERM it finishes the requests in flight
and exits with code 0; a second signal ends it at once.
"""

from __future__ import annotations

import dataclasses
import importlib
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_mlp import __version__, data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.data.sets import class_names, of_digits, title_of, what_it_shows
from mnist_mlp.errors import UserError
from mnist_mlp.options import check, option, option_of
from mnist_mlp.runs import calibration, saved
from mnist_mlp.runs.result import Result

if TYPE_CHECKING:
    from mnist_mlp.models.neighbours import TrainingImages
    from mnist_mlp.serve.app import Service
    from mnist_mlp.serve.examples import Examples

TO_SEE = "start the server with --data_dir to see"
PACKAGES = ("fastapi", "httptools", "orjson", "prometheus_client", "uvicorn")


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    run_dir: str = option("", "directory of a finished run (required)")
    host: str = option(
        "127.0.0.1",
        "address to listen on; the default accepts clients from this machine only, "
        "0.0.0.0 or :: (IPv6) from elsewhere, too",
    )
    port: int = option(
        8501, "port to listen on; the default is TensorFlow Serving's; 0: any free port", low=0, high=65535
    )
    origin: tuple[str, ...] = option(
        (),
        "origins of other pages that may use the server, such as https://lab.example (default: its own page only); "
        "also that of its own page behind a proxy that changes the header Host",
        kind=tuple,
    )
    behind_proxy: bool = option(
        False,
        "trust X-Forwarded-Host, -Proto and -Prefix; for a server that is reached through a proxy alone",
    )
    max_body: int = option(8 * 2**20, "maximum number of bytes per request", low=10_000, high=2**30)
    max_instances: int = option(1000, "maximum number of images per request", low=1, high=1_000_000)
    timeout: float = option(
        20.0, "time limit in seconds for receiving a request, and again for its response", low=0.1, high=3600
    )
    data_dir: str = option_of(Config, "data_dir")
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")

    def __post_init__(self) -> None:
        check(self)


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="serve", about=__doc__)
    plan = devices.plan(options)
    run = saved.read_run(options.run_dir)
    check_packages()

    from mnist_mlp.serve import origins, server

    access = origins.access_to(options.host, options.origin, options.behind_proxy)
    listener = server.bind(options.host, options.port)
    service = make_service(options, plan, *run)

    with defer_signals():
        from mnist_mlp.serve.app import make_app

    def ready() -> None:
        print(opening(service, listener), flush=True)
        if not origins.is_loopback(options.host):
            print("warning: every machine that can reach this address can use the server", flush=True)

    app, connections = make_app(service, access), service.metrics.connections
    answered, stopped = server.run(app, listener, options.timeout, ready, connections)
    print(f"{stopped}: {answered:,} requests were answered", flush=True)


def check_packages() -> None:
    """Raise `UserError` if a package of the server cannot be imported."""
    missing = []
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name.replace("_", "-"))
    if missing:
        raise UserError(
            f"the server needs packages that cannot be imported: {', '.join(missing)}; "
            f"run {sys.executable} -m pip install 'mnist_mlp[serve]'"
        )


def make_service(options: Options, plan: devices.Plan, path: Path, config: Config, trained: Result) -> Service:
    """Return the compiled network on its device, with all that the routes need. Raise `UserError`."""
    from mnist_mlp.serve.limits import LARGEST_BATCH, Limits

    limits = Limits(options.max_body, options.max_instances, options.timeout)
    examples, training = find_images(path, config, trained, options.data_dir)
    load(plan)
    from mnist_mlp.models import portable
    from mnist_mlp.runs.saved import start_finished
    from mnist_mlp.serve.app import Service
    from mnist_mlp.serve.explanations import Explainer
    from mnist_mlp.serve.model import About, Network

    compiled = dataclasses.replace(trained, engine="compiled")
    engine = start_finished(plan, path, compiled, {}, LARGEST_BATCH, start_timeout=options.start_timeout)
    network = Network(engine, LARGEST_BATCH)
    network.compile()
    calibrated = calibration.read(path, trained.model_sha256)
    about = About(
        run=path.resolve().name,
        network=trained.network,
        parameters=trained.parameters,
        hidden=list(zip(network.names, network.units, strict=True)),
        dataset=title_of(trained.dataset["name"]),
        classes=class_names(trained.dataset),
        test_accuracy=trained.test["accuracy"],
        temperature=calibrated.temperature if calibrated else None,
        device=engine.devices.name,
        backend=engine.backend,
        weights_on=engine.weights_on,
        computed_on=engine.step_on,
        version=__version__,
        shows=what_it_shows(trained.dataset),
    )
    note = f"The training images are not on this machine: {TO_SEE} the nearest ones."
    explainer = Explainer(portable.layers_of(engine.model), training, note, about.temperature)
    return Service(network, about, examples, explainer, limits, of_digits(trained.dataset))


def find_images(path: Path, config: Config, trained: Result, data_dir: str) -> tuple[Examples, TrainingImages | None]:
    """Return the test images of the run's data set, and images that the run was trained on.

    There are none of either, with a note, if the data set cannot be read; none that it was trained on, if the images
    found now are others.
    """
    from mnist_mlp.models.neighbours import training_images
    from mnist_mlp.serve.examples import Examples
    from mnist_mlp.serve.explanations import IMAGES

    try:
        found = data.load(saved.data_of_run(config, trained, data_dir))
    except UserError as error:
        if data_dir:
            raise
        print(f"the page will have no examples: {error}", file=sys.stderr, flush=True)
        return Examples(None, f"The test images are not on this machine: {TO_SEE} them."), None
    examples = Examples(found.test)
    if saved.trained_on_others(path, trained, found.train):
        return examples, None
    return examples, training_images(found, config.validation_fraction, config.seed, IMAGES)


def opening(service: Service, listener: socket.socket) -> str:
    """Return the line with the address."""
    from mnist_mlp.serve.server import url_of

    about = service.about
    return (
        f"{url_of(listener)}   {about.network} of {about.run}, {100 * about.test_accuracy:.2f}% of its test images "
        f"correct, on {about.device}, {about.backend}; press Ctrl-C to stop"
    )
