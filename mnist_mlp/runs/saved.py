"""A finished run: its config, its result, and the model that belongs to them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_mlp.config import DATASETS, Config
from mnist_mlp.data import array_files
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
from mnist_mlp.files.atomic import DAMAGED, digest, read_json
from mnist_mlp.options import path_of
from mnist_mlp.runs import calibration, checkpoint
from mnist_mlp.runs.result import Result

if TYPE_CHECKING:
    import keras

    from mnist_mlp.data import Split
    from mnist_mlp.devices import Plan
    from mnist_mlp.engine.base import Engine

FILES = ("config.json", "model.keras", "result.json")  # of every finished run
PRINTED = " (train prints it when it ends)"


def open_run(run_dir: str | Path, *, strategy: str = "auto", backend: str = "auto") -> SavedRun:
    """Open a finished run from Python.

        run = mnist_mlp.open_run("runs/first")
        run.result.test["accuracy"], run.model, run.predict(images)

    The framework is imported when the model is first asked for; `strategy` and `backend` choose the device as the flags
    of `evaluate` do, where Keras is not imported yet. Raise `UserError` if there is no finished run.
    """
    return SavedRun(*read_run(str(run_dir), f"open_run({str(run_dir)!r})"), strategy, backend)


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A finished run, from `open_run`."""

    path: Path
    config: Config
    result: Result
    strategy: str = "auto"
    backend: str = "auto"

    @property
    def model(self) -> keras.Model:
        """The trained Keras model: from images [n, 28, 28] with pixels from 0 to 255 to probabilities [n, 10].

        Of a calibrated run they have its temperature: a layer of that name divides the logits.
        """
        return self.engine.model

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities, float32 [n, 10], of images [n, 28, 28].

        As in `predict --input`, they are grey levels, 0 (background) to 255 (ink), or ink 0–1, and may have the shapes
        [n, 784], [n, 28, 28, 1], or [28, 28] for one image. Raise `UserError` for anything whose meaning would be a
        guess.
        """
        return self.engine.predict(array_files.to_images(np.asarray(images), "images"))

    @functools.cached_property
    def engine(self) -> Engine:
        """The run's model on a device."""
        from mnist_mlp.cli.load_framework import load
        from mnist_mlp.devices.machine import detect
        from mnist_mlp.devices.strategy import Request, choose

        backend = self.backend
        if backend == "auto" and "keras" in sys.modules:
            backend = sys.modules["keras"].backend.backend()
        plan = choose(Request(strategy=self.strategy, backend=backend), detect())
        load(plan)
        return start_finished(plan, self.path, self.result, {}, batch_size=1000, start_timeout=300)

    def _repr_html_(self) -> str:
        return f"<p><code>{shlex.quote(str(self.path))}</code></p>{self.result._repr_html_()}"


# Seven parameters: where the model is, what an `EngineSpec` takes beside it, and which probabilities are wanted.
def start_finished(
    plan: Plan,
    path: Path,
    trained: Result,
    splits: Mapping[str, Split],
    batch_size: int,
    *,
    start_timeout: float,
    calibrated: bool = True,
) -> Engine:
    """Return an engine as in the run, with the model in `path` and no optimizer. Otherwise like `create_engine`.

    If the run has a calibration, the model's probabilities have its temperature, unless `calibrated` is False. Logits
    never have it.

    Raise `UserError` also if model.keras no longer belongs to the result: the run was resumed after that was read.
    """
    from mnist_mlp.engine.create import EngineSpec, create_engine
    from mnist_mlp.models import keras_file, networks

    found = calibration.read(path, trained.model_sha256) if calibrated else None

    def load() -> keras.Model:
        model = keras_file.load(path / "model.keras")
        if digest(path / "model.keras") != trained.model_sha256:
            raise UserError(f"--run_dir={path}: model.keras was replaced while it was read; run the command again")
        return networks.with_temperature(model, found.temperature) if found else model

    return create_engine(plan, EngineSpec(load, splits, batch_size, kind=trained.engine), start_timeout=start_timeout)


def read_run(run_dir: str, named: str = "") -> tuple[Path, Config, Result]:
    """Return the directory of a finished run, its config and its result.

    Raise `UserError` if there is none; `named` is how the error calls it (default: --run_dir).
    """
    if not run_dir:
        raise UserError(f"expected the directory of a run; use --run_dir=DIR{PRINTED}")
    path, flag = path_of("run_dir", run_dir), named or f"--run_dir={run_dir}"
    resume = f"run python -m mnist_mlp.train {shlex.quote(f'--run_dir={run_dir}')} --resume"
    again = f"to write it again, {resume}, or train into a new directory"
    try:
        if not path.exists():
            raise UserError(f"{flag}: expected the directory of a finished run, found no such directory{PRINTED}")
        if other := _instead_of_a_run(path):
            raise UserError(f"{flag}: expected the directory of a finished run, received {other}")
        missing = [name for name in FILES if not (path / name).is_file()]
        if missing:
            finish = f"; to finish it, {resume}" if (path / FILES[0]).is_file() else ""
            raise UserError(f"{flag}: expected the directory of a finished run, found no {missing[0]} in it{finish}")
        result = Result.from_dict(read_json(path / "result.json"))
        if digest(path / "model.keras") != result.model_sha256:
            raise UserError(f"{flag}: model.keras is damaged, or belongs to another run; {again}")
    except OSError as error:
        raise UserError(f"{flag}: expected the directory of a run, received: {error.strerror}") from None
    except DAMAGED:
        raise UserError(f"{flag}: result.json is damaged; {again}") from None
    return path, read_config(path), result


def _instead_of_a_run(path: Path) -> str:
    """Return what a path is that is no run, and what to do; "" for a directory that may be a run."""
    if all((path.parent / name).is_file() for name in FILES) and not (path / FILES[0]).exists():
        return f"{path.name} in a run; try its directory, {path.parent}"
    kind = kinds.recognize_path(path)
    if path.is_file() or kind is not None:
        hint = kinds.MODEL if kind in kinds.MODELS else f"name the directory of a run{PRINTED}"
        return f"{kind.name if kind else 'a file'}; {hint}"
    if not any((path / name).exists() for name in FILES):
        with contextlib.suppress(OSError):
            if runs := sorted(each.parent.name for each in path.glob(f"*/{FILES[-1]}")):
                listed = ", ".join(runs[:5]) + ", …" * (len(runs) > 5)
                return f"a directory of runs ({listed}); try one of them, such as {path / runs[-1]}"
    return ""


def read_config(path: Path) -> Config:
    """Return the config in a run directory. Raise `UserError` if it cannot be read."""
    flag = f"--run_dir={path}"
    try:
        return Config.from_dict(read_json(path / "config.json"))
    except OSError as error:
        raise UserError(f"{flag}: config.json cannot be read: {error.strerror}") from None
    except DAMAGED:
        raise UserError(f"{flag}: config.json is damaged") from None
    except UserError as error:
        raise UserError(f"{flag}: config.json is damaged, or was written by another version: {error}") from None


def check_finite(path: Path, probabilities: np.ndarray) -> None:
    """Raise `UserError` if the model of the run in `path` predicts what is no number."""
    if not np.isfinite(probabilities).all():
        raise UserError(f"{path / 'model.keras'} predicts nan: its training diverged; train a new run")


def data_of_run(config: Config, result: Result, data_dir: str = "") -> Config:
    """Return the config with the data set that the run really had ("auto" decided), read from `data_dir` if given."""
    name = result.dataset["name"]
    if name not in DATASETS:
        raise UserError(f"the run used a custom data set ({name!r}); use predict --input=FILE, or evaluate in Python")
    if data_dir or name == "digits":
        return dataclasses.replace(config, dataset=name, data_dir=data_dir, data_source="auto")
    source = "auto" if config.data_source == "download" else config.data_source  # by now it is in the cache
    return dataclasses.replace(config, dataset=name, data_source=source)


def trained_on_others(path: Path, result: Result, train: Split) -> bool:
    """Return whether a run was trained on other images than a data set's, or in another order, as far as it knows."""
    if len(train) != result.dataset["train_examples"] + result.dataset["validation_examples"]:
        return True
    newest, _, _ = checkpoint.newest(path)
    recorded = newest.data.get("training images") if newest else None
    return recorded is not None and recorded != in_order_hash(train)
