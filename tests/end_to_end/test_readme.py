"""Every README: its commands and code run as written, in an empty directory beside which `scripts` lies.

The ```bash and ```python blocks of a page run in their order; ```py and other languages do not run.
"""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from helpers import fork_server
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture

from mnist_mlp.cli import flags
from mnist_mlp.config import MODELS, PRESETS
from mnist_mlp.errors import UserError

pytestmark = pytest.mark.xla(False)  # except where a user's start is tried
FOLDERS = ("mnist_mlp", "scripts", "tests", "notebooks")
FILES = [ROOT / "README.md", *(file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("README.md")))]
PAGES = {file.relative_to(ROOT).as_posix(): file.read_text() for file in FILES}
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
LANGUAGES = {"bash", "python", "py", "text", "json", "toml"}
# Bash splits a line of ours into words; only the programs are its own functions, which print them.
PRINTS = """scripts/train() { printf '%s\\0' -m mnist_mlp.train "$@"; }
python() { printf '%s\\0' "$@"; }
"""
REAL = ("scripts/train --preset smoke",)  # as a user starts it

# The doctor as it is, except that a busy machine may take longer before a framework counts as hung.
DOCTOR = """
from mnist_mlp.cli import program; from mnist_mlp.doctor import command as doctor, framework_check
framework_check.ask.__defaults__ = (300.0,)
program.run(doctor.main)
"""

# What the code of a page prints.
PRINTED = {
    "README.md": [r"^\d+ of 360\n\(360, 10\)$"],
    "mnist_mlp/export/README.md": [r"^\(3, 10\) \[(\d) \1 \1\]$", r"^\(3, 10\)$"],
    "mnist_mlp/runs/README.md": [r"^\d+ of 360\n\(3, 10\)\n\(1, 10\)$"],
    "mnist_mlp/lab/live/training/README.md": [r"^finished 360$"],
    "mnist_mlp/lab/playground/README.md": [r"^{'train': 0\.\d+, 'test': 0\.\d+} {'train': .*} 105$"],
}

# What takes longest, or is run by a test of its own: only its flags are read, except before a release.
LONG = (
    "lab.explain",
    "lab.mistakes",
    "lab.ladder",
    "parity",
    "verify",
    "doctor --strategy",
    "evaluate --run_dir runs/smoke --corruptions all",  # test_corruptions.py
    "tpu_compile",
    "tune",
    "scripts/train  ",
    "train --dataset=digits --config",
    "train --dataset digits --validation_fraction",
    "train --dataset digits --units",
    "train --dataset digits --model softmax --optimizer",
    "train --dataset digits --strategy cpu --replicas",
    "train --dataset digits --epochs 3 --augment",  # test_augmentation.py
    "train --dataset digits --init_from",  # test_init_from.py
    "train --dataset digits --epochs 3 --run_dir runs/steps",  # test_resume.py
    "train --run_dir runs/steps --resume",
    "train --dataset digits --epochs 3 --learning_rate 1 --diagnose",  # as on the page of the lab
    "train --preset smoke  ",  # as on the first page
    "train --preset smoke --gate",
    "lab.playground 'dataset=spiral",
    "lab.playground --exercise",
    "report runs/mine  ",
    "devices.launch_workers",
    "python scripts/launch_workers.py",
    "training.make_references",
)


def is_long(step):
    language, text = step
    return language == "bash" and text.removeprefix("python -m mnist_mlp.").startswith(LONG)


def steps(page):
    """The steps of a page in their order: ("bash", a line) or ("python", code)."""
    found = []
    for language, text in re.findall(r"^```(bash|python)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        found += [("bash", line) for line in lines] if language == "bash" else [("python", text)]
    return found


STEPS = {name: steps(page) for name, page in PAGES.items()}
LONG_LINES = [step[1] for of_page in STEPS.values() for step in of_page if is_long(step)]


def environment(cwd):
    """The programs of this environment first on the path, and empty caches."""
    caches = {"KERAS_HOME": str(cwd / "keras"), "TFDS_DATA_DIR": str(cwd / "tfds")}
    return os.environ | caches | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def in_a_shell(line, cwd):
    """Run shell code; its processes start as a user's do."""
    command = ["bash", "-c", line]
    return subprocess.run(command, cwd=cwd, env=environment(cwd), capture_output=True, text=True, timeout=1200)


def run(line, cwd):
    """Run one line of shell. A program of the package that needs no data of the user's is forked, unless it is REAL."""
    printed = subprocess.run(["bash", "-c", PRINTS + line], cwd=cwd, capture_output=True, text=True, check=True).stdout
    *words, end = printed.split("\0")
    assert not end and words, f"{line}\nis more than one program: {printed}"
    real = line.startswith(REAL) and (ROOT / ".venv" / "ready").exists()  # else scripts/train would make it
    if real or words[0] != "-m" or not re.search(r"smoke|digits|runs/|parity|doctor|playground", line):
        return in_a_shell(line, cwd)
    if words[1] == "mnist_mlp.doctor":
        return fork_server.run_code(DOCTOR, *words[2:], backend=None, cwd=cwd, timeout=1200)
    backend = "jax" if "jax" in words else "tensorflow"
    return fork_server.run(words[1].removeprefix("mnist_mlp."), *words[2:], backend=backend, cwd=cwd, timeout=1200)


def run_code(code, cwd, full):
    """Run Python code; if it silences TensorFlow, before a release as a user's process (see test_stderr_filter.py)."""
    silent = "silence()" in code
    done = (
        in_a_shell(f"python - <<'END'\n{code}\nEND", cwd)
        if silent and full
        else fork_server.run_code(code, backend="tensorflow", cwd=cwd)
    )
    assert not silent or done.stderr == ""
    return done


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """`once(line, cwd)` runs a line; pages that train the same run share it."""
    kept = tmp_path_factory.mktemp("kept")
    finished = {}

    def run_once(line, cwd):
        command, run_dir = line.partition("  #")[0].strip(), re.search(r"--run_dir (\S+)", line)
        shared = run_dir and ".train " in line and "--resume" not in line
        if shared and command in finished:
            done, copy = finished[command]
            shutil.copytree(copy, cwd / run_dir[1])
            return done
        done = run(line, cwd)
        if shared and done.returncode == 0:
            finished[command] = done, shutil.copytree(cwd / run_dir[1], kept / str(len(finished)))
        return done

    return run_once


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.full] * all(map(is_long, of_page)))
        for name, of_page in STEPS.items()
        if of_page
    ],
)
def test_commands_and_code(name, once, tmp_path, full):
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    printed = []
    for language, text in [step for step in STEPS[name] if full or not is_long(step)]:
        done = once(text, tmp_path) if language == "bash" else run_code(text, tmp_path, full)
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        if language == "python":
            printed.append(done.stdout)
    for text, expected in zip(printed, PRINTED.get(name, [""] * len(printed)), strict=True):
        assert re.search(expected, text, re.MULTILINE), text


@pytest.mark.parametrize("line", [line for line in LONG_LINES if "mnist_mlp." in line])
def test_the_flags_of_long_commands_are_known(line, monkeypatch):
    _, _, module, *argv = shlex.split(line, comments=True)
    if "--" in argv:  # of launch_workers: what follows are the flags of train
        module, argv = "mnist_mlp.train", argv[argv.index("--") + 1 :]
    program = importlib.import_module(f"{module}.command" if (ROOT / module.replace(".", "/")).is_dir() else module)
    given_flags, read = flags.given_flags, []

    def only_read(declared, argv, **names):
        read.append(declared(**given_flags(declared, argv, **names)))
        raise UserError("that is enough")

    monkeypatch.setattr(flags, "given_flags", only_read)
    with pytest.raises(UserError, match="that is enough"):
        program.main(argv)
    assert read


@pytest.mark.slow
def test_the_output_that_is_shown(mnist_dir, mnist_run):  # noqa: F811
    """Word by word, without what belongs to the machine or to rounding; … stands for any lines."""
    shown = re.findall(r"```text\n(.*?)```", PAGES["README.md"], re.DOTALL)[0]
    command, _, expected = shown.partition("\n")
    assert command == "$ scripts/train --data_dir mnist --run_dir runs/first"
    printed = (mnist_run.parent / "said.txt").read_text()
    printed = printed.replace(str(mnist_dir), "mnist").replace(str(mnist_run), "runs/first")

    def words(text):
        text = re.sub(r"CPU: .* \(requested", "CPU: (requested", text)
        head, _, rest = text.partition("\nepoch")
        head = re.sub(r"\n  !  +set in the environment.*(\n {9}\S.*)*", "", head)
        rest = re.sub(r"versions .*", "versions", rest)
        return f"{head}\nepoch" + re.sub(r"[\d.,%–]+", "#", re.sub(" +", " ", rest)).rstrip()

    parts = [r"(?:.*\n)+?" if line.strip() == "…" else re.escape(f"{line}\n") for line in words(expected).split("\n")]
    assert re.fullmatch("".join(parts), f"{words(printed)}\n"), words(printed)


def test_every_model_and_preset_is_explained():
    explained = "".join(PAGES.values())
    for name in (*MODELS, *PRESETS):
        assert f"`{name}`" in explained
    assert "0.1.0" in CHANGELOG


def test_the_first_page_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 200


@pytest.mark.parametrize("name", PAGES)
def test_each_block_says_whether_it_is_run(name):
    opened = re.findall(r"^```(\S*)$", PAGES[name], re.MULTILINE)[::2]
    assert set(opened) <= LANGUAGES


def without_code(page):
    return re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """The fragments that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[name])):
        path, _, fragment = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = ROOT / name if not path else (ROOT / name).parent / path
        if not target.exists() or (fragment and fragment not in anchors(target.read_text())):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_are_there(name):
    named = re.findall(rf"\b(?:{'|'.join(FOLDERS)})/[\w./-]+\.(?:py|sh|ipynb|lua)\b", PAGES[name])
    assert [file for file in named if not (ROOT / file).exists()] == []
