"""The lecture's exercises on the Playground: their measures, their verdicts, and that the earlier figures come."""

import dataclasses
import functools
import hashlib
import json
import pickle
import statistics

import numpy as np
import pytest
from helpers.once import once
from helpers.programs import Collector

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.errors import UserError
from mnist_mlp.lab.playground import State, command, exercises, run, run_seeds
from mnist_mlp.lab.playground.exercises import measures, parts


def with_curve(curve) -> object:
    """A run with this training loss."""
    history = run(State(seed="0", networkShape=()), 0)
    return dataclasses.replace(history, losses=[{"train": float(value), "test": 0.0} for value in curve])


def test_all_ten_are_there_and_can_be_opened_on_the_page():
    assert list(exercises.EXERCISES) == list(range(1, 11))
    for exercise in exercises.EXERCISES.values():
        for trial in exercise.trials:
            assert State.from_url(trial.state.to_url()) == trial.state and not trial.state.notes
            assert trial.state.seed == "0"


def test_an_unknown_exercise_is_refused():
    with pytest.raises(UserError, match="from 1 to 10, received 11"):
        exercises.run(11)


def test_a_restart_has_the_same_points_in_the_same_order_and_other_weights():
    state = State(dataset="gauss", noise=15, networkShape=(2,), percTrainData=30, seed="a")
    first = run(state, 2)
    again, other = exercises.restart(first, "a"), exercises.restart(first, "b")
    assert again.train_points == other.train_points == first.train_points
    assert other.test_points == first.test_points
    assert other.initial_parameters != first.initial_parameters and other.losses[-1] != first.losses[-1]
    assert len(other.losses) == 3 and not other.own_points  # they are the page's


def test_spread_is_median_and_range():
    assert parts.spread([0.3, 0.1, 0.9]) == "0.300 [0.100..0.900]" and parts.spread([0.25]) == "0.250"


@pytest.mark.parametrize(
    "losses, seeds, marks",
    [
        ((0.21, 0.1), 3, ["✓", "·", "·"]),  # too few seeds to judge the lecture's
        ((0.31, 0.1), 2, ["·", "·", "·"]),
        ((0.31, 0.1), 3, ["✗", "·", "·"]),  # outside the earlier range
        ((0.25, 0.1), 10, ["✓", "·", "✗"]),  # the lecture's training loss is not among ours
        ((0.25, 0.15), 10, ["✓", "·", "✓"]),
    ],
)
def test_verdicts_come_from_the_figures(losses, seeds, marks):
    trial = parts.Trial("t", State(seed="0"), test=parts.Measured(0.2, 0.1, 0.3), train=parts.Measured(0.1))
    trial = dataclasses.replace(trial, lecture=(0.25, 0.15))
    history = dataclasses.replace(with_curve([losses[1]]), losses=[{"test": losses[0], "train": losses[1]}])
    claims = list(parts.compare(trial, [history] * seeds))
    assert [claim.mark for claim in claims] == marks
    assert f"{losses[0]:.3f}" in claims[0].text and "0.200 [0.100..0.300]" in claims[0].text


def test_parameters_by_hand_give_the_loss_that_the_formula_gives():
    history = run(State(dataset="gauss", noise=25, networkShape=(), seed="0"), 0)
    by_hand = parts.with_parameters(history, (0.5, 1, -2))
    errors = [0.5 * (np.tanh(0.5 + x - 2 * y) - label) ** 2 for x, y, label in history.test_points]
    assert by_hand.losses[0]["test"] == pytest.approx(np.mean(errors), rel=1e-12)
    right = [(0.5 + x - 2 * y >= 0) == (label > 0) for x, y, label in history.test_points]
    assert by_hand.accuracy["test"] == pytest.approx(np.mean(right))
    untouched = parts.with_parameters(history, history.parameters)
    assert untouched.losses[0] == pytest.approx(history.losses[0])


def test_a_drop_after_a_plateau_is_found_where_it_is():
    curve = np.concatenate(
        [np.linspace(2, 1, 101), np.linspace(1, 0.8, 600), np.linspace(0.8, 0.1, 100), np.full(200, 0.1)]
    )
    drop = measures.drop_after_plateau(with_curve(curve))
    assert 100 <= drop.plateau <= 120 and 580 <= drop.epochs <= 600 and 700 <= drop.drop <= 800
    assert drop.slow == pytest.approx(1 / 3, rel=0.1) and drop.fast == pytest.approx(7, rel=0.1)  # per 1000 epochs


@pytest.mark.parametrize(
    "rates",
    [
        [1] * 50,
        [2.0 ** -(k / 5) for k in range(50)],
        [0] * 50,
        [1] * 20 + [0, 0] + [1] * 28,  # too short a plateau
        [0.4] * 25 + [1.6] * 25,  # too slow a fall
    ],
    ids=["steady", "ever slower", "not at all", "short", "slow"],
)
def test_no_plateau_where_the_loss_falls(rates):
    curve = 100 - np.concatenate([[0], np.cumsum(np.repeat(rates, 10))])
    assert measures.drop_after_plateau(with_curve(curve)) is None
    assert measures.drop_after_plateau(with_curve(np.ones(3))) is None


def test_the_largest_rise():
    assert measures.largest_rise(with_curve([5, 2, 3, 1, 2.5, 0])) == 1.5


@pytest.mark.parametrize(
    "values, labels, share, sign",
    [
        ([1, 2, 3, 4], [-1, -1, 1, 1], 1.0, 1),
        ([4, 3, 2, 1], [-1, -1, 1, 1], 1.0, -1),
        ([1, 2, 3, 4], [1, -1, -1, 1], 0.75, None),
        ([5, 5, 5, 5], [-1, 1, 1, 1], 0.75, None),  # equal values cannot be told apart
    ],
)
def test_the_best_threshold_of_a_neuron(values, labels, share, sign):
    values, labels = np.array(values, float), np.array(labels, float)
    right, threshold, found = measures.best_cut(values, labels)
    assert right == share and sign in (None, found)
    assert np.mean(found * np.where(values > threshold, 1, -1) == labels) == share


def test_networks_with_permuted_and_negated_neurons_are_alike():
    history = run(State(networkShape=(3,), seed="0"), 5)
    (first, last) = history.layers()
    turned = np.concatenate([first[[2, 0, 1]] * [[-1], [1], [1]], last[:, [0, 3, 1, 2]] * [1, -1, 1, 1]], axis=None)
    same = dataclasses.replace(history, parameters=turned.tolist())
    assert measures.alike(history, same) == pytest.approx(1) and measures.likeness(history, same) == pytest.approx(1)
    other = run(State(networkShape=(3,), seed="1"), 5)
    assert measures.alike(history, other) < 0.99


def check(answer, number, seeds):
    """What every answer has to be: claims that hold, and JSON."""
    assert answer["number"] == number and json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert all(len(each["seeds"]) == len(each["test"]) == seeds for each in answer["runs"])
    assert [claim["text"] for claim in answer["claims"] if claim["holds"] is False] == []
    assert sum(claim["holds"] is True for claim in answer["claims"]) >= 2


@pytest.mark.parametrize("number", [1, 2])
def test_what_needs_no_training(number):
    report = Collector()
    check(exercises.run(number, seeds=1, reporter=report), number, 1)
    assert report.lines[0].startswith(f"Exercise {number}: ") and any("https://" in line for line in report.lines)
    assert any(line.startswith("✓ ") for line in report.lines)


SHORTER = {"1 tanh": 500, "3 tanh": 500, "4 tanh": 500}  # what is claimed holds by then


@pytest.fixture
def kept(tmp_path_factory, monkeypatch, full):
    """`train` of the exercises, whose runs are made once in this session, by whoever first needs them."""
    train = exercises.train
    if not full:  # what is claimed does not hang on the last bit, which takes half of the time
        monkeypatch.setattr(exercises.history, "EXACT", 1)

    def look_up(trial, seeds):
        if not full:
            trial = dataclasses.replace(trial, epochs=SHORTER.get(trial.name, trial.epochs))

        def make(place):
            runs = train(trial, [str(seed) for seed in range(exercises.SEEDS)])
            (place / "runs.pickle").write_bytes(pickle.dumps(runs))

        asked = f"{trial.state} {trial.epochs} {trial.same_data}"
        place = once(tmp_path_factory, f"playground-{hashlib.sha256(asked.encode()).hexdigest()[:16]}", make)
        return pickle.loads((place / "runs.pickle").read_bytes())[: len(seeds)]

    monkeypatch.setattr(exercises, "train", look_up)
    return look_up


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [3, 5, *(pytest.param(number, marks=pytest.mark.full) for number in (4, 6, 7, 8, 9, 10))]
)
def test_the_claims_of_an_exercise_hold(number, kept, tmp_path):
    file = tmp_path / "figure.png"
    check(exercises.run(number, reporter=SILENT, figure=file), number, exercises.SEEDS)
    assert file.stat().st_size > 20_000


# The lecture's figures: the median and range of ten seeds measured before, test and train.
LECTURE = {
    "gauss": (3, "gauss", 815, (0.0, 0.001), (0.0, 0.001)),
    "gauss, noise 15": (4, "new data", 815, (0.003, 0.033), (0.009, 0.029)),
    "circle": (5, "x and y", 1500, (0.495, 0.530), (0.486, 0.510)),
    "spiral, tanh": (8, "tanh", 859, (0.056, 0.431), (0.010, 0.282)),
    "spiral, relu": (8, "relu", 859, (0.020, 0.108), (0.000, 0.032)),
    "spiral, sigmoid": (8, "sigmoid", 859, (0.500, 0.509), (0.499, 0.501)),
    "spiral, linear": (8, "linear", 859, (0.467, 0.487), (0.459, 0.479)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, name, epochs, test, train",
    # The spirals are those of exercise 8, whose runs take longest.
    [pytest.param(*row, id=name, marks=[pytest.mark.full] * ("spiral" in name)) for name, row in LECTURE.items()],
)
def test_the_lectures_figures(number, name, epochs, test, train, kept, full):
    (trial,) = (trial for trial in exercises.EXERCISES[number].trials if trial.name == name)
    seeds = [str(seed) for seed in range(10 if full else exercises.SEEDS)]
    histories = run_seeds(trial.state, epochs, seeds) if full else kept(trial, seeds)
    for side, (low, high) in (("test", test), ("train", train)):
        median = statistics.median(history.losses[epochs][side] for history in histories)
        assert low - 0.0005 <= median <= high + 0.0005, f"{side}: {median}"


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_exercises_without_training_have_a_figure_too(number, tmp_path):
    exercises.run(number, seeds=1, reporter=SILENT, figure=tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 20_000


@pytest.fixture
def short(monkeypatch):
    """Two epochs of each run."""
    once = functools.cache(lambda state, seed: run(dataclasses.replace(state, seed=seed), 2))
    monkeypatch.setattr(exercises, "train", lambda trial, seeds: [once(trial.state, seed) for seed in seeds])


@pytest.mark.slow
@pytest.mark.parametrize("number", [6, 9])  # of the others see test_the_claims_of_an_exercise_hold
def test_restarts_and_layers_have_a_figure(number, short, tmp_path):
    exercises.run(number, seeds=2, reporter=SILENT, figure=tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 20_000


def test_an_exercise_by_the_command_line(monkeypatch, capsys, tmp_path):
    def answer(number, *, seeds, reporter, figure):
        reporter.line(f"{number}, {seeds} seeds, {figure and figure.name}")
        return {"number": number}

    def printed(*flags):
        command.main(["--exercise=7", *flags])
        return capsys.readouterr().out

    monkeypatch.setattr(exercises, "run", answer)
    assert printed() == f"7, {exercises.SEEDS} seeds, None\n\npicture   add --figure=exercise7.png\n"
    assert printed("--seeds=2", f"--figure={tmp_path / 'a.svg'}") == "7, 2 seeds, a.svg\n"
    assert json.loads(printed("--json")) == {"exercise": {"number": 7}}


@pytest.mark.parametrize("number", [3, 5, pytest.param(6, marks=pytest.mark.slow), 7, 8, 9])
def test_what_is_said_of_several_seeds_is_not_judged_by_two(number, short):
    """After two epochs hardly anything holds; yet only three seeds say so."""

    def refuted(seeds):
        claims = exercises.run(number, seeds=seeds, reporter=SILENT)["claims"]
        return {claim["text"].partition(":")[0] for claim in claims if claim["holds"] is False}

    always = {"it falls in every epoch (epochs in which it rose"}  # of each epoch of each seed
    assert refuted(1) <= always and refuted(2) <= always
    assert refuted(3) - always


@pytest.mark.slow
@pytest.mark.parametrize("number", [4, pytest.param(6, marks=pytest.mark.full)])
def test_one_seed_alone_refutes_nothing(number, kept):
    """What is said of several seeds is not judged by one."""
    answer = exercises.run(number, seeds=1, reporter=SILENT)
    assert [claim["text"] for claim in answer["claims"] if claim["holds"] is False] == []
