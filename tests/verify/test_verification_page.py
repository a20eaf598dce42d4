"""verify.html: what is on it, that it shows any report, and that everybody can read it."""

import copy
import html
import random
import re
from pathlib import Path

import pytest
from helpers.pages import Page, checked
from helpers.verification import NAMES, quantity, report, stage

from mnist_mlp.verify import page, page_charts, reading
from mnist_mlp.verify.stages import STAGES

HOSTILE = "<script>alert(1)</script>\x1b[31m\x00\udcff&\"'‮"
BITS = {
    "tensor": "layers/dense/kernel",
    "element": [3, 17],
    "expected": "0.12345679",
    "received": "0.12345680",
    "flipped": [0, 4],
    "elements": 12,
    "tensors": ["layers/dense/kernel", "losses"],
}


def written(made, tmp_path):
    path = tmp_path / "verify.html"
    path.write_text(page.render(made), encoding="utf-8")
    return checked(path)


def section(shown, name):
    """The text of a section."""
    source = shown.source
    start = source.index(f'<section id="{name}"')
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", source[start : source.index("</section>", start)])).split())


def test_what_a_reader_needs_comes_first(tmp_path):
    shown = written(report(seed=12345), tmp_path)
    opening = shown.text[: shown.text.index("Stages In their order")]
    for words in (
        *("Passed this machine trains correctly, as far as it was tried", "GPU:0, CPU:0", "strategy: gpu"),
        *("machine Example 9000, 16 cores", "tier usual", "seed 12345", "2026-11-30 11:54:39+0000", "took 75.5 s"),
        *("mnist_mlp 0.2.0, Python 3.12.1, tensorflow 2.21.0, keras 3.15.1",),
        *("Of 12 stages 10 passed, 2 skipped (parity_cpu, mnist).",),
    ):
        assert words in opening, words
    assert "Passed – verification of Example 9000, 16 cores – mnist_mlp" in shown.source


def test_each_stage_has_a_row_and_a_section(tmp_path):
    shown = written(report(), tmp_path)
    head, *body = shown.rows("In their order")
    assert head == ["stage", "outcome", "what it proves", "figure, or the reason", "seconds"]
    assert [row[0] for row in body] == list(NAMES) and {*(each.name for each in STAGES)} <= {*NAMES}
    assert body[0] == ["machine", "✓ passed", "the claim of machine", "the figure of machine", "1.2"]
    assert body[3] == ["parity_cpu", "– skipped", "the claim of parity_cpu", "the device is the CPU itself", "1.2"]
    assert [given["href"] for given in shown.all("a") if given["href"] in {f"#{name}" for name in NAMES}] == [
        f"#{name}"
        for name in (*NAMES, *NAMES)  # in the navigation, and in the table
    ]
    assert section(shown, "mnist") == "mnist the claim of mnist – skipped MNIST is not on this machine"


def test_what_failed_is_told_at_the_top_and_in_its_section(tmp_path):
    made = report(
        verdict="refuted",
        determinism={"status": "refuted", "reason": "a second run differs", "details": {"difference": BITS}},
        exports={"status": "error", "reason": "ValueError: boom", "details": {"traceback": "Traceback\n  line 3"}},
    )
    shown = written(made, tmp_path)
    opening = shown.text[: shown.text.index("Stages In their order")]
    assert "Refuted this machine does not compute what it should" in opening
    assert "Of 12 stages 8 passed, 1 refuted (determinism), 1 could not be tried (exports), 2 skipped" in opening
    assert "determinism: a second run differs" in opening and "exports: ValueError: boom" in opening
    told = section(shown, "determinism")
    for words in (
        *("✗ refuted", "tensor layers/dense/kernel", "element [3, 17]", "expected 0.12345679", "received 0.12345680"),
        *("bits that differ (0: the least significant) 0, 4", "12", "2: layers/dense/kernel, losses"),
    ):
        assert words in told, words
    assert "✗ could not be tried" in section(shown, "exports") and "Traceback line 3" in section(shown, "exports")


def test_numbers_of_the_sections(tmp_path):
    made = report()
    stage(made, "parity")["details"]["first_differences"] = [quantity("loss", 3.2)]
    stage(made, "operations")["details"]["operations"][1]["passed"] = False
    shown = written(made, tmp_path)
    assert shown.rows("Frameworks that were tried")[1] == [
        *("tensorflow", "GPU:0, CPU:0", "tensorflow: 2.21.0, keras: 3.15.1", "3.25", "0.5")
    ]
    told = section(shown, "machine")
    assert "no ptxas: slow compilation; install it (a tracker#1)" in told and "a line of the driver" in told
    assert shown.rows("Environment variables that change a run")[1] == ["CUDA_VISIBLE_DEVICES", "0"]
    # What failed, and what is nearest to its bound, comes first.
    assert [row[:2] for row in shown.rows("Operations with known results")[1:]] == [
        ["products", "✗ failed"],
        ["integer sum", "✓ passed"],
    ]
    quantities = shown.rows("Quantities, worst first")
    assert [(row[0], row[2]) for row in quantities[1:]] == [("logits", "0.12"), ("loss", "0.03")]
    assert quantities[1][5:7] == ["0.123456789", "0.123456799"]  # not both 0.1235
    assert 'aria-label="3.2 of the bound"' in shown.source
    gate = shown.rows("Against correct runs")
    assert [row[0] for row in gate[1:]] == ["correct images", "loss of epoch 1", "loss of epoch 2"]
    assert gate[1][2:6] == ["351", "349.7", "2.5", "334 to 359"]
    assert "a loss of accuracy of 4.7% with probability 0.5" in section(shown, "training")
    (onnx, _) = shown.rows("Exported files, read by their own runtimes")[1:]
    assert onnx == [
        *("onnx", "✓ passed", "360 of 360", "8e-07", "1e-05", "onnxruntime 1.32.0", "model.onnx", "440 kB"),
        *("0.057", "0.02"),
    ]
    assert "litert, not tried: not installed" in section(shown, "exports")


def test_step_times_of_the_device_and_of_the_cpu_are_drawn(tmp_path):
    shown = written(report(), tmp_path)
    about = "Time of a step by batch size: GPU: Example, from 0.06 to 1.9 ms; CPU: Example 9000, beside it, from 0.2 to"
    assert about in section(shown, "throughput")
    assert "GPU: Example, 2,048: 0.12 ms" in shown.text and "CPU: Example 9000, beside it, 32: 0.2 ms" in shown.text
    assert shown.rows("Steps on GPU: Example")[1] == [
        *("32", "0.06", "0.0582 to 0.0612", "5", "533,333", "25.0%", "1.5")
    ]
    told = section(shown, "throughput")
    assert "flops per second 51 TFLOP/s" in told and "bytes per second 22 GB/s" in told
    assert "the GPU is worth it at every batch size" in told and "131072 was left out: it does not fit" in told


def test_devices_and_differences_of_a_soak(tmp_path):
    made = report()
    details = stage(made, "soak")["details"]
    details["differences"] = [{"device": "GPU 0", "told": "repetition 7: wrong", "difference": BITS, "shown": "61 °C"}]
    details["devices"][0]["ends"] = ["2026-11-30 killed by signal 9"]
    shown = written(made, tmp_path)
    told = section(shown, "soak")
    assert "Trained again and again for 10 min 2 s of 10 min 0 s." in told
    assert shown.rows("Devices")[1][:5] == ["GPU 0", "GPU: Example", "1,234", "98,720", "0"]
    assert shown.rows("Devices")[1][7:9] == ["41 to 66", "1,755 to 1,980"]
    assert "GPU 0: 2026-11-30 killed by signal 9" in told
    assert "Difference 1: repetition 7: wrong" in told and "61 °C" in told and "layers/dense/kernel" in told


def test_what_this_version_does_not_know_is_shown_too(tmp_path):
    made = report(power={"watts": 350}, parity={"details": {"later": [{"a": 1, "b": 2.5}], "deep": {"er": {"x": "y"}}}})
    made["stages"].append({"name": "colour", "status": "mauve", "figure": "12", "details": {"hue": {"red": 0.25}}})
    shown = written(made, tmp_path)
    assert "power watts 350" in section(shown, "rest")
    assert shown.rows("later, 1 row") == [["a", "b"], ["1", "2.5"]]
    assert "deep er x y" in section(shown, "parity")
    assert "mauve : 12 hue red 0.25" in section(shown, "colour")


EMPTY = (
    {},
    {"stages": None},
    {"stages": [None, 3, {}, {"name": None}]},
    {"verdict": ["passed"], "device": 7, "stages": {}},
)


@pytest.mark.parametrize("made", EMPTY)
def test_a_report_without_anything(made, tmp_path):
    assert "No verdict" in written(made, tmp_path).text


def test_no_text_becomes_markup_or_breaks_ids(tmp_path):
    made = report()
    for row in made["stages"]:
        row |= {"proves": HOSTILE, "figure": HOSTILE, "reason": HOSTILE, "status": "refuted"}
        row["details"] = hostile(row["details"])
    made["stages"][1]["name"] = HOSTILE
    made["stages"][2]["name"] = "main"
    made["stages"][3]["name"] = made["stages"][4]["name"] = "twice"
    made |= {"tier": HOSTILE, "version": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}, "verdict": HOSTILE}
    shown = written(made, tmp_path)  # which looks for <script>, and for an id that is there twice
    assert "\\x1b[31m\\x00\\udcff&" in shown.text and "\x1b" not in shown.source


def hostile(value):
    if isinstance(value, dict):
        return {f"{key}": hostile(each) for key, each in value.items()} | {HOSTILE: HOSTILE}
    if isinstance(value, list):
        return [hostile(each) for each in value]
    return HOSTILE if isinstance(value, str) else value


ANYTHING = (None, True, -1, 0.0, 1e300, float("nan"), 10**400, "", "x" * 5000, [], {}, [[]], [{}], {"a": {}}, [1, "b"])


def spoilt(value, random, share):
    """A copy of JSON values in which some are left out, or are something else."""
    if random.random() < share:
        return random.choice(ANYTHING)
    if isinstance(value, dict):
        return {key: spoilt(each, random, share) for key, each in value.items() if random.random() > share}
    if isinstance(value, list):
        return [spoilt(each, random, share) for each in value if random.random() > share]
    return copy.deepcopy(value)


def test_the_page_never_fails(full):
    """Whatever is missing or of another type, and however little of it is left."""
    whole = report()
    stage(whole, "determinism")["details"]["difference"] = BITS
    for seed in range(600 if full else 32):
        made = spoilt(whole, random.Random(seed), 0.02 + 0.3 * (seed % 4) / 4)
        if isinstance(made, dict):
            Page(page.render(made))


def test_deep_and_long_values_are_cut():
    deep = value = {}
    for _ in range(200):
        value["x"] = value = {}
    rows = [{"row": number} for number in range(5000)]
    shown = page.render(report(parity={"details": {"deep": deep, "rows": rows, "text": "y" * 100_000}}))
    assert len(shown) < 200_000 and "(4,800 more rows are in verify.json)" in html.unescape(shown)


def test_numbers_as_text():
    assert [reading.shown(value) for value in (None, True, 14_001_856, 0.12264, 1.2e-7, 53_333.3, float("inf"))] == [
        *("–", "yes", "14,001,856", "0.1226", "1.2e-07", "53,333", "not a finite number")
    ]
    assert reading.number({"a": {"b": 2}}, "a", "b") == 2.0 and reading.number({"a": True}, "a") is None


def test_axes_of_powers():
    assert page_charts.decades(0.06, 1.02) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2])
    assert page_charts.decades(3, 3) == pytest.approx([2, 5])
    assert page_charts.decades(0.001, 2000) == pytest.approx([10.0**power for power in range(-3, 5)])


@pytest.mark.slow
@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_in_a_browser(browser, width, scheme, tmp_path):
    made = report(determinism={"status": "refuted", "reason": "x" * 300, "details": {"difference": BITS}})
    stage(made, "machine")["details"]["doctor"]["machine"]["environment"]["TF_XLA_FLAGS"] = "--flag=1 " * 100
    stage(made, "throughput")["details"]["cpu_beside"]["batches"][-1]["step_seconds"] = 9.9  # labels up to 10,000
    path = tmp_path / "verify.html"
    path.write_text(page.render(made), encoding="utf-8")
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(Path(path).as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()] and said == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    # Marks tell apart in colour, too; no part of the chart is outside of it.
    colours = "['passed', 'refuted', 'skipped'].map(c => getComputedStyle(document.querySelector('td.' + c)).color)"
    assert len({*opened.evaluate(colours)}) == 3
    inside = (
        "[...document.querySelectorAll('.chart .dot, .chart text')].every(part => {"
        " const its = part.getBoundingClientRect(), all = part.ownerSVGElement.getBoundingClientRect();"
        " return its.left >= all.left && its.right <= all.right && its.top >= all.top && its.bottom < all.bottom + 3 })"
    )
    assert opened.evaluate(inside)
    opened.click("nav a[href='#soak']")
    assert opened.evaluate("document.querySelector('#soak').getBoundingClientRect().top") < 900
    opened.emulate_media(media="print")  # on A4: no table is wider than the paper
    opened.set_viewport_size({"width": 718, "height": 1000})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 718
    opened.close()
