"""The README's commands, run as written, in an empty directory beside which `scripts` and `mnist` lie."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from helpers import fork_server
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture

from mnist_mlp.cli import flags
from mnist_mlp.config import MODELS, PRESETS
from mnist_mlp.errors import UserError

pytestmark = pytest.mark.xla(False)  # but where a user's start is tried
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
# Bash splits a line of ours into words; only the programs are its own functions, which print them.
PRINTS = """scripts/train() { printf '%s\\0' -m mnist_mlp.train "$@"; }
python() { printf '%s\\0' "$@"; }
"""
REAL = ("scripts/train --preset smoke",)  # as a user starts it

# The doctor as it is, but that a framework is not taken to hang where the machine has much else to do.
DOCTOR = """
from mnist_mlp.cli import program; from mnist_mlp.doctor import command as doctor, framework_check
framework_check.ask.__defaults__ = (300.0,)
program.run(doctor.main)
"""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


# What takes longest, and what a test of its own runs: but before a release its flags alone are read.
LONG = (
    "lab.explain",
    "lab.mistakes",
    "lab.ladder",
    "parity",
    "doctor --strategy",
    "tune",
    "scripts/train  ",
    "train --dataset digits --config",
    "train --dataset digits --validation_fraction",
    "train --dataset digits --run_dir runs/auto",
    "train --dataset digits --model softmax --optimizer",
    "train --dataset digits --strategy cpu --replicas",
    "train --preset smoke --gate",
    "lab.playground 'dataset=spiral",
    "lab.playground --exercise",
    "evaluate --run_dir runs/mine  ",
    "predict --run_dir runs/mine  ",
    "report runs/mine  ",
    "python scripts/launch_workers.py",
)

COMMANDS = [block.splitlines() for block in blocks("sh") if not block.startswith("scripts/test")]
ON_ONE_RUN = [line for lines in COMMANDS if any("runs/mine" in line for line in lines) for line in lines]
ON_THEIR_OWN = [lines for lines in COMMANDS if not any("runs/mine" in line for line in lines)]


def environment(cwd):
    """With this environment's programs first on the path, and nothing for the user's caches."""
    caches = {"KERAS_HOME": str(cwd / "keras"), "TFDS_DATA_DIR": str(cwd / "tfds")}
    return os.environ | caches | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def in_a_shell(line, cwd):
    """One line of shell, with processes that begin as a user's do."""
    command = ["bash", "-c", line]
    return subprocess.run(command, cwd=cwd, env=environment(cwd), capture_output=True, text=True, timeout=1200)


def run(line, cwd):
    """One line of shell. A program of the package that takes no data of the user's is forked, unless it is `REAL`."""
    printed = subprocess.run(["bash", "-c", PRINTS + line], cwd=cwd, capture_output=True, text=True, check=True).stdout
    *words, end = printed.split("\0")
    assert not end and words, f"{line}\nis more than one program: {printed}"
    if line.startswith(REAL) or words[0] != "-m" or not re.search(r"digits|runs/|parity|doctor|playground", line):
        return in_a_shell(line, cwd)
    if words[1] == "mnist_mlp.doctor":
        return fork_server.run_code(DOCTOR, *words[2:], backend=None, cwd=cwd, timeout=1200)
    backend = "jax" if "jax" in words else "tensorflow"
    return fork_server.run(words[1].removeprefix("mnist_mlp."), *words[2:], backend=backend, cwd=cwd, timeout=1200)


def run_all(lines, cwd):
    for line in lines:
        done = run(line, cwd)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.fixture
def place(tmp_path):
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("scripts/test has not made .venv here")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    return tmp_path


def is_long(line):
    return line.removeprefix("python -m mnist_mlp.").startswith(LONG)


LONG_LINES = list(filter(is_long, ON_ONE_RUN + sum(ON_THEIR_OWN, [])))


def named(lines):
    return re.sub(r"\W+", " ", "".join(lines)[:60]).strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines",
    [pytest.param(lines, marks=[pytest.mark.full] * all(map(is_long, lines))) for lines in ON_THEIR_OWN],
    ids=named,
)
def test_commands(lines, place, full):
    run_all([line for line in lines if full or not is_long(line)], place)


@pytest.mark.parametrize("line", [line for line in LONG_LINES if "mnist_mlp." in line], ids=named)
def test_the_flags_of_long_commands_are_known(line, monkeypatch):
    _, _, module, *argv = shlex.split(line, comments=True)
    program = importlib.import_module(f"{module}.command" if (ROOT / module.replace(".", "/")).is_dir() else module)
    given_flags, read = flags.given_flags, []

    def only_read(declared, argv, **names):
        read.append(declared(**given_flags(declared, argv, **names)))
        raise UserError("that is enough")

    monkeypatch.setattr(flags, "given_flags", only_read)
    with pytest.raises(UserError, match="that is enough"):
        program.main(argv)
    assert read


@pytest.mark.slow
def test_commands_on_one_run_and_python_code(place, full):
    assert len(ON_ONE_RUN) >= 9 and len(ON_THEIR_OWN) >= 7
    run_all([line for line in ON_ONE_RUN if full or not is_long(line)], place)
    assert len((place / "runs/predictions.jsonl").read_text().splitlines()) == 360
    first, *others = blocks("python")
    done = in_a_shell(f"python - <<'END'\n{first}\nEND", place)  # its chatter is that of a start
    assert re.search(r"^\d+ of 360\n\(1, 10\)$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert done.stderr == ""
    expected = [r"^{'train': 0\.\d+, 'test': 0\.\d+} {'train': .*} 105$", r"^\(3, 10\) \[(\d) \1 \1\]$"]
    for code, printed in zip(others, expected, strict=True):
        done = fork_server.run_code(code, backend=None, cwd=place)
        assert re.search(printed, done.stdout, re.MULTILINE), done.stdout + done.stderr
        assert done.stderr == ""


@pytest.mark.slow
def test_the_output_that_is_shown(mnist_dir, mnist_run):  # noqa: F811
    """Word by word, with figures that belong to the machine or to rounding taken out."""
    shown = blocks("text")[0]
    command, _, expected = shown.partition("\n")
    assert command == "$ scripts/train --data_dir mnist --run_dir runs/first"
    said = (mnist_run.parent / "said.txt").read_text()
    said = said.replace(str(mnist_dir), "mnist").replace(str(mnist_run), "runs/first")

    def words(text):
        text = re.sub(r"CPU: .* \(asked", "CPU: (asked", text)
        head, _, rest = text.partition("\nepoch")
        rest = re.sub(r"versions .*", "versions", rest)
        return head, re.sub(r"[\d.,%–]+", "#", re.sub(" +", " ", rest)).strip()

    assert words(said) == words(expected)


def test_every_model_and_preset_is_explained():
    for name in (*MODELS, *PRESETS):
        assert f"`{name}`" in README
    assert "0.1.0" in CHANGELOG
