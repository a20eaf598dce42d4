"""On Windows, where nothing of this can run, every program says so in one line. Here with a faked `sys.platform`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_mlp.__main__ import commands

ROOT = Path(__file__).resolve().parents[2]
WORDS = "mnist_mlp needs Linux or macOS; on Windows type this in WSL2 (once: wsl --install)"
# Python imports this file when it starts. At the end it tells what was imported from here or fails on Windows.
SITE = """
import atexit, sys
sys.platform = "win32"
atexit.register(lambda: print([name for name in sys.modules if name in ("numpy", "fcntl") or "mnist_mlp." in name]))
"""


@pytest.fixture
def windows(tmp_path):
    """A function that runs Python where it takes itself to be on Windows."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    environ = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    return lambda *arguments: subprocess.run(
        [sys.executable, *arguments], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )


@pytest.mark.slow
def test_every_program_answers_in_one_line_before_anything_is_imported(windows):
    for name in ["mnist_mlp", *(f"mnist_mlp.{command}" for command in commands())]:
        done = windows("-m", name, "--help")
        assert (done.returncode, done.stdout, done.stderr) == (2, "[]\n", f"error: {WORDS}\n"), name


@pytest.mark.slow
def test_the_console_command_and_python_code_say_it_as_well(windows, tmp_path):
    (tmp_path / "mnist-mlp").write_text("from mnist_mlp.__main__ import main\nmain()\n")
    done = windows(tmp_path / "mnist-mlp", "train")
    assert (done.returncode, done.stdout, done.stderr) == (2, "[]\n", f"error: {WORDS}\n")
    done = windows("-c", "import mnist_mlp")
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == f"ImportError: {WORDS}"
