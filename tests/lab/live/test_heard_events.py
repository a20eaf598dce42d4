"""What the page of the runs makes of their events, in Node: curves of bounded size, points that a resume makes void."""

import pytest
from helpers import node

pytestmark = [pytest.mark.slow, node.needs_node]

HEAR = """
    const { Runs, titleOf } = await page('training/runs.js');
    const runs = new Runs();
    for (const event of value) runs.hear({ run: 'a', ...event });
    const { points, scores, rates, state, message, goes_on: goesOn } = runs.run('a');
    return { points, scores, rates, state, message, goesOn, title: titleOf(runs.run('a')) };
"""


def step(number, **values):
    return {"kind": "step", "step": number, "loss": 1.0, "accuracy": 0.5, "images": 32, **values}


def test_a_long_run_has_few_points_with_the_same_means():
    """What is drawn of a run of hours: sums of neighbours, weighted by their images; the newest values stay."""
    count = 30_000
    events = [step(k, loss=k % 100, images=32 if k % 2 else 64, learning_rate=k) for k in range(1, count + 1)]
    points = node.evaluate(HEAR, events)["points"]
    assert 500 < len(points) <= 2000
    assert sum(point["images"] for point in points) == sum(event["images"] for event in events)
    losses = sum(event["loss"] * event["images"] for event in events)
    assert sum(point["loss"] * point["images"] for point in points) == pytest.approx(losses, rel=1e-9)
    assert [points[-1][name] for name in ("step", "learning_rate")] == [count, count]
    steps = [point["step"] for point in points]
    gaps = {after - before for before, after in zip(steps, steps[1:], strict=False)}
    assert len(gaps) <= 2, "evenly, but for the last one, which is still growing"


def test_a_loss_that_is_no_number_is_kept_as_such():
    points = node.evaluate(HEAR, [step(1), step(2, loss=None)])["points"]
    assert [point["loss"] for point in points] == [1, None]


def test_points_after_the_checkpoint_from_which_a_run_goes_on_are_void():
    score = {"kind": "scores", "split": "test", "loss": 0.1, "accuracy": 0.9, "interval": [0.8, 1.0]}
    events = [
        {"kind": "begin", "step": 0, "rates": []},
        step(10),
        {**score, "step": 10},
        step(20),
        {**score, "step": 20},
    ]
    resumed = [{"kind": "begin", "step": 10, "rates": [{"step": 5, "from": 1, "to": 2}]}, step(15)]
    found = node.evaluate(HEAR, [*events, *resumed])
    assert [point["step"] for point in found["points"]] == [10, 15]
    assert [each["step"] for each in found["scores"]] == [10] and found["rates"] == resumed[0]["rates"]


def test_how_a_run_stands_and_what_it_is_called():
    options = {
        "preset": "lecture",
        "model": "wide",
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "epochs": 3,
        "strategy": "cpu",
    }
    standing = {"kind": "run", "state": "stopped", "message": "its process was killed", "ordered": 1, "goes_on": True}
    found = node.evaluate(HEAR, [{"kind": "state", "state": "training"}, {**standing, "options": options}])
    assert (found["state"], found["message"], found["goesOn"]) == ("stopped", "its process was killed", True)
    assert found["title"] == "lecture: wide, sgd, rate 0.1, epochs 3"
    assert node.evaluate(HEAR, [{"kind": "of the future"}])["title"] == "mlp"
