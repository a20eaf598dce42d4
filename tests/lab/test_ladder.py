"""The ladder: its table as data, what its networks come to on the digits, and the program."""

import csv
import dataclasses
import io
import json
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from helpers.fork_server import run_code, start

from mnist_mlp import devices
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.lab.ladder import approximation, networks, report, trials
from mnist_mlp.lab.ladder import command as ladder
from mnist_mlp.lab.ladder import figure as ladder_figure
from mnist_mlp.lab.ladder.networks import Network
from mnist_mlp.stats import metrics

pytestmark = pytest.mark.xla(False)

FLAGS = ("--dataset=digits", "--strategy=cpu", "--backend=tensorflow")


def test_a_rung_changes_one_thing_of_what_it_is_compared_with():
    by_name = {rung.name: rung for rung in networks.RUNGS}
    assert len(by_name) == len(networks.RUNGS)
    seen = set()
    for rung in networks.RUNGS:
        if rung.against:
            mine, other = dataclasses.asdict(rung.network), dataclasses.asdict(by_name[rung.against].network)
            changed = {name for name, value in mine.items() if value != other[name]}
            assert len(changed - {"rate"}) == 1, rung  # each optimizer has its own step size
            assert rung.against in seen  # so that it is trained by then
        seen.add(rung.name)
    assert by_name[networks.LECTURE].network == Network()
    assert [rung.name for rung in networks.RUNGS if not rung.against] == ["logistic regression"]


def test_a_part_brings_what_it_is_compared_with():
    names = [rung.name for rung in networks.chosen(("regularisers",))]
    assert names == [networks.LECTURE, "dropout 0.2", "L2, 0.0001", "L2, 0.001"]
    assert networks.chosen(("width",)) == []
    assert tuple(networks.chosen(())) == networks.RUNGS


def test_the_lecture_net_is_a_point_of_the_curves_that_it_lies_on():
    trained = {rung.network for rung in networks.RUNGS}
    assert networks.CURVES["width"][1][128] in trained and networks.CURVES["depth"][1][0] in trained
    assert networks.per_class_counts(142) == [1, 3, 10, 30, 100]


def test_holm_by_hand():
    # 0.01, 0.04, 0.03, 0.005: 3·0.01, 1·0.04 but no less than before, 2·0.03, 4·0.005.
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([0.9, 0.8]) == [1.0, 1.0] and metrics.holm([]) == []


def test_fewer_images_are_drawn_evenly_and_lie_within_more():
    labels = np.repeat(np.arange(10), 50)
    few, more = (trials.balanced_sample(labels, count, seed=4) for count in (3, 30))
    assert np.bincount(labels[more]).tolist() == [30] * 10 and len(set(more)) == 300
    assert set(few) < set(more) and set(few) != set(trials.balanced_sample(labels, 3, seed=5))


@pytest.mark.slow
def test_the_approximation_error_falls_with_the_width():
    errors = {width: [approximation.errors(width, seed) for seed in range(3)] for width in (4, 16, 64)}
    for target in approximation.TARGETS:
        l2 = [np.median([found[target][0] for found in by_seed]) for by_seed in errors.values()]
        assert l2[0] > 1.5 * l2[1] > 2.25 * l2[2], target
    smooth, kink, jump = approximation.TARGETS
    assert max(found[smooth][1] for found in errors[64]) < 1e-4  # an analytic function: fast
    assert min(found[kink][1] for found in errors[64]) > 1e-3  # a kink: slowly
    assert min(found[jump][1] for found in errors[64]) > 0.8  # a jump: never, in the largest error


def test_the_theorem_needs_its_activation():
    wide = approximation.errors(64, seed=0, activation=lambda x: x)  # a line, however wide
    line_through_kink = 1 / np.sqrt(3)  # √∫(2|x|−1)² over −1 … 1: the best line is 0
    assert wide["with a kink: 2|x| − 1"][0] == pytest.approx(line_through_kink, abs=1e-3)


def row(**values):
    return {"number": 4, "name": "wider", "group": "layers", "parameters": 669706, "accuracy": 0.9789, "sd": 0.005,
            "interval": [0.9726, 0.9852], "accuracies": [0.97, 0.98], "train_seconds": 1.5, "compile_seconds": 2.0,
            **values}  # fmt: skip


def found_on(name):
    block = {"name": name, "train_examples": 100, "test_examples": 50, "notes": []}
    return {"dataset": block, "seeds": [0, 1], "epochs": 2, "seconds": 3.0, "rungs": [row()],
            "width": [], "depth": [], "images": [], "approximation": []}  # fmt: skip


def test_lines_of_the_table():
    line = report.rung_line(row(against=3, difference=-0.005, p=0.0004))
    assert re.split(r"  +", line.strip()) == [
        *("4", "wider", "97.89 ± 0.50", "97.26–98.52", "3", "-0.50", "<0.001", "669,706", "1.50")
    ]
    alone = report.rung_line(row(sd=None, interval=None))
    assert re.split(r"  +", alone.strip())[2:] == ["97.89", "–", "–", "–", "–", "669,706", "1.50"]


def test_images_and_seeds_decide_together_what_is_said_to_differ():
    sure = {"difference": 0.02, "difference_interval": [0.01, 0.03]}
    rows = [
        row(),
        row(number=5, p=0.01, p_holm=0.02, **sure),
        row(number=6, p=0.04, p_holm=0.06, **sure),
        row(number=7, p=0.0, p_holm=0.0, difference=0.02, difference_interval=[-0.01, 0.05]),
        row(number=8, p=0.0, p_holm=0.0, difference=-0.02, difference_interval=[-0.03, -0.01]),
    ]
    text = " ".join(report.reading(rows, found_on("digits")).split())
    assert (
        "Significant at 5% with Holm's correction for 4 tests and with Student's interval over the seeds: 5, 8. Not"
        in text
    )
    assert "does not mean equal: 6, 7." in text
    alone = row(number=5, p=0.01, p_holm=0.02, difference=0.02, difference_interval=None)
    assert report.differs(alone)


@pytest.mark.parametrize("name, warned", [("digits", True), ("fashion_mnist", True), ("mnist", False)])
def test_what_is_not_mnist_says_so_at_the_end(name, warned):
    found = found_on(name)
    end = report.closing(found, [], "").splitlines()[-1]
    assert (f"measured on {name}: this is not MNIST accuracy" in end) == warned
    assert any("not MNIST" in line for line in ladder_figure.caption(found)) == warned
    assert name in ladder_figure.caption(found)[0]
    assert next(csv.DictReader(io.StringIO(report.as_csv(found))))["dataset"] == name


def test_an_interval_that_reaches_no_mistakes_does_not_stretch_the_figure():
    found = found_on("mnist")
    found["rungs"][0]["interval"] = [0.9, 1.0]
    (axes,) = ladder_figure.draw(found).axes
    assert axes.get_xlim() == pytest.approx((1.1 * 0.03, 0.02 / 1.3))


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--only=optimisers"], "did you mean 'optimizers'"),
        (["--only", "depth", "hight"], "--only: expected one or more of layers"),
        (["--csv=/no/such/place.csv"], "--csv=/no/such/place.csv: expected a file in a directory that exists"),
        (["--figure=a.doc"], "ends in .png"),
        (
            ["--only=approximation", "--figure=a.svg", "--csv=./a.svg"],
            "--csv and --figure: expected two different files",
        ),
        (["--seeds=0"], "--seeds: expected a whole number from 1"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_before_the_work(argv, said):
    with pytest.raises(UserError, match=re.escape(said)):
        ladder.main([*argv, "--dataset=digits"])


@pytest.mark.slow
def test_the_theorem_alone_needs_no_images_and_no_framework(tmp_path):
    file = tmp_path / "a.csv"
    code = (
        f"import sys; from mnist_mlp.lab.ladder.command import main"
        "; main(['--only=approximation', '--seeds=2', '--json',"
        f"{f'--csv={file}'!r}]); assert not {{'keras', 'tensorflow', 'jax'}} & set(sys.modules)"
    )
    done = run_code(code, backend=None)
    assert done.returncode == 0, done.stderr
    assert "median of 2 seeds" in done.stderr
    found = json.loads(done.stdout)
    rows = found["approximation"]
    assert "dataset" not in found and "digits" not in done.stderr  # nothing was measured on it
    assert len(rows) == len(approximation.WIDTHS) * len(approximation.TARGETS)
    assert len(file.read_text().splitlines()) == len(rows) + 1


@pytest.fixture(scope="module")
def trained(digits, full):
    plan = devices.plan(Config(strategy="cpu", backend="tensorflow"))
    return trials.Trials(plan, digits, seeds=(0, 1), epochs=5 if full else 2, reporter=SILENT)


def accuracy(trained, **changed):
    return float(trained.score(Network(**changed), "a network").accuracy.mean())


@pytest.mark.full  # the lecture's notebook climbs the first rungs
def test_what_the_lecture_says_holds_on_the_digits(trained):
    logistic = accuracy(trained, hidden=())
    assert accuracy(trained, start="all 0") < 0.15  # chance
    assert accuracy(trained, optimizer="AdaDelta", rate=0.001) < 0.5 < accuracy(trained, optimizer="AdaDelta", rate=1.0)
    assert min(logistic, accuracy(trained)) > 0.9
    assert abs(accuracy(trained, activation="linear") - logistic) < 0.03  # linear layers are one linear layer
    assert accuracy(trained, hidden=(128,)) > accuracy(trained, hidden=(8,)) + 0.05
    assert accuracy(trained, start="normal, sd 1") < accuracy(trained) - 0.05


@pytest.mark.slow
def test_a_network_is_trained_once_and_whatever_came_before_it(trained, digits):
    accuracy(trained, start="He", rate=0.01)
    after = trained.score(Network(hidden=(128, 64)), "again")
    assert trained.score(Network(), "again") is after
    fresh = trials.Trials(trained.plan, digits, seeds=(0, 1), epochs=trained.epochs, reporter=SILENT)
    accuracy(fresh, start="He", rate=0.01)
    np.testing.assert_array_equal(fresh.score(Network(), "first").correct, after.correct)


@pytest.mark.slow
def test_fewer_images_make_as_many_updates(trained, monkeypatch):
    trainer = trained.trainer(Network())
    orders = []
    train = trainer.engine.train
    monkeypatch.setattr(trainer.engine, "train", lambda order: orders.append(order) or train(order))
    few = trained.score(Network(), "few", per_class=3)
    examples = set(trials.balanced_sample(trained.dataset.train.labels, 3, seed=0))
    mine = np.concatenate(orders[: trained.epochs])
    assert set(np.unique(mine)) - {-1} == examples
    assert len(mine) == trained.epochs * 45 and (mine >= 0).any(1).all()  # 1,437 images in batches of 32, each epoch
    assert few.accuracy.mean() < accuracy(trained) - 0.05
    found = []
    for examples in (None, np.arange(1437)):  # which are the same
        trials.fit(trainer, 0.01, 3, 2, examples)
        found.append(trainer.engine.predict(trained.dataset.test.images))
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_the_program_from_the_table_to_the_files(tmp_path, capsys):
    table, figure, began = tmp_path / "a.csv", tmp_path / "a.png", time.perf_counter()
    ladder.main([*FLAGS, "--only", "regularisers", "images", "--seeds=2", "--epochs=1", "--seed=7",
                 f"--csv={table}", f"--figure={figure}", "--json"])  # fmt: skip
    out, said = capsys.readouterr()
    found = json.loads(out)
    assert 0 < found["seconds"] < time.perf_counter() - began
    assert [row["number"] for row in found["rungs"]] == [3, 22, 23, 24] and found["seeds"] == [7, 8]
    assert [row["images"] for row in found["images"]] == [10, 30, 100, 300, 1000, 1437]
    assert found["images"][-1]["accuracies"] == found["rungs"][0]["accuracies"]  # the lecture's net, not trained twice
    lines = {line[:3].strip(): re.split(r"  +", line.strip()) for line in said.splitlines() if line.strip()}
    for one in found["rungs"]:
        cells = lines[str(one["number"])]
        assert cells[1] == one["name"] and float(cells[2].split()[0]) == pytest.approx(100 * one["accuracy"], abs=0.006)
        assert (cells[4] == "3") == ("p" in one)
    assert "this is not MNIST accuracy" in said.strip().splitlines()[-1]
    assert "\r" not in said  # a line that is rewritten is for terminals
    rows = list(csv.DictReader(table.open()))
    assert [float(row["accuracy"]) for row in rows] == [
        row["accuracy"] for part in ("rungs", "images") for row in found[part]
    ]
    assert {row["dataset"] for row in rows} == {"digits"} and rows[1]["against"] == networks.LECTURE
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_stop_leaves_whole_lines_and_no_files(tmp_path):
    files = (f"--csv={tmp_path / 'a.csv'}", f"--figure={tmp_path / 'a.png'}")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = start("lab.ladder", *FLAGS, *files, "--seeds=1", "--epochs=1", backend="tensorflow", **pipes)
    lines = []
    for line in run.stdout:
        lines.append(line)
        if line.startswith("  2 "):
            break
    run.send_signal(signal.SIGINT)
    rest, said = run.communicate()
    assert run.returncode == 130 and said.splitlines()[-1] == "interrupted"
    assert all(line.startswith("  ") for line in rest.splitlines())
    assert list(tmp_path.iterdir()) == []
