"""The run directory: config.json, history.jsonl, checkpoints, model.keras, result.json, report.html; who may write.

A run that fails before its first checkpoint leaves nothing behind; after it, the run can be resumed.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.config import Config, differing
from mnist_mlp.errors import Diverged, Stopped, UserError
from mnist_mlp.files import lock
from mnist_mlp.files.atomic import TEMPORARY, cannot_write, remove_stale, write_file, write_json
from mnist_mlp.files.outputs import directories, unusable
from mnist_mlp.options import path_of
from mnist_mlp.runs import checkpoint as checkpoints
from mnist_mlp.runs.checkpoint import Checkpoint
from mnist_mlp.runs.saved import read_config

FILES = (  # that a run writes
    *("config.json", "history.jsonl", "history.csv", "distortions.png", "model.keras", "result.json"),
    "report.html",
)
FOLDERS = (checkpoints.DIRECTORY, "tensorboard", "profile")


def owns(run: Path, path: Path) -> bool:
    """Whether a place is one that the run in that directory writes, links followed."""
    path = path.resolve()
    files = [(run / name).resolve() for name in (*FILES, lock.NAME)]
    if path in files or (path.parent == run.resolve() and path.name.startswith(TEMPORARY)):
        return True
    return any(path.is_relative_to((run / name).resolve()) for name in FOLDERS)


def default_path(config: Config) -> Path:
    """runs/DATE-TIME-MODEL-PROCESS below the working directory; the process's number tells parallel runs apart."""
    path = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}-{os.getpid()}"
    return path if not path.exists() else Path(f"{path}-{time.monotonic_ns()}")  # the clock was set back


@dataclasses.dataclass
class Run:
    """An open run directory."""

    path: Path
    config: Config
    found: Checkpoint | None = None  # the checkpoint to go on from
    passed_over: dict[str, str] = dataclasses.field(default_factory=dict)  # newer ones, and why they cannot be used
    last: Path | None = None  # the newest checkpoint that is whole
    chief: bool = True  # whether this process writes
    unsaved: bool = False  # whether there may be steps that no checkpoint has
    again: str = ""  # how to go on, where no command does it
    check_place: Callable[[], None] = lambda: None  # raises `UserError` where the directory is no longer ours to write

    def write_config(self) -> None:
        """Writes config.json: the options of the run, from wherever its next process starts."""
        if self.chief:
            self.check_place()
            write_json(self.path / "config.json", self.config.to_dict())

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, then removes those that are too many: the newest are kept."""
        if not self.chief:
            return
        self.check_place()
        directory = self.path / checkpoints.DIRECTORY
        try:
            directory.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(directory, error) from None
        arrays: Any = checkpoint.to_arrays()
        file = directory / checkpoints.NAME.format(checkpoint.total_steps)
        write_file(file, lambda temporary: np.savez(temporary, **arrays))
        self.last = file
        self.passed_over.pop(file.name, None)
        files = checkpoints.files(self.path)
        older = [f for n, f in files.items() if n <= checkpoint.total_steps and f.name not in self.passed_over]
        for file in older[self.config.keep :]:
            with contextlib.suppress(OSError):
                file.unlink()


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator[Run]:
    """The directory of a run, made or (with `resume`) found, which nobody else writes within the block.

    If the block fails before there is a checkpoint, what was made is taken away again. Raises `UserError` where the
    path holds something already, cannot be written, or holds a run with other options.
    """
    resume, config = config.resume, as_stored(config)
    with contextlib.ExitStack() as stack:
        with defer_signals():  # a signal waits until it is known what is to be taken away again
            stack.enter_context(directories(path))
            inspect(path, resume)
            check_place = stack.enter_context(locked(path))
            if inspect(path, resume):  # once more: another process may just have written here
                stack.enter_context(removed_on_failure(path, check_place))
                run = Run(path, config)
                run.write_config()
            else:
                run = find(path, config)
            run.check_place = check_place
        with with_resume_hint(run):
            yield run


@contextlib.contextmanager
def removed_on_failure(path: Path, check_place: Callable[[], None]) -> Iterator[None]:
    """Removes what the run wrote if the block fails before there is a checkpoint."""
    try:
        yield
    except BaseException as error:
        if not checkpoints.files(path):
            if isinstance(error, KeyboardInterrupt):
                error.args = ("nothing was kept",)
            with contextlib.suppress(UserError):  # what is there now is another run's
                check_place()
                discard(path)
        raise


@contextlib.contextmanager
def scratch_run(config: Config) -> Iterator[Run]:
    """A run of a worker that is not the chief: it does what the chief does, and nothing of it is kept."""
    with tempfile.TemporaryDirectory() as path:
        yield Run(Path(path), as_stored(config), chief=False)


def inspect(path: Path, resume: bool) -> bool:
    """Whether the directory is new to runs. Raises `UserError` where it holds what a run must not touch."""
    flag = f"--run_dir={path}"
    try:
        there = {entry.name for entry in path.iterdir() if not entry.name.startswith(TEMPORARY)} - {lock.NAME}
    except OSError as error:
        raise unusable(path, error) from None
    is_run = bool(there & {"config.json", checkpoints.DIRECTORY})
    if not there or (is_run and resume):
        return not there
    if not is_run:
        what = repr(sorted(there)[0])
        raise UserError(f"{flag}: expected a new or empty directory, it holds {what}; name another one")
    if "result.json" in there:
        hint = "name another one, or go on with it: --resume --epochs=MORE"
        raise UserError(f"{flag}: expected a new or empty directory, it holds a run; {hint}")
    hint = "go on with it by --resume, or name another one"
    raise UserError(f"{flag}: expected a new or empty directory, it holds a run that did not finish; {hint}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Holds the lock, as `lock.held`; what a killed process had half written is removed."""
    with contextlib.ExitStack() as stack:
        try:
            check_place = stack.enter_context(lock.held(path))
        except OSError as error:
            raise unusable(path, error) from None
        for directory in (path, path / checkpoints.DIRECTORY):
            remove_stale(directory)
        yield check_place


def find(path: Path, config: Config) -> Run:
    """The run that is to be resumed with that config. Raises `UserError` for options that would change it."""
    begun = config_of_run(path)
    if begun is None:  # killed before it had a config
        return Run(path, config)
    if changed := differing(config, begun):
        given, wants = (", ".join(as_flag(name, getattr(c, name)) for name in changed) for c in (config, begun))
        raise UserError(f"{given}: the run in {path} was begun with {wants}; leave it out, or name another --run_dir")
    found, file, passed_over = checkpoints.newest(path, begun)
    if found and config.epochs < (done := found.progress.epoch + (found.progress.step > 0)):
        raise UserError(f"--epochs={config.epochs}: the run in {path} has begun {done}; type --epochs={done} or more")
    if not found and (path / "result.json").exists():
        why = f" ({'; '.join(passed_over.values())})" if passed_over else ""
        raise UserError(
            f"--run_dir={path}: expected a whole checkpoint of the finished run in it, found none{why}; "
            "name another directory, or remove this one"
        )
    return Run(path, config, found, passed_over, file)


def as_flag(name: str, value: object) -> str:
    return f"--{name}={value}" if value is not None else f"no --{name}"


def config_of_run(path: Path) -> Config | None:
    """The config of the run in a directory, from config.json or else from its newest whole checkpoint; None if there is
    no run. Raises `UserError` where both are damaged."""
    if not (path / "config.json").exists() and not checkpoints.files(path):
        return None
    try:
        return read_config(path)
    except UserError as error:
        found, _, _ = checkpoints.newest(path)
        if found is None:
            raise UserError(f"{error}, and there is no whole checkpoint; begin again in another --run_dir") from None
        return found.config


def as_stored(config: Config) -> Config:
    """The config as it must be for the next process of the run, wherever that starts."""
    data_dir = config.data_dir and str(path_of("data_dir", config.data_dir))
    with contextlib.suppress(OSError):  # the working directory is gone: what is relative leads nowhere
        data_dir = data_dir and os.path.abspath(data_dir)
    return dataclasses.replace(config, data_dir=data_dir, resume=False)


@contextlib.contextmanager
def with_resume_hint(run: Run) -> Iterator[None]:
    """Adds to what ends the block where the run stands and how to go on with it."""
    before = run.last
    try:
        yield
    except Diverged as error:
        last = f"the last good checkpoint is {run.last}" if run.last else "there is no checkpoint, nothing was kept"
        raise Diverged(f"{error}; {last}") from None
    except KeyboardInterrupt as error:
        if run.last and not run.unsaved:
            raise Stopped(f"stopped; go on with: {how_to_go_on(run)}") from None
        if run.last:
            error.args = (f"go on with: {how_to_go_on(run)}",)
        raise
    except UserError as error:
        if run.last != before:  # something was trained
            error.args = (f"{error}; go on with: {how_to_go_on(run)}",)
        raise


def how_to_go_on(run: Run) -> str:
    """What to type to go on with a run."""
    if run.again:
        return run.again
    if run.config.strategy == "multiworker":
        return "the same command and --resume on each worker"
    python = "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)
    script = os.environ.get("MNIST_MLP_TRAIN")  # as scripts/train was called
    program = shlex.quote(script) if script else f"{python} -m mnist_mlp.train"
    return f"{program} {shlex.quote(f'--run_dir={run.path}')} --resume"


def discard(path: Path) -> None:
    """Removes what a run writes; what else is in the directory stays."""
    with defer_signals():  # a second Ctrl-C must not leave half of it
        for entry in (path / name for name in (*FILES, *FOLDERS)):
            with contextlib.suppress(OSError):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
