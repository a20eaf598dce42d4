"""`evaluate --calibrate`: a temperature for a run, which predict, serve, export and the report use."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fork_server import run
from helpers.once import once
from helpers.pages import checked
from helpers.programs import Collector

from mnist_mlp import data, open_run, predict
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.data.batches import split_validation
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import calibrate, certainty, command
from mnist_mlp.evaluate.calibrate import Logits
from mnist_mlp.export import keras_file as exported
from mnist_mlp.files import atomic
from mnist_mlp.models import keras_file, networks
from mnist_mlp.runs import calibration, checkpoint
from mnist_mlp.runs.calibration import Calibration
from mnist_mlp.runs.result import Result
from mnist_mlp.stats.calibration import softmax

pytestmark = pytest.mark.xla(False)
OLD = Path(__file__).parent.parent / "end_to_end" / "written_by_0_1" / "finished_jax"


def drawn(n, temperature=2.0, seed=0):
    """Logits and the labels that they would have if the network were overconfident by the temperature."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 5, (n, 10)).astype(np.float32)
    return Logits(logits, (softmax(logits, temperature).cumsum(1) > generator.random((n, 1))).argmax(1))


@pytest.fixture
def numpy_versions(monkeypatch):
    monkeypatch.setattr(calibrate, "versions", lambda backend: {"numpy": np.__version__})


@pytest.fixture
def fitted(numpy_versions) -> Calibration:
    trained = SimpleNamespace(model_sha256="abc")
    return calibrate.fit(trained, drawn(2000), drawn(1000, seed=1), "tensorflow")


# The fit


def test_the_fit_halves_the_error_of_an_overconfident_network(fitted):
    low, high = fitted.temperature_interval
    assert low < 2 < high and fitted.validation["images"] == 1000 and fitted.before["images"] == 2000
    assert fitted.after["ece"] < fitted.before["ece"] / 2
    assert fitted.validation["nll_after"] < fitted.validation["nll_before"]
    mean, (least, most) = fitted.change["nll"]["mean"], fitted.change["nll"]["interval"]
    assert least < mean < most < 0 and mean == pytest.approx(fitted.after["nll"] - fitted.before["nll"])
    assert fitted.after["accuracy"] == fitted.before["accuracy"]
    assert fitted.after["coverage"]["chosen_on"] == "validation"


def test_what_determines_no_temperature_is_refused_in_a_line(numpy_versions):
    trained, test = SimpleNamespace(model_sha256="abc"), drawn(100)
    perfect = Logits(test.values, test.values.argmax(1))
    with pytest.raises(UserError, match="--calibrate: 100 of the run's 100 validation images are recognized, so"):
        calibrate.fit(trained, test, perfect, "jax")
    with pytest.raises(UserError, match="0 of the run's 1 validation images are recognized, so no temp"):
        calibrate.fit(trained, test, Logits(np.eye(10)[:1] * 3, np.array([4])), "jax")
    with pytest.raises(UserError, match="expected two test images or more"):
        calibrate.fit(trained, Logits(test.values[:1], test.labels[:1]), test, "jax")
    with pytest.raises(UserError, match="in another order, so its validation images are unknown; use --data_dir"):
        calibrate.fit(trained, test, None, "jax")
    with pytest.raises(UserError, match="predicts nan"):
        calibrate.fit(trained, test, Logits(test.values * np.nan, test.labels), "jax")


def test_a_run_without_validation_images_is_refused_before_anything_is_loaded():
    with pytest.raises(
        UserError, match=r"--calibrate: expected a run with validation .*; train .*--validation_fraction=0.1"
    ):
        command.main([f"--run_dir={OLD}", "--calibrate", "--strategy=cpu"])


# Which images were held out


def test_validation_images_are_known_by_their_order(digits, monkeypatch):
    config, counts = Config(dataset="digits", validation_fraction=0.2, seed=3), {"train_examples": 1150}
    trained = SimpleNamespace(dataset={**counts, "validation_examples": 287})
    seen = {"training images": in_order_hash(digits.train)}
    monkeypatch.setattr(checkpoint, "newest", lambda path: (SimpleNamespace(data=seen), None, {}))
    found = calibrate.held_out(Path(), config, trained, digits)
    _, expected = split_validation(digits.train, 0.2, 3)
    np.testing.assert_array_equal(found.images, expected.images)
    turned = data.Split(digits.train.images[::-1], digits.train.labels[::-1])
    other = data.Dataset("digits", "", turned, digits.test, (), True)
    assert calibrate.held_out(Path(), config, trained, other) is None
    monkeypatch.setattr(checkpoint, "newest", lambda path: (None, None, {}))  # removed by its owner
    assert len(calibrate.held_out(Path(), config, trained, digits)) == 287
    trained.dataset["train_examples"] = 1000
    assert calibrate.held_out(Path(), config, trained, digits) is None
    trained.dataset["validation_examples"] = 0
    assert calibrate.held_out(Path(), config, trained, digits) is None


# The file


def test_a_calibration_is_read_as_it_was_written(fitted, tmp_path):
    assert calibration.read(tmp_path, "abc") is None
    atomic.write_json(tmp_path / calibration.NAME, fitted.to_dict())
    assert calibration.read(tmp_path, "abc") == fitted


def test_another_model_does_not_get_the_temperature(fitted, tmp_path):
    file = tmp_path / calibration.NAME
    atomic.write_json(file, fitted.to_dict())
    with pytest.raises(
        UserError, match="belongs to another model than model.keras beside it; run .* --calibrate, or rem"
    ):
        calibration.read(tmp_path, "abd")
    assert calibration.drop_stale(tmp_path, "abc") == "" and file.exists()
    assert "removed calibration.json: it belongs to the model before this training" in calibration.drop_stale(
        tmp_path, "abd"
    )
    assert not file.exists() and calibration.drop_stale(tmp_path, "abd") == ""


@pytest.mark.parametrize(
    "change", [{"temperature": 0}, {"temperature": "hot"}, {"more": 1}, {"after": {}}, {"temperature": -1.0}]
)
def test_a_damaged_calibration_is_refused(fitted, tmp_path, change):
    atomic.write_json(tmp_path / calibration.NAME, fitted.to_dict() | change)
    with pytest.raises(UserError, match="calibration.json is damaged; run python -m mnist_mlp.evaluate"):
        calibration.read(tmp_path, "abc")
    (tmp_path / calibration.NAME).write_text('{"temperature": 2}')
    with pytest.raises(UserError, match="damaged"):
        calibration.read(tmp_path, "abc")


def test_a_directory_in_its_place_is_called_what_it_is(tmp_path):
    (tmp_path / calibration.NAME).mkdir()
    with pytest.raises(UserError, match=f"{calibration.NAME} cannot be read: it is no regular file$"):
        calibration.read(tmp_path, "0" * 64)


def test_a_result_without_it_is_shown_as_it_is(tmp_path):
    result = Result.from_dict(atomic.read_json(OLD / "result.json"))
    assert calibration.shown(tmp_path, result) == result.to_dict()
    assert certainty.lines(result.test) == []


def test_the_console_says_before_and_after(fitted):
    test = {"calibration": fitted.before, "calibrated": calibration.calibrated(fitted)}
    lines = certainty.lines(test)
    assert [line[:9].strip() for line in lines] == ["sure", "", "scaled", "", "", ""]
    assert f"ECE {100 * fitted.before['ece']:.2f}% (95% interval " in lines[0]
    assert f"by the temperature {fitted.temperature:.3f}" in lines[2] and "on 1,000 validation images" in lines[2]
    assert f"loss {fitted.before['nll']:.4f} to {fitted.after['nll']:.4f}, change -" in lines[4]
    assert all(len(line) < 120 for line in lines)
    assert len(certainty.lines({"calibration": fitted.before})) == 2


def test_a_temperature_that_may_as_well_be_1_is_said_to_be_so(numpy_versions):
    trained = SimpleNamespace(model_sha256="abc")
    found = calibrate.fit(trained, drawn(2000, 1.05), drawn(100, 1.05, seed=1), "tensorflow")
    low, high = found.temperature_interval
    assert low < 1 < high
    lines = certainty.lines({"calibration": found.before, "calibrated": calibration.calibrated(found)})
    assert lines[-2].startswith(
        "  !      the interval contains 1: 100 validation images do not show that a temperature"
    )
    assert lines[-1].endswith("hold out more in training, or delete calibration.json to do without")
    assert all(len(line) < 120 for line in lines[-2:])


# The network


def test_a_temperature_changes_no_class(tmp_path):
    model = networks.build("softmax", seed=1)
    model.get_layer("logits").kernel.assign(np.random.default_rng(0).normal(size=(784, 10)))
    images = np.random.default_rng(1).integers(0, 256, (50, 28, 28)).astype(np.float32)
    logits = networks.to_logits(model)(images)
    scaled = networks.with_temperature(model, 3.7)
    np.testing.assert_allclose(scaled(images), softmax(np.asarray(logits), 3.7), rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(np.argmax(scaled(images), 1), np.argmax(logits, 1))
    assert [v.path for v in scaled.variables] == [v.path for v in model.variables]
    np.testing.assert_array_equal(networks.to_logits(scaled)(images), logits)
    exported.write(scaled, tmp_path / "model.keras")
    again = keras_file.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images.astype(np.uint8)), scaled(images))


# Whole runs


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run on the digits that held out validation images."""

    def make(place):
        from mnist_mlp.train import train_and_evaluate

        config = Config(dataset="digits", epochs=2, validation_fraction=0.3, strategy="cpu", seed=2)
        train_and_evaluate(config, place / "run", reporter=SILENT)

    return once(tmp_path_factory, "kept", make) / "run"


@pytest.fixture
def own(kept, tmp_path):
    return Path(shutil.copytree(kept, tmp_path / "run"))


def evaluated(path, *, reporter=SILENT, **more):
    return command.evaluate(command.Options(run_dir=str(path), strategy="cpu", **more), reporter=reporter).result


@pytest.mark.slow
def test_a_calibrated_run_predicts_with_its_temperature(own, digits):
    files = {file.name: file.read_bytes() for file in own.iterdir() if file.is_file()}
    trained = atomic.read_json(own / "result.json")
    run_before = open_run(own, strategy="cpu")
    plain, logits = run_before.predict(digits.test.images), run_before.engine.logits(digits.test.images)
    assert trained["test"]["calibration"]["coverage"]["chosen_on_images"] == 431

    reporter = Collector()
    result = evaluated(own, calibrate=True, reporter=reporter)
    stored = calibration.read(own, trained["model_sha256"])
    assert result.test["calibration"] == trained["test"]["calibration"] == stored.before
    assert result.test["calibrated"]["temperature"] == stored.temperature != 1
    assert f"stored   {own / 'calibration.json'}" in reporter.lines[-1]
    left = {file.name: file.read_bytes() for file in own.iterdir() if file.is_file()}
    assert left.pop("calibration.json") and left == files  # nothing else was touched

    scaled = open_run(own, strategy="cpu").predict(digits.test.images)
    np.testing.assert_allclose(scaled, softmax(logits, stored.temperature), rtol=2e-4, atol=1e-7)
    assert np.abs(scaled - plain).max() > 1e-3
    np.testing.assert_array_equal(scaled.argmax(1), plain.argmax(1))
    _, asked = predict.predict(predict.Options(run_dir=str(own), strategy="cpu"))
    np.testing.assert_array_equal(asked, scaled)

    again = evaluated(own)  # shows what is stored
    assert again.test["calibrated"] == result.test["calibrated"] and again.test["loss"] == trained["test"]["loss"]


@pytest.mark.slow
def test_it_overwrites_what_is_there_and_refuses_a_directory_in_use(own):
    (own / calibration.NAME).write_text("damaged")
    with pytest.raises(UserError, match="is damaged"):
        evaluated(own)
    evaluated(own, calibrate=True)
    first = (own / calibration.NAME).read_bytes()
    evaluated(own, calibrate=True)
    assert (own / calibration.NAME).read_bytes() == first
    found = calibration.read(own, json.loads(first)["model_sha256"])
    with calibrate.directory.locked(own), pytest.raises(UserError, match="locked by process"):
        calibrate.store(own, found)


@pytest.mark.slow
def test_training_further_loses_it_with_a_note_and_the_report_shows_it(own):
    from mnist_mlp.train import config_of, train_and_evaluate

    evaluated(own, calibrate=True)
    command_report(own)
    page = checked(own / "report.html")
    assert "with temperature" in page.text and page.rows("Calibration on the test images")[2][0].startswith("with temp")
    again, more = ({"run_dir": str(own), "resume": True, **given} for given in ({}, {"epochs": 3}))
    reporter = Collector()
    train_and_evaluate(config_of(again), own, reporter=reporter)  # finished is finished: the same model
    assert (own / calibration.NAME).exists() and "with temperature" in checked(own / "report.html").text
    train_and_evaluate(config_of(more), own, reporter=reporter)
    assert not (own / calibration.NAME).exists()
    assert "removed calibration.json: it belongs to the model before this training; fit a new" in "\n".join(
        reporter.lines
    )
    assert "with temperature" not in checked(own / "report.html").text


def command_report(path):
    from mnist_mlp.report import command as report

    report.report(report.Options(runs=(str(path),), strategy="cpu"), reporter=SILENT)


@pytest.mark.slow
def test_an_export_made_after_is_that_of_the_calibrated_network(own, digits):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package)
    from mnist_mlp.export import command as export
    from mnist_mlp.models import numpy_forward, portable

    def export_to(*formats):
        options = export.Options(run_dir=str(own), format=formats, strategy="cpu")
        return export.export(options, reporter=SILENT)

    assert export_to("weights")["temperature"] is None
    evaluated(own, calibrate=True)
    temperature = calibration.read(own, atomic.read_json(own / "result.json")["model_sha256"]).temperature
    second = export_to("onnx")  # the file without the temperature does not stay beside it
    assert second["temperature"] == temperature
    assert [(row["format"], row["agrees"]) for row in second["formats"]] == [("onnx", True)]
    layers = portable.layers_of(open_run(own, strategy="cpu").model)
    assert [layer.name for layer in layers][-3:] == ["logits", "temperature", "probabilities"]
    shares = numpy_forward.probabilities(layers, digits.test.images)
    np.testing.assert_allclose(shares, open_run(own, strategy="cpu").predict(digits.test.images), atol=1e-5)


@pytest.mark.slow
def test_the_server_gives_the_calibrated_probabilities(own, digits):
    pytest.importorskip("fastapi", reason="the server's packages are not installed")
    from mnist_mlp import devices
    from mnist_mlp.runs.saved import read_run
    from mnist_mlp.serve import command as serve

    evaluated(own, calibrate=True)
    options = serve.Options(run_dir=str(own), strategy="cpu")
    service = serve.make_service(options, devices.plan(options), *read_run(str(own)))
    images = digits.test.images[:20]
    scaled = open_run(own, strategy="cpu").predict(images)
    np.testing.assert_allclose(service.network.forward(images)[-1], scaled, rtol=1e-4, atol=1e-7)
    stored = calibration.read(own, read_run(str(own))[2].model_sha256)
    assert service.about.as_dict()["temperature"] == stored.temperature


@pytest.mark.slow
def test_jax_calibrates_what_tensorflow_trained(own, digits):
    done = run(
        "evaluate", f"--run_dir={own}", "--backend=jax", "--strategy=cpu", "--calibrate", "--json", backend="jax"
    )
    assert done.returncode == 0, done.stderr
    test = json.loads(done.stdout)["test"]
    here = evaluated(own)
    assert here.test["calibrated"]["temperature"] == test["calibrated"]["temperature"]
    assert here.test["calibration"]["nll"] == pytest.approx(test["calibration"]["nll"], rel=1e-4)
    done = run("predict", f"--run_dir={own}", "--backend=jax", "--strategy=cpu", "--format=jsonl", backend="jax")
    shares = np.array([json.loads(line)["p"] for line in done.stdout.splitlines()])
    np.testing.assert_allclose(shares, open_run(own, strategy="cpu").predict(digits.test.images), atol=1e-5)
