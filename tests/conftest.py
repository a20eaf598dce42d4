"""Where the tests find real MNIST, the device they run on, and what they share."""

import atexit
import collections
import gc
import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from helpers.fork_server import WITHOUT_XLA, do_without_xla, remember_environment, restore_environment, run, with_xla
from helpers.once import once

from mnist_mlp.cli import load_framework

ROOT = Path(__file__).resolve().parent.parent
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the same numbers on every machine
os.environ["MNIST_MLP_CACHE"] = "off"  # and nothing of earlier runs
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # as a program sets it: what it forks has the same environment

# Without byte code each of hundreds of processes would compile the package again, and each session the tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

load_framework.install()  # a framework is imported as the programs import it: in half of the time
gc.disable()  # until all tests are collected: it would go through all that is imported again and again

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a script; the programs must hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What XLA has compiled for one test of this process is there for the next: by the frameworks' own caches.
COMPILED = tempfile.mkdtemp(prefix="mnist_mlp-tests-")
atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
os.environ |= {
    "TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={COMPILED}",
    "JAX_COMPILATION_CACHE_DIR": COMPILED,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
remember_environment()


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="without the tests marked slow")
    parser.addoption("--full", action="store_true", help="also the tests marked full; more kills, seeds and inputs")


def pytest_collection_modifyitems(config, items):
    for marker, left_out in (("slow", config.getoption("fast")), ("full", not config.getoption("full"))):
        if left_out:
            config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(marker)])
            items[:] = [item for item in items if not item.get_closest_marker(marker)]
    # scripts/test gives whole files to a process. Those that start and train the most come first, so that the quick
    # ones are left for whichever process is ready sooner.
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish(session):
    gc.freeze()  # thousands of tests: the garbage collector need not look at them while a framework traces
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    marker = item.get_closest_marker("xla")
    with without_xla() if marker and not (marker.args[0] or item.config.getoption("full")) else nullcontext():
        done = yield
    if nextitem is None or nextitem.path != item.path:
        restore_environment()
    return done


@contextmanager
def without_xla():
    """Here and in the processes forked TensorFlow traces its programs and does not compile them.

    So it runs where its wheel has no compiler. Most of a short run is compilation: whatever a run does beside its steps
    is tested in a third of the time without. Before a release everything is compiled, as users have it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WITHOUT_XLA, "1")
        do_without_xla(patch.setattr)
        yield


@pytest.fixture(scope="session")
def full(pytestconfig) -> bool:
    """Whether this is the tier before a release, in which a test may try more than a change must pass."""
    return pytestconfig.getoption("full")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The directory with MNIST's IDX files."""
    path = Path(os.environ.get("MNIST_DATA_DIR", ROOT / ".." / "shared" / "data" / "mnist")).resolve()
    if not path.is_dir():
        pytest.skip(f"real MNIST is not in {path}: set MNIST_DATA_DIR=DIR, the directory of its four files")
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
    """The directory of a run on the embedded digits, which no test changes; beside it lie its `stdout` and `stderr`."""

    def make(place):
        flags = ["--preset=smoke", "--strategy=cpu", "--backend=tensorflow", "--json", f"--run_dir={place / 'run'}"]
        done = run("train", *flags, backend="tensorflow", env=with_xla())
        assert done.returncode == 0, done.stderr
        (place / "stdout").write_text(done.stdout)
        (place / "stderr").write_text(done.stderr)

    return once(tmp_path_factory, "trained", make) / "run"


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
