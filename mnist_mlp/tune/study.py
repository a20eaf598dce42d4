"""The trials of a search: Optuna proposes them, and keeps them in an SQLite file.

Each method has a study of its own, so that each gets the same number of trials and is pruned against its like. One
process alone asks, writes and reads: two workers are never given the same trial, and a trial whose fold was scored is
stored before the next one is begun. What is proposed depends on the seed, the trial's number and the trials before
alone: with one job, a search that was stopped, or killed, goes on as if it had not been.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic
from mnist_mlp.tune import study_dir
from mnist_mlp.tune.fitting import Score
from mnist_mlp.tune.proposals import Proposals, imported, values_of
from mnist_mlp.tune.space import Choice, Parameter, Space

if TYPE_CHECKING:
    import optuna

LEFT = ("result.json", "trials.csv")  # what a search leaves that has stored trials


@dataclasses.dataclass(frozen=True)
class Row:
    """A trial as it is stored."""

    method: str
    number: int
    state: str  # "complete", "pruned", "running" or "waiting"
    values: dict[str, Any]
    scores: tuple[Score, ...]  # one for each fold that was fitted, in order

    @property
    def accuracies(self) -> list[float]:
        return [score.accuracy for score in self.scores]

    @property
    def accuracy(self) -> float:
        """The mean over its folds, from 0 to 1."""
        return float(np.mean(self.accuracies))

    @property
    def sd(self) -> float:
        """The standard deviation over its folds."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.scores) > 1 else math.nan

    @property
    def loss(self) -> float:
        return float(np.mean([score.loss for score in self.scores]))

    @property
    def seconds(self) -> float:
        return sum(score.seconds for score in self.scores)

    @property
    def diverged(self) -> bool:
        return any(score.diverged for score in self.scores)


def open_storage(file: Path) -> optuna.storages.RDBStorage:
    """Optuna's storage in that file, made whole or not at all. Raises `UserError` where it is no such file."""
    optuna = imported()
    if not file.exists() and (listed := [name for name in LEFT if (file.parent / name).exists()]):
        raise UserError(
            f"{file}: expected the trials that {listed[0]} was made from, received no such file; put it back, or name "
            "another --study_dir"
        )
    if reason := damaged(file):
        raise refused(file, reason)
    try:
        with defer_signals():
            if not file.exists():  # its tables are not made in one transaction
                atomic.write_file(file, lambda part: storage_in(part).engine.dispose())
            return storage_in(file)
    except UserError:
        raise
    except Exception as error:  # SQLAlchemy's, or Optuna's for the file of another version
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise UserError(
            f"{file}: expected the trials of a study, as Optuna {optuna.__version__} stores them; received: {reason}; "
            "name another --study_dir"
        ) from None


def refused(file: Path, reason: str) -> UserError:
    return UserError(f"{file}: expected the trials of a study, received a damaged one ({reason}); begin another one")


@contextlib.contextmanager
def kept_in(file: Path) -> Iterator[None]:
    """Turns what Optuna raises where the file cannot be read or written, on a full disk above all, into `UserError`."""
    optuna = imported()
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        cause: BaseException = error
        while not isinstance(cause, sqlite3.Error) and (cause.__cause__ or cause.__context__):
            cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]  # SQLite's own words
        how = study_dir.command_line("tune", f"--study_dir={file.parent}")
        reason = " ".join(str(cause).split())[:200]
        raise UserError(f"{file} could not be written: {reason}; free space; go on with {how}") from None


def storage_in(file: Path) -> optuna.storages.RDBStorage:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, timeout=60, check_same_thread=False)

    # By a function, since not every path can be written as an address.
    return imported().storages.RDBStorage("sqlite:///opened-by-a-function", engine_kwargs={"creator": connect})


def damaged(file: Path) -> str:
    """What SQLite finds wrong with the file, or nothing. A journal that a killed process left is worked off."""
    if not file.exists():
        return ""
    if not file.stat().st_size:  # it is made whole
        return "it is empty"
    try:
        connection = sqlite3.connect(file, timeout=60)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    if found != "ok":
        return str(found)
    return "" if "trials" in tables else "it has no table of trials"


class Trial:
    """One trial under way: its values, and the scores that it has so far."""

    def __init__(self, search: Search, trial: Any):
        self.search, self.trial, self.method = search, trial, search.method
        self.number, self.running = trial.number, True
        self.values = {name: suggested(trial, name, search.space[name]) for name in sorted(search.space)}
        stored = search.row_of(search.study.trials[self.number])
        self.scores = list(stored.scores)
        if self.scores:  # what was killed between two folds
            self.settle()

    def add(self, score: Score) -> None:
        """Stores the score of the next fold; `running` says whether the trial goes on to another one."""
        with kept_in(self.search.file):
            self.trial.set_user_attr(f"fold {len(self.scores)}", dataclasses.asdict(score))
            self.scores.append(score)
            self.settle()

    def settle(self) -> None:
        """Tells Optuna of the scores, and ends the trial where it is complete, hopeless or diverged."""
        study, done = self.search.study, len(self.scores)
        mean = float(np.mean([score.accuracy for score in self.scores]))
        if done not in study.trials[self.number].intermediate_values:
            self.trial.report(mean, done)
        complete = done == self.search.folds
        if self.scores[-1].diverged or (not complete and self.trial.should_prune()):
            study.tell(self.trial, state=imported().trial.TrialState.PRUNED)
            self.running = False
        elif complete:
            study.tell(self.trial, mean)
            self.running = False


class Search:
    """The search of one method, in a storage."""

    def __init__(
        self,
        file: Path,
        storage: optuna.storages.RDBStorage,
        method: str,
        space: Space,
        *,
        strategy: str,
        pruning: str,
        folds: int,
        seed: int,
    ):
        """`storage` is that of `file`.

        `strategy`: "tpe", "random" or "grid"; `pruning`: "median", "hyperband" or "none"."""
        optuna = imported()
        self.file, self.method, self.space, self.folds = file, method, space, folds
        self.proposals = Proposals(method, space, strategy, seed)
        pruner = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(1, folds, reduction_factor=2),
            "none": optuna.pruners.NopPruner,
        }[pruning]()
        with kept_in(file):
            self.study = optuna.create_study(
                storage=storage,
                study_name=method,
                direction="maximize",
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(seed=0),  # never asked: Proposals draws the values
                pruner=pruner,
            )
            self.check()
            # What is running now was so when the process ended that ran it: nobody else is in the directory.
            self.left = [trial for trial in self.study.trials if trial.state.name == "RUNNING"]

    def check(self) -> None:
        """Raises `UserError` where the file does not hold what a search would have stored."""
        try:
            for row in self.rows():
                number, total = len(row.scores), min([score.total for score in row.scores], default=1)
                finished = row.state in ("complete", "pruned")
                if row.state == "complete" and number != self.folds:
                    raise ValueError(f"trial {row.number} of {self.method} has {number} scores of {self.folds} folds")
                if finished and (not number or total < 1 or set(row.values) != set(self.space)):
                    raise ValueError(f"trial {row.number} of {self.method} is not whole")
        except atomic.DAMAGED as error:
            raise refused(self.file, str(error)) from None

    def next(self, trials: int) -> Trial | None:
        """The next of so many trials; None where all have been handed out."""
        with kept_in(self.file):
            return self.begun(trials)

    def begun(self, trials: int) -> Trial | None:
        while self.left:
            optuna = imported()
            trial = Trial(self, optuna.trial.Trial(self.study, self.left.pop(0)._trial_id))
            if trial.running:
                return trial
        stored = self.study.trials
        if not any(trial.state.name == "WAITING" for trial in stored):  # one is, where a kill came in between
            if len(stored) >= self.proposals.limit(trials):
                return None
            self.study.enqueue_trial(self.proposals.next(stored))
        return Trial(self, self.study.ask())

    def rows(self) -> list[Row]:
        """All trials so far."""
        with kept_in(self.file):
            return [self.row_of(trial) for trial in self.study.trials]

    def row_of(self, trial: optuna.trial.FrozenTrial) -> Row:
        folds = (trial.user_attrs.get(f"fold {fold}") for fold in range(self.folds))
        scores = tuple(Score(**found) for found in folds if found)
        return Row(self.method, trial.number, trial.state.name.lower(), values_of(trial), scores)


def suggested(trial: Any, name: str, parameter: Parameter) -> Any:
    """The value of a stored trial."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(name, parameter.values)
    suggest = trial.suggest_int if parameter.whole else trial.suggest_float
    return suggest(name, parameter.low, parameter.high, log=parameter.log)
