"""JAX's own side of the engine contract, in processes of their own: Keras has one backend in each."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.fork_server import QUICKLY, run_code

from mnist_mlp.config import OPTIMIZERS
from mnist_mlp.data.batches import batch_indices

pytestmark = pytest.mark.numerics

# What is compared are a few steps: compiled quickly, not to run quickly.
BEGIN = f"""
import json
import os
import sys
os.environ.setdefault("XLA_FLAGS", {QUICKLY!r})
import numpy as np
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers import steps
from mnist_mlp.config import Config
from mnist_mlp.data import Split, load
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.devices.strategy import Plan
from mnist_mlp.engine.base import DeviceSet
from mnist_mlp.engine.keras_fit import FitEngine
from mnist_mlp.engine.jax.engine import JaxEngine
from mnist_mlp.engine.jax.devices import attach
from mnist_mlp.errors import UserError
from mnist_mlp.models import networks
from mnist_mlp.training import optimizers
import jax
"""


def run(code):
    """What the code prints last, as JSON."""
    environ = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    done = run_code(BEGIN + code, backend="jax", env=environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_gpu_that_jax_cannot_use_is_refused_or_told():
    code = """
jax.config.update("jax_platforms", "cuda")
found = []
try:
    attach(Plan("jax", "gpu", "gpu", {}), 60)
except UserError as error:
    found.append(str(error))
devices = attach(Plan("jax", "gpu", "auto", {}), 60)
print(json.dumps([*found, devices.name, *devices.notes]))
"""
    refused, device, note = run(code)
    assert refused.startswith("--strategy=gpu: JAX ") and refused.endswith(
        "run python -m mnist_mlp.doctor --strategy=gpu"
    )
    assert device.startswith("CPU: ") and ": this run is on the CPU; " in note and "set JAX_PLATFORMS" not in note


@pytest.mark.slow
def test_compiler_options_that_this_jax_does_not_know_are_left_out():
    code = """
from unittest import mock
from mnist_mlp.engine.jax import programs
options = {"xla_cpu_use_thunk_runtime_of_tomorrow": "1", "xla_cpu_experimental_xnn_fusion_type": ""}
with mock.patch.object(programs, "FOR_A_CPU", options):
    print(json.dumps(programs.known_options()))
"""
    assert run(code) == {"xla_cpu_experimental_xnn_fusion_type": ""}


@pytest.mark.slow
def test_what_ran_elsewhere_or_cannot_be_divided_is_refused():
    code = """
digits = load(Config(dataset="digits"))
found = []
for attempt in (
    lambda: JaxEngine(networks.build("softmax"), None, {"test": digits.test}, 32,
                      DeviceSet("GPU: made up", where=jax.devices())).compile(),
    lambda: JaxEngine(networks.build("softmax"), None, {}, 32,
                      DeviceSet("GPU: made up", where=jax.devices())).predict(digits.test.images),
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
        assert words.startswith("the weights are on CPU:0 instead of GPU: made up (replicas: 1); ")
    assert divided == "--replicas=3: JAX has already divided the CPU differently; start a new process"


@pytest.mark.slow
def test_jax_computes_the_logits_of_convolutions_as_fit_does():
    """Of which `parity` tries none; how one trains on TensorFlow test_engine.py holds."""
    code = """
images, logits = load(Config(dataset="digits")).train.images[:9], []
for engine_class in (JaxEngine, FitEngine):
    devices = DeviceSet("CPU", where=jax.devices())
    logits.append(engine_class(networks.build("cnn", seed=1), None, {}, 8, devices).logits(images))
print(json.dumps([list(logits[0].shape), float(abs(logits[0] - logits[1]).max() / abs(logits[1]).max())]))
"""
    shape, distance = run(code)
    assert shape == [9, 10] and distance < 1e-5


@pytest.mark.full  # parity judges each step of the other networks
@pytest.mark.parametrize("name", ["mlp_l2", "cnn"])
def test_jax_agrees_with_fit_in_each_step(name):
    """The third batch has 3 examples. The logits of the network itself have no edges, whatever its gradients have."""
    code = f"""
jax.config.update("jax_enable_x64", {name == "cnn"})
digits = load(Config(dataset="digits")).train
split = Split(digits.images[:19], digits.labels[:19])
rows = np.concatenate([batch_indices(1, epoch, 19, 8) for epoch in range(2)])
engines, logits = [], []
for engine_class in (JaxEngine, FitEngine):
    more = ({{"train": split}}, 8, DeviceSet("CPU", where=jax.devices()))
    engines.append(engine_class(steps.smooth("{name}"), optimizers.make_optimizer("adam", None), *more))
    engines[-1].compile()
    if "{name}" == "cnn":  # which `parity` does not try
        logits.append(engine_class(networks.build("cnn", seed=1), None, *more).logits(split.images[:9]))
worst = steps.furthest(engines, rows)
for engine in engines:
    assert int(engine.optimizer.iterations) == len(rows) == 6 and len(engine.weights_on) == 1
print(json.dumps([*worst, [float(abs(a - b).max() / abs(b).max()) for a, b in zip(logits[::2], logits[1::2])]]))
"""
    apart, where, logits = run(code)
    assert apart <= 1, where
    assert all(distance < 1e-5 for distance in logits) and len(logits) == (name == "cnn")


@pytest.mark.slow
def test_jax_trains_whole_epochs_as_fit_does():
    """On softmax regression by SGD, which is smooth and convex, roundings do not grow."""
    code = """
split = load(Config(dataset="digits")).train
ends, losses = [], []
for engine_class in (JaxEngine, FitEngine):
    devices = DeviceSet("CPU", where=jax.devices())
    optimizer = optimizers.make_optimizer("sgd", 0.1)
    engine = engine_class(networks.build("softmax", seed=1), optimizer, {"train": split}, 32, devices)
    losses.append([engine.train(batch_indices(1, epoch, len(split), 32)).loss_sum for epoch in range(3)])
    ends.append(engine.state()["model/logits/kernel"])
assert losses[0][2] < 0.5 * losses[0][0]
assert np.allclose(*losses, rtol=1e-5)
print(json.dumps(float(np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[1]))))
"""
    assert run(code) < 1e-5


@pytest.mark.slow
def test_every_optimizer_trains_on_jax(full):
    """Without --full one of each kind, by the variables that it has."""
    code = (
        f"""
OPTIMIZERS = {tuple(OPTIMIZERS) if full else ("ftrl", "muon", "schedulefreeadamw")}
"""
        + """
split = load(Config(dataset="digits")).train
found = {}
for name in OPTIMIZERS:
    try:
        optimizer = optimizers.make_optimizer(name, None)
    except UserError:
        continue
    devices = DeviceSet("CPU", where=jax.devices())
    engine = JaxEngine(networks.build("softmax"), optimizer, {"train": split}, 32, devices)
    before = engine.state()["model/logits/kernel"]
    engine.train(batch_indices(0, 0, len(split), 32)[:3])
    after = engine.state()["model/logits/kernel"]
    found[name] = [bool(np.isfinite(after).all()), bool((after != before).any())]
print(json.dumps(found))
"""
    )
    found = run(code)
    assert len(found) > (8 if full else 1)
    assert found == {name: [True, True] for name in found}


@pytest.mark.slow
def test_jax_goes_on_where_tensorflow_stopped(digits, tmp_path):
    """With softmax regression, for 25 steps of a network with edges would not be those of another program."""
    from mnist_mlp.engine.base import DeviceSet
    from mnist_mlp.engine.tensorflow.engine import TensorFlowEngine
    from mnist_mlp.models import networks
    from mnist_mlp.training import optimizers

    batches = batch_indices(0, 0, len(digits.train), 32)
    optimizer = optimizers.make_optimizer("adam", None)
    engine = TensorFlowEngine(networks.build("softmax"), optimizer, {"train": digits.train}, 32, DeviceSet("CPU"))
    engine.train(batches[:20])
    np.savez(tmp_path / "state.npz", **engine.state())
    expected = engine.train(batches[20:])
    code = f"""
split = load(Config(dataset="digits")).train
optimizer = optimizers.make_optimizer("adam", None)
devices = DeviceSet("CPU", where=jax.devices())
engine = JaxEngine(networks.build("softmax", seed=9), optimizer, {{"train": split}}, 32, devices)
engine.restore(dict(np.load({str(tmp_path / "state.npz")!r})))
sums = engine.train(batch_indices(0, 0, len(split), 32)[20:])
print(json.dumps([sums.loss_sum, sums.correct, int(optimizer.iterations)]))
"""
    loss_sum, correct, iterations = run(code)
    assert loss_sum == pytest.approx(expected.loss_sum, rel=1e-5)
    assert abs(correct - expected.correct) <= 1  # one may lie between two classes
    assert iterations == len(batches)


@pytest.mark.slow
def test_jax_has_the_gradients_by_pixels_that_numpy_has():
    code = """
for name in ("mlp", "cnn"):
    network = networks.build(name, seed=1)
    steps.check_pixel_gradients(JaxEngine(network, None, {}, 4, attach(Plan("jax", "cpu", "cpu", {}), 60)), network)
print(json.dumps("as NumPy has them"))
"""
    assert run(code) == "as NumPy has them"
