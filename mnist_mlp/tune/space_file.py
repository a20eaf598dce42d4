"""The file of --space_file: TOML with a table for each method, and in it the values of its parameters."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import LARGEST
from mnist_mlp.options import nearest, shown
from mnist_mlp.tune.methods import METHODS
from mnist_mlp.tune.space import Space, parse

PIPES = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")  # <(…) of a shell: somebody writes at the other end


def read(file: Path, methods: Sequence[str]) -> dict[str, Space]:
    """What the file says of each method, of those too that are not compared. Raises `UserError`, also where it says
    nothing of any of `methods`."""
    flag, found = f"--space_file={file}", {}
    for name, table in tables(file).items():
        if name not in METHODS:
            raise UserError(
                f"{flag}: expected a table named after a method ({', '.join(METHODS)}); "
                f"received {shown(name)}{nearest(name, list(METHODS))}"
            )
        if not isinstance(table, dict):
            raise UserError(f"{flag}: expected [{name}] as a table, received {name} = {shown(table)}")
        found[name] = {key: parse(METHODS[name], key, value, f"{flag}: [{name}] {key}") for key, value in table.items()}
    if not set(found) & set(methods):
        received = ", ".join(f"[{name}]" for name in found) or "no table"
        remedy = f"type --methods={','.join(found)}" if found else f"write [{methods[0]}] and values below it"
        raise UserError(f"{flag}: expected a table of {', '.join(methods)}; received {received}; {remedy}")
    return found


def unused(found: Sequence[str], methods: Sequence[str]) -> list[str]:
    """What to say of tables whose methods are not compared."""
    names = [name for name in found if name not in methods]
    if not names:
        return []
    tables = ", ".join(f"[{name}]" for name in names)
    return [f"--space_file: {tables} not used; to compare that too, type --methods={','.join([*methods, *names])}"]


def tables(file: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises `UserError`."""
    try:
        toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ModuleNotFoundError:
        raise UserError(
            f"--space_file: expected the package tomli; type {sys.executable} -m pip install 'mnist_mlp[tune]'"
        ) from None
    try:
        if file.exists() and not file.is_file() and not file.is_dir() and not str(file).startswith(PIPES):
            raise ValueError("what is no file")  # a named pipe, for which one might wait for ever
        with open(file, encoding="utf-8") as opened:
            found: dict[str, Any] = toml.loads(opened.read(LARGEST))
            return found
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--space_file={file}: expected a TOML file, such as [mlp] and below it batch_size = [16, 32]; "
            f"received: {reason}"
        ) from None
