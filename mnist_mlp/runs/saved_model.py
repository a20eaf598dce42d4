"""The model of a finished run, on the planned device. (Beside finished.py, as it takes a framework.)"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_mlp.data import Split
from mnist_mlp.devices import Plan
from mnist_mlp.engine.base import Engine
from mnist_mlp.engine.create import EngineSpec, create_engine
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import digest
from mnist_mlp.models import keras_file
from mnist_mlp.runs.result import Result

if TYPE_CHECKING:
    import keras


def start_finished(
    plan: Plan, path: Path, trained: Result, splits: Mapping[str, Split], batch_size: int, *, start_timeout: float
) -> Engine:
    """An engine as in the run in that directory, with the run's model and no optimizer; the rest as of `create_engine`.

    Raises `UserError` also where model.keras is not that of the result, since the run was resumed after it was read.
    """

    def load() -> keras.Model:
        model = keras_file.load(path / "model.keras")
        if digest(path / "model.keras") != trained.model_sha256:
            raise UserError(f"--run_dir={path}: model.keras was replaced meanwhile; type the command once more")
        return model

    return create_engine(plan, EngineSpec(load, splits, batch_size, kind=trained.engine), start_timeout=start_timeout)
