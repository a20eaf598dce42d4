"""The Playground without a browser: against figures of the page's own code, and against the page's rules, written
once more here in scalars, sample by sample and node by node."""

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers import fork_server

from mnist_mlp.errors import UserError
from mnist_mlp.lab import playground
from mnist_mlp.lab.playground import command as program
from mnist_mlp.lab.playground import exact, fdlibm, network, sweep
from mnist_mlp.lab.playground.points import draw, read_csv, split_points
from mnist_mlp.lab.playground.random_stream import Stream
from mnist_mlp.lab.playground.url_state import PAGE, State

VECTORS = json.loads(Path(__file__).with_name("playground_vectors.json").read_text())


# The page's own figures


def check_vector(vector, epochs):
    history = playground.run(vector["url"], epochs)
    assert history.state.notes == ()
    assert history.train_points[:3] == vector["first_train_points"]
    assert sum(label > 0 for *_, label in history.train_points + history.test_points) == vector["positives"]
    assert history.initial_parameters[: len(vector["initial_parameters"])] == vector["initial_parameters"]
    known = {int(epoch): losses for epoch, losses in vector["losses"].items() if int(epoch) <= epochs}
    assert len(known) >= 2
    for epoch, losses in known.items():
        assert history.losses[epoch] == pytest.approx(losses, rel=1e-12, abs=0)
    return history


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_a_vector_of_the_page_at_its_start(vector):
    check_vector(vector, 1)


@pytest.mark.slow
@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_a_vector_of_the_page(vector):
    history = check_vector(vector, max(map(int, vector["losses"])))
    assert history.dead_weights == vector["dead_weights"]


@pytest.mark.parametrize(
    "seed, numbers",
    [
        ("0.55534", [0.7182758446574136, 0.8624060050349106, 0.3742775289008143]),
        ("hello", [0.5463663768140734, 0.4397379377059223, 0.554769432473455]),
        ("0", [0.7803563384230067, 0.05144520047760746, 0.5317574394273067]),
        ("", [0.23144008215179881, 0.27404636548159655, 0.7901279251811976]),
    ],
)
def test_the_random_stream(seed, numbers):
    stream = Stream(seed)
    assert [stream.random() for _ in range(3)] == numbers


def test_a_seed_counts_by_its_first_256_units_mixed_with_the_rest():
    assert Stream("abc" * 100).random() == 0.9989361869534188  # of seedrandom 2.4.4 in Node 20
    assert Stream("𝄞").random() == Stream("\ud834\udd1e").random()  # UTF-16, as JavaScript has it


@pytest.mark.parametrize(
    "function, x, value",
    [  # of Node 20; where these lie, the C library (sin, cos, log) or NumPy (tanh, exp) gives another last bit
        (fdlibm.sin, 13.202239991031579, 0.5938772006537199),
        (fdlibm.sin, 128.04956016234303, 0.6858264084018451),
        (fdlibm.cos, 0.766023183308632, 0.7206733876536693),
        (fdlibm.cos, 111.31181127005397, -0.21308161676923054),
        (fdlibm.log, 0.6274391903278065, -0.46610852051619966),
        (fdlibm.log, 0.8316026371867049, -0.18440055178312365),
        (exact.tanh, 0.04116792891684254, 0.041144687559521824),
        (exact.tanh, -0.41969974963135925, -0.3966774570717416),
        (exact.tanh, 30.0, 1.0),
        (exact.sigmoid, -0.2551094138932508, 0.4365663003410986),
        (exact.sigmoid, -19.073884778174243, 5.203757982773861e-09),
        (exact.sigmoid, -1000.0, 0.0),
    ],
)
def test_functions_to_the_last_bit(function, x, value):
    if function in (exact.tanh, exact.sigmoid):
        array = np.array([x])
        with np.errstate(over="ignore"):
            function(array)
        assert array.tolist() == [value]
    else:
        assert function(x) == value


GOLDEN = [  # computed in Node 20, by the page's arithmetic: sha256 of all points and of the weights after 25 epochs
    (
        "dataset=spiral&noise=50&percTrainData=33&networkShape=&batchSize=1&regularization=L1&xTimesY=true&xSquared=true",
        "65cae143c5789247",
        "622b8d15e6fd3315",
    ),
    (
        "activation=sigmoid&learningRate=3&dataset=xor&noise=20&networkShape=3,2&batchSize=7&regularization=L2"
        "&regularizationRate=0.003&sinX=true",
        "dc3f5440bd72de2f",
        "7667b5ff4c2441fc",
    ),
    (
        "activation=relu&learningRate=0.3&problem=regression&regDataset=reg-gauss&noise=30&batchSize=30",
        "53a09f31d92be675",
        "27b6664782a05164",
    ),
    pytest.param(
        *("networkShape=17&batchSize=1&noise=20", "62496c8949dfdb4c", "88505a666a32bbb7"), marks=pytest.mark.slow
    ),
    (
        "dataset=gauss&noise=35&networkShape=9&batchSize=1&activation=relu&learningRate=0.1&percTrainData=20",
        "f27b1a7bebfc07f7",
        "5e19609fb2dcd561",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("url, points, parameters", GOLDEN)
def test_chaotic_runs_to_the_last_bit(url, points, parameters):
    def digest(values):
        return hashlib.sha256(struct.pack(f"<{len(values)}d", *values)).hexdigest()[:16]

    history = playground.run(f"{url}&seed=golden", 25)
    assert digest(np.ravel(history.train_points + history.test_points)) == points
    assert digest(history.parameters) == parameters


# The page's rules once more


def drawn_by_the_rules(name, n, r):
    """The data sets as they are specified; `r()` is the next random number."""

    def u(a, b):
        return a + r() * (b - a)

    def sign(condition):
        return 1 if condition else -1

    if name == "gauss":

        def normal(mean):
            while True:
                a, b = 2 * r() - 1, 2 * r() - 1
                s = a * a + b * b
                if s <= 1:
                    return mean + math.sqrt(0.5 + 7 * n) * a * math.sqrt(-2 * math.log(s) / s)

        return [(normal(2 * c), normal(2 * c), c) for c in (1, -1) for _ in range(250)]
    points = []
    if name == "circle":
        for low, high in ((0, 2.5), (3.5, 5)):
            for _ in range(250):
                radius, angle = u(low, high), u(0, 2 * math.pi)
                x, y = radius * math.sin(angle), radius * math.cos(angle)
                nx, ny = u(-5, 5) * n, u(-5, 5) * n
                points.append((x, y, sign(math.hypot(x + nx, y + ny) < 2.5)))
    if name == "xor":
        for _ in range(500):
            x, y = (v + math.copysign(0.3, v) for v in (u(-5, 5), u(-5, 5)))
            nx, ny = u(-5, 5) * n, u(-5, 5) * n
            points.append((x, y, sign((x + nx) * (y + ny) >= 0)))
    if name == "spiral":
        for delta in (0, math.pi):
            for i in range(250):
                t = 1.75 * (i / 250) * 2 * math.pi + delta
                x, y = 5 * i / 250 * math.sin(t) + u(-1, 1) * n, 5 * i / 250 * math.cos(t) + u(-1, 1) * n
                points.append((x, y, sign(delta == 0)))
    if name.startswith("reg"):
        for _ in range(1200):
            x, y = u(-6, 6), u(-6, 6)
            a, b = x + u(-6, 6) * n, y + u(-6, 6) * n
            heights = [
                s * min(max(1 - math.hypot(a - p, b - q) / 2, 0), 1)
                for p, q, s in ((-4, 2.5, 1), (0, 2.5, -1), (4, 2.5, 1), (-4, -2.5, -1), (0, -2.5, 1), (4, -2.5, -1))
            ]
            points.append((x, y, (a + b) / 10 if name == "reg-plane" else max(heights, key=abs)))
    return points


@pytest.mark.parametrize("name", ["gauss", "circle", "xor", "spiral", "reg-plane", "reg-gauss"])
@pytest.mark.parametrize("noise", [0, 37.5])
def test_data_sets(name, noise):
    regression = name.startswith("reg")
    changes = {"regDataset": name, "problem": "regression"} if regression else {"dataset": name}
    state = State(noise=noise, seed="data", **changes)
    ours, rule = Stream("data"), Stream("data")
    expected = drawn_by_the_rules(name, noise / 100, rule.random)
    np.testing.assert_allclose(draw(state, ours), expected, rtol=1e-12, atol=1e-14)
    assert ours.random() == rule.random()  # as many numbers were taken


FUNCTIONS = {
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "relu": (lambda z: max(0, z), lambda z: 0 if z <= 0 else 1),
    "sigmoid": (
        lambda z: 1 / (1 + math.exp(-z)),
        lambda z: 1 / (1 + math.exp(-z)) * (1 - 1 / (1 + math.exp(-z))),
    ),
    "linear": (lambda z: z, lambda z: 1),
}
INPUTS = {
    "x": lambda x, y: x,
    "y": lambda x, y: y,
    "xSquared": lambda x, y: x * x,
    "ySquared": lambda x, y: y * y,
    "xTimesY": lambda x, y: x * y,
    "sinX": lambda x, y: math.sin(x),
    "sinY": lambda x, y: math.sin(y),
}


class Node:
    def __init__(self, inputs, functions, stream, zero):
        self.b = 0.0 if zero else 0.1
        drawn = [stream.random() - 0.5 for _ in range(inputs)]
        self.w = [0.0] * inputs if zero else drawn
        self.f, self.df = functions
        self.dead = [False] * inputs
        self.forget()

    def forget(self):
        self.db, self.dw, self.m = 0.0, [0.0] * len(self.w), 0

    def update(self, state):
        """lr·mean gradient, then lr·rate·R′(w before), as the page: once for each node, weight by weight."""
        if not self.m:
            return
        self.b -= state.learningRate * self.db / self.m
        for j, w in enumerate(self.w):
            if self.dead[j]:
                continue
            slope = {"none": 0, "L2": w, "L1": (w > 0) - (w < 0)}[state.regularization]
            w1 = w - state.learningRate / self.m * self.dw[j]
            w2 = w1 - state.learningRate * state.regularizationRate * slope
            if state.regularization == "L1" and w1 * w2 < 0:
                w2, self.dead[j] = 0.0, True
            self.w[j] = w2
        self.forget()


def run_by_the_rules(state, epochs, own):
    """Losses and the network's layers, one sample after the other."""
    stream = Stream(state.seed)
    train, test = split_points(state, stream, own)
    inputs = [name for name in INPUTS if getattr(state, name)]
    sizes = [len(inputs), *state.networkShape, 1]
    layers = []
    for depth, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
        last = "tanh" if state.problem == "classification" else "linear"
        name = last if depth == len(sizes) - 1 else state.activation
        layers.append([Node(a, FUNCTIONS[name], stream, state.initZero) for _ in range(b)])

    def forward(x, y):
        values = [INPUTS[name](x, y) for name in inputs]
        for layer in layers:
            for node in layer:
                node.inputs = values
                node.z = node.b + sum(w * v for w, v in zip(node.w, values, strict=True))
            values = [node.f(node.z) for node in layer]
        return values[0]

    def learn(x, y, target):
        slopes = [forward(x, y) - target]
        for layer in reversed(layers):
            for node, slope in zip(layer, slopes, strict=True):
                node.d = slope * node.df(node.z)
                node.db += node.d
                node.m += 1
                for j, value in enumerate(node.inputs):
                    node.dw[j] += 0 if node.dead[j] else node.d * value
            slopes = [sum(node.w[j] * node.d for node in layer) for j in range(len(layer[0].w))]

    def loss(points):
        return sum((forward(x, y) - label) ** 2 / 2 for x, y, label in points) / len(points)

    losses = [{"train": loss(train), "test": loss(test)}]
    for _ in range(epochs):
        for i, (x, y, label) in enumerate(train):
            learn(x, y, label)
            if (i + 1) % state.batchSize == 0:
                for layer in layers:
                    for node in layer:
                        node.update(state)
        losses.append({"train": loss(train), "test": loss(test)})
    return losses, layers


ALL = dict.fromkeys(("xTimesY", "xSquared", "ySquared", "sinX", "sinY"), True)
ODD = {
    "leftovers": {"batchSize": 7},
    "leftovers, sigmoid": {"batchSize": 3, "activation": "sigmoid", "learningRate": 1},
    "batch of one": {"batchSize": 1, "activation": "relu"},
    "batch of all": {"batchSize": 20, "learningRate": 0.3},
    "batch too large": {"batchSize": 21},
    "L1": {"regularization": "L1", "regularizationRate": 0.1, "batchSize": 4},
    "L1, leftovers": {"regularization": "L1", "regularizationRate": 0.3, "batchSize": 9, "activation": "linear"},
    "L2": {"regularization": "L2", "regularizationRate": 0.3, "batchSize": 4},
    "rate without penalty": {"regularizationRate": 10},
    "zero": {"initZero": True, "activation": "sigmoid", "batchSize": 2},
    "zero, L1": {"initZero": True, "regularization": "L1", "regularizationRate": 0.1, "networkShape": ()},
    "zero, L1, hidden": {"initZero": True, "regularization": "L1", "regularizationRate": 0.1, "networkShape": (2,)},
    "regression": {"problem": "regression", "activation": "relu", "learningRate": 0.01},
    "all features": {**ALL, "learningRate": 0.003, "networkShape": ()},
    "no features": {"x": False, "y": False, "networkShape": (3,), "batchSize": 1},
    "six layers": {"networkShape": (8, 7, 6, 5, 4, 3), "activation": "relu", "batchSize": 5, "learningRate": 0.1},
    "10 percent": {"percTrainData": 10, "batchSize": 3},
    "90 percent": {"percTrainData": 90, "cosX": True, "batchSize": 2.5},
}


FAST = ("leftovers", "batch of one", "L1, leftovers", "six layers", "no features", "regression")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, as_page",
    [*((name, True) for name in ODD), *((name, False) for name in FAST)],
)
def test_training_by_the_rules(name, as_page, monkeypatch):
    changes = ODD[name]
    if not as_page:  # as after the exact epochs
        monkeypatch.setattr(playground.history, "EXACT", 0)
    state = State(seed="odd", **{"learningRate": 0.03, **changes})
    numbers = random.Random(5)
    own = [(numbers.uniform(-5, 5), numbers.uniform(-5, 5), numbers.choice([-1.0, 1.0])) for _ in range(40)]
    losses, layers = run_by_the_rules(state, 20, own)
    history = playground.run(state, 20, points=own)
    np.testing.assert_allclose(
        [list(row.values()) for row in history.losses], [list(row.values()) for row in losses], 1e-12
    )
    parameters = [value for layer in layers for node in layer for value in (node.b, *node.w)]
    np.testing.assert_allclose(history.parameters, parameters, rtol=1e-9, atol=1e-13)
    assert history.dead_weights == sum(sum(node.dead) for layer in layers for node in layer)
    assert (history.parameters == history.initial_parameters) == (state.batchSize == 21)
    if "L1" in str(changes) and not state.initZero:
        assert history.dead_weights > 0


def test_seeds_side_by_side_are_the_seeds_alone():
    state = State.from_url("activation=relu&dataset=xor&batchSize=7&regularization=L1&regularizationRate=0.01&seed=s")
    seeds = ["s", "s-2", "s-3"]
    together = playground.run_seeds(state, 8, seeds)
    for seed, history in zip(seeds, together, strict=True):
        alone = playground.run(dataclasses.replace(state, seed=seed), 8)
        assert history.parameters == alone.parameters and history.state == alone.state
        np.testing.assert_allclose(history.losses[-1]["test"], alone.losses[-1]["test"], rtol=1e-13)
        assert (history.train_points, history.accuracy) == (alone.train_points, alone.accuracy)
    assert len({history.losses[0]["train"] for history in together}) == 3


def test_after_the_exact_epochs_the_same_course(monkeypatch):
    """The quicker way of later epochs does not part from the exact one at once."""
    state = State(seed="course", dataset="xor")
    ways = []
    for limit in (10, 15):
        monkeypatch.setattr(playground.history, "EXACT", limit)
        ways.append(playground.run(state, 15).parameters)
    np.testing.assert_allclose(*ways, rtol=1e-12, atol=1e-14)


def test_a_sum_too_large_for_memory_is_left_to_blas(monkeypatch):
    state = State(seed="large")
    parameters = playground.run(state, 3).parameters
    monkeypatch.setattr(network, "LARGEST", 10)
    monkeypatch.setattr(exact, "product", None)  # not called
    np.testing.assert_allclose(playground.run(state, 3).parameters, parameters, rtol=1e-12, atol=1e-14)


def test_layers_and_activations():
    history = playground.run("networkShape=3&sinX=true&seed=1&activation=sigmoid", 2)
    first, last = history.layers()
    assert (first.shape, last.shape) == ((3, 4), (1, 4))
    assert np.concatenate([first.ravel(), last.ravel()]).tolist() == history.parameters
    xy = np.array([[1.0, 2.0], [-3.0, 0.5]])
    inputs, hidden, output = history.activations(xy)
    np.testing.assert_allclose(inputs, [[1, -3], [2, 0.5], np.sin([1, -3])], rtol=1e-15)
    np.testing.assert_allclose(hidden, 1 / (1 + np.exp(-(first[:, :1] + first[:, 1:] @ inputs))), rtol=1e-13)
    np.testing.assert_allclose(output, np.tanh(last[:, :1] + last[:, 1:] @ hidden), rtol=1e-13)
    train = np.array(history.train_points)
    answers = history.activations(train[:, :2])[-1][0]
    assert np.mean((answers - train[:, 2]) ** 2) / 2 == pytest.approx(history.losses[-1]["train"], rel=1e-12)
    assert np.mean((answers >= 0) == (train[:, 2] > 0)) == history.accuracy["train"]
    assert history.activations(xy, history.initial_parameters)[-1].shape == (1, 2)


# The URL


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"{PAGE}#activation=relu&noise=15", {"activation": "relu", "noise": 15}),
        ("#batchSize=3&batchSize=4", {"batchSize": 4}),
        ("seed=a=b&learningRate=1e-1", {"seed": "a", "learningRate": 0.1}),
        ("networkShape=&seed=x", {"networkShape": ()}),
        ("networkShape=%20", {"networkShape": ()}),
        ("networkShape=8,8,1", {"networkShape": (8, 8, 1)}),
        ("networkShape=4%2C2%2C9", {"networkShape": (4, 2, 9)}),
        ("batchSize=&noise= &percTrainData=60", {"batchSize": 10, "noise": 0, "percTrainData": 60}),
        ("batchSize=3&batchSize", {"batchSize": 10}),
        ("seed=1&seed=2", {"seed": "2"}),
        ("seed=a%20b", {"seed": "a%20b"}),
        (f"{PAGE}?utm=1#seed=5", {"seed": "5"}),
        ("batchSize=0x10", {"batchSize": 16}),
        ("x=false&y=0&xSquared=1&sinX=", {"x": False, "y": True, "xSquared": True, "sinX": False}),
        ("noise=80", {"noise": 80}),
        ("noise=81", {"noise": 50}),
        ("noise=-3", {"noise": 0}),
        ("activation=ReLU&regularization=l1&dataset=moons", {"activation": "tanh", "regularization": "none"}),
        ("problem=regression&regDataset=reg-gauss", {"problem": "regression", "regDataset": "reg-gauss"}),
        ("initZero=true&discretize=true", {"initZero": True, "discretize": True}),
        ("activation=relu&amp;batchSize=2", {"activation": "relu", "batchSize": 2}),
        ("https%3A%2F%2Fplayground.tensorflow.org%2F%23noise%3D5%26seed%3D7", {"noise": 5, "seed": "7"}),
        (PAGE, {"networkShape": (4, 2)}),
        ("", {"learningRate": 0.03}),
    ],
)
def test_reading_a_url(text, expected):
    state = State.from_url(text)
    assert {name: getattr(state, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text, features",
    [
        ("", ["x", "y"]),
        ("x=false&y=false", []),
        ("sinY=true&xTimesY=true&ySquared=true&xSquared=true&sinX=true", list(INPUTS)),
        ("x_hide=true&sinX=true&sinX_hide=1", ["y", "sinX"]),
        ("cosX=true&cosY=true", ["x", "y"]),
    ],
)
def test_features(text, features):
    assert State.from_url(text).features == features


@pytest.mark.parametrize(
    "text, note",
    [
        ("activation=ReLU", "activation=ReLU: unknown to the page, which uses tanh; did you mean 'relu'?"),
        ("noise=90", "noise=90: the page uses 50 if it is above 80"),
        ("noise=-1", "noise=-1: the page uses 0"),
        ("activaton=relu", "activaton: not a key of the page; it has no effect; did you mean 'activation'?"),
        ("networkShape=4%2C2", "read as 4,2"),
        ("cosX=true", "no such feature"),
        ("seed=é a\tb", "seed=é a\tb: a browser turns it into %C3%A9%20ab, and so does this program"),
        ("x=0", "x=0: true to the page"),
        (PAGE, "this URL has no #"),
    ],
)
def test_notes(text, note):
    (found,) = State.from_url(text).notes
    assert note in found


def test_a_url_of_the_page_has_no_notes_and_comes_back():
    url = VECTORS[10]["url"]
    state = State.from_url(url)
    assert state.notes == () and state.regularization == "L1"
    again = State(
        hidden=("stepButton",), networkShape=(), noise=12.5, learningRate=1e-5, seed="%C3%BC!", tutorial="t", sinY=True
    )
    for each in (state, again):
        assert State.from_url(each.to_url()) == each
        assert State.from_url(each.to_url()).notes == ()


def test_a_seed_that_is_missing_is_drawn():
    seeds = {State.from_url("noise=5").seed for _ in range(5)}
    assert len(seeds) > 1
    assert all(len(seed) == 7 and 0 <= float(seed) < 1 for seed in seeds)


@pytest.mark.parametrize(
    "text, error",
    [
        ("batchSize=ten", "batchSize: expected a number, received 'ten'; try batchSize=10, or omit it"),
        ("learningRate=1_0", "learningRate: expected a number, received '1_0'"),
        ("learningRate=nan", "learningRate: expected a number, received 'nan'"),
        ("learningRate=1e999", "learningRate: expected a number from -1e+300 to 1e+300, received inf"),
        ("percTrainData=101", "percTrainData: expected a number from 0 to 100, received 101"),
        ("networkShape=4,0", "networkShape: expected whole numbers of neurons from 1 to 10,000, received 0"),
        ("networkShape=4,,2", "received 0; try networkShape=4,2, or networkShape= for no hidden layer"),
        ("networkShape=2.5", "received 2.5"),
        ("networkShape=0x" + "f" * 300, "received inf"),
        ("networkShape=9999,9999", "expected at most 2,000,000 weights and biases"),
        ("networkShape=" + "1," * 200 + "1", "expected at most 100 hidden layers, received 201"),
        ("networkShape&x=true", "networkShape: expected = and values, received none; try networkShape=4,2"),
        ("relu", "expected a Playground URL or its keys, received 'relu'"),
        ("noise=10#x", "expected a URL or nothing before the #, received 'noise=10'"),
        (f"{PAGE}%23noise=5", f"expected the keys after a #, received '{PAGE}%23noise=5'; try '{PAGE}#noise=5'"),
        (f"{PAGE}?noise=5", f"received '{PAGE}?noise=5'; try '{PAGE}#noise=5'"),
        (5, "state: expected a Playground URL or its keys, received 5"),
    ],
)
def test_what_cannot_be_computed(text, error):
    with pytest.raises(UserError) as raised:
        State.from_url(text)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"activation": "rely"}, "activation: expected one of relu, tanh, sigmoid, linear, received 'rely'; did you"),
        ({"noise": math.nan}, "noise: expected a number from 0 to 1e+06, received nan"),
        ({"seed": 7}, 'seed: expected text, received 7; try seed="7"'),
        ({"seed": "a\x1b"}, "seed: expected text that a URL can hold, without & = #, received"),
        ({"seed": "a&b"}, 'try seed="a%26b"'),
        ({"seed": "é"}, 'try seed="%C3%A9"'),
        ({"seed": ""}, 'try seed="0.5"'),
        ({"x": 1}, "x: expected true or false, received 1"),
        ({"networkShape": 4}, "networkShape: expected the neurons of each hidden layer, received 4"),
    ],
)
def test_a_state_checks_itself(changes, error):
    with pytest.raises(UserError) as raised:
        State(**changes)
    assert error in str(raised.value)


def test_more_than_the_menus_offer():
    history = playground.run(State(noise=90, networkShape=(9,) * 8, batchSize=50, percTrainData=95, seed="m"), 2)
    assert (len(history.train_points), history.state.noise) == (475, 90)
    assert history.parameters != history.initial_parameters


@pytest.mark.parametrize(
    "arguments, error",
    [
        (("seed=1", -1), "--epochs: expected a whole number from 0 to 1,000,000, received -1"),
        (("seed=1", 2.0), "--epochs: expected"),
        (("seed=1&networkShape=1000,1000", 1, ["a"] * 100), "numbers in memory"),
        (("seed=1", 1_000_000, ["a", "b"]), "expected at most 2,000,000 epochs in total"),
        (("seed=1", 1, "abc"), "seeds: expected a list of strings, received 'abc'"),
        (("seed=1", 1, [1]), "seed: expected text, received 1"),
        ((7, 1), "state: expected a Playground URL or a State, received 7"),
    ],
)
def test_amounts_are_bounded(arguments, error):
    with pytest.raises(UserError) as raised:
        (playground.run_seeds if len(arguments) == 3 else playground.run)(*arguments)
    assert error in str(raised.value)


def test_epochs_may_be_a_number_of_numpy():
    assert playground.run("seed=1", np.int64(1)).epochs == 1


# The program


def run(capsys, *argv):
    program.main(argv)
    return capsys.readouterr()


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json(capsys):
    said = run(capsys, f"{PAGE}#networkShape=3&dataset=xor&noise=90&seed=5", "--epochs=2", "--seeds=2", "--json")
    result = strict(said.out)
    assert said.err == "note: noise=90: the page uses 50 if it is above 80 (--sweep noise=90 keeps the value)\n"
    assert len(result["losses"]) == 3 and set(result["losses"][0]) == {"train", "test"}
    assert [len(result[name]) for name in ("parameters", "initial_parameters")] == [13, 13]
    assert [len(result[name]) for name in ("train_points", "test_points")] == [250, 250]
    assert (result["dead_weights"], result["seed"], set(result["accuracy"])) == (0, "5", {"train", "test"})
    assert [each["seed"] for each in result["runs"]] == ["5", "5-2"]
    assert {name: result[name] for name in result["runs"][0]} == result["runs"][0]
    assert State.from_url(result["url"]).noise == 50


def test_training_that_leaves_the_numbers_is_null_in_json(capsys):
    said = run(capsys, "activation=linear&problem=regression&learningRate=10&seed=1", "--epochs=20", "--json")
    result = strict(said.out)
    assert result["losses"][-1] == {"train": None, "test": None} and result["parameters"][0] is None
    assert result["losses"][0]["train"] < 1 and result["accuracy"] is None
    assert "note: training diverged (nan or inf; null in JSON)" in said.err


def test_no_points_on_one_side(capsys):
    for percent, side in ((0, "train"), (100, "test")):
        said = run(capsys, f"percTrainData={percent}&seed=1", "--epochs=1", "--json")
        result = strict(said.out)
        assert result["losses"][1][side] is None and result["accuracy"][side] is None
        assert "leaves no training or no test points; that loss is nan" in said.err
        assert (result["parameters"] == result["initial_parameters"]) == (percent == 0)


def test_the_report(capsys):
    said = run(capsys, "networkShape=3&sinX=true&seed=5&regularization=L1&regularizationRate=0.1", "--epochs=11")
    assert "x, y, sin x → 3 → 1 output; 4·3 + 4·1 = 16 weights and biases" in said.out
    assert "tanh, learning rate 0.03, batch 10, L1 at rate 0.1" in said.out
    assert [line.split()[0] for line in said.out.splitlines() if line[:9].strip().isdigit()] == ["0", "1", "10", "11"]
    history = playground.run("networkShape=3&sinX=true&seed=5&regularization=L1&regularizationRate=0.1", 11)
    assert f"dead      {history.dead_weights} weights" in said.out and f"bias {history.parameters[0]:+.4f}" in said.out
    assert "add --figure=playground.png" in said.out and said.err == ""
    assert (
        "no update was made: 250 training points never fill a batch of 300"
        in run(capsys, "batchSize=300", "--epochs=1").err
    )


def test_points_as_csv(capsys, tmp_path):
    file = tmp_path / "points.csv"
    run(capsys, "seed=5", "--epochs=1", f"--csv={file}")
    rows = list(csv.DictReader(file.read_text().splitlines()))
    history = playground.run("seed=5", 1)
    assert [row["split"] for row in rows] == ["train"] * 250 + ["test"] * 250
    assert [[float(row[key]) for key in ("x", "y", "label")] for row in rows[:250]] == history.train_points
    outputs = history.activations(np.array(history.test_points)[:, :2])[-1][0]
    assert [float(row["output"]) for row in rows[250:]] == outputs.tolist()
    copy = tmp_path / "copy.csv"
    copy.write_text("".join(f"{row['x']},{row['y']},{row['label']}\n" for row in rows))
    assert len(strict(run(capsys, f"--data={copy}", "--epochs=0", "--json").out)["train_points"]) == 250


def test_own_data(capsys, tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("X, Y, Label\n1,2,1\n\n-1.5,2e0,0\n3,4,1\n5,6,0\n")
    result = strict(run(capsys, "seed=5&batchSize=2", f"--data={file}", "--epochs=1", "--json").out)
    points = result["train_points"] + result["test_points"]
    assert sorted(points) == [[-1.5, 2, -1], [1, 2, 1], [3, 4, 1], [5, 6, -1]]
    stream = Stream("5")  # nothing but the shuffle comes before the weights
    for _ in range(4):
        stream.random()
    assert result["initial_parameters"][1] == stream.random() - 0.5
    file.write_text("1,2,0.25\n1,2,7\n")
    assert read_csv(file, "regression") == [(1, 2, 0.25), (1, 2, 7)]


@pytest.mark.parametrize(
    "text, error",
    [
        ("x,y,label\n1,2,1\n1,two,1\n", "line 3: expected x,y,label, received '1,two,1'"),
        ("1,2\n", "line 1: expected x,y,label, received '1,2'"),
        ("x1,x2,class\n1,2,1\n", "line 1: expected x,y,label as the header, or no header, received 'x1,x2,class'; if"),
        ("x;y;label\n1;2;1\n", "received 'x;y;label'; separate the cells by commas"),
        ("id,x,y,label\n1,1,2,1\n", "it has 4 columns: keep the two coordinates and the class"),
        ("1,2,1\nx,y,label\n", "line 2: expected x,y,label"),
        ("1,2,1\n1,nan,1\n", "line 2: expected finite numbers"),
        ("1,2,1\n1,2,0\n1,2,-1\n", "line 2: expected the labels -1 and 1, or 0 and 1, received 0"),
        ("1,2,3\n", "line 1: expected the labels -1 and 1, or 0 and 1, received 3"),
        ("x,y,label\n", "expected points, received none"),
        ("\x00\xff", "line 1: expected x,y,label"),
    ],
)
def test_own_data_with_a_fault(text, error, tmp_path):
    file = tmp_path / "own.csv"
    file.write_text(text)
    with pytest.raises(UserError) as raised:
        read_csv(file, "classification")
    assert error in str(raised.value) and str(file) in str(raised.value)


def test_own_points_are_told_as_such(capsys, tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("1,2,1\n-9,2,0\n")
    said = run(capsys, "seed=5&noise=20", f"--data={file}", "--epochs=0", "--json")
    assert strict(said.out)["own_points"] is True
    assert "dataset and noise of the URL have no effect" in said.err and "1 of 2 points lie outside" in said.err
    said = run(capsys, "seed=5&noise=20", f"--data={file}", "--epochs=0")
    assert f"data      own points from {file}" in said.out and "(the page has other points)" in said.out
    assert strict(run(capsys, "seed=5", "--epochs=0", "--json").out)["own_points"] is False
    said = run(capsys, "seed=5", f"--data={file}", "--epochs=0", "--json", "--sweep", "x=true")
    assert strict(said.out)["own_points"] is True
    with pytest.raises(UserError, match="--sweep noise draws points and cannot be combined with --data"):
        run(capsys, f"--data={file}", "--sweep", "noise=1,2")


def test_sweep_rows_keep_figures_alone_and_the_url_that_gives_them(capsys):
    said = run(capsys, "seed=1", "--epochs=0", "--json", "--sweep", "noise=0.5,.5,90")
    half, more = strict(said.out)["sweep"]  # 0.5 and .5 are the same
    assert State.from_url(half["url"]).noise == 0.5 and "note" not in half
    assert more["url"] is None and "no URL" in more["note"] and "1 of 2 combinations have no URL" in said.err
    (row,) = sweep.run([({}, State(seed="1"))], 0, lambda state: ["1"])
    assert not any(isinstance(value, playground.History | list) for value in vars(row).values())
    with pytest.raises(UserError, match="at most 50,000 runs in total, received 50,001"):
        next(sweep.run([({}, State())], 0, lambda state: ["1"] * 50_001))
    large = ({}, State(networkShape=(1000, 1000)))
    with pytest.raises(UserError, match="numbers in memory"):  # before the first is trained
        next(sweep.run([({}, State()), large], 0, lambda state: ["1"] * 100))


def test_the_report_comes_before_the_files(capsys, tmp_path, monkeypatch):
    def fail(path, text):
        raise UserError("full")

    monkeypatch.setattr(program.atomic, "write_text", fail)
    for flags, word in ((["--json"], '"losses"'), ([], "epoch train loss"), (["--sweep", "x=true"], "test loss")):
        with pytest.raises(UserError, match="full"):
            program.main(["seed=1", "--epochs=0", f"--csv={tmp_path / 'a.csv'}", *flags])
        assert word in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(program.history, "run_seeds", None)  # not called
    pipe, locked, link = tmp_path / "pipe.svg", tmp_path / "locked.svg", tmp_path / "link.svg"
    os.mkfifo(pipe)
    locked.touch(mode=0o444)
    link.symlink_to(locked)
    for flag in ("csv", "figure"):
        for path, words in (
            (pipe, "expected a file, received a device or a pipe"),
            (tmp_path, "expected a file, received a directory"),
            (locked, "this file is read-only"),
            (tmp_path / "no" / "a.svg", "expected a file in a directory that exists"),
            (tmp_path / ("a" * 300 + ".svg"), "File name too long"),
        ):
            with pytest.raises(UserError, match=f"--{flag}=.*{words}"):
                program.main(["seed=1", f"--{flag}={path}"])
    for a, b in (("data", "csv"), ("data", "figure"), ("csv", "figure")):
        with pytest.raises(UserError, match=f"--{a} and --{b}: expected two different files"):
            program.main([f"--{a}={locked}", f"--{b}={link}"])


def test_words_about_weights_that_do_not_change_and_large_numbers(capsys):
    for keys, words in (
        ("learningRate=0", "no weight changed: learningRate is 0"),
        ("learningRate=1e-300", "every step (learningRate times gradient) was 0 or too small"),
        ("batchSize=7.3&percTrainData=10", "50 training points never fill a batch of 7.3"),
    ):
        assert words in run(capsys, f"{keys}&seed=1", "--epochs=1").err
    assert sweep.format_spread([1234567.0]) == "1.23e+06" and sweep.format_spread([999.0]) == "999.000"
    assert "state " in run(capsys, "seed=1", "--epochs=0", "--sweep=", "--data=", "--csv=", "--figure=").out


def test_progress_leaves_no_line_behind_also_when_interrupted(capsys):
    with pytest.raises(KeyboardInterrupt), program.Terminal() as terminal:
        progress = program.EpochProgress(terminal, 10)
        terminal.on, progress.last = True, -9.0
        progress(3)
        raise KeyboardInterrupt
    assert capsys.readouterr().err.endswith("epoch 3 of 10\x1b[K\r\x1b[K")


@pytest.mark.slow
def test_sweep(capsys, tmp_path):
    file, flags = tmp_path / "table.csv", ("noise=5&seed=1", "--epochs=2", "--seeds=2")
    words = ("--sweep", "activation=ReLU,tanh", "networkShape=4x2,none", "noise=90")
    result = strict(run(capsys, *flags, *words, "--json", f"--csv={file}").out)
    assert [row["settings"]["networkShape"] for row in result["sweep"]] == ["4x2", "none"] * 2
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [row["seed"] for row in rows] == ["1", "1-2"] * 4 and rows[0]["networkShape"] == "4,2"
    state = State(activation="relu", noise=90, seed="1")
    losses = [history.losses[-1]["test"] for history in playground.run_seeds(state, 2, ["1", "1-2"])]
    assert result["sweep"][0]["test_loss"] == {"median": np.mean(losses), "min": min(losses), "max": max(losses)}
    assert [float(row["test_loss"]) for row in rows[:2]] == losses
    table = run(capsys, *flags, *words).out
    assert "4 combinations, 2 epochs, 2 seeds: median [min..max]" in table
    assert f"ReLU        4x2           90     {np.mean(losses):.3f} [{min(losses):.3f}..{max(losses):.3f}]" in table
    assert "best" not in table and PAGE not in table  # noise=90 has no URL


@pytest.mark.slow
def test_a_sweep_ends_with_the_url_of_its_best_network(capsys):
    words = (
        "seed=1&noise=5",
        "--epochs=3",
        "--seeds=2",
        "--sweep",
        "learningRate=0.00001,0.03",
        "networkShape=4x2,none",
    )
    *_, best, page = run(capsys, *words).out.splitlines()
    medians = {
        (rate, shape): np.median(
            [
                history.losses[-1]["test"]
                for history in playground.run_seeds(
                    State(learningRate=rate, networkShape=shape, noise=5, seed="1"), 3, ["1", "1-2"]
                )
            ]
        )
        for rate in (0.00001, 0.03)
        for shape in ((4, 2), ())
    }
    rate, shape = min(medians, key=medians.get)
    assert page == f"page      {State(learningRate=rate, networkShape=shape, noise=5, seed='1').to_url()}"
    assert best.startswith(f"best      learningRate={rate:.5f}".rstrip("0")) and best.endswith(
        "lowest median test loss"
    )


def test_a_sweep_without_test_points_names_no_best_network(capsys):
    out = run(capsys, "seed=1&percTrainData=100", "--epochs=0", "--sweep", "activation=relu,tanh").out
    assert "best" not in out and PAGE not in out


@pytest.mark.parametrize(
    "words, error",
    [
        (["activaton=relu"], "received 'activaton=relu'; did you mean 'activation'?"),
        (["activation"], "expected values after activation=, received none; try --sweep activation=relu,tanh"),
        (["networkShape=4x0"], "received 0; try --sweep networkShape=4,8x2 (x separates layers"),
        (["activation=rely"], "expected one of relu, tanh, sigmoid, linear, received 'rely'"),
        (["networkShape=4x"], "networkShape: expected a number, received ''"),
        (["x=yes"], "x: expected true or false, received 'yes'"),
        (["noise=1", "noise=2"], "expected each key once, received noise twice"),
        (["noise=" + ",".join(map(str, range(40))), "batchSize=" + ",".join(map(str, range(1, 40)))], "at most 500"),
    ],
)
def test_sweep_with_a_fault(words, error):
    with pytest.raises(UserError) as raised:
        sweep.combinations(State(), words)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    "argv, error",
    [
        (["--exercise=3", "--epochs=4"], "--exercise cannot be combined with --epochs"),
        (["seed=1", "--exercise=3"], "--exercise cannot be combined with a URL"),
        (["--sweep", "noise=1", "--figure=a.png"], "--sweep cannot be combined with --figure"),
        (["seed=1", "seed=2"], "received 'seed=2'"),
        (["--seeds=0"], "--seeds: expected a whole number from 1 to 1,000, received 0"),
        (["--csv=/"], "--csv=/: expected a file, received a directory; try another path"),
        (["--figure=a.bmp"], "--figure=a.bmp: expected a name that ends in"),
        (["--data=/no/such.csv"], "/no/such.csv: expected a CSV file, received: No such file or directory"),
    ],
)
def test_flags_with_a_fault(argv, error):
    with pytest.raises(UserError) as raised:
        program.main(argv)
    assert error in str(raised.value)


@pytest.mark.slow
def test_a_process_of_its_own_without_frameworks():
    code = (
        "import sys; from mnist_mlp.lab.playground import command as p; p.main(['seed=1', '--epochs=1']);"
        "assert not {'tensorflow', 'keras', 'jax', 'matplotlib', 'PIL'} & set(sys.modules)"
    )
    done = fork_server.run_code(code, backend=None)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_error_is_one_line_with_exit_code_2():
    done = fork_server.run("lab.playground", "batchSize=x", backend=None)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: batchSize: expected a number, received 'x'; try batchSize=10, or omit it\n"
