"""Runs that are killed at random moments and resumed end as if nothing had happened, to the last bit (see kills.py)."""

from pathlib import Path

import pytest
from helpers.fork_server import run_code

KILLS = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.full  # test_workers.py kills one of two workers and resumes both to the same bits
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("model, share", [("mlp", 0.4), ("mlp_dropout", 0.6)])
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(backend, model, share, tmp_path):
    moments = round(50 / 2 * share)
    words = [Path(__file__).parents[1] / "helpers" / "kills.py", backend, model, moments, 0, tmp_path]
    done = run_code(KILLS, *words, backend=backend, timeout=600 + 60 * moments)
    assert done.returncode == 0 and "DIFFERS" not in done.stdout, done.stdout + done.stderr
    assert done.stdout.count(": identical") == moments > 0, done.stdout
    print(done.stdout)
