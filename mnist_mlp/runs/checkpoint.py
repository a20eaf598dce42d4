"""Checkpoints: all that a run needs to go on, in one .npz file that every backend, and NumPy alone, can read.

`np.load(file)` shows the variables by name, "losses" (of the steps of an epoch that is under way), and "about": JSON
with the rest. A file is taken only if it is whole: a SHA-256 over all that is read from it stands in it too.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.config import Config, differing
from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import checksum, read_arrays, reason_of
from mnist_mlp.files.atomic import DAMAGED

FORMAT = 1
DIRECTORY = "checkpoints"
NAME = "step-{:09d}.npz"  # steps since the start of the run: their order needs no clock


@dataclasses.dataclass
class Progress:
    """How far a run has come. `losses`: Σ wᵢlᵢ of each step that is done in the epoch under way, float64 [step]."""

    epoch: int = 0  # epochs that are done
    step: int = 0  # steps that are done in the epoch under way, as are the next four
    losses: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # a row for each epoch that is done

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps since the start of the run."""
        return self.epoch * steps_per_epoch + self.step


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What stands in a file."""

    progress: Progress
    total_steps: int  # since the start of the run
    state: Mapping[str, np.ndarray]  # of the engine
    config: Config
    data: Mapping[str, str]  # the name of the data set and hashes of its splits
    ran_on: Mapping[str, Any]  # backend, device, replicas, xla, and versions
    resumed: list[dict[str, Any]]  # as in a result

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays."""
        progress = dataclasses.asdict(self.progress)
        arrays = {"losses": progress.pop("losses"), **self.state}
        about = {
            "format": FORMAT,
            "progress": progress,
            "total_steps": self.total_steps,
            "config": self.config.to_dict(),
            "data": dict(self.data),
            "ran_on": dict(self.ran_on),
            "resumed": self.resumed,
        }
        about["sha256"] = checksum(about, arrays)
        return {"about": np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Checkpoint:
        """The inverse of `to_arrays`. Raises ValueError, KeyError or TypeError for what is no whole checkpoint."""
        state = dict(arrays)
        about = json.loads(state.pop("about").tobytes())
        if checksum({key: about[key] for key in about if key != "sha256"}, state) != about["sha256"]:
            raise ValueError("its content does not have its checksum")
        if type(about["format"]) is not int or about["format"] != FORMAT:
            raise UserError(f"it was written by another version of mnist_mlp (format {about['format']!r:.20})")
        progress = Progress(losses=state.pop("losses"), **about["progress"])
        found = cls(
            progress,
            about["total_steps"],
            state,
            stored_config(about["config"]),
            about["data"],
            about["ran_on"],
            about["resumed"],
        )
        found.check()
        return found

    def check(self) -> None:
        """Raises ValueError, KeyError or TypeError for what no run could have written under a right checksum."""
        progress = self.progress
        counts = (progress.epoch, progress.step, progress.correct, progress.seen, self.total_steps)
        kinds = [(list, progress.history), (list, self.resumed), (dict, self.data), (dict, self.ran_on)]
        if not all(type(count) is int and 0 <= count < 2**53 for count in counts):
            raise ValueError("counts that are none")
        if not all(isinstance(value, kind) for kind, value in kinds) or not isinstance(progress.seconds, float):
            raise TypeError("parts of another kind")
        if progress.losses.shape != (progress.step,) or progress.losses.dtype != np.float64:
            raise TypeError("losses of another kind")
        if len(progress.history) != progress.epoch or any(r["epoch"] != i + 1 for i, r in enumerate(progress.history)):
            raise ValueError("a history of other epochs")
        for row in (*progress.history, *self.resumed):
            if not isinstance(row, dict):
                raise TypeError("parts of another kind")


def stored_config(values: Mapping[str, Any]) -> Config:
    """The config in a checkpoint. Raises ValueError for one that this version could not have written."""
    try:
        return Config.from_dict(values)
    except UserError as error:
        raise ValueError(str(error)) from None


class Damaged(UserError):
    """A file that is no whole checkpoint."""


def read(file: Path) -> Checkpoint:
    """The checkpoint in a file. Raises `Damaged` where it is not whole, and `UserError` where it cannot be read now, or
    by this version: then nothing is wrong with the file."""
    try:
        if not file.is_file():
            raise Damaged(f"{file.name} is damaged (it is no file)")
        with open(file, "rb"):
            pass
    except OSError as error:
        raise UserError(f"{file}: expected to read it, received: {error.strerror}") from None
    try:
        arrays = read_arrays(file)
    except UserError as error:
        raise Damaged(f"{file.name} is damaged ({str(error).removeprefix(f'{file}: ')})") from None
    try:
        return Checkpoint.from_arrays(arrays)
    except DAMAGED as error:
        raise Damaged(f"{file.name} is damaged ({reason_of(error)})") from None
    except UserError as error:
        raise UserError(f"{file}: {error}; use that version, or begin again in another --run_dir") from None


def files(run_dir: Path) -> dict[int, Path]:
    """The checkpoints of a run by their steps, the newest first, whole or not. Raises `UserError`."""
    found = {}
    try:
        there = list((run_dir / DIRECTORY).iterdir())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{run_dir / DIRECTORY}: expected to read it, received: {error.strerror}") from None
    for file in there:
        if name := re.fullmatch(r"step-(\d{9,18})\.npz", file.name):
            found[int(name[1])] = file
    return dict(sorted(found.items(), reverse=True))


def newest(run_dir: Path, begun: Config | None = None) -> tuple[Checkpoint | None, Path | None, dict[str, str]]:
    """The newest checkpoint of a run that can be used, its file, and why newer files cannot, {name: reason}.

    `begun`: the options of the run; a checkpoint with other ones belongs elsewhere.
    """
    passed_over: dict[str, str] = {}
    for steps, file in files(run_dir).items():
        try:
            found = read(file)
            if found.total_steps != steps:
                raise Damaged(f"{file.name} is damaged (it was written at step {found.total_steps})")
        except Damaged as error:
            passed_over[file.name] = str(error)
            continue
        others = differing(found.config, begun) if begun else []
        if not others:
            return found, file, passed_over
        passed_over[file.name] = f"{file.name} is of another run (another --{', --'.join(others)})"
    return None, None, passed_over
