"""Parameters, initial weights and what a saved model contains."""

import json
import zipfile

import keras
import numpy as np
import pytest

from mnist_mlp import config, models
from mnist_mlp.errors import UserError
from mnist_mlp.result import layer_rows

PARAMETERS = {
    "softmax": 7_850,
    "mlp": 109_386,
    "wide": 669_706,
    "deep": 131_818,
    "mlp_sigmoid": 109_386,
    "mlp_tanh": 109_386,
    "mlp_dropout": 109_386,
    "mlp_l2": 109_386,
    "mlp_zeros": 109_386,
    "cnn": 34_826,
}


def test_the_declared_models_are_those_that_exist():
    assert set(config.MODELS) == set(models.MODELS) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_and_their_arithmetic(name):
    model = models.build(name)
    rows = layer_rows(model)
    assert model.count_params() == PARAMETERS[name] == sum(row["parameters"] for row in rows)
    for row in rows:
        if row["parameters"]:
            assert eval(row["arithmetic"].replace("·", "*")) == row["parameters"]
    assert f"{PARAMETERS[name]:,}" in models.MODELS[name].__doc__


def test_the_declared_optimizers_are_those_that_keras_has():
    found = {
        name.lower()
        for name, value in vars(keras.optimizers).items()
        if isinstance(value, type) and issubclass(value, keras.Optimizer)
    }
    wrappers = {"optimizer", "lossscaleoptimizer", "multioptimizer"}
    assert found - wrappers <= set(config.OPTIMIZERS)  # an older Keras has fewer
    assert len(found - wrappers) >= 11


def test_the_optimizer_keeps_its_own_rate_unless_one_is_given():
    assert float(models.make_optimizer("sgd", None).learning_rate) == pytest.approx(0.01)
    assert float(models.make_optimizer("sgd", 0.5).learning_rate) == 0.5
    with pytest.raises(UserError, match="pip install -U keras"):
        models.make_optimizer("shampoo", None)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_one_seed_draws_one_set_of_weights(name):
    a, b, c = (models.build(name, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], c[0])


def test_the_draws_never_change():
    """Golden values: a change here changes every published result. They come from NumPy alone."""
    kernel = models.build("mlp", seed=0).get_weights()[0]
    rng = np.random.default_rng([0, 0])
    limit = np.sqrt(6 / (784 + 128))
    np.testing.assert_array_equal(kernel, rng.uniform(-limit, limit, (784, 128)).astype("float32"))
    np.testing.assert_allclose(kernel[0, :3], GOLDEN, rtol=1e-6)


GOLDEN = [0.0222181194, -0.0373455249, -0.0744639263]

SHAPES = {"dense": (400, 300), "convolution": (3, 3, 80, 100)}
FANS = {"dense": (400, 300), "convolution": (720, 900)}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(
    "initializer, variance",
    [
        (keras.initializers.GlorotUniform(), lambda i, o: 2 / (i + o)),
        (keras.initializers.GlorotNormal(), lambda i, o: 2 / (i + o)),
        (keras.initializers.HeNormal(), lambda i, o: 2 / i),
        (keras.initializers.LecunUniform(), lambda i, o: 1 / i),
        (keras.initializers.VarianceScaling(1.0, "fan_out", "untruncated_normal"), lambda i, o: 1 / o),
    ],
)
def test_draws_follow_the_distribution(kind, initializer, variance):
    """Mean, variance and range against theory, and every decile against Keras' own draw."""
    values = models.draw(initializer, SHAPES[kind], np.random.default_rng(0)).ravel().astype(np.float64)
    expected = variance(*FANS[kind])
    n = values.size
    assert values.mean() == pytest.approx(0, abs=5 * np.sqrt(expected / n))
    assert values.var() == pytest.approx(expected, rel=0.02)
    theirs = keras.ops.convert_to_numpy(initializer(SHAPES[kind])).ravel()
    deciles = np.linspace(0.1, 0.9, 9)
    distance = np.abs(np.quantile(values, deciles) - np.quantile(theirs, deciles)).max()
    assert distance < 0.03 * np.sqrt(expected)
    if initializer.distribution == "uniform":
        assert np.abs(values).max() <= np.sqrt(3 * expected) * (1 + 1e-6)
    if initializer.distribution == "truncated_normal":
        assert np.abs(values).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)


def test_unknown_initialisers_are_refused():
    with pytest.raises(ValueError, match="Expected an initialiser"):
        models.draw(keras.initializers.Orthogonal(), (3, 3), np.random.default_rng(0))


def test_the_scaling_of_pixels_is_part_of_the_model():
    image = np.full((1, 28, 28), 255, np.uint8)
    unit, raw = (models.build("softmax", pixels=pixels).get_weights() for pixels in ("unit", "raw"))
    assert all(np.array_equal(a, b) for a, b in zip(unit, raw, strict=True))
    logits = {
        pixels: models.to_logits(models.build("softmax", pixels=pixels)).predict(image, verbose=0)
        for pixels in ("unit", "raw")
    }
    np.testing.assert_allclose(logits["raw"], 255 * logits["unit"], rtol=1e-5)


def test_bfloat16_keeps_float32_weights_and_logits():
    model = models.build("mlp", precision="bfloat16")
    assert {variable.dtype for variable in model.variables} == {"float32"}
    assert model.get_layer("hidden_1").compute_dtype == "bfloat16"
    assert models.to_logits(model).output.dtype == "float32"


def rewritten(file, changed, target):
    """A copy of a .keras file with some of its parts changed: `changed` maps a name to what becomes of its bytes."""
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(target, "w") as copy:
        for part in archive.infolist():
            copy.writestr(part, changed.get(part.filename, lambda content: content)(archive.read(part)))
    return target


def test_a_saved_model_has_no_setting_that_an_older_keras_does_not_know(tmp_path):
    """Keras 3.15 gives GlorotUniform input_axes=None, which 3.13 refuses."""
    models.save(models.build("mlp"), tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"_axes" not in archive.read("config.json")
    assert models.load(tmp_path / "model.keras").count_params() == 109_386


def test_a_model_of_another_keras_is_not_called_damaged(tmp_path):
    models.save(models.build("softmax"), tmp_path / "model.keras")

    def newer(content):
        return json.dumps(json.loads(content) | {"keras_version": "99.1"}).encode()

    def stranger(content):
        return content.replace(b"GlorotUniform", b"GlorotUnheard")

    file = rewritten(
        tmp_path / "model.keras", {"metadata.json": newer, "config.json": stranger}, tmp_path / "newer.keras"
    )
    with pytest.raises(UserError, match=r"written by Keras 99.1, .* cannot read it .*; type pip install keras==99.1"):
        models.load(file)
    file = rewritten(tmp_path / "model.keras", {"config.json": stranger}, tmp_path / "other.keras")
    with pytest.raises(UserError, match=r"received another Keras model \(GlorotUnheard\)"):
        models.load(file)


def test_an_optimizer_that_computes_something_else_on_this_backend_is_refused():
    with pytest.raises(UserError, match="--optimizer=schedulefreeadamw: Keras reads .*; type --backend=jax"):
        models.make_optimizer("schedulefreeadamw", None)
