"""Parts of the lab one by one: trials, figures of ladder and mistakes, the Playground's numbers, tables, pictures."""

import csv
import dataclasses
import decimal
import io
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.programs import Collector

from mnist_mlp.lab.ladder import figure as ladder_figure
from mnist_mlp.lab.ladder import networks, trials
from mnist_mlp.lab.ladder.networks import Network
from mnist_mlp.lab.ladder.trials import Score, Trials
from mnist_mlp.lab.mistakes import figure as mistakes_figure
from mnist_mlp.lab.mistakes.programs import RIGHT
from mnist_mlp.lab.playground import State, fdlibm, figure_network, report, run, sweep
from mnist_mlp.lab.playground.exercises import answers, answers_deep, drawings
from mnist_mlp.lab.playground.exercises.parts import Panel, with_parameters
from mnist_mlp.lab.playground.figure_network import colours
from mnist_mlp.stats.metrics import mean_interval

# Trials


def test_a_score_is_summed_up():
    right = np.array([[True] * 9 + [False], [True] * 10, [True] * 8 + [False] * 2])
    found = Score(right, 7, (1.0, 2.0, 6.0), 0.5).summary()
    low, _ = mean_interval([0.9, 1.0, 0.8])
    assert found["accuracy"] == pytest.approx(0.9) and found["sd"] == pytest.approx(0.1)
    assert found["interval"] == [pytest.approx(low), 1.0]  # no more than all
    assert found["accuracies"] == [0.9, 1.0, 0.8] and (found["train_seconds"], found["compile_seconds"]) == (3.0, 0.5)
    none = np.zeros((2, 10), bool)
    none[0, :2] = True
    assert Score(none, 7, (1.0, 1.0), 0).summary()["interval"][0] == 0.0
    alone = Score(right[:1], 7, (1.0,), 0.5).summary()
    assert alone["sd"] is None and alone["interval"] is None and alone["accuracy"] == 0.9


def test_samples_are_balanced_and_nested():
    labels = np.tile(np.arange(10), 20)
    large, small = (trials.balanced_sample(labels, count, 3) for count in (7, 2))
    assert np.bincount(labels[large]).tolist() == [7] * 10 and labels[large].tolist() == sorted(labels[large])
    assert set(small) <= set(large) and len(set(large)) == 70
    assert set(trials.balanced_sample(labels, 7, 4)) != set(large)


class Engine:
    def __init__(self):
        self.trained = []

    def train(self, order):
        self.trained.append(order)


class MultiSeedTrainer:
    compile_seconds = 0.25
    batch_size = 4

    def __init__(self, *given):
        self.given, self.engine, self.begun, self.fitted = given, Engine(), [], []
        self.dataset = SimpleNamespace(train=range(10))
        self.model = SimpleNamespace(count_params=lambda: 11)

    def fit(self, seed, epochs, learning_rate):
        self.fitted.append((seed, epochs, learning_rate))
        return SimpleNamespace(seconds=float(seed))

    def reset(self, seed, learning_rate):
        self.begun.append((seed, learning_rate))

    def batches(self, examples, seed, passed, shuffle):
        assert shuffle
        return [[passed, step] for step in range(2)]

    def correct(self):
        return np.array([True, False])


def test_few_examples_are_trained_in_as_many_updates():
    trainer = MultiSeedTrainer()
    trials.fit(trainer, 0.1, 5, 3, np.arange(7))  # 10 images in batches of 4 are 3 steps, 7 examples here 2 a pass
    assert trainer.begun == [(5, 0.1)] and not trainer.fitted
    orders = [order.tolist() for order in trainer.engine.trained]
    assert orders == [[[0, 0], [0, 1], [1, 0]], [[1, 1], [2, 0], [2, 1]], [[3, 0], [3, 1], [4, 0]]]
    assert trials.fit(trainer, 0.1, 5, 3, None) == 5.0 and trainer.fitted == [(5, 3, 0.1)]


@pytest.fixture
def lab(monkeypatch):
    """Trials whose networks are not real, and their progress."""
    monkeypatch.setitem(
        sys.modules, "mnist_mlp.training.multi_seed", SimpleNamespace(MultiSeedTrainer=MultiSeedTrainer)
    )  # which imports frameworks
    monkeypatch.setattr(trials, "load", lambda plan: None)
    monkeypatch.setattr(trials, "gc", SimpleNamespace(collect=lambda: None))
    monkeypatch.setattr(networks, "set_start", lambda model, network: setattr(model, "start", network.start))
    report = Collector()
    dataset = SimpleNamespace(train=SimpleNamespace(labels=np.tile(np.arange(10), 5)))
    return Trials("plan", dataset, (3, 4), 2, report), report.progress_seen


def test_a_network_is_trained_once_for_each_seed(lab):
    made, steps = lab
    first = made.score(Network(rate=0.5), "a")
    assert made.score(Network(rate=0.5), "again") is first and steps == [
        "a: compiling",
        "a: seed 1 of 2",
        "a: seed 2 of 2",
    ]
    assert first.correct.shape == (2, 2) and first.train_seconds == (3.0, 4.0) and first.parameters == 11
    assert made.trainers[Network()].fitted == [(3, 2, 0.5), (4, 2, 0.5)]
    assert made.score(Network(rate=0.5), "few", per_class=1) is not first
    assert [seed for seed, _ in made.trainers[Network()].begun] == [3, 4]


def test_only_the_lectures_network_stays_compiled(lab):
    made, _ = lab
    lecture = made.trainer(Network())
    assert made.trainer(Network(rate=0.1, start="He")) is lecture and lecture.model.start == "He"
    assert made.trainer(Network()).model.start == "Glorot"
    wide = made.trainer(Network(hidden=(512,)))
    assert set(made.trainers) == {Network(), Network(hidden=(512,))} and made.engine is wide.engine
    made.trainer(Network(activation="tanh"))
    assert set(made.trainers) == {Network(), Network(activation="tanh")}
    assert made.trainer(Network()) is lecture and made.engine is lecture.engine


# The figure of the mistakes


def test_curves_are_means_over_pieces():
    steps, losses = mistakes_figure.thinned(np.arange(1000.0))
    assert len(steps) == mistakes_figure.POINTS == 400
    assert steps[[0, 199, 200, -1]].tolist() == [3, 600, 602, 1000]  # 200 pieces of 3, then of 2
    assert losses[[0, 199, 200, -1]].tolist() == [1, 598, 600.5, 998.5]
    steps, losses = mistakes_figure.thinned(np.array([3.0, 5.0]))
    assert steps.tolist() == [1, 2] and losses.tolist() == [3, 5]
    assert mistakes_figure.thinned(np.array([]))[0].tolist() == [0] and np.isnan(mistakes_figure.thinned([])[1]).all()


def outcome(losses, accuracy, *diagnoses):
    told = [SimpleNamespace(name=name, told_by=by) for name, by in diagnoses]
    return SimpleNamespace(curve=SimpleNamespace(step_losses=np.array(losses)), accuracy=accuracy, diagnoses=told)


def test_each_mistake_has_a_panel_beside_the_correct_program():
    pytest.importorskip("matplotlib")
    outcomes = {RIGHT: outcome([2.0, 1.0], 0.97)}
    for n in range(5):
        outcomes[f"m{n}"] = outcome([3.0, 4.0], 0.1 * n, ("other", "data"), (f"m{n}", "curve"))
    outcomes["m4"] = outcome([3.0, 4.0], 0.4, ("other", "data"))
    found = {"dataset": {"name": "digits", "train_examples": 1437}, "epochs": 3, "seeds": [7, 8]}
    figure = mistakes_figure.draw(outcomes, found)
    assert figure.get_size_inches().tolist() == pytest.approx([12.8, 5.7])  # 4 columns, 2 rows
    panels = figure.axes
    assert [panel.get_title(loc="left") for panel in panels[:5]] == ["m0", "m1", "m2", "m3", "m4"]
    assert [panel.axison for panel in panels] == [True] * 5 + [False] * 3
    assert [line.get_ydata().tolist() for line in panels[1].lines] == [[2, 1], [3, 4]]
    assert panels[1].texts[0].get_text() == "10.0% (correct: 97.0%), evidence: curve"
    assert panels[4].texts[0].get_text() == "40.0% (correct: 97.0%), not recognized"
    assert [bool(panel.get_ylabel()) for panel in panels[:5]] == [True, False, False, False, True]
    assert [bool(panel.get_xlabel()) for panel in panels[:5]] == [False, True, True, True, True]
    assert figure._supxlabel.get_text().startswith("digits, 1,437 training images, 3 epochs, seed 7. ")


# The figure of the ladder


def rung(name, group, number, accuracies, interval):
    return {"name": name, "group": group, "number": number, "accuracies": accuracies, "interval": interval,
            "accuracy": float(np.mean(accuracies))}  # fmt: skip


def test_rungs_are_drawn_by_what_they_miss():
    matplotlib = pytest.importorskip("matplotlib.figure")
    axes = matplotlib.Figure().add_subplot()
    rows = [
        rung("a", "layers", 1, [0.75, 0.5], [0.25, 1.0]),
        rung("b", "layers", 2, [1.0], None),
        rung("c", "cnn", 3, [0.5], None),
    ]
    ladder_figure.draw_rungs(axes, rows, 50)
    lines = [
        (line.get_marker(), np.ravel(line.get_xdata()).tolist(), np.ravel(line.get_ydata()).tolist())
        for line in axes.lines
    ]
    assert lines == [
        (".", [0.25, 0.5], [1.5, 1.5]),
        ("None", [0.75, 0.01], [1.5, 1.5]),  # half an image of 50 stands for no mistake
        ("o", [0.375], [1.5]),
        (".", [0.01], [2.5]),
        ("o", [0.01], [2.5]),
        (".", [0.5], [5.0]),  # half a row and the name of the group between
        ("o", [0.5], [5.0]),
    ]
    assert axes.get_ylim() == (6.0, 0.0) and axes.get_xlim() == pytest.approx((0.55, 0.01 / 1.3))
    assert (
        axes.get_yticks().tolist() == [1.5, 2.5, 5.0] and [t.get_text() for t in axes.get_yticklabels()][0] == "a   1"
    )
    assert [t.get_text() for t in axes.get_xticklabels()] == ["50%", "80%", "90%", "95%", "97%", "98%", "99%"]
    assert ladder_figure.lines_of(rows) == 3 + 2 * 1.5


def test_a_curve_has_its_interval_as_error_bars():
    matplotlib = pytest.importorskip("matplotlib.figure")
    axes = matplotlib.Figure().add_subplot()
    rows = [{"width": 8, **rung("", "", 0, [0.5, 0.75], [0.5, 1.0])}, {"width": 64, **rung("", "", 0, [0.875], None)}]
    ladder_figure.draw_curve(axes, "width", rows)
    (bars,) = [found for found in axes.collections if len(found.get_segments()) == 2]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[50, 100], [87.5, 87.5]]
    assert axes.get_xscale() == "log" and axes.get_xticks().tolist() == [8, 64]
    axes.clear()
    many = [{"images": count, **rung("", "", 0, [0.5], None)} for count in (10, 50, 300)]
    ladder_figure.draw_curve(axes, "images", many)
    assert axes.get_xticks().tolist() == [10, 100, 300]
    axes.clear()
    ladder_figure.draw_curve(axes, "depth", [{"depth": 1, **rung("", "", 0, [0.5], None)}])
    assert axes.get_xscale() == "linear"


# The Playground's functions


def exactly(x: float) -> tuple[float, float]:
    """Sine and cosine of the number as it is, by their series with sixty digits."""
    with decimal.localcontext() as context:
        context.prec = 60
        pi = decimal.Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")
        angle = decimal.Decimal(x) % (2 * pi)
        results = []
        for first in (1, 0):
            term = angle if first else decimal.Decimal(1)
            total = term
            for n in range(first + 2, 90, 2):
                term *= -angle * angle / (n * (n - 1))
                total += term
            results.append(float(total))
        return results[0], results[1]


@pytest.mark.parametrize("multiple", [1, 2, 3, 4, 7, 31, 32, 33, 64, 226, 573_204, 600_001])
def test_near_multiples_of_a_quarter_turn_all_bits_are_right(multiple):
    for x in (multiple * (math.pi / 2), math.nextafter(multiple * (math.pi / 2), 0), multiple * (math.pi / 2) + 1e-4):
        for angle in (x, -x):
            for found, true in zip((fdlibm.sin(angle), fdlibm.cos(angle)), exactly(angle), strict=True):
                assert abs(found - true) <= math.ulp(true)


def test_sines_and_logarithms_are_within_a_unit():
    assert fdlibm.sin(math.pi) == 1.2246467991473532e-16 and fdlibm.cos(math.pi / 2) == 6.123233995736766e-17
    assert fdlibm.sin(1e-9) == 1e-9 and fdlibm.cos(1e-9) == 1 and fdlibm.sin(0.0) == 0
    assert math.isnan(fdlibm.sin(math.inf)) and math.isnan(fdlibm.cos(math.nan)) and fdlibm.log(0) == -math.inf
    assert fdlibm.sin(1e9) == math.sin(1e9) and fdlibm.cos(-1e9) == math.cos(1e9)
    for x in (0.1, 0.3, 0.7, 0.785, 0.79, 1.0, 2.0, 2.36, 5.0, 100.0, 1e5):
        sine, cosine = exactly(x)
        assert abs(fdlibm.sin(x) - sine) <= math.ulp(sine) and abs(fdlibm.cos(x) - cosine) <= math.ulp(cosine)
        assert fdlibm.sin(-x) == -fdlibm.sin(x) and fdlibm.cos(-x) == fdlibm.cos(x)
        assert abs(fdlibm.log(x) - math.log(x)) <= math.ulp(math.log(x))
    assert fdlibm.log(1.0) == 0 and fdlibm.log(2.0**10) == pytest.approx(10 * math.log(2), rel=1e-15)
    assert fdlibm.log(1 + 2**-21) == pytest.approx(math.log1p(2**-21), rel=1e-15)
    assert fdlibm.log(4 * (1 + 2**-21)) == pytest.approx(math.log(4) + math.log1p(2**-21), rel=1e-15)


def test_colours_are_the_pages():
    found = 255 * colours(np.array([-2, -1, -0.5, 0, 1, 3, np.nan]))
    ends = [0xF5, 0x93, 0x22], [0xE8, 0xEA, 0xEB], [0x08, 0x77, 0xBD]
    middle = [(one + other) / 2 for one, other in zip(*ends[:2], strict=True)]
    assert found.tolist() == [pytest.approx(row) for row in (ends[0], ends[0], middle, *ends[1:], ends[2], [255] * 3)]
    assert colours(0.0).shape == (3,) and colours(np.zeros((2, 4))).shape == (2, 4, 3)


# Its report and its sweep


@pytest.fixture(scope="module")
def history():
    """Two hidden layers, of two neurons and one, and an epoch."""
    return run(State(networkShape=(2, 1), batchSize=10, seed="0.5"), 1)


def test_losses_stand_in_columns(history):
    rows = [{"train": 0.5, "test": 12.25}] * 10 + [{"train": 12345678.0, "test": 0.25}]
    told = report.losses([dataclasses.replace(history, losses=rows)])
    assert told == [
        "    epoch train loss   test loss",
        "        0      0.500   12.250",
        "        1      0.500   12.250",
        "       10   1.23e+07   0.250",
    ]
    wide = [dataclasses.replace(history, losses=[{"train": n / 2, "test": 1.0}] * 2) for n in range(3)]
    assert report.losses(wide) == [
        "    epoch           train loss   test loss",
        "        0 0.500 [0.000..1.000]   1.000 [1.000..1.000]",
        "        1 0.500 [0.000..1.000]   1.000 [1.000..1.000]",
    ]


def test_weights_are_named_by_layer_and_neuron(history):
    known = dataclasses.replace(history, parameters=[1.0, 2.0, -3.0, 4.0, 5.0, 6.0, 0.5, 0.25, -0.125, -1.0, 1e7])
    assert report.weights(known) == [
        "      1.1  bias +1.0000  +2.0000 -3.0000",
        "      1.2  bias +4.0000  +5.0000 +6.0000",
        "      2.1  bias +0.5000  +0.2500 -0.1250",
        "   output  bias -1.0000  +1e+07",
    ]


def test_the_network_adds_up(history):
    assert report.arithmetic(history.state) == "x, y → 2 → 1 → 1 output; 3·2 + 3·1 + 2·1 = 11 weights and biases"
    plain = State(networkShape=(), y=False, sinX=True)
    assert report.arithmetic(plain) == "x, sin x → 1 output; 3·1 = 3 weights and biases"
    deep = report.arithmetic(State(networkShape=(1,) * 8))
    assert deep.endswith("1 output; in total = 19 weights and biases")
    assert "+" in report.arithmetic(State(networkShape=(1,) * 7))


def test_points_and_their_outputs_as_csv(history):
    rows = list(csv.reader(io.StringIO(report.points_csv(history))))
    assert rows[0] == ["split", "x", "y", "label", "output"]
    count = len(history.train_points)
    assert [row[0] for row in rows[1:]] == ["train"] * count + ["test"] * len(history.test_points)
    x, y, label = history.test_points[0]
    assert [float(value) for value in rows[1 + count][1:4]] == [x, y, label] and rows[1 + count][3] in ("1", "-1")
    output = float(history.activations([[x, y]])[-1][0, 0])
    assert float(rows[1 + count][4]) == pytest.approx(output, rel=1e-12)


def test_points_off_the_map_are_counted(history):
    notes = report.own_notes([(6, -6, 1), (6.01, 0, 1), (0, -6.01, -1)], history.state)
    assert notes[0].endswith("dataset and noise of the URL have no effect") and len(notes) == 2
    assert notes[1].startswith("--data: 2 of 3 points lie outside the map")
    assert len(report.own_notes([(6, 6, 1)], history.state)) == 1


def test_runs_without_an_update_are_explained(history):
    assert report.warnings([history]) == []
    still = dataclasses.replace(history, parameters=history.initial_parameters)
    n = len(history.train_points)

    def said(**changes):
        return report.warnings([dataclasses.replace(still, state=dataclasses.replace(history.state, **changes))])

    assert said(batchSize=n + 1) == [f"no update was made: {n:,} training points never fill a batch of {n + 1}"]
    assert said(batchSize=n, learningRate=0) == ["no weight changed: learningRate is 0"]
    assert said(batchSize=n)[0].startswith("no weight changed: every step (learningRate times gradient) was 0")
    lost = dataclasses.replace(history, parameters=[math.nan] * 11)
    assert report.warnings([lost] * 6)[0].startswith(
        "training diverged (nan or inf; null in JSON) with seed 0.5, 0.5, 0.5, 0.5, 0.5, …, as on"
    )
    assert "no training or no test points" in report.warnings([dataclasses.replace(history, test_points=[])])[0]


def row(text, losses, state=None, dead=0.0):
    runs = {
        str(seed): dict(zip(sweep.MEASURES, (loss / 2, loss, 0.5, 0.75, dead), strict=True))
        for seed, loss in enumerate(losses)
    }
    return sweep.Row({"activation": text, "networkShape": ""}, state or State(), runs, True)


def test_a_sweep_stands_in_columns():
    told = sweep.table([row("relu", [0.5]), row("sigmoid", [0.25, 0.75, 1.0])]).splitlines()
    assert told == [
        "activation  networkShape  test loss             train loss            test accuracy",
        "relu        none          0.500                 0.250                 0.750",
        "sigmoid     none          0.750 [0.250..1.000]  0.375 [0.125..0.500]  0.750 [0.750..0.750]",
    ]
    dead = sweep.table([row("relu", [0.5], State(problem="regression"), dead=3.0)]).splitlines()
    assert dead[0].split("  ")[-1] == "dead weights" and "accuracy" not in dead[0] and dead[1].split()[-1] == "3"
    assert sweep.fixed(999_999.9994) == "999999.999" and sweep.fixed(1e6) == "1e+06" and sweep.fixed(-1e6) == "-1e+06"


# Its picture


def titles(shape, left_out=0):
    """The small print of a picture with those hidden layers."""
    history = SimpleNamespace(state=SimpleNamespace(networkShape=shape))
    said = []
    page = SimpleNamespace(text=lambda x, y, words, **_: said.append(words))
    figure_network.draw_titles(page, figure_network.Layout.of(history), history, left_out)
    return said


def test_what_is_not_drawn_is_told():
    assert titles((64, 3)) == ["Features", "Output", "2 hidden layers", "64", "3", ""]
    assert titles((65,)) == ["Features", "Output", "1 hidden layer", "65", "only the first 64 neurons of each layer"]
    assert titles((3, 1000), 1)[-1] == (
        "only the 128 heaviest links between two layers (1 not drawn); only the first 64 neurons of each layer"
    )
    assert titles(()) == ["Features", "Output", "No hidden layer", ""]


def test_the_layout_is_centred_and_shrinks():
    small = figure_network.Layout.of(SimpleNamespace(state=SimpleNamespace(networkShape=(4, 2))))
    assert small.node == 30 and small.middle == 196 + 200 and small.map_top == small.middle - 125
    assert [y - small.middle for _, y in small.hidden[0]] == [-75, -25, 25, 75]
    assert small.hidden[1][0][0] - small.hidden[0][0][0] == 125 and small.scale == 1
    large = figure_network.Layout.of(SimpleNamespace(state=SimpleNamespace(networkShape=(100,))))
    assert len(large.hidden[0]) == 64 and large.node == pytest.approx(0.8 * 900 / 64)
    deep = figure_network.Layout.of(SimpleNamespace(state=SimpleNamespace(networkShape=(1,) * 60)))
    assert deep.hidden[59][0][0] - deep.hidden[0][0][0] == pytest.approx(1770) and deep.node == 18
    assert figure_network.link_widths(np.array([0, -1, 2.5, 9])).tolist() == [1, 2.8, 5.5, 10]


# The figures and answers of the exercises


def test_the_size_of_a_figure_follows_its_panels(history):
    pytest.importorskip("matplotlib")
    still = with_parameters(history, history.parameters)  # of no epoch
    one = drawings.panels([Panel("a", still)])
    assert one.get_size_inches().tolist() == pytest.approx([2.9, 2.5 + 2.5 * 2 / 4 + 0.1 + 0.55])
    trained = drawings.panels([Panel("a", history)])
    assert trained.get_size_inches().tolist() == pytest.approx([2.9, 2.5 + 2.5 * 2 / 4 + 0.8 + 0.55])


def test_six_panels_stand_in_two_rows(history):
    pytest.importorskip("matplotlib")
    flat = with_parameters(run(State(networkShape=(), seed="1"), 0), [0.0, 1.0, 1.0])
    figure = drawings.panels([Panel(str(n), flat) for n in range(6)])
    assert figure.get_size_inches().tolist() == pytest.approx([3 * 2.9, 2 * (2.5 + 0.1 + 0.55)])
    assert [axes.get_title() for axes in figure.axes][::2] == [str(n) for n in range(6)]


def test_features_are_drawn_on_the_whole_plane():
    pytest.importorskip("matplotlib")
    features = dict.fromkeys(figure_network.LABELS, True)
    everything = run(State(networkShape=(), seed="1", **features), 0)
    figure = drawings.features_and_data({"one": [everything], "two": [everything]})
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert [list(image.get_extent()) for image in images[:7]] == [[-6, 6, -6, 6]] * 7
    assert [axes.get_title() for axes in figure.axes] == [*figure_network.LABELS.values(), "one", "two"]
    assert images[0].origin == "lower" and figure.get_size_inches().tolist() == [10.5, 5.2]


def claims(found, word):
    """Whether the claims with a word in them hold."""
    return [claim.holds for claim in found if word in claim.text]


def test_points_are_inseparable_where_every_run_has_some_wrong():
    made = run(State(networkShape=(), dataset="gauss", noise=50, seed="1"), 0)

    def said(*shares):
        restarts = [dataclasses.replace(made, accuracy={"train": share, "test": 1.0}) for share in shares]
        return claims(answers.answer_4({"restarts": restarts, "new data": restarts}), "not separable")

    assert said(0.9, 0.8, 0.95) == [True] and said(0.9, 1.0, 0.8) == [False]
    assert claims(answers.answer_4({"restarts": [made] * 3, "new data": [made] * 3}), "convex, the page") == [True]


def ending(*losses, parameters=(0.0,) * 17, start=0.5, units=None):
    """Three runs whose training loss ends with those."""
    return [
        SimpleNamespace(
            losses=[{"train": start, "test": start}] * 1 + [{"train": loss, "test": loss}] * 11,
            parameters=list(parameters),
            train_points=[[0, 0, 1.0], [1, 1, -1.0]],
            layers=lambda: [np.ones((4, 3)) if units is None else units],
        )
        for loss in losses
    ]


def settings(**changes):
    runs = {
        "step 0.0001": ending(0.41, 0.41, 0.41),
        "step 0.03": ending(0.2, 0.2, 0.2),
        "step 10": ending(0.5, 0.5, 0.5),
        "batch 1": ending(0.1, 0.1, 0.1),
        "batch 30": ending(0.21, 0.21, 0.21),
        **{f"zero, {name}": ending(0.5, 0.5, 0.5) for name in ("tanh", "relu", "linear", "sigmoid")},
    }
    return list(answers_deep.answer_10({**runs, **{name.replace("_", " "): value for name, value in changes.items()}}))


def test_the_settings_of_gradient_descent_are_judged():
    found = settings()
    assert claims(found, "too small") == [True] and claims(found, "too large") == [True]
    assert claims(found, "a larger batch") == [True] and claims(found, "all zero") == [True] * 4
    assert claims(found, "batch 1:")[0] is None and claims(found, "step 10:") == [None]
    assert "batch 1: train loss 0.100 [0.100..0.100] (batch 10: 0.200 [0.200..0.200])" in [c.text for c in found]
    assert claims(settings(**{"step 0.0001": ending(0.4, 0.4, 0.4)}), "too small") == [False]  # not more than twice
    assert claims(settings(**{"step 10": ending(0.49, 0.49, 0.6)}), "too large") == [False]
    assert claims(settings(**{"batch 30": ending(0.2, 0.2, 0.2)}), "a larger batch") == [False]
    few = settings(**{"step 0.03": ending(0.2, 0.2)})
    assert claims(few, "too small") == claims(few, "a larger batch") == [None]


def test_networks_of_zeros_are_judged():
    moved = [0.0] * 17
    moved[-5] = 0.04  # the output's bias, the mean of the labels being 0
    assert claims(settings(**{"zero, tanh": ending(0.5, parameters=moved)}), "all zero, tanh") == [True]
    moved[-5] = 0.06
    assert claims(settings(**{"zero, tanh": ending(0.5, parameters=moved)}), "all zero, tanh") == [False]
    for place in (0, -4, -6):
        other = [0.0] * 17
        other[place] = 1e-9
        assert claims(settings(**{"zero, relu": ending(0.5, parameters=other)}), "all zero, relu") == [False]
    apart = np.ones((4, 3))
    apart[2, 1] = 1.25
    assert claims(settings(**{"zero, sigmoid": ending(0.5, units=apart)}), "all zero, sigmoid") == [False]
    assert claims(settings(**{"zero, sigmoid": ending(0.5, units=np.full((4, 3), 0.1))}), "zero, sigmoid") == [False]
    assert "a weight of 1.00 or more" in next(c.text for c in settings() if "all zero, sigmoid" in c.text)
