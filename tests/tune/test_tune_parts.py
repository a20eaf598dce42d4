"""Parts of a search one by one: proposals, the directory of a study, its trials, tables and figure, hand-outs."""

import csv
import io
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.programs import Collector

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.errors import Stopped, UserError
from mnist_mlp.stats.metrics import mean_interval
from mnist_mlp.tune import methods, proposals, search, study, study_dir, table
from mnist_mlp.tune.fitting import Score
from mnist_mlp.tune.proposals import Proposals, all_values, key, nth
from mnist_mlp.tune.space import Choice, Range
from mnist_mlp.tune.study import Row


def row(number, *correct, method="tree", state="complete", loss=0.5, **values) -> Row:
    """A trial on folds of 100 images."""
    scores = tuple(Score(right, 100, loss, 1.5) for right in correct)
    return Row(method, number, state, values, scores)


@pytest.mark.parametrize(
    "kind, value, words",
    [
        (methods.LogisticRegression, {"C": 0.0}, "--C: expected a number from 1e-09 to"),
        (
            methods.LogisticRegression,
            {"max_iter": 0},
            "--max_iter: expected a whole number from 1 to 100,000, received 0",
        ),
    ],
)
def test_a_hyper_parameter_that_cannot_be_is_refused(kind, value, words):
    kind()
    with pytest.raises(UserError, match=words):
        kind(**value)


# Proposals

SMALL = {"b": Choice(("x", "y", "z")), "a": Range(1, 2)}


def test_points_of_a_product_are_counted_from_the_first_name():
    whole = {"a": (1, 2), "b": ("x", "y", "z")}
    found = [tuple(nth(whole, index).values()) for index in range(6)]
    assert found == [(1, "x"), (2, "x"), (1, "y"), (2, "y"), (1, "z"), (2, "z")]
    assert list(all_values(Range(3, 6))) == [3, 4, 5, 6] and all_values(Choice((1, 0))) == (1, 0)
    assert key({"b": 1, "a": "x"}) == key({"a": "x", "b": 1}) != key({"a": "x", "b": "1"})


def test_there_are_not_more_trials_than_points():
    found = Proposals("tree", SMALL, "random", 0)
    assert (found.size, found.limit(5), found.limit(6), found.limit(7)) == (6, 5, 6, 6)
    endless = Proposals("tree", {"a": Range(0.1, 0.2)}, "random", 0)
    assert endless.size is None and endless.limit(1000) == 1000
    assert Proposals("tree", {"a": Range(0.1, 0.2, count=3)}, "grid", 0).limit(9) == 3


def test_a_grid_has_all_points_once_in_an_order_of_its_own():
    found = Proposals("tree", SMALL, "grid", 0)
    points = [found.next([None] * number) for number in range(6)]
    assert {key(point) for point in points} == {key({"a": a, "b": b}) for a in (1, 2) for b in "xyz"}
    wide = {"a": Range(1, 20)}

    def order(method, seed):
        return [Proposals(method, wide, "grid", seed).grid_point(number)["a"] for number in range(20)]

    assert order("tree", 0) == order("tree", 0) != order("tree", 1) and order("tree", 0) != order("mlp", 0)
    assert sorted(order("mlp", 3)) == list(range(1, 21)) != order("mlp", 3)


def test_what_no_trial_had_is_found():
    found = Proposals("tree", SMALL, "random", 0)
    all_of_them = [{"a": a, "b": b} for a in (1, 2) for b in "xyz"]
    for left in all_of_them:
        tried = {key(values) for values in all_of_them if values != left}
        assert found.untried(tried, np.random.default_rng(0)) == left


@pytest.fixture(scope="module")
def optuna():
    pytest.importorskip("optuna")
    return proposals.import_optuna()


def test_values_come_to_optuna_as_they_are_declared(optuna):
    kinds = optuna.distributions
    assert proposals.distribution(Choice(("a", "b"))) == kinds.CategoricalDistribution(("a", "b"))
    assert proposals.distribution(Range(1, 8, log=True)) == kinds.IntDistribution(1, 8, log=True)
    assert proposals.distribution(Range(0.5, 8.0)) == kinds.FloatDistribution(0.5, 8.0)
    assert proposals.distribution(Range(0.5, 8.0, log=True)).log
    samplers = [type(Proposals("tree", SMALL, kind, 0).sampler(1)).__name__ for kind in ("random", "tpe")]
    assert samplers == ["RandomSampler", "TPESampler"]


def stored(number, values, optuna, mean=0.5):
    distributions = {name: proposals.distribution(SMALL[name]) for name in sorted(SMALL)}
    return optuna.trial.create_trial(
        params=values, distributions=distributions, value=mean, system_attrs={"fixed_params": values}
    )


def test_no_trial_has_the_values_of_another(optuna):
    def all_of(seed, method="tree"):
        found, trials = Proposals(method, SMALL, "random", seed), []
        for number in range(6):
            values = found.next(trials)
            assert values == found.next(trials)  # the same whenever it is asked
            trials.append(stored(number, values, optuna))
        return [proposals.values_of(trial) for trial in trials]

    first = all_of(0)
    assert len({key(values) for values in first}) == 6
    assert first != all_of(1)


def test_a_package_that_is_missing_is_named():
    message = str(proposals.missing_package("optuna", ModuleNotFoundError("x")))
    assert message.startswith("tune: the package optuna is not installed; run ")
    assert "cannot be imported (bad)" in str(proposals.missing_package("optuna", ImportError("bad")))


# The stored trials


def test_figures_of_a_trial():
    one = row(0, 90, 80, 100)
    assert one.accuracy == pytest.approx(0.9) and one.sd == pytest.approx(0.1) and one.seconds == 4.5
    assert one.accuracies == [0.9, 0.8, 1.0] and one.loss == 0.5 and not one.diverged
    assert math.isnan(row(0, 90).sd)
    assert Row("tree", 0, "pruned", {}, (Score(1, 2, 0.1, 1), Score(0, 2, 0.1, 1, diverged=True))).diverged


def search_of(rows, folds=3):
    """A search whose file holds those rows, without a file."""
    found = object.__new__(study.Search)
    found.file, found.method, found.folds, found.space = Path("study.sqlite3"), "tree", folds, {"depth": Range(1, 9)}
    found.rows = lambda: rows
    return found


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (row(0, 1, 2, 3, depth=1), ""),
        (row(0, 1, state="pruned", depth=1), ""),
        (row(0, state="running", depth=1), ""),
        (row(0, state="waiting"), ""),
        (row(4, 1, 2, depth=1), "trial 4 of tree has 2 scores of 3 folds"),
        (row(4, state="pruned", depth=1), "trial 4 of tree is incomplete"),
        (row(4, 1, 2, 3), "trial 4 of tree is incomplete"),
        (row(4, 1, 2, 3, width=1), "trial 4 of tree is incomplete"),
        (
            Row("tree", 4, "pruned", {"depth": 1}, (Score(0, 100, 1, 1), Score(0, 0, 1, 1))),
            "trial 4 of tree is incomplete",
        ),
        (
            Row("tree", 4, "pruned", {"depth": 1}, (Score(0, 0, 1, 1), Score(0, 100, 1, 1))),
            "trial 4 of tree is incomplete",
        ),
        (Row("tree", 4, "pruned", {"depth": 1}, (Score(1, 1, 1, 1),)), ""),
    ],
)
def test_what_a_search_would_not_have_stored_is_damaged(stored, words):
    if not words:
        search_of([stored]).check()
        return
    with pytest.raises(UserError, match=f"the stored trials are damaged .{words}.; start a new study"):
        search_of([stored]).check()


def test_a_file_that_is_none_of_sqlite_is_damaged(tmp_path):
    file = tmp_path / "study.sqlite3"
    assert study.find_damage(file) == ""
    file.touch()
    assert study.find_damage(file) == "it is empty"
    file.write_bytes(b"no database" * 100)
    assert "not a database" in study.find_damage(file)
    file.unlink()
    connection = study.sqlite3.connect(file)
    connection.execute("CREATE TABLE other (x)")
    connection.commit()
    assert study.find_damage(file) == "it has no table of trials"
    connection.execute("CREATE TABLE trials (x)")
    connection.commit()
    connection.close()
    assert study.find_damage(file) == ""


# The tables


def options(**has):
    return {"pruning": "none", "jobs": 1, "trials": 20, "search": "tpe", "seed": 3, **has}


def dataset(name="mnist", verified=True, notes=()):
    return SimpleNamespace(
        name=name, train=range(6000), test=range(1000), source="cache", verified=verified, notes=notes
    )


def test_the_search_is_told_before_the_first_trial():
    spaces = {"tree": {"depth": Range(1, 9, count=3)}, "mlp": {"rate": Range(0.1, 0.2)}}
    lines = table.opening(dataset(), [600] * 10, options(), spaces, {"tree": 0, "mlp": 0}).splitlines()
    assert lines == [
        "data     mnist: 6,000 training images; cache, content verified",
        "         the 1,000 test images are not used before the choice is made",
        "folds    10 of 600 images, stratified, drawn by seed 3, the same for all trials",
        "search   tpe, up to 20 trials of each method, no pruning, 1 job",
        "         tree  depth=1..9",
        "         mlp   rate=0.1..0.2",
    ]
    more = options(pruning="median", jobs=4, trials=1, search="grid")
    again = table.opening(dataset(verified=False), [601, 600], more, spaces, {"tree": 1200, "mlp": 1}).splitlines()
    assert again[0].endswith("content not verified") and again[2].startswith("folds    2 of 600 or 601 images")
    assert again[3] == "search   grid, up to 1 trial of each method, median pruning, 4 jobs"
    assert again[4] == "         tree  depth=1..9:3" and again[6] == "resumed  trials already finished: 1,201"
    assert "--trials=1: tree already has 1,200, and all of them count" in " ".join(again[7:])


def test_a_method_is_told_when_it_is_done():
    rows = [row(0, 90, 80), row(1, 95, 85), row(2, 99, state="pruned")]
    assert table.method_line("tree", rows, 12.34) == "tree: 3 trials, 1 of them pruned, best 90.00%, trial 1; 12.3 s"
    assert table.method_line("tree", rows[2:], 1) == "tree: 1 trial, 1 of them pruned, none complete; 1.0 s"


def test_numbers_have_a_length():
    assert table.loss_text(9.99999) == "10.0000" and table.loss_text(0.5) == "0.5000" and table.loss_text(10) == "10"
    assert (
        table.loss_text(123.456) == "123.5"
        and table.formatted(0.000123456) == "0.0001235"
        and table.formatted(7) == "7"
    )
    assert table.counted(1, "fold") == "1 fold" and table.counted(1000, "fold") == "1,000 folds"


def test_a_row_has_mean_deviation_and_interval():
    one = row(7, 90, 92, 94, depth=3, a="x")
    low, high = mean_interval([0.9, 0.92, 0.94])
    assert table.row_line(one, "tree", "more").split() == [
        *("tree", "more", "92.00", "±", "2.00", f"{100 * low:.2f}–{100 * high:.2f}", "0.5000", "4.5"),
        *("a", "x,", "depth", "3"),
    ]
    assert "0.00–100.00" in table.row_line(row(0, 1, 99, depth=3), "tree", "")


def test_a_row_without_hyper_parameters_keeps_its_figures():
    line = table.row_line(row(7, 90, 92, 94), "tree", "more")
    assert line.split()[:5] == ["tree", "more", "92.00", "±", "2.00"] and line.split()[-1] == "defaults"


def test_the_tables_have_the_best_of_each_method_and_of_all():
    rows = [row(number, 80 + number, 82 + number, depth=3) for number in range(7)]
    rows += [row(0, 90, 91, method="mlp", epochs=5), row(1, 50, method="mlp", state="pruned")]
    rows += [row(0, 50, method="softmax", state="pruned")]
    lines = table.tables(rows, 2).splitlines()
    assert lines[1].split()[:4] == ["mlp", "2", "(1)", "90.50"] and lines[2].split()[:4] == [
        "tree",
        "7",
        "(0)",
        "87.00",
    ]
    assert lines[3] == "softmax  no trial completed" and lines[5].startswith("Means over 2 folds ± ")
    best = [line.split()[:3] for line in lines[lines.index("best trials of all") + 2 :]]
    assert best == [["mlp", "0", "90.50"], *(["tree", str(n), f"{81 + n}.00"] for n in (6, 5, 4, 3))]


def test_the_choice_is_as_sure_as_the_folds_say():
    chosen, other = row(3, 92, 94, 96), row(1, 90, 92, 91, method="mlp")
    lines = table.chosen_lines(chosen, other)
    assert lines[0] == "chosen   tree, trial 3: the highest mean accuracy, 94.00%"
    # Differences of 2, 2 and 5 points: 3 in the mean, a deviation of √3, a standard error of 1.
    assert lines[1] == (
        "         next: mlp, trial 1, 3.00 points behind, more than one standard error of that difference (1.00)"
    )
    near = table.chosen_lines(chosen, row(1, 91, 96, 92, method="mlp"))[1]  # 1, −2, 4: 1 point, a standard error of √3
    assert near.endswith(
        "1.00 points behind, within one standard error of that difference (1.73): the folds cannot separate them"
    )
    same = table.chosen_lines(chosen, row(1, 92, 94, 96, method="mlp"))[1]
    assert "0.00 points behind, within one standard error of that difference (0.00)" in same
    assert len(table.chosen_lines(chosen, None)) == 1


def test_the_look_at_the_test_images_is_told():
    test = {"interval": [0.95, 0.97], "correct": 960, "total": 1000, "accuracy": 0.96, "loss": 0.125, "seconds": 2.25}
    look = {"test images": "h", "method": "tree", "trials": 1, "correct": 950, "total": 1000}
    result = {
        "test": {**test, "ran_on": "CPU"},
        "chosen": {"method": "tree"},
        "dataset": {"name": "mnist", "train_examples": 6000},
        "looks": [{**look, "test images": "others"}, look],
    }
    assert table.test_lines(result) == [
        "test     tree, fitted on all 6,000 training images: 960 of 1,000 correct = 96.00%",
        "         (95% interval 95.00–97.00%), loss 0.1250, fitted in 2.2 s on CPU",
    ]
    result["looks"].insert(0, look)
    result["dataset"]["name"], result["test"]["diverged"] = "digits", True
    lines = table.test_lines(result)
    assert "diverged" in lines[2] and lines[3] == "  !      measured on digits: this is not MNIST accuracy"
    assert "before (tree after 1 trial, 950 of 1000): this choice is no longer blind to them" in " ".join(
        " ".join(lines[4:]).split()
    )


def test_trials_as_csv():
    rows = [row(0, 90, 80, depth=3), row(1, 70, method="mlp", state="pruned", rate=0.5), row(2, state="running")]
    read = list(csv.reader(io.StringIO(table.as_csv(rows))))
    head = [
        "method",
        "trial",
        "state",
        "folds",
        "accuracy",
        "sd",
        "loss",
        "seconds",
        "depth",
        "rate",
        "fold 0",
        "fold 1",
    ]
    assert read[0] == head and [len(line) for line in read] == [12] * 4
    assert read[1][:5] == ["tree", "0", "complete", "2", str(rows[0].accuracy)] and read[1][7:] == [
        "3.0",
        "3",
        "",
        "0.9",
        "0.8",
    ]
    assert read[2][2:4] == ["pruned", "1"] and read[2][7:] == ["1.5", "", "0.5", "0.7", ""]
    assert read[3] == ["tree", "2", "running", "0", *[""] * 8]
    assert list(csv.reader(io.StringIO(table.as_csv([])))) == [head[:8]]


# The directory of a study

BEGUN = {
    "options": {"methods": ["tree"], "folds": 3, "search": "tpe", "pruning": "none", "seed": 0},
    "spaces": {"tree": ["criterion=gini", "max_depth=4..30:4"]},
    "data": {"name": "digits", "images": "h"},
    "versions": {"mnist_mlp": "0.1", "keras": "0.0", "backend": "jax"},
}


def test_how_a_study_was_begun_is_read_and_damage_told(tmp_path):
    assert study_dir.read_settings(tmp_path) is None
    file = tmp_path / study_dir.SETTINGS
    study_dir.write_json(file, {**BEGUN, "options": {**BEGUN["options"], "seed": 1}})
    assert study_dir.read_settings(tmp_path)["options"]["seed"] == 1
    for content, why in (
        ({**BEGUN, "spaces": []}, "it has no spaces"),
        ({**BEGUN, "versions": "3"}, "it has no versions"),
        ({**BEGUN, "options": {"methods": [], "folds": 3}}, "it has no option search"),
    ):
        study_dir.write_json(file, content)
        with pytest.raises(UserError) as error:
            study_dir.read_settings(tmp_path)
        assert str(error.value) == f"{file}: the settings of the study are damaged ({why}); start another study"
    file.write_text("{")
    with pytest.raises(UserError, match="the settings of the study are damaged"):
        study_dir.read_settings(tmp_path)


def test_a_directory_holds_a_study_or_nothing(tmp_path):
    study_dir.inspect(tmp_path)
    (tmp_path / study_dir.lock.NAME).touch()
    (tmp_path / f"{study_dir.TEMPORARY}x").touch()
    study_dir.inspect(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"expected a new or empty directory, or a study to resume; it holds '"):
        study_dir.inspect(tmp_path)
    (tmp_path / study_dir.SETTINGS).touch()
    study_dir.inspect(tmp_path)
    with pytest.raises(UserError, match="the directory cannot be read"):
        study_dir.inspect(tmp_path / "none")


def test_a_study_goes_on_as_it_was_begun(tmp_path):
    given = {**BEGUN["options"]}
    study_dir.check_options(given, BEGUN, tmp_path)
    study_dir.check_options({}, None, tmp_path)
    for name, other in (("folds", 5), ("search", "grid"), ("pruning", "median"), ("seed", 1)):
        with pytest.raises(UserError) as error:
            study_dir.check_options({**given, name: other}, BEGUN, tmp_path)
        assert str(error.value).startswith(
            f"--{name}={other}: the study in {tmp_path} was started with --{name}={given[name]}; omit it"
        )
    study_dir.check_data({"name": "digits", "images": "h"}, BEGUN, tmp_path)
    study_dir.check_data({"name": "x"}, None, tmp_path)
    with pytest.raises(UserError, match="expected the digits training images .* received others, of mnist; try"):
        study_dir.check_data({"name": "mnist", "images": "h"}, BEGUN, tmp_path)
    study_dir.check_known(["methods", *study_dir.FIXED], BEGUN, tmp_path)
    with pytest.raises(UserError, match="does not know the options 'pruning' of version 0.1; resume with that version"):
        study_dir.check_known(["methods", "folds", "search", "seed"], BEGUN, tmp_path)


def test_spaces_are_as_begun_or_as_given():
    found = study_dir.spaces(["tree"], [], {}, BEGUN)
    assert found == {"tree": {"criterion": Choice(("gini",)), "max_depth": Range(4, 30, count=4)}}
    assert study_dir.spaces(["tree"], ["max_depth=4..30:4"], {}, BEGUN) == found
    with pytest.raises(UserError) as error:
        study_dir.spaces(["tree"], ["max_depth=4..31"], {}, BEGUN)
    assert str(error.value) == (
        "--space: expected the space of tree that the study was started with (max_depth=4..30:4), received "
        "max_depth=4..31; omit it, or use another --study_dir"
    )
    with pytest.raises(UserError, match=r"started with \(none\), received min_samples_leaf=1,2; omit"):
        study_dir.spaces(["tree"], ["min_samples_leaf=1,2"], {}, BEGUN)
    assert study_dir.spaces(["tree"], ["max_depth=3,4"], {}, None)["tree"]["max_depth"] == Choice((3, 4))


def test_what_is_added_to_a_study_is_written_beside_the_rest(tmp_path):
    given = {**BEGUN["options"], "study_dir": "here", "space": [], "space_file": None, "json": None}
    more = study_dir.Settings(given, {"mlp": {"epochs": Range(5, 25)}}, {"name": "digits"}, "tensorflow")
    study_dir.write_settings(tmp_path, more, BEGUN)
    written = json.loads((tmp_path / study_dir.SETTINGS).read_text())
    assert written["options"] == BEGUN["options"] and written["data"] == {"name": "digits"}
    assert written["spaces"] == {**BEGUN["spaces"], "mlp": ["epochs=5..25"]}
    assert written["versions"] == BEGUN["versions"]  # the first backend stays
    study_dir.write_settings(tmp_path, study_dir.Settings(given, {}, {}, "tensorflow"), None)
    fresh = json.loads((tmp_path / study_dir.SETTINGS).read_text())["versions"]
    assert fresh["backend"] == "tensorflow" and fresh["numpy"] == np.__version__
    study_dir.write_settings(tmp_path, study_dir.Settings(given, {}, {}), None)
    assert "backend" not in json.loads((tmp_path / study_dir.SETTINGS).read_text())["versions"]


def test_what_has_changed_since_is_told(monkeypatch):
    monkeypatch.setattr(study_dir, "versions", lambda: {"mnist_mlp": "0.1", "keras": "3.1", "jax": "0.6"})
    assert study_dir.changed_versions(BEGUN) == ["keras 3.1 (before: 0.0)"] and study_dir.changed_versions(None) == []
    (note,) = study_dir.changed_backend(BEGUN, "tensorflow")
    assert note == "earlier networks were fitted with another backend, jax; it is now tensorflow"
    assert not study_dir.changed_backend(BEGUN, "jax") and not study_dir.changed_backend(BEGUN, "")
    assert not study_dir.changed_backend(None, "jax") and not study_dir.changed_backend({"versions": {}}, "jax")


def test_a_command_can_be_typed_as_it_is_shown(monkeypatch):
    monkeypatch.setattr(study_dir.shutil, "which", lambda name: study_dir.sys.executable)
    assert study_dir.command_line("tune", "--study_dir=a b") == "python -m mnist_mlp.tune '--study_dir=a b'"
    monkeypatch.setattr(study_dir.shutil, "which", lambda name: None)
    assert study_dir.command_line("tune").startswith(f"{study_dir.sys.executable} -m mnist_mlp.tune")
    assert study_dir.default_path().parent == Path("studies")


# Folds are handed out


class Trial:
    def __init__(self, search, number, folds):
        self.search, self.method, self.number, self.left = search, search.method, number, folds
        self.values, self.scores, self.running = {"n": number}, [], True

    def add(self, score):
        self.scores.append(score)
        self.running = len(self.scores) < self.left


class Searched:
    """A search of two trials, of so many folds each."""

    def __init__(self, method, folds=2, count=2):
        self.method, self.folds, self.made, self.count = method, folds, [], count
        self.proposals = SimpleNamespace(limit=lambda trials: min(trials, self.count))

    def next(self, trials):
        if len(self.made) == self.proposals.limit(trials):
            return None
        self.made.append(Trial(self, len(self.made), self.folds))
        return self.made[-1]

    def rows(self):
        return [row(t.number, *t.scores, method=self.method) for t in self.made if not t.running]


class Worker:
    def __init__(self, log):
        self.log, self.job, self.trial = log, None, None

    def submit(self, job, trial):
        self.job, self.trial = job, trial
        self.log.append((job.method, job.values["n"], job.fold))

    def result(self):
        self.job = None
        return 90


@pytest.fixture
def pool(monkeypatch):
    """Workers that answer at once; what they were asked, in order."""
    log = []

    class Pool:
        def __init__(self, work, jobs):
            self.workers = [Worker(log) for _ in range(jobs)]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            log.append("closed")

        def idle(self):
            return [worker for worker in self.workers if worker.job is None]

        def ready(self):
            return [worker for worker in self.workers if worker.job is not None]

    monkeypatch.setattr(search, "Pool", Pool)
    return log


class Asked:
    """A request to stop, or none."""

    word = "interrupted"

    def __init__(self, after=None):
        self.after, self.looked = after, 0

    def __bool__(self):
        self.looked += 1
        return self.after is not None and self.looked > self.after


def test_one_worker_fits_one_trial_after_the_other(pool):
    report = Collector()
    search.TrialRunner([Searched("tree"), Searched("mlp")], 5, Asked(), report).run(None, 1)
    trials = [(method, number, fold) for method in ("tree", "mlp") for number in (0, 1) for fold in (0, 1)]
    assert pool == [*trials, "closed"]
    assert (
        report.progress_seen[0] == "tree: trial 1 of 2, fold 1 of 2"
        and report.progress_seen[-1] == "mlp: trial 2 of 2, fold 2 of 2"
    )
    assert [line.partition(";")[0] for line in report.lines] == [
        "tree: 2 trials, 0 of them pruned, best 90.00%, trial 0",
        "mlp: 2 trials, 0 of them pruned, best 90.00%, trial 0",
    ]


def test_two_workers_share_the_trials(pool):
    searches = [Searched("tree", folds=1), Searched("mlp", folds=1)]
    search.TrialRunner(searches, 1, Asked(), SILENT).run(None, 2)
    assert pool == [("tree", 0, 0), ("mlp", 0, 0), "closed"]


def test_no_worker_starts_if_all_trials_are_done(pool):
    report = Collector()
    search.TrialRunner([Searched("tree", count=0)], 5, Asked(), report).run(None, 2)
    assert pool == report.lines == []


def test_a_search_stops_after_what_it_has_stored(pool):
    run = search.TrialRunner([Searched("tree", folds=1, count=9)], 9, Asked(after=3), SILENT)
    with pytest.raises(Stopped) as error:
        run.run(None, 1)
    done = pool.count("closed")
    assert done == 1 and str(error.value) == f"interrupted after {len(pool) - 2} finished trials" and len(pool) > 2


def test_a_job_can_have_a_process_of_its_own(pool):
    work = search.Work(None, np.arange(5), None, 0)
    assert search.run_alone(work, search.FitFold("tree", {"n": 7}, 0), Asked(), "x") == 90
    assert pool == [("tree", 7, 0), "closed"]


def test_only_optimizers_that_are_searched_are_checked(monkeypatch):
    asked = []
    monkeypatch.setattr(search, "run_alone", lambda work, job, request, when: asked.append((work, job, when)))
    train = SimpleNamespace(images=np.zeros((4, 28, 28)), labels=np.zeros(4))
    work = search.Work(train, np.zeros(4), None, 0)
    search.check_optimizers(work, {"tree": {"max_depth": Choice((1,))}, "mlp": {"epochs": Choice((1,))}}, None)
    assert not asked
    search.check_optimizers(
        work, {"mlp": {"epochs": Choice((1,))}, "cnn": {"optimizer": Choice(("sgd", "adam"))}}, None
    )
    ((given, job, when),) = asked
    assert (job.method, job.values, when) == ("cnn", {"cnn": ("sgd", "adam")}, "before the search")
    assert len(given.train.images) == len(given.train.labels) == 0


# The figure


@pytest.fixture
def axes():
    figure = pytest.importorskip("matplotlib.figure")
    return figure.Figure().add_subplot()


def test_the_worst_trials_are_cut_off(axes):
    from mnist_mlp.tune import figure as picture

    rows = [row(n, right) for n, right in enumerate([0, *range(90, 100), 100])]
    picture.zoom(axes, rows)
    low = np.quantile([0, *range(90, 101)], 0.1)  # 90.1: the bottom is as far below as the best is above
    assert axes.get_ylim() == pytest.approx((2 * low - 100 - 0.05 * (200 - 2 * low), 100 + 0.05 * (200 - 2 * low)))
    picture.zoom(axes, [row(0, 90), row(1, state="running")])
    assert axes.get_ylim() == pytest.approx((89.995, 90.005))


def test_trials_are_drawn_with_the_best_so_far(axes):
    from mnist_mlp.tune import figure as picture

    rows = [row(0, 90), row(1, 80), row(2, 95), row(3, 50, state="pruned"), row(4, state="running")]
    picture.draw_trials(axes, rows)
    pruned, complete, best = ([line.get_xdata().tolist(), line.get_ydata().tolist()] for line in axes.lines)
    assert pruned == [[3], [50]] and complete == [[0, 1, 2], [90, 80, 95]] and best == [[0, 1, 2], [90, 90, 95]]
    assert picture.colours([row(0, method=name) for name in "abab"]) == {"a": "C0", "b": "C1"}
    assert len(picture.rows_of(rows, "tree")) == 4 and picture.rows_of(rows, "mlp") == []


def test_methods_are_drawn_with_the_best_above(axes):
    from mnist_mlp.tune import figure as picture

    picture.draw_methods(axes, [row(0, 90, 94), row(1, 70, 72), row(0, 95, 99, method="mlp")])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["tree", "mlp"]
    assert axes.get_ylim() == (-0.6, 1.6)
    folds = [line for line in axes.lines if line.get_marker() == "|" and len(line.get_xdata()) == 2]
    assert [list(line.get_xdata()) for line in folds[:1]] == [[90, 94]]
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert means == pytest.approx([92, 97])
    low, high = mean_interval([0.9, 0.94])
    ends = axes.collections[0].get_segments()[0][:, 0]
    assert ends == pytest.approx([100 * max(low, 0), 100 * min(high, 1)])


@pytest.mark.parametrize(
    ("parameter", "values", "x", "scale"),
    [
        (Choice(("b", "a")), ("b", "a", "b"), [1, 0], "linear"),
        (Range(1.0, 100.0, log=True), (1.0, 10.0, 100.0), [1.0, 10.0], "log"),
        (Range(1, 9), (1, 5, 9), [1, 5], "linear"),
    ],
)
def test_a_parameter_is_drawn_on_its_scale(axes, parameter, values, x, scale):
    from mnist_mlp.tune import figure as picture

    rows = [row(0, 90, v=values[0]), row(1, 80, v=values[1]), row(2, 70, state="pruned", v=values[2])]
    picture.draw_slice(axes, rows, "v", parameter, rows[0])
    pruned, complete, chosen = axes.lines
    assert list(complete.get_xdata()) == x and list(complete.get_ydata()) == [90, 80] and len(pruned.get_xdata()) == 1
    assert list(chosen.get_xdata()) == x[:1] and list(chosen.get_ydata()) == [90] and axes.get_xscale() == scale
    assert axes.get_xlabel() == "v of tree"
    if isinstance(parameter, Choice):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"] and axes.get_xlim() == (-0.5, 1.5)
