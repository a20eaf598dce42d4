"""The page's engine against the Playground in Python, on random addresses: every bit of points and weights."""

import math
import random

import numpy as np
import pytest
from helpers import node

from mnist_mlp.errors import UserError
from mnist_mlp.lab import playground
from mnist_mlp.lab.playground.network import Network, Work, features, with_ones
from mnist_mlp.lab.playground.url_state import State

pytestmark = [node.needs_node, pytest.mark.slow]

EPOCHS = 6
VALUES = {
    "activation": ["relu", "tanh", "sigmoid", "linear", "Tanh", "", "toString"],
    "regularization": ["none", "L1", "L2", "L1", "l2"],
    "batchSize": ["1", "7", "10", "30", "33", "2.5", "400", "2000", "-3", "0", "0x0A", "1e1", "", "%32%30"],
    "learningRate": ["0.03", "0.3", "3", "1e-5", ".1", "0", "-0.01", " 0.1", "10"],
    "regularizationRate": ["0", "0.001", "0.03", "0.3", "1", "10", ""],
    "noise": ["0", "15", "25", "50", "90", "80", "-5", "7.5", "1e9", ""],
    "percTrainData": ["50", "10", "90", "33", "0", "100", "66.6", "95"],
    "dataset": ["circle", "xor", "gauss", "spiral", "reg-plane", ""],
    "regDataset": ["reg-plane", "reg-gauss", "plane"],
    "networkShape": ["", "4,2", "1", "8,8,8", "3,3,3,3,3,3,3", "4%2C2", " 3 , 2", "17", "0x3"],
    "problem": ["classification", "classification", "regression", "", "Regression"],
    "initZero": ["true", "false", "", "0"],
    "seed": ["0.55534", "hello", "", " ", "grün", "日本", "%E6%97%A5", "𝄞", "a%2Cb", "a b", "x" * 300, "0"],
    "tutorial": ["dlc", ""],
    "nonsense": ["1", ""],
    "": ["1"],
}
FEATURES = ("x", "y", "xTimesY", "xSquared", "ySquared", "sinX", "sinY", "cosX", "cosY")
VALUES |= {name: ["true", "false", "", "1", "TRUE"] for name in FEATURES}
VALUES |= {f"{name}_hide": ["true", "false", "1"] for name in (*FEATURES, "playButton", "numHiddenLayers")}
WRONG = ["batchSize=ten", "learningRate=NaN", "percTrainData=101", "networkShape=4,,2", "networkShape=1.5"]
WRONG += ["networkShape", "networkShape=99999", "batchSize=%20", "learningRate=Infinity", "networkShape=-1"]
BEFORE = ("", "#", "#", "https://playground.tensorflow.org/#", "http://playground.tensorflow.org/?a=1&batchSize=3#")
BEFORE += ("playground.tensorflow.org/#", "  #", "http://127.0.0.1:8000/index.html?hl=en#")


def address(draw):
    """An address with a seed, some keys twice, and values that nobody would type."""
    parts = [f"{name}={draw.choice(VALUES[name])}" for name in VALUES if draw.random() < 0.35]
    parts += [f"{name}={draw.choice(VALUES[name])}" for name in draw.sample(list(VALUES), 2)]
    draw.shuffle(parts)
    if not any(part.startswith("seed=") and part[5:].strip() for part in parts[-1:]):
        parts.append(f"seed={draw.choice([seed for seed in VALUES['seed'] if seed.strip()])}")
    if draw.random() < 0.15:
        parts.insert(draw.randrange(len(parts)), draw.choice(WRONG))
    return draw.choice(BEFORE) + draw.choice(["&", "&", "&amp;", "&&"]).join(parts)


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
    addresses = [address(draw) for _ in range(100)]
    script = """
        const { run, parse } = await page('network.js');
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
    assert compared >= 75
