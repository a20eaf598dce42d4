"""The directory of a study, and what a study must go on with: the same images, folds, seed and spaces.

study.json says how it was begun, study.sqlite3 holds the trials; trials.csv, best.json and result.json are written
when the trials are done.
"""

from __future__ import annotations

import contextlib
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
from mnist_mlp.tune.space import Space, from_words, spaces_of, to_words

SETTINGS, TRIALS = "study.json", "study.sqlite3"
FIXED = ("folds", "search", "pruning", "seed")  # options that all trials of a study have in common
OWN = ("study_dir", "space", "space_file", "json")  # of one call, not of the study
PACKAGES = ("keras", "tensorflow", "jax", "numpy", "optuna", "scikit-learn")


def default_path() -> Path:
    """studies/DATE-TIME-PROCESS below the working directory."""
    return Path("studies") / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def begun(path: Path) -> dict[str, Any] | None:
    """How the study in a directory was begun: options, spaces, data, versions; None if there is none."""
    file = path / SETTINGS
    if not file.exists():
        return None
    try:
        found = read_json(file)
        for name in ("options", "spaces", "data", "versions"):
            if not isinstance(found[name], dict):
                raise ValueError(f"it has no {name}")
        for name in ("methods", *FIXED):
            if name not in found["options"]:
                raise ValueError(f"it has no option {name}")
        return found
    except OSError as error:
        reason = error.strerror
    except DAMAGED as error:
        reason = str(error)
    raise UserError(f"{file}: expected how the study was begun, received a damaged file ({reason}); begin another one")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[None]:
    """The directory, made if it is not there, which no other tune writes within the block.

    What was made is removed if the block fails before the study was begun. Raises `UserError` where the directory
    holds something else.
    """
    with directories(path, "study"):
        inspect(path)
        with held(path):
            remove_stale(path)
            yield


def inspect(path: Path) -> None:
    """Raises `UserError` where a directory holds what no study wrote."""
    try:
        there = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(TEMPORARY))
    except OSError as error:
        raise UserError(f"--study_dir={path}: expected a directory that can be read: {error.strerror}") from None
    if there and SETTINGS not in there and set(there) - {lock.NAME}:
        raise UserError(
            f"--study_dir={path}: expected a new or empty directory, or a study to go on with; it holds {there[0]!r}; "
            "name another one"
        )


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock of the directory."""
    try:
        with lock.held(path, "study"):
            yield
    except OSError as error:
        if error.filename and Path(error.filename).parent == path:
            raise cannot_write(Path(error.filename), error) from None
        raise


def spaces(
    methods: Sequence[str], words: Sequence[str], filed: Mapping[str, Space], study: Mapping[str, Any] | None
) -> dict[str, Space]:
    """The space of each method: as the study that is gone on with has it, else as given. Raises `UserError` where the
    two are not the same."""
    stored = study["spaces"] if study else {}
    begun = {name: from_words(name, space) for name, space in stored.items()}
    found = spaces_of(methods, words, filed, begun)
    for name, wants in stored.items():
        received = to_words(found[name])
        if received != wants:
            here, there = (
                " ".join(word for word in one if word not in other) or "none"
                for one, other in ((received, wants), (wants, received))
            )
            raise UserError(
                f"--space: expected the space of {name} that the study was begun with ({there}), received {here}; "
                "leave it out, or name another --study_dir"
            )
    return found


def check_known(names: Iterable[str], study: Mapping[str, Any], path: Path) -> None:
    """Raises `UserError` where a study has options that are not among `names`, those of this version."""
    unknown = [name for name in study["options"] if name not in names]
    if unknown:
        raise UserError(
            f"{path / SETTINGS}: expected the options of this version of mnist_mlp, {__version__}; received "
            f"{', '.join(map(repr, unknown))} of version {study['versions'].get('mnist_mlp', 'unknown')}; go on with "
            "that version, or name another --study_dir"
        )


def check_options(options: Mapping[str, Any], study: Mapping[str, Any] | None, path: Path) -> None:
    """Raises `UserError` where a study would go on with other options than its trials were made with."""
    for name in FIXED if study else ():
        wants, given = study["options"].get(name), options[name]  # type: ignore[index]
        if wants != given:
            raise UserError(
                f"--{name}={given}: the study in {path} was begun with --{name}={wants}; leave it out, or name another "
                "--study_dir"
            )


def check_data(hashes: Mapping[str, str], study: Mapping[str, Any] | None, path: Path) -> None:
    """Raises `UserError` where a study would go on with other training images, or the same in another order."""
    if study and dict(study["data"]) != dict(hashes):
        raise UserError(
            f"--dataset: expected the {study['data'].get('name')} training images that the study in {path} was begun "
            f"with, received others, of {hashes['name']}; name their place with --data_dir=DIR"
        )


def write(
    path: Path,
    options: Mapping[str, Any],
    spaces: Mapping[str, Space],
    data: Mapping[str, str],
    study: Any,
    backend: str = "",
) -> None:
    """Writes how the study was begun, with what was added to it since. `backend`: of the networks, if there are any."""
    values = {
        "options": {name: value for name, value in options.items() if name not in OWN},
        "spaces": {**(study["spaces"] if study else {}), **{name: to_words(space) for name, space in spaces.items()}},
        "data": dict(data),
        "versions": {**({"backend": backend} if backend else {}), **(study["versions"] if study else versions())},
    }
    write_json(path / SETTINGS, values)


def versions() -> dict[str, str]:
    """The versions of what makes the numbers, without importing it."""
    found = {"mnist_mlp": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def changed_versions(study: Mapping[str, Any] | None) -> list[str]:
    """ "keras 3.15 (before: 3.14)" for each that is another one than when the study was begun."""
    before = study["versions"] if study else {}
    return [
        f"{name} {now} (before: {before[name]})" for name, now in versions().items() if before.get(name, now) != now
    ]


def changed_backend(study: Mapping[str, Any] | None, backend: str) -> list[str]:
    """What to say where the networks of the study were begun on another backend, which gives other numbers."""
    before = study["versions"].get("backend") if study else None
    if not backend or before in (None, backend):
        return []
    return [f"the networks so far were fitted with another backend, {before}: now it is {backend}"]


def command_line(program: str, *arguments: str) -> str:
    """What to type to start a program of this package."""
    python = "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)
    return f"{python} -m mnist_mlp.{program} {' '.join(shlex.quote(argument) for argument in arguments)}"
