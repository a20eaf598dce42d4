"""The scripts for bash and .ci/run, in a copy whose Python is a stub that writes down its calls."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from test_packaging import copy_tree

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow  # all start processes
SCRIPTS = ["scripts/environment.sh", "scripts/train", "scripts/test", "scripts/try_gpu", ".ci/run"]
TOOLS = "basename bash cat chmod cp dirname env ls mkdir mktemp mv readlink rm sed sleep tail tee timeout"

# One file plays python3, .venv/bin/python, ruff and mypy. It is told by files beside the log what to do.
STUB = f"""#!/usr/bin/env bash
log() {{ echo "$*" >>"$STUB/calls"; }}
told() {{ cat "$STUB/$1" 2>/dev/null || echo "${{2:-}}"; }}
name=${{0##*/}}
case "$name $*" in
    *" -Es "*)
        version=$(told "$name.version")
        case $version in
            broken) echo "$name: command not found" >&2; exit 127 ;;
            bare) exec '{sys.executable}' -c "import sys; sys.modules['ensurepip'] = None
${{!#}}" ;;
        esac
        echo "$version $0" ;;
    *" -c import fcntl"*) exec '{sys.executable}' "$@" ;;
    *" -m venv "*)
        log "venv $name"
        rm -rf "${{!#}}"
        mkdir -p "${{!#}}/bin"
        for tool in python ruff mypy; do cp "$0" "${{!#}}/bin/$tool"; done
        exit "$(told venv.exit 0)" ;;
    *" -m pip "*)
        log "pip ${{!#}}"
        log "environment ${{PYTHONPATH:-}}${{PIP_USER:-}}${{VIRTUAL_ENV:-}}"
        log "environment of pip's cache: ${{PIP_NO_CACHE_DIR:-kept}}"
        echo "a warning of pip"
        echo "the last words of pip" >&2
        while [ -e "$STUB/pip.waits" ]; do sleep 0.05; done
        exit "$(told pip.exit 0)" ;;
    *" -m mnist_mlp.train"*) echo "trained in $PWD: ${{*:3}}" ;;
    *" -m pytest"*) log "pytest ${{*:3}}"; echo "1 passed"; exit "$(told pytest.exit 0)" ;;
    *) log "$name $*"; echo "the words of $name"; exit "$(told "$name.exit" 0)" ;;
esac
"""


class Project:
    """A copy of the scripts and a PATH that holds the stub, the tools the scripts name, and nothing else."""

    def __init__(self, directory: Path):
        self.root = directory / "a project"  # the blank is meant
        self.bin, self.stub = directory / "bin", directory / "stub"
        for folder in (self.bin, self.stub, self.root / "scripts", self.root / ".ci"):
            folder.mkdir(parents=True)
        for name in [*SCRIPTS, "scripts/constraints.txt", "pyproject.toml"]:
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.python("python3")

    def python(self, name: str, version: str = "3.12") -> None:
        """Puts a stub called `name` on PATH; "broken" does not run, "bare" is this Python without venv."""
        (self.bin / name).write_text(STUB)
        (self.bin / name).chmod(0o755)
        self.tell(f"{name}.version", version)

    def tell(self, what: str, value: str) -> None:
        (self.stub / what).write_text(value)

    def start(self, *command: str, cwd: Path | None = None, **variables: str) -> subprocess.Popen:
        environment = {"PATH": str(self.bin), "STUB": str(self.stub), **variables}
        program, *options = command
        return subprocess.Popen(
            [self.root / program, *options],
            cwd=cwd or self.root.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        process = self.start(*command, **options)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def calls(self) -> list[str]:
        """What the stub was asked since the last time, but for the environment it saw."""
        log = self.stub / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith("environment")]

    def wait_for_pip(self) -> None:
        log, deadline = self.stub / "calls", time.monotonic() + 30
        while not (log.exists() and "pip ." in log.read_text()):
            assert time.monotonic() < deadline, "pip was never called"
            time.sleep(0.02)

    @property
    def ready(self) -> bool:
        return (self.root / ".venv/ready").exists()


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_is_bash(script):
    done = subprocess.run(["bash", "-n", ROOT / script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert script.endswith(".sh") or os.access(ROOT / script, os.X_OK), f"chmod +x {script}"


def test_first_call_sets_up_and_the_second_does_not(project):
    first, calls = project.run("scripts/train"), project.calls()
    assert (first.returncode, calls) == (0, ["venv python3", "pip ."])
    assert first.stderr.count("\n") == 1 and first.stderr.startswith("setting up .venv")  # nothing of pip's
    second = project.run("scripts/train")
    assert (second.returncode, second.stderr, project.calls()) == (0, "", [])


def test_try_gpu_sets_up_what_it_tries(project):
    done = project.run("scripts/try_gpu", "results", "--soak=0")
    assert done.returncode == 0, done.stderr
    setup = project.calls()[:2]
    assert setup == ["venv python3", "pip .[gpu,export,serve]"] and project.ready
    summary = (project.root.parent / "results/summary.txt").read_text()
    assert summary.splitlines()[-1] == "all 5 passed"
    assert "verify-tensorflow  passed" in summary and "jax" not in summary  # whose wheels for a GPU are not among these


@pytest.mark.parametrize("changed", ["pyproject.toml", "scripts/constraints.txt"])
def test_a_change_of_what_is_wanted_installs_again(project, changed):
    project.run("scripts/train")
    with (project.root / changed).open("a") as file:
        file.write("# changed\n")
    project.calls()
    assert project.run("scripts/train").stderr == "updating .venv ...\n"
    assert project.calls() == ["pip ."]
    assert project.run("scripts/train").stderr == ""


def test_a_change_during_a_set_up_counts(project):
    project.tell("pip.waits", "")
    process = project.start("scripts/train")
    project.wait_for_pip()
    (project.root / "pyproject.toml").write_text("")
    (project.stub / "pip.waits").unlink()
    process.communicate(timeout=60)
    assert project.run("scripts/train").stderr == "updating .venv ...\n"


def test_the_test_extra_is_added_once_and_kept(project):
    project.run("scripts/train")
    project.run("scripts/test")
    assert "pip .[test]" in project.calls()
    project.run("scripts/train")
    assert project.calls() == []
    (project.root / "scripts/constraints.txt").write_text("numpy==2.2.6\n")
    project.run("scripts/train")
    assert project.calls() == ["pip .[test]"]


def test_an_interrupted_set_up_is_not_trusted(project):
    project.tell("pip.waits", "")
    process = project.start("scripts/train")
    project.wait_for_pip()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (project.stub / "pip.waits").unlink()
    assert not project.ready
    project.calls()
    assert project.run("scripts/train").returncode == 0
    assert project.calls() == ["venv python3", "pip ."]


@pytest.mark.parametrize("before", ["absent", "stale"])
def test_a_failing_pip_leaves_nothing_that_is_trusted(project, before):
    if before == "stale":
        project.run("scripts/train")
        (project.root / "scripts/constraints.txt").write_text("numpy==2.2.6\n")
    project.tell("pip.exit", "1")
    failed = project.run("scripts/train")
    assert failed.returncode == 2 and failed.stdout == "" and not project.ready
    *_, words, answer = failed.stderr.splitlines()
    assert words == "the last words of pip"
    assert answer.startswith("pip could not install into ") and "package index" in answer
    project.tell("pip.exit", "0")
    project.calls()
    assert project.run("scripts/train").returncode == 0
    assert project.calls() == ["venv python3", "pip ."]


def test_two_calls_at_once_set_up_once(project):
    project.tell("pip.waits", "")
    first = project.start("scripts/train")
    project.wait_for_pip()
    second = project.start("scripts/train")
    assert second.stderr.readline() == "waiting for another process that sets up .venv ...\n"
    (project.stub / "pip.waits").unlink()
    for process in (first, second):
        assert "waiting" not in process.communicate(timeout=60)[1]
        assert process.returncode == 0
    assert project.calls() == ["venv python3", "pip ."]


def test_a_moved_project_is_set_up_anew(project):
    project.run("scripts/train")
    project.root = project.root.rename(project.root.parent / "moved")
    project.calls()
    project.run("scripts/train")
    assert project.calls() == ["venv python3", "pip ."]


def test_a_link_to_the_environment_of_another_project_is_left_alone(project, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "something").touch()
    (project.root / ".venv").symlink_to(tmp_path / "theirs")
    done = project.run("scripts/train")
    assert done.returncode == 2 and "is a symbolic link" in done.stderr
    assert (tmp_path / "theirs" / "something").exists() and not project.calls()


def test_python_asked_for_is_python_used(project):
    project.python("python3.11", "3.11")
    project.run("scripts/train")
    project.calls()
    for _ in range(2):
        project.run("scripts/train", PYTHON="python3.11")
    assert project.calls() == ["venv python3.11", "pip ."]
    project.run("scripts/train")  # not asked for another
    assert project.calls() == []


def test_trains_where_the_caller_stands_and_keeps_stdout_clean(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(project.root / "scripts/train")
    done = project.run(elsewhere / "link", "--json", "--run_dir=a b", cwd=elsewhere)
    assert done.stdout == f"trained in {elsewhere}: --json --run_dir=a b\n"


def test_variables_that_lead_out_of_the_environment_are_dropped(project):
    project.run("scripts/train", PYTHONPATH="/nowhere", PIP_USER="1", VIRTUAL_ENV="/nowhere")
    assert "environment \n" in (project.stub / "calls").read_text()


@pytest.mark.parametrize(("home", "expected"), [("", "1"), ("a/folder", "1"), ("/", "1"), (str(ROOT), "kept")])
def test_without_a_home_directory_pip_keeps_nothing(project, home, expected):
    """It would keep its cache in a folder called ~."""
    project.run("scripts/train", HOME=home)
    assert f"environment of pip's cache: {expected}\n" in (project.stub / "calls").read_text()


def test_reuse_costs_less_than_a_fifth_of_a_second(project):
    """Of the processor; the least of a few, since other work on the machine can only add to it."""
    project.run("scripts/train")

    def seconds(*command: str) -> float:
        times = []
        for _ in range(4):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert project.run(*command).returncode == 0
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(times)

    assert seconds("scripts/train") - seconds(".venv/bin/python", "-m", "mnist_mlp.train") < 0.2


@pytest.mark.parametrize("version", ["3.9", "3.14", "2.7", "broken", "bare"])
def test_an_unfit_python_is_passed_over(project, version):
    project.python("python3", version)
    project.python("python3.12")
    assert project.run("scripts/train").returncode == 0
    assert project.calls() == ["venv python3.12", "pip ."]


@pytest.mark.parametrize(
    "version, found",
    [
        ("3.9", "python3 is 3.9"),
        ("broken", "python3 does not run"),
        ("bare", f"python3 is {sys.version_info[0]}.{sys.version_info[1]} without venv"),
    ],
)
def test_without_a_fit_python_one_line_says_what_to_do(project, version, found):
    project.python("python3", version)
    done = project.run("scripts/train")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"Expected Python 3.10 to 3.14 with venv; found {found}. Install one")
    assert "apt install python3-venv" in done.stderr and "PYTHON=" in done.stderr
    assert not (project.root / ".venv").exists()


def test_without_any_python_one_line_says_what_to_do(project):
    (project.bin / "python3").unlink()
    done = project.run("scripts/train")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "found none" in done.stderr


def test_an_unfit_python_asked_for_is_refused(project):
    project.python("python3.9", "3.9")
    done = project.run("scripts/train", PYTHON="python3.9")
    assert (done.returncode, project.calls()) == (2, [])
    assert done.stderr.startswith("Expected PYTHON=python3.9 to be Python 3.10 to 3.14 with venv; found")


def test_python_3_14_is_taken_where_there_is_no_other(project):
    project.python("python3", "3.14")
    assert project.run("scripts/train").returncode == 0
    assert project.calls() == ["venv python3", "pip ."]


# Where uv is installed it does what venv and pip do. The stub writes down its calls, and makes what they make.
UV = """#!/usr/bin/env bash
told() { cat "$STUB/$1" 2>/dev/null || echo "${2:-}"; }
echo "uv $*" >>"$STUB/calls"
case "$1 $2" in
    "venv "*)
        [[ " $* " == *" --seed "* ]] || exit 9
        mkdir -p "${!#}/bin"
        for tool in python ruff mypy; do cp "{python}" "${!#}/bin/$tool"; done ;;
    "pip install") echo "the last words of uv" >&2; exit "$(told uv.exit 0)" ;;
    "python install") exit "$(told uv.python.exit 0)" ;;
    "python find") echo "{python}" ;;
esac
"""


@pytest.fixture
def uv(project):
    """The project, with a stub of uv on its path."""
    fetched = project.stub / "python3.13"  # not on the path
    fetched.write_text(STUB)
    fetched.chmod(0o755)
    (project.bin / "uv").write_text(UV.replace("{python}", str(fetched)))
    (project.bin / "uv").chmod(0o755)
    return project


def installs(project, what="."):
    venv, python = project.root / ".venv", project.bin / "python3"
    return [
        f"uv venv --quiet --no-project --seed --python {python} {venv}",
        f"uv pip install --python .venv/bin/python --quiet --constraint scripts/constraints.txt --editable {what}",
    ]


def test_uv_sets_up_where_it_is_installed(uv):
    done = uv.run("scripts/train")
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and "(once; with uv) ..." in done.stderr
    assert uv.calls() == installs(uv) and uv.ready
    assert uv.run("scripts/train").stderr == "" and uv.calls() == []
    with (uv.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    uv.run("scripts/test")
    assert uv.calls()[0] == installs(uv, ".[test]")[1]


def test_pip_does_what_uv_cannot(uv):
    """It may know of another index than uv."""
    uv.tell("uv.exit", "1")
    assert uv.run("scripts/train").returncode == 0
    assert uv.calls() == [*installs(uv), "pip ."] and uv.ready
    (uv.root / ".venv/ready").unlink()
    uv.tell("pip.exit", "1")
    failed = uv.run("scripts/train")
    assert failed.returncode == 2 and "pip could not install into " in failed.stderr and not uv.ready


def test_uv_needs_no_venv_of_that_python(uv):
    uv.python("python3", "bare")
    assert uv.run("scripts/train").returncode == 0
    assert f"--python {os.path.realpath(sys.executable)} " in uv.calls()[0]


@pytest.mark.parametrize("found", ["3.9", "none"])
def test_uv_fetches_a_python_where_none_fits(uv, found):
    uv.python("python3", "3.9") if found == "3.9" else (uv.bin / "python3").unlink()
    done = uv.run("scripts/train")
    assert done.returncode == 0, done.stderr
    words = "python3 is 3.9" if found == "3.9" else "none"
    assert done.stderr.startswith(
        f"fetching Python 3.13 (found {words}) ...\nsetting up .venv with {uv.stub}/python3.13"
    )
    assert uv.calls()[:2] == ["uv python install --quiet 3.13", "uv python find 3.13"]
    (uv.root / ".venv/ready").unlink()
    uv.tell("uv.python.exit", "1")
    refused = uv.run("scripts/train")
    assert refused.returncode == 2 and "Expected Python 3.10 to 3.14 with venv; found " in refused.stderr


def test_uv_fetches_none_in_place_of_the_one_asked_for(uv):
    uv.python("python3.9", "3.9")
    done = uv.run("scripts/train", PYTHON="python3.9")
    assert done.returncode == 2 and done.stderr.startswith("Expected PYTHON=python3.9") and uv.calls() == []


TIERS = [  # options, those of pytest
    ([], ""),
    (["-k", "a or b", "--fast"], " -k a or b --fast"),
    (["--full", "tests/data/test_data.py"], " --full tests/data/test_data.py"),
]


@pytest.mark.parametrize("options, passed_on", TIERS)
def test_test_runs_every_step_and_passes_options_on(project, options, passed_on):
    done = project.run("scripts/test", *options)
    assert done.returncode == 0
    steps = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert steps == ["ruff check", "ruff format", "mypy", "pytest", "1 passed"]
    *_, check, form, types, tests = project.calls()
    assert (check, form, types) == ("ruff check", "ruff format --check", "mypy ")
    assert tests == f"pytest -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder{passed_on}"


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_test_fails_where_a_step_fails(project, tool):
    project.tell(f"{tool}.exit", "1")
    done = project.run("scripts/test")
    assert done.returncode == 1
    assert f"the words of {tool}" in done.stdout and "1 passed" in done.stdout  # the later steps ran
    assert done.stdout.splitlines()[-1].startswith(f"failed before pytest: {tool}")


@pytest.mark.parametrize("status", [1, 5])  # 5: pytest found no test
@pytest.mark.parametrize("script", ["scripts/test", ".ci/run"])
def test_test_and_ci_fail_where_pytest_fails(project, script, status):
    project.tell("pytest.exit", str(status))
    done = project.run(script, CI="true")
    assert done.returncode == status and ("no test was run" in done.stderr) == (status == 5)


def test_one_tier_at_a_time(project):
    done = project.run("scripts/test", "--fast", "--full")
    assert (done.returncode, project.calls()) == (2, [])
    assert done.stderr == "Expected --fast or --full, received both.\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install a browser")
@pytest.mark.parametrize("status", [0, 100])
def test_ci_installs_a_browser_where_there_is_none(project, status):
    """And goes on where it cannot: the tests that need it are skipped then."""
    project.python("apt-get")
    project.tell("apt-get.exit", str(status))
    done = project.run(".ci/run")
    assert done.returncode == 0 and ("the page is not tested" in done.stderr) == bool(status)
    install = ["apt-get install -y --no-install-recommends chromium"] if not status else []
    assert [call for call in project.calls() if "apt-get" in call] == ["apt-get update", *install]
    project.python("chromium")
    assert project.run(".ci/run").returncode == 0
    assert not any("apt-get" in call for call in project.calls())


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_test_sets_nothing_up(project, option):
    done = project.run("scripts/test", option)
    assert (done.returncode, done.stderr, project.calls()) == (0, "", [])
    assert done.stdout.startswith("usage: scripts/test [--fast | --full]") and "before a release" in done.stdout


@pytest.mark.skipif(not (ROOT / ".venv/ready").exists(), reason="no .venv: run scripts/test")
def test_train_answers_from_another_directory(tmp_path):
    done = subprocess.run([ROOT / "scripts/train", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert "--preset" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_trains_on_a_fresh_machine():
    """The real thing: a copy of the tree, a new environment from the registry, a model."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--retries=0"]
    with tempfile.TemporaryDirectory() as scratch:  # two gigabytes, which tmp_path would keep
        if subprocess.run([*pip, "--dest", scratch, "iniconfig"], capture_output=True).returncode:
            pytest.skip("no package registry in reach")
        copy = Path(scratch) / "copy"
        copy_tree(copy)
        done = subprocess.run(
            [copy / "scripts/train", "--preset=smoke"],
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert (copy / ".venv/ready").exists()
