"""The page's engine against the Playground in Python, on random addresses: every bit of points and weights."""

import math
import random

import numpy as np
import pytest
from helpers import node
from helpers.playground_addresses import address

from mnist_mlp.errors import UserError
from mnist_mlp.lab import playground
from mnist_mlp.lab.playground.network import Network, Work, features, with_ones
from mnist_mlp.lab.playground.url_state import State

pytestmark = [node.needs_node, pytest.mark.slow]

EPOCHS = 6


def losses_of(history):
    """The losses of the last weights, summed point by point and layer by layer as the Playground sums."""
    network = Network(history.state, np.array(history.parameters))
    losses = {}
    for part, points in (("train", history.train_points), ("test", history.test_points)):
        losses[part] = None
        if points:
            inputs = with_ones(features(history.state, [tuple(point) for point in points]))
            with np.errstate(all="ignore"):
                outputs = network.forward(inputs, Work(network.sizes, (), len(points)), as_page=True)[0].tolist()
            total = 0.0
            for output, (*_, label) in zip(outputs, points, strict=True):
                total += 0.5 * ((output - label) * (output - label))
            losses[part] = total / len(points) if math.isfinite(total) else None
    return losses


def check(result, history):
    expected = history.to_dict()
    state = {name: value for name, value in result["state"].items() if name not in ("weightsSeed", "ownPoints")}
    assert state == expected["state"]
    for name in ("seed", "epochs", "initial_parameters", "train_points", "test_points", "own_points"):
        assert result[name] == expected[name], name
    assert result["parameters"] == expected["parameters"]
    assert result["dead_weights"] == expected["dead_weights"]
    assert result["losses"][-1] == losses_of(history)
    for ours, theirs in zip(result["losses"], expected["losses"], strict=True):
        for part in ("train", "test"):
            if theirs[part] is None:
                assert ours[part] is None
            else:
                assert ours[part] == pytest.approx(theirs[part], rel=1e-9, abs=1e-300)
    assert result["accuracy"] == (expected["accuracy"] and pytest.approx(expected["accuracy"]))
    assert State.from_url(result["url"]).to_dict() == expected["state"]  # the address of a state gives the state


def test_random_addresses():
    draw = random.Random(22)
    addresses = [address(draw) for _ in range(80)]
    script = """
        const { run } = await page('network.js');
        const { parse } = await page('state.js');
        return value.urls.map((url) => ({ notes: parse(url).notes, result: run(url, value.epochs) }));
    """
    answers = node.evaluate(script, {"urls": addresses, "epochs": EPOCHS})
    compared = 0
    for url, answer in zip(addresses, answers, strict=True):
        try:
            history = playground.run(url, EPOCHS)
        except UserError:  # the page goes on, with the default and a note
            assert answer["notes"], url
            continue
        compared += 1
        assert bool(answer["notes"]) >= bool(history.state.notes), url
        try:
            check(answer["result"], history)
        except AssertionError as error:
            raise AssertionError(url) from error
    assert compared >= 60
