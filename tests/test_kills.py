"""Runs that are killed at random moments and resumed end as if nothing had happened, to the last bit (see kills.py)."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("model, share", [("mlp", 0.4), ("mlp_dropout", 0.6)])
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(backend, model, share, tmp_path, full):
    moments = round((50 if full else 6) / 2 * share)
    command = [sys.executable, Path(__file__).parent / "kills.py", backend, model, str(moments), "0", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 30 * moments)
    assert done.returncode == 0 and "DIFFERS" not in done.stdout, done.stdout + done.stderr
    assert done.stdout.count(": identical") == moments > 0, done.stdout
    print(done.stdout)
