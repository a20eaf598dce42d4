"""Checkpoints: all that is needed to resume a run, in one .npz file that every backend, and NumPy alone, can read.

`np.load(file)` has the variables by name, "losses" (of the current epoch's steps), arrays of callbacks, whose names
begin with "callbacks/", and "about": JSON with the rest. A file is used only if it is whole, by a SHA-256 over all of
its content that it holds itself.
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
CALLBACKS = "callbacks/"  # callbacks/EarlyStopping 1/best_weights/0


@dataclasses.dataclass
class Progress:
    """How far a run is. `losses`: Σ wᵢlᵢ of each step completed in the current epoch, float64 [step]."""

    epoch: int = 0  # completed epochs
    step: int = 0  # steps completed in the current epoch; the next four fields cover the same steps
    losses: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # a row per completed epoch
    # Changes of the learning rate while the run trained: "step" (since the start of the run), "from", "to".
    rates: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps since the start of the run."""
        return self.epoch * steps_per_epoch + self.step


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The content of a file."""

    progress: Progress
    total_steps: int  # since the start of the run
    state: Mapping[str, np.ndarray]  # of the engine
    config: Config
    data: Mapping[str, str]  # the name of the data set and hashes of its splits
    ran_on: Mapping[str, Any]  # backend, device, replicas, xla, and versions
    resumed: list[dict[str, Any]]  # as in a result
    ended: bool = False  # whether the training is over and callbacks' `on_train_end` is done
    # What callbacks know of earlier epochs: {name: {attribute: a JSON value that is no list, or a list of arrays}}.
    callbacks: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    initial: dict[str, Any] = dataclasses.field(default_factory=dict)  # as in a result, as far as it is known

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all of it as arrays."""
        progress = dataclasses.asdict(self.progress)
        if not progress["rates"]:  # as before there were any: such a file is read by all versions
            del progress["rates"]
        callbacks, kept = without_arrays(self.callbacks)
        arrays = {"losses": progress.pop("losses"), **self.state, **kept}
        about = {
            "format": FORMAT,
            "progress": progress,
            "total_steps": self.total_steps,
            "config": self.config.to_dict(),
            "data": dict(self.data),
            "ran_on": dict(self.ran_on),
            "resumed": self.resumed,
            "ended": self.ended,
            "callbacks": callbacks,
            "initial": self.initial,
        }
        about["sha256"] = checksum(about, arrays)
        return {"about": np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Checkpoint:
        """Return the checkpoint that `to_arrays` wrote. Raise ValueError, KeyError or TypeError if it is not whole."""
        state = dict(arrays)
        about = json.loads(state.pop("about").tobytes())
        if checksum({key: about[key] for key in about if key != "sha256"}, state) != about["sha256"]:
            raise ValueError("its content does not match its checksum")
        if type(about["format"]) is not int or about["format"] != FORMAT:
            raise UserError(f"it was written by another version of mnist_mlp (format {about['format']!r:.20})")
        progress = Progress(losses=state.pop("losses"), **about["progress"])
        kept = {name: state.pop(name) for name in arrays if name.startswith(CALLBACKS)}
        found = cls(
            progress,
            about["total_steps"],
            state,
            stored_config(about["config"]),
            about["data"],
            about["ran_on"],
            about["resumed"],
            about.get("ended", False),  # 0.1 wrote neither this nor the next two
            with_arrays(about.get("callbacks", {}), kept),
            about.get("initial", {}),
        )
        found.check()
        return found

    def check(self) -> None:
        """Raise ValueError, KeyError or TypeError for what no run writes, even under a correct checksum."""
        progress = self.progress
        counts = (progress.epoch, progress.step, progress.correct, progress.seen, self.total_steps)
        kinds: list[tuple[type, Any]] = [(list, progress.history), (list, self.resumed), (list, progress.rates)]
        kinds += [(dict, self.data), (dict, self.ran_on), (dict, self.initial)]
        kinds += [(bool, self.ended), *((dict, values) for values in self.callbacks.values())]
        if not all(type(count) is int and 0 <= count < 2**53 for count in counts):
            raise ValueError("invalid counts")
        if not all(isinstance(value, kind) for kind, value in kinds) or not isinstance(progress.seconds, float):
            raise TypeError("parts of another type")
        if progress.losses.shape != (progress.step,) or progress.losses.dtype != np.float64:
            raise TypeError("losses of another type")
        if len(progress.history) != progress.epoch or any(r["epoch"] != i + 1 for i, r in enumerate(progress.history)):
            raise ValueError("a history of other epochs")
        for row in (*progress.history, *self.resumed, *progress.rates):
            if not isinstance(row, dict):
                raise TypeError("parts of another type")


def without_arrays(callbacks: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the JSON values of `Checkpoint.callbacks`, and its arrays, each under a name of its own."""
    values: dict[str, Any] = {name: {} for name in callbacks}
    arrays: dict[str, np.ndarray] = {}
    for name, attributes in callbacks.items():
        for key, value in attributes.items():
            if isinstance(value, list):
                arrays |= {f"{CALLBACKS}{name}/{key}/{index}": array for index, array in enumerate(value)}
            else:
                values[name][key] = value
    return values, arrays


def with_arrays(values: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return the `Checkpoint.callbacks` that `without_arrays` took apart."""
    callbacks = {name: dict(attributes) for name, attributes in values.items()}
    for label in sorted(arrays, key=lambda label: int(label.rpartition("/")[2])):
        name, key, _ = label.removeprefix(CALLBACKS).rsplit("/", 2)
        callbacks[name].setdefault(key, []).append(arrays[label])
    return callbacks


def stored_config(values: Mapping[str, Any]) -> Config:
    """Return the config in a checkpoint. Raise ValueError if this version could not have written it."""
    try:
        return Config.from_dict(values)
    except UserError as error:
        raise ValueError(str(error)) from None


class Damaged(UserError):
    """A file that is not a whole checkpoint."""


def read(file: Path) -> Checkpoint:
    """Return the checkpoint in a file.

    Raise `Damaged` if it is not whole, and `UserError` if it cannot be read now, or by this version: then nothing is
    wrong with the file.
    """
    try:
        if not file.is_file():
            raise Damaged(f"{file.name} is damaged (it is not a file)")
        with open(file, "rb"):
            pass
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    try:
        arrays = read_arrays(file)
    except UserError as error:
        raise Damaged(f"{file.name} is damaged ({str(error).removeprefix(f'{file}: ')})") from None
    try:
        return Checkpoint.from_arrays(arrays)
    except DAMAGED as error:
        raise Damaged(f"{file.name} is damaged ({reason_of(error)})") from None
    except UserError as error:
        raise UserError(f"{file}: {error}; use that version, or start again in another --run_dir") from None


def files(run_dir: Path) -> dict[int, Path]:
    """Return the checkpoint files of a run by their steps, newest first, whole or not. Raise `UserError`."""
    found = {}
    try:
        there = list((run_dir / DIRECTORY).iterdir())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{run_dir / DIRECTORY} cannot be read: {error.strerror}") from None
    for file in there:
        if name := re.fullmatch(r"step-(\d{9,18})\.npz", file.name):
            found[int(name[1])] = file
    return dict(sorted(found.items(), reverse=True))


def newest(run_dir: Path, started_with: Config | None = None) -> tuple[Checkpoint | None, Path | None, dict[str, str]]:
    """Return the newest usable checkpoint of a run, its file, and why newer files are not usable: {name: reason}.

    A checkpoint with other options than `started_with`, those of the run, belongs elsewhere.
    """
    skipped: dict[str, str] = {}
    for steps, file in files(run_dir).items():
        try:
            found = read(file)
            if found.total_steps != steps:
                raise Damaged(f"{file.name} is damaged (it was written at step {found.total_steps})")
        except Damaged as error:
            skipped[file.name] = str(error)
            continue
        others = differing(found.config, started_with) if started_with else []
        if not others:
            return found, file, skipped
        skipped[file.name] = f"{file.name} belongs to another run (another --{', --'.join(others)})"
    return None, None, skipped
