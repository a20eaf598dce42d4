"""The benchmark: its arithmetic on known figures, every measure from end to end on a few images, every rival."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from helpers.fork_server import start_code

from mnist_mlp.config import PRESETS
from mnist_mlp.devices.machine import Machine
from mnist_mlp.errors import UserError

sys.path.insert(0, str(ROOT / "scripts"))
import benchmark
from measures import goals, process, programs, running, startup, steps, tables
from measures.programs import PROGRAMS, Asked

TRAINED = {"import": 2.0, "load": 0.5, "compile": 1.0, "train": 3.0, "evaluate": 0.25}
DONE = running.Done(seconds=8.0, cpu_seconds=12.0, memory_mb=500.0, lines=[])


def ended(said):
    """A process that printed that last."""
    return running.Done(8.0, 12.0, 500.0, [(1.0, "a line before"), (7.5, json.dumps(said))])


def series(program, *, about=None, **columns):
    """A series whose runs have these figures."""
    runs = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return {"program": program, **(about or {}), "runs": runs}


def cells(table, row):
    """The cells of a row of a Markdown table, by how it begins."""
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_taken_round_by_round():
    # Of the medians it would be 20 / 4 = 5, and in order of size 10, 5, 6.
    assert tables.ratios([60, 10, 20], [4, 1, 10]) == [15, 10, 2]
    assert tables.spread([10, 5, 6]) == "6.00 (5.00–10.00)"
    assert tables.spread([0.5], "s") == "0.50 s"
    assert tables.spread([]) == "–"


@pytest.mark.parametrize("cases", [1, 2, 3, 5])
def test_each_program_runs_once_a_round_and_in_each_place_equally_often(cases):
    orders = [running.order_of_round(cases, number) for number in range(2 * cases)]
    assert all(sorted(order) == list(range(cases)) for order in orders)
    for place in range(cases):
        assert sorted(order[place] for order in orders) == sorted([*range(cases)] * 2)
    assert all(order != following for order, following in zip(orders, orders[1:], strict=False)) or cases < 3


def test_a_steady_step_leaves_out_the_first_epoch():
    said = {"seconds": TRAINED, "epochs": [{"seconds": s} for s in (9.0, 0.2, 0.4, 0.3)], "steps_per_epoch": 1000}
    said |= {"test": {"accuracy": 0.97}}
    found = programs.our_figures(ended(said))
    assert (found["step"], found["calls"]) == (pytest.approx(300), pytest.approx(300))
    assert found["rest"] == pytest.approx(8.0 - 6.75)
    assert (found["process"], found["cpu"], found["memory"], found["accuracy"]) == (8.0, 12.0, 500.0, 0.97)
    found = programs.our_figures(ended(said | {"whole_epochs": [9.0, 0.5, 0.5, 0.5]}))
    assert (found["step"], found["calls"]) == (pytest.approx(500), pytest.approx(300))


def test_what_a_rival_compiles_in_its_first_epoch_is_no_training():
    said = {"seconds": TRAINED, "epochs": [2.0, 0.5, 0.5], "compiles": True, "steps_per_epoch": 100, "accuracy": 0.9}
    found = programs.rival_figures(ended(said), 3)
    assert (found["compile"], found["train"], found["step"]) == (2.5, 1.5, 5000)
    assert sum(found[stage] for stage in process.STAGES) == pytest.approx(found["process"])
    found = programs.rival_figures(ended(said | {"compiles": False}), 3)
    assert (found["compile"], found["train"], found["step"]) == (1.0, 3.0, 5000)
    found = programs.rival_figures(ended(said | {"epochs": []}), 3)  # all epochs in one call
    assert (found["train"], found["step"]) == (3.0, 10_000)
    assert "accuracy" not in programs.rival_figures(ended(said | {"accuracy": None}), 3)


def test_a_step_is_held_against_the_lower_floor_of_its_round():
    found = [
        series("ours", step=[100.0, 110.0], calls=[90.0, 100.0]),
        series("plain", step=[1000.0, 2200.0]),
        series("floor", step=[50.0, 500.0]),
        series("floor-1", step=[80.0, 100.0]),
    ]
    table = steps.step_table(found)
    assert cells(table, "Model.fit")[3] == "15.00 (10.00–20.00)"
    assert cells(table, "ours on TensorFlow")[1:3] == ["105.0 µs (100.0–110.0)", "95.0 µs (90.0–100.0)"]
    assert "ours on TensorFlow 1.55 (1.10–2.00), its compiled calls 1.40 (1.00–1.80)" in table


def test_tables_of_what_is_varied():
    batches = [series("ours", about={"batch_size": size}, step=[size * 2.0]) for size in (32, 64)]
    assert cells(steps.batch_table(batches), "64") == ["64", "128.0 µs", "500,000"]
    data = [series("ours-jax", about={"times": times}, epoch=[0.5 * times]) for times in (1, 16)]
    assert cells(steps.data_table(data), "ours on JAX | ×16")[2:] == ["8.00 s", "16.00"]
    split = [series("ours", about={"replicas": n}, step=[100.0 / n]) for n in (1, 2)]
    assert cells(steps.replicas_table(split), "ours on TensorFlow | 2")[2:] == ["50.0 µs", "0.50"]


@pytest.mark.parametrize("right, verdict", [(95, "95 of 100, enough"), (94, "94 of 100, too few")])
def test_a_goal_counts_the_seeds_that_reach_it(right, verdict):
    accuracies = [0.98] * right + [0.9799] * (100 - right)  # exactly so many images right is reached
    table = goals.table("to98", [series("ours", accuracy=accuracies, process=[3.0] * 100, train=[0.7] * 100)])
    assert cells(table, "ours on TensorFlow")[1] == verdict


def test_a_goal_says_when_its_preset_is_not_there(monkeypatch):
    monkeypatch.delitem(PRESETS, "speedrun", raising=False)
    with pytest.raises(UserError, match="to98: this version has no preset speedrun, only default, "):
        benchmark.read(["to98", "--data_dir=somewhere"])


def test_a_goal_is_of_real_mnist():
    with pytest.raises(UserError, match="to99: expected MNIST, received random images; use --data_dir=DIR"):
        benchmark.read(["to99", "--data_dir="])


def test_the_first_step_is_when_the_first_epoch_began():
    done = running.Done(6.0, 1.0, 1.0, [(0.1, "data …"), (5.0, "epoch 1/1   loss …"), (5.5, "test …")])
    found = startup.began(done, {"epochs": [{"seconds": 1.5}], "seconds": {"import": 2.0, "load": 0.1, "compile": 1.0}})
    assert (found["first_step"], found["process"], found["import"]) == (3.5, 6.0, 2.0)


def test_programs_get_no_settings_of_a_persons_own(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("XLA_FLAGS", "--none")
    found = running.environment({"KERAS_BACKEND": "jax"})
    assert found["KERAS_BACKEND"] == "jax" and not {"OMP_NUM_THREADS", "XLA_FLAGS"} & found.keys()
    assert found["PATH"]


@pytest.mark.slow
def test_a_process_is_measured_from_outside():
    """By one that is small, as the benchmark is: what this one has would count."""
    code = "import time; print('here', flush=True); x = bytearray(b'1') * 300_000_000; time.sleep(0.3); print('end')"
    small = """
import dataclasses, json, sys
from measures.running import run
print(json.dumps(dataclasses.asdict(run([sys.executable, "-c", sys.argv[1]], {}))))
"""
    environ = os.environ | {"PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT}"}
    said = subprocess.run([sys.executable, "-c", small, code], env=environ, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    done = running.Done(**json.loads(said.stdout))
    (here, first), (end, last) = done.lines
    assert (first, last) == ("here", "end")
    assert end - here >= 0.3 and done.seconds >= end
    assert 300 < done.memory_mb < 400
    with pytest.raises(UserError, match="failed with exit code 3: so it is"):
        running.run(["sh", "-c", "echo so it is >&2; exit 3"], {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv, words",
    [
        (["proces"], "expected measures of process, .*; received 'proces'; did you mean 'process'"),
        (["--runs=0"], "--runs=0: expected 1 or more"),
        (["--runs=x"], "--runs: invalid int value"),
        (["--strategy=gpus"], "--strategy=gpus: expected cpu, gpu, tpu, auto; did you mean 'gpu'"),
        (["--programs", "pytorhc"], "received 'pytorhc'; did you mean 'pytorch'"),
        (["step", "--figure=a.svg"], "--figure shows the measure process"),
        (["--figure=a.gif"], "expected a name that ends in"),
        (["--json=nowhere/a.json"], "--json=nowhere/a.json: expected a file in a directory"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(argv, words):
    with pytest.raises(UserError, match=words):
        benchmark.read(argv)


GPU = Machine(
    gpus=2,
    cuda_libraries=True,
    installed=dict.fromkeys(("jax", "jaxlib", "jax-cuda12-plugin"), "0.10.2")
    | {"tensorflow": "2.21.0", "keras": "3.15.1"},
)


@pytest.fixture
def with_gpus(monkeypatch):
    """A machine that seems to have two GPUs, and all programs but PyTorch. Those of a measure answer at once, as if
    they had run on what `place` says; how they were started is recorded."""

    def begin(place="GPU: NVIDIA L4"):
        commands = []

        def run(command, own):
            commands.append((command, running.environment(own)))
            said = {"seconds": TRAINED, "steps_per_epoch": 9, "test": {"accuracy": 0.98}, "accuracy": 0.98}
            ours = any("--run_dir=" in word for word in command)
            epochs = [{"seconds": 1.0}] * 2 if ours else [1.0, 1.0]
            return ended(said | {"epochs": epochs, "compiles": False, "device": {"actual": place} if ours else place})

        for module in (benchmark, programs):
            monkeypatch.setattr(module, "detect", lambda: GPU)
        monkeypatch.setattr(programs, "not_installed", lambda program: "torch" if program.name == "pytorch" else "")
        monkeypatch.setattr(programs, "run", run)
        monkeypatch.setattr(benchmark, "make_npz", lambda data_dir, directory: directory / "mnist.npz")
        return commands

    return begin


def started(commands):
    """How ours were started; and of each rival, by its file, the device that it was asked for, and its environment."""
    ours = [command for command, _ in commands if any("--run_dir=" in word for word in command)]
    rivals = {Path(command[1]).stem: (command[-1], environ) for command, environ in commands if command not in ours}
    return ours, rivals


def test_without_a_strategy_all_is_measured_on_the_cpu(with_gpus, capsys):
    commands = with_gpus("CPU: AMD EPYC, 2 cores")
    benchmark.main(["step", "--runs=1", "--data_dir="])
    ours, rivals = started(commands)
    assert {environ["CUDA_VISIBLE_DEVICES"] for _, environ in commands} == {"-1"}
    assert len(ours) == 2 and all("--strategy=cpu" in command for command in ours)
    assert set(rivals) == {"plain_fit", "scikit_learn", "jax_by_hand", "floor"}
    assert {device for device, _ in rivals.values()} == {"cpu"}
    assert rivals["jax_by_hand"][1]["JAX_PLATFORMS"] == "cpu"
    assert capsys.readouterr().out.startswith(
        "## step: random images of MNIST's shape, preset default, batch 32, 5 epochs, CPU, n = 1 processes of each "
    )


@pytest.mark.parametrize("strategy", ["gpu", "auto"])
def test_on_a_gpu_all_programs_that_can_use_it_do(strategy, with_gpus, tmp_path, capsys):
    commands, file = with_gpus(), tmp_path / "found.json"
    benchmark.main(["step", "--runs=1", "--data_dir=", f"--strategy={strategy}", f"--json={file}"])
    ours, rivals = started(commands)
    assert {environ["CUDA_VISIBLE_DEVICES"] for _, environ in commands} == {"0,1"}
    assert len(ours) == 2 and all("--strategy=gpu" in command for command in ours)
    assert {name: device for name, (device, _) in rivals.items()} == {"plain_fit": "gpu", "jax_by_hand": "gpu"}
    assert rivals["jax_by_hand"][1]["JAX_PLATFORMS"] == "cuda"
    told, found = capsys.readouterr().out, json.loads(file.read_text())
    assert "batch 32, 5 epochs, GPU (NVIDIA L4), n = 1 processes" in told.splitlines()[0]
    for name in ("scikit-learn", "floor", "floor-1", "ours-first", "ours-jax-first"):
        assert f"\nskipped {name}: does not run on a GPU" in told
    assert found["device"] == "gpu" and "GPU (NVIDIA L4)" in found["measures"]["step"]["about"]
    assert "2 GPUs are visible, only one of them is used" in found["notes"][0] and found["notes"][0] in told


def test_a_program_that_ran_elsewhere_is_not_measured(with_gpus):
    with_gpus("CPU: AMD EPYC, 2 cores")
    with pytest.raises(
        UserError, match="^ours ran on CPU: AMD EPYC, 2 cores instead of a GPU; omit it from --programs"
    ):
        benchmark.main(["step", "--runs=1", "--data_dir=", "--strategy=gpu", "--programs", "ours"])


def test_what_is_not_there_for_a_gpu_is_left_out(with_gpus, monkeypatch):
    with_gpus()
    monkeypatch.setattr(programs, "detect", lambda: Machine(gpus=1, installed=dict(GPU.installed)))  # no cuDNN
    assert "TensorFlow" in programs.missing(PROGRAMS["plain"], "gpu")
    assert programs.missing(PROGRAMS["jax-by-hand"], "gpu") == programs.missing(PROGRAMS["plain"], "cpu") == ""
    assert programs.missing(PROGRAMS["plain"], "tpu") == "does not run on a TPU"
    with pytest.raises(UserError, match="at least one of floor that is installed here and runs on a GPU"):
        Asked(Path(), False, Path(), programs=["floor"], device="gpu").chosen(["floor"])


def test_replicas_need_as_many_gpus(with_gpus, monkeypatch):
    with_gpus()
    assert benchmark.read(["replicas", "--strategy=gpu", "--data_dir="]).device == "gpu"
    monkeypatch.setattr(benchmark, "detect", lambda: dataclasses.replace(GPU, gpus=1))
    with pytest.raises(UserError, match="--replicas=2: expected at most the 1 visible GPUs"):
        benchmark.read(["replicas", "--strategy=gpu", "--data_dir="])


@pytest.mark.slow
def test_errors_are_one_line():
    command = [sys.executable, ROOT / "scripts/benchmark.py", "--data_dir=nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("error: ") and "nowhere" in done.stderr


def test_what_is_not_installed_is_left_out(monkeypatch, tmp_path):
    asked = Asked(tmp_path / "mnist.npz", False, tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else True)
    assert "pytorch" not in [program.name for program in asked.chosen(tuple(PROGRAMS))]
    assert programs.missing(PROGRAMS["pytorch"]) == "torch is not installed"
    with pytest.raises(UserError, match="at least one of ours, ours-jax that is installed"):
        Asked(tmp_path, False, tmp_path, programs=["pytorch"]).chosen(steps.OURS)


def test_the_picture_shows_each_program_in_its_parts(tmp_path):
    pytest.importorskip("matplotlib")
    stages = {stage: [1.0, 2.0] for stage in process.STAGES}
    found = [series(name, process=[6.0, 12.0], **stages) for name in ("ours", "plain")]
    process.draw(found, ["what", "where"], tmp_path / "process.svg")
    assert (tmp_path / "process.svg").stat().st_size > 5000


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A file with few images of MNIST's shape: each digit is one picture with noise, so that it can be learned."""
    random = np.random.default_rng(0)
    pictures, arrays = random.integers(0, 200, (10, 28, 28)), {}
    for name, n in (("train", 1600), ("test", 200)):
        labels = random.integers(0, 10, n).astype(np.uint8)
        images = pictures[labels] + random.integers(0, 56, (n, 28, 28))
        arrays |= {f"x_{name}": images.astype(np.uint8), f"y_{name}": labels}
    path = tmp_path_factory.mktemp("few") / "mnist.npz"
    np.savez(path, **arrays)
    return path


MODULE = "import runpy, sys; del sys.argv[0]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
SCRIPT = "import runpy, sys; del sys.argv[0]; sys.path[0] = sys.argv[0].rpartition('/')[0]; "
SCRIPT += "runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.fixture
def forked(monkeypatch):
    """The programs of a measure run in processes forked from one that has imported their framework.

    What is asked for again, but for the place of the run, is not run again.
    """
    known = {}

    def run(command, own):
        place = [Path(word.partition("=")[2], "result.json") for word in command if word.startswith("--run_dir=")]
        asked = tuple(word for word in command if not word.startswith("--run_dir="))
        if asked not in known:
            known[asked] = run_once(*command[1:], own=own), [file.read_text() for file in place]
        done, results = known[asked]
        for file, result in zip(place, results, strict=True):
            file.write_text(result)
        return done

    def run_once(first, *words, own):
        words = {"-c": words, "-m": (MODULE, *words)}.get(first, (SCRIPT, first, *words))
        named = [word.removeprefix("--backend=") for word in words if word.startswith("--backend=")]
        backend = [*named, own.get("KERAS_BACKEND"), *["jax"] * (own.get("JAX_PLATFORMS") == "cpu"), None][0]
        began = time.perf_counter()
        with start_code(*words, backend=backend, env=os.environ | own, stdout=subprocess.PIPE) as process:
            lines = [(time.perf_counter() - began, line.rstrip("\n")) for line in process.stdout]
        assert process.returncode == 0
        return running.Done(time.perf_counter() - began, 1.0, 1.0, lines)

    for module in (programs, startup):
        monkeypatch.setattr(module, "run", run)


def check_rival(found, program):
    assert found["step"] == pytest.approx(1e6 * found["epoch"] / 50)
    assert all(found[stage] >= 0 for stage in process.STAGES)
    assert sum(found[stage] for stage in process.STAGES) == pytest.approx(found["process"])
    if program.trains:
        assert found["accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.full] * (name == "jax-by-hand"))
        for name, program in PROGRAMS.items()
        if program.file and name != "plain"
    ],
)
def test_a_rival_trains_and_tells(name, few, tmp_path, forked):
    """The lecture's own program does so beside ours, below."""
    if why := programs.missing(PROGRAMS[name]):
        pytest.skip(why)
    check_rival(programs.run_rival(PROGRAMS[name], Asked(few, False, tmp_path, epochs=3)), PROGRAMS[name])


def measured(name, options, few, file, monkeypatch, capsys):
    """What a measure of one round prints, and its series in the file that it writes."""
    monkeypatch.setattr(benchmark, "make_npz", lambda data_dir, directory: few)
    benchmark.main([name, "--runs=1", f"--json={file}", *options])
    told = json.loads(file.read_text())
    (about,) = told["measures"].values()
    assert {"command", "date", "processor", "platform", "versions", "left_out"} < told.keys()
    assert {"about", "load_at_start", "load_at_end"} < about.keys()
    assert all(run["process"] > 0 for each in about["series"] for run in each["runs"])
    return capsys.readouterr().out, about["series"]


@pytest.mark.full
def test_the_measures_from_end_to_end(few, tmp_path, monkeypatch, capsys, forked):
    """Of ours on JAX, whose processes are the quicker ones, beside a floor where there is one."""
    if why := programs.missing(PROGRAMS["ours-jax"]):
        pytest.skip(why)
    monkeypatch.setattr(steps, "BATCH_SIZES", (32,))
    monkeypatch.setattr(steps, "TIMES", (1, 2))
    options = ["--epochs=2", "--data_dir=", "--programs", "ours-jax", "floor-1"]
    for name in (name for name in benchmark.MEASURES if name not in ("process", *goals.GOALS)):
        told, series = measured(name, options, few, tmp_path / f"{name}.json", monkeypatch, capsys)
        assert told.startswith(f"## {name}: random images of MNIST's shape, ")
        ours = [each for each in series if each["program"] == "ours-jax"]
        assert ours
        if name == "startup":
            (run,) = ours[0]["runs"]
            assert run["import"] + run["load"] + run["compile"] < run["first_step"] < run["process"]
        if name == "data":
            once, twice = (each["runs"][0] for each in ours)
            assert twice["epoch"] / twice["step"] == pytest.approx(2 * once["epoch"] / once["step"])  # twice the steps


@pytest.mark.full
def test_on_tensorflow_beside_the_lectures_program(few, tmp_path, monkeypatch, capsys, forked):
    options = ["--epochs=3", "--data_dir=", "--preset=lecture", "--programs", "ours", "plain"]
    told, series = measured("process", options, few, tmp_path / "found.json", monkeypatch, capsys)
    assert told.startswith("## process: random images of MNIST's shape, preset lecture, batch 32, 3 epochs, CPU, n = 1")
    assert "\n| Model.fit | " in told and "\n| ours on TensorFlow | " in told
    check_rival(series[1]["runs"][0], PROGRAMS["plain"])


def test_the_way_to_a_goal(few, tmp_path, monkeypatch, capsys):
    """Which program runs, and what is made of its answer; the program itself: see the next one."""
    if why := programs.missing(PROGRAMS["ours-jax"]):
        pytest.skip(why)
    asked = []

    def run(command, own):
        asked.append(command)
        said = {"seconds": TRAINED, "epochs": [{"seconds": 1.0}], "steps_per_epoch": 9}
        return ended(said | {"test": {"accuracy": 0.98 if "--seed=1" in command else 0.99}})

    monkeypatch.setattr(programs, "run", run)
    options = ["--seeds=2", "--programs", "ours-jax", f"--data_dir={few.parent}"]
    told, series = measured("to99", options, few, tmp_path / "found.json", monkeypatch, capsys)
    assert "1 of 2, too few" in told
    assert [run["accuracy"] for run in series[0]["runs"]] == [0.99, 0.98]
    flags = ["-m", "mnist_mlp.train", "--dataset=mnist", f"--data_dir={few.parent}", "--preset=best", "--epochs=20"]
    assert all(command[1:7] == flags and "--backend=jax" in command for command in asked)
    assert [word for command in asked for word in command if "seed" in word] == ["--seed=0", "--seed=0", "--seed=1"]


@pytest.mark.full
def test_to98(mnist_dir, tmp_path, capsys):
    if why := programs.missing(PROGRAMS["ours-jax"]):
        pytest.skip(why)
    file = tmp_path / "found.json"
    benchmark.main(["to98", "--seeds=1", "--programs", "ours-jax", f"--data_dir={mnist_dir}", f"--json={file}"])
    (about,) = json.loads(file.read_text())["measures"].values()
    (run,) = about["series"][0]["runs"]
    assert 0.975 < run["accuracy"] < 0.987
    assert "of 1, " in capsys.readouterr().out
