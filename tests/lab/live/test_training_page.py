"""The room where the lecture's network learns, in a real browser: with a recorded run, and with one that trains."""

import base64
import json
import urllib.request

import numpy as np
import pytest
from helpers.lab_server import Tab, lab_server, stop

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from mnist_mlp.config import Config
from mnist_mlp.lab.live.training import events, orders
from mnist_mlp.models import portable
from mnist_mlp.models.portable import Layer

pytestmark = pytest.mark.slow
RUN = "20261130-120000-000-abcd0123"
CONFIG = Config(dataset="digits", model="softmax", epochs=2, learning_rate=0.01)
STEPS = 90


def recorded(room):
    """A finished run of softmax regression on the digits, as its process would have left it."""
    folder = room / RUN
    folder.mkdir(parents=True)
    orders.write(folder, CONFIG)
    rng = np.random.default_rng(0)
    kernel, levels = rng.normal(size=(784, 10)).astype("float32"), rng.integers(0, 256, (28, 28), dtype=np.uint8)
    layers = [Layer("scale", "rescaling", number=1 / 255), Layer("flatten", "flatten")]
    layers += [Layer("dense", "logits", kernel=0 * kernel, bias=np.eye(10, dtype="float32")[7]), Layer("softmax", "p")]
    portable.write(layers, folder / orders.WEIGHTS)
    image = base64.b64encode(levels.tobytes()).decode()
    confusion = np.diag([36] * 10)
    confusion[3, 5], confusion[3, 3] = 4, 32
    test = {"correct": 356, "total": 360, "accuracy": 356 / 360, "interval": [0.9718, 0.9957], "loss": 0.04321}
    mistake = {"index": 17, "label": 3, "guess": 5, "probability": 0.913, "of_label": 0.05, "image": image}
    pixels = base64.b64encode(rng.integers(0, 256, 7840, dtype=np.uint8).tobytes()).decode()
    with events.EventLog(folder / events.NAME, RUN) as log:
        device = {"actual": "CPU: a processor", "weights_on": ["CPU:0"], "replicas": 1, "xla": True, "strategy": "cpu"}
        log.write("state", state="starting")
        log.write(
            "begin",
            step=0,
            steps=STEPS,
            steps_per_epoch=45,
            epochs=2,
            history=[],
            rates=[],
            device=device,
            backend="jax",
        )
        log.write("state", state="training")
        for step in range(5, STEPS + 1, 5):
            values = {"loss": 2 / step, "accuracy": 1 - 1 / step, "images": 160, "seconds": 0.1}
            log.write("step", epoch=1, step=step, images_per_second=1600.0, learning_rate=0.01, **values)
        log.write(
            "look",
            step=STEPS,
            pictures={"layer": "logits", "units": 10, "shape": [10, 28, 28], "pixels": pixels, "scales": [1.0] * 10},
            digit={"split": "test", "index": 0, "label": 4, "image": image},
            activations=[],
            probabilities=[0.05] * 4 + [0.55] + [0.05] * 5,
            images=256,
            dead=[],
        )
        scores = {"split": "test", "images": 360, "of": 360, "correct": 356, "mistakes": [mistake]}
        scores |= {
            "accuracy": 356 / 360,
            "interval": [0.9718, 0.9957],
            "loss": 0.04321,
            "confusion": confusion.tolist(),
        }
        log.write("scores", epoch=2, step=STEPS, final=True, **scores)
        log.write("result", result={"test": test})
        log.write("state", state="finished")


def opened(page, url, fragment=""):
    page.goto("about:blank")
    page.goto(f"{url}/network{fragment}")
    return page


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    room = tmp_path_factory.mktemp("room")
    recorded(room)
    return room


@pytest.fixture(scope="module")
def url(browser, room):
    with lab_server(f"--runs={room}") as (_, (line,)):
        yield line.split()[0]


@pytest.fixture
def tab(browser, url):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = Tab(context.new_page(), url)
    yield tab
    tab.close()
    context.close()
    assert (tab.wrong, tab.foreign) == ([], [])


def draw(page, selector="#paper"):
    """Draw a vertical stroke."""
    box = page.locator(selector).bounding_box()
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + 0.2 * box["height"])
    page.mouse.down()
    for share in (0.4, 0.6, 0.8):
        page.mouse.move(x, box["y"] + share * box["height"])
    page.mouse.up()


def press(page, words):
    """Press a button of the one run."""
    page.locator(".run-tools").get_by_role("button", name=words, exact=True).click()


def test_a_recorded_run_its_plan_and_a_drawn_digit(tab):
    page = opened(tab.page, tab.url, "#dataset=digits&epochs=3&batch_size=100")
    tab.until("document.getElementById('mistakes').children.length > 0")
    # What a new run will be: as the address says, by the server's own arithmetic.
    tab.until("document.getElementById('plan-total').textContent === '109,386 parameters'")
    assert "(784 + 1) · 128 = 100,480" in tab.text("#plan-layers") and "1437/100 → 15" in tab.text("#plan-steps")
    assert "batch_size=100" in tab.page.locator("#program").text_content()
    page.fill("#option-epochs", "7")
    assert page.evaluate("location.hash") == "#dataset=digits&batch_size=100&epochs=7"
    page.fill("#option-learning_rate", "-1")
    tab.until("!document.getElementById('form-error').hidden")
    assert "--learning_rate: expected a number" in tab.text("#form-error") and page.is_disabled("#start")
    tab.wrong.clear()  # the refusal of the plan
    page.click("#defaults")
    tab.until("document.getElementById('form-error').hidden")
    # The run, with the digits of its result.
    assert tab.text(".run-list .name") == "softmax, rate 0.01, dataset digits, epochs 2"
    assert tab.text(".run-list .state") == "finished" and tab.text(".run-list .device") == "CPU: a processor, jax"
    assert tab.text(".run-list .message") == "Test: 356 of 360 = 98.89% (95%: 97.18 to 99.57), loss 0.0432"
    assert "step 90 of 90" in tab.text(".run-list .numbers") and "1,600 images/s" in tab.text(".run-list .numbers")
    assert page.locator(".run-tools button:visible").all_inner_texts() == ["Train on", "Hide"]
    # Inside.
    assert tab.text("#confusion tbody tr:nth-child(4)").split() == ["3", *"···", "32", "·", "4", *"····"]
    assert tab.text("#mistakes li").split("\n") == ["3, said 5", "91% sure"]
    assert tab.text("#weights-title") == "First layer: weights of 10 of its 10 units"
    assert tab.text("#digit-bars .best").split() == ["4", "55.0%"]
    assert page.evaluate("document.getElementById('weights').width") > 28
    seen = "[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].some((v) => v > 0)"
    assert page.evaluate(f"(() => {{ const c = document.getElementById('loss-chart'); return {seen}; }})()")
    # A drawn digit.
    draw(page)
    tab.until("document.querySelector('#answers .said') !== null")
    assert tab.text("#answers .said") == "7", "the weights are those of the run: a bias for sevens"
    page.click("#clear")
    tab.until("document.querySelector('#answers .said') === null")


@pytest.mark.full
def test_small_and_large_screens(browser, url):
    for viewport, scheme in (({"width": 360, "height": 740}, "light"), ({"width": 1920, "height": 1080}, "dark")):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        page = opened(context.new_page(), url)
        page.locator("#mistakes li").first.wait_for()
        for _ in range(2):
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), viewport
            page.click("#large")
            page.wait_for_timeout(100)
        context.close()


@pytest.mark.full
def test_an_audience_sees_the_run_and_no_controls(browser, room, tmp_path):
    recorded(tmp_path)
    with lab_server("--host=0.0.0.0", f"--runs={tmp_path}", lines=2) as (_, (line, _)):
        port = line.split()[0].rpartition(":")[2]
        context = browser.new_context(extra_http_headers={"X-Forwarded-For": "192.0.2.7"})
        page = opened(context.new_page(), f"http://127.0.0.1:{port}")
        page.locator("#mistakes li").first.wait_for()
        assert page.is_visible("#looking-on") and page.locator(".run-list .state").inner_text() == "finished"
        for hidden in ("#order", "#plan", "#draw", "#digit-form"):
            assert page.is_hidden(hidden), hidden
        assert page.locator(".run-tools").count() == 0
        context.close()


def asked(url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/training{path}", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.full
def test_a_run_is_started_paused_changed_and_finished_and_a_second_page_agrees(browser, tmp_path):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    with lab_server(f"--runs={tmp_path}") as (process, (line,)):
        url = line.split()[0]
        tab, other = Tab(context.new_page(), url), Tab(context.new_page(), url)
        page = opened(tab.page, url, "#dataset=digits&strategy=cpu&epochs=4000")
        tab.until("document.getElementById('plan-total').textContent !== ''")
        page.click("#start")
        tab.until("document.querySelector('.is-training') !== null", 120)
        opened(other.page, url)
        press(page, "Pause")
        tab.until("document.querySelector('.is-paused') !== null")
        other.until("document.querySelector('.is-paused') !== null")
        page.fill(".rate-form input", "0.0005")
        press(page, "Change rate")
        press(page, "Go on")
        tab.until("document.querySelector('.numbers').textContent.includes('rate 0.0005')")
        draw(page)
        tab.until("/^[0-9]$/.test(document.querySelector('#answers .said')?.textContent ?? '')")
        press(page, "Stop")
        tab.until("document.querySelector('.is-stopped') !== null")
        other.until("document.querySelector('.is-stopped') !== null")
        (run,) = asked(url, "/runs")["runs"]
        assert f"step {run['step']:,} of" in tab.text(".numbers") == other.text(".numbers")
        # A server that ends and comes back: the pages come back by themselves, and so does the run.
        port = url.rpartition(":")[2]
        stop(process)
        tab.until("!document.getElementById('trouble').hidden")
        with lab_server(f"--runs={tmp_path}", f"--port={port}"):
            tab.until("document.getElementById('trouble').hidden", 120)
            done = -(-run["step"] // 45)
            tab.wrong.clear()
            press(page, "Go on")
            tab.until("document.querySelector('.is-training') !== null", 120)
            press(page, "Stop")
            tab.until("document.querySelector('.is-stopped') !== null")
            asked(url, f"/runs/{run['run']}", {"do": "go_on", "epochs": 4000 + done})
            tab.until("document.querySelector('.is-training') !== null", 120)
            press(page, "Stop")
            tab.until("document.querySelector('.is-stopped') !== null")
        tab.close()
        other.close()
        context.close()


@pytest.mark.full
def test_the_numbers_of_a_finished_run_are_those_of_its_result(browser, tmp_path):
    context = browser.new_context()
    with lab_server(f"--runs={tmp_path}") as (_, (line,)):
        url = line.split()[0]
        tab = Tab(context.new_page(), url)
        opened(tab.page, url)
        run = asked(url, "/runs", {"dataset": "digits", "epochs": 2, "strategy": "cpu"})["run"]
        tab.until("document.querySelector('.is-finished') !== null", 180)
        tab.until("document.querySelector('.message').textContent !== ''")
        result = json.loads((tmp_path / run / "run" / "result.json").read_text())["test"]
        low, high = (f"{100 * share:.2f}" for share in result["interval"])
        shown = f"{result['correct']} of {result['total']} = {100 * result['accuracy']:.2f}%"
        assert tab.text(".message") == f"Test: {shown} (95%: {low} to {high}), loss {result['loss']:.4f}"
        tab.until("document.getElementById('mistakes').children.length > 0")
        counts = [row.split()[1:] for row in tab.page.locator("#confusion tbody tr").all_inner_texts()]
        assert sum(int(row[k]) for k, row in enumerate(counts)) == result["correct"]
        assert (tab.wrong, tab.foreign) == ([], [])
        tab.close()
    context.close()


@pytest.mark.full
def test_nonsense_in_the_address_is_told_or_left_out_and_never_run(tab):
    page = opened(
        tab.page, tab.url, "#model=%3Cimg%20src=x%20onerror=alert(1)%3E&epochs=many&data_dir=/etc&units=%3Cb%3E&x=1"
    )
    tab.until("!document.getElementById('form-error').hidden")
    assert "--units: expected" in tab.text("#form-error") and page.is_disabled("#start")
    assert page.input_value("#option-model") == "mlp" and page.input_value("#option-epochs") == ""
    assert page.evaluate("location.hash") == "#units=%3Cb%3E"
    assert page.locator("#main img, #form-error b").count() == 0
    tab.wrong.clear()  # the refusal of the plan
    page.fill("#option-units", "32,16")
    tab.until("document.getElementById('plan-total').textContent === '25,818 parameters'")
    page.evaluate("location.hash = '#model=softmax'")  # typed into the browser's own field
    tab.until("document.getElementById('plan-total').textContent === '7,850 parameters'")
