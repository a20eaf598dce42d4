"""How an option is declared, and how a value is held against its declaration.

An options dataclass (`Config`, or the `Options` of a program) gives each field by `option(default, help, …)` and
calls `check(self)` at construction. The command line is made from the same declarations (command.py).
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.text import nearest, quoted


def option(
    default: Any,
    help: str,
    *,
    kind: type | None = None,
    choices: Sequence[str] = (),
    low: float = -math.inf,
    high: float = math.inf,
    word: bool = False,
) -> Any:
    """Declares one option; `low` ≤ value ≤ `high`.

    `kind` is the type of a value where the default (None: "not given") does not tell it; an option of the kind tuple
    takes several words, up to the next flag. `word`: it may be given without its name, of the kind tuple all its words.
    """
    metadata = {
        "help": help,
        "kind": kind or type(default),
        "choices": tuple(choices),
        "range": (low, high),
        "word": word,
    }
    return dataclasses.field(default=default, metadata=metadata)


def option_of(declared: type, name: str) -> Any:
    """The same option once more, in the options of another program."""
    (field,) = [field for field in dataclasses.fields(declared) if field.name == name]
    return dataclasses.field(default=field.default, metadata=field.metadata)


def check(options: Any) -> None:
    """Holds each field of an options dataclass against its declaration; raises `UserError` in terms of flags."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value is None and field.default is None:
            continue
        kind, choices = field.metadata["kind"], field.metadata["choices"]
        if kind is float and type(value) is int:
            value = float(value)
            object.__setattr__(options, field.name, value)  # 1 and 1.0 are the same option
        if type(value) is not kind:
            raise UserError(f"--{field.name}: expected {expected(field)}, received {quoted(value)}")
        if choices and value not in choices:
            raise UserError(
                f"--{field.name}: expected one of {', '.join(choices)}; "
                f"received {quoted(value)}{nearest(value, choices)}"
            )
        if kind in (int, float) and not in_range(value, *field.metadata["range"]):
            raise UserError(f"--{field.name}: expected {expected(field)}, received {quoted(value)}")


def path_of(flag: str, text: str) -> Path:
    """The path that a user typed, with ~ for a home directory. Raises `UserError` for an unknown user's."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        if os.path.lexists(text):  # the name of a file may begin so
            return Path.cwd() / text
        raise UserError(f"--{flag}: expected a path, received {text!r}, whose user is not known here") from None


def in_range(value: float, low: float, high: float) -> bool:
    """Whether a number is finite and within its bounds."""
    return low <= value <= high and abs(value) != math.inf


def expected(field: dataclasses.Field[Any]) -> str:
    """What a field accepts, in words: "a whole number from 1 to 100"."""
    kind, (low, high) = field.metadata["kind"], field.metadata["range"]
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "words"}[kind]
    if kind is int:
        return f"{words} from {low:,} to {high:,}"
    return f"{words} from {low:g} to {high:g}" if kind is float else words
