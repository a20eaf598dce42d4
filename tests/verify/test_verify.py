"""verify: every stage finds the faults of its own, none hides another, and what cannot run is never shown as passed."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers import faults, verify_faults
from helpers.fork_server import run_code
from helpers.programs import program, refused

from mnist_mlp import verify
from mnist_mlp.doctor import framework_check
from mnist_mlp.doctor.framework_check import Answer
from mnist_mlp.errors import Diverged, Refuted, UserError
from mnist_mlp.verify import bits, command, findings, machine, numbers, processes, stages, table, training
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding

TESTS = Path(__file__).parents[1]
DEVICE = {"strategy": "cpu", "backend": "auto", "replicas": None, "tpu": "", "start_timeout": 300}
SCRIPT = """import runpy, sys; sys.path.insert(0, sys.argv[1]); del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")"""


def context(tmp_path, tier="quick", **device):
    return Context(tier, 0, {**DEVICE, **device}, "", tmp_path)


# Bits


def test_a_flipped_bit_is_named():
    one = {"a": np.zeros(3, np.float32), "b": np.full((2, 3), 1.5, np.float32), "n": np.array(7)}
    other = {name: value.copy() for name, value in one.items()}
    assert bits.difference(one, other) is None
    other["b"].view("u4")[1, 2] ^= 1 << 22
    found = bits.difference(one, other)
    assert (found.tensor, found.element, found.flipped, found.elements) == ("b", (1, 2), (22,), 1)
    assert str(found) == "b[1, 2]: expected 1.5, received 1 (bit 22)"
    other["n"] = np.array(4)
    found = bits.difference({"n": one["n"], **one}, {"n": other["n"], **other})
    assert str(found) == "n: expected 7, received 4 (bits 0, 1), and 1 more tensor"
    assert json.dumps(found.as_json())


def test_equal_numbers_of_other_bits_differ_and_equal_nans_do_not():
    zero, negative = np.array([0.0], np.float32), np.array([-0.0], np.float32)
    assert bits.difference({"x": zero}, {"x": negative}).flipped == (31,)
    nan = np.array([np.nan], np.float32)
    assert bits.difference({"x": nan}, {"x": nan.copy()}) is None
    with pytest.raises(ValueError, match="Expected"):
        bits.difference({"x": zero}, {"y": zero})
    with pytest.raises(ValueError, match="Expected float32"):
        bits.difference({"x": zero}, {"x": zero.astype(np.float64)})


# Verdicts


@pytest.mark.parametrize(
    "statuses, verdict, code",
    [
        (["passed", "skipped"], "passed", 0),
        (["passed", "error"], "error", 2),
        (["error", "refuted", "passed"], "refuted", 4),
        (["skipped"], "error", 2),
        ([], "error", 2),
    ],
)
def test_one_verdict_and_its_exit_code(statuses, verdict, code, monkeypatch):
    """What ran nothing proves nothing."""
    assert findings.verdict(statuses) == verdict
    made = {"verdict": verdict, "stages": [{"name": f"stage {n}", "status": each} for n, each in enumerate(statuses)]}
    monkeypatch.setattr(command, "verify", lambda options, reporter: made)
    ended = 0
    try:
        command.main(["--quick"])
    except UserError as error:
        ended = error.exit_code
        assert all(f"stage {n}" in str(error) for n, each in enumerate(statuses) if each == verdict)
    assert ended == code


def test_an_exception_of_a_stage_is_a_finding(tmp_path):
    def raising(error):
        def stage(context):
            raise error

        return stages.attempt(stage, context(tmp_path))

    assert raising(Refuted("0 ≠ 1")) == Finding("refuted", reason="0 ≠ 1")
    assert raising(Diverged("nan at step 3")) == Finding("refuted", reason="nan at step 3")
    assert raising(UserError("no GPU")) == Finding("error", reason="no GPU")
    found = raising(KeyError("hidden"))
    assert (found.status, found.reason) == ("error", "KeyError: 'hidden'")
    assert "raise error" in found.details["traceback"]


def test_a_stage_that_is_pointless_says_why():
    by_name = {stage.name: stage for stage in stages.STAGES}
    failed = {"machine": Finding.error("no framework")}
    for stage in stages.STAGES[1:]:
        assert processes.pointless(stage, failed) == "the framework does not work here (stage machine)"
    twice = {"machine": Finding.judged("", ""), "determinism": Finding.judged("", "differs")}
    assert processes.pointless(by_name["resume"], twice) == "there are no two equal whole runs (stage determinism)"
    assert processes.pointless(by_name["training"], twice) == ""


def test_each_stage_is_a_function_and_every_stage_needs_those_before_it():
    seen = set()
    for stage in stages.STAGES:
        assert callable(stages.function_of(stage)), stage.name
        assert set(stage.needs) <= seen
        seen.add(stage.name)
    assert [stage.name for stage in stages.of_tier("full")] == [stage.name for stage in stages.STAGES]
    assert {stage.name for stage in stages.of_tier("full")} - {stage.name for stage in stages.of_tier("quick")} == {
        "mnist"
    }


def test_the_lines_of_the_table():
    row = {"name": "parity", "proves": "each number", "seconds": 12.34, "status": "refuted", "figure": "44 quantities"}
    first, *reason = table.row(row | {"reason": "word " * 40}).splitlines()
    assert first.startswith("✗ parity") and first.endswith("   12.3  44 quantities")
    assert len(reason) == 3 and all(line.startswith(" " * 10) for line in reason)
    assert table.row(row | {"status": "skipped", "figure": "", "reason": "no GPU"}).startswith("– parity")
    report = {"verdict": "refuted", "stages": [row, row | {"status": "skipped"}], "seconds": 20.0}
    assert "REFUTED" in table.closing(report) and "(0 passed, 1 refuted, 1 skipped)" in table.closing(report)


# The machine


@pytest.mark.parametrize(
    "error, status, words",
    [
        ("", "passed", "a processor; jax 0.10.2"),
        ("jax computes wrong numbers on the CPU", "error", "jax computes wrong numbers on the CPU"),
    ],
)
def test_the_machine_passes_if_its_framework_computes(error, status, words, tmp_path, monkeypatch):
    def ask(questions, seconds):
        assert seconds == 60  # of a TPU: --start_timeout
        assert list(questions) == ["jax"]  # the one that is asked about
        return {"jax": Answer(error, "cpu", {"jax": "0.10.2"}, ("CPU:0",))}

    monkeypatch.setattr(framework_check, "ask", ask)
    monkeypatch.setattr("mnist_mlp.doctor.command.processor_name", lambda: "a processor")
    found = machine.check(context(tmp_path, backend="jax"))
    assert found.status == status and (found.figure or found.reason) == words
    assert found.details["doctor"]["machine"]["processor"]


def test_a_device_that_is_not_there_is_an_error_and_never_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(framework_check, "ask", lambda questions: pytest.fail("nothing is to be tried"))
    found = machine.check(context(tmp_path, strategy="tpu"))
    assert found.status == "error" and found.reason.startswith("--strategy=tpu: no TPU is attached to this machine")


# The gate's verdict in a sentence


def test_what_the_gate_found_is_told_with_its_figures():
    row = {"observed": 0.83108, "accepted": [0.26704, 0.78815], "out": "loss too high"}
    sound = {"observed": 351, "accepted": [334, 359], "out": ""}
    verdict = {"right": sound, "losses": [row], "found": {"loss too high": "learns more slowly"}}
    assert training.problem(verdict) == "loss too high (learns more slowly); 0.83108, where 0.26704 to 0.78815 pass"
    assert training.problem({"right": sound, "losses": [row | {"out": ""}], "found": {}}) == ""


# MNIST


def test_a_damaged_mnist_is_an_error_and_a_missing_one_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert stages.attempt(training.mnist, context(tmp_path)).status == "skipped"
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mnist.npz").write_bytes(b"damaged")
    found = stages.attempt(training.mnist, context(tmp_path))
    assert found.status == "error" and f"{tmp_path}/datasets/mnist.npz" in found.reason


@pytest.mark.parametrize("error, status", [(Diverged("nan"), "refuted"), (UserError("no device"), "error")])
def test_a_training_that_fails_is_no_missing_data(error, status, tmp_path, monkeypatch):
    def fails(*arguments):
        raise error

    monkeypatch.setattr("mnist_mlp.data.load", lambda config: None)
    monkeypatch.setattr(training, "gated", fails)
    assert stages.attempt(training.mnist, context(tmp_path)) == Finding(status, reason=str(error))


# Flags


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--quick", "--full"], "--quick and --full: expected one of them, received both"),
        (["--soak=0m"], "--soak: expected a time such as 30s, 10m or 8h, at most 720h; received '0m'"),
        (["--soak=5"], "--soak: expected a time such as 30s"),
        (["--soak=nanh"], "--soak: expected a time such as 30s"),
        (["--soak=1_0s"], "--soak: expected a time such as 30s"),
        (["--soak= 5s"], "--soak: expected a time such as 30s"),
        (["--soak=721h"], "--soak: expected a time such as 30s"),
        (["--compare", "a", "b", "--quick", "--output=new"], "--compare verifies nothing, but reads two files; omit "),
        (["--compare", "a", "b", "c"], "--compare: expected two files verify.json, received 3"),
        (["--output=new", "--junit=new/verify.html"], "--output and --junit: expected two different files, received"),
        (["--output=no/where"], "--output=no/where: expected a directory inside one that exists"),
        (["--junit=no/x.xml"], "--junit=no/x.xml: expected a file in a directory that exists"),
        (["--strategy=multiworker"], "--strategy: expected one of auto, cpu, gpu, tpu, mirrored"),
    ],
)
def test_what_it_cannot_do_is_said(flags, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as said:
        command.main(flags)
    assert str(said.value).startswith(words) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["verify.json", "verify.html"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="expected a file, received a directory"):
        command.main([f"--output={tmp_path}"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_file_that_cannot_be_written_costs_no_other(tmp_path):
    whole = {"stages": [], "verdict": "passed"}
    files = {"json": tmp_path / "no" / "where" / "verify.json", "junit": tmp_path / "junit.xml"}
    with pytest.raises(UserError, match="could not be written: No such file or directory"):
        command.write(whole, files, command.SILENT)
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"


def test_a_directory_that_stays_empty_is_removed_unless_it_was_there(tmp_path, monkeypatch):
    def full(path, *arguments):
        raise UserError(f"{path} could not be written")

    monkeypatch.setattr("mnist_mlp.files.atomic.write_file", full)
    (tmp_path / "old").mkdir()
    for name in ("old", "new"):
        with pytest.raises(UserError, match="json could not be written"):
            files = command.files_to_write(command.Options(output=str(tmp_path / name)))
            command.write({"stages": [], "verdict": "passed"}, files, command.SILENT)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_reporter_that_fails_ends_the_stages(tmp_path, monkeypatch):
    """As a closed pipe does. Without it the processes of the stages would run on."""
    ended = []

    def run_stages(*arguments):
        try:
            yield stages.STAGES[0], Finding.judged("", ""), 0.0
        finally:
            ended.append(True)

    class Closed(command.Reporter):
        def line(self, text):
            if "stage" not in text:
                raise BrokenPipeError

    monkeypatch.setattr(command, "run_stages", run_stages)
    try:
        command.verify(command.Options(quick=True, strategy="cpu"), reporter=Closed())
    except BrokenPipeError:  # whose traceback still holds all frames
        assert ended == [True]
    else:
        pytest.fail("it was not raised")


def test_a_caller_is_told_of_wrong_options():
    with pytest.raises(ValueError, match=r"Expected tier to be one of quick, usual, full\. Received 'fast'"):
        verify.assert_passes("fast")
    for name in ("quick", "compare", "json"):
        with pytest.raises(TypeError, match=f"Expected no option {name}"):
            verify.assert_passes(**{name: True})
    with pytest.raises(UserError, match="--strategy: expected one of"):
        verify.assert_passes(strategy="abacus")


def test_times_of_a_soak():
    assert [command.soak_seconds(text) for text in ("", "30s", "1.5m", "8h")] == [0, 30, 90, 28_800]


@pytest.mark.slow
def test_the_program_says_it_in_a_line_without_a_framework(tmp_path):
    refused(program("verify", "--soak=long", cwd=tmp_path), "error: --soak: expected a time such as 30s")


@pytest.mark.slow
def test_no_temporary_directory_is_said_in_a_line(tmp_path):
    def nothing_can_be_written():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    command = [sys.executable, "-m", "mnist_mlp.verify", "--quick", "--strategy=gpu"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    options = {"preexec_fn": nothing_can_be_written, "cwd": tmp_path, "env": environment, "text": True}
    refused(subprocess.run(command, capture_output=True, **options), "error: no temporary directory can be written to")


# Replicas


@pytest.mark.parametrize("problem, status", [("", "passed"), ("first difference at step 1: loss", "refuted")])
def test_the_stage_replicas_divides_the_cpu(problem, status, tmp_path, monkeypatch):
    """What it compares is stood in for; test_parity.py does it on two replicas, with faults of them."""
    started = []

    def start_engine(plan, options, dataset):
        started.append((plan.device, plan.replicas, options.replicas, options.backend, options.batch_size))
        assert 0 < len(dataset.train) % options.batch_size < options.batch_size < len(dataset.train)
        return SimpleNamespace(devices=SimpleNamespace(kind="CPU", replicas=plan.replicas))

    def compare(engine, options):
        assert engine.devices.replicas == 2 and options.steps >= 3  # an epoch, with its last batch
        return Finding.judged("44 quantities", problem)

    monkeypatch.setattr("mnist_mlp.cli.load_framework.load", lambda plan: None)
    monkeypatch.setattr("mnist_mlp.parity.command.start_engine", start_engine)
    monkeypatch.setattr(numbers, "compare", compare)
    found = numbers.replicas(context(tmp_path, backend="jax"))
    assert started == [("cpu", 2, 2, "jax", 512)]
    assert (found.status, found.figure, found.reason) == (status, "2 logical CPUs: 44 quantities", problem)


# Processes


def asked(tmp_path, monkeypatch, names, at, do):
    """What is found of the stages, where something is done to the process when it is asked for the stage `at`."""
    right = processes.WorkerProcess.ask

    def ask(self, stage):
        right(self, stage)
        if stage.name == at and not done:
            done.append(stage)
            do(self)

    done = []
    monkeypatch.setattr(processes.WorkerProcess, "ask", ask)
    chosen = [stage for stage in stages.STAGES if stage.name in names]
    reporter = command.SILENT
    return {stage.name: finding for stage, finding, _ in processes.run_stages(chosen, context(tmp_path), reporter)}


@pytest.mark.slow
def test_a_process_that_is_killed_takes_no_other_stage_with_it(tmp_path, monkeypatch):
    def kill(process):
        os.kill(process.child.process.pid, signal.SIGKILL)

    # Neither stage trains: "mnist" finds no data, "parity_cpu" is skipped on a CPU.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    found = asked(tmp_path, monkeypatch, ("mnist", "exports"), "mnist", kill)
    assert (found["mnist"].status, found["mnist"].reason) == ("error", "its process was killed by signal 9 (SIGKILL)")
    assert (found["exports"].status, found["exports"].reason) == ("skipped", "the stage training left no model")


@pytest.mark.slow
def test_a_process_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "LONGEST", -299.5)  # with the start_timeout of 300 s: half a second
    found = asked(
        tmp_path, monkeypatch, ("mnist",), "mnist", lambda process: os.kill(process.child.process.pid, signal.SIGSTOP)
    )
    assert (found["mnist"].status, found["mnist"].reason) == ("error", "it did not end within 0.5 s")


WORKER = """import sys, time
from mnist_mlp.verify import worker
worker.end_with_parent(int(sys.argv[1]), sys.argv[2])
print("watching", flush=True)
time.sleep(60)"""
PARENT = """import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid()), sys.argv[2]], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)"""


@pytest.mark.slow
def test_a_worker_ends_whose_parent_was_killed_before_it_watched(tmp_path):
    nobody = subprocess.Popen([sys.executable, "-S", "-c", ""])
    nobody.wait()
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, "-c", WORKER, str(nobody.pid), str(tmp_path)]
    assert subprocess.run(command, env=environment, capture_output=True, timeout=30).returncode == -signal.SIGTERM


@pytest.mark.slow
def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    parent = [sys.executable, "-c", PARENT, WORKER, str(work)]
    with subprocess.Popen(parent, stdout=subprocess.PIPE, env=environment, text=True) as process:
        child = int(process.stdout.readline())
        assert process.stdout.readline() == "watching\n" and work.is_dir()
        process.kill()
    deadline = time.monotonic() + 20
    while (alive(child) or work.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child) and not work.exists()


def alive(pid):
    try:  # os.kill would also find one that has ended, where nobody waits for it
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Faults: what each stage says of those that are its own

NAMED = {
    verify_faults.LOST_RANDOM: "does not begin as its checkpoint says: model/dropout_1/seed_generator_state[",
    verify_faults.LOST_SLOT: "does not begin as its checkpoint says: optimizer/",
    verify_faults.FLIPPED: "differs from the first one: model/hidden_1/kernel[5, 7]: ",
    verify_faults.SWAPPED: "onnx differs from the trained model: for test image ",
    verify_faults.ROUNDED: "onnx differs from the trained model: for test image ",
    verify_faults.BROKEN: "computes wrong numbers on the CPU",
    verify_faults.ABSENT: "finds no device instead of 1 CPU",
    f"parity: {faults.SUMMED}": "first difference at step 1: gradient of hidden_1/kernel[",
    f"parity: {faults.DROPPED}": "first difference at step 1: gradient of hidden_1/kernel[",
    f"parity: {faults.CUT}": "first difference at step 1: loss,",
    f"parity: {faults.STALE}": "first difference at step 1: second moment of hidden_2/kernel[",
    f"parity: {faults.SHIFTED}": "first difference at step 6: loss,",
    f"parity: {faults.LAST}": "first difference at step 6: loss,",
    f"parity: {faults.SIGN}": "first difference at step 1: gradient of hidden_2/bias[",
    f"parity: {faults.EPSILON}": "first difference at step 1: updated hidden_1/kernel[",
    f"parity: {faults.DOUBLED}": "first difference at step 1: probabilities[",
    f"parity: {faults.LOST}": "first difference: updates counted in one call",
    f"replicas: {faults.SUMMED}": "first difference at step 1: gradient of hidden_1/kernel[",
    f"replicas: {faults.DROPPED}": "first difference at step 1: gradient of hidden_1/kernel[",
    f"training: {faults.STALE}": "loss too high",
    f"training: {faults.SHIFTED}": "loss too high",
}
# Those that no other usual test holds: test_parity.py has those of parity, also on two replicas, test_gate.py those of
# the training; see also test_the_stage_replicas_divides_the_cpu.
USUAL = (("determinism: ", verify_faults.FLIPPED, verify_faults.LOST_RANDOM, verify_faults.SWAPPED),)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", pytest.param("tensorflow", marks=pytest.mark.full)])
def test_every_fault_is_found_and_named(backend, full):
    assert set(NAMED) == set(verify_faults.ALL)
    together = [name for name in verify_faults.ALL if name not in verify_faults.OF_REPLICAS]
    for names in [together, *([name] for name in verify_faults.OF_REPLICAS)] if full else USUAL:
        script = TESTS / "helpers" / "verify_faults.py"
        done = run_code(SCRIPT, TESTS, script, backend, "quick", 0, *names, backend=backend, timeout=1200)
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [each["fault"] for each in found] == list(names)
        for each in found:
            fault = each["fault"]
            sound, status = fault.endswith(": "), "error" if fault.startswith("machine") else "refuted"
            assert each["status"] == ("passed" if sound else status), each
            assert ("resumed_at" in each["details"]) == fault.startswith("resume: ")
            assert NAMED.get(fault, "") in each["reason"] if not sound else not each["reason"], each
