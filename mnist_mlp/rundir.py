"""The run directory: config.json, history.jsonl, model.keras and result.json, each written whole or not at all.

A file is written under a temporary name, synced and renamed. A run that fails or is interrupted leaves nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.options import path_of
from mnist_mlp.result import Result

FILES = ("config.json", "history.jsonl", "model.keras", "result.json")


def default_path(config: Config) -> Path:
    """runs/DATE-TIME-MODEL-PROCESS below the working directory; the process's number tells parallel runs apart."""
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}-{os.getpid()}"


@contextlib.contextmanager
def new_run(path: Path, config: Config) -> Iterator[Path]:
    """Makes the directory of a run with its config.json, and takes both away again if the run does not finish.

    Raises `UserError` where the path holds something already, or cannot be written.
    """
    ours: list[Path] = []
    try:
        claim(path, config, ours)
        yield path
    except BaseException as error:
        discard(ours)
        if isinstance(error, KeyboardInterrupt):
            error.args = ("nothing was kept",)
        raise


@contextlib.contextmanager
def thrown_away() -> Iterator[Path]:
    """A directory for a worker that is not the chief: it does what the chief does, and nothing of it is kept."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def claim(path: Path, config: Config, ours: list[Path]) -> None:
    """Makes the directory and its config.json; appends to `ours` what is the run's own to remove."""
    try:
        for directory in reversed((path, *path.parents)):
            if not directory.is_dir():
                directory.mkdir(exist_ok=True)  # a run beside this one may just have made it
                ours.append(directory)
        held = sorted(entry.name for entry in path.iterdir())
        if not held:
            values = config.to_dict()
            values["data_dir"] = values["data_dir"] and os.path.abspath(path_of("data_dir", values["data_dir"]))
            with open(path / "config.json", "x", encoding="utf-8") as file:  # of two runs, one gets it
                ours += [path / name for name in FILES]
                file.write(json.dumps(values, indent=1) + "\n")
    except FileExistsError:
        held = ["config.json"] if path.is_dir() else [path.name]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--run_dir={path}: expected a directory that can be written, received: {reason}") from None
    if held:
        run = "a run" if (path / "result.json").exists() else "a run that did not finish"
        what = run if "config.json" in held else repr(held[0]) if path.is_dir() else "no directory"
        raise UserError(f"--run_dir={path}: expected a new or empty directory, it holds {what}; name another one")


def discard(ours: list[Path]) -> None:
    """Removes files and then directories, the last made first; what holds something else is left alone."""
    deaf = {signal.SIGINT, signal.SIGTERM, signal.SIGALRM}  # a second Ctrl-C must not leave half of it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf)
    for path in reversed(ours):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary path beside `path`, syncs what it wrote, and gives it its name."""
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")  # keeps the suffix: Keras looks at it
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} could not be written: {reason}; free space, or name another place") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON value; its numbers must be finite, since JSON has no NaN."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_history(path: Path, epochs: list[dict[str, Any]]) -> None:
    """Writes history.jsonl: one JSON object an epoch."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in epochs))


def read_run(run_dir: str) -> tuple[Path, Config, Result]:
    """The directory of a finished run, its config and its result. Raises `UserError` if there is none."""
    if not run_dir:
        raise UserError("expected the directory of a run; type --run_dir=DIR (train prints it at its end)")
    path, flag = path_of("run_dir", run_dir), f"--run_dir={run_dir}"
    try:
        missing = [name for name in FILES if name != "history.jsonl" and not (path / name).is_file()]
        if missing:
            raise UserError(f"{flag}: expected the directory of a finished run, found no {missing[0]} in it")
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        result = Result.from_dict(json.loads((path / "result.json").read_text(encoding="utf-8")))
        if digest(path / "model.keras") != result.model_sha256:
            raise UserError(f"{flag}: model.keras is damaged, or of another run; train again into a new directory")
    except OSError as error:
        raise UserError(f"{flag}: expected the directory of a run, received: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{flag}: config.json or result.json is damaged; train again into a new directory") from None
    try:
        return path, Config.from_dict(config), result
    except (UserError, TypeError, AttributeError) as error:
        raise UserError(f"{flag}: config.json was damaged or written by another version: {error}") from None


def data_of_run(config: Config, result: Result, data_dir: str = "") -> Config:
    """The config with the data set that the run really had ("auto" decided), and another place for it if given."""
    name = result.dataset["name"]
    if name not in ("mnist", "fashion_mnist", "digits"):
        raise UserError(f"the run had images of its own ({name!r}); type predict --input=FILE, or evaluate in Python")
    if data_dir or name == "digits":
        return dataclasses.replace(config, dataset=name, data_dir=data_dir, data_source="auto")
    source = "auto" if config.data_source == "download" else config.data_source  # it lies in the cache now
    return dataclasses.replace(config, dataset=name, data_source=source)
