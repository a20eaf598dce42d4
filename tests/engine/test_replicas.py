"""The same state gives the same step on one device, on several, in several processes, and on both backends."""

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fork_server import start_code
from helpers.once import once
from helpers.steps import OF_A_CHANGE, changed, share

from mnist_mlp.parity import oracle

CURVES = Path(__file__).parents[1] / "helpers" / "curves.py"
BACKENDS = ("tensorflow", "jax")
RECIPE = "mlp_l2+elastic"  # penalties, distortions, decay, averages and a rate that falls
STEPS = 4  # the third has 3 examples
COUNTS = [1, 2]  # TensorFlow traces each of them
MORE_COUNTS = [1, 3]
QUICKLY = {"CURVES_QUICKLY": "1"}  # a few steps: compiled quickly, not to run quickly
pytestmark = [pytest.mark.slow, pytest.mark.numerics]


def begin(backend, file, jobs, *more, **environment):
    """curves.py in a process that goes on by itself."""
    code = f"import sys; sys.path.insert(0, {str(CURVES.parents[1])!r})\n{CURVES.read_text()}"
    environ = os.environ | QUICKLY | environment
    return start_code(code, backend, file, json.dumps(jobs), *more, backend=backend, env=environ)


def written(backend, file, jobs, *more, **environment):
    """What curves.py wrote."""
    assert begin(backend, file, jobs, *more, **environment).wait(timeout=600) == 0
    return dict(np.load(file))


def once_written(factory, backend, jobs, *more):
    place = once(factory, f"curves-{backend}", lambda path: written(backend, path / "curves.npz", jobs, *more))
    return SimpleNamespace(file=place / "curves.npz", found=dict(np.load(place / "curves.npz")))


@pytest.fixture(scope="module")
def counts(full):
    """How many replicas take the steps."""
    return MORE_COUNTS if full else COUNTS


@pytest.fixture(scope="module")
def tensorflow(counts, tmp_path_factory):
    """Steps on TensorFlow's devices, one and several; all others are compared with one."""
    jobs = [[RECIPE, counts, STEPS], ["mlp_dropout", [2], STEPS]]
    return once_written(tmp_path_factory, "tensorflow", jobs)


@pytest.fixture(scope="module")
def jax(full, counts, tmp_path_factory, tensorflow):
    """Steps of JAX from the same states."""
    jobs = [[RECIPE, counts, STEPS]] * full + [["mlp_dropout", [1, 4], STEPS]]
    return once_written(tmp_path_factory, "jax", jobs, tensorflow.file)


def part(found, *names):
    """A state, or what else there is under such a name."""
    prefix = "/".join(map(str, names)) + "/"
    return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


def assert_same(found, count, expected, expected_count=1, model=RECIPE, steps=STEPS):
    """In each step all of the state within what rounding allows, and the loss; and every example counted once."""
    for step in range(steps):
        before, end = part(expected, model, "before", step), part(expected, model, expected_count, step)
        assert changed(before, end)
        for name, value in share(before, part(found, model, count, step), end).items():
            assert value <= 1, (step, name)
    losses = expected[f"{model}/{expected_count}/losses"]
    assert len(losses) == steps
    np.testing.assert_allclose(found[f"{model}/{count}/losses"], losses, rtol=OF_A_CHANGE)
    expected_confusion, count_of_examples = expected[f"{model}/{expected_count}/confusion"], 63
    confusion = found[f"{model}/{count}/confusion"]
    assert confusion.sum() == expected_confusion.sum() == count_of_examples
    assert abs(confusion - expected_confusion).sum() <= 2 * unclear(part(expected, model, expected_count, "weights"))


def unclear(weights):
    """How many of the images rounding could take for another class."""
    from mnist_mlp.config import Config
    from mnist_mlp.data import load

    images = load(Config(dataset="digits")).train.images[:63]
    values = [weights[str(index)].astype(np.float64) for index in range(len(weights))]
    first, second = np.sort(oracle.forward(values, images.reshape(-1, 784) / 255, "tanh")[1][-1])[:, :-3:-1].T
    return (first - second < 1e-4).sum()


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.full)])  # see test_parity.py
def test_any_number_of_replicas_computes_the_steps_of_one_tensorflow_device(backend, counts, request, tensorflow):
    found = request.getfixturevalue(backend).found
    for count in counts:
        assert_same(found, count, tensorflow.found)
        assert list(found[f"{RECIPE}/{count}/placed"]) == [count, count]  # so many computed, so many hold the weights
        assert found[f"{RECIPE}/{count}/apart"] == 0


@pytest.mark.full  # test_workers.py holds two workers against one, by the program
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_worker_processes_compute_the_steps_of_one_device(backend, tensorflow, tmp_path):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{server.getsockname()[1]}" for server in held]
    for server in held:
        server.close()
    files = [tmp_path / f"{index}.npz" for index in range(2)]
    jobs = [[RECIPE, workers, STEPS]]
    processes = [begin(backend, file, jobs, tensorflow.file, index) for index, file in enumerate(files)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    for file in files:  # both evaluate, both have the weights
        assert_same(dict(np.load(file)), 2, tensorflow.found)


def test_dropout_on_jax_does_not_depend_on_the_replicas(jax):
    assert_same(jax.found, 4, jax.found, model="mlp_dropout")


def test_dropout_on_tensorflow_replicas_learns_and_keeps_the_replicas_equal(tensorflow):
    """Each replica draws for its own share: other numbers than on one device, but one network."""
    assert tensorflow.found["mlp_dropout/2/apart"] == 0
    losses = tensorflow.found["mlp_dropout/learned"]
    assert losses[-10:].mean() < 0.5 * losses[:10].mean()


def test_the_state_has_the_same_names_on_both_backends(jax, tensorflow):
    states = [part(found, "mlp_dropout", count, 0) for found, count in ((jax.found, 4), (tensorflow.found, 2))]
    names = [{key: value.shape for key, value in state.items()} for state in states]
    assert names[0] == names[1] and len(names[0]) > 20


@pytest.mark.full
@pytest.mark.parametrize("model", ["mlp", "mlp+elastic", "mlp_l2", RECIPE])
def test_more_networks_and_eight_replicas_too(model, tmp_path):
    expected = written("tensorflow", tmp_path / "tensorflow.npz", [[model, [1, 2, 4, 8], 12]])
    found = written("jax", tmp_path / "jax.npz", [[model, [1, 2, 4, 8], 12]], tmp_path / "tensorflow.npz")
    for count in (1, 2, 4, 8):
        assert_same(expected, count, expected, model=model, steps=12)
        assert_same(found, count, expected, model=model, steps=12)


@pytest.mark.full
@pytest.mark.parametrize("backend", BACKENDS)
def test_real_mnist_too(backend, mnist_dir, tmp_path):
    expected = written("tensorflow", tmp_path / "1.npz", [["mlp", [1], 12]], CURVES_MNIST=str(mnist_dir))
    jobs = [["mlp", [1, 2, 8], 12]]
    found = written(backend, tmp_path / "2.npz", jobs, tmp_path / "1.npz", CURVES_MNIST=str(mnist_dir))
    for count in (1, 2, 8):
        assert found[f"mlp/{count}/confusion"].sum() == 63
        assert_same(found, count, expected, model="mlp", steps=12)
