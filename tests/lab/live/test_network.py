"""The page's engine against numbers of the Playground's own code, in Node and in a browser."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from helpers import node
from helpers.playground_addresses import address

from mnist_mlp.lab.playground import exact, fdlibm

VECTORS = json.loads((Path(__file__).parents[1] / "playground/playground_vectors.json").read_text())

EPOCHS = [(v["url"], max(map(int, v["losses"]))) for v in VECTORS]
RUN_ALL = "const { run } = await page('network.js'); return value.map(([url, epochs]) => run(url, epochs));"

pytestmark = pytest.mark.slow


def check_vectors(results):
    for vector, result in zip(VECTORS, results, strict=True):
        assert result["train_points"][:3] == vector["first_train_points"]
        points = result["train_points"] + result["test_points"]
        assert sum(label > 0 for *_, label in points) == vector["positives"]
        assert result["initial_parameters"][: len(vector["initial_parameters"])] == vector["initial_parameters"]
        assert {epoch: result["losses"][int(epoch)] for epoch in vector["losses"]} == vector["losses"]
        assert result["dead_weights"] == vector["dead_weights"]


@node.needs_node
def test_the_vectors_to_the_last_bit_in_node():
    check_vectors(node.evaluate(RUN_ALL, EPOCHS))


@pytest.fixture
def tab(browser):
    """A page of a browser from which `evaluate` calls the modules as `node.evaluate` does."""
    tab = browser.new_page()

    def answer(route):
        file = node.PAGE / route.request.url.rpartition("/")[2]
        if file.suffix == ".js":
            route.fulfill(path=file, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    tab.route("**/*", answer)
    tab.goto("http://lab.test/index.html")
    yield lambda script, value=None: tab.evaluate(
        f"async (value) => {{ const page = (name) => import('/' + name); {script} }}", value
    )
    tab.close()


def test_the_vectors_to_the_last_bit_in_a_browser(tab):
    check_vectors(tab(RUN_ALL, EPOCHS))


@node.needs_node
def test_functions_are_those_of_the_playground_in_python():
    """On the same arguments, to the last bit; exp by way of the sigmoid."""
    draw = random.Random(9)
    scales = [1e-9, 0.01, 1, 3, 30, 700]
    numbers = [draw.uniform(-scale, scale) for scale in scales for _ in range(2000)]
    numbers += [0.0, 1.0, -1.0, 22.0, 0.34657359, 0.6931471, math.pi, math.pi / 2, math.pi / 4]
    script = """
        const { sin, cos, log, exp, tanh } = await page("fdlibm.js");
        const functions = [sin, cos, (x) => log(Math.abs(x)), tanh, (x) => 1 / (1 + exp(-x))];
        return functions.map((each) => value.map(each));
    """
    sines, cosines, logarithms, tangents, sigmoids = node.evaluate(script, numbers)
    assert sines == [fdlibm.sin(x) for x in numbers] and cosines == [fdlibm.cos(x) for x in numbers]
    assert logarithms == [fdlibm.log(abs(x)) if x else None for x in numbers]  # −∞ has no JSON
    for ours, function in ((tangents, exact.tanh), (sigmoids, exact.sigmoid)):
        values = np.array(numbers)
        with np.errstate(all="ignore"):
            function(values)
        assert ours == values.tolist()


@node.needs_node
def test_node_and_a_browser_agree_where_their_own_functions_differ(tab):
    """Of V8's own, Chromium 156 and Node 20 differ in some 3% of sines, 7% of logarithms and 10% of exponentials."""
    script = """
        const functions = await page("fdlibm.js");
        const { Stream } = await page("random.js");
        const stream = new Stream("arguments");
        return ["sin", "cos", "log", "exp", "tanh"].map((name) => {
          const numbers = [];
          for (const scale of [1e-9, 0.01, 1, 3, 30, 700, 1e5]) {
            for (let i = 0; i < 1000; i++) {
              const x = stream.uniform(name === "log" ? 0 : -scale, scale);
              numbers.push(functions[name](x));
            }
          }
          return new Uint32Array(Float64Array.from(numbers).buffer).reduce((hash, word) => (hash * 31 + word) % 1e9, 0);
        });
    """
    assert tab(script) == node.evaluate(script)


@node.needs_node
def test_node_and_a_browser_agree_on_random_addresses(tab):
    draw = random.Random(5)
    script = "const { run } = await page('network.js'); return JSON.stringify(value.map((url) => run(url, 20)));"
    addresses = [address(draw) for _ in range(25)]
    assert tab(script, addresses) == node.evaluate(script, addresses)
