"""Compiling for TPUs: flags, errors, what is read from the compiler's text, and the five topologies themselves."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import pytest
from helpers.fork_server import WITHOUT_XLA, run_code, start_code
from helpers.fork_server import run as run_program

from mnist_mlp.cli.flags import given_flags
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import with_preset
from mnist_mlp.data import array_files
from mnist_mlp.devices import machine
from mnist_mlp.errors import UserError
from mnist_mlp.tpu_compile import collectives
from mnist_mlp.tpu_compile import command as tpu_compile
from mnist_mlp.tpu_compile.command import Options

COMPILER = {"jax": "0.10.2", "jaxlib": "0.10.2", "libtpu": "0.0.52", "keras": "3.15.1", "numpy": "2.4.6"}

# Lines of libtpu 0.0.52's own text, without the parts that say how fast it expects them to be.
ONE_STEP = """
  %all-reduce.14 = f32[]{:T(128)} all-reduce(%get-tuple-element.741), channel_id=1, replica_groups=mesh['b'=8] {'b'}
  %max.50 = f32[]{:T(128)S(6)} maximum(%all-reduce.14, %constant.130.clone.1..sunk), metadata={op_name="jit(program)"}
  %all-reduce.15 = (f32[784,128]{1,0:T(8,128)S(1)}, f32[128]{0:T(128)S(1)}, f32[128,64]{0,1:T(8,128)S(1)}, \
f32[64]{0:T(128)S(1)}, f32[64,10]{0,1:T(8,128)S(1)}, /*index=5*/f32[10]{0:T(128)S(1)}, f32[1]{0:T(128)}) \
all-reduce(%fusion.89, %get-tuple-element.746, %fusion.90, %get-tuple-element.747, %fusion.91, \
/*index=5*/%fusion.92, %bitcast.68), channel_id=2, use_global_device_ids=true, to_apply=%add.clone
  %get-tuple-element.749 = f32[784,128]{1,0:T(8,128)S(1)} get-tuple-element(%all-reduce.15), index=0
  %all-reduce.10 = s32[]{:T(128)} all-reduce(%get-tuple-element.414), channel_id=9, replica_groups={{0,1,2,3,4,5,6,7}}
  ROOT %tuple.12 = (f32[313]{0:T(512)}, s32[10,10]{1,0:T(8,128)}) tuple(%copy-done.7, %all-reduce.10)
"""
OTHERS = """
  %collective-permute-start = (bf16[1024,1024]{1,0:T(8,128)(2,1)}, bf16[1024,1024]{1,0:T(8,128)(2,1)S(1)}, \
u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%param.1), channel_id=1, source_target_pairs={{0,1},{1,0}}
  %collective-permute-done = bf16[1024,1024]{1,0:T(8,128)(2,1)S(1)} collective-permute-done(%collective-permute-start)
  %all_to_all.9 = bf16[8,128,1024]{2,1,0:T(8,128)(2,1)S(1)} all-to-all(%bitcast.4), channel_id=1, dimensions={0}
  %reduce_scatter.7 = bf16[128,1024]{1,0:T(8,128)(2,1)} reduce-scatter(%copy-done), channel_id=1, dimensions={0}
  %psum_invariant.7 = bf16[1024,1024]{1,0:T(8,128)(2,1)} all-reduce(%copy-done), channel_id=1, to_apply=%region_2.0
  ROOT %all-gather.5 = bf16[8192,1024]{1,0:T(8,128)(2,1)S(1)} all-gather(%copy-done), channel_id=2, dimensions={0}
"""
GRADIENTS = 4 * 109_386
MNIST_IMAGES = (
    array_files.SHAPES["x_train"][0],
    array_files.SHAPES["x_test"][0],
)  # what the data must have to be taken


def options(*argv):
    presets = {name: Options(**preset.to_dict()) for name, preset in tpu_compile.PRESETS.items()}
    return with_preset(presets, given_flags(Options, argv, program="tpu_compile", about=""))


def test_the_collectives_of_a_compiled_text():
    found = collectives.collectives(ONE_STEP)
    assert found == {"all-reduce": [4, GRADIENTS + 4, 4]}
    assert collectives.collectives_text(found) == "3 all-reduce up to 437,548 B"
    mega = 2**20
    assert collectives.collectives(OTHERS) == {
        "collective-permute": [4 * mega + 8],
        "all-to-all": [2 * mega],
        "reduce-scatter": [mega // 4],
        "all-reduce": [2 * mega],
        "all-gather": [16 * mega],
    }
    assert collectives.collectives("%fusion.1 = f32[4]{0} fusion(%all-reduce.5, %all-gather.1)") == {}
    assert collectives.collectives_text({}) == "none"


@pytest.mark.parametrize(
    "dtype, dimensions, size", [("f32", "784,128", 401_408), ("pred", "3", 3), ("s4", "3", 2), ("bf16", "", 2)]
)
def test_the_bytes_of_an_array(dtype, dimensions, size):
    assert collectives.array_bytes(dtype, dimensions) == size


@pytest.mark.parametrize(
    "name, cores, found, problem",
    [
        ("train", 1, {}, ""),
        ("train", 1, {"all-reduce": [4]}, "expected no collectives, found 1 all-reduce up to 4 B"),
        ("train", 8, {"all-reduce": [4, GRADIENTS + 4, 4]}, ""),
        ("train", 8, {"all-reduce": [GRADIENTS - 64, 64, 4]}, ""),
        ("train", 8, {"all-reduce": [GRADIENTS], "all-gather": [4]}, "expected only all-reduce, found 1 "),
        ("train", 8, {"all-reduce": [GRADIENTS + 2000]}, "expected no all-reduce of more than 438,568 B, found 1 all"),
        ("train", 8, {"all-reduce": [4, 4]}, "expected the cores to sum 437,544 B of gradients, found"),
        ("train", 8, {}, "expected the cores to sum 437,544 B of gradients, found none"),
        ("evaluate", 8, {"all-reduce": [4, 400]}, ""),
        ("evaluate", 8, {"all-reduce": [GRADIENTS]}, "expected no all-reduce of more than 1,024 B"),
        ("evaluate", 8, {}, "expected the cores to sum"),
        ("predict", 8, {}, ""),
        ("predict", 8, {"all-gather": [40]}, "expected no collectives, found 1 all-gather up to 40 B"),
    ],
)
def test_what_a_program_may_exchange(name, cores, found, problem):
    problems = collectives.check(name, cores, found, 109_386 if name == "train" else 0, "float32")
    assert len(problems) == bool(problem) and "".join(problems).startswith(problem)


def test_gradients_may_be_bfloat16():
    half = {"all-reduce": [GRADIENTS // 2]}
    assert not collectives.check("train", 8, half, 109_386, "bfloat16")
    assert not collectives.check("train", 8, {"all-reduce": [GRADIENTS]}, 109_386, "bfloat16")
    assert collectives.check("train", 8, half, 109_386, "float32")


def test_the_flags_are_those_of_train():
    assert options().topologies == ["v5e:1x1", "v5e:2x2", "v5e:2x4", "v6e:1x1", "v4:2x2x1"]
    assert options("--topology", " v4:2x2x1, v5e:1x1,v4:2x2x1,").topologies == ["v4:2x2x1", "v5e:1x1"]
    request = tpu_compile.request_of(options("--preset=lecture", "--model=cnn", "--batch_size=7", "--run_dir=x"))
    assert request["pixels"] == "raw" and request["model"] == "cnn" and request["batch_size"] == 7
    assert request["examples"] == {"train": 60_000, "test": 10_000}
    assert request["units"] is None and tpu_compile.request_of(options("--units=33,9"))["units"] == "33,9"
    with_validation = tpu_compile.request_of(options("--preset=smoke", "--validation_fraction=0.1"))
    assert with_validation["examples"] == {"train": 1_293, "test": 360, "validation": 144}
    assert tpu_compile.notes_of(options("--strategy=tpu", "--backend=jax")) == []
    (note,) = tpu_compile.notes_of(options("--strategy=cpu", "--engine=fit"))
    assert note.startswith("--engine=fit, --strategy=cpu: no effect")
    for argv, words in [
        (["--topology=,"], "--topology: expected names such as v5e:2x4, received ','"),
        (["--topologi=v4"], "did you mean '--topology'"),
        (["--limit=0"], "--limit: expected a whole number from 1"),
        (["--dataset=digits", "--validation_fraction=0.0001"], "--validation_fraction=0.0001: expected at least one"),
    ]:
        with pytest.raises(UserError, match=words):
            tpu_compile.compile_all(options(*argv), reporter=SILENT)


def test_the_numbers_of_images_are_those_of_the_data(digits):
    for name, train, test in (("digits", len(digits.train), len(digits.test)), ("mnist", *MNIST_IMAGES)):
        assert tpu_compile.request_of(options(f"--dataset={name}"))["examples"] == {"train": train, "test": test}


@pytest.mark.parametrize(
    "installed, words",
    [
        ({}, "libtpu, the TPU compiler, is not installed; run pip install -e '.[tpu]'"),
        ({"libtpu": "0.0.52", "keras": "3.15.1"}, "JAX is not installed; run pip install -e '.[tpu]'"),
        (COMPILER | {"jax": "0.5.3"}, "expected JAX 0.6 or newer, found 0.5.3; run pip install"),
        (COMPILER | {"tensorflow-tpu": "2.19.1", "libtpu": "0.0.10"}, "libtpu 0.0.10 belongs to tensorflow-tpu"),
    ],
)
def test_without_a_compiler_no_process_is_started(monkeypatch, installed, words):
    monkeypatch.setattr(machine, "installed_software", lambda names: installed)
    monkeypatch.setattr(tpu_compile, "ask", lambda *_: pytest.fail("started"))
    with pytest.raises(UserError) as error:
        tpu_compile.main([])
    assert str(error.value).startswith(words)


@pytest.mark.parametrize("place", [("linux", "aarch64"), ("darwin", "x86_64"), ("win32", "AMD64")])
def test_the_compiler_exists_for_one_kind_of_machine(monkeypatch, place):
    monkeypatch.setattr(sys, "platform", place[0])
    monkeypatch.setattr("platform.machine", lambda: place[1])
    with pytest.raises(UserError, match=f"only exists for x86-64 Linux, this is .* on {place[1]}"):
        tpu_compile.main([])


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Puts a program in the place of the one that compiles; returns the folder for its temporary files."""
    monkeypatch.setattr(machine, "installed_software", lambda names: COMPILER)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("STAND_IN_PIDS", str(tmp_path / "pids"))

    def use(code):
        monkeypatch.setattr(tpu_compile, "CHILD", code)
        return tmp_path

    return use


ANSWER = """
import json, os, sys
request = json.loads(sys.argv[2])
gathers = request["topology"] == "bad"
program = {"trace_seconds": 1.0, "compile_seconds": 2.0, "argument_bytes": 3, "output_bytes": 4, "temporary_bytes": 5,
           "code_bytes": 6, "flops": 7, "hlo": "%a = f32[2]{0} all-gather(%b)" if gathers else ""}
answer = {"error": "", "kind": "TPU", "chips": 1, "cores": 1, "parameters": 8, "trainable": 8,
          "programs": {"train": program}}
if request["topology"] == "none":
    answer = {"error": "INVALID_ARGUMENT: no such thing"}
open(sys.argv[3], "w").write(json.dumps(answer))
"""
SLEEPER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(os.environ["STAND_IN_PIDS"], "w") as file:
    file.write(f"{os.getpid()} {child.pid} ")
time.sleep(60)
"""


def run(capsys, *argv):
    """Exit code, standard output and standard error of the driver."""
    code = 0
    try:
        tpu_compile.main(argv)
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


def test_the_report_and_the_exit_code(child, capsys):
    child(ANSWER)
    code, out, err = run(capsys, "--topology=good")
    assert (code, err) == (0, "") and "✓ good           1  train        2.00" in out
    assert out.endswith("\nnothing ran on a TPU: the programs were only compiled for it\n")
    code, out, _ = run(capsys, "--topology=good,bad,none,good")
    assert code == 2 and "✗ bad " in out and out.count("good") == 1
    assert "   train: expected no collectives, found 1 all-gather up to 8 B\n" in out
    assert "✗ none        INVALID_ARGUMENT: no such thing\n" in out
    code, out, err = run(capsys, "--topology=bad", "--json", "--strategy=gpu")
    found = json.loads(out)
    assert (code, found["works"], found["note"]) == (2, False, tpu_compile.NOTE) and "✗ bad " in err
    assert found["versions"]["libtpu"] == "0.0.52" and found["notes"][0].startswith("--strategy=gpu: no effect")
    (row,) = found["rows"]
    assert row["programs"]["train"]["collectives"] == {"all-gather": [8]} and "hlo" not in out


@pytest.mark.parametrize(
    "code, exit_code, words",
    [
        ("1 / 0", 1, "the compiler exited with code 1: ZeroDivisionError: division by zero"),
        ("import os; os.kill(os.getpid(), 11)", 2, "the compiler was killed by signal 11 (SIGSEGV)"),
        ("", 2, "the compiler exited with code 0 without an answer"),
    ],
)
def test_a_compiler_that_fails(child, capsys, code, exit_code, words):
    folder = child(code)
    found, out, err = run(capsys, "--topology=v4:2x2x1")
    assert (found, words in out) == (exit_code, True)
    assert ("Traceback" in err) == (exit_code == 1)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def gone(pids, seconds=5.0):
    """Whether the processes have ended (their number may still wait for its parent)."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if all(state(pid) in ("", "Z", "X") for pid in pids):
            return True
        time.sleep(0.02)
    return False


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.slow
def test_the_time_limit_ends_the_whole_group(child, capsys):
    folder = child(SLEEPER)
    began = time.perf_counter()
    code, out, _ = run(capsys, "--topology=v4:2x2x1", "--limit=1")
    assert time.perf_counter() - began < 30  # not the minute of the one that sleeps
    assert code == 2 and "✗ v4:2x2x1    did not compile within 1 seconds; use a longer --limit" in out
    pids = (folder / "pids").read_text().split()
    assert len(pids) == 2 and gone(pids)
    assert sorted(path.name for path in folder.iterdir()) == [f"mnist_mlp.tpu_compile.{os.getuid()}.lock", "pids"]


STARTED = """
import sys
from mnist_mlp.cli import program
from mnist_mlp.devices import machine
from mnist_mlp.tpu_compile import command as tpu_compile
machine.installed_software = lambda names: {installed!r}
sys.platform, tpu_compile.platform.machine = "linux", lambda: "x86_64"
tpu_compile.CHILD = {child!r}
program.run(tpu_compile.main)
"""


def start(child, folder, *argv):
    """The driver in a process of its own, with a program in the place of the one that compiles."""
    code = STARTED.format(installed=COMPILER, child=child)
    environment = {**os.environ, "TMPDIR": str(folder), "STAND_IN_PIDS": str(folder / "pids")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return start_code(code, *argv, backend=None, env=environment, **pipes)


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(tmp_path):
    process = start(SLEEPER, tmp_path)
    pids = tmp_path / "pids"
    assert wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert gone(pids.read_text().split())
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock", ""} and len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_two_at_once_take_turns(tmp_path):
    # Each says when it begins and when it ends; were they there at the same time, the lines would be mixed.
    code = "import os, time\nfile = open(os.environ['STAND_IN_PIDS'], 'a', 1)\n" + ANSWER
    code += "print('began', file=file); time.sleep(0.1); print('ended', file=file)\n"
    both = [start(code, tmp_path, "--topology=a,b") for _ in range(2)]
    told = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(told) == ["", "waiting for another tpu_compile: one compiles at a time ...\n"]
    assert (tmp_path / "pids").read_text().split() == ["began", "ended"] * 4


def test_the_environment_of_the_compiler(monkeypatch):
    for name in ("TPU_PROCESS_ADDRESSES", "TPU_ACCELERATOR_TYPE", "MEGASCALE_NUM_SLICES", "TPU_LIBRARY_PATH"):
        monkeypatch.setenv(name, "here")
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    found = tpu_compile.environment("/folder")
    assert {name for name, value in found.items() if value == "here"} == {"TPU_LIBRARY_PATH"}
    for name, value in {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}.items():
        assert found[name] == value


def compiler_is_here():
    names = {str(distribution.metadata["Name"]).lower() for distribution in metadata.distributions()}
    return {"jax", "libtpu"} <= names


compiles = pytest.mark.skipif(not compiler_is_here(), reason="libtpu is not installed: pip install -e '.[tpu]'")


def tpu(*argv):
    done = run_program("tpu_compile", *argv, backend=None, timeout=600)
    err = done.stderr.replace("waiting for another tpu_compile: one compiles at a time ...\n", "")  # another test's
    return done.returncode, done.stdout, err


CHIPS = {"v5e:1x1": 1, "v5e:2x2": 4, "v5e:2x4": 8, "v6e:1x1": 1, "v4:2x2x1": 4}


def agrees(row):
    """Checks a row of the default network in float32 against what is worked out by hand."""
    train, evaluate, predict = (row["programs"][program] for program in ("train", "evaluate", "predict"))
    assert row["works"] and not row["problems"] and row["cores"] == row["chips"] == CHIPS[row["topology"]], row
    assert predict["collectives"] == {}
    if row["chips"] == 1:
        assert train["collectives"] == evaluate["collectives"] == {}
    else:
        assert set(train["collectives"]) == set(evaluate["collectives"]) == {"all-reduce"}
        assert GRADIENTS <= max(train["collectives"]["all-reduce"]) <= GRADIENTS + 64
    # The images, the labels, the order, and three values for each parameter; padding makes it a little more.
    needed = 60_000 * 785 + 4 * 60_000 / row["chips"] + 12 * 109_386
    assert needed < train["argument_bytes"] < 1.2 * needed
    by_hand = (4 * 109_184 + 2 * 8_832) * 32 / row["chips"] + 12 * 109_386
    assert train["flops"] == pytest.approx(by_hand, rel=0.1), row["topology"]
    assert train["temporary_bytes"] > 0 and train["code_bytes"] > 0 and train["compile_seconds"] > 0


@pytest.mark.full
@pytest.mark.slow
@compiles
def test_the_topologies_compile():
    """The program as a whole, for all five topologies."""
    code, out, err = tpu("--json")
    assert code == 0, err
    found = json.loads(out)
    assert "nothing ran on a TPU" in found["note"] and found["note"] in err
    assert [row["topology"] for row in found["rows"]] == list(CHIPS)
    for row in found["rows"]:
        agrees(row)


@pytest.mark.full
@pytest.mark.slow
@compiles
def test_other_networks_and_precisions_compile():
    for flags, parameters in [
        (["--batch_size=33"], 109_386),
        (["--units=33,9"], 26_311),
        (["--model=cnn"], 34_826),  # in float32: 20 s
    ]:
        code, out, err = tpu("--json", "--topology=v5e:2x2", "--dataset=digits", "--precision=bfloat16", *flags)
        assert code == 0, err
        (row,) = json.loads(out)["rows"]
        assert (row["parameters"], set(row["programs"]["train"]["collectives"])) == (parameters, {"all-reduce"})


@pytest.mark.full
@pytest.mark.slow
@compiles
def test_what_the_compiler_refuses_is_said_in_one_line():
    code, out, err = tpu("--topology=v9x:1x1,v5e:1x1", "--replicas=2")
    assert (code, err) == (2, "")
    assert f"✗ v9x:1x1     {REFUSALS[0]}\n" in out and f"✗ v5e:1x1     {REFUSALS[1]}\n" in out
    assert "Traceback" not in out


REFUSALS = [
    "INVALID_ARGUMENT: Invalid TPU external name: TPU v9x",
    "--replicas=2: v5e:1x1 has 1 cores; use --replicas=1",
]
QUESTIONS = """
import json, os, sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
from mnist_mlp import data; from mnist_mlp.training import optimizers; from mnist_mlp.models import networks
from mnist_mlp.data import batches
from mnist_mlp.config import Config
from mnist_mlp.engine.base import DeviceSet
from mnist_mlp.engine.jax.engine import JaxEngine
from mnist_mlp.tpu_compile import programs as tpu_programs
assert "tensorflow" not in sys.modules
counts, requests, lowered = json.loads(sys.argv[1])
dataset = data.load(Config(dataset="digits"))
rest, validation = batches.split_validation(dataset.train, 0.1, 0)
splits = {"train": rest, "test": dataset.test, "validation": validation}
new = lambda: (networks.build("mlp_dropout"), optimizers.make_optimizer("adam", None))
sizes = {name: len(split) for name, split in splits.items()}

def same(devices):
    engine = JaxEngine(*new(), splits, 33, DeviceSet("CPU: here", (), len(devices), devices))
    run = {}
    for name in ("train", "evaluate", "predict"):
        def call(*arguments, program=getattr(engine, f"{name}_program"), name=name):
            run.setdefault(name, []).append(program.lower(*arguments).as_text())
            return program(*arguments)
        setattr(engine, f"{name}_program", call)
    engine.train(batches.batch_indices(0, 0, len(rest), 33))
    engine.evaluate("test"), engine.evaluate("validation"), engine.predict(dataset.test.images)
    compiled = {}
    for name, (program, arguments) in tpu_programs.programs(*new(), devices, sizes, 33).items():
        compiled[name] = program.lower(*arguments).as_text()
    assert {text for texts in run.values() for text in texts} == set(compiled.values()), "they differ"
    assert compiled["train"] in run["train"] and compiled["validate"] in run["evaluate"]
    assert len(set(compiled.values())) == 4

for count in counts:
    same(jax.devices()[:count])
    print(json.dumps({"the same on": count}))
jax.config.update("jax_enable_compilation_cache", False)
os._exit = lambda code: None
for request in requests:
    tpu_programs.main(json.dumps(request), "answer")
    print(open("answer").read())
tpu_programs.compile_program = lambda name, function, arguments: (
    function.trace(*arguments).lower(lowering_platforms=("tpu",)).as_text().count("stablehlo.convolution")
)
tpu_programs.main(json.dumps(lowered), "answer")
print(open("answer").read())
"""


@pytest.fixture(scope="module")
def answers(full, tmp_path_factory):
    """What one process says: of the engine's own programs, of requests that are refused or compiled, of `cnn`.

    One chip, bfloat16 and a batch that the chips cannot share evenly are compiled with --full."""
    folder = tmp_path_factory.mktemp("tpu")
    theirs = ("TPU_SKIP_MDS_QUERY", "TPU_LOG_DIR", "TMPDIR", "ALLOW_MULTIPLE_LIBTPU_LOAD")
    environment = {name: tpu_compile.environment(str(folder))[name] for name in theirs}
    half = ("--dataset=digits", "--precision=bfloat16")
    asked = [
        {**tpu_compile.request_of(options(*flags)), "topology": topology}
        for topology, *flags in (
            ("v9x:1x1",),
            ("v5e:1x1", "--replicas=2"),
            ("v5e:2x2",),
            ("v5e:2x2", "--model=cnn", *half),
        )
    ]
    counts = [1, 2] if full else [2]
    told = json.dumps([counts, asked[:-1], asked[-1]])
    (line,) = (line for line in tpu_compile.CHILD.splitlines() if line.startswith("from "))  # so that it is tried, too
    # Of the CPU's own programs only the text is compared; those for TPUs do not change with it.
    environment |= {} if full else {WITHOUT_XLA: "1"}
    done = run_code(f"{line}\n{QUESTIONS}", told, backend="jax", cwd=folder, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[: len(counts)] == [{"the same on": count} for count in counts]
    return found[len(counts) :]


@pytest.mark.slow
@compiles
def test_it_compiles_the_very_programs_that_the_engine_runs(answers):
    assert len(answers) == 4  # the process has compared them


@pytest.mark.slow
@compiles
def test_what_the_compiler_refuses(answers):
    assert [answer["error"] for answer in answers[:2]] == REFUSALS


@pytest.mark.slow
@compiles
def test_four_chips(answers):
    agrees(tpu_compile.row_of("v5e:2x2", answers[2], "float32"))


@pytest.mark.slow
@compiles
def test_a_network_of_convolutions_is_lowered(answers):
    """What JAX hands to the compiler; that the compiler takes it costs a minute, with --full."""
    assert answers[3]["parameters"] == 34_826 and answers[3]["chips"] == 4
    assert answers[3]["programs"]["predict"] == 2 < answers[3]["programs"]["train"]
