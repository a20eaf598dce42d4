"""The README's commands, run as written, in an empty directory beside which `scripts` and `mnist` lie."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from mnist_mlp.config import MODELS, PRESETS

README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(line, cwd):
    """One line of shell with this environment's programs first on the path."""
    caches = {"KERAS_HOME": str(cwd / "keras"), "TFDS_DATA_DIR": str(cwd / "tfds")}  # nothing for those of the user
    environment = os.environ | caches | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-c", line]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def place(tmp_path):
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("scripts/test has not made .venv here")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    return tmp_path


@pytest.mark.slow
def test_commands(place):
    lines = [line for block in blocks("sh") for line in block.splitlines() if not line.startswith("scripts/test")]
    assert len(lines) >= 9
    for line in lines:
        done = run(line, place)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert len((place / "runs/predictions.jsonl").read_text().splitlines()) == 360


@pytest.mark.slow
def test_python_code(place):
    expected = [r"^\d+ of 360\n\(1, 10\)$", r"^{'train': 0\.\d+, 'test': 0\.\d+} {'train': .*} 105$"]
    expected += [r"^\(3, 10\) \[(\d) \1 \1\]$"]
    exported = "python -m mnist_mlp.export --run_dir runs/mine --format onnx"
    done = run(f"python -m mnist_mlp.train --preset smoke --epochs 1 --run_dir runs/mine && {exported}", place)
    assert done.returncode == 0, done.stderr
    for code, printed in zip(blocks("python"), expected, strict=True):
        done = run(f"python - <<'END'\n{code}\nEND", place)
        assert re.search(printed, done.stdout, re.MULTILINE), done.stdout + done.stderr
        assert done.stderr == ""


@pytest.mark.slow
def test_the_output_that_is_shown(place, mnist_dir):
    """Word by word, with figures that belong to the machine or to rounding taken out."""
    (place / "mnist").symlink_to(mnist_dir)
    shown = blocks("text")[0]
    command, _, expected = shown.partition("\n")
    assert command.startswith("$ ")
    done = run(command[2:], place)
    assert done.returncode == 0, done.stderr

    def words(text):
        text = re.sub(r"CPU: .* \(asked", "CPU: (asked", text)
        head, _, rest = text.partition("\nepoch")
        rest = re.sub(r"versions .*", "versions", rest)
        return head, re.sub(r"[\d.,%–]+", "#", re.sub(" +", " ", rest)).strip()

    assert words(done.stdout) == words(expected)


def test_what_it_lists_exists():
    tree = blocks("text")[-1]
    for name in re.findall(r"(\w+\.py)", tree):
        assert list((ROOT / "mnist_mlp").rglob(name)), name
    for path in (ROOT / "mnist_mlp").rglob("*.py"):
        assert path.name in tree or path.name == "__init__.py", path.name
    for name in (*MODELS, *PRESETS):
        assert f"`{name}`" in README
    assert "0.1.0" in CHANGELOG
