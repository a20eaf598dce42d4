"""A server as a process of its own, for the tests; and a network of NumPy alone, for those that are not about one."""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np

from helpers import fork_server

TESTS = Path(__file__).resolve().parents[1]


class Server:
    """`url`, `port`, `pid`; `stop()` ends it with SIGTERM and gives the exit code and what it printed."""

    def __init__(self, process, lines):
        self.process, self.lines, self.pid = process, lines, process.pid
        self.url = lines[0].split()[0]
        self.port = int(self.url.rpartition(":")[2])

    def stop(self, signum=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def post(self, path, document):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body), timeout=60) as answer:
            return json.load(answer)

    def resident(self):
        """Bytes of memory."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def serving(*flags, backend="tensorflow", stand_in=False, lines=1):
    """A server on a port of its own, from its first lines until the end of the block.

    With `stand_in` it is the program without a framework: `NumPyNetwork` is in the place of the run's network.
    """
    flags = ["--port=0", "--strategy=cpu", *map(str, flags)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    if stand_in:
        asked = [sys.executable, "-c", STAND_IN, *flags]
        started = fork_server.ForkedPopen(factory(), asked, [], env=dict(os.environ), **pipes)
    else:
        started = fork_server.start("serve", *flags, f"--backend={backend}", backend=backend, **pipes)
    with started as process:
        try:
            first = [process.stdout.readline() for _ in range(lines)]
            if not first[0]:
                raise AssertionError(process.stderr.read())
            yield Server(process, first)
        finally:
            process.kill()


FACTORY = f"""
import socket, sys, types
sys.path.insert(0, {str(TESTS)!r})
from helpers import fork_server, serving
sys.modules["mnist_mlp.models.networks"] = types.SimpleNamespace(hidden_layers=None)  # these two would import Keras
sys.modules["mnist_mlp.engine.base"] = types.SimpleNamespace(Engine=None)
import fastapi, httptools, orjson, prometheus_client, uvicorn
from mnist_mlp.serve import command as serve
from mnist_mlp.serve import app, server as listening
assert "keras" not in sys.modules
serve.make_service = serving.stand_in
fork_server.execute(fork_server.serve(socket.socket(fileno=int(sys.argv[1]))))
"""
STAND_IN = "from mnist_mlp.cli import program; from mnist_mlp.serve import command as serve; program.run(serve.main)"


@functools.cache
def factory():
    """The process that is forked for each server with `stand_in`: it has imported what such a server needs."""
    return fork_server.Server([sys.executable, "-c", FACTORY], dict(os.environ))


def stand_in(options, plan, path, config, trained):
    """What takes the place of `serve.make_service` there."""
    from mnist_mlp import __version__, data
    from mnist_mlp.config import Config
    from mnist_mlp.data.sets import class_names
    from mnist_mlp.models.neighbours import training_images
    from mnist_mlp.serve.app import Service
    from mnist_mlp.serve.examples import Examples
    from mnist_mlp.serve.explanations import Explainer
    from mnist_mlp.serve.limits import Limits
    from mnist_mlp.serve.model import About

    network = NumPyNetwork(64)
    names = list(zip(network.names, network.units, strict=True))
    device = ("NumPy", "numpy", ["CPU"], ["CPU"])
    classes = class_names({"name": "digits"})
    about = About(path.name, "mlp", 109_386, names, "the embedded digits", classes, 0.97, *device, __version__)
    limits = Limits(options.max_body, options.max_instances, options.timeout)
    digits = data.load(Config(dataset="digits"))
    explainer = Explainer(network.plain(), training_images(digits, 0.0, 0, 2000))
    return Service(network, about, Examples(digits.test), explainer, limits)


class NumPyNetwork:
    """784 → 128 → 64 → 10 with weights of its own, as `mnist_mlp.serve.model.Network` is asked, in float64."""

    names, units = ["hidden_1", "hidden_2"], [128, 64]

    def __init__(self, largest, seed=3):
        rng = np.random.default_rng(seed)
        self.sizes = [largest]
        ends = [784, *self.units, 10]
        self.layers = [
            (rng.normal(0, n**-0.5, (n, m)), rng.normal(0, 0.1, m)) for n, m in zip(ends, ends[1:], strict=False)
        ]

    def forward(self, images):
        assert len(images) <= self.sizes[-1]
        x, found = images.reshape(-1, 784) / 255, []
        for kernel, bias in self.layers:
            found.append(x @ kernel + bias)
            x = np.maximum(found[-1], 0)
        logits = found.pop()
        shares = np.exp(logits - logits.max(1, keepdims=True))
        outputs = [*(np.maximum(output, 0) for output in found), shares / shares.sum(1, keepdims=True)]
        return [output.astype(np.float32) for output in outputs]

    def plain(self):
        """Its layers as `mnist_mlp.models.portable` has them."""
        from mnist_mlp.models.portable import Layer

        kinds = zip([*self.names, "logits"], ["relu", "relu", "linear"], self.layers, strict=True)
        dense = [
            Layer("dense", name, kind, 0.0, *(each.astype(np.float32) for each in pair)) for name, kind, pair in kinds
        ]
        return [Layer("scale", "rescaling", number=1 / 255), Layer("flatten", "flatten"), *dense]

    def predict(self, images):
        return self.forward(images)[-1]
