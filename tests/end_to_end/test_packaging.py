"""What is shipped: a source distribution that can be tested, and a wheel that works without the clone."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.full
NOT_SHIPPED = (".git", ".gitignore", ".github")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_tree(to):
    """A copy of the project without what work in it leaves."""
    left = shutil.ignore_patterns("*_cache", "__pycache__", "*.egg-info")
    at_top = {".venv", ".git", "runs", "studies", "mnist", "build", "dist"}
    shutil.copytree(
        ROOT, to, ignore=lambda place, names: {*left(place, names), *(at_top if Path(place) == ROOT else ())}
    )


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution, unpacked. Nothing is fetched: setuptools, the build backend, is asked directly."""
    place = tmp_path_factory.mktemp("sdist")
    copy_tree(place / "clone")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(place)!r})"
    run(sys.executable, "-c", code, cwd=place / "clone")
    (file,) = place.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        archive.extractall(place, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return place / file.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def installed(unpacked, tmp_path_factory):
    """The programs of an environment with the wheel, which is made of the source distribution.

    Its other packages are those of this environment, by a path; an editable install is not among them.
    """
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", place, unpacked)
    run(sys.executable, "-m", "venv", "--without-pip", place / "venv")
    (wheel,) = place.glob("*.whl")
    run(*pip, "--python", place / "venv/bin/python", "install", "--quiet", "--no-index", "--no-deps", wheel)
    (site_packages,) = (place / "venv/lib").glob("python*/site-packages")
    paths = dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
    (site_packages / "others.pth").write_text("".join(f"{path}\n" for path in paths))
    return place / "venv/bin"


@pytest.fixture
def environment(tmp_path):
    without = ("PYTHONPATH", "PYTHONHOME", "MNIST_MLP_TRAIN")
    return {key: value for key, value in os.environ.items() if key not in without} | {"HOME": str(tmp_path)}


def test_the_source_distribution_has_every_file(unpacked):
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    there = {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()}
    wanted = {name for name in there if name.split("/")[0] not in NOT_SHIPPED}
    found = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")}
    assert wanted - found == set()
    assert os.access(unpacked / "scripts/test", os.X_OK)


def test_its_tests_run(unpacked, environment):
    quick = ["tests/test_options.py", "tests/end_to_end/test_matrix.py", "tests/stats/test_metrics.py"]
    printed = run(sys.executable, "-m", "pytest", "-q", "--fast", *quick, cwd=unpacked, env=environment)
    assert "passed" in printed or "[100%]" in printed


def test_the_wheel_works_without_the_clone(installed, environment, tmp_path):
    where = "import mnist_mlp; print(mnist_mlp.__file__)"
    assert str(installed.parent) in run(installed / "python", "-c", where, cwd=tmp_path, env=environment)
    command = [
        installed / "mnist-mlp",
        "train",
        "--preset=smoke",
        "--strategy=cpu",
        "--gate",
        "--json",
        "--run_dir=run",
    ]
    result = json.loads(run(*command, cwd=tmp_path, env=environment))
    assert result["gate"]["passed"] and result["test"]["accuracy"] > 0.9
    assert "</style>" in (tmp_path / "run/report.html").read_text()
    printed = run(installed / "mnist-mlp", "evaluate", "--run_dir=run", cwd=tmp_path, env=environment)
    assert f"{result['test']['correct']} of 360" in printed


@pytest.mark.parametrize("name", ["training.make_references", "devices.launch_workers"])
def test_what_messages_name_is_in_the_wheel(name, installed, environment, tmp_path):
    printed = run(installed / "python", "-m", f"mnist_mlp.{name}", "--help", cwd=tmp_path, env=environment)
    assert f"usage: python -m mnist_mlp.{name}" in printed


def test_the_wheel_has_the_data_of_each_folder(installed):
    (package,) = installed.parent.glob("lib/python*/site-packages/mnist_mlp")
    ours = {path.relative_to(ROOT / "mnist_mlp") for path in (ROOT / "mnist_mlp").rglob("*") if path.is_file()}
    ours = {path for path in ours if "__pycache__" not in path.parts}
    assert {path for path in ours if not (package / path).exists()} == set()
