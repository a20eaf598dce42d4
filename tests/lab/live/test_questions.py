"""The questions: their cards, which answers the measurements confirm, the file that the page reads, and the page."""

import json
import re
from pathlib import Path

import pytest
from helpers.lab_server import Tab, lab_server

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from starlette.requests import Request

from mnist_mlp.lab.live import make_questions, questions
from mnist_mlp.lab.live.questions import CARDS, MEASUREMENTS
from mnist_mlp.lab.live.training import orders
from mnist_mlp.lab.live.training.routes import options_in

FILE = make_questions.FILE


@pytest.fixture(scope="module")
def shown():
    return json.loads(FILE.read_text())


def test_the_file_has_the_cards_as_they_are_written(shown):
    assert [card["name"] for card in shown["cards"]] == [card.name for card in CARDS]
    for card, written in zip(shown["cards"], CARDS, strict=True):
        assert (card["question"], card["why"], card["part"]) == (written.question, written.why, written.part)
        assert (card["choices"], card["playground"]) == (list(written.choices), written.playground)
        assert card["training"] == written.training
        given = options_in(Request({"type": "http", "query_string": card["training"].encode(), "headers": []}))
        orders.config_of(given)  # raises for what no run can have
        assert card["right"] in range(len(written.choices)), "the measurements decide every question"
        assert card["claims"] and all(row["measured"] for row in card["claims"])
        assert not any(row["holds"] is False for row in card["claims"]), "a refuted claim needs another card"
        assert set(card["measured_by"]) <= shown["measurements"].keys()
    assert len({card.name for card in CARDS}) == len(CARDS)
    assert all(re.fullmatch(r"[\w-]+", card.name) for card in CARDS)


def test_every_number_has_its_source(shown):
    assert set(shown["measurements"]) == set(MEASUREMENTS)
    for name, found in shown["measurements"].items():
        assert found["command"] == " ".join(["python -m", *MEASUREMENTS[name], "--dataset=mnist"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"]) and re.search(r", \d+ cores?$", found["machine"])
        assert (found["dataset"]["train_examples"], found["dataset"]["test_examples"]) == (60_000, 10_000)
        assert found["epochs"] >= 1 and len(found["seeds"]) >= 3 and found["versions"]
    assert not re.search(r"\"/|/work|/home|/tmp|/root|/usr", FILE.read_text()), "no path of a machine"


def test_the_deck_s_own_questions_are_there():
    """What shared lecture notes ask about its program: each has a card."""
    asked = " ".join(card.question + card.why for card in CARDS)
    for words in (
        "how many of them are hidden",
        "Flatten a dense layer",
        "sigmoid",
        "1875",
        "313",
        "6 · 313",
        "overfit",
    ):
        assert words in asked, words
    for words in (
        "without the hidden layers",
        "785 · 128 + 129 · 64 + 65 · 10",
        "training set",
        "Does the loss fall",
        "start at 0",
    ):
        assert words in asked, words


def claims(*verdicts):
    return lambda results: [{"holds": verdict} for verdict in verdicts]


def test_what_is_right_is_decided_by_the_measurements():
    confirmed, nearest = questions.confirmed, questions.nearest
    assert confirmed(1, claims(True, True))({}) == 1
    assert confirmed(1, claims(True, None))({}) is None
    assert confirmed(1, claims(True, False))({}) is None
    assert confirmed(0, claims(False), refuted=1)({}) == 1
    assert nearest((0.1, 0.925, 0.95), lambda results: 0.93)({}) == 1
    widths = [{"accuracy": accuracy} for accuracy in (0.8, 0.9, 0.93, 0.94)]
    assert questions.widths_help({"curves": {"width": widths}}) == 0
    assert questions.widths_help({"curves": {"width": widths[::-1]}}) == 1
    for low, high, p, choice in (
        (-0.01, -0.001, 0.01, 1),
        (0.001, 0.01, 0.01, 0),
        (-0.01, 0.01, 0.01, 2),
        (0.001, 0.01, 0.1, 2),
    ):
        rung = {"name": questions.DEEPER, "difference_interval": [low, high], "p": p}
        assert questions.deeper_helps({"layers": {"rungs": [rung]}}) == choice


def test_a_question_that_explain_no_longer_asks_is_an_error():
    with pytest.raises(KeyError, match="How many"):
        questions.explained("How many?")({"explain": {"claims": []}})


def test_the_explained_questions_are_those_of_explain():
    explain = Path(questions.__file__).parents[1] / "explain"  # as text: imported, it would load Keras
    asked = [(explain / name).read_text() for name in ("before_training.py", "after_training.py")]
    named = {getattr(questions, name) for name in ("LAYERS", "FLATTEN", "PARAMETERS", "STEPS", "START", "FALLS")}
    named |= {getattr(questions, name) for name in ("SOFTMAX", "SCORE", "OVERFIT", "WITHOUT", "RAW")}
    assert [name for name in named if f'    ("{name}", ' not in "".join(asked)] == []


def test_results_are_kept_and_read_again(tmp_path, monkeypatch):
    """A second call runs nothing; a program that fails ends the first one."""
    monkeypatch.setitem(MEASUREMENTS, "explain", ("no.such.program",))
    with pytest.raises(SystemExit):
        make_questions.measurement("explain", tmp_path, [])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "explain.json").write_text('{"result": {"claims": []}}')
    assert make_questions.measurement("explain", tmp_path, []) == {"result": {"claims": []}}


def test_the_machine_is_named(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("cpu family\t: 26\nmodel name\t: AMD EPYC\nflags\t\t: sse2 avx512f avx2\n")
    assert re.fullmatch(r"AMD EPYC family 26 \(AVX-512\), \d+ cores?", make_questions.machine_name(file))
    assert make_questions.machine_name(tmp_path / "none").startswith("processor, ")


# ---- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(browser):
    with lab_server() as (_, (line,)):
        yield line.split()[0]


@pytest.fixture
def tab(browser, url):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = Tab(context.new_page(), url)

    def open(name="", **_):
        tab.page.goto("about:blank")
        tab.page.goto(f"{url}/questions{name}")
        tab.until("document.querySelectorAll('.choice').length > 0")

    tab.open = open
    yield tab
    tab.close()
    context.close()
    assert (tab.wrong, tab.foreign) == ([], [])


@pytest.mark.slow
def test_a_question_is_answered_and_the_answer_is_the_measured_one(tab, shown):
    tab.open()
    page, cards = tab.page, shown["cards"]
    assert tab.text("#question") == cards[0]["question"] and page.is_hidden("#answer")
    page.keyboard.press("ArrowRight")
    tab.until(f"location.hash === '#{cards[1]['name']}'")
    wrong = 1 - cards[1]["right"]
    page.keyboard.press("AB"[wrong])
    assert page.locator(".choice").nth(wrong).get_attribute("aria-pressed") == "true"
    assert tab.text(".choice.wrong i") == "✗" and tab.text(".choice.right i") == "✓ measured"
    assert tab.text("#status").startswith(f"Not so: {cards[1]['choices'][cards[1]['right']]}.")
    for row in cards[1]["claims"]:
        assert row["measured"] in tab.text("#answer")
    assert "python -m mnist_mlp.lab.explain --dataset=mnist" in tab.text("#answer")
    page.locator(".choice").nth(cards[1]["right"]).click()
    assert tab.text("#score") == f"1 of {len(cards)} answered, 1 of them as measured."
    page.reload()
    tab.until("document.querySelector('.choice.right') !== null")
    assert tab.text("#question") == cards[1]["question"], "the address keeps the question, the browser the answer"
    page.click("#again")
    assert page.is_hidden("#answer") and page.is_hidden("#score")


@pytest.mark.full
def test_every_question_shows_its_answer_with_its_figure(tab, shown):
    for card in shown["cards"]:
        tab.open(f"#{card['name']}")
        tab.page.click("#reveal")
        tab.drawn()
        text = tab.text("#answer")
        assert card["why"] in text and tab.page.locator(".claims tbody tr").count() == len(card["claims"])
        figure = card["figure"]
        assert tab.page.locator(".figure").count() == (figure is not None)
        if figure and figure["kind"] == "bars":
            assert tab.page.locator(".bars .value").all_inner_texts() == [row["text"] for row in figure["rows"]]
        if figure and figure["kind"] == "lines":
            assert tab.page.locator(".figure polyline").count() == len(figure["series"])
            assert tab.page.locator(".figure circle").count() == sum(len(each["points"]) for each in figure["series"])
            places = (
                "[...document.querySelectorAll('.figure circle')].map((e) => [e.cx.baseVal.value, e.cy.baseVal.value])"
            )
            assert all(x > 0 and y > 0 for x, y in tab.page.evaluate(places))
        if card["playground"]:
            link = tab.page.locator(".try a").last.get_attribute("href")
            assert link == f"./#{card['playground']}"


@pytest.mark.full
def test_a_small_screen_and_larger_type(browser, url, shown):
    for viewport, scheme in (({"width": 360, "height": 740}, "light"), ({"width": 1920, "height": 1080}, "dark")):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        page = context.new_page()
        for name in ("overfit", "optimizer", "any-function"):
            page.goto(f"{url}/questions#{name}")
            page.reload()
            page.locator("#reveal").click()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (viewport, name)
        page.click("#large")
        assert page.evaluate("document.documentElement.matches('.large')")
        page.goto(f"{url}/")  # the Playground has it, too
        page.wait_for_timeout(200)
        assert page.get_attribute("#large", "aria-pressed") == "true"
        context.close()


@pytest.mark.slow
def test_nonsense_in_the_address_and_in_what_the_browser_has_kept(tab, shown):
    tab.open("#no-such-question")
    assert tab.text("#question") == shown["cards"][0]["question"]
    for nonsense in ("[1]", "{", '{"layers": 99, "flatten": "x"}', "null"):
        tab.page.evaluate("(text) => localStorage.setItem('mnist_mlp.lab.answers', text)", nonsense)
        tab.open("#layers")
        assert tab.page.is_hidden("#answer") and tab.page.is_hidden("#score")
