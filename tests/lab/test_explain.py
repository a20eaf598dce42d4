"""What explain claims: checked on the running network, and refuted where that is broken."""

import functools
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fork_server import run
from helpers.programs import Collector

from mnist_mlp import devices
from mnist_mlp.errors import UserError
from mnist_mlp.lab.explain import command as explain
from mnist_mlp.models import initialization

pytestmark = pytest.mark.xla(False)

QUESTIONS = {  # and how many claims stand under each, on the digits
    "How many layers are there, and how many are hidden?": 2,
    "Is Flatten a dense layer?": 2,
    "How many parameters, and why?": 4,
    "How many points are in the training set? What do 1875 and 313 mean?": 5,
    "What are a batch, a step and an epoch, and what does a step cost?": 4,
    "What is the loss before training?": 2,
    "Does the loss fall during training?": 2,
    "Should the last layer be a sigmoid?": 3,
    "What is the final test accuracy?": 1,
    "Does it overfit?": 1,
    "What happens without the hidden layers?": 2,
    "What if the pixels stay at 0 to 255, as in the lecture?": 1,
}
CHANCE = {"Does it overfit?", "hidden layers help", "the accuracy is lower"}  # where 360 images may not decide


def row(claim="a claim", holds=True):
    return {"question": "?", "claim": claim, "arithmetic": "1 + 1", "measured": "2", "holds": holds}


def test_columns_stand_below_each_other():
    text = explain.columns(("word " * 20, "1 + 1 = 2", "measured " * 9), mark="✓")
    first, *others = text.splitlines()
    assert first.startswith("✓ word") and len(others) == 2 and all(line.startswith("  word") for line in others)
    assert first.index("1 + 1") == 2 + explain.WIDTHS[0] + 2
    assert others[0].index("measured") == first.index("measured")
    assert max(map(len, text.splitlines())) <= 120


def test_the_end_counts_what_holds():
    rows = [row(), row(), row(holds=None), row(holds=False)]
    assert explain.closing(rows, 1.25).strip() == "4 claims: 2 ✓, 1 ✗, 1 – (these data cannot decide); 1.2 s"
    assert "–" not in explain.closing(rows[:2], 1)


@pytest.mark.parametrize("flags", [["--epochs=1"], ["--seeds=1"], ["--strategy=multiworker"], ["--model=mlp"]])
def test_flags_that_are_refused(flags):
    with pytest.raises(UserError, match=flags[0].partition("=")[0]):
        explain.main(flags)


@pytest.mark.parametrize("holds", [True, None, False])
def test_a_claim_that_does_not_hold_is_an_exit_code(monkeypatch, capsys, holds):
    found = {"claims": [row(), row("grass is blue", holds)]}
    monkeypatch.setattr(explain, "explain", lambda options, reporter: found)
    if holds is False:
        with pytest.raises(explain.Refuted, match="grass is blue") as refuted:
            explain.main(["--json"])
        assert refuted.value.exit_code == 4
    else:
        explain.main(["--json"])
    assert json.loads(capsys.readouterr().out) == found


@pytest.fixture(scope="module")
def lesson(digits):
    from mnist_mlp.lab.explain.lesson import Lesson

    plan = devices.plan(SimpleNamespace(strategy="cpu", backend="tensorflow"))
    return Lesson(plan, digits, 32, 3, [0, 1])


@pytest.fixture
def changed(lesson, monkeypatch):
    """A function that replaces a method of the engine for one test: what was measured before is forgotten."""

    def change(name, method):
        monkeypatch.setattr(lesson.engine, name, functools.partial(method, getattr(lesson.engine, name)))

    for name in ("frozen", "trained"):
        lesson.__dict__.pop(name, None)
    yield change
    for name in ("frozen", "trained"):
        lesson.__dict__.pop(name, None)


def verdicts(claims):
    return [claim.holds for claim in claims]


@pytest.mark.full  # in the lecture's notebook, too
def test_all_of_it_on_the_digits(digits, full):
    report, began = Collector(), time.perf_counter()
    options = explain.Options(dataset="digits", strategy="cpu", **({} if full else {"epochs": 2, "seeds": 2}))
    found = explain.explain(options, dataset=digits, reporter=report)
    assert 0 < found["seconds"] < time.perf_counter() - began
    rows = json.loads(json.dumps(found["claims"], allow_nan=False))
    assert {q: sum(row["question"] == q for row in rows) for q in QUESTIONS} == QUESTIONS and len(rows) == 29
    for row in rows:
        assert row["holds"] is True or row["holds"] is None and {row["question"], row["claim"]} & CHANCE, row
    measured = "\n".join(f"{row['arithmetic']} | {row['measured']}" for row in rows)
    for number in (
        *("784 → 128 → 64 → 10", "(784 + 1) · 128 = 100,480", "(128 + 1) · 64 = 8,256", "(64 + 1) · 10 = 650"),
        *("100,480 + 8,256 + 650 = 109,386 | 109,386 numbers", "282,240 of 282,240", "7,850 parameters"),
        *("1437/32 → 45 | 45 updates", "360/32 → 12 | 12 batches; 360 answers", "index arrays of 1875 and 313"),
        *("1875 = 6 · 313 − 3", "45 of 45 batches", "−ln(1/10) = 2.3026", "| 255 times", "360 of 360 images"),
    ):
        assert number in measured
    assert max(map(len, "\n".join(report.lines).splitlines())) <= 120
    assert all(f"\n{question}\n" in "\n".join(report.lines) for question in QUESTIONS)
    assert "29 claims: " in report.lines[-1] and " 0 ✗" in report.lines[-1]


@pytest.mark.full
def test_on_jax(tmp_path):
    flags = ["--dataset=digits", "--backend=jax", "--strategy=cpu", "--json", "--epochs=2", "--seeds=2"]
    done = run("lab.explain", *flags, backend="jax")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["backend"] == "jax" and found["seeds"] == [0, 1] and len(found["claims"]) == 29
    assert not [row for row in found["claims"] if row["holds"] is False]
    (flops,) = [row["measured"] for row in found["claims"] if "operations" in row["claim"]]
    assert 14_540_800 < int(flops.split()[0].replace(",", "")) < 17_000_000 and "XLA program" in flops


@pytest.mark.slow
def test_an_engine_that_leaves_an_image_out_is_found(lesson, changed):
    from mnist_mlp.lab.explain.before_training import take_steps

    def twice_the_first(train, order, *part):
        return train(np.where(order == order[-1, 0], order[0, 0], order), *part)

    changed("train", twice_the_first)
    assert verdicts(take_steps(lesson)) == [True, True, False, True]


@pytest.mark.slow
def test_an_engine_that_steps_twice_is_found(lesson, changed):
    from mnist_mlp.lab.explain.before_training import count_steps, take_steps

    def twice(train, order, *part):
        train(order, *part)
        return train(order, *part)

    changed("train", twice)
    assert verdicts(take_steps(lesson))[1] is False
    assert verdicts(count_steps(lesson)) == [True, False, True, True, True]


@pytest.mark.slow
def test_a_step_that_heeds_the_order_of_its_images_is_found(lesson, changed):
    from mnist_mlp.lab.explain.before_training import take_steps

    changed("train", lambda train, order, *part: train(np.where(np.arange(order.shape[1]) < 31, order, -1), *part))
    assert verdicts(take_steps(lesson))[0] is False


@pytest.mark.slow
def test_an_evaluation_that_drops_the_last_batch_is_found(lesson, changed):
    from mnist_mlp.lab.explain.before_training import count_steps

    def without_the_last(evaluate, split):
        counts = evaluate(split)
        return SimpleNamespace(total=counts.total - 8)

    changed("evaluate", without_the_last)
    assert verdicts(count_steps(lesson)) == [True, True, False, True, True]


@pytest.mark.slow
@pytest.mark.parametrize("counted", [20_963_328, 14_440_448])  # a gradient of the pixels too; no gradient of a kernel
def test_other_arithmetic_of_a_step_is_found(lesson, changed, counted):
    from mnist_mlp.lab.explain.before_training import count_flops

    assert count_flops(lesson, 1e-4).holds
    changed("step_flops", lambda step_flops: float(counted))
    assert not count_flops(lesson, 1e-4).holds


@pytest.mark.slow
def test_sigmoids_in_the_place_of_softmax_are_found(lesson, changed):
    from mnist_mlp.lab.explain.after_training import look_at_softmax
    from mnist_mlp.lab.explain.before_training import count_layers
    from mnist_mlp.lab.explain.lesson import logits_of

    assert verdicts(look_at_softmax(lesson)) == [True, True, True]
    changed("predict", lambda predict, images: 1 / (1 + np.exp(-logits_of(lesson.model, images))))
    assert verdicts(look_at_softmax(lesson)) == [True, False, True]
    assert verdicts(count_layers(lesson)) == [False, True]
    changed("predict", lambda predict, images: np.full((len(images), 10), 0.1) - 1e-3 * np.eye(10)[0])
    assert verdicts(look_at_softmax(lesson))[2] is False


@pytest.mark.slow
def test_other_parameters_are_found(lesson, changed):
    from mnist_mlp.lab.explain.before_training import count_parameters

    changed("state", lambda state: {**state(), "model/more/bias": np.zeros(1)})
    assert verdicts(count_parameters(lesson)) == [True, True, True, False]


@pytest.mark.slow
def test_a_flatten_that_turns_the_image_is_found(lesson, monkeypatch):
    from mnist_mlp.lab.explain.before_training import look_at_flatten

    monkeypatch.setattr(
        lesson.model.get_layer("flatten"), "call", lambda x: np.swapaxes(np.asarray(x), 1, 2).reshape(len(x), -1)
    )
    assert verdicts(look_at_flatten(lesson)) == [True, False]


@pytest.mark.slow
def test_other_initial_weights_raise_the_loss(lesson, monkeypatch):
    from mnist_mlp.lab.explain.after_training import loss_at_the_start

    draw = initialization.draw
    monkeypatch.setattr(initialization, "draw", lambda *where: 2 * draw(*where))
    assert verdicts(loss_at_the_start(lesson)) == [False, True]
    monkeypatch.setattr(initialization, "draw", lambda *where: draw(*where) + 0.01)  # biases too: no longer 255 times
    assert verdicts(loss_at_the_start(lesson))[1] is False


@pytest.mark.slow
def test_a_loss_that_does_not_fall_is_found(lesson, changed):
    from mnist_mlp.lab.explain.after_training import follow_the_loss

    up = SimpleNamespace(losses=np.array([1.0, 0.9, 1.1]), step_losses=np.array([3.0, 2.0, 1.0]))
    lesson.trained = SimpleNamespace(curves=[up])
    assert verdicts(follow_the_loss(lesson)) == [False, False]
    whole = SimpleNamespace(batch_size=2000, dataset=lesson.dataset, trained=lesson.trained)
    assert verdicts(follow_the_loss(whole)) == [False, None]


@pytest.mark.slow
def test_a_difference_is_claimed_only_where_there_is_one():
    from mnist_mlp.lab.explain.after_training import compare, sign
    from mnist_mlp.lab.explain.lesson import Trained

    rng = np.random.default_rng(0)
    good, bad, as_good = (Trained([], rng.random((3, 5000)) < share) for share in (0.97, 0.92, 0.97))
    assert compare(good, bad)[1] is True and compare(bad, good)[1] is False
    text, answer = compare(good, as_good)
    assert answer is None and text.endswith("too close to call with 5,000 images and 3 seeds")
    two_wrong = Trained([], np.arange(20) > np.ones((3, 1)))  # each seed says the same, of 20 images
    assert compare(Trained([], np.ones((3, 20), bool)), two_wrong)[1] is None
    assert (sign(0.1, 0.2), sign(-0.2, -0.1), sign(-0.1, 0.2)) == (True, False, None)


@pytest.mark.slow
def test_overfitting_is_what_test_images_say(lesson, changed):
    from mnist_mlp.lab.explain.after_training import compare_train_and_test

    correct = lesson.trained.correct
    lesson.trained = SimpleNamespace(correct=np.zeros_like(correct))
    (claim,) = compare_train_and_test(lesson)
    assert claim.holds is True and "0.00%" in claim.measured
    lesson.trained = SimpleNamespace(correct=np.ones_like(correct))
    (claim,) = compare_train_and_test(lesson)
    assert claim.holds is False
