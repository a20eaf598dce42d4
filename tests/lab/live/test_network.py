"""The page's engine against numbers of the Playground's own code, and against the Playground in Python."""

import json
from pathlib import Path

import pytest
from helpers import node

VECTORS = json.loads((Path(__file__).parents[1] / "playground/playground_vectors.json").read_text())

pytestmark = [node.needs_node, pytest.mark.slow]


def check_vectors(results):
    for vector, result in zip(VECTORS, results, strict=True):
        assert result["train_points"][:3] == vector["first_train_points"]
        points = result["train_points"] + result["test_points"]
        assert sum(label > 0 for *_, label in points) == vector["positives"]
        assert result["initial_parameters"][: len(vector["initial_parameters"])] == vector["initial_parameters"]
        assert {epoch: result["losses"][int(epoch)] for epoch in vector["losses"]} == vector["losses"]
        assert result["dead_weights"] == vector["dead_weights"]


def test_the_vectors_of_the_playground_to_the_last_bit():
    script = "const { run } = await page('network.js'); return value.map(([url, epochs]) => run(url, epochs));"
    check_vectors(node.evaluate(script, [(v["url"], max(map(int, v["losses"]))) for v in VECTORS]))
