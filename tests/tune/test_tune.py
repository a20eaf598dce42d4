"""The search: spaces, folds, proposals, what a kill leaves, the choice, and the file that train takes."""

import contextlib
import csv
import dataclasses
import json
import multiprocessing
import os
import pickle
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fork_server import run, start
from helpers.programs import Collector

from mnist_mlp import data, train
from mnist_mlp.cli import flags as command
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import PRESETS, Config
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic
from mnist_mlp.tune import command as tune
from mnist_mlp.tune import finish, fitting, folds, selection, space, study_dir, table, worker, worker_pool
from mnist_mlp.tune.fitting import Fitter, Score, score
from mnist_mlp.tune.messages import Failed, FitFold
from mnist_mlp.tune.methods import METHODS
from mnist_mlp.tune.space import Choice, Range, unused_tables
from mnist_mlp.tune.study import Row

pytestmark = pytest.mark.xla(False)


def spaces(*words, methods=("mlp",), file=None):
    return space.resolve(methods, words, space.read_file(file, methods) if file else {}, {})


def options(*argv):
    return tune.options_of(command.given_flags(tune.Options, argv, program="tune", about=""), Path("none"))


# Spaces


def test_what_the_words_of_a_space_mean():
    found = spaces("learning_rate=1e-4..1e-2:log", "batch_size=16,32,16", "epochs=3..10:3", "optimizer=Adam,sgd")["mlp"]
    assert found["learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert found["batch_size"] == Choice((16, 32))
    assert found["epochs"] == Range(3, 10, count=3) and found["epochs"].whole
    assert found["optimizer"] == Choice(("adam", "sgd"))
    assert found["epochs"].points() == (3, 6, 10)
    assert Range(1e-4, 1e-2, log=True, count=3).points() == (1e-4, 1e-3, 1e-2)
    ends = Range(0.12345678, 0.1234571, count=4).points()
    assert (ends[0], ends[-1]) == (0.12345678, 0.1234571) and list(ends) == sorted(ends)
    assert Range(2, 5).points() == (2, 3, 4, 5) and Range(2, 500).points() is None and Range(0.1, 0.5).points() is None


@pytest.mark.parametrize("name", METHODS)
def test_default_spaces_fit_their_methods_grids_and_files(name):
    found = space.default_space(name)
    assert space.parse_space(name, space.format_space(found)) == found
    points = space.grid(found)
    assert 4 <= np.prod([len(values) for values in points.values()]) <= 100
    for end in (0, -1):
        METHODS[name].declared(**{key: values[end] for key, values in points.items()})


def test_a_name_goes_to_the_networks_first_and_with_a_dot_to_one_method():
    several = ("mlp", "softmax", "gradient_boosting", "tree")
    found = spaces("learning_rate=0.5", "max_depth=3", "gradient_boosting.learning_rate=0.2", methods=several)
    assert found["mlp"]["learning_rate"] == found["softmax"]["learning_rate"] == Choice((0.5,))
    assert found["gradient_boosting"]["learning_rate"] == Choice((0.2,))
    assert found["tree"]["max_depth"] == Choice((3,)) and "max_depth" not in found["mlp"]
    assert spaces("learning_rate=0.5", methods=several[2:])["gradient_boosting"]["learning_rate"] == Choice((0.5,))


def test_widths_are_searched_in_the_notation_of_train():
    found = spaces("units=256,128| 128, 64|64|128,64", methods=("mlp", "cnn", "tree"))
    assert found["mlp"]["units"] == Choice(("256,128", "128,64", "64"), "|")
    assert "units" not in found["cnn"] and "units" not in found["tree"]
    assert "units=256,128|128,64|64" in space.format_space(found["mlp"])
    assert space.parse_space("mlp", space.format_space(found["mlp"])) == found["mlp"]
    assert spaces("units=64|128")["mlp"]["units"] == Choice(("64", "128"), "|")
    for name in ("cnn", "softmax"):
        with pytest.raises(UserError, match=f"expected a parameter of {name}: .*; received 'units'"):
            spaces(f"{name}.units=64", methods=(name,))


MISTAKES = [
    (["batch_size"], "expected NAME=VALUES, such as learning_rate=1e-4..1e-2:log"),
    (["batch_size="], "received 'batch_size='"),
    (["batch_siz=16"], "did you mean 'batch_size'?"),
    (["max_depth=3"], "expected a parameter of mlp: learning_rate, batch_size"),
    (["tre.max_depth=3"], "expected one of the methods mlp before the dot; received 'tre'"),
    (["mlp.epoch=3"], "did you mean 'epochs'?"),
    (["batch_size=16,many"], "--space batch_size: expected a whole number from 1 to 2,147,483,647, received 'many'"),
    (["batch_size=0,16"], "expected a whole number from 1 to 2,147,483,647, received 0"),
    (["batch_size=1.5"], "received '1.5'"),
    (["batch_size=16,,32"], "received ''"),
    (["epochs=10..3"], "expected the smaller end first, received '10..3'; try 3..10"),
    (["epochs=3..3"], "try 3 alone"),
    (["epochs=3..x"], "received 'x'"),
    (["epochs=3.."], "expected a range such as 3..10"),
    (["epochs=3..10:1"], "expected 2 points or more"),
    (["epochs=0..10:log"], "both ends above 0 on a logarithmic scale"),
    (["learning_rate=0..1"], "received 0"),
    (["learning_rate=nan"], "received nan"),
    (["learning_rate=nan..1"], "expected the smaller end first"),
    (["learning_rate=1e-3..inf"], "inf"),
    (["learning_rate=1e-3..1e-2:lg"], "expected a range"),
    (["optimizer=adam..sgd"], "expected names separated by commas"),
    (["optimizer=adm"], "did you mean 'adam'?"),
    (["units=256x128"], "--space units: expected 1 to 32 widths of hidden layers separated by commas"),
    (["units=256,128|"], "received ''"),
    (["units=64..256"], "expected widths such as 256,128|128,64, received the range '64..256'"),
    (["epochs=3", "epochs=4"], "expected epochs of mlp once"),
]


@pytest.mark.parametrize("words, said", MISTAKES)
def test_mistakes_in_a_space_are_answered(words, said):
    with pytest.raises(UserError) as caught:
        spaces(*words)
    assert said in str(caught.value) and str(caught.value).startswith("--space")


def test_a_file_has_a_table_for_each_method_and_flags_override_it(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('[mlp]\nepochs = "2..4"\nbatch_size = [16, 32]\nlearning_rate = 1\n[tree]\nmax_depth = 3\n')
    found = spaces("batch_size=8", file=file)["mlp"]
    assert found["epochs"] == Range(2, 4) and found["batch_size"] == Choice((8,))
    assert found["learning_rate"] == Choice((1.0,)) and isinstance(found["learning_rate"].values[0], float)
    assert spaces(methods=("tree",), file=file)["tree"]["max_depth"] == Choice((3,))
    for text in ('"256,128|64"', '["256,128", "64"]'):
        file.write_text(f"[mlp]\nunits = {text}\n")
        assert spaces(file=file)["mlp"]["units"] == Choice(("256,128", "64"), "|")


@pytest.mark.parametrize(
    "text, said",
    [
        ("[mlp", "expected a TOML file"),
        ("[mpl]\nepochs = 3", "did you mean 'mlp'?"),
        ("mlp = 3", "expected [mlp] as a table"),
        ("[mlp]\nepoch = 3", "did you mean 'epochs'?"),
        ("[mlp]\nepochs = 2.5", "[mlp] epochs: expected a whole number from 0 to 1,000,000, received 2.5"),
        ("[mlp]\nepochs = true", "received True"),
        ("[mlp]\nepochs = []", "expected values, received none"),
        ("[mlp]\nepochs = [[1]]", "received [1]"),
        ("[mlp]\nepochs = 2020-01-01", "expected a whole number"),
        ("[mlp]\noptimizer = 3", "received 3"),
        ("[mlp]\nunits = [256, 128]", "[mlp] units: expected widths such as 256,128|128,64, received 256"),
    ],
)
def test_mistakes_in_a_file_are_answered(tmp_path, text, said):
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        spaces(file=file)
    assert said in str(caught.value) and f"--space_file={file}" in str(caught.value)


def test_tables_of_methods_that_are_not_compared_are_checked_and_told(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text("[mlp]\nepochs = 3\n[tree]\nmax_depth = 3\n")
    assert set(space.read_file(file, ("mlp",))) == {"mlp", "tree"}
    (note,) = unused_tables(["mlp", "tree"], ("mlp",))
    assert "[tree] is not used" in note and note.endswith("--methods=mlp,tree")
    assert unused_tables(["mlp"], ("mlp", "tree")) == []
    with pytest.raises(UserError, match=r"a table for softmax; received \[mlp\], \[tree\]; try --methods=mlp,tree"):
        space.read_file(file, ("softmax",))
    file.write_text('[mlp]\nepochs = 3\n[tree]\nmax_depth = "deep"\n')
    with pytest.raises(UserError, match=r"\[tree\] max_depth: expected a whole number"):
        space.read_file(file, ("mlp",))


def test_a_named_pipe_is_no_file_of_a_space_but_the_shells_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="received: not a regular file"):
        space.read_file(tmp_path / "pipe", ("mlp",))
    theirs, ours = os.pipe()
    os.write(ours, b"[mlp]\nepochs = 3\n")
    os.close(ours)
    assert space.read_file(Path(f"/dev/fd/{theirs}"), ("mlp",))["mlp"]["epochs"] == Choice((3,))
    os.close(theirs)


def test_a_file_that_is_not_there():
    with pytest.raises(UserError, match="No such file"):
        spaces(file=Path("none.toml"))


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--methods=mlp,tre"], "did you mean 'tree'?"),
        (["--folds=1"], "--folds: expected a whole number from 2 to 100"),
        (["--search=tpee"], "did you mean 'tpe'?"),
        (["--trails=3"], "did you mean '--trials'?"),
        (["--jobs=0"], "--jobs: expected"),
        (["--space"], "--space: expected one or more values"),
    ],
)
def test_mistakes_in_flags_are_answered(argv, said):
    with pytest.raises(UserError) as caught:
        options(*argv)
    assert said in str(caught.value)


def test_methods_are_given_with_commas_or_as_words():
    assert options("--methods", "tree,mlp", "softmax", "tree").methods == ("tree", "mlp", "softmax")
    assert options().methods == ("mlp",)


def test_a_grid_has_an_end():
    def grid(*counts):
        return space.grid({f"parameter {count}": Range(0, 10**9, count=count) for count in counts})

    assert [len(values) for values in grid(8_000, 125).values()] == [125, 8_000]
    with pytest.raises(UserError, match="at most 1,000,000 points, received 1,000,001"):
        grid(9_901, 101)


def test_a_grid_needs_a_number_of_points():
    with pytest.raises(UserError, match=r"try --space learning_rate=0.0001..0.01:log:5"):
        space.grid(spaces("learning_rate=1e-4..1e-2:log")["mlp"])


# Folds and scores


@pytest.mark.parametrize("count, seed", [(2, 0), (5, 0), (5, 7), (10, 1)])
def test_folds_are_stratified_and_a_matter_of_the_seed_alone(digits, count, seed):
    labels = digits.train.labels
    fold_of = folds.assign(labels, count, seed)
    assert set(fold_of) == set(range(count))
    for part in (fold_of, *(fold_of[labels == digit] for digit in range(10))):
        sizes = np.bincount(part, minlength=count)
        assert sizes.max() - sizes.min() <= 1
    assert (fold_of == folds.assign(labels, count, seed)).all()
    assert (fold_of != folds.assign(labels, count, seed + 1)).mean() > 0.3


def test_folds_stay_what_they_are(digits):
    """A study that another version resumes must find its folds."""
    first = [2, 3, 0, 1, 3, 2, 2, 3, 2, 4, 0, 0, 3, 1, 2, 0, 4, 4, 3, 0]
    assert folds.assign(digits.train.labels, 5, 0)[:20].tolist() == first


def test_more_folds_than_images_of_a_class_are_refused():
    with pytest.raises(UserError, match="try --folds=3"):
        folds.assign(np.repeat(np.arange(10), [9, 3, *[9] * 8]).astype("uint8"), 5, 0)


def test_scores():
    probabilities = np.full((4, 10), 0.05)
    probabilities[:, 3] = 0.55
    found = score(probabilities, np.array([3, 3, 3, 1]), 1.5)
    assert (found.correct, found.total, found.accuracy, found.seconds) == (3, 4, 0.75, 1.5)
    assert found.loss == pytest.approx(-(3 * np.log(0.55) + np.log(0.05)) / 4)
    certain = np.eye(10)[[1, 2]]
    assert np.isfinite(score(certain, np.array([1, 3]), 0).loss)
    probabilities[0, 0] = np.nan
    broken = score(probabilities, np.array([3, 3, 3, 1]), 0)
    assert broken.diverged and broken.correct == 0


@pytest.mark.parametrize(
    "losses, weight, expected", [([1.0], 0.0, True), ([np.nan], 0.0, False), ([1.0], np.nan, False)]
)
def test_a_weight_or_a_loss_that_is_no_number_is_seen_though_the_probabilities_are(losses, weight, expected):
    state = {"model/hidden_1/kernel": np.array([0.5, weight]), "optimizer/velocity": np.array([np.nan])}
    trainer = SimpleNamespace(engine=SimpleNamespace(state=lambda: state))
    assert fitting.finite(trainer, SimpleNamespace(step_losses=np.array(losses))) is expected
    broken = score(np.full((4, 10), 0.1), np.array([0, 0, 0, 0]), 0, diverged=True)
    assert broken.diverged and broken.correct == 0


def test_a_study_that_goes_on_with_another_backend_says_so(tmp_path):
    stored = tune.stored_options(options())
    study_dir.write_settings(tmp_path, study_dir.Settings(stored, {}, {}, "tensorflow"), None)
    study = study_dir.read_settings(tmp_path)
    assert study_dir.changed_backend(study, "tensorflow") == study_dir.changed_backend(study, "") == []
    assert "another backend, tensorflow; it is now jax" in study_dir.changed_backend(study, "jax")[0]
    study_dir.write_settings(tmp_path, study_dir.Settings(stored, {}, {}, "jax"), study)
    assert study_dir.read_settings(tmp_path)["versions"]["backend"] == "tensorflow"
    assert study_dir.changed_backend(None, "jax") == []


# The choice


def row(method, number, *correct, state="complete", loss=0.1, **values):
    return Row(method, number, state, values, tuple(Score(right, 100, loss, 1.0) for right in correct))


ROWS = [
    row("mlp", 0, 95, 96, 97, epochs=3, learning_rate=0.01),
    row("mlp", 1, 97, 96, 98, epochs=5, learning_rate=0.001),
    row("mlp", 2, 99, state="pruned", epochs=9, learning_rate=0.002),
    row("tree", 0, 80, 83, 82, max_depth=7),
    row("random_forest", 0, 97, 97, 98, n_estimators=100),
    row("random_forest", 1, 97, 97, 98, n_estimators=50, loss=0.2),
]


def test_the_highest_mean_accuracy_is_chosen_and_held_against_the_next_method():
    chosen, other = selection.choose(ROWS)
    assert (chosen.method, chosen.number, other.method, other.number) == ("random_forest", 0, "mlp", 1)
    assert [row.method for row in selection.best_of_each(ROWS)] == ["random_forest", "mlp", "tree"]
    assert selection.best_network(ROWS).number == 1
    # differences over the folds 0, 1, 0: mean 1/3, deviation 0.577, its error a third
    assert 100 * selection.standard_error(chosen, other) == pytest.approx(1 / 3)
    assert "0.33 points behind, within one standard error" in table.chosen_lines(chosen, other)[1]
    tree = ROWS[3]
    assert "more than one standard error" in table.chosen_lines(chosen, tree)[1]
    assert selection.choose(ROWS[:3])[1] is ROWS[0]  # of one method, the next trial
    with pytest.raises(UserError, match="no trial completed: all diverged"):
        selection.choose([ROWS[2]])


def test_tables_and_csv():
    text = table.tables(ROWS, 3)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    (mlp,) = [line for line in lines if line.startswith("mlp") and "(1)" in line]
    assert "97.00 ± 1.00" in mlp and "94.52–99.48" in mlp and "epochs 5, learning_rate 0.001" in mlp  # t: 4.303·1/√3
    read = list(csv.DictReader(table.as_csv(ROWS).splitlines()))
    assert len(read) == 6 and read[1]["learning_rate"] == "0.001" and read[3]["learning_rate"] == ""
    assert [read[2][f"fold {fold}"] for fold in range(2)] == ["0.99", ""]


def test_large_losses_keep_their_width_and_one_trial_is_one():
    assert [table.loss_text(loss) for loss in (0.12345, 9.5, 15.94239)] == ["0.1235", "9.5000", "15.94"]
    assert table.method_line("tree", ROWS[3:4], 1.0).startswith("tree: 1 trial, 0 of them")


def test_what_the_opening_says_of_trials(digits):
    def opening(trials, **done):
        given = {"pruning": "none", "jobs": 1, "seed": 0, "search": "random", "trials": trials}
        return " ".join(table.opening(digits, [9, 9], given, {"tree": {"max_depth": Choice((3,))}}, done).split())

    assert "up to 1 trial of each method" in opening(1, tree=0) and "resumed" not in opening(1, tree=0)
    assert "already finished: 3" in opening(3, tree=3) and "--trials" not in opening(3, tree=3)
    assert "! --trials=2: tree already has 3, and all of them count" in opening(2, tree=3)


def test_a_look_is_taken_again_only_at_other_images_and_only_the_same_are_no_longer_blind(
    digits, tmp_path, monkeypatch
):
    taken = []
    answer = {"confusion": np.eye(10, dtype=int).tolist(), "loss": 0.1, "seconds": 1, "ran_on": "CPU", "diverged": True}
    monkeypatch.setattr(finish, "fit_and_test", lambda *asked: taken.append(asked) or answer)

    def look(dataset, row):
        search = finish.Finished(options(), tmp_path, dataset, None, ROWS, {})
        test, looks = finish.test_once(search, row, None)
        atomic.write_json(tmp_path / "result.json", {"test": test, "looks": looks})
        dataset_block = {"train_examples": 1, "name": "mnist"}
        return table.test_lines({"test": test, "looks": looks, "chosen": {"method": "mlp"}, "dataset": dataset_block})

    others = dataclasses.replace(digits, test=data.Split(digits.test.images[::-1], digits.test.labels[::-1]))
    assert "this training diverged" in " ".join(look(digits, ROWS[0])) and len(taken) == 1
    look(digits, ROWS[0])
    assert len(taken) == 1
    assert "used before" not in " ".join(look(others, ROWS[0])) and len(taken) == 2
    assert "used before" in " ".join(" ".join(look(others, ROWS[1])).split()) and len(taken) == 3


def test_the_line_for_train_has_all_that_says_where_it_runs():
    given = options("--backend=jax", "--tpu=grpc://10.0.0.2:8470", "--replicas=2", "--start_timeout=9")
    network = {"method": "mlp", "accuracy": 0.9}
    test = {"interval": [0, 1], "correct": 9, "total": 10, "accuracy": 0.9, "loss": 1, "seconds": 1, "ran_on": "CPU"}
    result = {
        **{"best_network": network, "chosen": network, "seconds": {"total": 1.0}, "test": test},
        **{"dataset": {"train_examples": 1, "name": "mnist"}, "looks": [{"test images": ""}]},
    }
    line = finish.closing(result, Path("study"), given)[-1]
    assert line.endswith("best.json --backend=jax --replicas=2 --tpu=grpc://10.0.0.2:8470 --start_timeout=9")


def test_a_trial_as_a_config_of_train():
    values = selection.config_values(ROWS[1], 7, "digits")
    assert values == {"model": "mlp", "epochs": 5, "learning_rate": 0.001, "seed": 7, "dataset": "digits"}
    assert "dataset" not in selection.config_values(ROWS[1], 7, "my own")


# train --config FILE


def config_of(*argv):
    config = train.config_of(command.given_flags(Config, argv, program="train", about=""))
    return dataclasses.replace(config, config="")


def test_train_takes_the_file_and_flags_override_it(tmp_path):
    file = tmp_path / "best.json"
    atomic.write_json(file, selection.config_values(ROWS[1], 7, "digits"))
    expected = Config(model="mlp", epochs=5, learning_rate=0.001, seed=7, dataset="digits", batch_size=64)
    assert config_of(f"--config={file}", "--batch_size=64") == expected
    assert config_of(f"--config={file}", "--epochs=2", "--learning_rate=0.5").epochs == 2
    file.write_text('{"preset": "lecture", "epochs": 2}')
    config = config_of(f"--config={file}")
    assert config == dataclasses.replace(PRESETS["lecture"], epochs=2)
    assert config_of(f"--config={file}", "--preset=smoke").pixels == "unit"


def test_train_takes_the_config_of_a_run_but_not_its_place(tmp_path):
    file = tmp_path / "config.json"
    atomic.write_json(file, Config(model="deep", run_dir="there", json=True, resume=False).to_dict())
    assert config_of(f"--config={file}") == Config(model="deep")


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"epoch": 3}', "unknown option 'epoch'; did you mean 'epochs'?"),
        ('{"epochs": 3', "expected a JSON file of options"),
        ('{"epochs": "3"}', "--epochs: expected a whole number"),
        ("[3]", "a list"),
        ('{"preset": "lectur"}', "did you mean 'lecture'?"),
        ("[" * 10000, "expected a JSON file"),
        ("\x00\x01", "expected a JSON file"),
    ],
)
def test_a_file_that_train_cannot_take_is_refused(tmp_path, text, said):
    file = tmp_path / "best.json"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        config_of(f"--config={file}")
    assert said in str(caught.value) and f"--config={file}" in str(caught.value)


# A study is resumed


def settings(given, spaces=None, **data):
    return study_dir.Settings(given, spaces or {}, data)


def test_a_study_is_resumed_with_its_own_options(tmp_path):
    begun = options("--methods=tree", "--folds=3", "--trials=7", "--seed=5")
    spaces_ = space.resolve(["tree"], ["max_depth=3..9"], {}, {})
    data_ = {"name": "digits", "training images": "abc"}
    study_dir.write_settings(tmp_path, settings(tune.stored_options(begun), spaces_, **data_), None)
    study = study_dir.read_settings(tmp_path)
    now = tune.options_of({"methods": ("mlp",), "trials": 9}, tmp_path)
    assert (now.methods, now.folds, now.trials, now.seed) == (("tree", "mlp"), 3, 9, 5)
    study_dir.check_options(vars(now), study, tmp_path)
    assert study_dir.spaces(now.methods, (), {}, study)["tree"] == spaces_["tree"]
    with pytest.raises(UserError, match=r"started with \(max_depth=3..9\), received max_depth=3..8"):
        study_dir.spaces(now.methods, ["max_depth=3..8"], {}, study)
    with pytest.raises(UserError, match=r"--folds=4: the study in .* was started with --folds=3"):
        study_dir.check_options(vars(tune.options_of({"folds": 4}, tmp_path)), study, tmp_path)
    study_dir.check_data({"name": "digits", "training images": "abc"}, study, tmp_path)
    with pytest.raises(UserError, match="received others, of mnist"):
        study_dir.check_data({"name": "mnist", "training images": "abd"}, study, tmp_path)


def test_a_damaged_study_or_another_directory_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("")
    with pytest.raises(UserError, match=r"--study_dir=.* it holds 'photo.jpg'"), study_dir.opened(tmp_path):
        pass
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        study_dir.read_settings(tmp_path)


def test_the_study_of_another_version_is_refused(tmp_path):
    stored = tune.stored_options(options())
    study_dir.write_settings(tmp_path, settings({**stored, "shuffle": True}), None)
    with pytest.raises(UserError, match=r"does not know the options 'shuffle' of version"):
        tune.options_of({}, tmp_path)
    without = {name: value for name, value in stored.items() if name != "methods"}
    study_dir.write_settings(tmp_path, settings(without), None)
    with pytest.raises(UserError, match="it has no option methods"):
        tune.options_of({}, tmp_path)


def test_where_the_figure_may_go(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "study"
    inside = options(f"--figure={path / 'search.png'}")
    tune.check_figure(inside, path, None)  # the directory will be there
    with pytest.raises(UserError, match="a directory that exists, there is no .*; try mkdir -p "):
        tune.check_figure(inside, tmp_path / "other", None)
    with pytest.raises(UserError, match="expected a name that ends in .png"):
        tune.check_figure(options(f"--figure={path / 'search.txt'}"), path, None)
    with pytest.raises(UserError, match="the study stores this flag; use --figure= for no figure"):
        tune.check_figure(inside, tmp_path / "other", {"options": tune.stored_options(inside)})
    tune.check_figure(options("--figure="), path, None)


def test_two_at_once_in_one_study_are_refused(tmp_path):
    path = tmp_path / "a" / "b"
    refused = pytest.raises(UserError, match=r"--study_dir=.*this study is locked by process")
    with study_dir.opened(path), refused, study_dir.opened(path):
        pass
    with study_dir.opened(path):  # it is free again
        pass


def test_a_study_that_could_not_be_started_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="no"), study_dir.opened(tmp_path / "a" / "b"):
        raise UserError("no")
    assert list(tmp_path.iterdir()) == []


# With Optuna: slow


def small(digits, images=300):
    """Some of the digits, for which nobody waits."""
    train, test = (data.Split(part.images[:images], part.labels[:images]) for part in (digits.train, digits.test))
    return dataclasses.replace(digits, train=train, test=test)


class Here(worker_pool.Worker):
    """A worker in this process; its messages are pickled as between processes."""

    def __init__(self, cores):
        self.job = self.trial = self.work = None
        self.pipe, self.theirs = Pipe()
        self.process = SimpleNamespace(kill=self.theirs.close, wait=lambda: 0)

    def send(self, message):
        message = pickle.loads(pickle.dumps(message))
        if self.work is None:
            self.work, self.fitter = message, Fitter(message.train, message.request, message.seed)
            return
        try:
            self.theirs.send(worker.run(self.fitter, self.work, message))
        except UserError as error:
            self.theirs.send(Failed(str(error), error.exit_code))


@pytest.fixture
def here(monkeypatch):
    """Searches fit in this process."""
    monkeypatch.setattr(worker_pool, "Worker", Here)


def test_a_worker_that_dies_is_reported_with_its_job(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    one = worker_pool.Worker(None)
    assert one.process.wait() == 1
    message = "^a worker process exited with code 1 while fitting tree with {'max_depth': 3}; finished trials are kept"
    with pytest.raises(UserError, match=message):
        one.submit(FitFold("tree", {"max_depth": 3}, 0), None)
    with pytest.raises(UserError, match=message):
        one.result()


def test_a_killed_worker_is_reported_with_its_signal():
    one = Here(None)
    one.process.wait = lambda: -9
    one.theirs.close()
    with pytest.raises(UserError) as caught:
        one.result()
    assert str(caught.value) == (
        "a worker process was killed by signal 9 (SIGKILL); finished trials are kept: run the same command again, "
        "perhaps with fewer --jobs"
    )


@pytest.mark.parametrize(
    "failed, error, words",
    [(Failed("no memory", 75), UserError, "^no memory$"), (Failed("Traceback", None), RuntimeError, "failed:\nTrace")],
)
def test_what_a_worker_fails_with_is_raised(failed, error, words):
    one = Here(None)
    one.theirs.send(failed)
    with pytest.raises(error, match=words) as caught:
        one.result()
    assert getattr(caught.value, "exit_code", None) == failed.exit_code


def stored(path):
    """The trials of a study, but for times: {(method, number): (state, values, correct of each fold)}."""
    from mnist_mlp.tune.study import Search, SearchSettings, open_storage

    study, found, storage = study_dir.read_settings(path), {}, open_storage(path / study_dir.TRIALS)
    for method, words in study["spaces"].items():
        search_settings = SearchSettings("random", "none", study["options"]["folds"], seed=0)
        search = Search(storage, method, space.parse_space(method, words), search_settings)
        for trial in search.rows():
            scores = [(score.correct, score.loss) for score in trial.scores]
            found[method, trial.number] = (trial.state, trial.values, scores)
    return found


def search_of(path, *words, method="tree", strategy="tpe", pruning="none", seed=0, folds=2):
    from mnist_mlp.tune.study import Search, SearchSettings, open_storage

    space_ = space.resolve([method], words, {}, {})[method]
    storage = open_storage(path / "study.sqlite3")
    return Search(storage, method, space_, SearchSettings(strategy, pruning, folds, seed))


def complete(search, trials, accuracy=lambda values: 50):
    """Runs the trials that are left, with made-up scores."""
    while (trial := search.next(trials)) is not None:
        while trial.running:
            trial.add(Score(int(accuracy(trial.values)), 100, 0.1, 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["tpe", "random", "grid"])
def test_no_point_is_tried_twice_and_a_small_space_ends(tmp_path, strategy):
    words = ["max_depth=3..6", "min_samples_leaf=1,2", "criterion=gini"]
    complete(search_of(tmp_path, *words, strategy=strategy), 3)
    complete(search_of(tmp_path, *words, strategy=strategy), 20)
    rows = search_of(tmp_path, *words, strategy=strategy).rows()
    assert len(rows) == len({(row.values["max_depth"], row.values["min_samples_leaf"]) for row in rows}) == 8
    assert {row.state for row in rows} == {"complete"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy, pruning",
    [
        ("tpe", "median"),
        pytest.param("random", "hyperband", marks=pytest.mark.full),
        pytest.param("grid", "median", marks=pytest.mark.full),
    ],
)
def test_a_search_that_ended_anywhere_goes_on_as_if_it_had_not(tmp_path, strategy, pruning):
    words = ["max_depth=3..40", "min_samples_leaf=1..9:3", "criterion=gini"]

    def accuracy(values):
        return 90 - abs(values["max_depth"] - 20) - values["min_samples_leaf"]

    def opened(name):
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        more = ["max_depth=3..40:9"] if strategy == "grid" else ["max_depth=3..40"]
        return search_of(directory, *words[1:], *more, strategy=strategy, pruning=pruning, folds=4)

    complete(opened("whole"), 7, accuracy)
    expected = [dataclasses.replace(row) for row in opened("whole").rows()]
    rng = random.Random(0)
    for _ in range(100):
        search, steps = opened("parts"), rng.randrange(1, 12)
        while steps > 0 and (trial := search.next(7)) is not None:
            while trial.running and steps > 0:
                steps -= 1
                trial.add(Score(int(accuracy(trial.values)), 100, 0.1, 0.0))
        if trial is None:
            break
    assert opened("parts").rows() == expected
    assert len(expected) == 7 and any(row.state == "pruned" for row in expected)


@pytest.mark.slow
def test_a_proposal_that_was_not_begun_is_taken_up(tmp_path):
    """A kill between the proposal of a trial and its start."""
    search = search_of(tmp_path)
    search.study.enqueue_trial(search.proposals.next([]))
    complete(search_of(tmp_path), 2)
    assert [row.number for row in search_of(tmp_path).rows()] == [0, 1]
    assert search_of(tmp_path).rows()[0].values == search.proposals.next([])


@pytest.mark.slow
def test_a_trial_whose_last_fold_was_stored_is_complete(tmp_path):
    """A kill between the score of a fold and what follows from it."""
    trial = search_of(tmp_path).next(1)
    for fold in range(2):
        trial.trial.set_user_attr(f"fold {fold}", dataclasses.asdict(Score(50 + fold, 100, 0.1, 0.0)))
    search = search_of(tmp_path)
    assert search.next(1) is None
    (row,) = search.rows()
    assert row.state == "complete" and row.accuracies == [0.5, 0.51]


@pytest.mark.slow
def test_a_network_that_diverges_ends_its_trial(tmp_path):
    search = search_of(tmp_path)
    trial = search.next(1)
    trial.add(Score(0, 100, 9.0, 0.0, diverged=True))
    assert not trial.running and search.rows()[0].state == "pruned" and search.rows()[0].diverged


@pytest.mark.slow
def test_an_optimizer_that_the_backend_cannot_run_is_refused_before_a_study_is_begun(tmp_path, full, request):
    """By a worker, which before a release is a process."""
    if not full:
        request.getfixturevalue("here")
    argv = ("--dataset=digits", "--trials=1", "--folds=2", "--strategy=cpu", "--backend=tensorflow")
    with pytest.raises(UserError, match="^--space mlp.optimizer: schedulefreeadamw: Keras reads"):
        tune.main([f"--study_dir={tmp_path / 'study'}", *argv, "--space", "optimizer=adam,schedulefreeadamw"])
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\x00 but not really" * 100])
def test_a_damaged_storage_is_refused(digits, tmp_path, content):
    given = options("--methods=tree", "--trials=1", "--folds=2")
    path = tmp_path / "study"
    path.mkdir()
    data_ = {"name": "digits", "training images": in_order_hash(digits.train)}
    spaces_ = space.resolve(["tree"], (), {}, {})
    study_dir.write_settings(path, settings(tune.stored_options(given), spaces_, **data_), None)
    (path / study_dir.TRIALS).write_bytes(content)
    with pytest.raises(UserError, match="the stored trials are damaged"):
        tune.tune(given, path, dataset=digits, reporter=SILENT)


@pytest.mark.slow
def test_trials_that_are_gone_or_not_whole_are_refused(tmp_path):
    file = tmp_path / study_dir.TRIALS
    complete(search_of(tmp_path), 1)

    def without(statement):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute(statement)
            connection.commit()

    whole = file.read_bytes()
    without("DELETE FROM trial_user_attributes WHERE key = 'fold 1'")
    with pytest.raises(UserError, match=r"damaged \(trial 0 of tree has 1 scores of 2 folds\)"):
        search_of(tmp_path)
    without("DROP TABLE trials")
    with pytest.raises(UserError, match="it has no table of trials"):
        search_of(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(UserError, match="it is empty"):
        search_of(tmp_path)
    file.unlink()
    (tmp_path / "trials.csv").write_text("")
    with pytest.raises(UserError, match=r"trials.csv is there, but the trials behind it are missing"):
        search_of(tmp_path)
    file.write_bytes(whole)
    assert len(search_of(tmp_path).rows()) == 1


@pytest.mark.slow
def test_a_full_disk_is_told_with_how_to_go_on(tmp_path):
    search = search_of(tmp_path)
    trial, limits = search.next(1), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / study_dir.TRIALS).stat().st_size, limits[1]))
    try:
        with pytest.raises(
            UserError, match="study.sqlite3 could not be written: .*; free some space, then resume with"
        ):
            while True:
                trial.add(Score(50, 100, 0.1, 0.0))
                trial = search.next(100) if not trial.running else trial
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    complete(search_of(tmp_path), 3)
    assert {row.state for row in search_of(tmp_path).rows()} == {"complete"}


class Touched(Exception):
    """The seal was broken."""


class Sealed(data.Split):
    """Test images that nobody may look at."""

    def __getattribute__(self, name):
        if name in ("images", "__reduce_ex__", "__dict__"):
            raise Touched(f"{name} of the test images was touched")
        return super().__getattribute__(name)


@pytest.mark.slow
def test_no_test_image_is_touched_before_the_choice(digits, tmp_path, here):
    sealed = Sealed(digits.test.images, digits.test.labels)
    dataset = small(digits)
    object.__setattr__(dataset, "test", sealed)  # after the data set has checked the values
    report = Collector()
    with pytest.raises(Touched):
        tune.tune(
            options("--methods=tree", "--trials=3", "--folds=2", "--pruning=none"),
            tmp_path / "study",
            dataset=dataset,
            reporter=report,
        )
    assert any(text.startswith("chosen   tree") for text in report.lines)
    assert len((tmp_path / "study" / "trials.csv").read_text().splitlines()) == 4
    assert not (tmp_path / "study" / "result.json").exists()


@pytest.mark.slow
def test_the_search_that_is_done_is_not_done_again_and_looks_are_counted(digits, tmp_path, here):
    path = tmp_path / "a ?#% b"  # whatever a directory may be called
    given = options(
        "--methods=tree", "--trials=2", "--folds=2", "--jobs=2", "--space", "max_depth=1..2", "criterion=gini"
    )
    first = tune.tune(given, path, dataset=small(digits), reporter=SILENT)
    assert (path / study_dir.TRIALS).stat().st_size > 0 and not Path("opened-by-a-function").exists()
    assert len(first["looks"]) == 1 and first["best_network"] is None and not (path / "best.json").exists()
    again = tune.tune(tune.options_of({}, path), path, dataset=small(digits), reporter=SILENT)
    of_the_call = ("seconds", "peak_memory_mb")
    assert {k: v for k, v in again.items() if k not in of_the_call} == {
        k: v for k, v in first.items() if k not in of_the_call
    }
    report = Collector()
    more = tune.options_of({"methods": ("random_forest",), "trials": 1}, path)
    third = tune.tune(more, path, dataset=small(digits), reporter=report)
    assert third["chosen"]["method"] == "random_forest" and len(third["looks"]) == 2
    assert "used before (tree after 2 trials" in " ".join("\n".join(report.lines).split())


@pytest.mark.slow
def test_what_tune_chose_train_trains_to_the_same_numbers(tmp_path, here):
    path = tmp_path / "study"
    argv = ("--dataset=digits", "--methods=mlp,tree", "--trials=2", "--folds=2", "--strategy=cpu")
    argv += ("--space", "mlp.epochs=3", "batch_size=32", "learning_rate=0.003..0.01:log", "units=24,12|16")
    result = tune.tune(options(*argv), path, reporter=SILENT)
    assert {row["method"] for row in result["methods"]} == {"mlp", "tree"}
    assert result["chosen"]["method"] == "mlp" and result["chosen"] == result["best_network"]
    config = dataclasses.replace(config_of(f"--config={path / 'best.json'}"), strategy="cpu")
    trained = train.train_and_evaluate(config, tmp_path / "run", reporter=SILENT)
    assert trained.test["confusion"] == result["test"]["confusion"]
    assert trained.test["loss"] == pytest.approx(result["test"]["loss"], rel=1e-6)
    assert trained.learning_rate == pytest.approx(result["chosen"]["values"]["learning_rate"], rel=1e-6)
    assert config.units == result["chosen"]["values"]["units"] and config.units in ("24,12", "16")
    assert trained.parameters == {"24,12": 19_270, "16": 12_730}[config.units]


ARGUMENTS = ("--dataset=digits", "--methods=tree", "--trials=7", "--folds=3", "--seed=4")


def scored(path):
    """How many folds of a study are stored, while another process writes it."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{(path / study_dir.TRIALS).as_uri()}?mode=ro", uri=True)
        ) as connection:
            return connection.execute("SELECT count(*) FROM trial_user_attributes").fetchone()[0]
    except sqlite3.Error:
        return 0


def search_here(path):
    """What a process does that will be killed."""
    worker_pool.Worker = Here
    tune.tune(options(*ARGUMENTS), path, reporter=SILENT)


@pytest.mark.slow
@pytest.mark.full  # the next test stops searches, and test_a_search_that_ended_anywhere resumes them
def test_killed_and_restarted_it_neither_loses_nor_repeats_a_finished_trial(tmp_path, here, capsys):
    tune.tune(options(*ARGUMENTS), tmp_path / "whole", reporter=SILENT)
    expected, path, finished = stored(tmp_path / "whole"), tmp_path / "killed", {}
    scores = sum(len(correct) for _, _, correct in expected.values())
    forks, ends = multiprocessing.get_context("forkserver"), []
    forks.set_forkserver_preload(["optuna", "pytest", "sklearn.tree", "mnist_mlp.tune"])
    for least in range(0, scores, 2):
        process = forks.Process(target=search_here, args=(path,))
        process.start()
        while scored(path) < least and process.is_alive():
            time.sleep(0.05)
        process.kill()
        process.join()
        ends.append(process.exitcode)
        now = stored(path) if study_dir.read_settings(path) and (path / study_dir.TRIALS).exists() else {}
        for key, before in finished.items():
            assert now[key] == before
        finished = {key: row for key, row in now.items() if row[0] in ("complete", "pruned")}
    tune.main([f"--study_dir={path}", *ARGUMENTS, "--json", f"--figure={tmp_path / 'search.png'}"])
    assert ends[0] == -signal.SIGKILL and set(ends) <= {0, -signal.SIGKILL}
    assert finished and stored(path) == expected
    assert json.loads(capsys.readouterr().out) == atomic.read_json(path / "result.json")
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.full)])
def test_a_stop_ends_the_workers_and_says_how_to_resume(tmp_path, signum):
    path = tmp_path / "study"
    flags = ("--dataset=digits", "--jobs=2", "--methods=random_forest", "--trials=500", "--folds=2")
    flags += ("--space", "n_estimators=100,101")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start("tune", f"--study_dir={path}", *flags, backend=None, **pipes)
    deadline = time.monotonic() + 120
    while not scored(path) and time.monotonic() < deadline:  # at work, then
        time.sleep(0.05)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while any(map(lives, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(lives, workers))
    if signum == signal.SIGTERM:
        assert process.returncode == 75 and "; resume with: " in stderr and f"--study_dir={path}" in stderr, stderr
        assert stderr.count("\n") == 1


def workers_of(pid):
    """The worker processes of a search."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and "mnist_mlp.tune.worker" in stat.with_name("cmdline").read_text():
                found.append(int(stat.parent.name))
        except OSError:
            pass
    return found


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_without_the_packages_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "optuna", None)
        with pytest.raises(UserError, match=r"the package optuna is not installed; .*pip install 'mnist_mlp\[tune\]'$"):
            tune.main(["--dataset=digits"])
        with pytest.raises(UserError, match="did you mean 'epochs'"):
            tune.main(["--space", "epoch=3"])
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UserError, match=r"scikit-learn is not installed; .*pip install 'mnist_mlp\[tune\]'$"):
        tune.main(["--dataset=digits", "--methods=tree"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_the_packages_there_is_help_and_a_refusal_of_one_line():
    without = {"backend": None, "absent": ("optuna", "sklearn")}
    assert run("tune", "--help", **without).returncode == 0
    done = run("tune", "--dataset=digits", **without)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "the package optuna is not installed" in done.stderr
