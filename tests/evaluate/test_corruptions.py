"""`evaluate --corruptions`: what is asked for, what is counted, and what is written."""

import json
import math
import shutil

import numpy as np
import pytest
from helpers.fork_server import run_code
from helpers.pages import Page
from helpers.programs import Collector, program, refused
from PIL import Image
from scipy import stats

from mnist_mlp.data import Dataset, Split
from mnist_mlp.data.corruptions import published
from mnist_mlp.data.corruptions.kinds import MNIST_C, corrupt
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import command, corruptions, corruptions_page, corruptions_text, fgsm, harder, pictures
from mnist_mlp.evaluate.corruptions import Network
from mnist_mlp.files.atomic import read_json

pytestmark = pytest.mark.xla(False)
CELLS = {"stripe": (1, 3), "fog": (1, 3)}


@pytest.mark.parametrize(
    "names, expected",
    [
        (("all",), tuple(MNIST_C)),
        (("fog", "shear"), ("fog", "shear")),
        (("fog,shear,fog",), ("fog", "shear")),
        (("fog", "building", "bend"), ("fog", *corruptions.GROUPS["building"])),
    ],
)
def test_names_of_kinds(names, expected):
    assert corruptions.kinds_of(names) == expected


@pytest.mark.parametrize(
    "text, expected",
    [("3", (3,)), ("1-5", (1, 2, 3, 4, 5)), ("5,1, 3", (1, 3, 5)), ("2-3,3", (2, 3)), ("published", None)],
)
def test_severities(text, expected):
    found = corruptions.severities_of(text, ("fog", "rotate"))
    assert found == ({"fog": (5,), "rotate": (2,)} if expected is None else {"fog": expected, "rotate": expected})


def no_gradients(images, labels):
    raise AssertionError("nobody asked for them")


def options(tmp_path, **more):
    return command.Options(run_dir=str(tmp_path), **more)


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"corruptions": ("frog",)}, ["'frog'", "did you mean 'fog'"]),
        ({"corruptions": ("fog",), "severity": "6"}, ["--severity: expected severities from 1 to 5", "'6'"]),
        ({"corruptions": ("fog",), "severity": "5-1"}, ["received '5-1'"]),
        ({"corruptions": ("fog",), "severity": ""}, ["received ''"]),
        ({"corruptions": ("bend",), "severity": "published"}, ["expected kinds of MNIST-C, received bend"]),
        ({"severity": "3"}, ["--severity has no effect without --corruptions"]),
        ({"output": "x"}, ["--output writes a page and has no effect without --images or --corruptions"]),
        ({"reference": "x"}, ["--reference has no effect without --corruptions"]),
    ],
)
def test_refusals(tmp_path, flags, words):
    with pytest.raises(UserError) as caught:
        options(tmp_path, **flags)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_counts_and_means(digits):
    """A network that looks at one pixel only, so that all can be counted here."""
    split = Split(digits.test.images[:100], digits.test.labels[:100])
    networks = [
        Network(name, lambda images, at=at: images[:, 14, at] // 26, no_gradients)
        for name, at in (("a", 14), ("b", 10))
    ]
    clean = [each.classify(split.images) != split.labels for each in networks]
    reporter = Collector()
    errors = corruptions.errors_of(networks, split, CELLS, 3, reporter)
    one, other = (corruptions.summary(*each) for each in zip(networks, clean, errors, strict=True))
    assert reporter.progress_seen == [
        f"corrupt  {kind}, severity {severity}: {done} of 4"
        for done, (kind, severity) in enumerate([("stripe", 1), ("stripe", 3), ("fog", 1), ("fog", 3)])
    ]

    def wrong(kind, severity, at):
        return corrupt(split.images, kind, severity, seed=3)[:, 14, at] // 26 != split.labels

    for found, at in ((one, 14), (other, 10)):
        table = {kind: [wrong(kind, severity, at) for severity in CELLS[kind]] for kind in CELLS}
        assert found["clean"]["errors"] == (split.images[:, 14, at] // 26 != split.labels).sum()
        for row in found["kinds"]:
            several = table[row["kind"]]
            assert [cell["errors"] for cell in row["severities"]] == [each.sum() for each in several]
            assert row["error"] == pytest.approx(np.mean(several))
        every = np.array([each for several in table.values() for each in several])
        assert found["mean"]["error"] == pytest.approx(every.mean())
        shares = every.mean(0)
        expected = stats.t.interval(0.95, 99, shares.mean(), stats.sem(shares))
        assert found["mean"]["interval"] == pytest.approx([max(0, expected[0]), min(1, expected[1])])

    found = corruptions.against(one, other, *errors)
    ratios = [mine["error"] / theirs["error"] for mine, theirs in zip(one["kinds"], other["kinds"], strict=True)]
    assert found["mce"] == pytest.approx(np.mean(ratios))
    assert found["difference"] == pytest.approx(one["mean"]["error"] - other["mean"]["error"])
    low, high = found["difference_interval"]
    assert low <= found["difference"] <= high


def test_relative_errors_as_imagenet_c_counts_them():
    def made(clean, *errors):
        kinds = [{"kind": str(number), "error": error} for number, error in enumerate(errors)]
        return {"clean": {"error": clean}, "kinds": kinds}

    nothing = {("0", 1): np.zeros(9, bool)}
    found = corruptions.against(made(0.02, 0.1, 0.05), made(0.04, 0.2, 0.1), nothing, nothing)
    assert found["mce"] == pytest.approx((0.5 + 0.5) / 2)
    assert found["relative_mce"] == pytest.approx((0.08 / 0.16 + 0.03 / 0.06) / 2)
    found = corruptions.against(made(0.02, 0.1, 0.05), made(0.04, 0.2, 0.04), nothing, nothing)
    assert found["kinds"][1]["relative_ce"] is None and found["relative_mce"] is None
    assert found["mce"] == pytest.approx((0.5 + 1.25) / 2)
    assert "not defined" in corruptions_text.ratio(found["relative_mce"])


@pytest.mark.slow
def test_from_python_all_is_measured_stored_and_written(tmp_path, trained, digits):
    """What the flags do, the options do: `main` only prints."""
    place = tmp_path / "out"
    few = Dataset("digits", "a part", digits.train, Split(digits.test.images[:50], digits.test.labels[:50]), (), False)
    options = command.Options(
        run_dir=str(trained), strategy="cpu", corruptions=("fog",), severity="5", fgsm=True, output=str(place)
    )
    reporter = Collector()
    found = command.evaluate(options, dataset=few, reporter=reporter)
    assert found.result.test["total"] == found.corruptions["images"] == 50 and found.pictures is None
    written = read_json(place / harder.JSON)
    assert written == found.corruptions | {"fgsm": found.fgsm}
    assert found.to_dict() == found.result.to_dict() | {"corruptions": found.corruptions, "fgsm": found.fgsm}
    assert reporter.lines[-1] == f"written  {place / harder.JSON}, {place / harder.PAGE}"

    framed = tmp_path / "mine" / "3" / "a.png"
    framed.parent.mkdir(parents=True)
    Image.fromarray(few.test.images[0]).save(framed)
    options = command.Options(
        run_dir=str(trained), strategy="cpu", images=str(framed.parents[1]), no_reframe=True, output=str(place)
    )
    with pytest.raises(UserError, match="expected images or dataset, received both"):
        command.evaluate(options, dataset=few)
    found = command.evaluate(options, reporter=reporter)
    assert found.to_dict() == found.pictures == read_json(place / pictures.JSON) and found.result is None
    assert found.pictures["total"] == 1 and (place / pictures.PAGE).exists()


@pytest.mark.slow
def test_a_run_with_a_reference_a_page_and_json(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "other")
    output = tmp_path / "out"
    flags = [f"--run_dir={trained}", "--strategy=cpu", "--corruptions", "stripe", "rotate", "--severity=1,5", "--json"]
    flags.append("--fgsm")
    for own in ("other", trained):  # the page may not lie among the files of a run that is read
        with pytest.raises(UserError, match="checkpoints: this would overwrite a file of the run; try another path"):
            command.main([*flags, f"--reference={tmp_path / 'other'}", f"--output={tmp_path / own / 'checkpoints'}"])
    assert capsys.readouterr().out == ""
    command.main([*flags, f"--reference={tmp_path / 'other'}", f"--output={output}"])
    printed = capsys.readouterr()
    everything = json.loads(printed.out)
    report, curves = everything["corruptions"], everything["fgsm"]
    written = json.loads((output / "corruptions.json").read_text())
    assert {key: written[key] for key in report} == report and written["fgsm"] == curves
    assert [curve["run"] for curve in curves] == [str(trained), str(tmp_path / "other")]
    assert curves[0]["errors"] == curves[1]["errors"]
    by_epsilon = {row["epsilon"]: row["error"] for row in curves[0]["errors"]}
    assert by_epsilon[0] == report["clean"]["error"] < by_epsilon[0.05] < by_epsilon[0.1] and by_epsilon[0.2] > 0.7
    assert report["clean"]["errors"] == 360 - json.loads((trained / "result.json").read_text())["test"]["correct"]
    assert [row["kind"] for row in report["kinds"]] == ["stripe", "rotate"]
    assert all(row["severities"][1]["errors"] > row["severities"][0]["errors"] for row in report["kinds"])
    reference = report["reference"]
    assert reference["mce"] == reference["relative_mce"] == 1 and reference["difference"] == 0
    assert report["mnist_corrupted"] is None  # it has no digits
    for words in ("not corrupted", "stripe", "rotate", "mean", "mCE 100.0%", str(output)):
        assert words in printed.err
    page = Page((output / "corruptions.html").read_text())
    words = " ".join(page.words)
    assert "Adversarial images" in words
    assert "mean corruption error" in words and "severity 5" in words and "<script" not in page.source
    pictures = [given for name, given, _ in page.tags if name == "img"]
    assert len(pictures) == 2 * 3 and all(given["alt"].startswith("Test image") for given in pictures)

    with pytest.raises(UserError, match="expected a directory, received a file"):
        command.main([*flags, f"--output={output / 'corruptions.json'}"])
    with pytest.raises(UserError, match=r"--reference=.*expected the directory of a finished run"):
        command.main([*flags, f"--reference={tmp_path}"])


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(monkeypatch, tmp_path):
    (tmp_path / harder.PAGE).mkdir()
    monkeypatch.setattr(harder.saved, "read_run", lambda *_: None)
    options = command.Options(run_dir="run", corruptions=("fog",), output=str(tmp_path))
    with pytest.raises(UserError, match="corruptions.html: expected a file, received a directory"):
        harder.prepare(options)
    assert [each.name for each in tmp_path.iterdir()] == [harder.PAGE]


def test_a_refusal_loads_no_framework(tmp_path):
    refused(program("evaluate", f"--run_dir={tmp_path}", "--corruptions", "frog"), "--corruptions", "'frog'")


# MNIST-C of TFDS: a builder of the same name, layout and features with a few images of ours.
BUILDER = """
import sys
import numpy as np
import tensorflow_datasets as tfds
home, file_format = sys.argv[1:3]

class MnistCorrupted(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=kind) for kind in ("fog", "stripe")]
    def _info(self):
        image = tfds.features.Image(shape=(28, 28, 1))
        features = {"image": image, "label": tfds.features.ClassLabel(num_classes=10)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, manager):
        return {name: self._generate_examples() for name in ("train", "test")}
    def _generate_examples(self):
        for number in range(30):
            grey = 255 if self.builder_config.name == "fog" else number
            yield number, {"image": np.full((28, 28, 1), grey, np.uint8), "label": number % 10}

for kind in ("fog", "stripe"):
    MnistCorrupted(config=kind, data_dir=home, file_format=file_format).download_and_prepare()
"""


@pytest.mark.full  # TFDS builds what is read; test_data.py reads its directories
def test_mnist_c_where_tfds_has_prepared_it(tmp_path, digits):
    pytest.importorskip("tensorflow_datasets")
    done = run_code(BUILDER, str(tmp_path), "tfrecord", backend="tensorflow")
    assert done.returncode == 0, done.stderr
    prepared = published.find([tmp_path], list(MNIST_C))
    assert prepared.keys() == {"fog", "stripe"}
    splits = published.read(prepared)
    assert (splits["fog"].images == 255).all() and splits["fog"].images.shape == (30, 28, 28)
    assert sorted(splits["stripe"].images[:, 0, 0].tolist()) == list(range(30))
    assert (splits["stripe"].images[:, 5, 5] % 10 == splits["stripe"].labels).all()

    asked = options(tmp_path, data_dir=str(tmp_path), corruptions=("stripe", "fog", "shear"))
    network = Network("run", lambda images: images[:, 0, 0] % 10, no_gradients)
    mnist = type("D", (), {"name": "mnist", "test": Split(digits.test.images[:50], digits.test.labels[:50])})
    cells = corruptions.severities_of("1", corruptions.kinds_of(asked.corruptions))
    found = harder.of_tfds(network, cells, asked, mnist, Collector())
    rows = {row["kind"]: row for row in found["kinds"]}
    assert rows["stripe"]["errors"] == 0 and rows["stripe"]["severity"] == 3
    assert rows["fog"]["errors"] == 27  # all but the three of class 5, as 255 % 10
    assert found["mean"] == pytest.approx(0.45)
    words = "\n".join(corruptions_text.beside_tfds(found))
    assert f"{tmp_path / 'mnist_corrupted'}: mean error 45.0% on 2 of its kinds" in words and "points" in words
    for directory in prepared.values():
        for record in directory.glob("*.tfrecord*"):
            record.write_bytes(b"damaged")
    with pytest.raises(UserError, match="received one that cannot be read"):
        published.read(prepared)
    with pytest.raises(UserError, match="expected labels from 0 to 9"):
        published.as_split("fog", np.zeros((1, 28, 28, 1), np.uint8), np.array([10]), tmp_path)


def test_a_page_of_one_severity_without_a_reference(digits):
    split = Split(digits.test.images[:50], digits.test.labels[:50])
    network = Network("runs/<b>", lambda images: images[:, 14, 14] // 26, no_gradients)
    cells = {"canny_edges": (3,), "zigzag": (3,)}
    (errors,) = corruptions.errors_of([network], split, cells, 0, Collector())
    report = {
        **corruptions.summary(network, network.classify(split.images) != split.labels, errors),
        **{
            "dataset": "digits",
            "classes": list("0123456789"),
            "images": 50,
            "seed": 0,
            "severity": "3",
            "reference": None,
            "mnist_corrupted": None,
        },
        **{"fgsm": None},
    }
    page = Page(corruptions_page.render(report, corruptions.examples_of(split, cells, network, 0)))
    assert "Canny edges" in " ".join(page.words) and "<b>" not in page.source
    lines = corruptions_text.table(report).splitlines()
    assert len({line.index("–") for line in lines[3:]}) <= 2 and "severity 3" in lines[1]
    assert not math.isnan(report["mean"]["interval"][0])


def test_an_attack_moves_each_pixel_by_epsilon():
    images = np.array([0, 100, 200, 250], np.uint8).repeat(196).reshape(1, 28, 28)
    signs = np.tile(np.array([-1, 0, 1, 1], np.int8), 196).reshape(1, 28, 28)
    moved = fgsm.attacked(images, signs, 0.1).astype(int)  # 0.1 of 255 is 26 grey levels, rounded
    np.testing.assert_array_equal(moved, np.clip(images.astype(int) + 26 * signs, 0, 255))
    np.testing.assert_array_equal(fgsm.attacked(images, signs, 0.0), images)


def test_fgsm_of_a_network_that_can_be_computed_by_hand():
    """It finds class 1 where the upper half has more ink than the lower one; the gradient points the other way."""

    def classify(images):
        return (images[:, :14].sum((1, 2), dtype=int) > images[:, 14:].sum((1, 2), dtype=int)).astype(int)

    def gradients(images, labels):
        upper = np.where(np.arange(28) < 14, 1.0, -1.0)[None, :, None]
        return np.broadcast_to(upper * np.where(labels == 1, -1, 1)[:, None, None], images.shape).astype(np.float32)

    images = np.full((4, 28, 28), 100, np.uint8)
    images[:2, :14] += np.array([10, 40], np.uint8)[:, None, None]  # class 1, by a little and by more
    images[2:, 14:] += np.array([10, 40], np.uint8)[:, None, None]
    rows = fgsm.curve(Split(images, np.array([1, 1, 0, 0], np.uint8)), classify, gradients)
    errors = {row["epsilon"]: row["errors"] for row in rows}
    assert (errors[0.0], errors[0.01], errors[0.03], errors[0.05], errors[0.1]) == (0, 0, 2, 2, 4)
    lines = corruptions_text.attacks([{"run": "a", "errors": rows}]).splitlines()
    assert len(lines) == 3 + len(fgsm.EPSILONS) and "100.0" in lines[-1]
