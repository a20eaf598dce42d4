"""Where the tests find real MNIST, and the device they run on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the same numbers on every machine
os.environ["MNIST_MLP_CACHE"] = "off"  # and nothing of earlier runs


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=50, help="moments at which test_kills.py kills a run, in all")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The directory with MNIST's IDX files."""
    path = Path(os.environ.get("MNIST_DATA_DIR", ROOT / ".." / "shared" / "data" / "mnist")).resolve()
    if not path.is_dir():
        pytest.skip("real MNIST is not here: set MNIST_DATA_DIR=DIR, the directory of its four files")
    return path


@pytest.fixture(scope="session")
def mnist(mnist_dir):
    """Real MNIST as a Dataset."""
    from mnist_mlp.config import Config
    from mnist_mlp.data import load

    return load(Config(dataset="mnist", data_dir=str(mnist_dir)))


@pytest.fixture(scope="session")
def digits():
    """The embedded digits as a Dataset."""
    from mnist_mlp.config import Config
    from mnist_mlp.data import load

    return load(Config(dataset="digits"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The directory of a run on the embedded digits, which no test changes."""
    place = tmp_path_factory.mktemp("run") / "run"
    flags = ["--preset=smoke", "--strategy=cpu", "--backend=tensorflow", f"--run_dir={place}"]
    subprocess.run([sys.executable, "-m", "mnist_mlp.train", *flags], check=True, capture_output=True, timeout=300)
    return place


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")  # not longer: while it lives, this thread has a running event loop
def browser():
    """Chromium, headless, as the system has it, or as CHROMIUM names it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path, and CHROMIUM names none")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=flags)
        yield found
        found.close()
