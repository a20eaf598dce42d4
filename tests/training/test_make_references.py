"""References are made of exactly what `train` gives, once for each seed, and checked with others."""

import dataclasses
import json
import re

import pytest

from mnist_mlp import devices
from mnist_mlp.checks import references as reference
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import PRESETS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.train import train_and_evaluate
from mnist_mlp.training import make_references

SMOKE = reference.find(PRESETS["smoke"], "digits")


def pretended(seed):
    """What a seed of the smoke preset might come to."""
    shift = 1 + 0.01 * ((seed * 7919) % 11 - 5)
    row = {"right": 345 + seed % 10, "total": 360, "test_loss": 0.1, "train_examples": 1437, "learning_rate": 0.001}
    row |= {"losses": [shift * epoch["mean"] for epoch in SMOKE.losses], "accuracies": [0.9] * 10}
    return row | {"backend": "tensorflow", "device": "CPU", "versions": {"keras": "3"}}


@pytest.fixture
def trained(monkeypatch):
    """The seeds that were trained, in a second without a network."""
    seeds = []

    def train(seed):
        seeds.append(seed)
        return pretended(seed)

    monkeypatch.setattr(make_references, "trainer", lambda config, plan, dataset: train)
    return seeds


def make(tmp_path, *flags):
    places = [f"--output={tmp_path / 'raw.jsonl'}", f"--references={tmp_path / 'references.json'}"]
    make_references.main(["--preset=smoke", "--backend=tensorflow", *places, *flags])


@pytest.mark.slow
@pytest.mark.xla(False)
@pytest.mark.parametrize("model", [pytest.param("mlp", marks=pytest.mark.full), "mlp_dropout"])
def test_a_row_is_what_train_comes_to(model, digits, tmp_path):
    config = Config(dataset="digits", model=model, epochs=2, strategy="cpu", backend="tensorflow")
    train = make_references.trainer(config, devices.plan(config), digits)
    other, row = train(3), train(4)  # on one compiled network, one after the other
    result = train_and_evaluate(dataclasses.replace(config, seed=4), tmp_path / "run", reporter=SILENT)
    assert row["losses"] == [epoch["loss"] for epoch in result.epochs] != other["losses"]
    assert row["accuracies"] == [epoch["accuracy"] for epoch in result.epochs]
    assert (row["right"], row["total"]) == (result.test["correct"], result.test["total"])
    assert (row["test_loss"], row["learning_rate"]) == (result.test["loss"], result.learning_rate)


def test_what_was_interrupted_goes_on(trained, tmp_path):
    make(tmp_path, "--seeds=100")
    assert trained == list(range(1000, 1100))
    raw = tmp_path / "raw.jsonl"
    lines = raw.read_text().splitlines()
    raw.write_text("\n".join(lines[:40]) + "\n" + lines[40][:100])  # as a killed process leaves it
    trained.clear()
    make(tmp_path, "--seeds=101")
    assert trained == list(range(1040, 1101))
    assert raw.read_text().splitlines()[:100] == lines
    (made,) = reference.read(tmp_path / "references.json")
    assert (made.seeds, made.first_seed, made.options) == (101, 1000, SMOKE.options)


def test_a_reference_says_how_it_was_made(trained, tmp_path):
    make(tmp_path, "--seeds=100", "--first_seed=2000")
    (made,) = reference.read(tmp_path / "references.json")
    command = "python -m mnist_mlp.training.make_references --dataset=digits --epochs=10 --seeds=100 --first_seed=2000"
    assert made.made["command"] == command
    assert made.right["mean"] == pytest.approx(349.5) and made.right["sd"] == pytest.approx(2.88675, rel=1e-3)
    assert made.right["quantiles"]["0"] == 345 and made.right["quantiles"]["1"] == 354
    assert made.losses[3]["mean"] == pytest.approx(SMOKE.losses[3]["mean"], rel=0.01)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made.made["date"])


def test_rows_of_other_options_or_backends_are_not_mixed_in(trained, tmp_path):
    make(tmp_path, "--seeds=100")
    raw = tmp_path / "raw.jsonl"
    rows = [json.loads(line) for line in raw.read_text().splitlines()]
    other = [{**row, "backend": "jax"} for row in rows[:50]]
    other += [{**row, "options": {**row["options"], "epochs": 9}} for row in rows[50:]]
    raw.write_text("".join(json.dumps(row) + "\n" for row in other))
    trained.clear()
    make(tmp_path, "--seeds=100")
    assert len(trained) == 100


def test_rows_of_other_versions_are_refused(trained, tmp_path):
    make(tmp_path, "--seeds=100")
    raw, references = tmp_path / "raw.jsonl", (tmp_path / "references.json").read_bytes()
    raw.write_text(raw.read_text().replace('{"keras": "3"}', '{"keras": "2"}'))
    before = raw.read_text()
    with pytest.raises(UserError, match=r"raw.jsonl: .* received keras 2 and 3 \(seeds 1000 and 1100\); use another"):
        make(tmp_path, "--seeds=101")
    assert raw.read_text() == before and (tmp_path / "references.json").read_bytes() == references
    make(tmp_path, "--seeds=100")  # all of one version


def test_what_cannot_be_trained_here_is_named(digits):
    config = Config(dataset="digits", engine="fit", validation_fraction=0.1, strategy="cpu")
    with pytest.raises(UserError, match=r"omit --engine=fit --validation_fraction=0.1$"):
        make_references.trainer(config, devices.plan(config), digits)


def test_check_counts_what_fails_and_changes_nothing(trained, tmp_path, capsys):
    make(tmp_path, "--seeds=100")
    before = (tmp_path / "references.json").read_bytes()
    make(tmp_path, "--seeds=20", "--check")
    assert trained[-20:] == list(range(5000, 5020))
    text = capsys.readouterr().out
    assert "20 seeds from 5000 compared with 100 from 1000; failed:" in text
    assert "at 5%: 0 = 0%" in text and "at 0.01%: 0 = 0%" in text and "detected in" in text
    assert (tmp_path / "references.json").read_bytes() == before


def test_a_check_sees_runs_that_are_worse(trained, tmp_path, capsys, monkeypatch):
    make(tmp_path, "--seeds=100")
    worse = lambda seed: {**pretended(seed), "right": 250}  # noqa: E731
    monkeypatch.setattr(make_references, "trainer", lambda config, plan, dataset: worse)
    make(tmp_path, "--seeds=20", "--check")
    assert "at 0.01%: 20 = 100% (too few right 20)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--seeds=99"], "--seeds=99: expected 100 or more"),
        (
            ["--seeds=100", "--first_seed=1099", "--check"],
            "--first_seed=1099: expected seeds other than the reference's, 1000 to 1099",
        ),
        (["--seeds=100", "--epoch=3"], "did you mean '--epochs'"),
    ],
)
def test_what_is_refused(flags, words, trained, tmp_path):
    make(tmp_path, "--seeds=100")
    with pytest.raises(UserError) as refused:
        make(tmp_path, *flags)
    assert words in str(refused.value)


def test_a_reference_takes_the_place_of_one_with_the_same_options(trained, tmp_path):
    file = tmp_path / "references.json"
    for seeds in (100, 120):
        make(tmp_path, f"--seeds={seeds}")
    plain = dataclasses.replace(SMOKE, options={**SMOKE.options, "epochs": 5})
    make_references.put(plain, file)
    there = reference.read(file)
    assert [(each.options["epochs"], each.seeds) for each in there] == [(5, SMOKE.seeds), (10, 120)]
