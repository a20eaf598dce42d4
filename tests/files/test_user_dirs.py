"""Where the user has a home directory, and what is kept where there is none: nothing."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from mnist_mlp.data import downloads
from mnist_mlp.doctor import framework_check
from mnist_mlp.files import figures, user_dirs

NO_HOME = [None, "", "/", "//", "/nonexistent", "a/relative/path", "~"]  # values of HOME; None: unset


@pytest.fixture(params=NO_HOME, ids=repr)
def homeless(request, tmp_path, monkeypatch):
    """Standing in an empty folder as a user without a home directory, as in a container with an unknown user ID."""

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("KERAS_HOME", "TFDS_DATA_DIR", "XDG_CACHE_HOME", "MNIST_MLP_CACHE", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
    if request.param is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", request.param)
    return tmp_path


def test_without_a_home_directory_there_is_no_place_to_keep_anything(homeless, monkeypatch):
    (homeless / "~").mkdir()  # as version 0.1 left it
    assert user_dirs.home() is None and user_dirs.expanded("~/x") is None and user_dirs.cache("x") is None
    assert user_dirs.cache_directory() is None
    for path in (downloads.keras_home(), downloads.tfds_home()):
        assert path.is_absolute() and not path.exists()
        with pytest.raises(OSError):
            path.mkdir(parents=True)
    monkeypatch.setenv("MNIST_MLP_CACHE", "~/cache")
    monkeypatch.setenv("KERAS_HOME", "~/keras")
    assert user_dirs.cache_directory() is None and not downloads.keras_home().exists()
    assert os.listdir(homeless) == ["~"] and os.listdir(homeless / "~") == []


@pytest.fixture(scope="module")
def matplotlib():
    """Imported where there is a home directory, which has a list of fonts."""
    return pytest.importorskip("matplotlib.font_manager")


def test_without_a_home_directory_matplotlib_has_one_that_goes(matplotlib, homeless):
    figures.new(1, 1)
    place = Path(os.environ["MPLCONFIGDIR"])
    assert place.is_dir() and place.parent != homeless
    user_dirs.remove_scratch()
    assert not place.exists() and os.listdir(homeless) == []


def test_with_a_home_directory_all_is_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KERAS_HOME", "TFDS_DATA_DIR", "XDG_CACHE_HOME", "MNIST_MLP_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert user_dirs.home() == tmp_path
    assert user_dirs.expanded("~/x") == tmp_path / "x" and user_dirs.expanded("x") == Path("x")
    assert user_dirs.cache_directory() == tmp_path / ".cache/mnist_mlp"
    assert downloads.keras_home() == tmp_path / ".keras"
    assert downloads.tfds_home() == tmp_path / "tensorflow_datasets"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # is to be ignored
    assert user_dirs.cache_directory() == tmp_path / ".cache/mnist_mlp"
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/c")
    assert user_dirs.cache_directory() == tmp_path / "c/mnist_mlp"
    monkeypatch.setenv("MNIST_MLP_CACHE", "~/m")
    assert user_dirs.cache_directory() == tmp_path / "m"
    monkeypatch.setenv("KERAS_HOME", "~/k")
    assert downloads.keras_home() == tmp_path / "k"


def test_the_doctor_lets_keras_keep_nothing():
    found = framework_check.environment(framework_check.Question("jax", "cpu", {}))
    assert found["KERAS_HOME"] == str(user_dirs.NOWHERE)


@pytest.mark.full  # tests/cli/test_variables.py starts such a run, too, without the cache of compiled programs
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_a_run_leaves_nothing_but_its_directory(tmp_path, backend):
    """A new process, since Keras looks for its directory when it is imported. It would make the one that HOME names."""
    pytest.importorskip(backend)
    kept = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "CUDA_VISIBLE_DEVICES")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": "home", "KERAS_HOME": "", "XDG_CACHE_HOME": "cache"}
    flags = ["--preset=smoke", "--epochs=1", "--strategy=cpu", f"--backend={backend}", "--run_dir=run", "--json"]
    command = [sys.executable, "-m", "mnist_mlp.train", *flags]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"]["total"] == 360
    assert os.listdir(tmp_path) == ["run"]
