"""Addresses both ways, and addresses that ask for too much."""

import random

import pytest
from helpers import node

from mnist_mlp.lab.playground.url_state import PAGE, State

pytestmark = [node.needs_node, pytest.mark.slow]

PARSE = "const { parse } = await page('state.js'); return value.map((url) => parse(url));"


def test_every_state_has_an_address_that_both_read():
    draw = random.Random(4)
    states = []
    for _ in range(60):
        state = {
            "activation": draw.choice(["relu", "tanh", "sigmoid", "linear"]),
            "regularization": draw.choice(["none", "L1", "L2"]),
            "problem": draw.choice(["classification", "regression"]),
            "dataset": draw.choice(["circle", "xor", "gauss", "spiral"]),
            "regDataset": draw.choice(["reg-plane", "reg-gauss"]),
            "batchSize": draw.choice([1, 10, 31, 2.5, 1000, -3]),
            "learningRate": draw.choice([0.03, 1e-7, 123.456, 0, -1]),
            "regularizationRate": draw.choice([0, 0.001, 1e-9]),
            "noise": draw.choice([0, 12.5, 50, 80, 81, 1e6]),
            "percTrainData": draw.choice([0, 33.3, 50, 100]),
            "networkShape": [draw.randrange(1, 40) for _ in range(draw.choice([0, 1, 3, 12]))],
            "seed": draw.choice(["0.5", "%E6%97%A5", "a,b;c", "x" * 300, "100%"]),
            "tutorial": draw.choice(["", "dlc"]),
            "hidden": draw.choice([[], ["y", "playButton"]]),
            "weightsSeed": draw.choice([None, "7", "%C3%BC"]),
            "ownPoints": None,
        }
        for name in ("x", "y", "xTimesY", "sinY", "initZero", "showTestData", "discretize", "hideText"):
            state[name] = draw.random() < 0.5
        if draw.random() < 0.3:
            labels = [-1, 1] if state["problem"] == "classification" else [0.25, -3.0]
            state["ownPoints"] = [
                {"x": draw.uniform(-6, 6), "y": draw.uniform(-1e-9, 1e9), "label": draw.choice(labels)}
                for _ in range(draw.choice([1, 50]))
            ]
        states.append(state)
    script = """
        const { DEFAULTS, fragment, parse } = await page("state.js");
        return value.map((each) => {
          const state = { ...DEFAULTS, ...each };
          return { state, address: fragment(state), back: parse(fragment(state)) };
        });
    """
    for answer in node.evaluate(script, states):
        assert answer["back"] == {"state": answer["state"], "notes": answer["back"]["notes"]}
        assert all("there is no such feature" in note or "above 80" in note for note in answer["back"]["notes"])
        python = State.from_url(PAGE + answer["address"]).to_dict()
        expected = {name: value for name, value in answer["state"].items() if name in python}
        assert python == expected | {"noise": expected["noise"] if expected["noise"] <= 80 else 50}


def test_typed_texts_become_part_of_an_address():
    script = """
        const { DEFAULTS, fragment, parse, seedFrom } = await page("state.js");
        return value.map((text) => {
          const seed = seedFrom(text);
          const state = { ...DEFAULTS, seed, tutorial: seed, hidden: [seed], weightsSeed: seed };
          const raw = parse(fragment({ ...DEFAULTS, seed: text })).state.seed;
          const again = seedFrom(seed);
          return { seed, raw, again, same: parse(fragment(state)).state, state };
        });
    """
    texts = ["a&b=c#d", " ", "grün", '"<script>`', "\ud834\udd1e", "a\tb\n", "%41", "'\\"]
    answers = node.evaluate(script, texts)
    for answer in answers:
        assert answer["seed"] == answer["raw"] == answer["again"]
        assert answer["same"] == answer["state"]
    assert [answer["seed"] for answer in answers][:4] == ["a%26b%3Dc%23d", "%20", "gr%C3%BCn", "%22%3Cscript%3E%60"]


HOSTILE = {
    "#networkShape=" + ",".join(["8"] * 10_000): "at most 100 hidden layers",
    "#networkShape=1000000000": "whole numbers of neurons from 1 to 10000",
    "#networkShape=10000,10000": "at most 2000000 weights and biases",
    "#networkShape=4,-1": "whole numbers of neurons",
    "#networkShape=NaN": "whole numbers of neurons",
    "#networkShape": "expected = and numbers of neurons",
    "#batchSize=1e999": "batchSize: expected a number",
    "#learningRate=0x" + "f" * 1000: "learningRate: expected a number",
    "#percTrainData=-1": "percTrainData: expected a number from 0 to 100",
    "#exactNoise=1e7": "noise: expected a number from 0 to 1000000",
    "#activation=<script>alert(1)</script>": "“<script>alert(1)</script>” is not one of relu",
    "#activation=constructor": "is not one of relu",
    "#__proto__=1&constructor=2&toString=3": "“__proto__” is not a key",
    "#" + "&".join(f"k{i}=1" for i in range(100_000)): "more notes",
    "#points=" + ";".join(["1,2,1"] * 5000): "at most 2000",
    "#points=1,2,nan": "expected x,y,label",
    "#points=1,2": "expected x,y,label",
    "#points=1,2,3": "expected labels -1 and 1",
    "https://playground.tensorflow.org/?batchSize=3": "keys before the #",
    "https://playground.tensorflow.org/": "nothing after a #",
    "hello": "expected a Playground address",
    "hello#batchSize=10": "“hello” before the # has no effect",
    "a" * 10_000_000: "expected a Playground address",
    "#seed=" + "=" * 100_000: "",
    "#noise=%": "noise: expected a number",
    "#noise=%FF": "noise: expected a number",
}


def test_what_no_run_can_take_is_noted_and_left_out():
    answers = node.evaluate(PARSE, list(HOSTILE))
    for (address, note), answer in zip(HOSTILE.items(), answers, strict=True):
        assert any(note in each for each in answer["notes"]) or not note, (address[:60], answer["notes"])
        assert len(answer["notes"]) <= 21 and all(len(each) < 250 for each in answer["notes"])
        state = answer["state"]
        assert (state["networkShape"], state["batchSize"], state["ownPoints"]) == ([4, 2], 10, None)
        assert (state["activation"], state["noise"], state["learningRate"]) == ("tanh", 0, 0.03)


def test_a_missing_seed_is_drawn():
    answers = node.evaluate(PARSE, ["", "#", "#seed=", "x=true", "#seed= &batchSize= &x= &noise=%20&y=true"])
    seeds = {answer["state"]["seed"] for answer in answers}
    assert len(seeds) == 5 and all(0 <= float(seed) < 1 and len(seed) == 7 for seed in seeds)
    assert [answer["notes"] for answer in answers[2:4]] == [[], []]
    decoded, refused = answers[4]["notes"]  # %20 is no blank
    assert "noise=%20: read as  ;" in decoded and "noise: expected a number" in refused
