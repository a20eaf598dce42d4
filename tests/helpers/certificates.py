"""Certificates of one backend in one process, for several numbers of replicas, each a line of JSON.

usage: python certificates.py BACKEND [quickly] FLAG,FLAG… FLAG,FLAG…      such as replicas=8 replicas=1,xla=off

With "quickly" the images are few, and the programs are compiled without XLA's costly passes, unless XLA_FLAGS says
otherwise.

A run that begins with "unprobed," omits the tests of single operations, which take longer than its steps.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

backend, *runs = sys.argv[1:]
os.environ |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}

from helpers import faults
from helpers.fork_server import QUICKLY

quickly = runs[0] == "quickly"
if quickly:
    del runs[0]
    os.environ.setdefault("XLA_FLAGS", QUICKLY)

from mnist_mlp.cli import stderr_filter

faults.one_thread()
stderr_filter.silence()

from mnist_mlp.cli.flags import convert
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.parity.command import Options, certify, operations

dataset = faults.few_images() if quickly else None
fields = {field.name: field for field in Options.__dataclass_fields__.values()}
for run in runs:
    flags = run.removeprefix("unprobed,")
    test = operations.test if flags == run else lambda *_: []
    given = {name: convert(fields[name], value) for name, value in (flag.split("=") for flag in flags.split(","))}
    with tempfile.TemporaryDirectory() as place, mock.patch.object(operations, "test", test):
        options = Options(strategy="cpu", backend=backend, certificate=str(Path(place) / "c.json"), **given)
        print(json.dumps(certify(options, dataset=dataset, reporter=SILENT)), flush=True)
