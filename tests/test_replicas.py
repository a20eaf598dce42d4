"""The same seed gives the same numbers on one device, on several, in several processes, and on both backends."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CURVES = Path(__file__).with_name("curves.py")
ONE_LEFT_OUT = 1411  # of batches of 32 the last has 3 examples: of 4 replicas three get none
RAGGED = 1437  # the last batch has 29


def command(*arguments):
    return [sys.executable, str(CURVES), *map(str, arguments)]


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """`curves(backend, model, examples, batch, steps, replicas)`: what curves.py wrote, trained once in a process."""
    known = {}

    def trained(backend, model, examples, batch, steps, replicas, mnist_dir=None):
        arguments = (model, examples, batch, steps, 0, ",".join(map(str, replicas)))
        if (backend, arguments, mnist_dir) not in known:
            file = tmp_path_factory.mktemp("curves") / "curves.npz"
            environ = os.environ | ({"CURVES_MNIST": str(mnist_dir)} if mnist_dir else {})
            subprocess.run(command(backend, file, *arguments), env=environ, check=True, timeout=300)
            known[backend, arguments, mnist_dir] = np.load(file)
        return known[backend, arguments, mnist_dir]

    return trained


def assert_same(found, count, expected, expected_count=1):
    """The same loss at each step to 1e-5, the same confusion matrix after the last, and examples counted once."""
    losses, reference = found[f"{count}/losses"], expected[f"{expected_count}/losses"]
    assert reference[-1] < 0.5 * reference[0]  # it learns, so there is something to agree in
    np.testing.assert_allclose(losses, reference, rtol=1e-5)
    np.testing.assert_array_equal(found[f"{count}/confusion"], expected[f"{expected_count}/confusion"])
    np.testing.assert_array_equal(found[f"{count}/seen"], expected[f"{expected_count}/seen"])


@pytest.mark.slow
def test_two_replicas_on_jax_compute_the_step_of_one(curves):
    found = curves("jax", "mlp", ONE_LEFT_OUT, 32, 90, (1, 2))
    assert found["1/seen"].min() == 3
    assert_same(found, 2, found)
    assert list(found["2/placed"]) == [2, 2]  # two devices computed, two hold the weights


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "mlp_l2", "mlp+elastic"])
@pytest.mark.parametrize("examples", [RAGGED, ONE_LEFT_OUT])
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_any_number_of_replicas_computes_the_steps_of_one_tensorflow_device(backend, model, examples, curves):
    expected = curves("tensorflow", model, examples, 32, 200, (1, 2, 4, 8))
    found = curves(backend, model, examples, 32, 200, (1, 2, 4, 8))
    for count in (1, 2, 4, 8):
        assert_same(found, count, expected)
        assert list(found[f"{count}/placed"]) == [count, count]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_batch_that_the_replicas_do_not_divide_is_filled_up(backend, curves):
    found = curves(backend, "mlp", RAGGED, 30, 100, (1, 4))
    assert_same(found, 4, found)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_real_mnist_too(backend, curves, mnist_dir):
    expected = curves("tensorflow", "mlp", 60000, 32, 200, (1,), mnist_dir)
    found = curves(backend, "mlp", 60000, 32, 200, (1, 2, 8), mnist_dir)
    for count in (1, 2, 8):
        assert_same(found, count, expected)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("model", ["mlp", "mlp_l2"])
def test_two_worker_processes_compute_the_steps_of_one_device(backend, model, curves, tmp_path):
    expected = curves("tensorflow", model, ONE_LEFT_OUT, 32, 200, (1, 2, 4, 8))
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = "workers=" + ",".join(f"127.0.0.1:{server.getsockname()[1]}" for server in held)
    for server in held:
        server.close()
    files = [tmp_path / f"{index}.npz" for index in range(2)]
    processes = [
        subprocess.Popen(command(backend, file, model, ONE_LEFT_OUT, 32, 200, 0, workers, index))
        for index, file in enumerate(files)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    for file in files:  # both evaluate, both have the weights
        assert_same(np.load(file), 2, expected)


@pytest.mark.slow
def test_dropout_on_jax_does_not_depend_on_the_replicas(curves):
    found = curves("jax", "mlp_dropout", RAGGED, 32, 100, (1, 4))
    assert_same(found, 4, found)


@pytest.mark.slow
def test_dropout_on_tensorflow_replicas_learns_and_keeps_the_replicas_equal(curves):
    """Each replica draws for its own share: other numbers than on one device, but one network."""
    found = curves("tensorflow", "mlp_dropout", RAGGED, 32, 200, (2,))
    assert found["2/apart"] == 0
    losses = found["2/losses"]
    assert losses[-10:].mean() < 0.5 * losses[:10].mean()


@pytest.mark.slow
def test_the_state_has_the_same_names_on_both_backends(curves):
    states = [curves(backend, "mlp_dropout", RAGGED, 32, 100, (1, 4)) for backend in ("tensorflow", "jax")]
    names = [{key: value.shape for key, value in state.items() if "/state/" in key} for state in states]
    assert names[0] == names[1] and len(names[0]) > 20
