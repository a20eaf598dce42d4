"""Schedules of the learning rate, averaged weights, weight decay and label smoothing, against NumPy and by hand."""

import dataclasses
import json
import math
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from helpers.programs import Collector

from mnist_mlp import train
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import SCHEDULES, Config
from mnist_mlp.data import Split
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.engine.base import DeviceSet, Recipe
from mnist_mlp.engine.keras_fit import FitEngine
from mnist_mlp.engine.tensorflow.engine import TensorFlowEngine
from mnist_mlp.errors import Diverged, UserError
from mnist_mlp.models import keras_file, networks
from mnist_mlp.parity import oracle
from mnist_mlp.parity.rounding import FLOAT32
from mnist_mlp.runs import summary
from mnist_mlp.training.optimizers import Schedule, averaged, from_config, peak_rate

pytestmark = pytest.mark.numerics


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("warmup, rising", [(0.0, 0), (0.25, 25), (0.07, 7), (0.255, 26), (1.0, 100)])
def test_a_schedule_by_hand(kind, warmup, rising):
    steps, peak = 100, 0.5
    schedule = Schedule(peak, kind, steps, warmup)
    rates = keras.ops.convert_to_numpy(schedule(np.arange(steps + 3)))
    for step, rate in enumerate(rates):
        left = 1 - min(1, max(0, step - rising) / max(1, steps - rising))
        expected = {"constant": 1, "linear": left, "cosine": (1 + math.cos(math.pi * (1 - left))) / 2}[kind]
        expected *= peak * min(1, (step + 1) / (rising + 1))
        assert rate == pytest.approx(expected, abs=8 * FLOAT32 * peak), step  # some operations, each of which rounds
    assert float(schedule(0)) > 0 and float(schedule(steps - 1)) > 0  # no step is lost


def test_the_rate_of_a_config():
    assert peak_rate(from_config(Config(optimizer="sgd"), 10)) == 0.01  # the optimizer's own
    optimizer = from_config(Config(optimizer="sgd", schedule="linear", warmup=0.1, epochs=2), 10)
    assert peak_rate(optimizer) == 0.01 and float(optimizer.learning_rate) == pytest.approx(0.01 / 3)
    assert isinstance(optimizer._learning_rate, Schedule) and optimizer._learning_rate.steps == 20
    assert peak_rate(from_config(Config(learning_rate=0.25, schedule="cosine"), 10)) == 0.25


def test_fit_cannot_average():
    with pytest.raises(UserError, match="--engine=fit does not support --ema.* or --ema=0, which overrides a preset"):
        Config(engine="fit", ema=0.9)


def engine_of(config, split, kind=TensorFlowEngine):
    steps = math.ceil(len(split) / config.batch_size)
    recipe = Recipe(config.augment, config.label_smoothing, config.seed)
    splits = {"train": split, "test": split}
    return kind(
        *(networks.build(config.model), from_config(config, steps), splits, config.batch_size, DeviceSet("CPU"), recipe)
    )


def weights(engine):
    return [variable.numpy().astype(np.float64) for variable in engine.model.trainable_variables]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TensorFlowEngine, FitEngine])
def test_steps_with_a_schedule_decay_and_smoothing_as_numpy_has_them(kind, digits):
    """SGD on softmax regression: w ← w − rate·decay·w, then − rate·gradient; labels of 0.9 + 0.01 and 9 · 0.01."""
    split = Split(digits.train.images[:96], digits.train.labels[:96])
    config = Config(
        model="softmax", optimizer="sgd", learning_rate=0.4, schedule="linear", warmup=0.4, weight_decay=0.02,
        label_smoothing=0.1, epochs=2,
    )  # fmt: skip
    engine, schedule = engine_of(config, split, kind), Schedule(0.4, "linear", 6, 0.4)
    for step in range(6):
        row = batch_indices(0, step // 3, 96, 32)[step % 3]
        kernel, bias = weights(engine)
        x = split.images[row].reshape(-1, 784) / 255
        logits = x @ kernel + bias
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        target = 0.9 * np.eye(10)[split.labels[row]] + 0.01
        sums = engine.train(row[None])
        assert sums.loss_sum == pytest.approx(-(target * log_p).sum(), rel=1e-5)
        error, r = (np.exp(log_p) - target) / 32, float(schedule(step))
        expected = [kernel * (1 - r * 0.02) - r * x.T @ error, bias * (1 - r * 0.02) - r * error.sum(0)]
        for found, wanted in zip(weights(engine), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=2e-7)


@pytest.mark.slow
def test_an_evaluation_does_not_smooth(digits):
    engine = engine_of(Config(label_smoothing=0.5), digits.train)
    images = digits.train.images.reshape(-1, 784) / 255
    assert engine.evaluate("test").loss_sum == pytest.approx(
        oracle.batch_pass(weights(engine), images, digits.train.labels).losses.sum(), rel=1e-5
    )


@pytest.fixture(scope="module")
def averaging(digits):
    """An engine that averages the weights, and its state before the first step."""
    engine = engine_of(Config(ema=0.8), Split(digits.train.images[:160], digits.train.labels[:160]))
    return engine, engine.state()


@pytest.mark.slow
def test_averaged_weights_by_hand(averaging, digits):
    engine, begin = averaging
    engine.restore(begin)
    average = None
    for row in batch_indices(0, 0, 160, 32):
        engine.train(row[None])
        now = weights(engine)
        average = now if average is None else [0.8 * a + 0.2 * w for a, w in zip(average, now, strict=True)]
    state, last = engine.state(), weights(engine)
    with averaged(engine):
        for found, expected in zip(weights(engine), average, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    for found, expected in zip(weights(engine), last, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all((engine.state()[name] == value).all() for name, value in state.items())
    with averaged(engine_of(Config(), digits.test)):
        pass  # nothing to do where there is no average


@pytest.mark.slow
def test_an_average_is_put_away_whatever_happens(averaging):
    engine, begin = averaging
    engine.restore(begin)
    before = weights(engine)
    with averaged(engine):  # of no step yet: there is none
        for found, expected in zip(weights(engine), before, strict=True):
            np.testing.assert_array_equal(found, expected)
    engine.train(batch_indices(0, 0, 160, 32))
    last = weights(engine)
    with pytest.raises(KeyboardInterrupt), averaged(engine):
        assert (weights(engine)[0] != last[0]).any()
        raise KeyboardInterrupt
    for found, expected in zip(weights(engine), last, strict=True):
        np.testing.assert_array_equal(found, expected)


RECIPE = dict(
    dataset="digits", units="16", epochs=2, augment="elastic", schedule="cosine", warmup=0.1, weight_decay=0.01,
    label_smoothing=0.1, ema=0.9, validation_fraction=0.2, strategy="cpu", backend="tensorflow",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with all that a recipe may have, and a checkpoint every 11 steps: its config, place, result and words."""
    config, place, told = Config(**RECIPE, checkpoint_every="11steps", keep=99), tmp_path_factory.mktemp("whole"), []
    result = train.train_and_evaluate(config, place / "run", reporter=Collector(told))
    return SimpleNamespace(config=config, run_dir=place / "run", result=result, told=told)


@pytest.mark.xla(False)
@pytest.mark.slow
def test_the_kept_model_has_the_averaged_weights(whole, digits):
    kept = keras_file.load(whole.run_dir / "model.keras")
    newest = max((whole.run_dir / "checkpoints").iterdir())
    with np.load(newest) as arrays:
        raw = next(value for name, value in arrays.items() if name.endswith("model/hidden_1/kernel"))
    kernel = kept.get_layer("hidden_1").kernel.numpy()
    assert 0 < np.abs(kernel - raw).max() < 0.1
    probabilities = kept.predict(digits.test.images.astype("float32"), verbose=0)
    first, second = np.sort(probabilities)[:, :-3:-1].T
    unclear = (first - second < 1e-4).sum()  # which another program may take for the other class
    right = (probabilities.argmax(1) == digits.test.labels).sum()
    assert abs(right - whole.result.test["correct"]) <= unclear < 5


@pytest.mark.xla(False)
@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_bit(whole, tmp_path):
    """Schedule, distortions and averages go on where they were."""
    shutil.copytree(whole.run_dir, tmp_path / "part")
    for file in ("result.json", "model.keras"):
        (tmp_path / "part" / file).unlink()
    checkpoints = sorted((tmp_path / "part" / "checkpoints").iterdir())
    for late in checkpoints[len(checkpoints) // 2 :]:
        late.unlink()
    again = dataclasses.replace(whole.config, resume=True)
    part = train.train_and_evaluate(again, tmp_path / "part", reporter=SILENT)
    assert part.resumed[0]["step"] % part.steps_per_epoch  # in the middle of an epoch
    assert part.model_sha256 == whole.result.model_sha256
    assert part.test == whole.result.test
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in r.epochs] for r in (part, whole.result)]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_a_run_tells_its_recipe(whole):
    assert "\nrecipe   cosine learning rate, warmup 0.1, " in whole.told[0] and ", ema 0.9, " in whole.told[0]
    assert not any("--ema=0.9:" in text for text in whole.told)


def test_an_average_that_holds_initial_weights_is_told():
    def lines(ema):
        return summary.recipe(SimpleNamespace(recipe={"ema": ema, "steps": 45}))

    told = "\n".join(lines(0.99))
    assert told.startswith(
        "recipe   ema 0.99\n  !      --ema=0.99: after 45 steps, 64% of the average is still the weights"
    )
    assert lines(0.9) == ["recipe   ema 0.9"]


@pytest.mark.slow
def test_epochs_are_part_of_a_schedule(whole):
    longer = dataclasses.replace(whole.config, epochs=3, resume=True)
    with pytest.raises(UserError, match="--epochs=3: the run in .* was started with --epochs=2"):
        train.train_and_evaluate(longer, whole.run_dir, reporter=SILENT)
    result = json.loads((whole.run_dir / "result.json").read_text())
    assert result["learning_rate"] == 0.001 and result["recipe"]["schedule"] == "cosine"


@pytest.mark.parametrize("name", ["adamw", "muon", "sgd"])
def test_no_decay_is_none_and_not_given_is_the_optimizers_own(name):
    if not hasattr(keras.optimizers, {"adamw": "AdamW", "muon": "Muon", "sgd": "SGD"}[name]):
        pytest.skip(f"this Keras has no {name}")
    assert from_config(Config(optimizer=name, weight_decay=0.0), 5).weight_decay in (0, None)
    own = from_config(Config(optimizer=name), 5).weight_decay
    assert own is None if name == "sgd" else own > 0
    if name == "muon":  # which has two from Keras 3.13 on
        assert getattr(from_config(Config(optimizer=name, weight_decay=0.0), 5), "adam_weight_decay", 0) == 0


@pytest.mark.xla(False)
@pytest.mark.slow
def test_a_run_that_diverges_names_the_rate_that_was_typed(tmp_path):
    config = Config(dataset="digits", units="16", schedule="linear", learning_rate=1e30, strategy="cpu")
    with pytest.raises(Diverged, match=r"--learning_rate=1e\+30\)"):
        train.train_and_evaluate(config, tmp_path / "run", reporter=SILENT)


def test_keras_reads_an_optimizer_with_such_a_schedule():
    """Callbacks that look at the optimizer find a rate that they can read."""
    optimizer = from_config(Config(schedule="linear", ema=0.9, weight_decay=0.1), 5)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(0.001)
    assert optimizer.use_ema and optimizer.weight_decay == 0.1
