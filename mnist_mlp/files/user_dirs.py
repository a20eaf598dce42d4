"""Directories of the user that a program may write to unasked: for caches and downloads.

Where a user has no home directory (a container started with an unknown user ID, a system service), nothing is kept.
What Python expands ~ to there is no directory, or a folder called ~ in the current one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_scratch: list[str] = []
NOWHERE = Path(os.devnull, "no home directory")  # nothing is there and nothing can be written: its parent is a file


def home() -> Path | None:
    """Return the home directory, or None if there is none: a name without a directory, a relative path, or the root."""
    path = Path(os.path.expanduser("~"))
    return path if path.is_absolute() and path != path.parent and path.is_dir() else None


def expanded(text: str) -> Path | None:
    """Return a path with a leading ~ or ~USER expanded, or None if there is no such home directory."""
    first, slash, rest = text.partition("/")
    if first != "~":
        path = os.path.expanduser(text)
        return None if path.startswith("~") else Path(path)
    here = home()
    return here / rest if here else None


def cache(name: str) -> Path | None:
    """Return the directory for the cache of that name, as the XDG base directory specification has it, or None."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # the specification has relative paths ignored
        return Path(named, name)
    here = home()
    return here / ".cache" / name if here else None


def cache_directory() -> Path | None:
    """Return the directory of our own caches, or None if they are off or the user has no home directory.

    `MNIST_MLP_CACHE=DIR` replaces ~/.cache/mnist_mlp; `MNIST_MLP_CACHE=off` turns them off.
    """
    named = os.environ.get("MNIST_MLP_CACHE")
    if named == "off":
        return None
    directory = expanded(named) if named else cache("mnist_mlp")
    return directory.absolute() if directory else None


def private(*directories: Path) -> bool:
    """Make directories, each with those above it, and return whether no other user may write to them. Raise OSError."""
    if not hasattr(os, "getuid"):
        return False
    for directory in directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False  # another user could put something there
    return True


def of_library(variable: str, default: str) -> Path:
    """Return the directory that a library's variable names, else `default` in the home directory, else `NOWHERE`."""
    return expanded(os.environ.get(variable) or f"~/{default}") or NOWHERE / default


def scratch(prefix: str) -> str:
    """Make a temporary directory that is removed when the process ends, and return it."""
    import atexit
    import tempfile

    directory = tempfile.mkdtemp(prefix=prefix)
    atexit.register(remove_scratch)
    _scratch.append(directory)
    return directory


def remove_scratch() -> None:
    """Remove the directories that `scratch` has made. Programs end without `atexit` and call it themselves."""
    while _scratch:
        import shutil

        shutil.rmtree(_scratch.pop(), ignore_errors=True)
