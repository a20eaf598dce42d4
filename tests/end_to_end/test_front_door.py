"""`python -m mnist_mlp`, `mnist-mlp`, and what `import mnist_mlp` offers."""

import json
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from helpers.fork_server import run, run_code, start
from helpers.programs import door, refused

import mnist_mlp
from mnist_mlp import __main__ as front_door
from mnist_mlp.runs import saved

# The console command without an installation.
MNIST_MLP = "import sys; sys.argv[0] = '/usr/bin/mnist-mlp'; from mnist_mlp.__main__ import main; sys.exit(main())"


def test_the_overview_has_every_command():
    page = door().stdout
    assert page == door("--help").stdout and page.startswith(f"mnist_mlp {mnist_mlp.__version__}: ")
    shown = re.findall(r"^  (\S+) {2,}\S", page, re.MULTILINE)
    assert sorted(shown) == sorted([*front_door.commands(), "scripts/test"])
    assert len(page.splitlines()) < 40 and max(map(len, page.splitlines())) <= 100


def processor_seconds():
    """What children of this process have taken so far: it depends less than the clock on what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_overview_comes_at_once():
    """Without NumPy, in less than a fifth of a second of the processor; the least of a few."""
    code = "import sys; sys.argv = ['mnist-mlp']; import atexit; from mnist_mlp import __main__ as door\n"
    code += "from mnist_mlp.cli import program; program.end = lambda *code: print('numpy' in sys.modules); door.main()"
    assert run_code(code, backend=None, absent=["numpy"]).stdout.splitlines()[-1] == "True"  # only the absent one
    assert (
        "numpy"
        not in subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "mnist_mlp"], capture_output=True, text=True, cwd=ROOT
        ).stderr
    )
    seconds = []
    for _ in range(4):
        began = processor_seconds()
        subprocess.run([sys.executable, "-m", "mnist_mlp"], check=True, capture_output=True, cwd=ROOT)
        seconds.append(processor_seconds() - began)
    assert min(seconds) < 0.4


@pytest.mark.parametrize(
    "argv, words",
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'? (all commands: python -m mnist_mlp --help)"),
        (["explain"], "did you mean 'lab.explain'?"),
        (["data"], "unknown command 'data'"),  # a folder without a program
        (["--verson"], "unknown flag '--verson'; did you mean '--version'?"),
        (["../train\n"], r"unknown command '../train\n'"),
    ],
)
def test_an_unknown_command_is_refused_in_one_line(argv, words):
    refused(door(*argv), words)


def test_the_version():
    assert door("--version").stdout == f"mnist_mlp {mnist_mlp.__version__}\n"


@pytest.mark.parametrize(
    "name", [name if name == "train" else pytest.param(name, marks=pytest.mark.slow) for name in front_door.commands()]
)
def test_every_command_answers_by_the_name_it_was_called_by(name):
    here = {"absent": ["keras", "tensorflow", "jax", "tensorflow_datasets"], "backend": None}
    long = run("__main__", name, "--help", **here)
    assert long.returncode == 0 and f"usage: python -m mnist_mlp {name}" in long.stdout, long.stderr
    short = run_code(MNIST_MLP, name, "--help", **here)
    assert f"usage: mnist-mlp {name}" in short.stdout
    module = run(name, "--help", **here)
    assert f"usage: python -m mnist_mlp.{name}" in module.stdout

    def about(page):
        return re.sub(r"usage: .*?\n\n", "", page.stdout, flags=re.DOTALL)

    assert about(long) == about(short) == about(module)


def test_a_mistake_has_the_same_answer_either_way():
    both = run("__main__", "train", "--modle=mlp", backend=None), run("train", "--modle=mlp", backend=None)
    assert {(done.returncode, done.stdout, done.stderr) for done in both} == {
        (2, "", "error: unknown flag --modle; did you mean '--model'? (all flags: --help)\n")
    }


@pytest.mark.slow
@pytest.mark.xla(False)
def test_train_does_the_same_either_way(tmp_path):
    flags = ["--preset=smoke", "--epochs=1", "--strategy=cpu", "--backend=tensorflow", "--json"]
    digests = []
    for name, way in (("door", ["__main__", "train"]), ("module", ["train"])):
        done = run(*way, *flags, f"--run_dir={tmp_path / name}", backend="tensorflow")
        assert done.returncode == 0, done.stderr
        digests.append(json.loads(done.stdout)["model_sha256"])
    assert digests[0] == digests[1]


@pytest.mark.slow
@pytest.mark.xla(False)
def test_a_signal_stops_a_run_in_good_order(tmp_path):
    flags = [
        "--dataset=digits",
        "--epochs=999",
        "--strategy=cpu",
        "--backend=tensorflow",
        f"--run_dir={tmp_path / 'run'}",
    ]
    with start(
        "__main__", "train", *flags, backend="tensorflow", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert any(re.match(r"epoch +2/999 ", line) for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and "--resume" in errors and errors.count("\n") == 1


def test_names_are_loaded_when_they_are_used():
    code = """
import sys, mnist_mlp
own = [name for name in sys.modules if name.startswith("mnist_mlp.")]
assert "numpy" not in sys.modules and own == ["mnist_mlp.cli", "mnist_mlp.cli.shadowing"]
assert set(mnist_mlp.__all__) <= set(dir(mnist_mlp))
from mnist_mlp import Config
assert "numpy" not in sys.modules and Config(epochs=3).epochs == 3
from mnist_mlp import load_data, train_and_evaluate
import mnist_mlp.data, mnist_mlp.train
assert load_data is mnist_mlp.data.load and train_and_evaluate is mnist_mlp.train.train_and_evaluate
assert not {"keras", "tensorflow", "jax"} & set(sys.modules)
print("loaded")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "loaded\n", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = mnist_mlp.trian


@pytest.mark.skipif(not hasattr(saved, "open_run"), reason="mnist_mlp.runs.saved.open_run is not written yet")
def test_open_run_is_offered():
    assert mnist_mlp.open_run is saved.open_run


@pytest.mark.full
def test_training_from_python_logs_little(tmp_path):
    code = """
import sys
from pathlib import Path
from mnist_mlp import Config, train_and_evaluate
train_and_evaluate(Config(preset="smoke", dataset="digits", epochs=1, strategy="cpu"), Path(sys.argv[1]))
"""
    command = [sys.executable, "-c", code, tmp_path / "run"]
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "MNIST_MLP_CACHE": "off", "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Compiled cluster using XLA" not in done.stderr and "AVX2" not in done.stderr


def test_the_package_is_typed():
    assert (Path(mnist_mlp.__file__).parent / "py.typed").exists()
