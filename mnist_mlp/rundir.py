"""The run directory: config.json, history.jsonl, result.json and model.keras, each written whole or not at all.

A file is written under a temporary name, synced and renamed. A run that fails or is interrupted leaves nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.result import Result


def default_path(config: Config) -> Path:
    """runs/DATE-TIME-MODEL below the working directory, with a number added where that is taken."""
    path = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}"
    numbers = iter(range(2, 1000))
    free = path
    while free.exists():
        free = path.with_name(f"{path.name}-{next(numbers)}")
    return free


@contextlib.contextmanager
def new_run(path: Path) -> Iterator[Path]:
    """Makes the directory of a run, and takes away again what was made if the run does not come to its end.

    Raises `UserError` where the path holds something already, or cannot be written.
    """
    made = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        held = sorted(entry.name for entry in path.iterdir())
        if not held:
            (path / ".probe").touch()
            (path / ".probe").unlink()
    except OSError as error:
        raise UserError(
            f"--run_dir={path}: expected a directory that can be written, received: {error.strerror}"
        ) from None
    if held:
        what = "a run" if "config.json" in held else repr(held[0])
        raise UserError(f"--run_dir={path}: expected a new or empty directory, it holds {what}; name another one")
    try:
        yield path
    except BaseException:
        for entry in path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for directory in made:
            directory.rmdir()
        raise


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary path beside `path`, syncs what it wrote, and gives it its name."""
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")  # keeps the suffix: Keras looks at it
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path} could not be written: {error.strerror or error}; free space, or name another place"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON value; its numbers must be finite, since JSON has no NaN."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_history(path: Path, epochs: list[dict[str, Any]]) -> None:
    """Writes history.jsonl: one JSON object an epoch."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in epochs))


def read_run(path: str) -> tuple[Config, Result]:
    """The config and the result of the finished run in a directory. Raises `UserError` if there is none."""
    if not path:
        raise UserError("expected the directory of a run; type --run_dir=DIR (train prints it at its end)")
    directory = Path(path)
    for name in ("config.json", "result.json", "model.keras"):
        if not (directory / name).is_file():
            raise UserError(f"--run_dir={path}: expected the directory of a finished run, found no {name} in it")
    try:
        config = Config.from_dict(json.loads((directory / "config.json").read_text(encoding="utf-8")))
        result = Result.from_dict(json.loads((directory / "result.json").read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"--run_dir={path}: a file cannot be read: {error.strerror}") from None
    except UserError as error:
        raise UserError(f"--run_dir={path}: config.json was damaged or written by another version: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"--run_dir={path}: config.json or result.json is damaged; train again into a new directory"
        ) from None
    return config, result


def data_of_run(config: Config, result: Result, data_dir: str = "") -> Config:
    """The config with the data set that the run really had ("auto" decided), and another place for it if given."""
    name = result.dataset["name"]
    if data_dir or name == "digits":
        return dataclasses.replace(config, dataset=name, data_dir=data_dir, data_source="auto")
    return dataclasses.replace(config, dataset=name)
