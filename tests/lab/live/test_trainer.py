"""What the page does with a network beside training it from start to end."""

import csv
import io
import json
import math

import numpy as np
import pytest
from helpers import node

from mnist_mlp.lab import playground
from mnist_mlp.lab.playground.network import initial_parameters
from mnist_mlp.lab.playground.points import split_points
from mnist_mlp.lab.playground.random_stream import Stream
from mnist_mlp.lab.playground.url_state import State

pytestmark = [node.needs_node, pytest.mark.slow]

IMPORTS = """
    const { Trainer, run } = await page("network.js");
    const { parse } = await page("state.js");
    const open = (url) => new Trainer(parse(url).state);
"""
URLS = (
    "seed=1&batchSize=7&networkShape=3",
    "seed=2&batchSize=10&dataset=spiral&regularization=L1&regularizationRate=0.1",
    "seed=3&batchSize=2.5&percTrainData=33",
)


def evaluate(script, value=None):
    return node.evaluate(IMPORTS + script, value)


def test_single_batches_add_up_to_epochs():
    script = """
        return value.map((url) => {
          const [whole, single, mixed] = [open(url), open(url), open(url)];
          for (let i = 0; i < 4; i++) whole.trainEpoch();
          while (single.epoch < 4) single.step();
          mixed.step(3);
          mixed.trainUntil(2);
          mixed.step();
          mixed.trainEpoch();
          mixed.trainUntil(4);
          const kinds = [whole, single, mixed];
          return kinds.map((each) => [each.epoch, each.history, each.position ? null : each.parameters()]);
        });
    """
    for whole, single, mixed in evaluate(script, URLS):
        assert whole[:2] == mixed[:2] and whole[2] == mixed[2]
        assert single[0] == 4 and single[1] == whole[1]
        assert single[2] in (None, whole[2])  # a step of leftovers ends within the next epoch


def test_a_step_is_one_update():
    script = """
        const trainer = open("seed=1&batchSize=7&percTrainData=10");  // 50 points: 7 batches and a sample left over
        const seen = [];
        for (let i = 0; i < 9; i++) {
          const before = trainer.parameters();
          trainer.step();
          const moved = trainer.parameters().every((each, k) => each !== before[k]);
          seen.push([trainer.epoch, trainer.position, moved, trainer.history.train.length]);
        }
        const never = open("seed=1&batchSize=60&percTrainData=10");
        never.step();
        return { seen, never: [never.epoch, never.position], empty: open("percTrainData=0").step() ?? null };
    """
    found = evaluate(script)
    epochs = [[0, 7 * i, True, 1] for i in range(1, 8)] + [[1, 7, True, 2], [1, 14, True, 2]]
    assert found["seen"] == epochs
    assert found["never"] == [1, 0] and found["empty"] is None


def test_reset_and_regenerate_go_on_with_the_one_stream():
    script = """
        const trainer = open("seed=first&dataset=xor&noise=10");
        const seen = [trainer.parameters()];
        trainer.trainEpoch();
        trainer.reset();
        seen.push(trainer.parameters(), trainer.epoch, trainer.history.train.length);
        const trained = (trainer.trainEpoch(), trainer.parameters());
        trainer.regenerate();
        const same = JSON.stringify(trained) === JSON.stringify(trainer.parameters());
        seen.push(same, trainer.state.seed, trainer.train, trainer.losses());
        trainer.reset({ networkShape: [3], sinX: true });
        seen.push(trainer.parameters());
        return seen;
    """
    first, second, epoch, recorded, same, seed, train, losses, third = evaluate(script)
    state = State(seed="first", dataset="xor", noise=10)
    stream = Stream("first")
    split_points(state, stream)
    assert first == initial_parameters(state, stream).tolist()
    assert second == initial_parameters(state, stream).tolist()
    assert (epoch, recorded, same) == (0, 1, True)  # the button for new points leaves the weights
    assert seed == f"{stream.random():.5f}"
    stream = Stream(seed)
    points, _ = split_points(state, stream)
    assert [(point["x"], point["y"], point["label"]) for point in train] == points
    assert all(0 < loss < 2 for loss in losses.values())
    wider = State(networkShape=(3,), sinX=True, seed="first")
    assert third == initial_parameters(wider, stream).tolist()


def test_a_seed_for_the_weights_alone():
    script = """
        const trainer = open("seed=a&weightsSeed=w");
        const first = trainer.parameters();
        trainer.trainEpoch();
        trainer.reset();
        const zero = open("initZero=true&weightsSeed=w").parameters();
        return { first, again: trainer.parameters(), train: trainer.train, plain: open("seed=a").train, zero };
    """
    found = evaluate(script)
    assert found["first"] == found["again"] == initial_parameters(State(seed="a"), Stream("w")).tolist()
    assert found["train"] == found["plain"]
    assert set(found["zero"]) == {0}


def test_weights_by_hand():
    script = """
        const trainer = open("seed=1&dataset=gauss&networkShape=&regularization=L1&regularizationRate=0.3");
        trainer.setWeight(1, 0, 0, 0.5);
        trainer.setWeight(1, 0, 1, 0.25);
        trainer.setBias(1, 0, -1);
        const seen = { losses: trainer.losses(), accuracy: trainer.accuracy(), output: trainer.output(2, 4) };
        seen.weights = [trainer.weight(1, 0, 1), trainer.bias(1, 0), trainer.parameters()];
        trainer.setWeight(1, 0, 1, 1e-9);
        trainer.change({ learningRate: 1 });
        trainer.trainEpoch();
        seen.dead = [trainer.isDead(1, 0, 0), trainer.isDead(1, 0, 1), trainer.deadWeights()];
        trainer.change({ batchSize: 100 });  // so that gradients wait for an update
        trainer.trainEpoch();
        for (const input of [0, 1]) trainer.setWeight(1, 0, input, 0.5);
        seen.waiting = [...trainer.layers[0].weightSums];
        seen.revived = [trainer.deadWeights(), trainer.weights()];
        seen.points = [trainer.train, trainer.test];
        trainer.setBias(1, 0, Infinity);
        seen.finite = trainer.finite;
        try { trainer.change({ networkShape: [3] }); } catch (error) { seen.refused = error.message; }
        return seen;
    """
    found = evaluate(script)
    for part, points in zip(("train", "test"), found["points"], strict=True):
        outputs = [math.tanh(-1 + 0.5 * point["x"] + 0.25 * point["y"]) for point in points]
        errors = [(output - point["label"]) ** 2 / 2 for output, point in zip(outputs, points, strict=True)]
        assert found["losses"][part] == pytest.approx(sum(errors) / len(errors), rel=1e-12)
        correct = [(output >= 0) == (point["label"] > 0) for output, point in zip(outputs, points, strict=True)]
        assert found["accuracy"][part] == sum(correct) / len(correct)
    assert found["output"] == pytest.approx(math.tanh(1)) and found["weights"] == [0.25, -1, [-1, 0.5, 0.25]]
    assert any(found["dead"][:2]) and found["dead"][2] == sum(found["dead"][:2])
    assert found["revived"][0] == 0
    for waiting, dead in zip(found["waiting"], found["dead"], strict=False):
        assert (waiting == 0) == dead  # while it was dead no gradient counted
    assert found["revived"][1][0]["nodes"][0]["weights"] == [0.5, 0.5]
    assert found["finite"] is False and "networkShape cannot change while training" in found["refused"]


def test_own_points_replace_the_data_set():
    points = [{"x": i / 2, "y": -i / 3, "label": 1 if i % 2 else -1} for i in range(20)]
    script = """
        const state = { ...parse("seed=own&batchSize=3").state, ownPoints: value };
        const own = run(state, 5);
        const trainer = open("seed=own&batchSize=3");
        trainer.trainEpoch();
        const before = trainer.parameters();
        trainer.replacePoints({ ownPoints: value });
        const same = before.join() === trainer.parameters().join();
        const seen = { own, epoch: trainer.epoch, train: trainer.train, same };
        trainer.replacePoints({ ownPoints: [] });
        trainer.step(2);
        return { ...seen, none: trainer.losses(), maps: trainer.maps(4).length };
    """
    found = evaluate(script, points)
    rows = [[point["x"], point["y"], point["label"]] for point in points]
    history = playground.run("seed=own&batchSize=3", 5, points=rows).to_dict()
    for name in ("train_points", "test_points", "parameters", "initial_parameters", "own_points"):
        assert found["own"][name] == history[name]
    assert [list(point.values()) for point in found["train"]] == history["train_points"]
    assert found["epoch"] == 1 and found["same"] is True
    assert found["none"] == {"train": None, "test": None} and found["maps"] == 4


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "linear"])
def test_outputs_and_maps_of_all_nodes(activation):
    url = f"seed=5&dataset=xor&networkShape=5,3&xTimesY=true&sinX=true&sinY=true&activation={activation}"
    script = """
        const trainer = open(value);
        trainer.trainUntil(30);
        const size = 12;
        const [xs, ys] = [[], []];
        for (let row = 0; row < size; row++) {
          for (let column = 0; column < size; column++) xs.push(-6 + column + 0.5), ys.push(6 - row - 0.5);
        }
        const plain = (maps) => maps.map((nodes) => nodes.map((map) => [...map]));
        const before = plain(trainer.maps(size));
        trainer.setBias(3, 0, 0.5);
        const seen = { before, outputs: plain(trainer.outputs(xs, ys)), maps: plain(trainer.maps(size)), xs, ys };
        trainer.reset({ networkShape: [2] });
        return { ...seen, parameters: trainer.sizes, smaller: plain(trainer.maps(size)).map((nodes) => nodes.length) };
    """
    found = evaluate(script, url)
    history = playground.run(url, 30)
    parameters = np.array(history.parameters)
    parameters[-4] = 0.5  # the bias of the output, before its three weights
    values = history.activations(np.stack([found["xs"], found["ys"]], axis=1), parameters.tolist())
    for ours, maps, expected in zip(found["outputs"], found["maps"], values, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(maps, expected, rtol=1e-6, atol=2e-5)
    assert found["before"][:3] == found["maps"][:3] and found["before"][3] != found["maps"][3]
    assert found["smaller"] == found["parameters"] == [5, 2, 1]


def test_a_large_network_and_a_budget_of_time():
    script = """
        const trainer = open("seed=1&networkShape=300,300");
        const began = performance.now();
        const reached = trainer.trainUntil(1000, 50);
        const seconds = (performance.now() - began) / 1000;
        return { reached, seconds, begun: trainer.epoch + trainer.position };
    """
    found = evaluate(script)
    assert found["reached"] is False and found["begun"] > 0 and found["seconds"] < 3  # some 0.06 on an idle machine


def test_training_that_leaves_the_numbers():
    result = evaluate("return run('activation=linear&problem=regression&learningRate=10&seed=1', 20);")
    assert result["losses"][-1] == {"train": None, "test": None} and result["accuracy"] is None
    assert result["parameters"][0] is None


def test_exports():
    script = """
        const exports = await page("exports.js");
        const trainer = open("seed=5&sinX=true&networkShape=2&regularization=L1&regularizationRate=0.3");
        trainer.trainUntil(8);
        const names = ["data", "weights", "history"].flatMap((name) => [`${name}Csv`, `${name}Json`]);
        const texts = Object.fromEntries(names.map((name) => [name, exports[name](trainer)]));
        const { readCsv } = await page("read_csv.js");
        const broken = open("activation=linear&problem=regression&learningRate=10&seed=1");
        broken.trainUntil(30);
        const again = readCsv(texts.dataCsv).points.length;
        return { texts, again, broken: [exports.historyCsv(broken), exports.historyJson(broken)] };
    """
    found = evaluate(script)
    history = playground.run("seed=5&sinX=true&networkShape=2&regularization=L1&regularizationRate=0.3", 8)
    rows = {name: list(csv.DictReader(io.StringIO(text))) for name, text in found["texts"].items() if "Csv" in name}
    values = {name: json.loads(text) for name, text in found["texts"].items() if "Json" in name}
    data = rows["dataCsv"]
    assert [row["split"] for row in data] == ["train"] * 250 + ["test"] * 250 and found["again"] == 500
    points = history.train_points + history.test_points
    assert [[float(row[name]) for name in ("x", "y", "label")] for row in data] == points
    outputs = history.activations(np.array(points)[:, :2])[-1][0]
    np.testing.assert_allclose([float(row["output"]) for row in data], outputs, rtol=1e-11)
    assert values["dataJson"]["train_points"] + values["dataJson"]["test_points"] == points
    weights = rows["weightsCsv"]
    assert [float(row["value"]) for row in weights] == history.parameters
    assert [row["input"] for row in weights[:4]] == ["bias", "x", "y", "sinX"]
    assert sum(row["dead"] == "1" for row in weights) == history.dead_weights > 0
    assert [row["layer"] + row["node"] for row in weights][::4] == ["11", "12", "21"]
    layers = values["weightsJson"]["layers"]
    listed = [[node["bias"], *node["weights"]] for layer in layers for node in layer["nodes"]]
    assert sum(listed, []) == history.parameters and [layer["activation"] for layer in layers] == ["tanh", "tanh"]
    assert [[float(cell) for cell in row.values()] for row in rows["historyCsv"]] == [
        [epoch, *losses.values()] for epoch, losses in enumerate(values["historyJson"]["losses"])
    ]
    assert values["historyJson"]["losses"][8]["train"] == pytest.approx(history.losses[8]["train"], rel=1e-12)
    assert State.from_url(values["historyJson"]["url"]) == history.state
    text, broken = found["broken"]
    assert text.splitlines()[-1] == "30,nan,nan" and json.loads(broken)["losses"][-1] == {"train": None, "test": None}
