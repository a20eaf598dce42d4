"""The run directory: who may write it, and what a run writes there.

`opened` makes the directory, or finds the run to resume in it, and locks it. A run that fails before its first
checkpoint leaves nothing behind; after it, the run can be resumed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.config import Config, differing
from mnist_mlp.errors import Diverged, Stopped, UserError
from mnist_mlp.files import lock
from mnist_mlp.files.atomic import TEMPORARY, cannot_write, remove_stale, write_file, write_json, write_json_lines
from mnist_mlp.files.outputs import ANOTHER, directories, unusable
from mnist_mlp.options import path_of
from mnist_mlp.runs import calibration
from mnist_mlp.runs import checkpoint as checkpoints
from mnist_mlp.runs.checkpoint import Checkpoint, Progress
from mnist_mlp.runs.result import Result, finite
from mnist_mlp.runs.saved import read_config

MODEL, RESULT, CONFIG, HISTORY = "model.keras", "result.json", "config.json", "history.jsonl"
FILES = (CONFIG, HISTORY, "history.csv", "distortions.png", MODEL, RESULT, calibration.NAME, "report.html")
FOLDERS = (checkpoints.DIRECTORY, "tensorboard", "profile")


@dataclasses.dataclass
class Run:
    """An open run directory. It writes the run's files; of several workers, only the chief's files are kept."""

    path: Path
    config: Config
    progress: Progress = dataclasses.field(default_factory=Progress)
    resumed_from: Checkpoint | None = None
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)  # newer checkpoints that are unusable, and why
    last_checkpoint: Path | None = None  # the newest that is whole
    chief: bool = True
    unsaved: bool = False  # whether steps may have been trained that no checkpoint holds
    resume_hint: str = ""  # how to resume, where no command line does it
    check_owned: Callable[[], None] = lambda: None  # raises `UserError` once the directory is not ours any more
    # Stored in each checkpoint. Known once the data are loaded and the engine is built.
    data_hashes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ran_on: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resumptions: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    initial: dict[str, Any] = dataclasses.field(default_factory=dict)  # of the run that this one started from

    def write_config(self) -> None:
        """Write config.json, with which the run can be resumed from any working directory."""
        if self.chief:
            self.check_owned()
            write_json(self.path / CONFIG, self.config.to_dict())

    def write_history(self) -> None:
        """Write history.jsonl, one row per completed epoch."""
        self.check_owned()
        write_json_lines(self.path / HISTORY, finite(self.progress.history))

    def write_result(self, result: Result) -> None:
        """Write result.json."""
        self.check_owned()
        write_json(self.path / RESULT, result.to_dict())

    def write(self, name: str, save: Callable[[Path], object]) -> Path:
        """Write a file of another kind with `save(path)`; it appears under its name only when it is whole."""
        self.check_owned()
        write_file(self.path / name, save)
        return self.path / name

    def save(
        self,
        total_steps: int,
        state: Mapping[str, np.ndarray],
        *,
        ended: bool = False,
        callbacks: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Write a checkpoint of the progress and the engine's `state` after `total_steps` steps.

        `ended`: the training is over. `callbacks` is what callbacks know (see `Checkpoint`).
        """
        provenance = (self.data_hashes, self.ran_on, self.resumptions)
        self.write_checkpoint(
            Checkpoint(
                self.progress, total_steps, state, self.config, *provenance, ended, callbacks or {}, self.initial
            )
        )

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove the oldest ones beyond `config.keep`."""
        if not self.chief:
            return
        self.check_owned()
        folder = self.path / checkpoints.DIRECTORY
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from None
        arrays: Any = checkpoint.to_arrays()
        file = folder / checkpoints.NAME.format(checkpoint.total_steps)
        write_file(file, lambda temporary: np.savez(temporary, **arrays))
        self.last_checkpoint = file
        self.skipped.pop(file.name, None)
        files = checkpoints.files(self.path)
        older = [f for n, f in files.items() if n <= checkpoint.total_steps and f.name not in self.skipped]
        for file in older[self.config.keep :]:
            with contextlib.suppress(OSError):
                file.unlink()

    @property
    def how_to_resume(self) -> str:
        """The command line, or the words, with which this run is resumed."""
        if self.resume_hint:
            return self.resume_hint
        if self.config.strategy == "multiworker":
            return "the same command and --resume on each worker"
        python = "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)
        script = os.environ.get("MNIST_MLP_TRAIN")  # as scripts/train was called
        program = shlex.quote(script) if script else f"{python} -m mnist_mlp.train"
        return f"{program} {shlex.quote(f'--run_dir={self.path}')} --resume"


def default_path(config: Config) -> Path:
    """runs/DATE-TIME-MODEL-PID below the working directory; the PID tells parallel runs apart."""
    path = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}-{os.getpid()}"
    return path if not path.exists() else Path(f"{path}-{time.monotonic_ns()}")  # the clock was set back


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator[Run]:
    """Make and lock the directory of a run, or with `config.resume` find the run in it.

    Raise `UserError` if the path holds something else, cannot be written, is locked, or holds a run with other
    options. If the block fails before the first checkpoint, what was made is removed.
    """
    resume, config = config.resume, as_stored(config)
    with contextlib.ExitStack() as stack:
        with defer_signals():  # until it is known what must be removed
            stack.enter_context(directories(path))
            inspect(path, resume)
            check_owned = stack.enter_context(locked(path))
            if inspect(path, resume):  # again: another process may have written here before we had the lock
                stack.enter_context(removed_on_failure(path, check_owned))
                run = Run(path, config)
                run.write_config()
            else:
                run = find(path, config)
            run.check_owned = check_owned
        with with_resume_hint(run):
            yield run


@contextlib.contextmanager
def removed_on_failure(path: Path, check_owned: Callable[[], None]) -> Iterator[None]:
    """Remove what the run wrote if the block fails before the first checkpoint."""
    try:
        yield
    except BaseException as error:
        if not checkpoints.files(path):
            if isinstance(error, KeyboardInterrupt):
                error.args = ("nothing was kept",)
            with contextlib.suppress(UserError):  # the directory is another run's by now
                check_owned()
                remove_run_files(path)
        raise


@contextlib.contextmanager
def scratch_run(config: Config) -> Iterator[Run]:
    """Open a temporary run for a worker that is not the chief; nothing of it is kept."""
    with tempfile.TemporaryDirectory() as path:
        yield Run(Path(path), as_stored(config), chief=False)


def inspect(path: Path, resume: bool) -> bool:
    """Return whether the directory is new. Raise `UserError` if it holds what this run must not touch."""
    flag = f"--run_dir={path}"
    try:
        there = {entry.name for entry in path.iterdir() if not entry.name.startswith(TEMPORARY)} - {lock.NAME}
    except OSError as error:
        raise unusable(path, error) from None
    is_run = bool(there & {CONFIG, checkpoints.DIRECTORY})
    if not there or (is_run and resume):
        return not there
    if not is_run:
        example = repr(sorted(there)[0])
        raise UserError(f"{flag}: expected a new or empty directory, it holds {example}; choose another one")
    if RESULT in there:
        hint = "choose another one, or train it further: --resume --epochs=MORE"
        raise UserError(f"{flag}: expected a new or empty directory, it holds a run; {hint}")
    hint = "resume it with --resume, or choose another one"
    raise UserError(f"{flag}: expected a new or empty directory, it holds an unfinished run; {hint}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Lock the directory (see `lock.held`) and remove what a killed process left half-written."""
    with contextlib.ExitStack() as stack:
        try:
            check_owned = stack.enter_context(lock.held(path))
        except OSError as error:
            raise unusable(path, error) from None
        for directory in (path, path / checkpoints.DIRECTORY):
            remove_stale(directory)
        yield check_owned


def find(path: Path, config: Config) -> Run:
    """Return the run to resume with `config`. Raise `UserError` for options that would change its result."""
    started_with = config_of_run(path)
    if started_with is None:  # killed before it had written its config
        return Run(path, config)
    if changed := differing(config, started_with):
        given, wants = (", ".join(as_flag(name, getattr(c, name)) for name in changed) for c in (config, started_with))
        raise UserError(f"{given}: the run in {path} was started with {wants}; omit it, or choose another --run_dir")
    found, file, skipped = checkpoints.newest(path, started_with)
    if found and config.epochs < (started := found.progress.epoch + (found.progress.step > 0)):
        raise UserError(
            f"--epochs={config.epochs}: the run in {path} has already started epoch {started}; "
            f"use --epochs={started} or more"
        )
    if not found and (path / RESULT).exists():
        why = f" ({'; '.join(skipped.values())})" if skipped else ""
        raise UserError(
            f"--run_dir={path}: the finished run has no usable checkpoint to resume from{why}; "
            "choose another directory, or remove this one"
        )
    return Run(path, config, resumed_from=found, skipped=skipped, last_checkpoint=file)


def as_flag(name: str, value: object) -> str:
    return f"--{name}={value}" if value is not None else f"no --{name}"


def config_of_run(path: Path) -> Config | None:
    """Return the config of the run in a directory, or None if it holds none.

    It is read from config.json, or else from the newest whole checkpoint. Raise `UserError` if both are damaged.
    """
    if not (path / CONFIG).exists() and not checkpoints.files(path):
        return None
    try:
        return read_config(path)
    except UserError as error:
        found, _, _ = checkpoints.newest(path)
        if found is None:
            raise UserError(f"{error}, and no checkpoint is intact; start again in another --run_dir") from None
        return found.config


def as_stored(config: Config) -> Config:
    """Return the config that the run's next process needs, wherever it starts: with absolute paths of what it reads."""
    data_dir, init_from = absolute("data_dir", config.data_dir), absolute("init_from", config.init_from)
    return dataclasses.replace(config, data_dir=data_dir, init_from=init_from, resume=False)


def absolute(flag: str, path: str) -> str:
    """Return a path that a user typed as an absolute one, "" as itself."""
    path = path and str(path_of(flag, path))
    with contextlib.suppress(OSError):  # the working directory is gone: a relative path leads nowhere
        path = path and os.path.abspath(path)
    return path


@contextlib.contextmanager
def with_resume_hint(run: Run) -> Iterator[None]:
    """Add to an error that leaves the block which checkpoint is the last and how to resume."""
    before = run.last_checkpoint
    try:
        yield
    except Diverged as error:
        last = run.last_checkpoint
        where = f"the last good checkpoint is {last}" if last else "there is no checkpoint, nothing was kept"
        raise Diverged(f"{error}; {where}") from None
    except KeyboardInterrupt as error:
        if run.last_checkpoint and not run.unsaved:
            raise Stopped(f"stopped; resume with: {run.how_to_resume}") from None
        if run.last_checkpoint:
            error.args = (f"resume with: {run.how_to_resume}",)
        raise
    except UserError as error:
        if run.last_checkpoint != before:  # something was trained
            error.args = (f"{error}; resume with: {run.how_to_resume}",)
        raise


def owns(run: Path, path: Path) -> bool:
    """Return whether the run in directory `run` writes `path`; links are followed."""
    path = path.resolve()
    files = [(run / name).resolve() for name in (*FILES, lock.NAME)]
    if path in files or (path.parent == run.resolve() and path.name.startswith(TEMPORARY)):
        return True
    return any(path.is_relative_to((run / name).resolve()) for name in FOLDERS)


def check_output(flag: str, text: str, files: Iterable[Path], *runs: Path) -> None:
    """Raise `UserError` if one of the files that `--flag=text` leads to belongs to a run that the program reads."""
    if any(owns(run, file) for run in runs for file in files):
        raise UserError(f"--{flag}={text}: this would overwrite a file of the run; {ANOTHER}")


def remove_run_files(path: Path) -> None:
    """Remove what a run writes; anything else in the directory stays."""
    with defer_signals():  # a second Ctrl-C must not leave half of it
        for entry in (path / name for name in (*FILES, *FOLDERS)):
            with contextlib.suppress(OSError):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
