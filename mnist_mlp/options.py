"""Declaring options, and checking values against their declaration.

An options dataclass (`Config`, or the `Options` of a program) declares each field with `option(default, help, …)` and
calls `check(self)` when it is constructed. `cli/flags.py` makes the command-line flags from the same declarations, and
`tagged` makes the lists of option names from their tags.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.text import nearest, quoted

GROUPS = {  # the headings of `--help`, in its order
    "start": "values to start from",
    "model": "model",
    "data": "data",
    "training": "training",
    "recipe": "training recipe",
    "device": "device",
    "output": "output",
    "checkpoints": "checkpoints",
    "checks": "checks",
}
AFFECTS: dict[str, tuple[str, ...]] = {  # what an option affects, and where its value may differ for that reason
    "result": (),  # the distribution of results over all seeds
    "sample": (),  # which sample of that distribution this run is
    "machine": ("resume",),  # where it is computed and where its data lie; results differ by rounding at most
    "output": ("resume",),  # what is written or reported beside the model
    "process": ("resume", "workers"),  # this one process
}
DIFFER = ("resume", "workers")  # a resumed run may have another value; workers of one run may have different values


# Eleven parameters: this is a declaration, and each keyword is one property of the option.
def option(
    default: Any,
    help: str,
    *,
    kind: type | None = None,
    choices: Sequence[str] = (),
    low: float = -math.inf,
    high: float = math.inf,
    positional: bool = False,
    group: str = "",
    affects: str = "",
    may_differ: Sequence[str] = (),
    alternatives: str = ",",
) -> Any:
    """Return the dataclass field of one option; `low` ≤ value ≤ `high`.

    `kind` is the type of a value, needed where the default is None. An option of kind tuple takes several values, up
    to the next flag. `positional`: its value, or for kind tuple all of them, may be given without the flag's name.
    `group` is a key of `GROUPS` and `affects` one of `AFFECTS`; `may_differ`, of `DIFFER`, adds to what the latter
    allows. `alternatives` is what separates several values in a search (tune --space). A program with few flags may
    leave the tags out.
    """
    if unknown := {group, affects, *may_differ} - {"", *GROUPS, *AFFECTS, *DIFFER}:
        raise ValueError(f"unknown tags: {', '.join(unknown)}")
    metadata = {
        "help": help,
        "kind": kind or type(default),
        "choices": tuple(choices),
        "range": (low, high),
        "positional": positional,
        "group": group,
        "affects": affects,
        "may_differ": (*AFFECTS.get(affects, ()), *may_differ),
        "alternatives": alternatives,
    }
    return dataclasses.field(default=default, metadata=metadata)


def option_of(declared: type, name: str) -> Any:
    """Return the field of an option that `declared` has, for the options of another program."""
    (field,) = [field for field in dataclasses.fields(declared) if field.name == name]
    return dataclasses.field(default=field.default, metadata=field.metadata)


def tagged(declared: Any, *, group: str = "", affects: str = "", may_differ: str = "") -> tuple[str, ...]:
    """Return the names of the options that have all of these tags, in their order.

    Raises `TypeError` if an option of `declared` has no `group` or no `affects`: none can be forgotten.
    """
    wanted = {"group": group, "affects": affects}
    names = []
    for field in dataclasses.fields(declared):
        tags = field.metadata
        if not (tags["group"] and tags["affects"]):
            raise TypeError(f"option {field.name!r} of {declared.__name__} needs the tags group=… and affects=…")
        if all(tags[tag] == value for tag, value in wanted.items() if value) and (
            not may_differ or may_differ in tags["may_differ"]
        ):
            names.append(field.name)
    return tuple(names)


def check(options: Any) -> None:
    """Check each field of an options dataclass against its declaration. Raises `UserError` that names the flag."""
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
    """Return the path that a user typed, with ~ expanded.

    Raises `UserError` for a URL, and for the home of an unknown user.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) and not os.path.lexists(text):
        hint = "omit file://" if text.lower().startswith("file:") else "download what is to be read, and give its path"
        raise UserError(f"--{flag}={text}: expected a path on this machine, received a URL; {hint}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        if os.path.lexists(text):  # a file may have such a name
            return Path.cwd() / text
        raise UserError(f"--{flag}: expected a path, received {text!r}, which names an unknown user") from None


def in_range(value: float, low: float, high: float) -> bool:
    """Return whether a number is finite and within its bounds."""
    return low <= value <= high and abs(value) != math.inf


def expected(field: dataclasses.Field[Any]) -> str:
    """Return in words what a field accepts: "a whole number from 1 to 100"."""
    kind, (low, high) = field.metadata["kind"], field.metadata["range"]
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "values"}[kind]
    if kind is int:
        return f"{words} from {low:,} to {high:,}"
    return f"{words} from {low:g} to {high:g}" if kind is float else words
