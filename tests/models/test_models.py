"""Parameters, initial weights and what a saved model contains."""

import io
import itertools
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from mnist_mlp import config
from mnist_mlp.errors import UserError
from mnist_mlp.models import file_check, initialization, keras_file, networks
from mnist_mlp.parity.rounding import FLOAT32
from mnist_mlp.runs.result import layer_rows
from mnist_mlp.training import optimizers

pytestmark = pytest.mark.numerics

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
    assert set(config.MODELS) == set(networks.MODELS) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_and_their_arithmetic(name):
    model = networks.build(name)
    rows = layer_rows(model)
    assert model.count_params() == PARAMETERS[name] == sum(row["parameters"] for row in rows)
    for row in rows:
        if row["parameters"]:
            assert eval(row["arithmetic"].replace("·", "*")) == row["parameters"]
    assert f"{PARAMETERS[name]:,}" in networks.MODELS[name].__doc__


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
    assert float(optimizers.make_optimizer("sgd", None).learning_rate) == pytest.approx(0.01)
    assert float(optimizers.make_optimizer("sgd", 0.5).learning_rate) == 0.5
    with pytest.raises(UserError, match="pip install -U keras"):
        optimizers.make_optimizer("shampoo", None)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_one_seed_draws_one_set_of_weights(name):
    a, b, c = (networks.build(name, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], c[0])


def test_the_draws_never_change():
    """Golden values: a change here changes every published result. They come from NumPy alone."""
    kernel = networks.build("mlp", seed=0).get_weights()[0]
    rng = np.random.default_rng([0, 0])
    limit = np.sqrt(6 / (784 + 128))
    np.testing.assert_array_equal(kernel, rng.uniform(-limit, limit, (784, 128)).astype("float32"))
    np.testing.assert_allclose(kernel[0, :3], GOLDEN, rtol=1e-6)


GOLDEN = [0.0222181194, -0.0373455249, -0.0744639263]

# So many numbers that 0.03 deviations are 6 of a decile's own, for Keras draws others each time.
SHAPES = {"dense": (800, 600), "convolution": (3, 3, 160, 200)}
FANS = {"dense": (800, 600), "convolution": (1440, 1800)}


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
    values = initialization.draw(initializer, SHAPES[kind], np.random.default_rng(0)).ravel().astype(np.float64)
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


def test_a_constant_and_a_normal_draw():
    def draw(initializer):
        values = initialization.draw(initializer, (300, 400), np.random.default_rng(0))
        assert values.shape == (300, 400) and values.dtype == np.float32
        return values

    np.testing.assert_array_equal(draw(keras.initializers.Constant(0.25)), np.float32(0.25))
    values = draw(keras.initializers.RandomNormal(mean=2.0, stddev=0.5))
    assert abs(values.mean() - 2) < 5 * 0.5 / np.sqrt(values.size)
    assert values.std() == pytest.approx(0.5, rel=0.02)


def test_unknown_initializers_are_refused():
    with pytest.raises(ValueError, match="Expected an initializer"):
        initialization.draw(keras.initializers.Orthogonal(), (3, 3), np.random.default_rng(0))


def test_the_scaling_of_pixels_is_part_of_the_model():
    image = np.full((1, 28, 28), 255, np.uint8)
    unit, raw = (networks.build("softmax", pixels=pixels).get_weights() for pixels in ("unit", "raw"))
    assert all(np.array_equal(a, b) for a, b in zip(unit, raw, strict=True))
    logits = {
        pixels: networks.to_logits(networks.build("softmax", pixels=pixels)).predict(image, verbose=0)
        for pixels in ("unit", "raw")
    }
    # Both are sums of 784 products, each with a deviation of √784 unit roundoffs times their root sum of squares.
    rounded = 8 * FLOAT32 * 28 * 255 * np.linalg.norm(unit[0], axis=0)
    assert (abs(logits["raw"] - 255 * logits["unit"]) <= 2 * rounded).all()
    assert (abs(logits["raw"]) > 1000 * rounded).any()


def test_bfloat16_keeps_float32_weights_and_logits():
    model = networks.build("mlp", precision="bfloat16")
    assert {variable.dtype for variable in model.variables} == {"float32"}
    assert model.get_layer("hidden_1").compute_dtype == "bfloat16"
    assert networks.to_logits(model).output.dtype == "float32"


def rewritten(file, changed, target):
    """A copy of a .keras file with some of its parts changed: `changed` maps a name to what becomes of its bytes."""
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(target, "w") as copy:
        for part in archive.infolist():
            copy.writestr(part, changed.get(part.filename, lambda content: content)(archive.read(part)))
    return target


def test_a_saved_model_has_no_setting_that_an_older_keras_does_not_know(tmp_path):
    """Keras 3.15 gives GlorotUniform input_axes=None, which 3.13 refuses."""
    keras_file.save(networks.build("mlp"), tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"_axes" not in archive.read("config.json")
    assert keras_file.load(tmp_path / "model.keras").count_params() == 109_386


def test_a_model_of_another_keras_is_not_called_damaged(tmp_path):
    keras_file.save(networks.build("softmax"), tmp_path / "model.keras")

    def newer(content):
        return json.dumps(json.loads(content) | {"keras_version": "99.1"}).encode()

    def stranger(content):
        return content.replace(b"GlorotUniform", b"GlorotUnheard")

    file = rewritten(
        tmp_path / "model.keras", {"metadata.json": newer, "config.json": stranger}, tmp_path / "newer.keras"
    )
    with pytest.raises(UserError, match=r"was written by Keras 99.1, .* cannot read it .*; run pip install keras==99"):
        keras_file.load(file)
    file = rewritten(tmp_path / "model.keras", {"config.json": stranger}, tmp_path / "other.keras")
    with pytest.raises(UserError, match=r"received another Keras model \(GlorotUnheard\)"):
        keras_file.load(file)


def test_an_optimizer_that_computes_something_else_on_this_backend_is_refused():
    with pytest.raises(UserError, match="--optimizer=schedulefreeadamw: Keras reads .*; use --backend=jax"):
        optimizers.make_optimizer("schedulefreeadamw", None)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved `softmax`."""
    file = tmp_path_factory.mktemp("saved") / "model.keras"
    keras_file.save(networks.build("softmax"), file)
    return file


def in_config(change):
    """A change of config.json for `rewritten`: `change` is given the layers' list."""

    def changed(content):
        values = json.loads(content)
        change(values["config"]["layers"])
        return json.dumps(values).encode()

    return {"config.json": changed}


def in_weights(change):
    """A change of model.weights.h5 for `rewritten`: `change` is given the open file."""

    def changed(content):
        stream = io.BytesIO(content)
        with h5py.File(stream, "a") as file:
            change(file)
        return stream.getvalue()

    return {"model.weights.h5": changed}


KINDS = list(itertools.product(("unit", "raw"), ("float32", "bfloat16")))  # pixels and precision
EACH = [(name, *kind) for name in PARAMETERS for kind in (KINDS if name == "mlp" else KINDS[:: len(KINDS) - 1])]
REST = [(name, *kind) for name in PARAMETERS for kind in KINDS if (name, *kind) not in EACH]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, pixels, precision", [*EACH, *(pytest.param(*values, marks=pytest.mark.full) for values in REST)]
)
def test_every_model_of_ours_may_be_loaded(name, pixels, precision, tmp_path):
    """Also as Keras alone would write it."""
    model = networks.build(name, pixels=pixels, precision=precision)
    model.save(tmp_path / "theirs.keras")
    keras_file.save(model, tmp_path / "ours.keras")
    for file in ("theirs.keras", "ours.keras"):
        assert file_check.check(tmp_path / file, keras.__version__) == keras.__version__


@pytest.mark.parametrize("name", ["mlp_dropout", "mlp_l2", "cnn"])
def test_a_model_is_loaded_as_it_was_saved(name, tmp_path):
    model = networks.build(name, precision="bfloat16")
    keras_file.save(model, tmp_path / "model.keras")
    weights = keras_file.load(tmp_path / "model.keras").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


def with_lambda(layer):
    """A network of the right shapes in which Keras itself has put code."""
    image = keras.Input((28, 28))
    logits = keras.layers.Dense(10, name="logits")(layer(keras.layers.Flatten()(image)))
    return keras.Model(image, keras.layers.Softmax()(logits))


@pytest.mark.parametrize("function", [lambda x: x * 2, keras.ops.relu])
def test_a_lambda_layer_is_refused(function, tmp_path):
    with_lambda(keras.layers.Lambda(function, output_shape=(784,))).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="contains a Lambda layer, which may run code; use the --run_dir of a run"):
        keras_file.load(tmp_path / "model.keras")


@keras.saving.register_keras_serializable("elsewhere")
class Registered(keras.layers.Layer):
    def call(self, x):
        raise AssertionError("it was run")


EVIL = {
    "a function": (
        {"module": "builtins", "class_name": "function", "config": "print"},
        "a function, which may run code",
    ),
    "a lambda": (
        {"class_name": "__lambda__", "config": {"value": "4wA="}},
        "a __lambda__ layer, which may run",
    ),
    "a module": (
        {"module": "os", "class_name": "system", "config": {}},
        "a system object, which may run code",
    ),
    "a module of Keras": ({"module": "keras.utils", "class_name": "get_file", "config": {}}, "Keras model .get_file"),
    "no module": ({"class_name": "Lambda", "config": {}}, "contains a Lambda layer, which may run code"),
    "another name": (
        {"module": "keras.layers", "class_name": "Dense", "registered_name": "elsewhere>Registered", "config": {}},
        "contains a Dense object, which may run code",
    ),
    "an old layer": ({"class_name": "Dense", "config": {}}, "another Keras model .Dense"),
    "a class that is a list": ({"module": "keras.layers", "class_name": ["Dense"], "config": {}}, "without a class"),
    "a registered class": ({"registered_name": "elsewhere>Registered", "config": {}}, "without a class"),
}


@pytest.mark.parametrize(
    "where", ["activation", "kernel_initializer", "bias_constraint", "name", "new", "inbound_nodes"]
)
@pytest.mark.parametrize("kind", EVIL)
def test_code_is_refused_wherever_it_stands(kind, where, saved, tmp_path):
    value, reason = EVIL[kind]

    def change(layers):
        (layers[-2] if where == "inbound_nodes" else layers[-2]["config"])[where] = [{"args": [value]}]

    with pytest.raises(UserError, match=reason) as raised:
        keras_file.load(rewritten(saved, in_config(change), tmp_path / "model.keras"))
    assert "\n" not in str(raised.value) and "pip install" not in str(raised.value)


def test_a_model_of_layers_that_we_do_not_use_is_another_model(tmp_path):
    with_lambda(keras.layers.LayerNormalization()).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"another Keras model \(LayerNormalization\)"):
        keras_file.load(tmp_path / "model.keras")


def huge(**settings):
    def change(layers):
        layers[-2]["config"] |= settings

    return in_config(change)


def fewer_channels(layers):
    layers[-2]["build_config"] = {"input_shape": [None, 10**9]}


def unbuilt(layers):
    del layers[-2]["build_config"]


def external_storage(file):
    file.create_dataset("other", (10,), "f4", external=[("/etc/passwd", 0, 40)])


def virtual(file):
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10,))
    file.create_virtual_dataset("other", layout)


def link(value):
    return in_weights(lambda file: file.__setitem__("layers/other", value))


def array(*shape, **options):
    return in_weights(lambda file: file.create_dataset("layers/other", shape, **options))


def overlapping(content):
    """An HDF5 file with four arrays more, which all have one place in it."""
    stream, numbers = io.BytesIO(content), {}
    with h5py.File(stream, "a") as file:
        first = file.create_dataset("a", data=np.ones(200_000, "u1")).id.get_offset()
        for length in (12_345, 12_347, 12_349):
            numbers[length] = 200_000
            numbers[file.create_dataset(str(length), data=np.ones(length, "u1")).id.get_offset()] = first
    content = stream.getvalue()
    for number, changed in numbers.items():
        content = content.replace(number.to_bytes(8, "little"), changed.to_bytes(8, "little"))
    return content


DAMAGED = {
    "an external link": (link(h5py.ExternalLink("/etc/passwd", "/")), "a soft or external link"),
    "a soft link": (link(h5py.SoftLink("/layers/dense")), "a soft or external link"),
    "a circle": (in_weights(lambda file: file.__setitem__("layers/other", file["/"])), "refer to one object"),
    "the same array twice": (
        in_weights(lambda file: file.__setitem__("layers/other", file["layers/dense/vars/0"])),
        "refer to one object",
    ),
    "external storage": (in_weights(external_storage), "stored externally or in chunks"),
    "virtual storage": (in_weights(virtual), "stored externally or in chunks"),
    "compressed": (array(100, dtype="f4", chunks=(10,), compression="gzip"), "stored externally or in chunks"),
    "nothing stored": (array(10**10, dtype="u1"), "claims 10000000000 bytes and has 0"),
    "arrays that share their bytes": ({"model.weights.h5": overlapping}, "larger than the file"),
    "words": (array(3, dtype=h5py.string_dtype()), "not consist of plain numbers"),
    "numbers that Keras would take for others": (
        in_weights(lambda file: file["layers/dense/vars/0"].attrs.__setitem__("dtype", "bfloat16")),
        "not consist of plain numbers",
    ),
    "a type": (
        in_weights(lambda file: file.__setitem__("layers/other", np.dtype("f4"))),
        "something other than arrays",
    ),
    "no HDF5": ({"model.weights.h5": lambda content: b"x" * len(content)}, "model.weights.h5: .*signature"),
    "10 million units": (huge(units=10**7), "claims more weights than the file contains"),
    "units that are no number": (huge(units=True), "a layer without a size"),
    "negative units": (huge(units=-1), "a layer without a size"),
    "1 billion channels": (in_config(fewer_channels), "claims more weights than the file contains"),
    "channels that are not said": (in_config(unbuilt), "build_config"),
    "weights of another kind": (huge(lora_rank=10**9), "weights of an unknown kind"),
    "no network": ({"config.json": lambda content: b'{"class_name": "Zeros"}'}, "does not describe a network"),
    "a version that is a command": (
        {"metadata.json": lambda content: b'{"keras_version": "3.1; rm -rf ~"}'},
        "has no Keras version",
    ),
    "2 MB of JSON": ({"config.json": lambda content: content + b" " * 2**21}, "config.json claims 21"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_no_file_of_ours_has_is_refused(case, saved, tmp_path):
    changed, reason = DAMAGED[case]
    with pytest.raises(UserError, match=rf"is damaged \(.*{reason}.*\); train again into a new directory"):
        keras_file.load(rewritten(saved, changed, tmp_path / "model.keras"))


@pytest.mark.parametrize(
    "packing, name, reason",
    [
        (zipfile.ZIP_STORED, "assets/x", "it should contain"),
        (zipfile.ZIP_STORED, "../x", "it should contain"),
        (zipfile.ZIP_DEFLATED, None, "is compressed"),
        (zipfile.ZIP_BZIP2, None, "compression method"),
    ],
)
def test_an_archive_of_another_kind(packing, name, reason, saved, tmp_path):
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(tmp_path / "model.keras", "w", packing) as copy:
        for part in archive.namelist():
            copy.writestr(part, archive.read(part))
        if name:
            copy.writestr(name, b"")
    with pytest.raises(UserError, match=rf"is damaged \(.*{reason}"):
        keras_file.load(tmp_path / "model.keras")


@pytest.mark.parametrize("path, reason", [(".", "not a file"), ("absent.keras", "No such file")])
def test_no_model_file(path, reason, tmp_path):
    with pytest.raises(UserError, match=rf"cannot read this model: {reason}"):
        keras_file.load(tmp_path / path)
