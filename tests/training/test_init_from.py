"""A run that starts from the weights of a finished one: what is copied, scored before and after, kept and refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from helpers.once import once
from helpers.programs import program, refused

from mnist_mlp.checks import references
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.data import Dataset, Split
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import read_json, write_json
from mnist_mlp.runs import summary
from mnist_mlp.runs.result import Result
from mnist_mlp.runs.saved import read_run
from mnist_mlp.train import config_of, train_and_evaluate
from mnist_mlp.training import loop

pytestmark = pytest.mark.xla(False)

FIRST = Config(dataset="digits", model="mlp_dropout", units="16", epochs=8, batch_size=32, strategy="cpu")


def run(config, path, **more):
    return train_and_evaluate(config, path, reporter=SILENT, **more)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return once(tmp_path_factory, "init-from", lambda path: run(FIRST, path / "run")) / "run"


@pytest.fixture
def turned(digits):
    """Another data set with the same labels: every image upside down, named after nothing that is known."""
    train, test = (Split(part.images[:300, ::-1], part.labels[:300]) for part in (digits.train, digits.test))
    return Dataset("turned", "the digits upside down", train, test, notes=(), verified=False)


def weights(path):
    return {name: value for name, value in np.load(path).items() if name.startswith("model/") and "seed" not in name}


@pytest.mark.slow
def test_without_a_step_it_is_the_other_network_and_forgets_nothing(first, turned, tmp_path):
    config = dataclasses.replace(FIRST, init_from=str(first), epochs=0, seed=7)
    result = run(config, tmp_path / "run", dataset=turned)
    _, _, source = read_run(str(first))
    newest = max((first / "checkpoints").iterdir())
    for name, value in weights(tmp_path / "run/checkpoints/step-000000000.npz").items():
        np.testing.assert_array_equal(value, weights(newest)[name], err_msg=name)
    facts = result.initial
    assert facts["model_sha256"] == source.model_sha256 and facts["dataset"] == "digits" and facts["notes"] == []
    assert facts["test"] == facts["after"] == {key: source.test[key] for key in facts["test"]}
    assert facts["before"]["correct"] == result.test["correct"] < 0.6 * 300
    assert Result.from_dict(json.loads(json.dumps(result.to_dict()))).initial == facts


@pytest.mark.slow
def test_what_is_forgotten_is_measured_and_a_resumed_run_ends_the_same(first, turned, tmp_path, monkeypatch):
    source = tmp_path / "source"  # which is gone when the run is resumed
    shutil.copytree(first, source)
    config = dataclasses.replace(FIRST, init_from=str(source), epochs=8, learning_rate=0.01)
    straight = run(config, tmp_path / "straight", dataset=turned)
    facts = straight.initial
    assert straight.test["correct"] > facts["before"]["correct"] + 30
    assert facts["after"]["correct"] < facts["test"]["correct"] - 30
    lines = summary.closing(straight, "runs/x").splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.startswith("before ")]
    assert f"{facts['before']['correct']} of 300 correct" in lines[at] and str(source) in lines[at]
    old, new = facts["test"]["correct"], facts["after"]["correct"]
    assert lines[at + 1].strip().startswith(f"digits: {new} of 360 correct") and f"before: {old} = " in lines[at + 1]
    assert "Before training, with the weights of" in (tmp_path / "straight/report.html").read_text()

    class Stop(Exception):
        pass

    call, calls = loop.Training.call, []

    def stopping(self, order):
        if len(calls) == 3:
            raise Stop
        calls.append(1)
        call(self, order)

    monkeypatch.setattr(loop.Training, "call", stopping)
    with pytest.raises(Stop):
        run(config, tmp_path / "parts", dataset=turned)
    monkeypatch.setattr(loop.Training, "call", call)
    shutil.rmtree(source)
    resumed = run(dataclasses.replace(config, resume=True), tmp_path / "parts", dataset=turned)
    assert resumed.model_sha256 == straight.model_sha256 and resumed.initial == facts and len(resumed.resumed) == 1


@pytest.mark.slow
def test_the_same_data_set_is_scored_once_and_an_old_one_that_is_gone_is_said(first, turned, tmp_path):
    config = dataclasses.replace(FIRST, init_from=str(first), epochs=0)
    same = run(config, tmp_path / "same").initial
    assert "after" not in same and same["notes"] == [] and same["before"] == same["test"]
    lost = shutil.copytree(first, tmp_path / "lost")
    write_json(lost / "config.json", FIRST.to_dict() | {"dataset": "mnist", "data_dir": "/nowhere"})
    result = read_json(lost / "result.json")
    write_json(lost / "result.json", result | {"dataset": result["dataset"] | {"name": "mnist"}})
    facts = run(dataclasses.replace(config, init_from=str(lost)), tmp_path / "run", dataset=turned).initial
    assert "after" not in facts and "cannot be measured: --data_dir=/nowhere" in facts["notes"][0]


def test_the_network_is_that_of_the_run_and_no_other(first, tmp_path):
    config = config_of({"init_from": str(first), "preset": "lecture", "dataset": "digits"})
    assert (config.model, config.units, config.pixels) == ("mlp_dropout", "16", "unit")
    other = config_of({"init_from": str(first), "pixels": "raw", "units": "8", "dataset": "digits", "strategy": "cpu"})
    said = "expected the network of that run, --units=16, --pixels=unit, received --units=8, --pixels=raw; omit it"
    with pytest.raises(UserError, match=said):
        run(other, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"--init_from=\S+: expected the directory of a finished run, found no such"):
        config_of({"init_from": str(tmp_path / "absent")})


def test_the_gate_has_no_reference_for_it(first):
    with pytest.raises(UserError, match="--init_from"):
        references.find(config_of({"init_from": str(first), "preset": "smoke", "model": "mlp_dropout"}), "digits")


@pytest.mark.slow
def test_from_the_command_line_where_the_directory_is_relative(first, tmp_path, monkeypatch):
    monkeypatch.chdir(first.parent)
    flags = ["--dataset=digits", "--epochs=1", "--strategy=cpu", f"--run_dir={tmp_path / 'run'}", "--json"]
    done = program("train", "--init_from=run", *flags, blocked=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["initial"]["run"] == "run"
    assert json.loads((tmp_path / "run/config.json").read_text())["init_from"] == str(first.parent / "run")
    refused(program("train", "--init_from=run/model.keras"), "try its directory, run")
