"""The page in a real browser: drawing with mouse and finger, what it shows, what it asks of whom."""

import contextlib
import re
import time

import pytest
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture
from helpers.serving import serving
from helpers.strokes import STROKES

pytest.importorskip("fastapi", reason="the extra serve is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(browser, mnist_run):  # noqa: F811
    """A network trained on real MNIST, behind a server."""
    with serving(f"--run_dir={mnist_run}") as server:
        yield server


@pytest.fixture(scope="module")
def desk(browser):
    """A page for all tests that do not care which: a further one would start a further process."""
    return browser.new_context(viewport={"width": 1280, "height": 900}).new_page()


@pytest.fixture
def open_page(browser, server, desk):
    """Opens the page; at the end nothing must have gone wrong in it, nor any request have left the host."""
    contexts, wrong, foreign = [], [], []
    events = {
        "console": lambda message: wrong.append(message.text) if message.type != "log" else None,
        "pageerror": lambda error: wrong.append(str(error)),
        "requestfailed": lambda request: wrong.append(request.url),
        "response": lambda answer: wrong.append(answer.url) if answer.status >= 400 else None,
        "request": lambda request: foreign.append(request.url) if not request.url.startswith(server.url) else None,
    }

    def open_page(**options):
        page = desk
        if options:
            contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options))
            page = contexts[-1].new_page()
        page.goto("about:blank")  # which ends what the last test has asked for and not awaited
        for event, heard in events.items():
            page.on(event, heard)
        page.goto(f"{server.url}/")
        page.wait_for_selector("#examples button")
        until(page, "$('about').textContent.includes('parameters')")
        return page

    yield open_page
    for event, heard in events.items():
        with contextlib.suppress(KeyError, ValueError):  # it was not opened
            desk.remove_listener(event, heard)
    for context in contexts:
        context.close()
    assert not wrong and not foreign


def draw(page, strokes):
    """As a hand with a mouse does it: pressed, moved in small steps, let go."""
    box = page.locator("#paper").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=2)
        page.mouse.up()


def settled(page):
    """Waits until what is shown is about what is drawn."""
    until(page, "!asking && !stale && !planned")


def until(page, condition):
    """Waits for it; Playwright's own way would need eval, which the page's policy forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def seen(page):
    """The 784 grey levels that the page shows."""
    pixels = page.evaluate(
        """(() => {
            const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
            copy.drawImage($('seen'), 0, 0);
            return [...copy.getImageData(0, 0, 28, 28).data];
        })()"""
    )
    return pixels[::4]


def test_drawn_digits(open_page, full):
    page = open_page()
    found = {}
    for digit, strokes in list(STROKES.items())[:: 1 if full else 4]:
        draw(page, strokes)
        settled(page)
        found[digit] = page.locator("#digit").inner_text(), page.locator("#words").inner_text()
        assert sum(seen(page)) > 0
        page.locator("#clear").click()
        settled(page)
        assert page.locator("#digit").inner_text() == "?" and sum(seen(page)) == 0
    assert sum(str(digit) == answer for digit, (answer, _) in found.items()) >= len(found) - 1, found


def test_probabilities_and_neurons_are_shown(open_page):
    page = open_page()
    captions = page.locator(".layer figcaption").all_inner_texts()
    assert captions == ["Hidden layer 1: 128 neurons, none active", "Hidden layer 2: 64 neurons, none active"]
    draw(page, STROKES[3])
    settled(page)
    shares = page.locator("#bars .value").all_inner_texts()
    assert len(shares) == 10 and abs(sum(float(each.rstrip("%")) for each in shares) - 100) < 0.6
    captions = page.locator(".layer figcaption").all_inner_texts()
    assert [each.partition(":")[0] for each in captions] == ["Hidden layer 1", "Hidden layer 2"]
    assert "of 128 neurons active" in captions[0] and "of 64 neurons active" in captions[1]
    lit = page.evaluate(
        """[...document.querySelectorAll('.layer canvas')].map((canvas) => {
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const colours = new Set();
            for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) colours.add(data.slice(i, i + 3).join());
            return colours.size;
        })"""
    )
    assert min(lit) > 5


def test_it_is_live(open_page):
    """The answer comes while the pen is still down."""
    page = open_page()
    box = page.locator("#paper").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.15)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.48, box["y"] + box["height"] * 0.85, steps=12)
    settled(page)
    assert page.locator("#digit").inner_text() == "1"
    page.mouse.up()


def test_undo_keys_and_a_dot(open_page):
    page = open_page()
    first, second = STROKES[4]
    draw(page, [first])
    settled(page)
    before = seen(page)
    draw(page, [second])
    settled(page)
    assert seen(page) != before
    page.locator("#undo").click()
    settled(page)
    assert seen(page) == before
    draw(page, [second])
    page.keyboard.press("Control+z")
    settled(page)
    assert seen(page) == before
    for key in ("Escape", "Delete"):
        draw(page, [first])
        settled(page)
        page.keyboard.press(key)
        settled(page)
        assert page.locator("#digit").inner_text() == "?" and page.locator("#clear").is_disabled()
    page.locator("#paper").click()  # a dot
    settled(page)
    assert sum(seen(page)) > 0


def test_touch(open_page):
    """A finger draws, and the page does not scroll away under it."""
    page = open_page(viewport={"width": 390, "height": 600}, has_touch=True, is_mobile=True)
    session = page.context.new_cdp_session(page)
    box = page.locator("#paper").bounding_box()

    def touch(kind, *points):
        places = [{"x": box["x"] + x / 100 * box["width"], "y": box["y"] + y / 100 * box["height"]} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    for stroke in STROKES[7]:
        touch("touchStart", stroke[0])
        for before, after in zip(stroke, stroke[1:], strict=False):
            touch("touchMove", [(a + b) / 2 for a, b in zip(before, after, strict=True)])
            touch("touchMove", after)
        touch("touchEnd")
    settled(page)
    assert page.evaluate("strokes.length") == 1 and page.evaluate("strokes[0].length") > 8
    assert page.locator("#digit").inner_text() == "7"
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_examples_by_keyboard(open_page, mnist):
    page = open_page()
    example = page.locator("#examples button").nth(7)
    example.focus()
    page.keyboard.press("Enter")
    settled(page)
    assert page.locator("#words").inner_text().endswith("Correct.") and example.get_attribute("aria-pressed") == "true"
    index = int(example.get_attribute("aria-label").split()[2].rstrip(","))
    assert seen(page) == mnist.test.images[index].ravel().tolist()  # as it is, not framed once more
    page.locator("#more").click()
    until(page, f"!$('examples').children[7].getAttribute('aria-label').includes(' {index},')")
    draw(page, STROKES[0])
    settled(page)
    assert page.locator("[aria-pressed=true]").count() == 0


def test_why(open_page):
    """With the keyboard alone once something is drawn: maps, the nearest training images, another class to compare."""
    page = open_page()
    assert page.locator("#ask-why").is_disabled() and page.locator("#why").is_hidden()
    draw(page, STROKES[7])
    settled(page)
    assert page.locator("#why").is_hidden()
    page.locator("#ask-why").focus()
    page.keyboard.press("Enter")
    explained = "!explaining && !outdated && $('neighbours').children.length === 8"
    until(page, explained)
    assert page.get_by_role("button", name="Why?", expanded=True).count() == 1
    versus = page.get_by_role("combobox", name="Why a seven and not")
    first = versus.input_value()
    assert first != "7" and page.locator("#against option:disabled").all_inner_texts() == ["a seven"]
    words = page.locator("#why-words").inner_text()
    assert words.startswith("The score (logit) of a seven is ") and "nearest training images are labelled 7" in words
    for name in ("gradient_times_input", "occlusion"):
        green_and_red = page.evaluate(
            f"""(() => {{
                const data = $('{name}').getContext('2d').getImageData(0, 0, 28, 28).data;
                let [green, red] = [0, 0];
                for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 60) data[i + 1] > data[i] ? green++ : red++;
                return [green, red];
            }})()"""
        )
        assert sum(green_and_red) > 20 and (name == "occlusion" or min(green_and_red) > 0), name
        label = page.locator(f"#{name}").get_attribute("aria-label")
        assert re.fullmatch(r"Map of the ink that argues most for a seven is \D+, and for a \w+ is \D+", label), label
    labels = [each.get_attribute("aria-label") for each in page.locator("#neighbours canvas").all()]
    assert all(re.fullmatch(r"Training image \d+, an? \w+, at distance \d+\.\d+", each) for each in labels), labels
    assert sum(", a seven," in each for each in labels) >= 6
    assert "hidden_2. All 60,000 images" in page.locator("#neighbours-note").inner_text()
    versus.focus()
    page.keyboard.press("Home")  # the first class that can be chosen
    if first == "0":
        page.keyboard.press("ArrowDown")
    other = page.locator("#argues-against").inner_text()
    until(page, f"{explained} && $('argues-against').textContent !== '{other}'")
    assert page.locator("#why-words").inner_text() != words
    page.keyboard.press("Escape")  # of the list; the drawing stays
    assert page.evaluate("strokes.length") == 1
    page.locator("#clear").click()
    until(page, "!explaining && !outdated && $('neighbours').checkVisibility() === false")
    assert page.locator("#why-words").inner_text() == "Draw a digit to see why it is recognized."
    draw(page, STROKES[1])
    settled(page)
    until(page, f"{explained} && $('why-predicted').textContent === 'a one'")  # without asking again
    page.evaluate("choose({ image: shown.image, label: 8, index: 0 }); changed()")  # a test image that is mistaken
    settled(page)
    until(page, f"{explained} && $('argues-against').textContent === 'for an eight'")
    page.locator("#ask-why").click()
    assert page.locator("#why").is_hidden()


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.full), "dark"])  # the other tests are light
def test_what_is_sent_does_not_depend_on_the_colours(open_page, scheme):
    page = open_page()
    page.emulate_media(color_scheme=scheme)
    draw(page, STROKES[2])
    settled(page)
    corner = page.evaluate("[...$('paper').getContext('2d').getImageData(2, 2, 1, 1).data]")
    assert corner == [0, 0, 0, 0]  # the paper's colour is CSS
    assert page.locator("#digit").inner_text() == "2" and seen(page)[0] == 0
    page.emulate_media(color_scheme="light")


def test_small_and_quick(open_page, browser):
    sizes = []
    context = browser.new_context()
    page = context.new_page()
    page.on("response", lambda answer: sizes.append(len(answer.body()) + 500))  # 500: its head, generously
    page.goto(open_page().url)
    page.wait_for_selector("#examples button")
    page.wait_for_timeout(300)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"{sum(sizes):,} bytes in {len(sizes)} answers, first contentful paint after {paint:.0f} ms")
    assert sum(sizes) < 300_000
    assert paint < 20_000  # below 1,000 on an idle machine
    context.close()


def test_clearing_with_the_pen_still_down_ends_the_stroke(open_page):
    page = open_page()
    box = page.locator("#paper").bounding_box()
    for key in ("Escape", "Control+z"):
        page.mouse.move(box["x"] + 50, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + 90, box["y"] + 120)
        page.keyboard.press(key)
        page.mouse.move(box["x"] + 150, box["y"] + 50)
        page.mouse.up()
        settled(page)
        assert page.locator("#digit").inner_text() == "?"


def test_docs(open_page, server):
    page = open_page()
    page.goto(f"{server.url}/docs")
    page.wait_for_selector("code:has-text('/v1/models/mnist:predict')")
    post = page.locator("section", has_text="/v1/models/mnist:predict").first
    post.get_by_role("button", name="Try it").click()
    page.wait_for_selector("pre:has-text('predictions')")


def test_a_server_that_stops_is_told(browser, server):
    """The page says that nobody answers, and does not forget the drawing."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.url}/")
    page.wait_for_selector("#examples button")
    page.route("**/page/look", lambda route: route.abort())
    draw(page, STROKES[5])
    page.wait_for_selector("text=The server does not respond")
    page.unroute("**/page/look")
    draw(page, [[(50, 50), (51, 51)]])
    settled(page)
    assert page.locator("#digit").inner_text() != "?"
    context.close()
