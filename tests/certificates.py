"""Certificates of one backend in one process, for several numbers of replicas, each a line of JSON.

usage: python certificates.py BACKEND FLAG,FLAG… FLAG,FLAG…      such as replicas=8 replicas=1,xla=off
"""

import json
import os
import sys
import tempfile
from pathlib import Path

backend, *runs = sys.argv[1:]
os.environ |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from mnist_mlp import chatter  # noqa: E402

chatter.silence()

from mnist_mlp.command import convert  # noqa: E402
from mnist_mlp.parity.__main__ import Options, certify  # noqa: E402

fields = {field.name: field for field in Options.__dataclass_fields__.values()}
for run in runs:
    given = {name: convert(fields[name], value) for name, value in (flag.split("=") for flag in run.split(","))}
    with tempfile.TemporaryDirectory() as place:
        options = Options(strategy="cpu", backend=backend, certificate=str(Path(place) / "c.json"), **given)
        print(json.dumps(certify(options, say=lambda text: None)), flush=True)
