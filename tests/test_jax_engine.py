"""JAX's own side of the engine contract, in processes of their own: Keras has one backend in each."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mnist_mlp.data import batch_order

BEGIN = """
import json
import numpy as np
from mnist_mlp import models, optimizers
from mnist_mlp.config import Config, OPTIMIZERS
from mnist_mlp.data import Split, batch_order, load
from mnist_mlp.devices import Plan
from mnist_mlp.engine import Attached
from mnist_mlp.engine.fit import FitEngine
from mnist_mlp.engine.jax import JaxEngine
from mnist_mlp.engine.jax_devices import attach
from mnist_mlp.errors import UserError
import jax
"""


def run(code, **environment):
    """What the code prints last, as JSON."""
    environ = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"} | environment
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_gpu_that_jax_cannot_use_is_refused_or_told():
    code = """
found = []
try:
    attach(Plan("jax", "gpu", "gpu", {}), 60)
except UserError as error:
    found.append(str(error))
attached = attach(Plan("jax", "gpu", "auto", {}), 60)
print(json.dumps([*found, attached.device, *attached.notes]))
"""
    refused, device, note = run(code, JAX_PLATFORMS="cuda")
    assert refused.startswith("--strategy=gpu: JAX ") and refused.endswith(
        "type python -m mnist_mlp.doctor --strategy=gpu"
    )
    assert device.startswith("CPU: ") and ": this run is on the CPU; " in note and "set JAX_PLATFORMS" not in note


@pytest.mark.slow
def test_compiler_options_that_this_jax_does_not_know_are_left_out():
    code = """
from unittest import mock
from mnist_mlp.engine import jax_programs
options = {"xla_cpu_use_thunk_runtime_of_tomorrow": "1", "xla_cpu_experimental_xnn_fusion_type": ""}
with mock.patch.object(jax_programs, "FOR_A_CPU", options):
    print(json.dumps(jax_programs.known_options()))
"""
    assert run(code) == {"xla_cpu_experimental_xnn_fusion_type": ""}


@pytest.mark.slow
def test_what_ran_elsewhere_or_cannot_be_divided_is_refused():
    code = """
digits = load(Config(dataset="digits"))
found = []
for attempt in (
    lambda: JaxEngine(models.build("softmax"), None, {"test": digits.test}, 32,
                      Attached("GPU: made up", where=jax.devices())).compile(),
    lambda: JaxEngine(models.build("softmax"), None, {}, 32,
                      Attached("GPU: made up", where=jax.devices())).predict(digits.test.images),
    lambda: attach(Plan("jax", "cpu", "cpu", {}, replicas=3), 60),
):
    try:
        attempt()
        found.append("")
    except UserError as error:
        found.append(str(error))
print(json.dumps(found))
"""
    compiled, predicted, divided = run(code)
    for words in (compiled, predicted):
        assert words.startswith("expected the weights on GPU: made up (1 replicas), found CPU:0")
    assert divided == "--replicas=3: JAX has already divided the CPU otherwise; start a new process"


@pytest.mark.slow
def test_jax_agrees_with_fit_after_three_epochs():
    code = """
split = load(Config(dataset="digits")).train
found = {}
for name in ("mlp", "mlp_l2", "softmax", "cnn"):
    ends = []
    for engine_class in (JaxEngine, FitEngine):
        attached = Attached("CPU", where=jax.devices())
        optimizer = optimizers.make_optimizer("adam", None)
        engine = engine_class(models.build(name, seed=1), optimizer, {"train": split, "test": split}, 32, attached)
        engine.compile()
        for epoch in range(3):
            engine.train(batch_order(1, epoch, len(split), 32))
        assert int(optimizer.iterations) == 135 and len(engine.weights_on) == 1
        ends.append(engine.state())
    weights = [key for key in ends[0] if key.startswith("model/")]
    found[name] = max(float(np.linalg.norm(ends[0][k] - ends[1][k]) / np.linalg.norm(ends[1][k])) for k in weights)
print(json.dumps(found))
"""
    for name, distance in run(code).items():
        assert distance < 1e-4, name


@pytest.mark.slow
def test_every_optimizer_trains_on_jax():
    code = """
split = load(Config(dataset="digits")).train
found = {}
for name in OPTIMIZERS:
    try:
        optimizer = optimizers.make_optimizer(name, None)
    except UserError:
        continue
    engine = JaxEngine(models.build("softmax"), optimizer, {"train": split}, 32, Attached("CPU", where=jax.devices()))
    before = engine.state()["model/logits/kernel"]
    engine.train(batch_order(0, 0, len(split), 32)[:10])
    after = engine.state()["model/logits/kernel"]
    found[name] = [bool(np.isfinite(after).all()), bool((after != before).any())]
print(json.dumps(found))
"""
    found = run(code)
    assert len(found) > 8
    assert found == {name: [True, True] for name in found}


@pytest.mark.slow
def test_jax_goes_on_where_tensorflow_stopped(digits, tmp_path):
    from mnist_mlp import models, optimizers
    from mnist_mlp.engine import Attached
    from mnist_mlp.engine.tensorflow import TensorFlowEngine

    order = batch_order(0, 0, len(digits.train), 32)
    optimizer = optimizers.make_optimizer("adam", None)
    engine = TensorFlowEngine(models.build("mlp"), optimizer, {"train": digits.train}, 32, Attached("CPU"))
    engine.train(order[:20])
    np.savez(tmp_path / "state.npz", **engine.state())
    expected = engine.train(order[20:])
    code = f"""
split = load(Config(dataset="digits")).train
optimizer = optimizers.make_optimizer("adam", None)
attached = Attached("CPU", where=jax.devices())
engine = JaxEngine(models.build("mlp", seed=9), optimizer, {{"train": split}}, 32, attached)
engine.restore(dict(np.load({str(tmp_path / "state.npz")!r})))
sums = engine.train(batch_order(0, 0, len(split), 32)[20:])
print(json.dumps([sums.loss_sum, sums.correct, int(optimizer.iterations)]))
"""
    loss_sum, correct, iterations = run(code)
    assert (loss_sum, correct) == (pytest.approx(expected.loss_sum, rel=1e-5), expected.correct)
    assert iterations == len(order)
