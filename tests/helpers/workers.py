"""Two worker processes that train together, on this machine or on two hosts (`helpers.hosts`)."""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from helpers import fork_server
from helpers.once import once

LAUNCH = [sys.executable, "-m", "mnist_mlp.devices.launch_workers"]
EPOCHS = 16  # enough not to be over before the kill
# With dropout, whose random state must be resumed too; of one hidden layer, which is traced sooner.
TRAIN = ("--dataset=digits", "--model=mlp_dropout", "--units=16", "--batch_size=256")


# Without a cache of compiled programs, which JAX keeps for the first worker alone: on a slow machine the other compiles
# so long that the first no longer waits for it.
WORKER = f"""
import os, runpy, sys
if "--backend=jax" in sys.argv:
    import jax
    jax.config.update("jax_enable_compilation_cache", False)
    os.environ["XLA_FLAGS"] = {fork_server.QUICKLY!r}
runpy.run_module("mnist_mlp.train", run_name="__main__", alter_sys=True)
"""


def addresses(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{server.getsockname()[1]}" for server in held]
    for server in held:
        server.close()
    return found


def start_two(backend, run_dir, epochs=EPOCHS, before=""):
    """Two workers that train, or go on; `before` is code that they run first."""
    at = addresses(2)
    return [start_one(backend, run_dir, at, index, epochs, before) for index in range(2)]


def start_one(backend, run_dir, at, index, epochs=EPOCHS, before="", flags=TRAIN):
    train = [*flags, "--strategy=multiworker", f"--workers={','.join(at)}", f"--worker_index={index}"]
    train += [f"--epochs={epochs}", f"--backend={backend}", f"--run_dir={run_dir}", "--resume"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return fork_server.start_code(before + WORKER, *train, backend=backend, **pipes)


def until_epoch(processes, epoch):
    """The workers, once the chief has completed this epoch."""
    while not re.match(rf"epoch +{epoch}/", processes[0].stdout.readline()):
        assert processes[0].poll() is None, processes[0].stderr.read()
    return processes


def left_by(run_dir):
    """What a run came to, but for times."""
    result = json.loads((run_dir / "result.json").read_text())
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in result["epochs"]]
    return result["model_sha256"], result["test"], rows, len(result["resumed"])


def uninterrupted_run(factory, backend) -> Path:
    """The run to which two workers of this machine come if nothing disturbs them; made once for all tests."""
    make = launch if backend == "jax" else train  # the launcher need not show twice what it does
    return once(factory, f"workers-{backend}", functools.partial(make, backend)) / "run"


def train(backend, place):
    ends = [process.communicate(timeout=300) for process in start_two(backend, place / "run")]
    assert "test " in ends[0][0], ends


def launch(backend, place):
    flags = [*TRAIN, f"--epochs={EPOCHS}", f"--backend={backend}", f"--run_dir={place / 'run'}", "--json"]
    environ = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false", "XLA_FLAGS": fork_server.QUICKLY}
    found = subprocess.run([*LAUNCH, "2", "--", *flags], env=environ, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    (place / "stdout").write_text(found.stdout)
