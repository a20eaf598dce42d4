"""No TensorFlow: the package in the versions of a Colab TPU runtime, and here with TensorFlow out of reach."""

import atexit
import csv
import fcntl
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from helpers import fork_server

from mnist_mlp.devices.machine import detect

pytestmark = pytest.mark.slow

# What a Colab TPU runtime has (2026-08), as far as a run needs it; nbclient runs the notebook.
COLAB = (
    *("keras==3.13.2", "jax==0.7.2", "jaxlib==0.7.2", "numpy==2.1.3", "tensorflow-datasets==4.9.10"),
    *("importlib_resources", "absl-py", "pillow", "matplotlib", "ipykernel", "nbclient"),
)
WITHOUT_TPU = pytest.mark.skipif(bool(detect().tpu_chips), reason="a TPU is attached")

# Lies on PYTHONPATH as sitecustomize.py: an import of TensorFlow, also one inside `try`, ends the process. Asking
# whether it is installed is allowed.
TRAP = """
import importlib.machinery, os, sys, traceback

class Trap:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            return importlib.machinery.ModuleSpec(name, Trap)

    @staticmethod
    def create_module(spec):
        traceback.print_stack(file=sys.stderr)
        sys.stderr.flush()
        os._exit(97)

    @staticmethod
    def exec_module(module):
        pass

sys.meta_path.insert(0, Trap)
"""
IMPORT_ALL = """
import importlib, json, pkgutil
import mnist_mlp

missing = {}
for module in pkgutil.walk_packages(mnist_mlp.__path__, "mnist_mlp."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name
print(json.dumps(missing))
"""


def colab_python() -> Path:
    """The Python of an environment with Colab's versions, made once for all tests; they are skipped without it."""
    python, reason = make_colab()
    if reason:
        pytest.skip(reason)
    return python


@functools.cache
def make_colab() -> tuple[Path, str]:
    """The Python of the environment, and why there is none. It stays within the environment of the tests (0.9 GB), with
    what it was made of, so that only the first session waits for it; where they have none, it goes with the session."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Path(), "the versions of Colab need Python 3.11 to 3.13"
    if sys.prefix == sys.base_prefix:
        base = Path(tempfile.mkdtemp(prefix="mnist_mlp-"))
        atexit.register(shutil.rmtree, base, ignore_errors=True)
    else:
        base = Path(sys.prefix)
    python, ready = base / "colab" / "bin" / "python", base / "colab" / "ready"
    recipe = "\n".join([sys.version, *COLAB])
    with (base / "colab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.is_file() and ready.read_text() == recipe:
            return python, ""
        if importlib.util.find_spec("pip") is None:
            return python, "this environment has no pip, which installs the versions of Colab"
        pip = [sys.executable, "-I", "-m", "pip"]
        with tempfile.TemporaryDirectory() as scratch:
            look = ["download", "--quiet", "--no-deps", "--no-cache-dir", "--retries=0", "--dest", scratch, "iniconfig"]
            if subprocess.run([*pip, *look], capture_output=True).returncode:
                return python, "no package registry in reach"
        make = [sys.executable, "-m", "venv", "--clear", "--without-pip", base / "colab"]
        # Without byte code: the few modules that are imported get theirs then, the many others need none.
        install = [*pip, "--python", python, "install", "--quiet", "--no-input", "--no-compile", *COLAB]
        for command in (make, install):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        ready.write_text(recipe)
    return python, ""


def colab_environment(home: Path) -> dict[str, str]:
    """The environment variables there: nothing on the network answers, and the caches below `home` are empty."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    nowhere = "http://127.0.0.1:9"  # the port of a service that no machine offers: refused at once
    return {**kept, "HOME": str(home), "LANG": "C.UTF-8", "http_proxy": nowhere, "https_proxy": nowhere}


def run(command, environment):
    """A command in the clone's directory, as on Colab: the package is not installed there."""
    return subprocess.run(
        [*map(str, command)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


class Colab(fork_server.Server):
    """A process of Colab's Python that has imported Keras on JAX, and from which programs are forked."""

    def __init__(self, python, environment):
        super().__init__([str(python), fork_server.__file__, "jax"], {**environment, "KERAS_BACKEND": "jax"})
        self.python, self.environment = str(python), environment

    def run(self, *argv, **variables):
        """As `run` of Python with these arguments."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command, environment = [self.python, *map(str, argv)], {**self.environment, **variables}
        with fork_server.ForkedPopen(self, command, [], env=environment, cwd=ROOT, **pipes) as process:
            out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """`colab.run(*argv)` runs Colab's Python."""
    server = Colab(colab_python(), colab_environment(tmp_path_factory.mktemp("home")))
    yield server
    server.socket.close()  # at which it ends
    server.process.wait()


@pytest.fixture(scope="module")
def there(colab):
    """`there(program, *flags)` runs a program of the package in Colab's versions."""
    return lambda program, *flags: colab.run("-m", f"mnist_mlp.{program}", *flags)


def here(program, *flags):
    """The same in this environment, with TensorFlow."""
    return fork_server.run(program, *flags, "--strategy=cpu", "--backend=tensorflow", backend="tensorflow")


@pytest.fixture(scope="module")
def run_there(colab, full, tmp_path_factory):
    """The directory of a run by JAX there; before a release in a Python that begins with it, as in the notebook."""
    path = tmp_path_factory.mktemp("there") / "run"
    argv = ["-m", "mnist_mlp.train", "--preset=smoke", f"--run_dir={path}"]
    home = tmp_path_factory.mktemp("home")
    done = run([colab_python(), *argv], colab_environment(home)) if full else colab.run(*argv)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def run_here(trained, tmp_path_factory):
    """The directory of a run by TensorFlow here."""
    return shutil.copytree(trained, tmp_path_factory.mktemp("here") / "run")


def result_of(path):
    return json.loads((path / "result.json").read_text())


def evaluated(place, path):
    """What `evaluate` gives at a place; the counts are those of the training run, or it says so."""
    done = place("evaluate", f"--run_dir={path}", "--json")
    assert done.returncode == 0, done.stderr
    assert "the counts differ" not in done.stderr
    return json.loads(done.stdout)


def predicted(place, path, digits):
    """The confusion matrix of what `predict` gives at a place."""
    done = place("predict", f"--run_dir={path}")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (digits.test.labels, [int(row["class"]) for row in rows]), 1)
    return confusion.tolist()


def test_all_but_the_tensorflow_engine_can_be_imported(colab):
    done = colab.run("-c", IMPORT_ALL, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    modules = [f"engine.tensorflow.{name}" for name in ("devices", "engine", "programs", "trace")]
    modules.append("parity.operations_tensorflow")
    missing = {f"mnist_mlp.{name}": "tensorflow" for name in modules}
    found = json.loads(done.stdout)
    servers = ("mnist_mlp.serve.", "mnist_mlp.lab.live.")  # whose packages are those of an extra
    assert {name: found[name] for name in found if not name.startswith(servers)} == missing
    assert not set(found.values()) - {"tensorflow", "fastapi", "orjson", "prometheus_client", "starlette", "uvicorn"}


def test_trains_on_jax_without_a_word(run_there):
    result = result_of(run_there)
    assert (result["backend"], result["versions"]["keras"], result["versions"]["jax"]) == ("jax", "3.13.2", "0.7.2")
    assert "tensorflow" not in result["versions"]
    assert (result["device"]["requested"], result["device"]["step_on"]) == ("auto", ["CPU:0"])
    assert result["device"]["notes"] == []
    assert result["test"]["accuracy"] > 0.9


@pytest.mark.full  # the notebook for Colab does so, too
def test_evaluates_and_predicts_its_own_run(there, run_there, digits):
    confusion = result_of(run_there)["test"]["confusion"]
    assert evaluated(there, run_there)["test"]["confusion"] == confusion
    assert predicted(there, run_there, digits) == confusion


def test_jax_there_reads_a_run_of_tensorflow(there, run_here, digits):
    trained = result_of(run_here)
    assert (trained["backend"], trained["test"]["total"]) == ("tensorflow", 360)
    result = evaluated(there, run_here)
    assert (result["backend"], result["versions"]["keras"]) == ("jax", "3.13.2")
    assert result["test"]["confusion"] == trained["test"]["confusion"]
    assert result["test"]["loss"] == pytest.approx(trained["test"]["loss"], rel=1e-5)
    assert predicted(there, run_here, digits) == trained["test"]["confusion"]


def test_tensorflow_here_reads_a_run_of_jax(run_there, digits):
    trained = result_of(run_there)
    result = evaluated(here, run_there)
    assert result["backend"] == "tensorflow"
    assert result["test"]["confusion"] == trained["test"]["confusion"]
    assert result["test"]["loss"] == pytest.approx(trained["test"]["loss"], rel=1e-5)
    assert predicted(here, run_there, digits) == trained["test"]["confusion"]


# The doctor, which waits for a framework however busy the machine is.
PATIENT = """
import runpy
from mnist_mlp.doctor import framework_check
framework_check.ask.__defaults__ = (300,)
runpy.run_module("mnist_mlp.doctor", run_name="__main__", alter_sys=True)
"""


@pytest.mark.full  # in the notebook, too
def test_doctor_says_that_the_cpu_works(colab):
    done = colab.run("-c", PATIENT, "--strategy=cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict  train --strategy=cpu would run on the CPU, jax, 1 replica" in done.stdout
    assert "probes   jax          ✓ CPU:0" in done.stdout
    assert "not installed, though a run needs it" not in done.stdout


@pytest.mark.full  # the notebook for Colab does so, too
@WITHOUT_TPU
def test_doctor_says_that_there_is_no_tpu(there):
    done = there("doctor", "--strategy=tpu")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "verdict  train --strategy=tpu would not run: no TPU is attached" in done.stdout


@pytest.mark.parametrize(
    "flag, answer",
    [
        pytest.param(
            "--strategy=tpu",
            "error: --strategy=tpu: no TPU is attached to this machine; use --strategy=cpu\n",
            marks=WITHOUT_TPU,
        ),
        ("--backend=tensorflow", "error: TensorFlow is not installed; run pip install 'tensorflow>=2.18'\n"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(there, tmp_path, flag, answer):
    done = there("train", flag, "--dataset=digits", f"--run_dir={tmp_path / 'run'}")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", answer)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def trapped(tmp_path):
    """`trapped(*arguments)` runs this Python where an import of TensorFlow ends it with exit code 97."""
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "sitecustomize.py").write_text(TRAP)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "trap")}
    return lambda *arguments: run([sys.executable, *arguments], environment)


def test_the_trap_holds(trapped):
    code = "import importlib.util\nassert importlib.util.find_spec('tensorflow')\n"
    assert trapped("-c", code).returncode == 0
    assert trapped("-c", f"{code}try:\n    import tensorflow.nn\nexcept Exception:\n    pass").returncode == 97


# In a process that has imported Keras on JAX already: the trap, and then a program.
TRAPPED = f"""{TRAP}
assert "keras" in sys.modules and "tensorflow" not in sys.modules
import runpy
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def test_the_trap_also_holds_in_a_process_that_has_begun(tmp_path):
    (tmp_path / "eager.py").write_text("try:\n    import tensorflow\nexcept ImportError:\n    pass\n")
    assert fork_server.run_code(TRAPPED, "eager", backend="jax", cwd=tmp_path).returncode == 97


def test_a_run_on_jax_leaves_an_installed_tensorflow_alone(trapped, tmp_path, full):
    """Importing it would cost seconds, and on a machine with a TPU it would take hold of the device."""
    flags = ("--strategy=cpu", "--backend=jax", f"--run_dir={tmp_path / 'run'}")
    data = ("--dataset=digits", "--model=softmax", "--epochs=2", "--validation_fraction=0.1")
    begun = lambda program, *more: fork_server.run_code(TRAPPED, program, *flags, *more, backend="jax")  # noqa: E731
    done = trapped("-m", "mnist_mlp.train", *flags, *data) if full else begun("mnist_mlp.train", *data)
    assert done.returncode == 0, done.stderr
    for program in ("evaluate", "predict"):
        done = begun(f"mnist_mlp.{program}")
        assert done.returncode == 0, f"{program}\n{done.stderr}"
    result = result_of(tmp_path / "run")
    assert (result["backend"], result["test"]["total"]) == ("jax", 360)
