"""The trials of a search: Optuna proposes them and stores them in an SQLite file.

Each method has its own Optuna study, so that every method gets the same number of trials and is pruned against its own
kind. A single process proposes, writes and reads: no trial is assigned twice, and a fold's score is stored before the
next fold starts. A proposal depends only on the seed, the trial's number and the trials before it: with one job, a
search that was stopped or killed continues as if it had not been.
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
from mnist_mlp.tune.proposals import Proposals, import_optuna, values_of
from mnist_mlp.tune.space import Choice, Parameter, Space

if TYPE_CHECKING:
    import optuna

OUTPUTS = ("result.json", "trials.csv")  # written only after trials were stored


@dataclasses.dataclass(frozen=True)
class Row:
    """A stored trial."""

    method: str
    number: int
    state: str  # "complete", "pruned", "running" or "waiting"
    values: dict[str, Any]
    scores: tuple[Score, ...]  # one for each fitted fold, in order

    @property
    def finished(self) -> bool:
        return self.state in ("complete", "pruned")

    @property
    def accuracies(self) -> list[float]:
        return [score.accuracy for score in self.scores]

    @property
    def accuracy(self) -> float:
        """The mean over the folds, from 0 to 1."""
        return float(np.mean(self.accuracies))

    @property
    def sd(self) -> float:
        """The standard deviation over the folds."""
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


@dataclasses.dataclass(frozen=True)
class Storage:
    """The SQLite file of a study, opened by Optuna."""

    file: Path
    backend: optuna.storages.RDBStorage


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """How the trials of every method are proposed, scored and pruned."""

    strategy: str  # "tpe", "random" or "grid"
    pruning: str  # "median", "hyperband" or "none"
    folds: int
    seed: int


def open_storage(file: Path) -> Storage:
    """Open the file, or create it atomically. Raise `UserError` if it holds something else."""
    optuna = import_optuna()
    if not file.exists() and (outputs := [name for name in OUTPUTS if (file.parent / name).exists()]):
        raise UserError(
            f"{file}: {outputs[0]} is there, but the trials behind it are missing; restore this file, "
            "or use another --study_dir"
        )
    if reason := find_damage(file):
        raise damaged_file(file, reason)
    try:
        with defer_signals():
            if not file.exists():  # Optuna creates its tables in several transactions
                atomic.write_file(file, lambda part: connect(part).engine.dispose())
            return Storage(file, connect(file))
    except UserError:
        raise
    except Exception as error:  # from SQLAlchemy, or from Optuna for the file of another version
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise UserError(
            f"{file}: Optuna {optuna.__version__} cannot read the trials: {reason}; use another --study_dir"
        ) from None


def damaged_file(file: Path, reason: str) -> UserError:
    return UserError(f"{file}: the stored trials are damaged ({reason}); start a new study in another --study_dir")


@contextlib.contextmanager
def storage_errors(file: Path) -> Iterator[None]:
    """Turn Optuna's error for a file that cannot be read or written (a full disk, usually) into `UserError`."""
    optuna = import_optuna()
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        cause: BaseException = error
        while not isinstance(cause, sqlite3.Error) and (cause.__cause__ or cause.__context__):
            cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]  # down to SQLite's own message
        command = study_dir.command_line("tune", f"--study_dir={file.parent}")
        reason = " ".join(str(cause).split())[:200]
        raise UserError(
            f"{file} could not be written: {reason}; free some space, then resume with: {command}"
        ) from None


def connect(file: Path) -> optuna.storages.RDBStorage:
    def creator() -> sqlite3.Connection:
        return sqlite3.connect(file, timeout=60, check_same_thread=False)

    # A function instead of a URL, because not every path can be written as one.
    return import_optuna().storages.RDBStorage("sqlite:///opened-by-a-function", engine_kwargs={"creator": creator})


def find_damage(file: Path) -> str:
    """Return what is wrong with the file, or "". SQLite first rolls back the journal that a killed process left."""
    if not file.exists():
        return ""
    if not file.stat().st_size:  # we create it atomically, so this is not ours
        return "it is empty"
    try:
        connection = sqlite3.connect(file, timeout=60)
        try:
            (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    if problem != "ok":
        return str(problem)
    return "" if "trials" in tables else "it has no table of trials"


class Trial:
    """A running trial: its values and its scores so far."""

    def __init__(self, search: Search, trial: Any):
        self.search, self.trial, self.method = search, trial, search.method
        self.number, self.running = trial.number, True
        self.values = {name: suggest(trial, name, search.space[name]) for name in sorted(search.space)}
        stored = search.row_of(search.study.trials[self.number])
        self.scores = list(stored.scores)
        if self.scores:  # killed between storing a score and acting on it, or between two folds
            self.update()

    def add(self, score: Score) -> None:
        """Store the score of the next fold; `running` says whether another fold follows."""
        with storage_errors(self.search.file):
            self.trial.set_user_attr(f"fold {len(self.scores)}", dataclasses.asdict(score))
            self.scores.append(score)
            self.update()

    def update(self) -> None:
        """Report the mean to Optuna, and end the trial if it is complete, pruned or diverged."""
        study, done = self.search.study, len(self.scores)
        mean = float(np.mean([score.accuracy for score in self.scores]))
        if done not in study.trials[self.number].intermediate_values:
            self.trial.report(mean, done)
        complete = done == self.search.folds
        if self.scores[-1].diverged or (not complete and self.trial.should_prune()):
            study.tell(self.trial, state=import_optuna().trial.TrialState.PRUNED)
            self.running = False
        elif complete:
            study.tell(self.trial, mean)
            self.running = False


class Search:
    """The search of one method."""

    def __init__(self, storage: Storage, method: str, space: Space, settings: SearchSettings):
        optuna = import_optuna()
        self.file, self.method, self.space, self.folds = storage.file, method, space, settings.folds
        self.proposals = Proposals(method, space, settings.strategy, settings.seed)
        pruner = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(1, settings.folds, reduction_factor=2),
            "none": optuna.pruners.NopPruner,
        }[settings.pruning]()
        with storage_errors(self.file):
            self.study = optuna.create_study(
                storage=storage.backend,
                study_name=method,
                direction="maximize",
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(seed=0),  # unused: Proposals draws the values
                pruner=pruner,
            )
            self.check()
            # We hold the directory's lock, so a running trial is one whose process was killed.
            self.interrupted = [trial for trial in self.study.trials if trial.state.name == "RUNNING"]

    def check(self) -> None:
        """Raise `UserError` if the file does not hold what a search would have stored."""
        try:
            for row in self.rows():
                number, total = len(row.scores), min([score.total for score in row.scores], default=1)
                if row.state == "complete" and number != self.folds:
                    raise ValueError(f"trial {row.number} of {self.method} has {number} scores of {self.folds} folds")
                if row.finished and (not number or total < 1 or set(row.values) != set(self.space)):
                    raise ValueError(f"trial {row.number} of {self.method} is incomplete")
        except atomic.DAMAGED as error:
            raise damaged_file(self.file, str(error)) from None

    def next(self, trials: int) -> Trial | None:
        """Start the next trial, up to `trials` in all, and return it; None if all have been started."""
        with storage_errors(self.file):
            return self.start_next(trials)

    def start_next(self, trials: int) -> Trial | None:
        while self.interrupted:
            optuna = import_optuna()
            trial = Trial(self, optuna.trial.Trial(self.study, self.interrupted.pop(0)._trial_id))
            if trial.running:
                return trial
        stored = self.study.trials
        if not any(trial.state.name == "WAITING" for trial in stored):  # one waits if we were killed before `ask`
            if len(stored) >= self.proposals.limit(trials):
                return None
            self.study.enqueue_trial(self.proposals.next(stored))
        return Trial(self, self.study.ask())

    def rows(self) -> list[Row]:
        """Return all trials so far."""
        with storage_errors(self.file):
            return [self.row_of(trial) for trial in self.study.trials]

    def row_of(self, trial: optuna.trial.FrozenTrial) -> Row:
        attributes = (trial.user_attrs.get(f"fold {fold}") for fold in range(self.folds))
        scores = tuple(Score(**fields) for fields in attributes if fields)
        return Row(self.method, trial.number, trial.state.name.lower(), values_of(trial), scores)


def suggest(trial: Any, name: str, parameter: Parameter) -> Any:
    """Return the value of a parameter in a stored trial."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(name, parameter.values)
    suggest_number = trial.suggest_int if parameter.whole else trial.suggest_float
    return suggest_number(name, parameter.low, parameter.high, log=parameter.log)
