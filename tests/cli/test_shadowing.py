"""Files that hide an installed module: each is named in one line, whatever imports it; others are left alone."""

import functools
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from conftest import ROOT
from helpers.programs import refused

from mnist_mlp.cli import load_framework, shadowing
from mnist_mlp.devices import Plan

OURS, THEIRS = f"{shadowing.PACKAGE}/part.py", f"{os.path.dirname(os.__file__)}/part.py"  # of this package, of Python
UNUSED = "tabnanny"  # a module of Python that nothing has imported
SCRIPT = """
import mnist_mlp
from pathlib import Path
from types import ModuleType, SimpleNamespace
mnist_mlp.train_and_evaluate(mnist_mlp.Config(dataset="digits", strategy="cpu", backend="jax"), Path("run"))
"""
TRAIN = ["--preset=smoke", "--strategy=cpu", "--backend=jax", "--run_dir=run"]
MODULE, DOOR = ["-m", "mnist_mlp.train", *TRAIN], ["-m", "mnist_mlp", "train", *TRAIN]


def python(folder: Path, *argv: str, **variables: str) -> subprocess.CompletedProcess:
    """A new Python in a folder, which comes first on its path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    environment.pop("PYTHONSAFEPATH" if "PYTHONSAFEPATH" not in variables else "", None)
    return subprocess.run([sys.executable, *argv], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """A finder for an empty folder, which is first on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    return shadowing.Watch([str(tmp_path)])


def asked(watch, name, *files):
    """Let the code of the last file import a module; each file's code is called by that of the one before."""
    call = functools.partial(watch.find_spec, name)
    for file in reversed(files):
        scope = {"__name__": "part", "call": call}
        exec(compile("def ask():\n    call()", file, "exec"), scope)
        call = scope["ask"]
    call()


def is_refused(watch, capsys, name, *files):
    try:
        asked(watch, name, *files)
    except SystemExit as end:
        assert end.code == 2
    line = capsys.readouterr().err
    assert line == "" or (line.startswith("error: ") and line.count("\n") == 1)
    return line


def test_a_file_that_hides_a_module_is_named(watch, tmp_path, capsys):
    (tmp_path / f"{UNUSED}.py").touch()
    line = f"error: {tmp_path}/{UNUSED}.py hides Python's own module {UNUSED}; rename it, or start the program from "
    assert is_refused(watch, capsys, UNUSED, OURS) == f"{line}another directory\n"
    assert is_refused(watch, capsys, UNUSED, OURS, THEIRS) == f"{line}another directory\n"


def test_a_package_is_named_by_its_folder(watch, tmp_path, capsys):
    (tmp_path / "absl").mkdir()
    assert is_refused(watch, capsys, "absl", OURS) == ""  # a plain folder: Python prefers the installed package
    (tmp_path / "absl/__init__.py").touch()
    assert f"{tmp_path}/absl hides the installed package absl; " in is_refused(watch, capsys, "absl", OURS)


def test_what_hides_nothing_or_is_not_asked_for_is_left_alone(watch, tmp_path, capsys):
    (tmp_path / f"{UNUSED}.py").touch()
    (tmp_path / "my_own.py").touch()
    mine = f"{tmp_path}/script.py"
    assert is_refused(watch, capsys, "my_own", OURS) == ""
    assert is_refused(watch, capsys, UNUSED, THEIRS) == ""  # this package is not concerned
    assert is_refused(watch, capsys, UNUSED, OURS, mine) == ""  # such as a callback that imports its own module
    assert is_refused(watch, capsys, UNUSED, mine, OURS) != ""
    assert is_refused(watch, capsys, "sys", OURS) == ""
    watch.find_spec(f"package.{UNUSED}", ["/package"])


def test_another_librarys_own_imports_are_left_alone(watch, tmp_path, capsys):
    """Such as callbacks on PYTHONPATH, which may mean a folder or a file where one stands."""
    (tmp_path / f"{UNUSED}.py").touch()
    (tmp_path / "configs").mkdir()
    for name in (UNUSED, "configs"):
        assert is_refused(watch, capsys, name, OURS, "/a/library/callbacks.py") == ""
    assert is_refused(watch, capsys, UNUSED, OURS, "/x/lib/python3/site-packages/library/part.py") != ""


def test_what_comes_later_on_the_path_hides_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / f"{UNUSED}.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert is_refused(shadowing.Watch([str(tmp_path)]), capsys, UNUSED, OURS) == ""


def test_a_plain_folder_is_not_the_optional_package_of_its_name(watch, tmp_path):
    """Such as wandb/, where its results are: `import wandb` would find an empty package."""
    (tmp_path / "not_installed_anywhere").mkdir()
    with pytest.raises(ModuleNotFoundError, match="No module named 'not_installed_anywhere'"):
        asked(watch, "not_installed_anywhere", OURS)
    asked(watch, "not_installed_anywhere", f"{tmp_path}/script.py")


def test_the_directories_that_are_watched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/usr/lib", str(tmp_path)])
    assert shadowing.watched_directories() == [str(tmp_path)]
    monkeypatch.setattr(sys, "path", ["", "/usr/lib"])
    assert shadowing.watched_directories() == [""]
    monkeypatch.setattr(sys, "path", ["/usr/lib"])  # as with PYTHONSAFEPATH
    assert shadowing.watched_directories() == []
    monkeypatch.setattr(sys, "path", [""])
    (tmp_path / "library-1.0.dist-info").mkdir()  # pip install --target=.
    assert shadowing.watched_directories() == []


@pytest.mark.parametrize(
    ("name", "route"),
    [("typing", MODULE), ("numpy", DOOR), ("random", ["script.py"])]
    + [pytest.param(name, MODULE, marks=pytest.mark.full) for name in ("json", "logging", "queue", "token", "signal")]
    + [pytest.param("absl", ["-c", SCRIPT], marks=pytest.mark.full)],
)
def test_every_way_to_start_names_the_file(tmp_path, name, route):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module was executed')")
    refused(python(tmp_path, *route), f"{tmp_path}/{name}.py hides ", f" {name}; rename it")
    assert sorted(os.listdir(tmp_path)) == sorted(["script.py", f"{name}.py"])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has no safe path")
def test_where_python_does_not_look_nothing_is_refused(tmp_path):
    (tmp_path / "typing.py").touch()
    assert python(tmp_path, "-m", "mnist_mlp", "--version", PYTHONSAFEPATH="1").returncode == 0


@pytest.mark.slow
def test_a_file_that_hides_keras_is_named_and_nothing_is_left(tmp_path):
    """Also one that a framework alone needs. Files that nothing imports may have any name."""
    pytest.importorskip("jax")
    for name in ("keras.py", "statistics.py"):
        (tmp_path / name).touch()
    refused(python(tmp_path, *MODULE), f"{tmp_path}/keras.py hides the installed package keras; rename it")
    assert sorted(os.listdir(tmp_path)) == ["keras.py", "statistics.py"]


def test_a_module_that_a_script_had_imported_before_is_named_once_the_framework_fails(tmp_path, monkeypatch, capsys):
    file = tmp_path / f"{UNUSED}.py"
    file.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(load_framework.importlib, "import_module", lambda name: ModuleType("keras").layers)
    plan = Plan("jax", "cpu", "cpu", {})
    with pytest.raises(AttributeError):
        load_framework.load(plan)
    monkeypatch.setitem(sys.modules, UNUSED, SimpleNamespace(__file__=str(file)))
    with pytest.raises(SystemExit, match="2"):
        load_framework.load(plan)
    assert capsys.readouterr().err.startswith(f"error: {file} hides Python's own module {UNUSED}; ")
