"""The gate: its statistics beside integrals and simulation, its verdicts, its refusals, and whole runs that fail it."""

import contextlib
import dataclasses
import json
import math
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import scipy
from helpers.fork_server import run, run_code
from helpers.once import once
from helpers.programs import Collector

from mnist_mlp import train
from mnist_mlp.checks import gate, references
from mnist_mlp.checks.gate import FEW, HIGH, LOW, MANY, OTHER_DATA, OTHER_EPOCHS, Gate
from mnist_mlp.checks.references import find
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import FREE, MODELS, PRESETS, Config
from mnist_mlp.data import Split
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.evaluate import command as evaluate
from mnist_mlp.files.atomic import read_json, write_json
from mnist_mlp.runs import summary
from mnist_mlp.stats import student_t
from mnist_mlp.stats.tails import Side, Spread

pytestmark = pytest.mark.numerics

SMOKE = find(PRESETS["smoke"], "digits")
PARTS = ("images", "labels")
EXPECTED = [epoch["mean"] for epoch in SMOKE.losses]


def judged(correct=350, losses=EXPECTED, false_alarms=1e-4, train_examples=1437):
    return Gate(SMOKE, false_alarms).verdict(correct, losses, train_examples)


def area_below(angle, df):
    """∫₀^angle sin^(df−1) φ dφ by Gauss' quadrature, on pieces that get finer towards both ends."""
    finer = 2.0 ** np.arange(-50, 0)
    ends = angle * np.concatenate([[0], finer, (1 - finer)[::-1], [1]])
    nodes, weights = np.polynomial.legendre.leggauss(20)
    low, half = ends[:-1, None], np.diff(ends)[:, None] / 2
    phi = low + half * (1 + nodes)
    near_half = np.log1p(-(np.minimum(np.cos(phi), 0.9) ** 2)) / 2  # where the sine is 1 to the last bits
    log_sine = np.where(phi < 0.8, np.log(np.sin(phi)), near_half)
    return float((half * weights * np.exp((df - 1) * log_sine)).sum())


def tail_by_definition(t, df):
    """P(T ≥ t), the integral of the density (1 + x²/df)^(−(df+1)/2), in which x = √df cot φ."""
    if t < 0:
        return 1 - tail_by_definition(-t, df)
    return area_below(math.atan2(math.sqrt(df), t), df) / (2 * area_below(math.pi / 2, df))


def test_students_tail_and_quantile_are_those_of_the_density():
    for df in (1, 2, 3.3, 4.5, 10, 29.5, 99, 199, 999, 5000, 1e4, 1e6):
        for t in (-200, -5, -1.7, -0.01, 0, 1e-6, 0.3, 1, 2, 4, 8, 20, 200):
            least = 1e-300 if abs(t) > 1e-3 else 1e-10  # SciPy squares t
            assert student_t.tail(t, df) == pytest.approx(tail_by_definition(t, df), rel=1e-11, abs=least), (t, df)
        for share in (0.975, 0.5, 0.3, 0.025, 1e-3, 1e-5, 2.5e-7, 1e-12):
            found = tail_by_definition(student_t.quantile(share, df), df)
            assert found == pytest.approx(share, rel=1e-8), df  # SciPy 1.15 is off by 1e-9, newer ones by less
        assert (student_t.tail(math.inf, df), student_t.tail(-math.inf, df)) == (0, 1)
    assert student_t.quantile(0.025, 2) == pytest.approx(4.30265272974946, rel=1e-10)  # 0.95·√(2 / (1 − 0.95²))
    for share in (0, 1, math.nan):
        with pytest.raises(ValueError, match="expected 0 < share < 1"):
            student_t.quantile(share, 5)
    with pytest.raises(ValueError, match="expected df > 0, received 0"):
        student_t.tail(1, 0)


@pytest.mark.slow
def test_a_spread_of_many_normal_values_is_normal():
    values = np.exp(scipy.stats.norm(1.0, 0.05).ppf((np.arange(10_000) + 0.5) / 10_000))
    spread = Spread.of(values, "log")
    for z in (-4, -2, -0.5, 0, 1, 3):
        x = math.exp(1.0 + 0.05 * z)
        assert spread.above(x) == pytest.approx(scipy.stats.norm.sf(z), rel=0.35, abs=1e-3)
        assert spread.above(x) + spread.below(x) == pytest.approx(1)
        assert spread.exceeded_by(spread.above(x)) == pytest.approx(x, rel=1e-9)


@pytest.mark.slow
def test_each_side_of_a_spread_is_its_own():
    z = scipy.stats.norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    spread = Spread.of(np.exp(np.where(z < 0, 0.1 * z, 0.3 * z)), "log")
    for z in (-3, -1, 0, 1, 3):
        x = math.exp(0.1 * z if z < 0 else 0.3 * z)
        assert spread.above(x) == pytest.approx(scipy.stats.norm.sf(z), rel=0.3, abs=1e-3)
        assert spread.above(x) + spread.below(x) == pytest.approx(1)


@pytest.mark.slow
def test_as_many_correct_runs_fail_as_stated_also_where_they_are_skew_and_heavy_tailed(full):
    """Like losses (skewness 0.5, excess kurtosis 1.9). A normal distribution fitted to 200 values is far off."""
    losses, sets = scipy.stats.norminvgauss(2, 0.5), 3000 if full else 200
    logs = 0.05 * losses.rvs((sets, 200), random_state=np.random.default_rng(0))
    spreads = [Spread.of(np.exp(known), "log") for known in logs]
    for alarms, most in ((0.05, 1.2), (0.01, 1.3), (1e-4, 1.3)):
        low, high = ([np.log(spread.exceeded_by(s)) for spread in spreads] for s in (1 - alarms / 2, alarms / 2))
        failing = (losses.cdf(np.array(low) / 0.05) + losses.sf(np.array(high) / 0.05)) / alarms
        assert 0.7 < failing.mean() < most + 2 * failing.std() / sets**0.5, alarms
        normal = logs.mean(1) + logs.std(1) * scipy.stats.norm.isf(alarms / 2)
        assert losses.sf(normal / 0.05).mean() > 1.2 * alarms / 2  # on one side alone


def test_few_seeds_make_wide_tails():
    few, many = (Side(0.1, 0.0, n) for n in (50, 1_000_000))
    assert few.reached_by(1e-5) > 1.3 * many.reached_by(1e-5)
    assert many.reached_by(1e-5) == pytest.approx(0.1 * scipy.stats.norm.isf(1e-5), rel=0.05)


def test_where_all_counts_are_the_same_one_image_more_or_less_is_no_surprise():
    spread = Spread.of(np.full(200, 324.5), "root")
    assert spread.above(325) > 0.1 and spread.above(334) < 1e-4


def test_a_usual_run_passes():
    verdict = judged()
    assert verdict["passed"] and not verdict["found"] and verdict["p"] == 1.0
    assert verdict["reference"]["seeds"] == SMOKE.seeds and verdict["false_alarms"] == 1e-4
    json.dumps(verdict, allow_nan=False)


@pytest.mark.parametrize(
    "found, run",
    [
        (FEW, {"correct": 330}),
        (MANY, {"correct": 360}),
        (HIGH, {"losses": [*EXPECTED[:4], 2 * EXPECTED[4], *EXPECTED[5:]]}),
        (HIGH, {"losses": [*EXPECTED[:9], math.nan]}),
        (LOW, {"losses": [EXPECTED[0] * 0.7, *EXPECTED[1:]]}),
        (LOW, {"losses": [*EXPECTED[:9], 0.0]}),
        (OTHER_EPOCHS, {"losses": EXPECTED[:9]}),
        (OTHER_EPOCHS, {"losses": [*EXPECTED, 0.07]}),
        (OTHER_DATA, {"train_examples": 1797}),
    ],
)
def test_a_run_that_is_out_fails_for_the_right_reason(found, run):
    verdict = judged(**run)
    assert not verdict["passed"] and list(verdict["found"]) == [found]
    text = "\n".join(summary.gated(verdict))
    assert text.startswith("gate     FAILED, p ") and f"by the spread of {SMOKE.seeds} seeds 1 in 10,000" in text
    assert f"{found}: {gate.MEANS[found]}"[:60] in text


@pytest.mark.parametrize("alarms", [1e-6, 1e-4, 0.01, 0.05, 0.5])
def test_verdict_bounds_and_p_say_the_same(alarms):
    judge = Gate(SMOKE, alarms)
    low, high = judge.count(350)["accepted"]
    for correct in range(300, 361):
        row = judge.count(correct)
        assert (row["out"] == "") == (low <= correct <= high) == (row["p"] >= alarms / 2), correct
    for epoch in range(10):
        low, high = judge.loss(epoch, 1.0)["accepted"]
        for loss, out in ((low * 0.9999, LOW), (low * 1.0001, ""), (high * 0.9999, ""), (high * 1.0001, HIGH)):
            row = judge.loss(epoch, loss)
            assert row["out"] == out and (row["p"] >= alarms / 20) == (out == "")


def test_all_comparisons_together_fail_at_most_as_often_as_stated():
    """Losses that are independent of each other and of the count are the worst case."""
    rng, judge = np.random.default_rng(0), Gate(SMOKE, 0.05)
    losses = np.exp(np.transpose([drawn(spread, 1000, rng) for spread in SMOKE.epochs])).tolist()
    errors = np.round(drawn(SMOKE.errors, 1000, rng) ** 2 - 0.5).astype(int).tolist()
    failed = sum(not judge.verdict(360 - e, row, 1437)["passed"] for e, row in zip(errors, losses, strict=True))
    assert 25 <= failed <= 60


def drawn(spread, n, rng):
    """Draw correct runs from the spread, on its scale."""
    low, high = (np.abs(rng.standard_t(side.df, n)) * side.unit for side in (spread.low, spread.high))
    return spread.centre + np.where(rng.random(n) < 0.5, -low, high)


@pytest.mark.parametrize("preset, dataset", [("smoke", "digits"), ("default", "mnist")])
@pytest.mark.parametrize("alarms", [1e-4, 0.01])
def test_the_power_is_what_is_stated(preset, dataset, alarms):
    known = find(PRESETS[preset], dataset)
    judge, rng = Gate(known, alarms), np.random.default_rng(0)
    assert judge.count(known.test_examples - judge.most_errors - 1)["out"] == FEW
    errors = np.round(drawn(known.errors, 4000, rng) ** 2 - 0.5).astype(int)
    for power in gate.POWERS:
        less = round(judge.noticed(power) * known.test_examples)
        noticed = np.mean(errors + less > judge.most_errors)
        assert noticed > power - 0.02
        assert np.mean(errors + less - 1 > judge.most_errors) < power + 0.02  # not with one image less


def test_what_the_report_says():
    lines = summary.gated(judged(correct=351))
    assert lines[0] == f"gate     passed, p = 1; by the spread of {SMOKE.seeds} seeds 1 in 10,000 correct runs fails"
    assert lines[1].startswith("         correct: 351, expected 350 ± 3, p = ")
    assert lines[1].endswith("({} to {} pass)".format(*judged()["right"]["accepted"]))
    assert "losses of all 10 epochs: p = 1" in lines[3]
    powers = r"would detect a loss of \S+ points of accuracy with probability 0.5, \S+ with 0.9, \S+ with 0.99$"
    assert re.search(powers, lines[4])
    assert max(map(len, lines)) < 120
    assert "p < 1e-9" in "\n".join(summary.gated(judged(correct=100)))
    assert summary.gated({}) == []
    expected = ["1 in 10,000 correct runs", "1 in 20 correct runs", "3% of correct runs"]
    assert [summary.correct_runs(share) for share in (1e-4, 0.05, 0.03)] == expected


def test_values_are_described_by_mean_sd_and_quantiles():
    described = references.described(np.arange(101.0), Spread.of(np.arange(1.0, 102), "root"))
    assert described["quantiles"] == {
        "0": 0, "0.01": 1, "0.05": 5, "0.25": 25, "0.5": 50, "0.75": 75, "0.95": 95, "0.99": 99, "1": 100
    }  # fmt: skip
    assert described["mean"] == 50 and described["sd"] == pytest.approx(29.3002, abs=1e-4)  # √(101 · 102 / 12)
    assert described["spread"]["scale"] == "root"


def test_a_summary_counts_the_errors_and_a_half():
    rows = [
        {"seed": seed, "right": correct, "losses": [loss, loss / 2], "options": {"model": "mlp"}, "learning_rate": 0.1,
         "train_examples": 500, "total": 100}
        for seed, correct, loss in ((9, 96, 0.4), (7, 90, 0.2), (8, 84, 0.1))
    ]  # fmt: skip
    found = references.summary(rows, {"date": "today"})
    assert (found.first_seed, found.seeds, found.train_examples, found.test_examples) == (7, 3, 500, 100)
    assert found.right["mean"] == 90 and found.right["sd"] == 6
    assert found.errors.centre == pytest.approx(math.sqrt(10.5), abs=1e-5) and found.errors.scale == "root"
    assert [epoch.centre for epoch in found.epochs] == pytest.approx([math.log(0.2), math.log(0.1)], abs=1e-5)
    assert [epoch.scale for epoch in found.epochs] == ["log", "log"]
    assert [epoch["quantiles"]["1"] for epoch in found.losses] == [0.4, 0.2]
    sides = [found.errors.low, found.errors.high]
    assert [side.sd for side in sides] == pytest.approx([10.5**0.5 - 4.5**0.5, 16.5**0.5 - 10.5**0.5], abs=1e-5)


def test_the_shipped_references():
    assert references.FILE.stat().st_size < 100_000
    there = references.read()
    assert {each.options["model"] for each in there if each.options["dataset"] == "digits"} >= {
        "mlp",
        "softmax",
        "deep",
    }
    assert len({json.dumps(each.options) for each in there}) == len(there)
    for each in there:
        assert each.seeds >= references.FEWEST and each.first_seed == 1000
        assert len(each.losses) == each.options["epochs"]
        assert (each.train_examples, each.test_examples) in ((1437, 360), (60000, 10000))
        for row in (each.right, *each.losses):
            assert row["quantiles"]["0.01"] <= row["mean"] <= row["quantiles"]["0.99"]
        assert {"command", "date", "device", "backend", "versions"} <= each.made.keys()
        assert "/" not in each.made["command"].removeprefix("scripts/")


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
def test_presets_can_be_gated(dataset):
    """Except `best` and `robust`, since a hundred seeds of them take hours, and presets for the other data set."""
    for name, preset in PRESETS.items():
        if name in {"best", "robust", {"digits": "speedrun", "mnist": "smoke"}[dataset]}:
            with pytest.raises(UserError, match=f"--gate: on {dataset} expected"):
                find(preset, dataset)
        else:
            assert find(preset, dataset).options["pixels"] == preset.pixels


@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_be_gated_on_the_digits(model):
    assert find(Config(model=model), "digits").options["model"] == model


def test_what_changes_no_result_changes_no_reference():
    one = find(Config(), "digits")
    same = Config(learning_rate=0.001, seed=77, engine="fit", checkpoint_every="0", strategy="cpu", backend="jax")
    assert find(same, "digits") == one


def test_every_option_decides_or_is_free():
    """A new option must be classified: otherwise the gate would compare a run that has it with runs that do not."""
    free = {"seed", "engine", "preset", *FREE}  # a preset is the options that it sets
    assert {field.name for field in dataclasses.fields(Config)} == free | set(references.DECIDING)


@pytest.mark.parametrize(
    "flags, words",
    [
        (
            {"epochs": 3},
            "expected --epochs=5, received --epochs=3; try --epochs=5, or make a reference: python -m",
        ),
        ({"batch_size": 64}, "--batch_size=32, received --batch_size=64"),
        ({"learning_rate": 0.01}, "received --learning_rate=0.01"),
        ({"optimizer": "sgd"}, "expected --optimizer=adam, received --optimizer=sgd"),
        ({"precision": "bfloat16"}, "expected --precision=float32"),
        ({"validation_fraction": 0.1}, "expected --validation_fraction=0.0"),
        ({"early_stopping": 3}, "--gate cannot be combined with --early_stopping"),
        ({"epochs": 3, "precision": "bfloat16"}, "--epochs=5 --precision=float32, received --epochs=3 --precision=bf"),
    ],
)
def test_a_run_without_a_reference_is_refused_by_the_flag_that_differs(flags, words):
    with pytest.raises(UserError) as refused:
        find(Config(**flags), "digits")
    assert words in str(refused.value)


def test_a_reference_at_another_learning_rate_is_not_that_of_the_optimizers_own(tmp_path):
    options = {**SMOKE.options, "learning_rate": 0.01}
    known = dataclasses.replace(SMOKE, options=options, learning_rate=0.01)
    write_json(tmp_path / "r.json", {"references": [dataclasses.asdict(known)]})
    fast = dataclasses.replace(PRESETS["smoke"], learning_rate=0.01)
    assert find(fast, "digits", tmp_path / "r.json") == known
    with pytest.raises(UserError, match="expected --learning_rate=0.01, received no --learning_rate;"):
        find(PRESETS["smoke"], "digits", tmp_path / "r.json")


def test_a_refusal_shows_the_command_that_makes_the_reference():
    with pytest.raises(
        UserError, match=r"mnist_mlp.training.make_references --dataset=digits --model=softmax --epochs=2$"
    ):
        find(Config(model="softmax", epochs=2), "digits")
    with pytest.raises(UserError, match="one of the data sets digits.*, received fashion_mnist"):
        find(Config(), "fashion_mnist")


def test_a_model_without_a_reference_is_refused(tmp_path):
    write_json(tmp_path / "r.json", {"references": [dataclasses.asdict(SMOKE)]})
    with pytest.raises(UserError, match="one of the models mlp, received --model=cnn; try one of them"):
        find(Config(model="cnn"), "digits", tmp_path / "r.json")
    (tmp_path / "damaged.json").write_text("{}")
    with pytest.raises(UserError, match="the references are damaged; reinstall"):
        find(Config(), "digits", tmp_path / "damaged.json")


def test_a_refusal_comes_before_anything_is_trained_or_imported(tmp_path):
    code = (
        "import sys; from mnist_mlp import train\n"
        "try: train.main(sys.argv[1:])\n"
        "except Exception as error: print(type(error).__name__, error, 'keras' in sys.modules)"
    )
    done = run_code(code, "--gate", "--dataset=digits", "--epochs=3", f"--run_dir={tmp_path / 'run'}", backend=None)
    assert done.stdout.startswith("UserError --gate: on digits expected --epochs=5") and done.stdout.endswith("False\n")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def resumed(trained, tmp_path_factory):
    """A run of the smoke preset as it was killed after 8 epochs, resumed with the gate from the command line."""

    def make(place):
        shutil.copytree(trained, place / "run")
        for file in ("result.json", "model.keras", "checkpoints/step-000000405.npz", "checkpoints/step-000000450.npz"):
            (place / "run" / file).unlink()
        flags = [f"--run_dir={place / 'run'}", "--resume", "--gate", "--json"]
        done = run("train", *flags, backend="tensorflow")
        write_json(place / "done.json", {"code": done.returncode, "out": done.stdout, "err": done.stderr})

    place = once(tmp_path_factory, "gated", make)
    return place / "run", SimpleNamespace(**read_json(place / "done.json"))


@pytest.mark.slow
def test_a_correct_run_passes(resumed):
    path, done = resumed
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["resumed"] and result["gate"]["passed"] and result["gate"] == read_json(path / "result.json")["gate"]
    assert result["gate"]["right"]["observed"] == result["test"]["correct"]
    assert "gate     passed" in done.err


@pytest.mark.slow
def test_evaluate_gates_a_run_that_never_stopped_as_one_that_went_on(resumed, trained, capsys):
    """The gate gets what `evaluate` measures, and the losses of all epochs of the run."""
    evaluate.main([f"--run_dir={trained}", "--gate", "--json", "--strategy=cpu", "--batch_size=7"])
    assert json.loads(capsys.readouterr().out)["gate"] == json.loads(resumed[1].out)["gate"]
    assert read_json(trained / "result.json")["gate"] == {}


def test_without_the_flag_nothing_is_judged():
    assert gate.watch(Config(dataset="fashion_mnist"), None)(None) == {}


@pytest.mark.slow
def test_evaluate_fails_where_the_labels_are_shifted(trained, digits):
    test = Split(digits.test.images, ((digits.test.labels + 1) % 10).astype(np.uint8))
    shifted = dataclasses.replace(digits, test=test)
    reporter = Collector()
    options = evaluate.Options(run_dir=str(trained), strategy="cpu", gate=True)
    result = evaluate.evaluate(options, dataset=shifted, reporter=reporter).result
    assert list(result.gate["found"]) == [FEW] and result.gate["p"] < 1e-9
    assert "FAILED" in "\n".join(reporter.lines)
    with pytest.raises(Refuted, match=f"the gate failed: {FEW}; the run is kept in there") as refuted:
        gate.refuse(result, "there")
    assert refuted.value.exit_code == 4


@pytest.mark.slow
@pytest.mark.xla(False)
def test_a_run_on_other_data_fails_and_is_kept(digits, tmp_path):
    """Trained on the test images alone, ten times over, until it knows each of them."""
    many = Split(*(np.concatenate([getattr(digits.test, part)] * 10) for part in PARTS))
    config = dataclasses.replace(PRESETS["smoke"], gate=True, strategy="cpu", diagnose=True)
    dataset = dataclasses.replace(digits, train=many)
    result = train.train_and_evaluate(config, tmp_path / "run", dataset=dataset, reporter=SILENT)
    assert list(result.gate["found"]) == [OTHER_DATA, MANY, LOW] and result.diagnosis
    assert read_json(tmp_path / "run" / "result.json")["gate"] == result.gate


@pytest.mark.full
@pytest.mark.slow
def test_test_images_among_the_training_images_are_too_good_on_mnist(mnist, tmp_path):
    """The number of training images is as usual; a sixth of them are test images."""
    mixed = (np.concatenate([getattr(mnist.test, part), getattr(mnist.train, part)[10_000:]]) for part in PARTS)
    leaking = dataclasses.replace(mnist, train=Split(*mixed))
    config = Config(dataset="mnist", gate=True, strategy="cpu")
    result = train.train_and_evaluate(config, tmp_path / "run", dataset=leaking, reporter=SILENT)
    assert list(result.gate["found"]) == [MANY]


@pytest.mark.full  # that both train alike is shown in test_jax_engine.py
def test_the_other_backend_is_compared_with_the_same_reference(tmp_path):
    pytest.importorskip("jax")
    flags = ["--preset=smoke", "--gate", "--json", "--strategy=cpu", "--backend=jax", f"--run_dir={tmp_path / 'run'}"]
    done = run("train", *flags, backend="jax")
    assert done.returncode == 0 and json.loads(done.stdout)["gate"]["passed"], done.stderr


@pytest.mark.parametrize("program", [train, evaluate])
@pytest.mark.parametrize("correct", [350, 300])
def test_a_program_prints_its_result_and_then_ends_by_the_verdict(program, correct, monkeypatch, capsys):
    verdict = judged(correct=correct)
    result = SimpleNamespace(gate=verdict, device={"worker_index": 0}, to_dict=lambda: {"gate": verdict})
    monkeypatch.setattr(train, "train_and_evaluate", lambda config, run_dir, **more: result)
    monkeypatch.setattr(evaluate, "evaluate", lambda options, reporter: evaluate.Evaluation(result))
    with pytest.raises(Refuted, match="there") if correct == 300 else contextlib.nullcontext():
        program.main(["--run_dir=there", "--json", "--gate"])
    assert json.loads(capsys.readouterr().out)["gate"]["passed"] == (correct == 350)
    result.device["worker_index"] = 1
    gate.refuse(result, "there")  # only the chief says so


def test_other_test_images_than_the_references_are_refused(digits):
    fewer = dataclasses.replace(digits, test=Split(digits.test.images[:100], digits.test.labels[:100]))
    with pytest.raises(UserError, match="expected the 360 test images of digits, received 100"):
        gate.watch(dataclasses.replace(PRESETS["smoke"], gate=True), fewer)


def test_a_rate_without_a_gate_is_refused():
    for options in (Config, evaluate.Options):
        with pytest.raises(UserError, match="--false_alarms=0.01 has no effect without --gate; add --gate"):
            options(false_alarms=0.01)
        assert options(false_alarms=0.01, gate=True).gate
