"""bfloat16 computes with 8 bits of mantissa, and learns as well."""

import json

import numpy as np
import pytest
from helpers.fork_server import run_code

from mnist_mlp.checks import references
from mnist_mlp.config import Config

pytestmark = pytest.mark.numerics

CODE = """
import json, sys, tempfile
from pathlib import Path
from mnist_mlp.cli import stderr_filter
stderr_filter.silence()
from mnist_mlp.config import Config
from mnist_mlp.data.dataset import load
from mnist_mlp.train import train_and_evaluate

backend, seeds, *directory = sys.argv[1:]
dataset = load(Config(dataset="mnist", data_dir=directory[0]) if directory else Config(dataset="digits"))
found = {"accuracy": {}, "losses": {}}
with tempfile.TemporaryDirectory() as place:
    for precision in ("float32", "bfloat16"):
        results = []
        for seed in range(int(seeds)):
            config = Config(strategy="cpu", backend=backend, precision=precision, seed=seed)
            run_dir = Path(place) / f"{precision}-{seed}"
            results.append(train_and_evaluate(config, run_dir, dataset=dataset, reporter=SILENT))
        found["accuracy"][precision] = [result.test["accuracy"] for result in results]
        found["losses"][precision] = [row["loss"] for result in results for row in result.epochs]
        assert {result.precision for result in results} == {precision}

import numpy as np
from mnist_mlp.models import networks
from mnist_mlp.devices.strategy import Plan
from mnist_mlp.engine.create import EngineSpec, create_engine

images, found["short"] = dataset.test.images[:20], {}
for precision in ("float32", "bfloat16"):
    make = lambda: networks.build("mlp", precision=precision)
    engine = create_engine(Plan(backend, "cpu", "cpu", {}), EngineSpec(make, {}, 20))
    arrays = dict(zip(("hidden_1", "hidden_2"), engine.layers(images))) | {"logits": engine.logits(images)}
    found["short"][precision] = [name for name, x in arrays.items() if not (x.view(np.uint32) & 0xFFFF).any()]
    exact = arrays["hidden_1"] if precision == "float32" else exact
found["apart"] = float(abs(arrays["hidden_1"] - exact).max() / exact.max())
print(json.dumps(found))
"""
BACKENDS = ["tensorflow", "jax"]


def answer(backend, *argv):
    done = run_code(CODE, backend, *argv, backend=backend, timeout=1800)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_of_8_bits(found):
    """What the hidden layers give, and not the logits. A bfloat16 is a float32 whose lower half is 0."""
    assert found["short"] == {"float32": [], "bfloat16": ["hidden_1", "hidden_2"]}
    assert 2**-12 < found["apart"] < 2**-4  # a pixel, a weight and a sum are off by 2⁻⁸ each, or less
    assert found["losses"]["bfloat16"][0] != found["losses"]["float32"][0]


@pytest.mark.full  # in each step: test_parity.py; on TensorFlow test_run.py
@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_learns_the_digits_as_float32_does(backend):
    """Of 360 answers perhaps 15 are others, about as many for the better as for the worse: 4 deviations of their
    difference are 16."""
    found = answer(backend, 1)
    assert_of_8_bits(found)
    (short,), (full,) = found["accuracy"]["bfloat16"], found["accuracy"]["float32"]
    assert abs(short - full) < 16 / 360
    assert found["losses"]["bfloat16"] == pytest.approx(found["losses"]["float32"], rel=0.1)
    assert full > 0.85


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_is_as_accurate_as_float32_over_five_seeds(backend, mnist_dir):
    answers = answer(backend, 5, mnist_dir)
    assert_of_8_bits(answers)
    found = answers["accuracy"]
    # 4 deviations of the difference of two means of five, were their seeds others
    expected = references.find(Config(), "mnist").right
    apart = 4 * expected["sd"] / 10_000 * np.sqrt(2 / 5)
    assert abs(np.mean(found["bfloat16"]) - np.mean(found["float32"])) < apart
    assert found["bfloat16"] != found["float32"]  # it is another arithmetic
    assert abs(np.mean(found["float32"]) - expected["mean"] / 10_000) < apart
