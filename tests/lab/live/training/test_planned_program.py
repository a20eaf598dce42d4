"""The program in Keras that options stand for: it runs, and what it builds is what the run would train."""

import inspect
import itertools

import keras
import numpy as np
import pytest

from mnist_mlp.config import MODELS, OPTIMIZERS, PRESETS, Config
from mnist_mlp.lab.live.training import keras_program
from mnist_mlp.lab.live.training.keras_program import program
from mnist_mlp.models import networks
from mnist_mlp.training import optimizers

pytestmark = pytest.mark.xla(False)

KEPT = ("learning_rate", "weight_decay", "use_ema", "ema_momentum", "adam_weight_decay")


def built(config, dataset="digits", steps=45):
    """What the program defines before it trains."""
    text = program(config, dataset, steps)
    before = text[: text.index("model.summary()")]
    found = {}
    try:
        exec(compile(before, "program.py", "exec"), found)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    return found


def described(value):
    """An attribute of a layer, to compare it with that of another."""
    return value.get_config() if hasattr(value, "get_config") else value


@pytest.mark.parametrize("config", [Config(model=name) for name in MODELS], ids=MODELS)
def test_the_network_is_that_of_the_run(config):
    ours, theirs = networks.from_config(config), built(config)["model"]
    assert theirs.count_params() == ours.count_params()
    kinds = [type(layer).__name__ for layer in ours.layers[1:]]
    assert [type(layer).__name__ for layer in theirs.layers] == kinds[:-1]  # the last two are one
    for one, other in zip(theirs.layers, ours.layers[1:-1], strict=True):
        for name in ("units", "filters", "rate", "kernel_regularizer", "kernel_initializer"):
            assert described(getattr(one, name, None)) == described(getattr(other, name, None)), name
        if hasattr(one, "activation"):
            wanted = "softmax" if other.name == "logits" else other.activation.__name__
            assert one.activation.__name__ == wanted
    images = np.random.default_rng(1).integers(0, 256, (5, 28, 28)).astype("float32")
    theirs.set_weights(ours.get_weights()[: len(theirs.get_weights())])
    np.testing.assert_allclose(theirs(images), ours(images), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if (name, "tensorflow") not in optimizers.WRONG])
def test_the_optimizer_is_that_of_the_run(name):
    for more in ({}, {"learning_rate": 0.05, "weight_decay": 0.01, "ema": 0.99}):
        config = Config(optimizer=name, **more)
        ours, theirs = optimizers.from_config(config, 45), built(config)["optimizer"]
        assert type(ours) is type(theirs)
        one, other = ours.get_config(), theirs.get_config()
        assert {key: one.get(key) for key in KEPT} == {key: other.get(key) for key in KEPT}


def test_the_names_and_own_rates_of_optimizers_are_those_of_keras():
    assert keras_program.CLASSES.keys() == set(OPTIMIZERS) == keras_program.RATES.keys()
    for name, kind in keras_program.CLASSES.items():
        default = inspect.signature(getattr(keras.optimizers, kind)).parameters["learning_rate"].default
        assert keras_program.RATES[name] == default, name


@pytest.mark.parametrize(("schedule", "warmup"), itertools.product(("constant", "linear", "cosine"), (0.0, 0.15)))
def test_the_schedule_is_that_of_the_run(schedule, warmup):
    config = Config(schedule=schedule, warmup=warmup, epochs=2, optimizer="sgd")
    found = built(config)
    if schedule == "constant" and not warmup:
        assert "Schedule" not in found
        return
    ours = optimizers.from_config(config, 45)._learning_rate
    for step in (0, 1, 12, 13, 14, 44, 89):
        assert float(found["Schedule"]()(step)) == pytest.approx(float(ours(step)), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lecture", "speedrun", "best"])
def test_the_whole_program_runs(name, digits, monkeypatch, capsys):
    from dataclasses import replace

    config = replace(PRESETS[name], epochs=2, dataset="mnist", validation_fraction=0.1, early_stopping=5)
    few = (digits.train.images[:200], digits.train.labels[:200]), (digits.test.images[:50], digits.test.labels[:50])
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: few)
    found = {}
    exec(compile(program(config, "mnist", 7), "program.py", "exec"), found)
    assert found["probabilities"].shape == (50, 10)
    assert len(found["model"].history.history["loss"]) == 2
    assert ("# not here: --augment=elastic" in program(config, "mnist", 7)) is (name == "best")


def test_a_directory_of_the_server_stands_in_no_program():
    config = Config(dataset="custom", data_dir="/srv/secret")
    text = program(config, "custom", 10)
    assert "/srv" not in text and 'data_dir="…"' in text
