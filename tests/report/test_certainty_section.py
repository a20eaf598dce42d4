"""The section on how sure a network is, and its two charts."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from mnist_mlp.report import svg_charts
from mnist_mlp.report.certainty_section import certainty
from mnist_mlp.report.html import page
from mnist_mlp.report.svg_charts import Line
from mnist_mlp.stats.calibration import measure, softmax

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 4, (900, 10))
LABELS = (softmax(LOGITS, 2.0).cumsum(1) > GENERATOR.random((900, 1))).argmax(1)
BEFORE, AFTER = measure(softmax(LOGITS), LABELS), measure(softmax(LOGITS, 2.0), LABELS)
CHANGE = {"mean": -0.25, "interval": [-0.3, -0.2]}
CALIBRATED = {"temperature": 2.0, "temperature_interval": [1.9, 2.1], "fitted_on_images": 600}
CALIBRATED |= {"change": {"nll": CHANGE, "brier": CHANGE}, **AFTER}


def of(**test):
    return certainty(SimpleNamespace(result={"test": test}))


def words_of(section):
    return " ".join(re.sub("<[^>]*>", " ", section).split())


def test_results_that_do_not_say_it_have_no_section():
    assert of(correct=3) is None and of(calibrated=CALIBRATED) is None


def test_an_overconfident_network_is_called_so():
    section = of(calibration=BEFORE)
    words = words_of(section)
    assert "It is overconfident: more than chance explains." in words and "temperature" not in words
    sure, right = (f"{100 * BEFORE[key]:.2f}%" for key in ("confidence", "accuracy"))
    assert f"On average the network is {sure} sure of its answers, and {right} of them are correct." in words
    assert f"{100 * BEFORE['ece']:.2f}%" in words and f"{100 * BEFORE['ece_if_calibrated']:.2f}%" in words
    assert "The thresholds were chosen on the same 900 test images, so the precision of new ones will be lower" in words
    assert section.count("<svg") == 2 and "<script" not in section
    page("title", "", section)


def test_a_calibrated_one_is_not():
    assert "A calibrated network would often show as large a calibration error" in words_of(of(calibration=AFTER))
    unsure = measure(softmax(LOGITS, 8.0), LABELS)
    assert "Its confidence does not match its accuracy" in words_of(of(calibration=unsure))


def test_before_and_after_stand_beside_each_other():
    section = of(calibration=BEFORE, calibrated=CALIBRATED)
    words = words_of(section)
    assert "The temperature 2.000 (95% interval 1.900–2.100), fitted on 600 validation images" in words
    assert "It changes the loss by −0.2500 (95% interval −0.3000 to −0.2000)." in words
    for block in (BEFORE, AFTER):
        low, high = block["ece_interval"]
        assert f"{100 * low:.2f}–{100 * high:.2f}%" in words and f"{block['brier']:.4f}" in words
        for row in block["coverage"]["rows"]:
            assert row["answered"] == 0 or f"{row['correct']:,} of {row['answered']:,}" in words
    assert section.count('class="dot"') >= 2 * len(BEFORE["bins"])
    assert section.count("Bins of the diagram, ") == 2


def test_a_precision_that_nothing_reaches_has_a_dash():
    block = {**BEFORE, "coverage": {**BEFORE["coverage"], "chosen_on": "validation"}}
    block["coverage"]["rows"] = [{"precision": 0.999, "threshold": None, **dict.fromkeys(("answered", "correct"), 0)}]
    section = of(calibration=block)
    assert "<td>–</td><td>0.0%</td>" in section
    assert "The thresholds were chosen on 900 validation images" in words_of(section)


def attributes(drawing, element):
    return [dict(re.findall(r'([\w-]+)="([^"]*)"', found)) for found in re.findall(f"<{element} ([^>]*)>", drawing)]


def test_points_lie_where_their_shares_are():
    line = Line("as trained", "run-1", [(0.5, 0.5), (1.0, 0.75)], bars=[(0.5, 0.25, 0.75), (1.0, 0.5, 1.0)])
    drawing = svg_charts.share_chart("x", "T", "about", [line], "confidence")
    low, high = attributes(drawing, "circle")  # both axes from 20% to 100%: 52 … 406 across, 212 … 12 upwards
    assert (float(low["cx"]), float(low["cy"])) == pytest.approx((184.8, 137), abs=0.15)
    assert (float(high["cx"]), float(high["cy"])) == pytest.approx((406, 74.5))
    (diagonal,) = [given for given in attributes(drawing, "line") if given["class"] == "diagonal"]
    assert (diagonal["x1"], diagonal["y1"], diagonal["x2"], diagonal["y2"]) == ("52.0", "212.0", "406.0", "12.0")
    bars = [given for given in attributes(drawing, "line") if given["class"] == "line"]
    assert [(bar["x1"], bar["y1"], bar["y2"]) for bar in bars] == [
        ("184.7", "199.5", "74.5"),
        ("406.0", "137.0", "12.0"),
    ]


def test_a_curve_has_no_diagonal_and_its_images_begin_at_0():
    line = Line("as trained", "run-1", [(0.5, 1.0), (1.0, 0.98)])
    drawing = svg_charts.share_chart("x", "T", "about", [line], "images answered")
    (path,) = attributes(drawing, "path")
    assert path["d"] == "M229.0 12.0L406.0 212.0" and "diagonal" not in drawing
    flat = svg_charts.share_chart("x", "T", "about", [Line("a", "run-1", [(0.5, 1.0), (1.0, 1.0)])], "images answered")
    assert "nan" not in flat and attributes(flat, "path")
