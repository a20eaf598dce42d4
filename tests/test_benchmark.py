"""The benchmark runs from end to end, on random images."""

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["default", "lecture"])
def test_one_pair(preset):
    command = [sys.executable, ROOT / "scripts/benchmark.py", "--runs=1", "--epochs=1", f"--preset={preset}"]
    done = subprocess.run([*command, "--data_dir="], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"random images of MNIST's shape, preset {preset}, batch 32, 1 epochs, CPU, n = 1")
    for figure in ("process", "epoch", "memory", "accuracy"):
        assert f"\n| {figure} | " in done.stdout
    assert "ours in parts, median seconds: import " in done.stdout
