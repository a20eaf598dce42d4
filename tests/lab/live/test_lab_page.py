"""The lab's page in a real browser: it is clicked, typed and drawn on, and trains."""

import json
import math
import re

import pytest
from helpers.lab_server import Tab, lab_server

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from mnist_mlp.lab import playground

pytestmark = pytest.mark.slow
BLUE, ORANGE = [8, 119, 189], [245, 147, 34]


@pytest.fixture(scope="module")
def url(browser):
    with lab_server() as (_, (line,)):
        yield line.split()[0]


@pytest.fixture(scope="module")
def desk(browser):
    """A page for all tests that do not care which: a further one would start a further process."""
    return browser.new_context(viewport={"width": 1280, "height": 800}).new_page()


@pytest.fixture
def lab(browser, url, desk):
    """Opens the page; at the end nothing must have gone wrong in it, nor any request have left the host."""
    contexts, tabs = [], []

    def lab(fragment="#seed=1", **options):
        page = desk
        if options:
            contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options))
            page = contexts[-1].new_page()
        tabs.append(Tab(page, url))
        tabs[-1].open(fragment)
        return tabs[-1]

    yield lab
    for tab in tabs:
        tab.close()
    for context in contexts:
        context.close()
    assert [(tab.wrong, tab.foreign) for tab in tabs] == [([], [])] * len(tabs)


def run_to(tab, epoch):
    tab.page.fill("#until-epoch", str(epoch))
    tab.page.click("#until button")
    tab.until(f"document.getElementById('epoch').textContent === '{epoch:,}' && !document.body.matches('.playing')")
    tab.drawn()


# ---- training ------------------------------------------------------------------------------------------------------


def test_it_trains_as_the_playground_does(lab):
    """Losses and accuracy are those of the independent program in Python."""
    tab = lab("#dataset=xor&networkShape=3&seed=7&noise=20")
    run_to(tab, 40)
    history = playground.run("dataset=xor&networkShape=3&seed=7&noise=20", 40)
    for part in ("test", "train"):
        assert tab.text(f".losses .{part}-loss") == f"{history.losses[-1][part]:.3f}"
        assert tab.text(f"#{part}-accuracy") == f"{100 * history.accuracy[part]:.1f}% correct"
    assert "Paused at epoch 40: test loss" in tab.text("#status")


def test_play_pause_step_reset(lab):
    tab = lab("#dataset=gauss&seed=2")
    before = tab.loss()
    tab.page.click("#play")
    tab.until("Number(document.getElementById('epoch').textContent) > 5")
    assert tab.page.get_attribute("#play", "aria-label") == "Pause"
    tab.page.click("#play")
    tab.drawn()
    epoch = tab.epoch()
    assert tab.loss() < before and tab.page.get_attribute("#play", "aria-label") == "Play"
    tab.page.click("#step")
    tab.drawn()
    assert tab.epoch() == epoch + 1
    tab.page.keyboard.press("Tab")
    tab.page.evaluate("document.activeElement.blur()")
    tab.page.keyboard.press("Space")
    tab.until(f"Number(document.getElementById('epoch').textContent) > {epoch + 2}")
    tab.page.keyboard.press("Space")
    tab.page.click("#reset")
    tab.drawn()
    assert tab.epoch() == 0 and tab.loss() != before, "other initial weights than at first"


def test_what_leaves_the_weights_and_what_does_not(lab):
    """As in the original: the learning rate changes on the way; an activation wants a new network; points too."""
    tab = lab("#dataset=gauss&seed=2&networkShape=2")
    run_to(tab, 4)
    loss = tab.text(".losses .test-loss")
    tab.page.select_option("#learningRate", "0.1")
    tab.page.check("#showTestData")
    tab.drawn()
    assert tab.epoch() == 4 and tab.text(".losses .test-loss") == loss
    tab.page.click("#regenerate")
    tab.drawn()
    assert tab.epoch() == 4 and tab.address()["seed"] != "2"
    tab.page.select_option("#activation", "relu")
    tab.drawn()
    assert tab.epoch() == 0 and tab.page.locator("#runs-rows tr").count() == 1


@pytest.mark.full
def test_speeds(lab):
    tab = lab("#dataset=gauss&networkShape=&seed=2")
    tab.page.select_option("#speed", "fast")
    tab.page.click("#play")
    tab.until("Number(document.getElementById('epoch').textContent.replaceAll(',', '')) > 2000")
    tab.page.select_option("#speed", "slow")
    first = tab.epoch()
    tab.page.wait_for_timeout(1000)
    assert 1 <= tab.epoch() - first <= 7
    tab.page.click("#play")


@pytest.mark.full
def test_a_heavy_network_leaves_the_page_alive(lab):
    """An epoch of a million weights takes several frames; meanwhile the page answers."""
    tab = lab("#networkShape=1000,1000&seed=1")
    assert tab.text("#parameters") == "1,005,001 weights and biases"
    assert tab.page.locator(".node").count() < 70 and "and 976 more" in tab.text(".rest")
    tab.page.click("#play")
    tab.page.wait_for_timeout(300)
    tab.page.click("#play")
    assert tab.page.get_attribute("#play", "aria-label") == "Play"


# ---- settings and addresses ----------------------------------------------------------------------------------------


def test_every_setting_is_in_the_address_and_back(lab):
    tab = lab("#seed=4")
    page = tab.page
    wanted = {
        "learningRate": "0.3",
        "activation": "relu",
        "regularization": "L2",
        "regularizationRate": "0.003",
    }
    for name, value in wanted.items():
        page.select_option(f"#{name}", value)
    for name in ("showTestData", "discretize", "initZero"):
        page.check(f"#{name}")
        wanted[name] = "true"
    for name, value in {
        "percTrainData": "70",
        "noise": "25",
        "batchSize": "7",
        "seed": "abc",
        "weightsSeed": "w",
    }.items():
        page.fill(f"#{name}", value)
        page.keyboard.press("Enter")
        wanted[name] = value
    page.click("[data-set=gauss]")
    page.click("[data-feature=xTimesY]")
    page.click("[data-feature=y]")
    wanted |= {"dataset": "gauss", "xTimesY": "true", "y": "false", "x": "true", "networkShape": "4,2"}
    found = tab.address()
    assert {name: found[name] for name in wanted} == wanted
    assert tab.page.get_attribute("[data-feature=xTimesY]", "aria-pressed") == "true"
    fragment, loss = page.evaluate("location.hash"), tab.text(".losses .test-loss")
    tab.open(fragment)
    assert tab.address() == found and page.input_value("#weightsSeed") == "w"
    assert page.input_value("#noise") == "25" and page.input_value("#learningRate") == "0.3"
    assert tab.text(".losses .test-loss") == loss
    page.select_option("#problem", "regression")
    assert page.locator("#sets button").all_inner_texts() == ["Plane", "Gauss"]
    assert tab.text("#test-accuracy") == ""


def test_an_address_of_the_original_is_pasted(lab):
    tab = lab("")
    address = (
        "https://playground.tensorflow.org/#activation=relu&dataset=spiral&networkShape=6,5&seed=0.5&noise=10&x=true"
    )
    tab.page.fill("#open-address input", address)
    tab.page.click("#open-address button")
    tab.drawn()
    assert tab.text("#layers-text") == "2 hidden layers" and tab.page.locator(".node").count() == 7 + 6 + 5 + 1
    assert tab.page.is_hidden("#notes")
    run_to(tab, 3)
    history = playground.run(address, 3)
    assert tab.text(".losses .test-loss") == f"{history.losses[-1]['test']:.3f}"
    tab.page.fill("#open-address input", "hello")
    tab.page.click("#open-address button")
    assert "received “hello”; nothing was changed" in tab.text("#notes")
    assert tab.text("#layers-text") == "2 hidden layers"
    tab.page.evaluate("location.hash = '#dataset=xor&seed=1&networkShape='")  # typed into the browser's own field
    tab.until("document.getElementById('layers-text').textContent === '0 hidden layers'")
    assert tab.page.get_attribute("[data-set=xor]", "aria-pressed") == "true"
    assert tab.page.is_disabled("#fewer-layers")


@pytest.mark.full
def test_numbers_beyond_the_menus(lab):
    tab = lab("#learningRate=0.07&regularizationRate=0.5&seed=1")
    page = tab.page
    assert page.input_value("#learningRate") == "0.07" and page.input_value("#regularizationRate") == "0.5"
    page.fill("#noise", "120")
    page.fill("#batchSize", "250")
    page.keyboard.press("Enter")
    assert tab.address()["exactNoise"] == "120" and tab.address()["batchSize"] == "250"
    assert "lacks this much noise" in tab.text("#address-note")
    page.fill("#noise", "60")  # beyond the original's slider, but an address may have it
    page.keyboard.press("Enter")
    assert "opens the same run" in tab.text("#address-note") and "exactNoise" not in tab.address()
    for name, text in (("noise", "-3"), ("batchSize", "0"), ("batchSize", "2.5"), ("percTrainData", "101")):
        before = tab.address()[name]
        page.fill(f"#{name}", text)
        page.keyboard.press("Enter")
        assert tab.address()[name] == before
    assert page.input_value("#batchSize") == "250", "the last number that can be used is shown again"


@pytest.mark.full
def test_controls_are_hidden_by_the_address(lab):
    tab = lab("#playButton_hide=true&noise_hide=true&sinX_hide=true&dataset_hide=true&seed=1")
    page = tab.page
    for selector in ("#play", "#noise", "[data-of=noise]", "#sets", "[data-feature=sinX]"):
        assert not page.is_visible(selector), selector
    assert page.is_visible("#step") and page.is_visible("#batchSize")
    page.click(".share-it summary")
    page.get_by_label("Noise", exact=True).last.uncheck()
    page.get_by_label("Step button").check()
    assert page.is_visible("#noise") and not page.is_visible("#step")
    assert {name for name in tab.address() if name.endswith("_hide")} == {
        *("playButton_hide", "sinX_hide", "dataset_hide", "stepButton_hide")
    }


@pytest.mark.full
def test_what_goes_wrong_is_said(lab):
    tab = lab("#learningRate=10&networkShape=8,8&activation=relu&problem=regression&seed=1")
    tab.page.click("#play")
    tab.until("!document.getElementById('notes').hidden")
    assert re.search(r"Training diverged at epoch \d+: .* try a smaller learning rate", tab.text("#notes-list"))
    assert tab.page.get_attribute("#play", "aria-label") == "Play"
    tab = lab("#seed=1&batchSize=251")
    assert tab.page.is_visible("#batch-note")
    run_to(tab, 3)
    tab.page.fill("#until-epoch", "2")
    tab.page.click("#until button")
    assert "at epoch 3 already" in tab.text("#notes-list")


@pytest.mark.parametrize(
    "fragment, words",
    [
        pytest.param(f"#networkShape={','.join(['3'] * 10_000)}", "at most 100 hidden layers", id="layers"),
        pytest.param(
            "#tutorial=<img src=x onerror=alert(1)>&<script>alert(2)</script>=1&seed=<b>x</b>",
            "not a key of the Playground",
            id="scripts",
        ),
        *(
            pytest.param(fragment, words, id=name, marks=pytest.mark.full)
            for name, fragment, words in (
                ("numbers", "#networkShape=99999999&learningRate=1e999&batchSize=nan", "networkShape"),
                ("weights", "#networkShape=10000,10000&seed=1", "weights and biases"),
                ("keys", f"#{'&'.join(f'key{k}=1' for k in range(20_000))}", "more notes"),
                ("points", f"#points={';'.join(['1,2,3,4'] * 50)}&dataset={'x' * 100_000}", "points"),
                (
                    "bytes",
                    "#noise=%00%ff%fe&x=false&y=false&activation=__proto__&constructor=1&toString=2",
                    "activation",
                ),
            )
        ),
    ],
)
def test_hostile_addresses(lab, fragment, words):
    """The page lives, trains, and says what it did not take; nothing of an address becomes part of the document."""
    tab = lab(fragment)
    assert tab.page.is_visible("#notes") and words in tab.text("#notes-list")
    assert tab.page.locator("#notes-list li").count() <= 21 and len(tab.text("#notes-list")) < 6000
    assert tab.page.locator("main img, main script, #notes img, #notes script, #notes b").count() == 0
    tab.page.click("#step")
    tab.drawn()
    assert tab.epoch() == 1
    tab.page.click("#notes-close")
    assert tab.page.is_hidden("#notes")


# ---- the network ---------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_layers_and_neurons_beyond_the_original(lab):
    tab = lab("#networkShape=1&seed=3")
    page = tab.page
    for _ in range(7):
        page.click("#more-layers")
    assert tab.address()["networkShape"] == "1,2,2,2,2,2,2,2"
    for _ in range(9):
        page.get_by_role("button", name="Add a neuron to layer 1", exact=True).click()
    page.get_by_role("button", name="Remove a neuron from layer 2", exact=True).click()
    page.click("#fewer-layers")
    assert tab.address()["networkShape"] == "10,1,2,2,2,2,2"
    assert page.get_by_role("button", name="Remove a neuron from layer 2", exact=True).is_disabled()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#step")
    tab.drawn()
    assert tab.epoch() == 1
    tab.open(f"#networkShape=10000{',1' * 98}&seed=3")
    assert page.get_by_role("button", name="Add a neuron to layer 1", exact=True).is_disabled()
    page.click("#more-layers")
    assert tab.text("#layers-text") == "100 hidden layers" and page.is_disabled("#more-layers")


def test_the_neuron_under_the_pointer_is_shown_large(lab):
    tab = lab("#networkShape=2&seed=5&dataset=gauss")
    page = tab.page
    page.hover("[data-feature=x]")
    tab.drawn()
    assert tab.text("#map-title") == "x"
    assert tab.pixel("#map", 0.05, 0.5) == ORANGE and tab.pixel("#map", 0.95, 0.5) == BLUE
    page.hover("[data-key='1:1']")
    tab.drawn()
    assert tab.text("#map-title") == "Layer 1, neuron 2"
    page.mouse.move(2, 2)
    tab.drawn()
    assert tab.text("#map-title") == ""
    page.hover("#map-box", position={"x": 20, "y": 10})
    assert re.fullmatch(r"x = −5\.\d\d, y = 5\.\d\d: −?0\.\d{3}", tab.text("#map-title"))


@pytest.mark.full
def test_the_map_is_the_networks_output(lab):
    """Trained on two clouds, the map is blue at the one and orange at the other; discretized, nothing lies between."""
    tab = lab("#dataset=gauss&networkShape=&seed=5")
    run_to(tab, 100)
    assert tab.pixel("#map", 0.8, 0.2) == pytest.approx(BLUE, abs=12)
    assert tab.pixel("#map", 0.2, 0.8) == pytest.approx(ORANGE, abs=12)
    tab.page.check("#discretize")
    tab.drawn()
    colours = {tuple(tab.pixel("#map", x / 20, 0.5)) for x in range(1, 20)}
    assert colours == {tuple(BLUE), tuple(ORANGE)}


def test_weights_by_hand(lab):
    """Exercise 2: b = 0 and w = (1, 1) are nearly perfect on gauss."""
    tab = lab("#dataset=gauss&networkShape=&seed=0")
    page = tab.page
    for label, value in (("bias", "0"), ("x", "1"), ("y", "1")):
        page.locator("#neuron-weights").get_by_label(label, exact=True).fill(value)
        page.keyboard.press("Enter")
    tab.drawn()
    history = playground.run("dataset=gauss&networkShape=&seed=0", 0)
    points = history.test_points
    loss = sum(0.5 * (math.tanh(x + y) - label) ** 2 for x, y, label in points) / len(points)
    assert tab.text(".losses .test-loss") == f"{loss:.3f}" == "0.000"
    assert tab.text("#test-accuracy") == "100.0% correct"
    page.locator("#neuron-weights").get_by_label("x", exact=True).fill("")
    page.keyboard.press("Enter")
    assert page.locator("#neuron-weights").get_by_label("x", exact=True).input_value() == "1"


@pytest.mark.full
def test_a_link_shows_its_weight_and_leads_to_it(lab):
    tab = lab("#networkShape=1&x=true&y=false&seed=5")
    page = tab.page
    from_, to = (page.locator(f"[data-key='{key}']").bounding_box() for key in ("feature:x", "1:0"))
    x = (from_["x"] + from_["width"] + to["x"]) / 2
    y = (from_["y"] + from_["height"] / 2 + to["y"] + to["height"] / 2) / 2
    page.mouse.move(x, y)
    page.mouse.move(x + 1, y)
    weight = float(re.match(r"weight (.*): x → Layer 1, neuron 1", tab.text("#link-tip"))[1].replace("−", "-"))
    page.mouse.click(x, y)
    field = page.locator("#neuron-weights").get_by_label("x", exact=True)
    assert "Layer 1, neuron 1 = tanh" in tab.text("#neuron-about")
    assert float(field.input_value()) == pytest.approx(weight, abs=6e-4)
    assert field.evaluate("each => each === document.activeElement")


def test_the_network_by_keyboard(lab):
    tab = lab("#networkShape=3,2&seed=5")
    page = tab.page
    assert page.locator("#columns .node[tabindex='0']").count() == 1
    page.locator("#columns .node[tabindex='0']").focus()
    for key, name in (
        ("ArrowLeft", "Layer 2, neuron 1"),
        ("ArrowDown", "Layer 2, neuron 2"),
        ("ArrowLeft", "Layer 1, neuron 2"),
    ):
        page.keyboard.press(key)
        tab.drawn()
        assert tab.text("#map-title") == name
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == name
    page.keyboard.press("Enter")
    assert "Layer 1, neuron 2" in tab.text("#neuron-about")
    page.keyboard.press("ArrowLeft")
    before = tab.address()["y"]
    page.keyboard.press("Enter")
    assert tab.address()["y"] != before
    assert page.evaluate("document.activeElement.dataset.feature") == "y", "the focus stays where it was"


# ---- own points ----------------------------------------------------------------------------------------------------


def own(tab):
    return tab.page.evaluate("import('/page/main.js').then(({ lab }) => lab.state.ownPoints)")


def draw(tab, *places):
    """Press at the first place of the map, in units of the plane, and move over the others."""
    tab.page.locator("#map-box").scroll_into_view_if_needed()
    box = tab.page.locator("#map-box").bounding_box()
    spots = [(box["x"] + (x + 6) / 12 * box["width"], box["y"] + (6 - y) / 12 * box["height"]) for x, y in places]
    tab.page.mouse.move(*spots[0])
    tab.page.mouse.down()
    for spot in spots[1:]:
        tab.page.mouse.move(*spot, steps=8)
    tab.page.mouse.up()


def test_points_are_drawn_erased_and_learned(lab):
    tab = lab("#seed=1&networkShape=&percTrainData=100")
    page = tab.page
    page.click("#own summary")
    page.click("#own-clear")
    assert own(tab) == [] and tab.text(".losses .test-loss") == "–"
    page.click("[data-draw='1']")
    draw(tab, (2, -4), (2, 4))
    draw(tab, (4, 4), (4, -4))
    page.click("[data-draw='-1']")
    assert page.get_attribute("[data-draw='1']", "aria-pressed") == "false"
    draw(tab, (-2, -4), (-2, 4))
    points = own(tab)
    assert len(points) > 20 and {point["label"] for point in points} == {1, -1}
    assert all((point["x"] > 0) == (point["label"] > 0) for point in points)
    assert points[0] == {"x": pytest.approx(2, abs=0.1), "y": pytest.approx(-4, abs=0.1), "label": 1}
    run_to(tab, 30)
    assert tab.loss("train") < 0.1
    page.click("[data-draw=erase]")
    draw(tab, (4, 4), (4, -4))
    page.click("[data-draw=erase]")
    assert max(point["x"] for point in own(tab)) == pytest.approx(2, abs=0.2)
    count = len(own(tab))
    draw(tab, (0, 0), (1, 1))  # no longer drawing
    assert len(own(tab)) == count
    for name, value in (("x", "1"), ("y", "-2"), ("label", "-1")):
        page.fill(f"#own-point [name={name}]", value)
    page.click("#own-point button")
    assert own(tab)[-1] == {"x": 1, "y": -2, "label": -1}
    page.click("[data-set=circle]")
    assert own(tab) is None
    page.click("[data-set=own]")
    assert len(own(tab)) == count + 1


@pytest.mark.full
def test_points_are_drawn_with_a_finger(lab):
    tab = lab(viewport={"width": 420, "height": 860}, has_touch=True, is_mobile=True)
    page = tab.page
    page.evaluate("document.getElementById('own').open = true")
    page.tap("[data-draw='-1']")
    page.locator("#map-box").scroll_into_view_if_needed()
    session = page.context.new_cdp_session(page)
    box = page.locator("#map-box").bounding_box()
    top = page.evaluate("scrollY")
    for kind, x, y in (("touchStart", 0.2, 0.3), ("touchMove", 0.3, 0.5), ("touchMove", 0.4, 0.7), ("touchEnd", 0, 0)):
        spot = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else [spot]})
    assert len(own(tab)) == 500 + 3 and page.evaluate("scrollY") == top
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.full
def test_a_value_is_drawn_for_regression(lab):
    tab = lab("#problem=regression&seed=1")
    tab.page.click("#own summary")
    tab.page.click("#own-clear")
    tab.page.click("[data-draw=value]")
    draw(tab, (1, 3))
    assert own(tab) == [
        {"x": pytest.approx(1, abs=0.1), "y": pytest.approx(3, abs=0.1), "label": pytest.approx(0.5, abs=0.02)}
    ]
    tab.page.select_option("#problem", "classification")
    assert [point["label"] for point in own(tab)] == [1]


def drop(tab, text, name="points.csv"):
    """Drop a file on the page."""
    tab.page.evaluate(
        """([text, name]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], name));
            document.body.dispatchEvent(new DragEvent("dragover", { bubbles: true, cancelable: true, dataTransfer }));
            document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
        }""",
        [text, name],
    )


def test_a_file_is_dropped_or_chosen(lab, tmp_path):
    tab = lab("#seed=1")
    drop(tab, "x,y,label\n1,2,1\n-1,-2,-1\n3,<b>nan</b>,1\n")
    tab.until("!document.getElementById('notes').hidden")
    assert own(tab) == [{"x": 1, "y": 2, "label": 1}, {"x": -1, "y": -2, "label": -1}]
    assert "1 line was not taken: line 4 is “3,<b>nan</b>,1”" in tab.text("#notes-list")
    assert tab.address()["points"] == "1,2,1;-1,-2,-1" and tab.page.is_disabled("#noise")
    assert tab.page.get_attribute("[data-set=own]", "aria-pressed") == "true"
    drop(tab, "", "empty.csv")
    tab.until("document.getElementById('notes-list').textContent.includes('expected points, received none')")
    file = tmp_path / "values.csv"
    file.write_text("0,0,0.5\n1,1,-0.3\n2,1,0.7\n")
    tab.page.set_input_files("#own-file", file)
    tab.until("document.getElementById('problem').value === 'regression'")
    assert [point["label"] for point in own(tab)] == [0.5, -0.3, 0.7]
    assert "they are read as numbers" in tab.text("#notes-list")


@pytest.mark.full
def test_a_million_lines_are_dropped(lab):
    """The page lives and says how many it took; of so many, the address says that it cannot hold them."""
    tab = lab("#seed=1", locale="en")
    tab.page.evaluate(
        """(() => {
            const text = "0.5,1,1\\n-0.5,-1,-1\\nnan,1,x\\n".repeat(333_334);
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], "many.csv"));
            document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
        })()"""
    )
    tab.until("!document.getElementById('notes').hidden")
    assert tab.page.evaluate("import('/page/main.js').then(({ lab }) => lab.state.ownPoints.length)") == 100_000
    assert "the first 100,000 points were taken" in tab.text("#notes-list")
    assert "at most 2,000 points" in tab.text("#address-note") and "points" not in tab.address()
    tab.page.click("#step")
    tab.drawn()
    assert tab.epoch() == 1


@pytest.mark.full
def test_points_around_a_function(lab):
    tab = lab("#seed=1")
    tab.page.click("#own summary")
    tab.page.fill("#own-function [name=expression]", "x^2/3 - 2")
    tab.page.fill("#own-function [name=count]", "150")
    tab.page.click("#own-function button")
    points = own(tab)
    assert len(points) == 150
    assert all((point["y"] > point["x"] ** 2 / 3 - 2) == (point["label"] > 0) for point in points)
    tab.page.fill("#own-function [name=expression]", "alert(1)")
    tab.page.click("#own-function button")
    assert "alert" in tab.text("#notes-list") and own(tab) == points


# ---- runs ----------------------------------------------------------------------------------------------------------


def test_runs_are_kept_overlaid_and_compared(lab):
    tab = lab("#dataset=xor&networkShape=3&seed=3")
    page = tab.page
    page.fill("#repeat [name=times]", "3")
    page.fill("#repeat [name=epochs]", "12")
    page.click("#repeat button")
    tab.until("document.querySelectorAll('#runs-rows tr').length === 2 && !document.body.matches('.playing')")
    assert tab.epoch() == 12
    page.click("#reset")
    rows = [row.split("\t") for row in page.locator("#runs-rows tr").all_inner_texts()]
    assert [row[1].strip() for row in rows] == ["Run 3", "Run 2", "Run 1"] and {row[2] for row in rows} == {"12"}
    assert all("xor · x, y → 3 · tanh · rate 0.03 · seed 3" in row[6] for row in rows)
    assert len({row[3] for row in rows}) > 1, "other weights each time"

    def coloured():
        tab.drawn()
        return page.evaluate(
            """(() => {
                const canvas = document.getElementById('chart');
                const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d');
                copy.drawImage(canvas, 0, 0);
                const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
                let count = 0;
                for (let k = 0; k < data.length; k += 4) {
                    const rgb = data.slice(k, k + 3);
                    if (data[k + 3] > 200 && Math.max(...rgb) - Math.min(...rgb) > 60) count++;
                }
                return count;
            })()"""
        )

    before = coloured()
    assert before > 100
    page.locator("#runs-rows input").first.uncheck()
    assert coloured() < before
    page.get_by_role("button", name="Remove run 1").click()
    assert page.locator("#runs-rows tr").count() == 2
    page.click("[data-set=gauss]")
    page.get_by_role("button", name="Run 2", exact=True).click()
    assert tab.address()["dataset"] == "xor"
    page.click("#runs-clear")
    assert page.locator("#runs-rows tr").count() == 0 and coloured() == 0


@pytest.mark.full
def test_states_are_kept_and_named(lab):
    tab = lab("#dataset=spiral&seed=9&noise=35", locale="en")
    page = tab.page
    name = '<b>spiral</b> & "more"'
    page.fill("#keep input", name)
    page.click("#keep button")
    tab.open("#seed=1")
    assert page.locator("#kept-list .name").all_inner_texts() == [name]
    page.get_by_role("button", name=f"Open {name}").click()
    assert tab.address()["dataset"] == "spiral" and tab.address()["noise"] == "35"
    page.get_by_role("button", name=f"Remove {name}").click()
    assert page.locator("#kept-list li").count() == 0
    foreign = [{"name": 1}, None, 3, {"name": "a", "address": "#x", "points": [1]}]
    foreign.append({"name": "b", "address": "#seed=1", "points": [{"x": 1, "y": 1, "label": 7}]})
    page.evaluate("text => localStorage.setItem('mnist_mlp.lab.states', text)", json.dumps(foreign))
    page.evaluate("localStorage.setItem('mnist_mlp.lab.preferences', '[[[')")
    tab.open("#seed=1")  # what another program has written there does no harm
    page.get_by_role("button", name="Open a").click()
    tab.drawn()
    page.get_by_role("button", name="Open b").click()
    tab.drawn()
    assert own(tab) is None


@pytest.mark.full
def test_a_browser_that_keeps_nothing(lab):
    tab = lab("#seed=1", locale="en")
    tab.page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } })")
    tab.open("#seed=2")
    tab.page.fill("#keep input", "mine")
    tab.page.click("#keep button")
    assert "does not let the page store it" in tab.text("#kept-note")
    tab.page.click("#large")
    assert tab.page.evaluate("document.documentElement.className") == "large"


# ---- what leaves the page ------------------------------------------------------------------------------------------


@pytest.mark.full
def test_downloads(lab):
    tab = lab("#dataset=gauss&networkShape=2&seed=6", accept_downloads=True)
    run_to(tab, 5)
    history = playground.run("dataset=gauss&networkShape=2&seed=6", 5)
    files = {}
    for button in tab.page.locator("[data-export]").all():
        with tab.page.expect_download() as download:
            button.click()
        files[download.value.suggested_filename] = download.value.path().read_text()
    kinds = [f"playground-{what}.{form}" for what in ("data", "weights", "history") for form in ("csv", "json")]
    assert list(files) == kinds
    lines = files["playground-history.csv"].splitlines()
    assert len(lines) == 7 and float(lines[6].split(",")[2]) == pytest.approx(history.losses[5]["test"], rel=1e-12)
    assert files["playground-data.csv"].count("\ntrain,") == files["playground-data.csv"].count("\ntest,") == 250
    layers = json.loads(files["playground-weights.json"])["layers"]
    found = [value for layer in layers for node in layer["nodes"] for value in (node["bias"], *node["weights"])]
    assert found == pytest.approx(history.parameters, rel=1e-9)


@pytest.mark.full
def test_the_keras_program_is_shown_copied_and_saved(lab, url):
    tab = lab("#dataset=gauss&networkShape=2&seed=6", accept_downloads=True)
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    tab.page.click("#as-keras")
    tab.until("document.getElementById('keras').open")
    program = tab.page.evaluate("document.getElementById('keras-text').textContent")
    assert "import keras" in program and "keras.optimizers.SGD" in program
    compile(program, "playground.py", "exec")
    tab.page.click("#keras-copy")
    tab.until("document.getElementById('keras-copy').textContent === 'Copied'")
    assert tab.page.evaluate("navigator.clipboard.readText()") == program
    with tab.page.expect_download() as download:
        tab.page.click("#keras-save")
    assert download.value.suggested_filename == "playground.py" and download.value.path().read_text() == program
    tab.page.keyboard.press("Escape")
    assert not tab.page.evaluate("document.getElementById('keras').open")
    tab.page.click("#copy-original")
    tab.until("document.getElementById('copy-original').textContent === 'Copied'")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    assert copied == f"https://playground.tensorflow.org/{tab.page.evaluate('location.hash')}"


# ---- exercises -----------------------------------------------------------------------------------------------------


def test_the_exercises(lab, full):
    tab = lab("#seed=1", locale="en")
    page = tab.page
    page.click("#show-lesson")
    tab.until("document.querySelectorAll('#exercise-numbers button').length === 10")
    shown = json.loads(page.evaluate("fetch('/page/exercises.json').then((answer) => answer.text())"))
    for exercise in shown if full else shown[4:5]:
        page.click(f"#exercise-numbers button:nth-child({exercise['number']})")
        assert page.locator("#exercise .question").text_content() == exercise["question"]
        assert not page.locator("#exercise .answer li").first.is_visible(), "hidden until asked for"
        page.click("#exercise .answer summary")
        assert exercise["answer"][0]["text"] in tab.text("#exercise .answer li")
        for k, trial in enumerate(exercise["trials"]):
            page.locator("#exercise .trial button").nth(k).click()
            state = dict(pair.split("=") for pair in trial["url"].split("&"))
            found = tab.address()
            assert {name: found[name] for name in state} == state
            assert page.is_hidden("#notes")
            if trial["epochs"]:
                assert page.input_value("#until-epoch") == str(trial["epochs"])
                row = page.locator("#exercise .trial").nth(k).inner_text()
                assert f"{trial['test']['median']:.3f} [{trial['test']['min']:.3f}..{trial['test']['max']:.3f}]" in row


# ---- the page as such ----------------------------------------------------------------------------------------------


def test_small_and_quick(browser, url):
    sizes = []
    context = browser.new_context()
    page = context.new_page()
    page.on("response", lambda answer: sizes.append(len(answer.body()) + 500))  # 500: its head, generously
    page.goto(f"{url}/")
    page.wait_for_selector(".node")
    page.click("#show-lesson")
    page.wait_for_selector(".trial")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"{sum(sizes):,} bytes in {len(sizes)} answers, first contentful paint after {paint:.0f} ms")
    assert sum(sizes) < 250_000
    assert paint < 20_000  # below 500 on an idle machine
    context.close()


@pytest.mark.full
def test_once_open_it_needs_no_server(lab):
    tab = lab("#seed=1", locale="en")
    tab.until("document.querySelectorAll('#exercise-numbers button').length === 10")
    tab.page.context.set_offline(True)
    tab.page.click("#show-lesson")
    tab.page.click("#exercise-numbers button:nth-child(3)")
    tab.page.locator("#exercise .trial button").first.click()
    assert tab.address()["dataset"] == "gauss"
    run_to(tab, 20)
    tab.page.click("#as-keras")
    assert "import keras" in tab.page.evaluate("document.getElementById('keras-text').textContent")
    tab.page.click("#keras-close")


@pytest.mark.parametrize(
    "name, options",
    [
        ("phone", {"viewport": {"width": 420, "height": 860}, "is_mobile": True, "has_touch": True}),
        pytest.param("laptop", {"viewport": {"width": 1280, "height": 800}}, marks=pytest.mark.full),
        pytest.param("projector", {"viewport": {"width": 1920, "height": 1080}}, marks=pytest.mark.full),
    ],
)
def test_it_fits_every_screen(lab, tmp_path, name, options):
    """In light and dark, with larger type and the exercises open, nothing sticks out at the side."""
    tab = lab("#networkShape=8,8,8,8,8,8&dataset=spiral&seed=3", **options)
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        for large in (False, True):
            if large != (tab.page.get_attribute("#large", "aria-pressed") == "true"):
                tab.page.click("#large")
            for lesson in (False, True):
                if lesson != (tab.page.get_attribute("#show-lesson", "aria-expanded") == "true"):
                    tab.page.click("#show-lesson")
                tab.drawn()
                assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (scheme, large, lesson)
        ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", ground)[0]) > 127) == (scheme == "light")
        picture = tab.page.screenshot(path=tmp_path / f"{name}-{scheme}.png", full_page=True)
        assert len(picture) > 30_000
    if name == "laptop":
        return
    play = tab.page.locator("#play").bounding_box()
    assert play["width"] >= 44 and play["height"] >= 44  # CSS pixels: room for a finger


@pytest.mark.full
def test_whoever_does_not_see_it_hears_names(lab):
    """Every control has a name, and the live region is quiet while it trains."""
    tab = lab("#networkShape=2&seed=1")
    tab.page.click("#show-lesson")
    tab.page.click("#own summary")
    nameless = tab.page.evaluate(
        """[...document.querySelectorAll('button, input, select, [role=region], canvas[role=img]')].filter((each) => {
            const labels = [...(each.labels ?? [])].map((label) => label.textContent.trim()).join('');
            return !(each.getAttribute('aria-label') || labels || each.textContent.trim());
        }).map((each) => each.outerHTML)"""
    )
    assert nameless == []
    tab.page.evaluate(
        """window.spoken = [];
        new MutationObserver(() => spoken.push(document.getElementById('status').textContent))
            .observe(document.getElementById('status'), { childList: true });"""
    )
    run_to(tab, 30)
    spoken = tab.page.evaluate("spoken")
    assert len(spoken) == 1 and spoken[0].startswith("Paused at epoch 30")


@pytest.mark.full
def test_sixty_frames_a_second(lab):
    """Six layers of eight, batches of 10, 500 points: the main thread is done long before the next frame is due."""
    tab = lab("#networkShape=8,8,8,8,8,8&dataset=spiral&noise=15&seed=3&activation=tanh", locale="en")
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy():
        return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}[
            "TaskDuration"
        ]

    tab.page.evaluate("window.times = []; (function next(time) { times.push(time); requestAnimationFrame(next); })(0)")
    tab.page.click("#play")
    tab.page.wait_for_timeout(2000)
    before, frames, epochs = busy(), tab.page.evaluate("times.length"), tab.epoch()
    tab.page.wait_for_timeout(5000)
    after, times, later = busy(), tab.page.evaluate("times"), tab.epoch()
    cost = 1000 * (after - before) / (len(times) - frames)
    rate = 1000 * (len(times) - frames - 1) / (times[-1] - times[frames])
    print(f"{rate:.1f} frames a second, {cost:.1f} ms of the main thread's time for each, {later - epochs} epochs")
    assert cost < 16.7
    assert later - epochs == pytest.approx(len(times) - frames, abs=5), "an epoch a frame"
