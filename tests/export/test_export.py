"""Exports: every format agrees with the trained model, a wrong one is told, nothing half-written is left."""

import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from helpers import fork_server
from helpers.once import once
from helpers.programs import Collector, refused
from helpers.programs import program as answer_of

from mnist_mlp.cli import child_process
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.export import agreement, formats, keras_file, onnx_file, output_dir, verify_worker
from mnist_mlp.export import command as program
from mnist_mlp.export.formats import FORMATS, NAMES
from mnist_mlp.files import atomic
from mnist_mlp.models import networks, numpy_forward, portable
from mnist_mlp.models.keras_file import load
from mnist_mlp.train import train_and_evaluate

pytestmark = [pytest.mark.xla(False), pytest.mark.numerics]

PAGE = Path(program.__file__).with_name("README.md")
OF_0_1 = Path(__file__).parents[1] / "end_to_end" / "written_by_0_1" / "finished_jax" / "export"
EXACT = ("saved_model", "onnx", "litert", "keras", "weights")


def left_over(path):
    """Whatever in a directory has a temporary name."""
    return [entry.name for entry in path.iterdir() if entry.name.startswith(atomic.TEMPORARY)]


def random_images(n):
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28), "uint8")


def forked(command, **options):
    """A `Popen` of an export's process, but forked from one that has imported what it needs."""
    (_, m, module), arguments, environment = command[:3], command[3:], options.pop("env")
    assert m == "-m" and not options.pop("pass_fds")
    tensorflow = arguments[0] in ("saved_model", "keras") or {"saved_model", "litert", "litert_int8"} & {*arguments[3:]}
    for name in ("PYTHONPATH", "PYTHONSAFEPATH", "JAX_PLATFORMS"):  # a fork knows the package; no format needs JAX
        environment.pop(name)
        environment |= {name: os.environ[name]} if name in os.environ else {}
    backend = "tensorflow" if tensorflow else None
    return fork_server.start(module.removeprefix("mnist_mlp."), *arguments, backend=backend, env=environment, **options)


def fork_children(patch):
    patch.setattr(child_process, "subprocess", SimpleNamespace(Popen=forked, DEVNULL=subprocess.DEVNULL))


@pytest.fixture
def forking(monkeypatch):
    """The processes of an export in this one are forked."""
    fork_children(monkeypatch)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """All formats of a run, made by the program: (directory, export.json)."""

    def make(place):
        shutil.copytree(trained, place / "run", dirs_exist_ok=True)
        with pytest.MonkeyPatch.context() as patch, (place / "said").open("w") as said:
            fork_children(patch)
            with contextlib.redirect_stdout(said):
                program.main([f"--run_dir={place / 'run'}", "--int8", "--json", "--strategy=cpu"])

    place = once(tmp_path_factory, "exported", make)
    return place / "run" / "export", json.loads((place / "said").read_text())


# The plain layers, against Keras


@pytest.mark.parametrize("name", sorted(networks.MODELS))
@pytest.mark.parametrize("pixels", ["unit", "raw"])
def test_plain_layers_compute_what_keras_does(name, pixels, tmp_path):
    model, images = networks.build(name, pixels=pixels), random_images(7)
    if name == "mlp_zeros":  # equal probabilities would hide anything
        model.get_layer("logits").kernel.assign(np.random.default_rng(1).normal(0, 1, (64, 10)))
        model.get_layer("hidden_2").bias.assign(np.linspace(-1, 1, 64))
    portable.write(portable.layers_of(model), tmp_path / "weights.npz")
    layers = portable.read(tmp_path / "weights.npz")
    expected = keras.ops.convert_to_numpy(model(images.astype("float32")))
    assert np.ptp(expected) > 0.01
    tolerance = 2e-5 if pixels == "unit" else 1e-3  # logits of noise up to 255 are in the hundreds
    np.testing.assert_allclose(numpy_forward.probabilities(layers, images), expected, atol=tolerance)
    np.testing.assert_allclose(numpy_forward.probabilities(layers, images, "float64"), expected, atol=tolerance)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Rescaling(1 / 127.5, offset=-1, name="odd"),
        keras.layers.Dense(28, activation="gelu", name="odd"),
        keras.layers.Conv1D(28, 3, padding="same", name="odd"),
    ],
)
def test_a_layer_that_no_format_has_is_refused(layer):
    image = keras.Input((28, 28))
    x = keras.layers.Dense(10)(keras.layers.Flatten()(layer(image)))
    with pytest.raises(UserError, match=f"cannot export the {type(layer).__name__} layer 'odd', which no model"):
        portable.layers_of(keras.Model(image, keras.layers.Softmax()(x)))


@pytest.mark.parametrize(
    "name, pixels, precision",
    [("mlp", "unit", "float32"), ("mlp", "raw", "float32"), ("mlp", "unit", "bfloat16"), ("cnn", "raw", "float32")],
)
def test_the_keras_file_takes_bytes(name, pixels, precision, tmp_path):
    model, images = networks.build(name, pixels=pixels, precision=precision), random_images(5)
    for file in ("one.keras", "two.keras"):
        keras_file.write(model, tmp_path / file)
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    read = load(tmp_path / "one.keras")
    (takes,) = read.inputs  # in Keras 3.10 `input` is a list of it
    assert (takes.name, takes.dtype, read.output_names) == ("images", "uint8", ["probabilities"])
    expected = keras.ops.convert_to_numpy(model(images.astype("float32")))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(read(images)), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "mlp_tanh", "cnn"])
def test_onnx_files_are_checked_old_enough_and_equal(name, tmp_path):
    onnx = pytest.importorskip("onnx")
    layers, images = portable.layers_of(networks.build(name, seed=3)), random_images(5)
    for file in ("one.onnx", "two.onnx"):
        onnx_file.write(layers, tmp_path / file)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    model = onnx.load(tmp_path / "one.onnx")
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    call, _ = verify_worker.read_onnx(tmp_path / "one.onnx")
    for n in (5, 1, 0):
        probabilities, classes = call(images[:n])
        assert (probabilities.dtype, probabilities.shape, classes.size) == (np.float32, (n, 10), n)
        assert n == 0 or classes.shape == (n,)  # of no images, ONNX Runtime 1.23 gives [0, 10]
        np.testing.assert_allclose(probabilities, numpy_forward.probabilities(layers, images[:n]), atol=1e-6)


# The comparison


def predictions(n=1000):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(10, 0.05), n).astype("float32")
    labels = probabilities.argmax(1)
    labels[:100] = (labels[:100] + 1) % 10  # the trained model has 90% right
    return labels, probabilities


def test_equal_predictions_agree():
    labels, p = predictions()
    found = agreement.compare(labels, p, p.copy(), p.argmax(1), 1e-5)
    assert (found.agrees, found.agreements, found.correct, found.first_difference) == (True, 1000, 900, None)


def test_one_probability_beyond_the_tolerance_is_enough():
    labels, p = predictions()
    other = p.copy()
    other[417, 3] += 2e-5
    found = agreement.compare(labels, p, other, other.argmax(1), 1e-5)
    assert not found.agrees and found.first_difference["image"] == 417
    assert agreement.compare(labels, p, other, other.argmax(1), 3e-5).agrees


@pytest.mark.parametrize("tolerance", [1e-5, None])
def test_nan_does_not_agree(tolerance):
    labels, p = predictions()
    other = np.full_like(p, np.nan)
    found = agreement.compare(labels, p, other, p.argmax(1), tolerance)
    assert not found.agrees and found.agreements == 0 and found.first_difference["image"] == 0


def test_a_class_that_is_not_the_likeliest_does_not_agree():
    labels, p = predictions()
    classes = p.argmax(1)
    classes[5] = p[5].argmin()
    found = agreement.compare(labels, p, p.copy(), classes, 1e-5)
    assert (found.agrees, found.agreements, found.first_difference["image"]) == (False, 999, 5)


def moved(p, images):
    """Predictions with another class for those images."""
    other = p.copy()
    other[images] = np.roll(other[images], 1, axis=1)
    return other


@pytest.mark.parametrize(
    "images, agrees",
    [
        (slice(100, 102), True),  # two of 1,000 that were right: 0.2 points
        (slice(100, 103), False),  # three
        (slice(95, 105), True),  # five, and five newly right
        (slice(0, 34), True),  # a third of 100 that were wrong, rounded up
        (slice(0, 35), False),
    ],
)
def test_fewer_bits_may_lose_little_and_change_little(images, agrees):
    labels, p = predictions()
    if images.start == 0:
        labels[:100] = (p[:100].argmax(1) + 5) % 10  # wrong before and after
    other = moved(p, images)
    assert agreement.compare(labels, p, other, other.argmax(1), None).agrees is agrees


def test_the_tolerance_grows_with_the_logits():
    model, images = networks.build("softmax", pixels="raw"), random_images(50)
    layers = portable.layers_of(model)
    small, large = (
        [
            dataclasses.replace(layer, kernel=layer.kernel * scale) if layer.kind == "dense" else layer
            for layer in layers
        ]
        for scale in (np.float32(1e-3), np.float32(0.1))
    )
    assert agreement.tolerance_of(small, images) == agreement.LEAST_TOLERANCE
    assert agreement.tolerance_of(large, images) > agreement.LEAST_TOLERANCE


def without_scaling(layers):
    return [layer for layer in layers if layer.kind != "scale"]


def with_swapped_outputs(layers):
    def swapped(layer):
        return dataclasses.replace(layer, kernel=layer.kernel[:, ::-1]) if layer.name == "logits" else layer

    return [swapped(layer) for layer in layers]


def with_a_weight_off(layers):
    def off(layer):
        kernel = layer.weights[0].copy()
        kernel[14 * 28 + 14, :] += 0.01  # of the pixel in the middle
        return dataclasses.replace(layer, kernel=kernel)

    return [off(layer) if layer.name == "hidden_1" else layer for layer in layers]


@pytest.mark.parametrize("wrong", [without_scaling, with_swapped_outputs, with_a_weight_off])
def test_predictions_of_a_wrong_network_do_not_agree(wrong):
    layers, images = portable.layers_of(networks.build("mlp", seed=3)), random_images(50)
    right, other = (numpy_forward.probabilities(each, images) for each in (layers, wrong(layers)))
    found = agreement.compare(right.argmax(1), right, other, other.argmax(1), agreement.tolerance_of(layers, images))
    assert not found.agrees


def test_of_a_model_in_bfloat16_everything_is_close(digits):
    model = networks.build("mlp", precision="bfloat16", seed=3)
    engine = SimpleNamespace(model=model, predict=lambda images: keras.ops.convert_to_numpy(model(images)))
    reference = program.reference_of(engine, digits, SimpleNamespace(precision="bfloat16"))
    found = numpy_forward.probabilities(reference.layers, reference.images)
    comparison = agreement.compare(
        reference.labels, reference.probabilities, found, found.argmax(1), reference.tolerance
    )
    assert comparison.tolerance is None and comparison.agrees and 1e-5 < comparison.largest_difference < 0.1


# What is asked for


def test_formats_are_chosen_by_words_and_commas():
    assert formats.chosen((), False) == list(NAMES) == list(EXACT)
    assert formats.chosen(("keras,onnx",), False) == ["onnx", "keras"]
    assert formats.chosen(("litert", "weights"), True) == ["litert", "weights", "litert_int8"]
    with pytest.raises(UserError, match="received 'onx'; did you mean 'onnx'"):
        formats.chosen(("onx",), False)
    with pytest.raises(UserError, match="--int8: expected --format=onnx or litert, received keras"):
        formats.chosen(("keras",), True)


def test_a_missing_package_is_named_before_anything_is_done(monkeypatch, tmp_path):
    there = formats.importlib.util.find_spec
    gone = ("onnxruntime", "ai_edge_litert")
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None if name in gone else there(name))
    with pytest.raises(UserError) as error:
        formats.check_packages(formats.chosen((), False))
    assert "--format=litert,onnx needs the packages ai-edge-litert and onnxruntime" in str(error.value)
    assert "-m pip install ai-edge-litert onnxruntime" in str(error.value)
    formats.check_packages(["keras", "weights"])


def test_without_tensorflow_the_other_formats_are_named(monkeypatch):
    monkeypatch.setattr(formats, "tensorflow_problem", lambda seen: "TensorFlow is not installed; type pip install")
    formats.check_packages(["onnx", "keras", "weights"])
    with pytest.raises(
        UserError, match=r"--format=saved_model: TensorFlow is .*without it: --format=onnx,keras,weight"
    ):
        formats.check_packages(["saved_model", "onnx"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv, words",
    [
        (["--format", "onx"], "did you mean 'onnx'"),
        (["--format=onnx", "--run_dir=nowhere"], "--run_dir=nowhere: expected the directory of a finished run"),
        ([], "use --run_dir=DIR"),
    ],
)
def test_mistakes_are_answered_in_a_line_without_a_framework(argv, words):
    refused(answer_of("export", *argv), words)


# The place


def entry(directory, **more):
    """An earlier export with one file in it."""
    directory.mkdir(exist_ok=True)
    (directory / "model.onnx").write_bytes(b"onnx")
    size, sha256 = output_dir.measure(directory / "model.onnx")
    row = {"format": "onnx", "file": "model.onnx", "bytes": size, "sha256": sha256, **more}
    atomic.write_json(directory / output_dir.REPORT, {"formats": [row]})
    return row


def test_the_directory_must_be_new_empty_or_an_export(tmp_path):
    assert output_dir.earlier(tmp_path / "new") == {}
    (tmp_path / "empty").mkdir()
    assert output_dir.earlier(tmp_path / "empty") == {}
    row = entry(tmp_path / "export")
    assert output_dir.earlier(tmp_path / "export") == {"formats": [row]}
    (tmp_path / "export" / "thesis.tex").touch()
    with pytest.raises(UserError, match="received one that holds 'thesis.tex'"):
        output_dir.earlier(tmp_path / "export")
    with pytest.raises(UserError, match="expected a directory, received a file"):
        output_dir.earlier(tmp_path / "export" / "thesis.tex")
    with pytest.raises(UserError, match="expected a directory inside one that exists, there is no .*; try mkdir -p "):
        output_dir.earlier(tmp_path / "a" / "b")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.onnx").touch()
    with pytest.raises(UserError, match="expected an earlier export, received one without export.json"):
        output_dir.earlier(tmp_path / "own")
    (tmp_path / "own" / output_dir.REPORT).write_text("{}")
    with pytest.raises(UserError, match="export.json is damaged"):
        output_dir.earlier(tmp_path / "own")


def test_a_file_is_kept_only_as_it_was(tmp_path):
    row = entry(tmp_path / "old")
    (tmp_path / "new").mkdir()
    assert output_dir.keep(row, tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new" / "model.onnx").read_bytes() == b"onnx"
    shutil.copy(tmp_path / "old" / "model.onnx", tmp_path / "secret")
    assert not output_dir.keep({**row, "file": "../secret"}, tmp_path / "old", tmp_path / "new")
    (tmp_path / "old" / "model.onnx").write_bytes(b"oNnx")
    assert not output_dir.keep(row, tmp_path / "old", tmp_path / "new")


def saved_model(directory, version):
    """A SavedModel as version 0.1 wrote it (""), or in the folder of a version."""
    place = directory / "saved_model" / version
    (place / "variables").mkdir(parents=True)
    (place / "saved_model.pb").write_bytes(b"graph")
    file = f"saved_model/{version}".removesuffix("/")
    size, sha256 = output_dir.measure(directory / file)
    return {"format": "saved_model", "file": file, "bytes": size, "sha256": sha256}


@pytest.mark.parametrize("version", ["", "1"])
def test_a_saved_model_is_kept_with_or_without_its_version(tmp_path, version):
    row = saved_model(tmp_path / "old", version)
    (tmp_path / "new").mkdir()
    assert output_dir.keep(row, tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new" / row["file"] / "saved_model.pb").read_bytes() == b"graph"


def test_other_versions_of_a_saved_model_are_not_ours(tmp_path):
    atomic.write_json(tmp_path / output_dir.REPORT, {"formats": [saved_model(tmp_path, "1")]})
    assert output_dir.earlier(tmp_path)["formats"]
    saved_model(tmp_path, "2")
    with pytest.raises(UserError, match="received one that holds 'saved_model/2'"):
        output_dir.earlier(tmp_path)


def test_of_a_saved_model_that_is_removed_no_folder_is_left(tmp_path):
    for file in (saved_model(tmp_path, "1")["file"], entry(tmp_path)["file"]):
        output_dir.remove(tmp_path / file, tmp_path)
    assert os.listdir(tmp_path) == [output_dir.REPORT]


@pytest.mark.parametrize("error", [UserError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_what_fails_changes_nothing(tmp_path, error):
    entry(tmp_path / "export")
    before = output_dir.fingerprint(tmp_path / "export")
    with pytest.raises((UserError, KeyboardInterrupt)), output_dir.replaced(tmp_path / "export") as (directory, _):
        (directory / "model.onnx").write_bytes(b"half")
        raise error
    assert output_dir.fingerprint(tmp_path / "export") == before
    assert os.listdir(tmp_path) == ["export"]


def test_an_export_is_replaced_whole_and_leftovers_are_removed(tmp_path):
    entry(tmp_path / "export")
    with subprocess.Popen(["true"]) as gone:
        leftover = tmp_path / f"{atomic.TEMPORARY}{gone.pid}-new-export"
    theirs = tmp_path / f"{atomic.TEMPORARY}{os.getppid()}-new-export"  # of a process that lives
    for path in (leftover, theirs):
        path.mkdir()
    with output_dir.replaced(tmp_path / "export") as (directory, _):
        (directory / "weights.npz").write_bytes(b"new")
    assert os.listdir(tmp_path / "export") == ["weights.npz"]
    assert sorted(os.listdir(tmp_path)) == sorted([theirs.name, "export"])


def test_two_at_once_do_not_overwrite_each_other(tmp_path):
    with (
        pytest.raises(UserError, match="another process has just written it"),
        output_dir.replaced(tmp_path / "export"),
    ):
        entry(tmp_path / "export")
    assert (tmp_path / "export" / "model.onnx").exists() and os.listdir(tmp_path) == ["export"]


# The processes


def test_a_process_that_is_killed_or_refuses_is_told_in_a_line(monkeypatch):
    def ends(code):
        def popen(command, **options):
            return subprocess.Popen(["/bin/sh", "-c", code], **options)

        monkeypatch.setattr(child_process, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))

    ends("kill -9 $$")
    with pytest.raises(UserError, match="the process that waits was killed by signal 9 "):
        child_process.run("export", doing="waits")
    ends("echo 'error: expected X' >&2; exit 2")
    with pytest.raises(UserError, match="^expected X$"):
        child_process.run("export", doing="waits")
    ends("echo 'ImportError: libfoo.so' >&2; exit 1")
    with pytest.raises(UserError, match="exited with code 1: ImportError: libfoo.so; reinstall"):
        child_process.run("export", doing="waits")
    ends("echo 'Traceback: ZeroDivisionError' >&2; exit 1")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        child_process.run("export", doing="waits")


def test_calls_of_several_sizes_cover_every_image_once():
    assert list(verify_worker.sizes(0)) == []
    assert list(verify_worker.sizes(102)) == [1] * 100 + [2]
    assert list(verify_worker.sizes(360)) == [1] * 100 + [3, 256, 1]
    assert sum(verify_worker.sizes(10_000)) == 10_000


# The whole, on the digits


@pytest.mark.slow
def test_every_format_agrees_on_every_test_image(exported):
    directory, report = exported
    rows = {row["format"]: row for row in report["formats"]}
    assert list(rows) == list(FORMATS) and all(row["agrees"] for row in rows.values())
    for name in EXACT:
        assert (rows[name]["agreements"], rows[name]["total"]) == (360, 360)
        assert (
            rows[name]["correct"]
            == report["test"]["correct"]
            == atomic.read_json(directory.parent / "result.json")["test"]["correct"]
        )
        assert rows[name]["largest_difference"] < 1e-5
    assert atomic.read_json(directory / output_dir.REPORT) == report
    assert {"keras", "tensorflow", "onnx", "onnxruntime", "ai-edge-litert"} <= set(report["versions"])
    assert {entry.name for entry in directory.iterdir()} == output_dir.OURS
    for row in rows.values():
        assert output_dir.measure(directory / row["file"]) == (row["bytes"], row["sha256"])
        assert row["outputs"] == ["probabilities", "class"][: 1 if row["format"] in ("keras", "weights") else 2]
    assert rows["onnx_int8"]["bytes"] < 0.3 * rows["onnx"]["bytes"]
    assert rows["litert_int8"]["bytes"] < 0.3 * rows["litert"]["bytes"]
    assert left_over(directory.parent) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "keras"])
def test_the_batch_is_free_and_the_input_is_bytes(exported, digits, name):
    directory, _ = exported
    call, _ = verify_worker.READERS[name.removesuffix("_int8")](directory / FORMATS[name].file)
    images = np.resize(digits.test.images, (1000, 28, 28))
    many, _ = call(images)
    for n in (0, 1, 3, 1000):
        probabilities, classes = call(images[:n])
        assert (probabilities.dtype, probabilities.shape, classes.shape) == (np.float32, (n, 10), (n,))
        np.testing.assert_allclose(probabilities, many[:n], atol=1e-5)


@pytest.mark.slow
def test_the_same_run_exports_to_the_same_bytes_and_keeps_the_others(exported, tmp_path, forking):
    directory, first = exported
    shutil.copytree(directory, tmp_path / "export")
    options = program.Options(run_dir=str(directory.parent), format=("weights",), output=str(tmp_path / "export"))
    reporter = Collector()
    again = program.export(options, reporter=reporter)
    kept = "saved_model, onnx, litert, keras, onnx_int8, litert_int8"
    assert f"kept     {kept}: already exported from the same model" in reporter.lines
    sums = [{row["format"]: row["sha256"] for row in report["formats"]} for report in (first, again)]
    assert sums[0] == sums[1]
    assert {entry.name for entry in (tmp_path / "export").iterdir()} == output_dir.OURS


@pytest.mark.slow
def test_a_wrong_export_is_refuted_and_its_file_removed(trained, tmp_path, monkeypatch, forking):
    right = portable.layers_of
    monkeypatch.setattr(portable, "layers_of", lambda model: with_a_weight_off(right(model)))
    with pytest.raises(Refuted) as error:
        program.main([f"--run_dir={trained}", "--format", "onnx", "weights", f"--output={tmp_path / 'export'}"])
    assert error.value.exit_code == 4
    assert "✗ onnx differs from the trained model: for test image" in str(error.value)
    assert "✗ weights differs" in str(error.value)
    report = atomic.read_json(tmp_path / "export" / output_dir.REPORT)
    assert [(row["format"], row["agrees"]) for row in report["formats"]] == [("onnx", False), ("weights", False)]
    assert os.listdir(tmp_path / "export") == [output_dir.REPORT]


@pytest.mark.slow
def test_a_damaged_model_is_refused_and_nothing_is_written(trained, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(trained, path)
    content = bytearray((path / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "model.keras").write_bytes(content)
    with pytest.raises(UserError, match="model.keras is damaged"):
        program.export(program.Options(run_dir=str(path), format=("weights",)), reporter=SILENT)
    assert not (path / "export").exists() and left_over(path) == []


@pytest.mark.slow
def test_interrupted_it_leaves_nothing(trained, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(trained, path)
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = fork_server.start("export", f"--run_dir={path}", "--format=onnx", backend="tensorflow", **pipes)
    try:
        while process.poll() is None and not any(path.glob(f"{atomic.TEMPORARY}*/model.onnx")):  # until it writes
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, words.count("\n")) == (143, 1), words
    assert left_over(path) == [] and not (path / "export").exists()


# Each file as the usual client of its runtime uses it


@pytest.fixture(scope="module")
def expected(exported, digits):
    """The classes of the test images by the trained model, int [n]: computed in NumPy, from the run's own weights."""
    directory, _ = exported
    layers = portable.layers_of(load(directory.parent / "model.keras"))
    classes = numpy_forward.probabilities(layers, digits.test.images).argmax(1)
    assert len(set(classes)) == 10 and (classes == digits.test.labels).mean() > 0.9
    return classes


@pytest.mark.slow
@pytest.mark.parametrize("name, least", [("litert", 1.0), ("litert_int8", 0.97)])
def test_a_litert_client_takes_output_0(exported, digits, expected, name, least):
    from ai_edge_litert.interpreter import Interpreter

    directory, _ = exported
    interpreter = Interpreter(str(directory / FORMATS[name].file))
    (takes,), gives = interpreter.get_input_details(), interpreter.get_output_details()
    assert [takes["name"], *(output["name"] for output in gives)] == ["images", "probabilities", "class"]
    assert [output["dtype"] for output in gives] == [np.float32, np.int32]
    interpreter.resize_tensor_input(takes["index"], digits.test.images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(takes["index"], digits.test.images)
    interpreter.invoke()
    probabilities, classes = (interpreter.get_tensor(output["index"]) for output in gives)
    assert (probabilities.argmax(1) == expected).mean() >= least and (probabilities.argmax(1) == classes).all()
    by_name = interpreter.get_signature_runner("serving_default")(images=digits.test.images)
    np.testing.assert_array_equal(by_name["probabilities"], probabilities)
    np.testing.assert_array_equal(by_name["class"], classes)


@pytest.mark.slow
@pytest.mark.parametrize("name, least", [("onnx", 1.0), ("onnx_int8", 0.97)])
def test_an_onnx_client_takes_output_0(exported, digits, expected, name, least):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported[0] / FORMATS[name].file)
    (takes,), gives = session.get_inputs(), session.get_outputs()
    assert [takes.name, *(output.name for output in gives)] == ["images", "probabilities", "class"]
    assert [output.type for output in gives] == ["tensor(float)", "tensor(int64)"]
    probabilities, classes = session.run(None, {takes.name: digits.test.images})
    assert (probabilities.argmax(1) == expected).mean() >= least and (probabilities.argmax(1) == classes).all()


def version_to_serve(base):
    """The folder that TensorFlow Serving loads: of those in a model's base path that are named by a number the last."""
    return max((folder for folder in base.iterdir() if folder.name.isdecimal()), key=lambda folder: int(folder.name))


@pytest.mark.slow
def test_tensorflow_serving_finds_a_version_and_its_signature(exported, digits, expected):
    import tensorflow as tf

    version = version_to_serve(exported[0] / "saved_model")
    assert version.name == "1" and {"saved_model.pb", "variables"} <= {entry.name for entry in version.iterdir()}
    serving = tf.saved_model.load(str(version), tags=["serve"]).signatures["serving_default"]
    (takes,) = serving.structured_input_signature[1].values()
    assert (takes.name, takes.dtype, takes.shape.as_list()) == ("images", tf.uint8, [None, 28, 28])
    outputs = serving(images=tf.constant(digits.test.images))
    assert {name: output.dtype for name, output in outputs.items()} == {"probabilities": tf.float32, "class": tf.int32}
    assert (outputs["probabilities"].numpy().argmax(1) == expected).all()
    assert (outputs["class"].numpy() == expected).all()


@pytest.mark.slow
def test_keras_loads_the_saved_model_as_a_layer(exported, digits, expected):
    path = str(exported[0] / "saved_model" / "1")
    model = keras.Sequential([keras.Input((28, 28), dtype="uint8"), keras.layers.TFSMLayer(path)])
    assert (model.predict(digits.test.images, verbose=0).argmax(1) == expected).all()
    outputs = keras.layers.TFSMLayer(path, call_endpoint="serving_default")(digits.test.images)
    assert (keras.ops.convert_to_numpy(outputs["probabilities"]).argmax(1) == expected).all()


@pytest.mark.slow
def test_the_code_for_each_runtime_on_the_page(exported, tmp_path, monkeypatch, capsys):
    """The blocks that tests/end_to_end does not run: it exports fewer formats."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(exported[0].parent)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(block, {})
    assert len(blocks) == 3 and re.fullmatch(r"(\d) \1\n(\d) \2\n(\d) \3\n", capsys.readouterr().out)


def test_outputs_in_another_order_do_not_agree(digits):
    """As version 0.1 wrote them: output 0 is the class."""
    call, _ = verify_worker.read_litert(OF_0_1 / "model.tflite")
    first, second = call(digits.test.images)
    assert (first == second.argmax(1)).all()
    with pytest.raises(ValueError, match=r"expected predictions \(360, 10\), received \(360,\) and \(360, 10\)"):
        agreement.compare(digits.test.labels, second, first, second, 1e-5)


# Real MNIST


@pytest.mark.full
@pytest.mark.slow
def test_on_mnist_float32_agrees_on_all_10_000_and_int8_loses_at_most_a_fifth_of_a_point(mnist_dir, tmp_path):
    config = Config(dataset="mnist", data_dir=str(mnist_dir), epochs=1)
    train_and_evaluate(config, tmp_path / "run", reporter=SILENT)
    formats = ("onnx", "saved_model", "litert")
    report = program.export(program.Options(run_dir=str(tmp_path / "run"), format=formats, int8=True), reporter=SILENT)
    rows = {row["format"]: row for row in report["formats"]}
    assert set(rows) == {*formats, "onnx_int8", "litert_int8"}
    for name in formats:
        assert (rows[name]["agreements"], rows[name]["total"]) == (10_000, 10_000)
        assert rows[name]["correct"] == report["test"]["correct"]
    for name in ("onnx_int8", "litert_int8"):
        assert rows[name]["correct"] >= report["test"]["correct"] - 20
