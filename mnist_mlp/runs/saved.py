"""A finished run, as other programs read it: its config, its result, and the model that belongs to them."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import DAMAGED, digest, read_json
from mnist_mlp.options import path_of
from mnist_mlp.runs.result import Result

FILES = ("config.json", "model.keras", "result.json")  # what every finished run has
CALLED = " (train prints it at its end)"


def read_run(run_dir: str, named: str = "") -> tuple[Path, Config, Result]:
    """The directory of a finished run, its config and its result. Raises `UserError` if there is none, which calls it
    as it was `named` (not given: --run_dir)."""
    if not run_dir:
        raise UserError(f"expected the directory of a run; type --run_dir=DIR{CALLED}")
    path, flag = path_of("run_dir", run_dir), named or f"--run_dir={run_dir}"
    resume = f"type python -m mnist_mlp.train {shlex.quote(f'--run_dir={run_dir}')} --resume"
    again = f"to write it again {resume}, or train into a new directory"
    try:
        if not path.exists():
            raise UserError(f"{flag}: expected the directory of a finished run, there is nothing of that name{CALLED}")
        missing = [name for name in FILES if not (path / name).is_file()]
        if missing:
            ends = f"; to finish the run {resume}" if (path / FILES[0]).is_file() else ""
            raise UserError(f"{flag}: expected the directory of a finished run, found no {missing[0]} in it{ends}")
        result = Result.from_dict(read_json(path / "result.json"))
        if digest(path / "model.keras") != result.model_sha256:
            raise UserError(f"{flag}: model.keras is damaged, or of another run; {again}")
    except OSError as error:
        raise UserError(f"{flag}: expected the directory of a run, received: {error.strerror}") from None
    except DAMAGED:
        raise UserError(f"{flag}: result.json is damaged; {again}") from None
    return path, read_config(path), result


def read_config(path: Path) -> Config:
    """The config in a run directory. Raises `UserError`."""
    flag = f"--run_dir={path}"
    try:
        return Config.from_dict(read_json(path / "config.json"))
    except OSError as error:
        raise UserError(f"{flag}: config.json cannot be read: {error.strerror}") from None
    except DAMAGED:
        raise UserError(f"{flag}: config.json is damaged") from None
    except UserError as error:
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
