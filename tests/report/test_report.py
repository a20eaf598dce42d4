"""report.html and the comparison of runs: what is on the pages, that it is true, and that everybody can read it."""

import base64
import dataclasses
import io
import json
import math
import os
import re
import shutil
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import fork_server
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture
from helpers.once import once
from helpers.pages import Page, checked
from helpers.programs import Collector, program, refused
from PIL import Image

from mnist_mlp import data, predict
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.data import Dataset, Split
from mnist_mlp.data.batches import validation_indices
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic
from mnist_mlp.models import keras_file, networks
from mnist_mlp.report import command as report
from mnist_mlp.report import compare_runs, content, network_sections, png_images, run_page, setup_sections, svg_charts
from mnist_mlp.report.formatting import probability
from mnist_mlp.report.html import tag, text
from mnist_mlp.report.run_page import write as write_page
from mnist_mlp.runs import directory
from mnist_mlp.runs.saved import read_run, trained_on_others
from mnist_mlp.stats import metrics
from mnist_mlp.train import train_and_evaluate

pytestmark = pytest.mark.xla(False)


def trained(path, *, dataset=None, reporter=SILENT, **options):
    """A small run on the digits, in this process."""
    options = {"dataset": "digits", "epochs": 2, "strategy": "cpu", **options}
    return train_and_evaluate(Config(**options), path, dataset=dataset, reporter=reporter)


def written(*runs, **options):
    """What the program writes of these runs, and what it says."""
    said = Collector()
    path = report.report(report.Options(runs=tuple(map(str, runs)), strategy="cpu", **options), reporter=said)
    return path, "\n".join(said.lines)


SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The directory of runs that no test changes: "first", "second", and one on images of a user's own."""

    def make(place):
        trained(place / "first", validation_fraction=0.1)
        trained(place / "second", model="softmax", optimizer="sgd", epochs=3)
        digits, said = data.load(Config(dataset="digits")), []
        own = Dataset(SCRIPT, f"from {SCRIPT}", digits.train, digits.test, (f"a note {SCRIPT}",), False)
        trained(place / '<b>&"x', dataset=own, data_source="auto", epochs=1, reporter=Collector(said))
        atomic.write_json(place / "said.json", {"said": said})

    return once(tmp_path_factory, "reported", make)


@pytest.fixture
def run(runs):
    return runs / "first"


@pytest.fixture
def other(runs):
    return runs / "second"


@pytest.fixture(scope="module")
def made(runs):
    """What the page of the first run is drawn from, and the hash of its test images in their order."""
    return report.content_of(read_run(str(runs / "first")), "x", *planned(runs / "first"))


@pytest.fixture(scope="module")
def comparison(runs, tmp_path_factory):
    """The page that compares the first with the second, and what the program said."""
    return written(runs / "first", runs / "second", output=str(tmp_path_factory.mktemp("comparison") / "both.html"))


@pytest.fixture
def own(runs):
    return runs / '<b>&"x'


def copy(path, to):
    shutil.copytree(path, to)
    return to


def predicted(path):
    """The test images of a run on the digits, with what `predict` says of them."""
    digits, probabilities = predict.predict(predict.Options(run_dir=str(path), strategy="cpu"))
    return np.stack([digit.image for digit in digits]), probabilities


def png(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


# One run


@pytest.mark.slow
def test_the_numbers_on_the_page_are_those_of_the_result(run):
    page, result = checked(run / "report.html"), atomic.read_json(run / "result.json")
    test = result["test"]
    wrong = test["total"] - test["correct"]
    low, high = (f"{100 * end:.2f}" for end in test["interval"])
    for words in (
        f"{100 * test['accuracy']:.2f}% of the 360 test images of the embedded digits",
        f"{low}–{high}%",
        f"{wrong} of 360",
        f"{test['loss']:.4f}",
        "109,386",
        "this is not MNIST accuracy",
        result["model_sha256"],
        result["device"]["actual"],
        "100,480",
        *(f"{name} {version}" for name, version in result["versions"].items()),
    ):
        assert words in page.text, words
    matrix = page.rows("Rows: true class. Columns: predicted class.")
    counts = [[int(cell.replace("·", "0").replace(",", "")) for cell in row[1:11]] for row in matrix[1:]]
    assert counts == test["confusion"]
    for row, known in zip(page.rows("Test images by class")[1:], test["per_class"], strict=True):
        assert row[:3] == [str(known["class"]), str(known["examples"]), str(known["correct"])]
        assert row[3] == f"{100 * known['recall']:.1f}%" and row[5] == f"{100 * known['precision']:.1f}%"
        harmonic = 2 / (1 / known["recall"] + 1 / known["precision"])
        assert row[6] == f"{100 * harmonic:.1f}%"
        low, high = metrics.wilson_interval(known["correct"], known["examples"])
        assert row[4] == f"{100 * low:.1f}–{100 * high:.1f}%"
        if known["mistaken_for"] is not None:
            times = test["confusion"][known["class"]][known["mistaken_for"]]
            assert row[7] == f"{known['mistaken_for']} ({times}×)"
    epochs = page.rows("Loss and accuracy of each epoch")[1:]
    assert [row[1] for row in epochs] == [f"{row['loss']:.4f}" for row in result["epochs"]]
    assert [row[4] for row in epochs] == [f"{100 * row['validation_accuracy']:.2f}%" for row in result["epochs"]]
    stages = {row[0]: row[1] for row in page.rows("Wall-clock seconds of each stage")[1:]}
    for stage in ("load", "import", "compile", "train"):
        assert stages[stage] == f"{result['seconds'][stage]:.2f}"
    assert 0 < result["seconds"]["report"] < result["seconds"]["total"]


@pytest.mark.slow
def test_the_worst_mistakes_are_the_worst(run):
    page = Page((run / "report.html").read_text())
    shown, probabilities = predicted(run)
    labels = data.load(Config(dataset="digits")).test.labels
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    loss = -np.log(probabilities[np.arange(len(labels)), labels].astype(np.float64))
    worst = sorted(wrong, key=lambda index: -loss[index])[: network_sections.MISTAKES]
    told = [int(number) for number in re.findall(r"Test image (\d+): a \d", page.source)]
    assert told == worst and len(told) >= 5
    pictures = [given for given in page.all("img") if given["alt"].startswith("Test image")]
    for given, index in zip(pictures, worst, strict=True):
        ink = np.asarray(png(given["src"]))
        assert (ink[..., 1] == shown[index]).all() and not ink[..., 0].any()
        assert given["alt"] == f"Test image {index}: a {labels[index]}"
    spoken = [given["aria-label"] for given in page.all("svg", **{"class": "ten"})]
    for words, index in zip(spoken, worst, strict=True):
        assert words == "Probabilities: " + ", ".join(
            f"{c} {probability(p)}" for c, p in enumerate(probabilities[index])
        )


@pytest.mark.slow
def test_mistakes_have_neighbours_that_the_run_was_trained_on(run, digits):
    source = (run / "report.html").read_text()
    trained_on, _ = validation_indices(len(digits.train), 0.1, 0)
    blocks = re.findall(r'alt="The training images ([\d, ]*)" class="digit row"[^>]*><ol>(.*?)</ol>', source)
    assert len(blocks) == source.count('class="why"') >= 5
    for indices, listed in blocks:
        chosen = [int(index) for index in indices.split(", ")]
        labels = re.findall(r'<li><span class="\w+">(\d)</span>', listed)
        assert {*chosen} <= {*trained_on} and [*map(int, labels)] == digits.train.labels[chosen].tolist()
        distances = [float(number) for number in re.findall(r"> ([\d.]+)</span>", listed)]
        assert len(distances) == network_sections.NEAREST and distances == sorted(distances) and distances[0] > 0
    assert f"hidden_2 (all {len(trained_on):,} images that the run was trained on were compared)" in Page(source).text


@pytest.mark.slow
def test_other_training_images_are_no_neighbours(run, tmp_path, digits, monkeypatch):
    path = copy(run, tmp_path / "run")
    _, _, result = read_run(str(path))
    other = Split(digits.train.images[::-1], digits.train.labels[::-1])
    assert not trained_on_others(path, result, digits.train) and trained_on_others(path, result, other)
    assert trained_on_others(path, result, Split(digits.train.images[1:], digits.train.labels[1:]))
    monkeypatch.setattr(data, "load", lambda config: dataclasses.replace(digits, train=other))
    output, _ = written(path)
    page = checked(output)
    assert "The nearest training images are not shown" in page.text and 'class="nearest"' not in page.source
    shutil.rmtree(path / "checkpoints")  # no hash is left
    assert not trained_on_others(path, result, other)


@pytest.mark.slow
def test_the_weights_are_pictures_of_the_weights(run):
    page = Page((run / "report.html").read_text())
    kernel = keras_file.load(run / "model.keras").get_layer("hidden_1").kernel.numpy()
    strips = page.all("img", **{"class": "tiles"})
    assert len(strips) == 16
    (largest,) = {float(number) for number in re.findall(r"−([\d.]+)</span><span class=\"ramp both\"", page.source)}
    for row, given in enumerate(strips):
        picture = np.asarray(png(given["src"]).convert("RGBA")).astype(int)
        for place in range(network_sections.IN_A_ROW):
            left = png_images.GAP + place * (28 + png_images.GAP)
            tile = picture[png_images.GAP : png_images.GAP + 28, left : left + 28]
            value = kernel[:, row * network_sections.IN_A_ROW + place].reshape(28, 28)
            strength = np.where(tile[..., 2] > tile[..., 0], 1, -1) * tile[..., 3] / 255
            assert np.abs(strength - (value / largest).clip(-1, 1)).max() < 1 / png_images.LEVELS


@pytest.mark.slow
def test_the_activations_are_those_of_the_network(run, made):
    import keras

    model = keras_file.load(run / "model.keras")
    found, _ = made
    names = ["hidden_1", "hidden_2"]
    submodel = keras.Model(model.input, [model.get_layer(name).output for name in names])
    chosen = network_sections.first_of_each(found.predictions)
    shown = found.predictions.test.images[chosen]
    assert found.predictions.test.labels[chosen].tolist() == list(range(10))
    assert found.predictions.correct[chosen].all()
    mine = content.activations(found.layers, shown)
    for name, theirs in zip(names, submodel(shown.astype("float32")), strict=True):
        np.testing.assert_allclose(mine[name], theirs, rtol=1e-4, atol=1e-4)
    assert list(mine) == ["pixels", *names]
    page = Page((run / "report.html").read_text())
    for name in names:
        assert sum(given["alt"].startswith(f"{name} for ") for given in page.all("img")) == 10


def planned(run):
    from mnist_mlp import devices

    options = report.Options(runs=(str(run),), strategy="cpu")
    return devices.plan(options), options, {}


@pytest.mark.slow
def test_the_program_draws_the_same_page_again(run, tmp_path):
    again, said = written(run, output=str(tmp_path / "again.html"))
    assert said == f"report   {again}"

    def parts(path):
        source = path.read_text()
        start, end = source.index('<section id="cost"'), source.index('<section id="device"')
        return source[:start] + source[end:]

    def plain(path):  # the time and the memory of the whole run now hold those of its page
        return re.sub(r"<dt>(whole run|peak memory)</dt><dd>[^<]*</dd>", "", parts(path))

    assert plain(again) == plain(run / "report.html")
    assert "single test images" in again.read_text()  # the stage "report"


TOLD = {"epochs": 2, "learning_rate": 1.0, "diagnose": True}
VARIANTS = {
    "fit, tanh": {"engine": "fit", "model": "mlp_tanh", "epochs": 1},
    "told, dropout, raw, ema": TOLD | {"model": "mlp_dropout", "pixels": "raw", "ema": 0.9},
    # Untrained and all zeros: see test_classes_have_their_names_and_may_be_absent.
}
MORE = {  # each alone
    "gated": {"preset": "smoke", "epochs": 10, "gate": True},  # what is said of a gate test_report_parts.py holds
    "bfloat16": {"precision": "bfloat16"},
    "cnn": {"model": "cnn", "epochs": 1},
    "cnn in bfloat16": {"model": "cnn", "precision": "bfloat16", "epochs": 1},
    "deep": {"model": "deep"},
    "dropout": {"model": "mlp_dropout"},
    "ema": {"ema": 0.9},
    "fit": {"engine": "fit"},
    "raw": {"pixels": "raw"},
    "softmax": {"model": "softmax"},
    "tanh": {"model": "mlp_tanh"},
    "told": TOLD,
    "untrained": {"epochs": 0},
    "wide": {"model": "wide", "epochs": 1},
    "zeros": {"model": "mlp_zeros", "epochs": 1},
    "zeros, untrained": {"model": "mlp_zeros", "epochs": 0},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*VARIANTS, *(pytest.param(name, marks=pytest.mark.full) for name in MORE)])
def test_every_kind_of_run_has_a_page(name, tmp_path):
    said, options = [], (VARIANTS | MORE)[name]
    result = trained(tmp_path / "run", **options, reporter=Collector(said))
    assert not any("was not written" in words for words in said), said
    page = checked(tmp_path / "run" / "report.html")
    assert f"{100 * result.test['accuracy']:.2f}% of the 360" in page.text
    assert "differ from those of the run" not in page.text  # the counts are exactly those of the run
    if options.get("epochs") == 1:  # a point
        assert page.source.count('class="series train"') == 3  # two charts, one legend
    if options.get("epochs") == 0:
        untrained(page)


def untrained(page):
    """Whether the page says that the run had no epoch."""
    assert "No epoch was trained" in page.text and "was not trained: these are its initial weights" in page.text


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(networks.MODELS) - {"mlp"}))
def test_every_network_has_a_page(name, made, tmp_path):
    """Its first weights, in the page of a run of another one."""
    found, _ = made
    layers = content.weights_of(types.SimpleNamespace(model=networks.build(name, seed=1)))
    (tmp_path / "page.html").write_text(run_page.render(dataclasses.replace(found, layers=layers)))
    page = checked(tmp_path / "page.html")
    for layer in layers:
        if layer.kernel is not None:
            assert layer.name in page.text


@pytest.mark.slow
def test_classes_have_their_names_and_may_be_absent(tmp_path, digits):
    few = digits.test.labels < 3
    test = Split(digits.test.images[few], digits.test.labels[few])
    said = []
    trained(
        tmp_path / "run",
        dataset=Dataset("fashion_mnist", "here", digits.train, test, (), False),
        model="mlp_zeros",
        epochs=0,
        reporter=Collector(said),
    )
    page = checked(tmp_path / "run" / "report.html")
    untrained(page)
    assert "differ from those of the run" not in page.text
    assert "T-shirt" in page.text and "ankle boot" in page.text and "Fashion-MNIST" in page.text
    assert page.rows("Test images by class")[5][1:5] == ["0", "0", "–", "–"]
    assert "report.html was not written" not in "".join(said)


@pytest.mark.slow
def test_numbers_that_are_not_finite(run, made):
    made, _ = made
    values = read_run(str(run))[2].to_dict()
    values["test"]["loss"] = None
    values["epochs"][0] |= {"loss": None, "validation_loss": None}
    values["epochs"][1] |= {"loss": None}
    logits = made.predictions.logits.copy()
    logits[5], logits[6, 3], logits[7] = math.nan, math.inf, -math.inf
    predictions = content.Predictions(made.predictions.test, logits)
    for weight in (math.nan, math.inf, 3e38, 1e25):
        layers = [
            dataclasses.replace(layer, kernel=np.full_like(layer.kernel, weight)) if layer.kernel is not None else layer
            for layer in made.layers
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            changed = dataclasses.replace(made, result=values, layers=layers, predictions=predictions)
            page = Page(run_page.render(changed))
        assert "not a finite number" in page.text and "training diverged" in page.text


def test_what_a_probability_is_called():
    said = [probability(p) for p in (0.0, 1e-9, 0.0004, 0.5, 0.9994, 0.99999, 1.0, math.nan)]
    assert said == ["0%", "<0.1%", "<0.1%", "50.0%", "99.9%", ">99.9%", "100.0%", "nan"]


# Markup


def test_text_cannot_become_markup():
    hostile = "<script>\"&'\udcff\x1b[31m"
    made = tag("p", hostile, title=hostile)
    assert made == '<p title="{0}">{0}</p>'.format("&lt;script&gt;&quot;&amp;&#x27;\\udcff\\x1b[31m")
    assert made.encode() and text(tag("b", 1)) == "<b>1</b>"
    assert tag("img", alt="a", hidden=True, title=None) == '<img alt="a" hidden>'


@pytest.mark.slow
def test_names_of_runs_and_data_are_escaped(own, tmp_path):
    page = checked(own / "report.html")
    assert page.text.count(SCRIPT) >= 3 and '<b>&"x' in page.text
    assert not page.all("b") and "<script" not in page.source
    copied = copy(own, tmp_path / "\udcff")
    output, words = written(own, copied, output=str(tmp_path / "out.html"))
    both = checked(output)
    assert '<b>&"x' in both.text and "\\udcff" in both.text and not both.all("b")


# The style sheet


def variables(scheme):
    """The colours of a scheme, as the style sheet has them."""
    sheet = run_page.style()
    light, dark = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found if scheme == "light" else found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))


def contrast(one, other):
    """The ratio of WCAG 2.2, 1 to 21."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(scheme):
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") < 4.5
    colours = variables(scheme)
    for words in ("ink", "quiet", "blue", "orange"):
        for ground in ("paper", "card"):
            assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)
    for ground in ("correct", *(f"error-{shade}" for shade in range(1, 6))):
        assert contrast(colours[f"{ground}-ink"], colours[ground]) >= 4.5, ground
    for hue in range(1, 9):  # lines and boxes, which are no text
        assert contrast(colours[f"hue-{hue}"], colours["paper"]) >= 3, hue


def test_no_colour_stands_outside_the_two_schemes():
    sheet = re.sub(r":root \{.*?\}", "", run_page.style(), flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", sheet) == []
    assert set(re.findall(r"rgb\([^)]*\)", sheet)) == {
        f"rgb({' '.join(map(str, colour))})" for colour in (png_images.POSITIVE, png_images.NEGATIVE)
    }
    assert {name for name in re.findall(r"var\(--([\w-]+)\)", sheet)} <= set(variables("light"))
    assert set(variables("dark")) == set(variables("light"))


# The stage of training


@pytest.mark.slow
def test_training_starts_without_the_pages(tmp_path):
    code = f"""
import sys
from mnist_mlp.cli import stderr_filter as chatter, load_framework as lean_keras
chatter.silence()
lean_keras.install()  # as the program does: Keras leaves Pillow out
import mnist_mlp.train as train
from mnist_mlp.config import Config
from mnist_mlp.cli.terminal import Reporter
from pathlib import Path

class Modules(Reporter):
    def line(self, text):
        print(text.split()[0], any(name.startswith(("mnist_mlp.report", "PIL")) for name in sys.modules))

config = Config(dataset="digits", model="softmax", epochs=1, strategy="cpu")
train.train_and_evaluate(config, Path({str(tmp_path / "run")!r}), reporter=Modules())
"""
    done = fork_server.run_code(code, backend="tensorflow")
    lines = done.stdout.splitlines()
    assert lines == ["data False", "epoch False", "test True"], done.stdout + done.stderr


@pytest.mark.parametrize(
    "error, words",
    [(OSError(28, "No space left on device"), "No space left on device"), (ValueError("a\nbug"), "a bug")],
)
def test_whatever_goes_wrong_with_a_page_is_said_in_a_line(error, words, tmp_path, monkeypatch):
    def look(test, logits):
        raise error

    monkeypatch.setattr(content, "Predictions", look)
    reporter, run = Collector(), directory.Run(tmp_path, Config())
    session = types.SimpleNamespace(run=run, engine=None, test=None, result=Timed({}), reporter=reporter)
    session.test_logits = np.zeros((1, 10), np.float32)
    session.stopwatch = types.SimpleNamespace(end=reporter.line, measured=lambda: {"seconds": {"report": 1.0}})
    session.update = lambda **fields: setattr(session, "result", Timed(**fields))
    write_page(session)
    assert session.result == Timed({"report": 1.0})
    line, stage = reporter.lines
    assert f"{words}; to try again run" in line and "\n" not in line and stage == "report"
    assert atomic.read_json(tmp_path / "result.json")["seconds"] == {"report": 1.0}


@dataclasses.dataclass
class Timed:
    """As much of a result as the stage knows of."""

    seconds: dict

    def to_dict(self):
        return dataclasses.asdict(self)


@pytest.mark.slow
def test_a_page_that_cannot_be_written_does_not_lose_the_run(tmp_path, monkeypatch):
    replace = os.replace

    def failing(source, target):
        if str(target).endswith("report.html"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    said = []
    path = tmp_path / "a run"
    result = trained(path, epochs=0, reporter=Collector(said))
    (told,) = [line for line in said if "report.html was not written" in line]
    assert "No space left on device" in told and told.endswith(f"to try again run python -m mnist_mlp.report '{path}'")
    assert read_run(str(path))[2] == result and not (path / "report.html").exists()
    assert result.test["total"] == 360 and "report" in result.seconds
    assert not [entry for entry in path.iterdir() if entry.name.startswith(atomic.TEMPORARY)]
    monkeypatch.undo()
    written(path)
    checked(path / "report.html")


@pytest.mark.slow
def test_resume_writes_the_page_anew(run, tmp_path):
    path = copy(run, tmp_path / "run")
    before = (path / "report.html").read_text()
    trained(path, validation_fraction=0.1, epochs=3, resume=True)
    page = checked(path / "report.html")
    assert page.source != before and len(page.rows("Loss and accuracy of each epoch")) == 1 + 3
    assert "report.html" in directory.FILES
    assert "Resumed at step" in page.text


# Without the images


@pytest.mark.slow
@pytest.mark.parametrize("why", ["gone", "others", "own"])
def test_without_its_images_a_run_still_has_a_page(why, run, own, tmp_path, digits):
    path, folder = copy(own if why == "own" else run, tmp_path / "run"), tmp_path / "data"
    words = "the run used a custom data set"
    if why == "gone":
        result, config = (atomic.read_json(path / f"{name}.json") for name in ("result", "config"))
        result["dataset"]["name"] = "mnist"
        atomic.write_json(path / "result.json", result)
        atomic.write_json(path / "config.json", config | {"dataset": "mnist", "data_dir": str(folder)})
        words = f"the images of the run are not available (--data_dir={folder}: expected a directory"
    if why == "others":
        other = dataclasses.replace(digits, test=Split(digits.test.images[::-1], digits.test.labels[::-1]))
        words = "the test images found now are not the ones"
        load, data.load = data.load, lambda config: other
    try:
        output, said = written(path)
    finally:
        if why == "others":
            data.load = load
    page = checked(output)
    assert words in said and page.text.count(words) == 2  # mistakes, activations
    assert len(page.all("img", **{"class": "tiles"})) == 16  # the weights need no images


# Mistakes of the user


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "expected one or more run directories, received none; try python -m mnist_mlp.report DIR"),
        (["nowhere"], "nowhere: expected the directory of a finished run, found no such directory"),
        (["--outputs=x"], "unknown flag --outputs; did you mean '--output'?"),
        (["DONE", "DONE"], "more than once"),
        (["DONE", "nowhere"], "nowhere: expected"),
        (["STOPPED"], "found no model.keras in it; to finish"),
        (["DONE", "--output=DONE/model.keras"], "this would overwrite a file of the run"),
        (["DONE", "--output=DONE/checkpoints/x.html"], "this would overwrite a file of the run"),
        (["DONE", "--output=nowhere/x.html"], "expected a file in a directory that exists"),
        (["DONE", "OTHER", "--output=DONE/report.html"], "this would overwrite a file of the run"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(arguments, words, run, other, tmp_path, monkeypatch):
    places = {"DONE": str(run), "OTHER": str(other), "STOPPED": str(tmp_path / "stopped")}
    (tmp_path / "stopped").mkdir()
    shutil.copy(run / "config.json", tmp_path / "stopped")
    arguments = [re.sub("|".join(places), lambda name: places[name[0]], argument) for argument in arguments]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        report.main([*arguments, "--strategy=cpu"])
    assert words in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
def test_a_place_of_its_own_that_may_not_be_written_is_refused_at_once(several, run, other, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) not in (str(run), str(tmp_path)))  # root may all
    runs = (str(run), str(other)) if several else (str(run),)
    with pytest.raises(UserError, match="is not writable; try another path$"):
        report.report(report.Options(runs, strategy="cpu"))


def test_what_cannot_be_drawn_ends_the_program_with_one_line():
    refused(program("report", "nowhere"), "nowhere: expected the directory of a finished run")


def test_help_names_the_words(capsys):
    with pytest.raises(SystemExit):
        report.main(["--help"])
    assert "usage: python -m mnist_mlp.report [RUNS …] [--flag=value …]" in capsys.readouterr().out


# Several runs


@pytest.mark.slow
def test_a_comparison_counts_the_images_that_one_alone_recognizes(run, other, comparison):
    output, said = comparison
    page = checked(output)
    labels = data.load(Config(dataset="digits")).test.labels
    right = [predicted(path)[1].argmax(1) == labels for path in (run, other)]
    only_one, only_other = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert only_one > only_other > 0
    (row,) = page.rows("Each pair on the same test images")[1:]
    points = f"{100 * (only_one - only_other) / 360:+.2f}"
    assert row[:5] == ["first – second", "360", str(only_one), str(only_other), points]
    n = only_one + only_other
    p = 2 * sum(math.comb(n, k) for k in range(min(only_one, only_other) + 1)) / 2**n
    assert row[6] == ("<0.0001" if p < 1e-4 else f"{p:.2g}") == row[7]  # of one comparison nothing is corrected
    better = "first is significantly better than second on such images."
    assert better in page.text and better in said
    shown = [int(index) for index in re.findall(r"Test image (\d+): a \d", page.source)]
    assert shown and all(right[0][index] != right[1][index] for index in shown)
    for name, path in (("first", run), ("second", other)):
        test = atomic.read_json(path / "result.json")["test"]
        low, high = (f"{100 * end:.2f}" for end in test["interval"])
        assert f"{low}–{high}%" in page.text and f"{low}–{high}%" in said and name in said
    options = {row[0]: row[1:] for row in page.rows("Options that differ")[1:]}
    assert options["--model"] == ["mlp", "softmax"] and options["--epochs"] == ["2", "3"] and "--seed" not in options
    assert "--model=softmax --dataset=digits --epochs=3 --optimizer=sgd" in page.text


@pytest.mark.slow  # scipy.stats takes a second to be imported
@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (10, 0), (7, 15), (67, 111), (300, 250)])
def test_mcnemar_beside_scipy(counts):
    stats = pytest.importorskip("scipy.stats")
    one = np.repeat([True, False, True], [counts[0], counts[1], 20])
    other = np.repeat([False, True, True], [counts[0], counts[1], 20])
    expected = stats.binomtest(counts[0], sum(counts), 0.5).pvalue if sum(counts) else 1.0
    assert metrics.mcnemar(one, other) == pytest.approx(expected, rel=1e-9)


def test_the_interval_of_a_paired_difference():
    # Newcombe's example (Statistics in Medicine 17, 1998, p. 2641), method 10: 0.0562 to 0.3292.
    assert metrics.paired_difference_interval(20, 12, 2, 16) == pytest.approx((0.0562, 0.3292), abs=5e-5)
    low, high = metrics.paired_difference_interval(20, 2, 12, 16)
    assert (-high, -low) == pytest.approx(metrics.paired_difference_interval(20, 12, 2, 16))
    assert metrics.paired_difference_interval(9779, 0, 0, 221) == pytest.approx((0, 0), abs=1e-3)
    low, high = metrics.paired_difference_interval(0, 5, 0, 0)  # where nothing is known of one side it stays within ±1
    assert 0 < low < high <= 1


def test_the_interval_holds_the_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    shares = np.array([0.955, 0.022, 0.012, 0.011])
    held = 0
    for counts in rng.multinomial(2000, shares, 2000):
        low, high = metrics.paired_difference_interval(*map(int, counts))
        held += low <= shares[1] - shares[2] <= high
    assert 0.94 < held / 2000 < 0.97


@pytest.mark.slow
def test_several_pairs_are_corrected_and_what_cannot_be_tested_is_said(run, other, own, tmp_path):
    third = copy(run, tmp_path / "third")
    output, said = written(run, other, third, own, output=str(tmp_path / "all.html"))
    page = checked(output)
    rows = page.rows("Each pair on the same test images")[1:]
    assert [row[0] for row in rows] == ["first – second", "first – third", "second – third"]
    assert "corrected with Holm’s method for 3 comparisons" in page.text
    assert rows[1][1:5] == ["360", "0", "0", "+0.00"] and rows[1][6:] == ["1", "1"]
    assert "No significant difference: chance alone gives as large a difference in 100% of such cases." in page.text
    assert page.text.count("are not tested. Not shown: the images of the run are not available") == 3
    assert f"These runs have different data ({SCRIPT}, digits)" in page.text and "different data" in said


@pytest.mark.slow
def test_other_images_or_another_order_are_not_tested(other, made):
    both = [made, report.content_of(read_run(str(other)), other.name, *planned(other))]
    assert both[0][1] == both[1][1] == in_order_hash(data.load(Config(dataset="digits")).test)
    found = compare_runs.compare([both[0][0], both[1][0]], [both[0][1], "another"])
    assert found.pairs == [] and "theirs differ" in found.left_out[0]


@pytest.mark.slow
def test_runs_of_one_name_are_told_apart(run, tmp_path):
    one, two = copy(run, tmp_path / "a" / "same"), copy(run, tmp_path / "b" / "same")
    output, said = written(one, two, output=str(tmp_path / "out.html"))
    assert "a/same – b/same" in said and "a/same – b/same" in checked(output).text


# The command


def test_the_command_makes_the_run_again():
    config = Config(data_dir="/a b/'c'", epochs=3, learning_rate=0.01, csv=True, run_dir="x", json=True, resume=True)
    words = setup_sections.command_of(config)
    assert words == (
        "python -m mnist_mlp.train '--data_dir=/a b/'\"'\"'c'\"'\"'' --epochs=3 --learning_rate=0.01 --csv"
    )
    from mnist_mlp.config import PRESETS

    best = dataclasses.replace(PRESETS["best"], ema=0.0)
    assert setup_sections.command_of(best) == "python -m mnist_mlp.train --preset=best --ema=0.0"


# Other backends, and a browser


ALONE = [
    ("--backend=jax", "--replicas=2", "--batch_size=31", "--ema=0.9"),
    ("--backend=jax", "--ema=0.9"),
    ("--backend=jax", "--replicas=2", "--batch_size=31"),
    ("--backend=jax", "--model=cnn"),
    ("--backend=jax", "--engine=fit", "--precision=bfloat16"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--backend=tensorflow", "--replicas=2", "--batch_size=31"),
        *(pytest.param(flags, marks=pytest.mark.full) for flags in ALONE),
    ],
    ids=" ".join,
)
def test_in_a_process_of_its_own(flags, tmp_path):
    def program(*argv):
        return fork_server.run(*argv, backend=flags[0].partition("=")[2], cwd=tmp_path)

    done = program("train", "--preset=smoke", "--epochs=1", *flags, "--run_dir=run")
    assert done.returncode == 0 and "was not written" not in done.stdout, done.stdout + done.stderr
    page = checked(tmp_path / "run" / "report.html")
    assert flags[0].partition("=")[2] in page.text and "differ from those of the run" not in page.text
    done = program("report", "run", flags[0], "--output=again.html")
    assert done.returncode == 0 and done.stdout == "report   again.html\n", done.stderr
    checked(tmp_path / "again.html")


@pytest.mark.slow
def test_on_mnist(mnist_run):  # noqa: F811
    result = json.loads((mnist_run.parent / "printed.json").read_text())
    page = checked(mnist_run / "report.html")
    assert "differ from those of the run" not in page.text and "not MNIST accuracy" not in page.text
    matrix = page.rows("Rows: true class. Columns: predicted class.")[1:]
    counts = [[int(cell.replace("·", "0").replace(",", "")) for cell in row[1:11]] for row in matrix]
    assert counts == result["test"]["confusion"]


@pytest.fixture(scope="module")
def tab(browser):
    """A page for all of them: a further one would start a further process."""
    return browser.new_page()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "comparison"])
@pytest.mark.parametrize(
    "width, scheme",
    [
        (1200, "light"),
        (360, "dark"),
        *(pytest.param(*other, marks=pytest.mark.full) for other in ((1200, "dark"), (360, "light"))),
    ],
)
def test_in_a_browser(tab, kind, width, scheme, run, comparison, tmp_path):
    path = run / "report.html" if kind == "run" else comparison[0]
    said, asked = [], []
    events = {
        "console": lambda message: said.append(message.text),
        "pageerror": lambda error: said.append(str(error)),
        "request": lambda request: asked.append(request.url),
    }
    tab.set_viewport_size({"width": width, "height": 800})
    tab.emulate_media(color_scheme=scheme)
    for event, heard in events.items():
        tab.on(event, heard)
    tab.goto(Path(path).as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [Path(path).as_uri()] and said == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    paper = variables(scheme)["paper"]
    assert background == f"rgb({', '.join(str(int(paper[i : i + 2], 16)) for i in (1, 3, 5))})"
    tab.keyboard.press("Tab")  # the first stop of the keyboard skips what stands before the result
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.screenshot(path=tmp_path / "page.png")
    for event, heard in events.items():
        tab.remove_listener(event, heard)


def test_a_chart_of_nothing_but_right_answers():
    lines = [svg_charts.Line("training", "train", [(1, 1.0), (2, 1.0)])]
    drawn = svg_charts.line_chart("accuracy", "Accuracy", "all right", lines, percent=True, low=None)
    assert "100%" in drawn and "nan" not in drawn


@pytest.mark.slow
def test_a_data_dir_that_was_asked_for_and_is_not_there_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="data_dir"):
        report.report(
            report.Options(runs=(str(run),), data_dir=str(tmp_path / "none"), output=str(tmp_path / "x.html"))
        )
    assert not (tmp_path / "x.html").exists()
