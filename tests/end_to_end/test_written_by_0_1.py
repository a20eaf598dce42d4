"""What version 0.1 wrote: runs, a study, an export and a parity reference are read, resumed and served.

The files are in `written_by_0_1`, whose README says how they were made. The programs are called by their names alone,
as a user does: wherever their modules are, this must hold. Bits depend on the processor, so numbers of 0.1 are compared
within `CLOSE`; each resumed run is compared with an uninterrupted run of this version.
"""

import csv
import json
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from helpers.fork_server import run
from helpers.once import once
from helpers.serving import serving

pytestmark = [pytest.mark.xla(False), pytest.mark.numerics]
slow = pytest.mark.slow

WRITTEN = Path(__file__).resolve().parent / "written_by_0_1"
FINISHED = {"tensorflow": "finished_tensorflow", "jax": "finished_jax"}
# The resumed runs train a network without kinks, where rounding could decide: over tens of steps the error grows to
# about ten unit roundoffs of float32; 168 are allowed. Of weights it is relative to the norm: Adam makes much of a
# gradient that is rounding alone.
CLOSE = 1e-5


def program(name, *argv, backend="tensorflow"):
    """`python -m mnist_mlp.NAME` on the CPU, which must end well; its standard output."""
    done = run(name, "--strategy=cpu", f"--backend={backend}", *argv, backend=backend)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copied(name, place):
    """A directory of 0.1 to be changed."""
    return Path(shutil.copytree(WRITTEN / name, place / name))


def read(file):
    return json.loads(file.read_text())


def table(text):
    return list(csv.reader(text.splitlines()))


def arrays(run_dir):
    """The variables and losses of the newest checkpoint, and how many steps were done."""
    file = max((run_dir / "checkpoints").iterdir())
    with np.load(file) as found:
        return {key: found[key] for key in found.files if key != "about"}, int(file.stem.partition("-")[2])


def numbers(rows):
    """The rows of a history, but for what differs from one machine to the next, as an array."""
    return np.array([[row[key] for key in sorted(row) if key != "seconds"] for row in rows])


def test_these_are_files_of_0_1_which_name_no_machine():
    versions = [read(WRITTEN / name / "result.json")["versions"] for name in (*FINISHED.values(), "study")]
    others = ("parity_softmax.json", "finished_jax/export/export.json")
    versions += [read(WRITTEN / name)["versions"] for name in others]
    assert {found["mnist_mlp"] for found in versions} == {"0.1.0"}
    files = [file for file in WRITTEN.rglob("*") if file.is_file()]
    assert all(file.stat().st_size < 1e6 for file in files) and sum(file.stat().st_size for file in files) < 2e6
    written = [file for file in files if file.suffix not in (".sh", ".md")]
    here = [str(directory).encode() + b"/" for directory in (tempfile.gettempdir(), Path.home(), ROOT)]
    for file in written:
        content = file.read_bytes()
        assert not [directory for directory in here if directory in content], file
        if file.suffix in (".json", ".jsonl", ".csv"):
            assert not re.search(rb'"/\w', content), file  # an absolute path


@slow
@pytest.mark.parametrize("backend", FINISHED)
def test_a_run_is_scored_to_the_same_counts(backend):
    run_dir = WRITTEN / FINISHED[backend]
    stored = read(run_dir / "result.json")
    found = json.loads(program("evaluate", f"--run_dir={run_dir}", "--json", backend=backend))
    assert stored.keys() - {"sha256"} == found.keys() - {"initial"}  # which is younger
    assert found["test"]["confusion"] == stored["test"]["confusion"]
    assert found["test"]["correct"] == stored["test"]["correct"] == np.trace(found["test"]["confusion"])
    assert found["test"]["loss"] == pytest.approx(stored["test"]["loss"], rel=CLOSE)


@slow
@pytest.mark.parametrize("backend, of", [("jax", "tensorflow"), ("tensorflow", "jax")])
def test_a_run_predicts_the_same_also_on_the_other_backend(backend, of):
    expected = table((WRITTEN / f"{FINISHED[of]}.csv").read_text())
    found = table(program("predict", f"--run_dir={WRITTEN / FINISHED[of]}", backend=backend))
    assert found[0] == expected[0] == ["input", "class", *(f"p{digit}" for digit in range(10))]
    assert [row[:2] for row in found] == [row[:2] for row in expected] and len(found) == 361
    one, other = (np.array([row[2:] for row in rows[1:]], float) for rows in (found, expected))
    np.testing.assert_allclose(one, other, atol=CLOSE)


# Resumed runs


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A function: the directory of the run that 0.1 could not finish, made by this version from its config.json."""

    def made(name, backend):
        flags = [f"--config={WRITTEN / name / 'config.json'}", "--checkpoint_every=0"]
        place = once(
            tmp_path_factory,
            f"straight-{name}",
            lambda place: program("train", *flags, f"--run_dir={place / 'run'}", backend=backend),
        )
        return place / "run"

    return made


@slow
@pytest.mark.parametrize(
    "name, first, then, step",
    [
        ("stopped_tensorflow", "tensorflow", "tensorflow", 40),
        ("killed_jax", "jax", "jax", 40),
        ("killed_jax", "jax", "tensorflow", 40),
    ],
)
def test_a_run_that_did_not_finish_is_gone_on_with(name, first, then, step, straight, tmp_path):
    run_dir = copied(name, tmp_path)
    (run_dir / ".mnist_mlp.lock").write_text("4711 on another-machine\n")  # of a process that was killed
    stored = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    said = program("train", f"--run_dir={run_dir}", "--resume", backend=then)
    result, whole = read(run_dir / "result.json"), straight(name, first)
    (resumed,) = result["resumed"]
    assert resumed["step"] == step and resumed["before"]["backend"] == first and resumed["passed_over"] == []
    assert resumed["before"]["mnist_mlp"] == "0.1.0" and f"resumed  at {step} of " in said
    assert ("now on backend" in said) == (first != then)
    assert result["epochs"][: len(stored)] == stored and len(stored) in (1, 2)  # the epochs of 0.1, with their seconds
    assert [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()] == result["epochs"]

    expected = read(whole / "result.json")
    assert expected["resumed"] == [] and len(result["epochs"]) == 3
    np.testing.assert_allclose(numbers(result["epochs"]), numbers(expected["epochs"]), rtol=CLOSE)
    assert result["test"]["loss"] == pytest.approx(expected["test"]["loss"], rel=CLOSE)
    assert abs(result["test"]["correct"] - expected["test"]["correct"]) <= 1
    (state, steps), (state_expected, steps_expected) = arrays(run_dir), arrays(whole)
    assert state.keys() == state_expected.keys() and steps == steps_expected == result["steps_per_epoch"] * 3
    for key, value in state_expected.items():
        assert np.linalg.norm(state[key] - value) <= CLOSE * np.linalg.norm(value), key
    if name == "stopped_tensorflow":
        rows = table((run_dir / "history.csv").read_text())
        assert [row[0] for row in rows[1:]] == ["0", "1", "2"]
        assert rows[:3] == table((WRITTEN / name / "history.csv").read_text())


@slow
def test_a_run_from_the_config_of_0_1_comes_to_what_0_1_came_to(straight):
    """The run that was killed is the one that 0.1 also made to its end."""
    expected = read(WRITTEN / "finished_jax" / "result.json")
    found = read(straight("killed_jax", "jax") / "result.json")
    np.testing.assert_allclose(numbers(found["epochs"]), numbers(expected["epochs"]), rtol=CLOSE)
    assert found["test"]["loss"] == pytest.approx(expected["test"]["loss"], rel=CLOSE)
    assert found["recipe"] == expected["recipe"] and found["layers"] == expected["layers"]


@slow
def test_a_run_that_is_done_is_not_trained_again(tmp_path):
    run_dir = copied("finished_jax", tmp_path)
    before, checkpoint = read(run_dir / "result.json"), arrays(run_dir)
    refused = run("train", f"--run_dir={run_dir}", "--dataset=digits", backend="jax")
    assert (
        refused.returncode == 2
        and "it holds a run; choose another one, or train it further: --resume" in refused.stderr
    )
    program("train", f"--run_dir={run_dir}", "--resume", backend="jax")
    result = read(run_dir / "result.json")
    assert result["epochs"] == before["epochs"] and result["test"]["confusion"] == before["test"]["confusion"]
    assert result["test"]["loss"] == pytest.approx(before["test"]["loss"], rel=CLOSE)
    assert result["resumed"][0]["step"] == result["resumed"][0]["of"] == 69 == arrays(run_dir)[1]
    for key, value in checkpoint[0].items():
        np.testing.assert_array_equal(arrays(run_dir)[0][key], value)


# Pages


@slow
def test_the_page_of_a_run_and_a_comparison_of_two(digits, tmp_path):
    runs = [copied(name, tmp_path) for name in FINISHED.values()]
    results = [read(run_dir / "result.json") for run_dir in runs]
    program("report", runs[0])
    page = (runs[0] / "report.html").read_text()
    assert "How sure" not in page  # neither a section nor a link to it: 0.1 did not measure it
    assert f"{results[0]['test']['correct']} of 360" in page and "0.1.0" in page

    output = tmp_path / "comparison.html"
    said = program("report", *runs, f"--output={output}")
    for run_dir, result in zip(runs, results, strict=True):
        row = next(line.split() for line in said.splitlines() if line.startswith(f"{run_dir.name} "))
        assert row[1] == f"{result['test']['accuracy']:.2%}" and f"{result['test']['loss']:.4f}" in row
    classes = [[int(row[1]) for row in table((WRITTEN / f"{run_dir.name}.csv").read_text())[1:]] for run_dir in runs]
    one, other = (np.array(found) == digits.test.labels for found in classes)
    alone = [str((one & ~other).sum()), str((other & ~one).sum())]
    (pair,) = [line for line in said.splitlines() if line.startswith("finished_tensorflow – finished_jax ")]
    assert pair.split()[3:5] == alone and "McNemar" in output.read_text()


# A study


def scores_of(study):
    """What is stored of each fold that was fitted, in that order."""
    with closing(sqlite3.connect(study / "study.sqlite3")) as connection:
        return connection.execute(
            "SELECT trial_id, key, value_json FROM trial_user_attributes ORDER BY 1, 2"
        ).fetchall()


@slow
def test_a_study_is_gone_on_with_and_no_trial_is_repeated(tmp_path):
    study = copied("study", tmp_path)
    (study / ".mnist_mlp.lock").write_text("4711 on another-machine\n")
    scores = scores_of(study)
    before, result_before = table((study / "trials.csv").read_text()), read(study / "result.json")
    result = json.loads(program("tune", f"--study_dir={study}", "--json"))
    after = table((study / "trials.csv").read_text())
    assert after[: len(before)] == before and len(before) == 5  # with the seconds that they took
    (new,) = after[len(before) :]
    row = dict(zip(after[0], new, strict=True))
    assert (row["method"], row["trial"], row["state"], row["folds"]) == ("tree", "2", "complete", "2")
    assert scores_of(study)[:-1] == scores and len(scores) == 9  # of the trial that was killed one fold is left to fit
    assert result["trials"] == 3 and result["chosen"] == result_before["chosen"]
    assert result["looks"] == result_before["looks"] and result["test"] == result_before["test"]
    assert read(study / "result.json").items() >= result.items()


@slow
def test_train_takes_what_a_study_chose(tmp_path):
    study = read(WRITTEN / "study" / "result.json")
    flags = [f"--config={WRITTEN / 'study' / 'best.json'}", f"--run_dir={tmp_path / 'run'}", "--json"]
    result = json.loads(program("train", *flags))
    assert study["chosen"] == study["best_network"] and study["chosen"]["method"] == result["model"] == "softmax"
    assert len(result["epochs"]) == study["chosen"]["values"]["epochs"]
    assert result["test"]["loss"] == pytest.approx(study["test"]["loss"], rel=CLOSE)
    assert result["test"]["correct"] == study["test"]["correct"]


# Parity, exports, a server


@slow
def test_a_parity_reference_is_accepted(tmp_path):
    stored, file = read(WRITTEN / "parity_softmax.json"), tmp_path / "certificate.json"
    flags = [f"--against={WRITTEN / 'parity_softmax.npz'}", f"--certificate={file}", "--json"]
    found = json.loads(program("parity", *flags, backend="jax"))
    assert found["verdict"] == stored["verdict"] == "agrees" and found["problem"] == stored["problem"]
    names = [row["quantity"].replace("right answers", "correct predictions") for row in stored["quantities"]]
    assert [row["quantity"] for row in found["quantities"]] == names
    assert found["quantities"][0]["expected"] == stored["quantities"][0]["received"]  # what 0.1's device computed
    assert found.keys() | {"sha256"} == stored.keys() and read(file).keys() == stored.keys()
    assert found["against"]["versions"]["mnist_mlp"] == "0.1.0" and found["against"]["backend"] == "tensorflow"


@slow
def test_an_export_is_added_to(tmp_path):
    run_dir = copied("finished_jax", tmp_path)
    place = run_dir / "export"
    before = {row["format"]: row for row in read(place / "export.json")["formats"]}
    with np.load(place / "weights.npz") as found:
        weights = dict(found)
    (place / "weights.npz").write_bytes(b"to be replaced")
    found = json.loads(program("export", f"--run_dir={run_dir}", "--format=weights", "--json"))
    after = {row["format"]: row for row in found["formats"]}
    assert list(after) == list(before) == ["saved_model", "onnx", "litert", "keras", "weights"]
    assert {name for name in before if after[name] != before[name]} == {"weights"}
    for name in ("saved_model/saved_model.pb", "model.onnx", "model.tflite", "model.keras"):
        assert (place / name).read_bytes() == (WRITTEN / "finished_jax" / "export" / name).read_bytes()
    with np.load(place / "weights.npz") as now:
        assert now.files == list(weights) and all(np.array_equal(now[key], weights[key]) for key in weights)
    assert after["weights"]["agreements"] == after["weights"]["total"] == 360
    assert after["weights"]["outputs"] == ["probabilities"] and "outputs" not in after["litert"]


@slow
def test_a_run_is_served():
    run_dir = WRITTEN / "finished_tensorflow"
    rows = table((WRITTEN / "finished_tensorflow.csv").read_text())[1:]
    with serving(f"--run_dir={run_dir}") as server:
        examples = json.loads(server.get("/page/examples"))["examples"]
        images = [one["image"] for one in examples]
        found = server.post("/v1/models/mnist:predict", {"instances": images})["predictions"]
        health = json.loads(server.get("/healthz"))
    assert [one["label"] for one in examples] == list(range(10))
    expected = np.array([rows[one["index"]][2:] for one in examples], float)
    np.testing.assert_allclose(found, expected, atol=CLOSE)
    assert health["status"] == "ok" and "mlp" in health.values() and health["backend"] == "tensorflow"
