"""Which frameworks can be used with what is installed: every problem, and the command that mends it."""

import pytest

from mnist_mlp.devices import frameworks
from mnist_mlp.devices.frameworks import jax_problem, tensorflow_problem, tpu_tensorflow_problem
from mnist_mlp.devices.machine import Machine
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.errors import UserError


def seen(libtpu_file="", cuda=False, **installed) -> Machine:
    names = {name.replace("_", "-"): version for name, version in installed.items()}
    return Machine(cuda_libraries=cuda, installed=names, libtpu=libtpu_file)


KERAS = {"keras": "3.10.0"}
UPGRADE_KERAS = "pip install -U keras"


@pytest.mark.parametrize("version", ["2.18", "2.18.0", "2.21.0rc1", "3.0"])
def test_a_tensorflow_that_is_new_enough_has_no_problem(version):
    assert tensorflow_problem(seen(tensorflow=version, **KERAS)) == ""


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        ({}, "TensorFlow is not installed; run pip install 'tensorflow>=2.18'"),
        ({"tensorflow": "2.17.9"}, "expected TensorFlow 2.18 or newer, found 2.17.9; run pip install 'tensorflow>=2"),
        ({"tensorflow": "1.99.0"}, "expected TensorFlow 2.18 or newer, found 1.99.0"),
        ({"tensorflow": "2.18.0"}, f"Keras is not installed; run {UPGRADE_KERAS}"),
        (
            {"tensorflow": "2.18.0", "keras": "3.9.2"},
            "expected Keras 3.10 or newer, found 3.9.2; run pip",
        ),
        (
            {"tensorflow": "2.18.0", "tensorflow_tpu": "2.19.1", **KERAS},
            "tensorflow and tensorflow-tpu are both installed and overwrite each other; run pip uninstall -y "
            "tensorflow tensorflow-tpu, then pip install 'tensorflow>=2.18'",
        ),
    ],
)
def test_problems_of_tensorflow(installed, problem):
    assert tensorflow_problem(seen(**installed)).startswith(problem)


def test_where_tensorflow_has_no_release_it_is_not_the_remedy(monkeypatch):
    monkeypatch.setattr(frameworks.sys, "version_info", (3, 14, 0))
    problem = tensorflow_problem(seen())
    assert problem == (
        "TensorFlow is not installed (it has no release for Python 3.14); use --backend=jax, or Python 3.10 to 3.13"
    )
    assert tensorflow_problem(seen(tensorflow="2.22.0rc0", **KERAS)) == ""  # whoever has the release candidate
    nothing = Machine(installed=KERAS)
    with pytest.raises(UserError, match="and JAX is not installed; run pip install -U jax$"):
        choose(Request(), nothing)


def test_on_a_gpu_tensorflow_needs_its_libraries():
    wanted = "pip install 'tensorflow[and-cuda]>=2.18'"
    assert tensorflow_problem(seen(tensorflow="2.18.0", cuda=True, **KERAS), cuda=True) == ""
    assert tensorflow_problem(seen(tensorflow="2.18.0", **KERAS)) == ""
    assert tensorflow_problem(seen(tensorflow="2.18.0", **KERAS), cuda=True) == (
        f"the CUDA libraries of TensorFlow are not installed; run {wanted}"
    )
    assert tensorflow_problem(seen(tensorflow_cpu="2.18.0", cuda=True, **KERAS), cuda=True) == (
        f"tensorflow-cpu is built without CUDA; run pip uninstall -y tensorflow-cpu, then {wanted}"
    )
    assert tensorflow_problem(seen(tensorflow_tpu="2.19.1", cuda=True, **KERAS), cuda=True).startswith(
        "tensorflow-tpu is built without CUDA; "
    )
    assert tensorflow_problem(seen(), cuda=True) == f"TensorFlow is not installed; run {wanted}"


TPU = {"tensorflow_tpu": "2.19.1", "libtpu": "0.0.10", **KERAS}


@pytest.mark.parametrize(
    ("installed", "file", "problem"),
    [
        (TPU, "/libtpu.so", ""),
        ({**TPU, "tensorflow_tpu": "2.20.0", "libtpu": "0.0.99"}, "/libtpu.so", ""),  # a pair that is not known
        ({}, "", f"TensorFlow is not installed; run {frameworks.TPU_ENVIRONMENT}"),
        ({"tensorflow": "2.18.0"}, "", "tensorflow 2.18.0 is built without TPU support; run python3.12 -m venv"),
        (
            {**TPU, "tensorflow": "2.18.0"},
            "/libtpu.so",
            "tensorflow and tensorflow-tpu are both installed and overwrite each other; run pip uninstall -y "
            "tensorflow tensorflow-tpu, then pip install tensorflow-tpu==2.19.1",
        ),
        (
            {**TPU, "libtpu": "0.0.11"},
            "/libtpu.so",
            "tensorflow-tpu 2.19.1 needs libtpu 0.0.10, found 0.0.11; run pip install libtpu==0.0.10",
        ),
        (
            {"tensorflow_tpu": "2.20.0"},
            "",
            "tensorflow-tpu 2.20.0 needs libtpu, found none; run pip install tensorflow-tpu==2.20.0",
        ),
        (TPU, "", "libtpu 0.0.10 is installed without its file libtpu.so; run pip install --force-reinstall libtpu=="),
        ({**TPU, "keras": "3.9.0"}, "/libtpu.so", "expected Keras 3.10 or newer, found 3.9.0"),
    ],
)
def test_problems_of_tensorflow_on_a_tpu(installed, file, problem):
    found = tpu_tensorflow_problem(seen(file, **installed))
    assert found.startswith(problem) and bool(found) == bool(problem)


JAX = {"jax": "0.6.0", "jaxlib": "0.6.1", **KERAS}


@pytest.mark.parametrize(
    ("installed", "extra", "problem"),
    [
        (JAX, "", ""),
        ({}, "", "JAX is not installed; run pip install -U jax"),
        ({"jax": "0.6.0", **KERAS}, "", "JAX is not installed; run pip install -U jax"),  # without its other half
        ({**JAX, "jax": "0.5.9"}, "", "expected JAX 0.6 or newer, found 0.5.9; run pip install -U jax"),
        ({**JAX, "jaxlib": "0.5.9"}, "tpu", "expected JAX 0.6 or newer, found 0.5.9; run pip install -U 'jax[tpu]'"),
        (JAX, "cuda", f"JAX 0.6.0 is installed without CUDA; run pip install -U 'jax[{frameworks.CUDA_EXTRA}]'"),
        ({**JAX, "jax_cuda12_plugin": "0.6.0"}, "cuda", ""),
        ({**JAX, "jax_cuda13_plugin": "0.6.0"}, "cuda", ""),
        (JAX, "tpu", "JAX 0.6.0 is installed without libtpu; run pip install -U 'jax[tpu]'"),
        ({**JAX, "libtpu": "0.0.17"}, "tpu", ""),
        ({**JAX, "libtpu": "0.0.10"}, "tpu", ""),  # without TensorFlow's there is nothing to say of it
        (
            {**JAX, "libtpu": "0.0.10", "tensorflow_tpu": "2.19.1"},
            "tpu",
            "libtpu 0.0.10 belongs to tensorflow-tpu, JAX needs another version; run pip install -U 'jax[tpu]'",
        ),
        ({**JAX, "libtpu": "0.0.17", "tensorflow_tpu": "2.19.1"}, "tpu", ""),
        ({**JAX, "libtpu": "0.0.10", "tensorflow_tpu": "2.19.1"}, "", ""),
    ],
)
def test_problems_of_jax(installed, extra, problem):
    assert jax_problem(seen(**installed), extra) == problem
