"""bfloat16 computes with 8 bits of mantissa, and learns as well."""

import json
import subprocess
import sys

import numpy as np
import pytest

CODE = """
import json, sys, tempfile
from pathlib import Path
from mnist_mlp import chatter
chatter.silence()
from mnist_mlp.config import Config
from mnist_mlp.data import load
from mnist_mlp.train import train_and_evaluate

backend, directory = sys.argv[1:]
found = {}
with tempfile.TemporaryDirectory() as place:
    dataset = load(Config(dataset="mnist", data_dir=directory))
    for precision in ("float32", "bfloat16"):
        found[precision] = []
        for seed in range(5):
            config = Config(strategy="cpu", backend=backend, precision=precision, seed=seed)
            run_dir = Path(place) / f"{precision}-{seed}"
            result = train_and_evaluate(config, run_dir, dataset=dataset, say=lambda text: None)
            assert result.precision == precision
            found[precision].append(result.test["accuracy"])
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_bfloat16_is_as_accurate_as_float32_over_five_seeds(backend, mnist_dir):
    command = [sys.executable, "-c", CODE, backend, str(mnist_dir)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    found = json.loads(done.stdout)
    print(found)
    assert abs(np.mean(found["bfloat16"]) - np.mean(found["float32"])) < 0.003
    assert found["bfloat16"] != found["float32"]  # it is another arithmetic
    assert min(found["float32"]) > 0.97
