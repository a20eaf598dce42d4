"""scripts/try_gpu, with a stub in place of Python that writes down its calls; with --full, its parts on the CPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_mlp.cli import flags
from mnist_mlp.config import Config
from mnist_mlp.serve import command as serve
from mnist_mlp.train import config_of
from mnist_mlp.verify import command as verify

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/try_gpu"
pytestmark = pytest.mark.slow  # starts processes

STUB = """#!/usr/bin/env bash
case "$*" in
    *"import importlib.util"*)
        shift 2
        for module; do case " $LACKS " in *" $module "*) exit 1 ;; esac; done
        exit ;;
esac
case $1 in -c) shift 2; set -- serve client "$@" ;; esac
printf '%s\\0' "$PYTHONPATH" "$@" $'\\n' >>"$CALLS"
echo "the words of $2"
[[ $2 != *verify ]] || echo 'verdict  passed: this machine trains correctly (9 passed)'
echo
[[ " $* " != *" $FAILS "* ]] || exit 4
[[ " $* " != *" $HANGS "* ]] || { echo "it hangs"; sleep 60; }
"""


class Machine:
    """A place to try, with a stub that can lack modules, fail or hang."""

    def __init__(self, place):
        self.place, self.results = place, place / "results"
        self.python = place / "python"
        self.python.write_text(STUB)
        self.python.chmod(0o755)

    def run(self, *options, lacks="", fails="nothing", hangs="nothing", **environment):
        told = {"CALLS": str(self.place / "calls"), "LACKS": lacks, "FAILS": fails, "HANGS": hangs}
        kept = {name: value for name, value in os.environ.items() if name != "MNIST_DATA_DIR"}
        return subprocess.run(
            [SCRIPT, self.results, f"--python={self.python}", *options],
            env=kept | told | environment,
            cwd=self.place,
            capture_output=True,
            text=True,
        )

    def calls(self):
        """The words of each call of Python, by what it was for."""
        calls = [call.split("\0")[:-1] for call in (self.place / "calls").read_text().split("\n\0") if call]
        assert {path for path, *_ in calls} == {str(ROOT)}
        return [words for _, *words in calls]

    def summary(self):
        """The verdict of each step."""
        lines = (self.results / "summary.txt").read_text().splitlines()
        return {words[0]: words[1] for words in map(str.split, lines[:-1])}, lines[-1]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_it_tries_everything_and_its_commands_are_real(machine, tmp_path):
    (tmp_path / "mnist").mkdir()
    done = machine.run("--data_dir=mnist")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (machine.results / "summary.txt").read_text()
    names = ["verify-tensorflow", "verify-jax", "train-default", "train-speedrun", "train-best", "serve", "soak"]
    assert machine.summary() == ({name: "passed" for name in names}, "all 7 passed")
    assert re.search(
        r"^soak +passed +\d s  passed: this machine trains correctly \(9 passed\)$", done.stdout, re.MULTILINE
    )
    assert re.search(r"^train-best +passed +\d s  the words of mnist_mlp.train$", done.stdout, re.MULTILINE)
    assert "the words of mnist_mlp.verify" in (machine.results / "verify-jax.txt").read_text()
    data = str(tmp_path / "mnist")
    calls = machine.calls()
    for words, backend in zip(calls[:2], ("tensorflow", "jax"), strict=True):
        options = parsed(verify.Options, "verify", words)
        assert (options.tier, options.strategy, options.backend, options.data_dir) == ("full", "gpu", backend, data)
        assert (options.output, options.junit) == (f"verify-{backend}", f"verify-{backend}.xml")
    for words, preset in zip(calls[2:5], ("default", "speedrun", "best"), strict=True):
        assert words[:2] == ["-m", "mnist_mlp.train"]
        options = config_of(flags.given_flags(Config, words[2:], program="train", about=""))
        assert (options.preset, options.strategy, options.backend) == (preset, "gpu", "tensorflow")
        assert (options.data_dir, options.run_dir) == (data, f"run-{preset}")
    assert calls[5][0] == "serve" and calls[5][2] == "10"
    options = flags.parse(serve.Options, calls[5][3:], program="serve", about="")
    assert (options.run_dir, options.port, options.strategy) == ("run-default", 0, "gpu")
    options = parsed(verify.Options, "verify", calls[6])
    assert (options.tier, options.soak, options.output, options.junit) == ("quick", "2m", "soak", "soak.xml")


def parsed(options, program, words):
    assert words[:2] == ["-m", f"mnist_mlp.{program}"]
    return flags.parse(options, words[2:], program=program, about="")


def test_in_small_on_the_cpu(machine):
    done = machine.run("--quick", "--strategy=cpu", "--backends=jax", "--soak=0")
    assert done.returncode == 0 and [*machine.summary()[0]] == ["verify-jax", "train-smoke", "serve"]
    calls = machine.calls()
    assert "--quick" in calls[0] and "--preset=smoke" in calls[1]
    assert all("--strategy=cpu" in words for words in calls) and not any("--dataset" in words[-2] for words in calls)


def test_without_mnist_the_presets_learn_the_digits(machine):
    assert machine.run().returncode == 0
    assert ["--dataset=digits" in words for words in machine.calls()] == [False, False, True, True, True, False, False]


def test_what_is_not_installed_is_skipped_and_told(machine):
    done = machine.run("--soak=0", lacks="tensorflow uvicorn")
    assert done.returncode == 0
    verdicts, last = machine.summary()
    assert (verdicts["verify-tensorflow"], verdicts["verify-jax"], verdicts["serve"]) == (
        "skipped",
        "passed",
        "skipped",
    )
    assert last == "all 4 passed" and "tensorflow, or keras, is not installed" in done.stdout
    assert all("--backend=jax" in words for words in machine.calls())


def test_a_failure_hides_no_other_step_and_is_the_exit_code(machine):
    done = machine.run(fails="--backend=jax")
    verdicts, last = machine.summary()
    assert done.returncode == 1 and last == "1 of 7 failed"
    assert [name for name, verdict in verdicts.items() if verdict == "failed"] == ["verify-jax"]
    assert "exit code 4: verdict" in done.stdout


def test_each_step_ends_in_time_and_what_has_no_time_left_has_failed(machine):
    done = machine.run("--seconds=4", hangs="--backend=tensorflow")  # less, and a busy machine starts none
    verdicts, last = machine.summary()
    assert done.returncode == 1 and {*verdicts.values()} == {"failed"} and last == "7 of 7 failed"
    assert re.search("not done within [1-4] s; its last words: it hangs", done.stdout)
    assert done.stdout.count("no time was left of 4 s") == 6 and len(machine.calls()) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        (["--minutes=3"], "unknown option --minutes=3"),
        (["--seconds=0"], "--seconds: expected a whole number, received 0"),
        (["other"], "Expected one DIRECTORY"),
        (["--data_dir=none"], "--data_dir: there is no directory none"),
        (["--backends=jax"], "has no jax, or no keras"),
        ([], "has none of tensorflow,jax with keras"),
    ],
)
def test_refusals(machine, options, words):
    done = machine.run(*options, lacks="keras")
    assert done.returncode == 2 and words in done.stderr
    assert not (machine.place / "calls").exists()


def test_results_are_never_mixed_with_older_ones(machine):
    machine.results.mkdir()
    (machine.results / "old").touch()
    done = machine.run()
    assert done.returncode == 2 and "is not empty" in done.stderr and not (machine.place / "calls").exists()


def test_help():
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: scripts/try_gpu DIRECTORY [options]")
    code = SCRIPT.read_text()
    for option in re.findall(r"--[a-z_]+(?==\*)", code):
        assert f"  {option}=" in done.stdout


@pytest.mark.full
def test_for_real_on_the_cpu(tmp_path):
    """Its parts, and its client of serve, with the programs themselves."""
    options = ["--strategy=cpu", "--quick", "--backends=tensorflow", "--soak=3s", "--seconds=460"]
    done = subprocess.run(
        [SCRIPT, tmp_path / "results", f"--python={sys.executable}", *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^serve +passed.*[1-9]\d* requests of 8 images in 10 s, all answered", done.stdout, re.MULTILINE)
    for name in ("verify-tensorflow/verify.json", "verify-tensorflow/verify.html", "verify-tensorflow.xml"):
        assert (tmp_path / "results" / name).stat().st_size > 1000
    assert (tmp_path / "results/run-smoke/result.json").exists() and (tmp_path / "results/soak/verify.json").exists()
