"""A run on real MNIST that several files of tests only read."""

import pytest

from helpers.fork_server import run, with_xla
from helpers.once import once


@pytest.fixture(scope="session")
def mnist_run(tmp_path_factory, mnist_dir):
    """The directory of the default run; beside it lies what it printed, `printed.json` with --json and `said.txt`."""

    def make(place):
        flags = [f"--data_dir={mnist_dir}", "--json"]
        done = run("train", *flags, f"--run_dir={place / 'run'}", backend="tensorflow", env=with_xla())
        assert done.returncode == 0, done.stderr
        (place / "printed.json").write_text(done.stdout)
        (place / "said.txt").write_text(done.stderr)

    return once(tmp_path_factory, "mnist-run", make) / "run"
