"""The calibration of a finished run: calibration.json, which `evaluate --calibrate` writes beside the model."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import DAMAGED, read_json
from mnist_mlp.runs.result import Result, finite
from mnist_mlp.stats.calibration import COLDEST, HOTTEST

NAME = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A temperature, and what it changes. The fields are the keys of calibration.json.

    `before` and `after` are what `stats.calibration.measure` returns of the test images, without the temperature and
    with it.
    """

    temperature: float  # probabilities are softmax(logits / temperature)
    temperature_interval: list[float]
    model_sha256: str  # of the model.keras that it was fitted for
    validation: dict[str, Any]  # the number of images, and before and after: nll, brier, ece, ece_if_calibrated
    before: dict[str, Any]
    after: dict[str, Any]
    change: dict[str, Any]  # of the test images: mean change and 95% interval of nll and brier, image by image
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        return finite(dataclasses.asdict(self))


def read(path: Path, model_sha256: str) -> Calibration | None:
    """Return the calibration of the model in a run directory; None if it has none.

    Raise `UserError` if the file is damaged or belongs to another model: no network gets the temperature of another.
    """
    file = path / NAME
    if not file.exists():
        return None
    again = f"run python -m mnist_mlp.evaluate {shlex.quote(f'--run_dir={path}')} --calibrate, or remove it"
    try:
        found = Calibration(**read_json(file))
        if not COLDEST <= found.temperature <= HOTTEST:
            raise ValueError("no temperature")
        _ = found.before["bins"], found.after["bins"], found.after["coverage"]["rows"]
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except DAMAGED:
        raise UserError(f"{file} is damaged; {again}") from None
    if found.model_sha256 != model_sha256:
        raise UserError(f"{file} belongs to another model than model.keras beside it; {again}")
    return found


def shown(path: Path, result: Result) -> dict[str, Any]:
    """Return the result as JSON values, with what the calibration in the run directory changes as `test.calibrated`."""
    values = result.to_dict()
    found = read(path, result.model_sha256) if (path / NAME).exists() else None
    if found is not None:
        values["test"] |= {"calibration": found.before, "calibrated": calibrated(found)}
    return values


def calibrated(found: Calibration) -> dict[str, Any]:
    """Return the calibration as it stands in a result, `test.calibrated`: the temperature, and what it changes."""
    temperature = {"temperature": found.temperature, "temperature_interval": found.temperature_interval}
    return {**temperature, "fitted_on_images": found.validation["images"], "change": found.change, **found.after}


def drop_stale(path: Path, model_sha256: str) -> str:
    """Remove a calibration of another model than that with this hash. Return a line that says so, or ""."""
    try:
        read(path, model_sha256)
    except UserError:
        (path / NAME).unlink(missing_ok=True)
        return (
            f"  !      removed {NAME}: it belongs to the model before this training; fit a new temperature with "
            "evaluate --calibrate"
        )
    return ""
