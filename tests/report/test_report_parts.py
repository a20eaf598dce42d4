"""Parts of the pages one by one: charts, the text and the page of a comparison, the result of a run."""

import base64
import dataclasses
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.plain_networks import convolutions
from helpers.programs import Collector
from PIL import Image

from mnist_mlp.config import Config
from mnist_mlp.data import Split
from mnist_mlp.errors import UserError
from mnist_mlp.models.neighbours import TrainingImages
from mnist_mlp.models.portable import Layer
from mnist_mlp.report import (
    comparison_page,
    comparison_text,
    network_sections,
    png_images,
    result_sections,
    run_page,
    svg_charts,
)
from mnist_mlp.report.compare_runs import Pair, compare, pair_of, remarks
from mnist_mlp.report.content import Predictions, RunContent
from mnist_mlp.report.formatting import three_digits
from mnist_mlp.report.svg_charts import Line
from mnist_mlp.runs import directory
from mnist_mlp.stats.metrics import mcnemar, paired_difference_interval, per_class, wilson_interval
from mnist_mlp.text import aligned

N = 40


def material(name="run", wrong=(), data="mnist", changes=None, predicts=True, unsure=False, **options) -> RunContent:
    """A run on 40 test images, four of each class, of which those by index are taken for the next class."""
    labels = np.repeat(np.arange(10), 4).astype(np.uint8)
    predicted = labels.astype(int)
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 10
    logits = np.zeros((N, 10))
    logits[np.arange(N), predicted] = 1 if unsure else 9
    predictions = Predictions(Split(np.zeros((N, 28, 28), np.uint8), labels), logits)
    confusion = predictions.confusion
    correct = int(np.trace(confusion))
    result = {
        "model": "mlp",
        "parameters": 109386,
        "layers": [],
        "preset": "full",
        "seed": 3,
        "precision": "float32",
        "engine": "custom",
        "backend": "jax",
        "steps_per_epoch": 100,
        "epochs": [
            {"epoch": 1, "loss": 0.5, "accuracy": 0.85, "seconds": 1.5},
            {"epoch": 2, "loss": 0.25, "accuracy": 0.925, "seconds": 0.25},
        ],
        "test": {
            "accuracy": correct / N,
            "correct": correct,
            "total": N,
            "loss": 0.125,
            "interval": list(wilson_interval(correct, N)),
            "confusion": confusion.tolist(),
            "per_class": per_class(confusion),
        },
        "dataset": {"name": data, "train_examples": 3200, "notes": []},
        "device": {"actual": "CPU", "replicas": 1, "xla": True, "notes": []},
        "seconds": {"data": 0.5, "train": 1.75, "total": 130.0},
        "peak_memory_mb": 1234.5,
        "versions": {"keras": "3.10", "jax": "0.6"},
        "gate": None,
        "diagnosis": [],
        "resumed": [],
        "initial": {},
    }
    result |= changes or {}
    why_not = "" if predicts else "It has no data."
    return RunContent(name, Config(**options), result, linear(), predictions if predicts else None, why_not)


def linear(kernel=None):
    """The layers of a network without a hidden layer; all its weights are 0, or the given ones, [784, 10]."""
    kernel = np.zeros((784, 10), np.float32) if kernel is None else kernel
    return [Layer("flatten", "flatten"), Layer("dense", "logits", kernel=kernel, bias=np.zeros(10, np.float32))]


# Charts


@pytest.mark.parametrize(
    ("values", "low", "expected"),
    [
        ([0.0, 1.0], None, (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])),
        ([3.0, 3.0], None, (3, 3.3, [3, 3.1, 3.2, 3.3])),  # a tenth of it, where all are the same
        ([0.0, 0.0], None, (0, 0.1, [0, 0.02, 0.04, 0.06, 0.08, 0.1])),
        ([-2.0], None, (-2, -1.8, [-2, -1.95, -1.9, -1.85, -1.8])),
        ([2.0], 0.0, (0, 2, [0, 0.5, 1, 1.5, 2])),
        ([0.13, 0.47], 0.0, (0, 0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5])),
        ([-1.0, 3.0], 0.0, (-1, 3, [-1, 0, 1, 2, 3])),  # what lies below is drawn, too
        ([], None, (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])),
    ],
)
def test_axes_have_round_numbers(values, low, expected):
    bottom, top, ticks = svg_charts.scale_of(values, low)
    assert (bottom, top) == pytest.approx(expected[:2]) and ticks == pytest.approx(expected[2])


def test_numbers_on_an_axis_have_the_digits_that_tell_them_apart():
    assert (
        svg_charts.decimals([0, 0.2, 0.4]) == 1
        and svg_charts.decimals([0, 0.05]) == 2
        and svg_charts.decimals([0, 5, 10]) == 0
    )
    assert svg_charts.decimals([0.97, 0.98], 100) == 0 and svg_charts.decimals([0.97, 0.975], 100) == 1
    assert svg_charts.decimals([3]) == 0


def test_few_epochs_are_marked():
    assert svg_charts.epochs_marked(1, 8) == list(range(1, 9)) and svg_charts.epochs_marked(1, 1) == [1]
    assert svg_charts.epochs_marked(1, 9) == [2, 4, 6, 8] and svg_charts.epochs_marked(1, 16) == list(range(2, 17, 2))
    assert svg_charts.epochs_marked(1, 17) == [5, 10, 15] and svg_charts.epochs_marked(1, 100) == [20, 40, 60, 80, 100]
    assert svg_charts.epochs_marked(0, 40) == list(range(0, 41, 5))


def test_mistakes_of_dense_networks_show_which_ink_argued_for_what():
    run = material(wrong=[3, 17])
    kernel = np.zeros((784, 10), np.float32)
    kernel[:392, 0] = kernel[392:, 1] = 1e-3  # the upper half argues for 0, the lower one for 1
    run.predictions.test.images[3] = 200
    section = network_sections.mistakes(dataclasses.replace(run, layers=linear(kernel)))
    assert section.count('class="why"') == 2 and "Blue ink argues for the true class" in section
    (source,) = re.findall(
        '<img src="data:image/png;base64,([^"]*)" alt="Gradient × input and occlusion of image 3"', section
    )
    picture = Image.open(io.BytesIO(base64.b64decode(source))).convert("RGBA")
    assert picture.size == (62, 32)  # two maps of 28×28 and their frames
    for column in (16, 46):
        assert picture.getpixel((column, 6))[:3] == png_images.POSITIVE
        assert picture.getpixel((column, 25))[:3] == png_images.NEGATIVE


def attributes(drawing, element):
    """Of each such element of a drawing its attributes."""
    return [dict(re.findall(r'([\w-]+)="([^"]*)"', found)) for found in re.findall(f"<{element} ([^>]*)>", drawing)]


def test_a_line_is_broken_where_there_is_no_number():
    line = Line("training", "train", [(1, 0.0), (2, None), (3, 1.0), (4, 0.5)])
    test = Line("test", "test", [(4, 0.25)], mark=True)
    drawing = svg_charts.line_chart("x", "T", "about", [line, test], percent=False, low=None)
    # 52 … 406 across for epochs 1 … 4, and 212 … 12 upwards for 0 … 1.
    (path,) = attributes(drawing, "path")
    assert path["d"] == "M52.0 212.0M288.0 12.0L406.0 112.0"
    dots = [(float(dot["cx"]), float(dot["cy"]), dot["r"]) for dot in attributes(drawing, "circle")]
    assert dots == [(52, 212, "3"), (288, 12, "3"), (406, 112, "3"), (406, 162, "5")]
    assert "<title>training, epoch 3: 1.0000</title>" in drawing and "<title>test, epoch 4: 0.2500</title>" in drawing
    assert [text for text in re.findall(r">([\d.]+)</text>", drawing)] == [
        *("0.0", "0.2", "0.4", "0.6", "0.8", "1.0"), *("1", "2", "3", "4")
    ]  # fmt: skip


def test_a_long_line_has_no_dots_and_percentages_end_at_100():
    def chart(count, value=1.0):
        points = [(x, value) for x in range(1, count + 1)]
        return svg_charts.line_chart("x", "T", "about", [Line("a", "k", points)], percent=True, low=None)

    assert len(attributes(chart(60), "circle")) == 60 and not attributes(chart(61), "circle")
    assert re.findall(r">([\d.]+%)</text>", chart(3)) == ["90%", "100%"]
    (path,) = attributes(chart(2), "path")
    assert path["d"] == "M52.0 12.0L406.0 12.0"
    assert "M229.0 12.0" in chart(1)  # one epoch stands in the middle
    assert "a, epoch 1: 100.00%" in chart(1)


def test_the_legend_has_a_line_or_a_dot():
    lines = [Line("a", "k1", [(1, 1)]), Line("b", "k2", [(1, 1)], mark=True)]
    first, second = svg_charts.legend(lines).split("</li>")[:2]
    assert "<path" in first and 'r="3"' in first and first.endswith("a")
    assert "<path" not in second and 'r="5"' in second and second.endswith("b")


def test_intervals_stand_below_each_other():
    rows = [("a name that is too long", 0.5, 0.6, 0.7), ("fifteen letters", 0.9, 0.95, 1.0)]
    drawing = svg_charts.interval_chart("x", "about", rows)
    lines = attributes(drawing, "line")
    bars = [line for line in lines if line["class"] == "line"]
    # From 112 to 398 for 0.4 … 1: the ticks are 0.4, 0.6, 0.8 and 1.
    grid = [float(line["x1"]) for line in lines if line["class"] == "grid"]
    assert grid[0] == 112 and grid[-1] == 398
    width, low = 286, 0.4
    assert len(grid) == 4
    expected = [[round(112 + (end - low) / (1 - low) * width, 1) for end in row[1:]] for row in rows]
    assert [[float(bar["x1"]), float(bar["x2"])] for bar in bars] == [[row[0], row[2]] for row in expected]
    assert [(bar["y1"], bar["y2"]) for bar in bars] == [("19.0", "19.0"), ("53.0", "53.0")]
    assert [float(dot["cx"]) for dot in attributes(drawing, "circle")] == [row[1] for row in expected]
    assert ">a name that is…<" in drawing and ">fifteen letters<" in drawing
    assert "fifteen letters: 95.00%, 95% interval 90.00–100.00%" in drawing
    assert 'viewBox="0 0 420 94"' in drawing and "run-1 thick" in drawing and "run-2 thick" in drawing


def test_shares_of_a_whole_stand_beside_each_other():
    drawing = svg_charts.stacked_bar("x", "about", [("data", 1.0), ("train", 3.0), ("report", 0.0)])
    boxes = [(float(box["x"]), float(box["width"]), box["y"], box["height"]) for box in attributes(drawing, "rect")]
    assert boxes == [(0, 250, "0", "44"), (250, 750, "0", "44"), (1000, 0, "0", "44")]
    titles = re.findall(r"<rect [^>]*><title>([^<]*)</title>", drawing)
    assert titles == ["data: 1.00 s, 25%", "train: 3.00 s, 75%", "report: 0.00 s, 0%"]
    assert re.findall(r"part part-(\d)", drawing) == ["1", "2", "3"]
    nothing = svg_charts.stacked_bar("x", "about", [("data", 0.0)])
    assert "data: 0.00 s, 0%" in nothing
    nine = svg_charts.stacked_bar("x", "about", [(str(n), 1.0) for n in range(9)])
    assert re.findall(r"part part-(\d)", nine)[-2:] == ["8", "1"]


def test_ten_bars_know_the_truth_and_what_was_said():
    p = [0.0] * 10
    p[3], p[5], p[9] = 0.75, 0.25, float("nan")
    drawing = svg_charts.ten_bars("x", p, 5, 3, [f"n{digit}" for digit in range(10)])
    boxes = attributes(drawing, "rect")
    kinds = ["other"] * 10
    kinds[5], kinds[3] = "truth", "predicted"
    assert [box["class"] for box in boxes] == kinds
    assert (boxes[3]["x"], boxes[3]["y"], boxes[3]["height"]) == ("31", "12.5", "35.5")  # 46 · 0.75 and a pixel
    assert (boxes[9]["y"], boxes[9]["height"]) == ("47", "1") and "n5: 25.00%" in drawing
    same = attributes(svg_charts.ten_bars("x", p, 3, 3, ["n"] * 10), "rect")
    assert [box["class"] for box in same].count("truth") == 1 and same[3]["class"] == "truth"


# Pairs of runs


def test_the_better_one_is_named_where_a_difference_is_shown():
    pair = Pair("a", "b", 10, 1, 100, 0.09, (0.03, 0.15), 0.01, 0.02)
    assert pair.conclusion() == "a is significantly better than b on such images."
    turned = dataclasses.replace(pair, difference=-0.09)
    assert turned.conclusion() == "b is significantly better than a on such images."
    many = "No significant difference after correction for the number of comparisons."
    assert dataclasses.replace(pair, p_holm=0.05).conclusion() == many
    chance = "No significant difference: chance alone gives as large a difference in {}% of such cases."
    assert dataclasses.replace(pair, p=0.05, p_holm=0.05).conclusion() == chance.format(5)
    assert dataclasses.replace(pair, p=0.5, p_holm=1.0).conclusion() == chance.format(50)
    assert dataclasses.replace(pair, p=0.0499, p_holm=0.0499).conclusion().startswith("a is significantly better")


def test_a_pair_counts_the_images_that_one_alone_has_right():
    right = np.array([True, True, True, False, False, True])
    other = np.array([True, False, False, True, False, False])
    found = pair_of("a", "b", right, other)
    assert (found.only_one, found.only_other, found.images) == (3, 1, 6) and found.difference == pytest.approx(2 / 6)
    assert found.interval == paired_difference_interval(1, 3, 1, 1) and found.p == mcnemar(right, other) == 10 / 16


def three():
    return [material("a"), material("b", range(8)), material("c", [0, 9, 10])]


def test_all_pairs_are_tested_and_corrected_together():
    found = compare(three(), ["h", "h", "h"])
    assert [(pair.one, pair.other) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(pair.only_one, pair.only_other) for pair in found.pairs] == [(8, 0), (3, 0), (2, 7)]
    assert [pair.p for pair in found.pairs] == pytest.approx([2 / 2**8, 0.25, 2 * 46 / 512])
    assert [pair.p_holm for pair in found.pairs] == pytest.approx([6 / 2**8, 2 * 92 / 512, 2 * 92 / 512])
    assert not found.left_out and remarks(found) == []


def known(images, labels, total=None):
    images = np.asarray(images, np.uint8)
    return TrainingImages(images, np.array(labels, np.uint8), 100 + np.arange(len(labels)), total or len(labels))


def test_mistakes_show_the_nearest_training_images(digits):
    """Of a network without a hidden layer they are the nearest as pixels."""
    run = material(wrong=[3, 17])
    assert "The nearest training images are not shown" in network_sections.mistakes(run)
    images = np.zeros((6, 28, 28), np.uint8)
    for index, level in enumerate((50, 10, 30, 20, 200, 40)):
        images[index, 0, 0] = level
    run = dataclasses.replace(run, training=known(images, [0, 1, 0, 7, 3, 2], 900))
    section = network_sections.mistakes(run)  # all test images are blank; image 3 is a 0 mistaken for a 1
    found = re.findall('<div class="nearest"><img src="([^"]*)" alt="([^"]*)"[^>]*><ol>(.*?)</ol></div>', section)
    assert len(found) == 2 and {alt for _, alt, _ in found} == {"The training images 101, 103, 102, 105"}
    rows = [re.findall('<span class="(.*?)">(.*?)</span>', listed) for _, _, listed in found]
    labels = {"0": "truth", "1": "predicted", "7": "strong", "2": "strong"}
    assert rows[0] == [pair for label, distance in zip("1702", ("10.0", "20.0", "30.0", "40.0"), strict=True)
                       for pair in ((labels[label], label), ("quiet", f" {distance}"))]  # fmt: skip
    picture = Image.open(io.BytesIO(base64.b64decode(found[0][0].partition(",")[2])))
    assert [picture.getpixel((30 * k, 0)) for k in range(4)] == [(0, 10), (0, 20), (0, 30), (0, 40)]
    assert "nearest to it as pixels (6 of the 900 images" in section
    assert "farther away than 40.0 (median" in section  # of 10 to 200, six of them
    named = dataclasses.replace(run, result=run.result | {"dataset": {"name": "fashion_mnist"}})
    assert '<div class="nearest named">' in network_sections.mistakes(named)


def test_convolutions_compare_fewer_images(monkeypatch):
    monkeypatch.setattr(network_sections, "FEW", 5)
    run = dataclasses.replace(material(wrong=[3]), training=known(np.zeros((9, 28, 28)), range(9)))
    assert "in the last hidden layer, conv_2 (5 of the 9 images" in network_sections.mistakes(
        dataclasses.replace(run, layers=convolutions())
    )
    assert "as pixels (all 9 images" in network_sections.mistakes(run)


def test_a_diverged_network_has_no_nearest_images():
    layers = linear()
    layers.insert(1, Layer("dense", "hidden_1", "relu", 0.0, np.full((784, 784), np.nan, np.float32), np.zeros(784)))
    run = dataclasses.replace(material(wrong=[3]), layers=layers, training=known(np.ones((5, 28, 28)), range(5)))
    with np.errstate(all="ignore"):
        section = network_sections.mistakes(run)
    assert 'class="nearest' not in section and section.count('class="why"') == 1


def test_three_digits():
    assert [three_digits(value) for value in (0.0, 7.6, 9.994, 9.996, 99.94, 99.96, 1234.4)] == [
        *("0.00", "7.60", "9.99", "10.0", "99.9", "100", "1234")
    ]


def test_runs_that_cannot_be_tested_say_why():
    unseen = material("d", predicts=False)
    found = compare([*three()[:2], unseen], ["h", "other", "h"])
    assert not found.pairs and found.left_out == [
        "a and b are not tested. McNemar’s test needs the same test images in the same order; theirs differ.",
        "a and d are not tested. It has no data.",
        "b and d are not tested. It has no data.",
    ]
    assert compare([unseen, material("e")], ["h", "h"]).left_out == ["d and e are not tested. It has no data."]


def test_remarks_tell_what_is_not_the_same():
    gpu = {"device": {"actual": "GPU", "replicas": 1, "xla": True, "notes": []}}
    other = material("b", data="digits", changes=gpu)
    found = remarks(compare([material("a"), other], ["h", "i"]))
    assert found[0].startswith("These runs have different data (digits, mnist): ")
    assert found[1] == "The times were measured on different devices or frameworks." and len(found) == 3
    small = remarks(compare([material("a", data="digits"), material("b", data="digits")], ["h", "h"]))
    assert small == ["Measured on digits: this is not MNIST accuracy."]
    torn = material("b")
    torn.result["test"]["confusion"][0][0] -= 1
    (words,) = remarks(compare([material("a"), torn], ["h", "h"]))
    assert words.startswith("b: some recomputed predictions differ from those of the run")


def test_the_table_of_a_comparison():
    lines = comparison_text.table(compare(three()[:2], ["h", "h"])).splitlines()
    assert lines[0].split("  ")[0] == "run" and lines[1].startswith("a     100.00%  91.24–100.00%       0  0.1250")
    assert lines[2].split() == [
        *("b", "80.00%", "65.24–89.50%", "8", "0.1250", "109,386", "2", "1.75", "s", "130.00", "s", "CPU,", "jax")
    ]  # fmt: skip
    assert lines[3] == ""
    assert lines[5].split() == ["a", "–", "b", "8", "0", "+20.00", *lines[5].split()[6:9], "0.0078", "0.0078"]
    low, high = paired_difference_interval(32, 8, 0, 0)
    assert lines[5].split()[6:9] == [f"{100 * low:+.2f}", "to", f"{100 * high:+.2f}"]
    assert lines[7] == "a – b: a is significantly better than b on such images."
    alone = comparison_text.table(compare([material("a"), material("b", predicts=False)], ["h", "h"])).splitlines()
    assert len(alone) == 4 and alone[3] == "  !      a and b are not tested. It has no data."


def test_columns_stand_below_each_other():
    rows = [("a", "bb", ""), ("ccc", "d", "x")]
    assert aligned(rows) == ["a    bb", "ccc   d  x"]


# The page of a comparison


def test_the_conclusion_names_the_best_and_how_sure_that_is():
    runs = three()
    best = "a has the highest test accuracy on MNIST: 100.00%. "
    two = compare(runs[1::-1], ["h", "h"])
    assert comparison_page.conclusion(two) == f"{best}a is significantly better than b on such images."
    assert comparison_page.conclusion(compare(runs, ["h"] * 3)) == (f"{best}1 of 3 pairs of runs differ significantly.")
    assert comparison_page.conclusion(compare(runs, ["h", "i", "j"])) == (
        f"{best}Whether the difference is significant cannot be tested here."
    )
    other = compare([runs[0], material("d", data="digits")], ["h", "i"])
    assert comparison_page.conclusion(other) == "These runs were evaluated on different data."


def test_the_whole_page_holds_each_run():
    page = comparison_page.render(compare(three(), ["h", "h", "h"]))
    assert page.startswith("<!doctype html>") and "3 runs compared" in page
    for name, cells in (("a – b", "40 8 0 +20.00"), ("b – c", "40 2 7 −12.50")):
        row = re.search(f'<tr><th scope="row">{name}</th>(.*?)</tr>', page)[1]
        assert re.findall(r"<td>([^<]*)</td>", row)[:4] == cells.split()
    assert "corrected with Holm’s method for 3 comparisons" in page and "Command of c" in page


def test_facts_are_shaded_where_they_differ():
    runs = [material("a"), material("b")]
    found = comparison_page.columns("c", runs, [{"x": "1", "y": "2"}, {"x": "1", "y": "3"}], shade=True)
    assert found.count('class="differs"') == 2 and '<td class="differs">3</td>' in found and "<td>1</td>" in found
    assert "min-width: 27rem" in found
    assert "differs" not in comparison_page.columns("c", runs, [{"y": "2"}, {"y": "3"}])


def test_facts_of_a_run():
    run = material("a", range(8))
    assert comparison_page.results_of(run) == {
        "accuracy": "80.00%",
        "95% interval": "65.24–89.50%",
        "errors": "8 of 40",
        "test loss": "0.1250",
        "training loss, last epoch": "0.2500",
    }
    setup = comparison_page.setup_of(run)
    assert (setup["epochs"], setup["steps"], setup["XLA"]) == ("2", "200", "on")
    assert setup["versions"] == "keras 3.10, jax 0.6" and setup["engine"] == "custom, jax"
    fresh = material("b", changes={"epochs": []})
    assert comparison_page.results_of(fresh)["training loss, last epoch"] == "–"
    assert comparison_page.took(run, "train") == "1.75 s" and comparison_page.took(run, "evaluate") == "–"
    assert comparison_page.points(0.0123) == "+1.23" and comparison_page.points(-0.5) == "−50.00"


def test_options_that_differ_are_listed():
    runs = [material("a", seed=1, model="mlp", keep=3), material("b", seed=2, model="mlp", keep=3)]
    assert comparison_page.differing_options(runs) == ["seed"]
    assert "All options are equal." in comparison_page.side_by_side(compare([runs[0], runs[0]], ["h", "h"]))
    assert "<td>1</td><td>2</td>" in comparison_page.side_by_side(compare(runs, ["h", "h"]))


def test_curves_of_all_runs_are_in_the_same_axes():
    fresh = material("fresh", changes={"epochs": []})
    found = comparison_page.curves(compare([material("a"), fresh, material("b")], ["h"] * 3))
    assert re.findall(r'class="series (run-\d)"', found)[:4] == ["run-1", "run-1", "run-3", "run-3"]
    assert "a, test, epoch 2: 0.1250" in found and "b, epoch 1: 85.00%" in found and "fresh" not in found
    assert "None of these runs was trained." in comparison_page.curves(compare([fresh], ["h"]))
    loss, accuracy = (re.findall(r"<text[^>]*>([^<]*)</text>", part) for part in found.split("<figure>")[1:])
    assert "0.0" in loss and "0.5" in loss  # a loss from 0 on
    assert "0%" not in accuracy and "95%" in accuracy  # accuracies where they are


def test_images_on_which_runs_differ_most_come_first(monkeypatch):
    runs = [material("a"), material("b", [5, 9], unsure=True), material("c", [5])]
    monkeypatch.setattr(comparison_page, "SHOWN", 1)
    two = comparison_page.differing_images(compare([runs[0], runs[2]], ["h", "h"]))
    assert "1 image recognized by some of these runs (a, c) and not by others. Shown: the 1 on which" in two
    assert re.findall(r"image (\d+)</span>", two) == ["5"]
    three_of_them = comparison_page.differing_images(compare(runs, ["h"] * 3))
    assert "2 images recognized by some" in three_of_them and re.findall(r"image (\d+)</span>", three_of_them) == ["5"]
    assert '<span class="predicted">2</span>' in three_of_them and '<span class="truth">1</span>' in three_of_them
    same = comparison_page.differing_images(compare([runs[0], runs[0]], ["h", "h"]))
    assert "Nowhere: all runs agree on every image." in same
    none = comparison_page.differing_images(compare(runs[:2], ["h", "i"]))
    assert "No two of these runs have the same test images available." in none
    some = comparison_page.differing_images(compare(runs, ["h", "i", "h"]))  # only a and c saw the same
    assert "(a, c)" in some


# The result of a run


def test_the_result_in_words():
    assert result_sections.summary(material()) == (
        "The network mlp was trained for 2 epochs on 3,200 images. It recognizes 40 of 40 images that it has never "
        "seen; 0 are errors."
    )
    words = result_sections.summary(material(wrong=[0, 8, 9, 12]))
    assert words.endswith(
        "4 are errors. The hardest class is 2: 50.0% are recognized, and it is most often mistaken for 3."
    )
    fresh = result_sections.summary(material(changes={"epochs": []}))
    assert fresh.startswith("The network mlp was not trained: these are its initial weights. It recognizes 40 of 40")


def test_remarks_of_a_run():
    run = material(data="digits")
    run.result["test"]["loss"] = None
    run.result["dataset"]["notes"], run.result["device"]["notes"] = ["of the data"], ["of the device"]
    run.result["gate"] = {"reference": {"seeds": 100}, "p": 0.0123, "passed": False, "found": {"loss": "too high"}}
    run.result["diagnosis"] = [{"name": "dead", "seen": "zeros", "remedy": "less"}]
    run.result["resumed"] = [{"step": 1500, "of": 2000}]
    run.result["test"]["confusion"][0][0] -= 1
    found = result_sections.remarks(run)
    assert found[0].endswith("this is not MNIST accuracy.") and found[1].startswith("The test loss is not a finite")
    assert found[2:7] == [
        "of the data",
        "of the device",
        "The gate FAILED, compared with 100 seeds of correct runs: p = 0.012. loss: too high",
        "Diagnosis: dead: zeros; less",
        "Resumed at step 1,500 of 2,000; the seconds are those of the last process.",
    ]
    assert found[7].startswith("The predictions computed for this page differ") and len(found) == 8
    run.result["gate"]["passed"] = True
    assert "The gate passed, compared with 100 seeds of correct runs: p = 0.012." in result_sections.remarks(run)
    assert result_sections.remarks(material()) == []


def test_the_opening_has_the_figures():
    page = result_sections.opening(material(wrong=[0]))
    assert "97.50%<span> of the 40 test images of MNIST</span>" in page
    for name, value in {
        "errors": "1 of 40", "whole run": "2 min 10 s", "training": "1.75 s", "parameters": "109,386"
    }.items():  # fmt: skip
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page


def test_the_lines_of_a_run():
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "validation_loss": 1.5}]
    training, validation, test = result_sections.lines_of(rows, "loss", 0.5)
    assert training.points == [(1, 2.0), (2, 1.0)] and validation.points == [(1, None), (2, 1.5)]
    assert test.points == [(2, 0.5)] and test.mark and not training.mark
    assert [line.name for line in result_sections.lines_of(rows[:1], "loss", 0.5)] == ["training", "test"]
    drawing = result_sections.chart("loss", [training, test], percent=False, low=0.0)
    assert "loss over 2 epochs: training 2.0000 to 1.0000; test 0.5000." in drawing


def test_epochs_as_numbers():
    rows = [{"epoch": n, "loss": n / 8, "accuracy": 0.5, "seconds": 0.125} for n in (1, 2)]
    plain = result_sections.epoch_table(rows)
    assert "validation" not in plain and re.findall(r"<td>([^<]*)</td>", plain) == [
        *("0.1250", "50.00%", "0.12"), *("0.2500", "50.00%", "0.12")
    ]  # fmt: skip
    rows[-1] |= {"validation_loss": 0.75, "validation_accuracy": 0.25}
    kept = re.findall(r"<td>([^<]*)</td>", result_sections.epoch_table(rows))
    assert kept[2:4] == ["not a finite number", "–"] and kept[7:9] == ["0.7500", "25.00%"]
    assert "No epoch was trained" in result_sections.curves(material(changes={"epochs": []}))


def test_cells_are_the_darker_the_more_images_they_hold():
    run = material()
    counts = [[0] * 10 for _ in range(10)]
    counts[0][0], counts[1][2], counts[2][1], counts[3][4], counts[4][3] = 1234, 10, 1, 2, 3
    run.result["test"]["confusion"] = counts
    page = result_sections.confusion(run)
    shades = dict(re.findall(r'class="(error-\d|correct)" title="([\d,]+ × \w+ [^"]*)"', page)[::-1])
    assert shades["correct"] == "1,234 × 0 correct" and shades["error-5"] == "10 × 1 mistaken for 2"
    kinds = {title: kind for kind, title in re.findall(r'class="(error-\d)" title="([^"]*)"', page)}
    assert kinds == {
        "10 × 1 mistaken for 2": "error-5",
        "1 × 2 mistaken for 1": "error-1",  # ⌈1 · 5 / 10⌉
        "2 × 3 mistaken for 4": "error-1",
        "3 × 4 mistaken for 3": "error-2",
    }
    assert "Most frequent: 1 mistaken for 2 (10 times); 4 mistaken for 3 (3 times); 3 mistaken for 4 (2 times)." in page
    assert page.count('class="zero"') == 100 - 5 - 9  # on the diagonal a 0 is right, too
    assert "There are no errors." in result_sections.confusion(material())


def test_a_row_for_each_class():
    page = result_sections.classes(material(wrong=[0, 8, 9]))
    row = re.search(r'<th scope="row">2</th>(.*?)</tr>', page)[1]
    low, high = wilson_interval(2, 4)
    assert re.findall(r"<td>([^<]*)</td>", row) == [
        *("4", "2", "50.0%", f"{100 * low:.1f}–{100 * high:.1f}%", "100.0%", "66.7%", "3 (2×)")
    ]  # fmt: skip
    assert "<td>–</td></tr>" in re.search(r'<th scope="row">9</th>.*?</tr>', page)[0]
    assert (
        result_sections.f1(None, 0.5) is None
        and result_sections.f1(0.5, None) == 0
        and result_sections.f1(0.0, 0.0) == 0
    )
    assert result_sections.f1(0.25, 0.75) == 0.375


# The last stage of training


@dataclasses.dataclass
class Result:
    seconds: dict
    model_sha256 = ""

    def to_dict(self):
        return {"seconds": self.seconds}


def run_of(path, *, chief, moved):
    """An open run whose directory was moved away, perhaps; `checked` holds what lay there at each check."""
    checked = []

    def check_owned():
        checked.append(sorted(path.name for path in path.iterdir()))
        if moved:
            raise UserError("it was moved")

    run = directory.Run(path, Config(), chief=chief, check_owned=check_owned)
    run.checked = checked
    return run


@pytest.fixture
def last(tmp_path, monkeypatch):
    """A function that runs the stage; what it looks at, draws and measures stands in for the real ones."""
    monkeypatch.setattr(run_page.content, "Predictions", lambda test, logits: "seen")
    monkeypatch.setattr(run_page.content, "weights_of", lambda engine: ["layers"])
    monkeypatch.setattr(run_page.content, "RunContent", lambda *given, training: (*given, training))
    monkeypatch.setattr(run_page, "render", lambda made: f"page of {made[0]}, {made[2:]}")

    def go(chief=True, moved=False):
        run, reporter, result = run_of(tmp_path, chief=chief, moved=moved), Collector(), Result({})
        stopwatch = SimpleNamespace(
            ended=[], end=lambda name: stopwatch.ended.append(name), measured=lambda: {"seconds": {"report": 2}}
        )
        session = SimpleNamespace(run=run, engine="engine", test="test", result=result, reporter=reporter)
        session.test_logits, session.training_images = np.zeros((1, 10), np.float32), "trained on"
        session.stopwatch = stopwatch
        session.update = lambda **fields: setattr(session, "result", dataclasses.replace(session.result, **fields))
        run_page.write(session)
        assert stopwatch.ended == ["report"] and session.result == Result({"report": 2})
        return run, reporter.lines

    return go


def test_the_page_and_the_seconds_are_written(last, tmp_path):
    run, told = last()
    assert told == [] and run.checked == [[], ["report.html"]]
    page = (tmp_path / "report.html").read_text()
    assert page == f"page of {tmp_path.name}, ({{'seconds': {{}}}}, ['layers'], 'seen', 'trained on')"
    assert '"report": 2' in (tmp_path / "result.json").read_text()


def test_the_other_workers_write_no_page(last, tmp_path):
    _, told = last(chief=False)
    assert not told and not (tmp_path / "report.html").exists()


def test_a_page_that_cannot_be_drawn_costs_a_line(last, tmp_path, monkeypatch):
    def drawn(made):
        raise ValueError("no\nroom")

    monkeypatch.setattr(run_page, "render", drawn)
    (words,) = last()[1]
    again = f"to try again run python -m mnist_mlp.report {tmp_path}"
    assert words == f"  !      report.html was not written: no room; {again}"
    assert (tmp_path / "result.json").exists()
    monkeypatch.setattr(run_page, "render", lambda made: (_ for _ in ()).throw(KeyError()))
    assert "was not written: KeyError; " in last()[1][0]


def test_in_a_directory_that_was_moved_nothing_is_written(last, tmp_path):
    _, told = last(moved=True)
    assert "it was moved" in told[0] and not list(tmp_path.iterdir())
