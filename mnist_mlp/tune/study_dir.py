"""The directory of a study, and the checks for resuming one: it needs the same images, folds, seed and spaces.

study.json holds the settings and study.sqlite3 the trials; trials.csv, best.json and result.json are written when the
trials are done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp import __version__
from mnist_mlp.errors import UserError
from mnist_mlp.files import lock
from mnist_mlp.files.atomic import DAMAGED, TEMPORARY, cannot_write, read_json, remove_stale, write_json
from mnist_mlp.files.outputs import directories
from mnist_mlp.tune.space import Space, format_space, parse_space, resolve

SETTINGS, TRIALS = "study.json", "study.sqlite3"
FIXED = ("folds", "search", "pruning", "seed")  # options that must be the same for all trials of a study
OF_ONE_CALL = ("study_dir", "space", "space_file", "json")  # options that study.json does not keep
PACKAGES = ("keras", "tensorflow", "jax", "numpy", "optuna", "scikit-learn")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What study.json keeps of a call."""

    options: Mapping[str, Any]
    spaces: Mapping[str, Space]
    data: Mapping[str, str]  # name and content hash of the training images
    backend: str = ""  # of the networks, if there are any


def default_path() -> Path:
    """Return studies/DATE-TIME-PROCESS, relative to the working directory."""
    return Path("studies") / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def read_settings(path: Path) -> dict[str, Any] | None:
    """Return the content of study.json (options, spaces, data, versions); None if there is no study."""
    file = path / SETTINGS
    if not file.exists():
        return None
    try:
        study = read_json(file)
        for name in ("options", "spaces", "data", "versions"):
            if not isinstance(study[name], dict):
                raise ValueError(f"it has no {name}")
        for name in ("methods", *FIXED):
            if name not in study["options"]:
                raise ValueError(f"it has no option {name}")
        return study
    except OSError as error:
        reason = error.strerror
    except DAMAGED as error:
        reason = str(error)
    raise UserError(f"{file}: the settings of the study are damaged ({reason}); start another study")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[None]:
    """Create the directory if necessary, and lock it within the block.

    A new directory is removed if the block fails before study.json is written. Raise `UserError` if the directory
    holds anything but a study.
    """
    with directories(path, "study"):
        inspect(path)
        with locked(path):
            remove_stale(path)
            yield


def inspect(path: Path) -> None:
    """Raise `UserError` if a directory holds files of something else than a study."""
    try:
        names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(TEMPORARY))
    except OSError as error:
        raise UserError(f"--study_dir={path}: the directory cannot be read: {error.strerror}") from None
    if names and SETTINGS not in names and set(names) - {lock.NAME}:
        raise UserError(
            f"--study_dir={path}: expected a new or empty directory, or a study to resume; it holds {names[0]!r}; "
            "choose another directory"
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the directory."""
    try:
        with lock.held(path, "study"):
            yield
    except OSError as error:
        if error.filename and Path(error.filename).parent == path:
            raise cannot_write(Path(error.filename), error) from None
        raise


def spaces(
    methods: Sequence[str], assignments: Sequence[str], filed: Mapping[str, Space], study: Mapping[str, Any] | None
) -> dict[str, Space]:
    """Return the space of each method. Raise `UserError` if it differs from that of the resumed study."""
    stored = study["spaces"] if study else {}
    resolved = resolve(methods, assignments, filed, {name: parse_space(name, space) for name, space in stored.items()})
    for name, expected in stored.items():
        received = format_space(resolved[name])
        if received != expected:
            here, there = (
                " ".join(assignment for assignment in one if assignment not in other) or "none"
                for one, other in ((received, expected), (expected, received))
            )
            raise UserError(
                f"--space: expected the space of {name} that the study was started with ({there}), received {here}; "
                "omit it, or use another --study_dir"
            )
    return resolved


def check_known(names: Iterable[str], study: Mapping[str, Any], path: Path) -> None:
    """Raise `UserError` if a study has options that are not among `names`, those of this version."""
    unknown = [name for name in study["options"] if name not in names]
    if unknown:
        raise UserError(
            f"{path / SETTINGS}: mnist_mlp {__version__} does not know the options {', '.join(map(repr, unknown))} of "
            f"version {study['versions'].get('mnist_mlp', 'unknown')}; resume with that version, or use another "
            "--study_dir"
        )


def check_options(options: Mapping[str, Any], study: Mapping[str, Any] | None, path: Path) -> None:
    """Raise `UserError` if a study would be resumed with other options than those of its trials."""
    for name in FIXED if study else ():
        expected, received = study["options"].get(name), options[name]  # type: ignore[index]
        if expected != received:
            raise UserError(
                f"--{name}={received}: the study in {path} was started with --{name}={expected}; omit it, or use "
                "another --study_dir"
            )


def check_data(hashes: Mapping[str, str], study: Mapping[str, Any] | None, path: Path) -> None:
    """Raise `UserError` if a study would be resumed with other training images, or the same in another order."""
    if study and dict(study["data"]) != dict(hashes):
        raise UserError(
            f"--dataset: expected the {study['data'].get('name')} training images that the study in {path} was started "
            f"with, received others, of {hashes['name']}; try --data_dir=DIR with their directory"
        )


def write_settings(path: Path, settings: Settings, study: Mapping[str, Any] | None) -> None:
    """Write study.json; `study` is its content so far, whose other spaces and first versions stay."""
    spaces = {name: format_space(space) for name, space in settings.spaces.items()}
    backend = {"backend": settings.backend} if settings.backend else {}
    values = {
        "options": {name: value for name, value in settings.options.items() if name not in OF_ONE_CALL},
        "spaces": {**(study["spaces"] if study else {}), **spaces},
        "data": dict(settings.data),
        "versions": {**backend, **(study["versions"] if study else versions())},
    }
    write_json(path / SETTINGS, values)


def versions() -> dict[str, str]:
    """Return the versions of the packages that affect the results, without importing them."""
    found = {"mnist_mlp": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def changed_versions(study: Mapping[str, Any] | None) -> list[str]:
    """Return "keras 3.15 (before: 3.14)" for each version that differs from when the study was started."""
    before = study["versions"] if study else {}
    return [
        f"{name} {now} (before: {before[name]})" for name, now in versions().items() if before.get(name, now) != now
    ]


def changed_backend(study: Mapping[str, Any] | None, backend: str) -> list[str]:
    """Return a note if the networks of the study were fitted with another backend, which rounds differently."""
    before = study["versions"].get("backend") if study else None
    if not backend or before in (None, backend):
        return []
    return [f"earlier networks were fitted with another backend, {before}; it is now {backend}"]


def command_line(program: str, *arguments: str) -> str:
    """Return the shell command that starts a program of this package."""
    python = "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)
    return f"{python} -m mnist_mlp.{program} {' '.join(shlex.quote(argument) for argument in arguments)}"
