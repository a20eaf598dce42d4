"""Widths of one's own: what is refused, the network, and the run from its config to the server."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from helpers.once import once
from helpers.programs import Collector

from mnist_mlp import devices, train
from mnist_mlp.checks import references
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import MODELS, UNITS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import command as evaluate
from mnist_mlp.models import networks, numpy_forward, portable
from mnist_mlp.runs import checkpoint
from mnist_mlp.runs.saved import read_run
from mnist_mlp.train import train_and_evaluate

pytestmark = pytest.mark.xla(False)

# The option


def test_units_are_kept_in_one_form():
    assert Config(units=" 256, 0128 ").units == "256,128"
    assert Config(units="256,128").layer_units == (256, 128)
    assert Config(units="1").layer_units == (1,)
    assert Config().layer_units == (128, 64) and Config(model="deep").layer_units == (128, 128, 64, 64, 32)
    assert Config(model="softmax").layer_units is None and Config(model="cnn").layer_units is None


@pytest.mark.parametrize("model", UNITS)
def test_the_widths_that_a_model_has_anyway_are_the_same_config(model):
    own = ",".join(map(str, UNITS[model]))
    assert Config(model=model, units=own) == Config(model=model)
    assert Config(model=model, units=f"{own},8").units == f"{own},8"


def test_a_config_of_0_1_has_no_units():
    values = Config().to_dict()
    assert values.pop("units") is None
    assert Config.from_dict(values) == Config()
    assert json.loads(json.dumps(Config(units="9,5").to_dict()))["units"] == "9,5"


@pytest.mark.parametrize(
    "text", ["", " ", "256,", ",256", "256,,128", "0", "256,0", "-1", "1.5", "256x128", "256 128", "many", "٣", "65537"]
)
def test_what_is_no_width_is_refused(text):
    with pytest.raises(UserError) as refused:
        Config(units=text)
    assert str(refused.value) == (
        "--units: expected 1 to 32 widths of hidden layers separated by commas, each a whole number from 1 to 65,536, "
        f"such as 256,128; received {text!r}"
    )


def test_networks_of_no_sensible_size_are_refused():
    assert len(Config(units=",".join(["8"] * 32)).layer_units) == 32
    with pytest.raises(UserError, match="expected 1 to 32 widths"):
        Config(units=",".join(["8"] * 33))
    with pytest.raises(UserError, match="at most 100,000,000 parameters, received 20000,20000, which has 415,920,010"):
        Config(units="20000,20000")


@pytest.mark.parametrize("model", sorted(set(MODELS) - set(UNITS)))
def test_a_model_without_dense_hidden_layers_refuses_them_by_name(model):
    with pytest.raises(UserError) as refused:
        Config(model=model, units="256,128")
    assert str(refused.value) == (
        "--units: expected one of the models with dense hidden layers (mlp, mlp_sigmoid, mlp_tanh, mlp_dropout, "
        f"mlp_l2, mlp_zeros, wide, deep), received --model={model}; omit --units, or try --model=mlp"
    )


def test_the_gate_does_not_compare_other_widths():
    assert references.find(Config(units="128,64"), "digits") == references.find(Config(), "digits")
    with pytest.raises(UserError) as refused:
        references.find(Config(units="256,128"), "digits")
    assert "on digits expected no --units, received --units=256,128; remove --units=256,128" in str(refused.value)
    assert "make_references --dataset=digits --units=256,128" in str(refused.value)


# The network


@pytest.mark.parametrize("name", UNITS)
def test_only_the_widths_change(name):
    model, usual = networks.build(name, units=(256, 128), seed=1), networks.build(name, seed=1)
    assert model.count_params() == 785 * 256 + 257 * 128 + 129 * 10 == 235_146
    assert [layer.units for layer in networks.hidden_layers(model)] == [256, 128]

    def settings(layer):
        return {key: value for key, value in layer.get_config().items() if key not in ("units", "name")}

    first = networks.hidden_layers(usual)[0]
    assert all(settings(layer) == settings(first) for layer in networks.hidden_layers(model))
    kinds, kinds_of_two = ([type(layer).__name__ for layer in one.layers] for one in (model, usual))
    assert len(UNITS[name]) != 2 or kinds == kinds_of_two
    assert kinds.count("Dropout") == (2 if name == "mlp_dropout" else 0)


@pytest.mark.parametrize("name", UNITS)
def test_its_own_widths_give_the_same_bits(name):
    model, usual = networks.build(name, units=UNITS[name], seed=1), networks.build(name, seed=1)
    assert all(np.array_equal(one, other) for one, other in zip(model.weights, usual.weights, strict=True))


# A run

CONFIG = Config(dataset="digits", model="mlp_tanh", units="9,5", epochs=1, strategy="cpu", backend="tensorflow")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """The directory of a run with widths of its own; `said.txt` beside it is what it reported."""

    def make(place):
        reporter = Collector()
        train_and_evaluate(CONFIG, place / "run", reporter=reporter)
        (place / "said.txt").write_text("\n".join(reporter.lines))

    return once(tmp_path_factory, "narrow", make) / "run"


@pytest.mark.slow
def test_a_run_knows_its_widths(narrow, capsys):
    path, config, result = read_run(str(narrow))
    assert config.units == json.loads((path / "config.json").read_text())["units"] == "9,5"
    assert result.parameters == 785 * 9 + 10 * 5 + 6 * 10 == 7_175 and result.model == "mlp_tanh"
    assert [row["output"] for row in result.layers if row["kind"] == "Dense"] == [[9], [5], [10]]
    said = (path.parent / "said.txt").read_text()
    assert "\nmodel    mlp_tanh 9,5 on pixels from 0 to 1" in said and " 7,065 = (784 + 1) · 9\n" in said
    page = (path / "report.html").read_text()
    assert "--units=9,5" in page and "The network mlp_tanh 9,5 was trained" in page
    evaluate.main([f"--run_dir={path}", "--json", "--strategy=cpu"])
    assert json.loads(capsys.readouterr().out)["test"]["confusion"] == result.test["confusion"]


@pytest.mark.slow
def test_a_run_is_resumed_with_its_own_widths_only(narrow, tmp_path):
    def resumed(*flags):
        given = {"resume": True, "run_dir": str(narrow), **dict(flags)}
        return train_and_evaluate(train.config_of(given), narrow, reporter=SILENT)

    for units, as_typed in (("9,6", "--units=9,6"), ("128,64", "no --units")):
        with pytest.raises(UserError) as refused:
            resumed(("units", units))
        assert f"{as_typed}: the run in {narrow} was started with --units=9,5; omit it" in str(refused.value)
    found, _, skipped = checkpoint.newest(narrow, dataclasses.replace(CONFIG, units="9,6"))
    assert found is None and [reason.partition(" belongs ")[2] for reason in skipped.values()] == [
        "to another run (another --units)"
    ]
    found, _, skipped = checkpoint.newest(narrow, CONFIG)
    assert found.config.units == "9,5" and found.state["model/hidden_2/kernel"].shape == (9, 5) and not skipped


@pytest.mark.slow
def test_the_model_of_a_run_is_served_and_exported_with_its_widths(narrow, digits, monkeypatch):
    from mnist_mlp.serve import command as serve
    from mnist_mlp.serve import limits

    monkeypatch.setattr(limits, "LARGEST_BATCH", 1)  # one program to compile instead of four
    options = serve.Options(run_dir=str(narrow), strategy="cpu")
    service = serve.make_service(options, devices.plan(options), *read_run(str(narrow)))
    assert service.about.network == "mlp_tanh 9,5" and service.about.parameters == 7_175
    assert service.about.hidden == [("hidden_1", 9), ("hidden_2", 5)]
    images, model = digits.test.images[:1], service.network.engine.model
    *hidden, served = service.network.forward(images)
    assert [part.shape for part in hidden] == [(1, 9), (1, 5)]
    layers = portable.layers_of(model)
    assert [layer.kernel.shape for layer in layers if layer.kind == "dense"] == [(784, 9), (9, 5), (5, 10)]
    expected = keras.ops.convert_to_numpy(model(images.astype("float32")))
    np.testing.assert_allclose(served, expected, atol=1e-6)
    np.testing.assert_allclose(numpy_forward.probabilities(layers, images), expected, atol=1e-6)
