"""Command-line flags from an options dataclass, and the page that `--help` prints."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

try:
    from absl import flags
except ModuleNotFoundError:
    raise SystemExit(
        f"error: {sys.executable} lacks the packages that mnist_mlp needs; run scripts/train, or pip install -e ."
    ) from None

from mnist_mlp.errors import UserError
from mnist_mlp.options import GROUPS, expected
from mnist_mlp.text import nearest

Options = TypeVar("Options")
FEW = 24  # flags that are read faster in one list than under headings
INDENT, WIDTH = 26, 100  # columns of `--help`: where the text begins, where it ends


def parse(declared: type[Options], argv: Sequence[str], *, program: str, about: str) -> Options:
    """Read flags (`--name=value`, `--name value`) into the options dataclass `declared`.

    `--help` prints a page and exits. Raises `UserError` for an unknown flag, a wrong value, or an unexpected argument.
    """
    return declared(**given_flags(declared, argv, program=program, about=about))


def given_flags(declared: type[Any], argv: Sequence[str], *, program: str, about: str) -> dict[str, Any]:
    """Return the options on the command line with their values; otherwise as `parse`."""
    fields = {field.name: field for field in dataclasses.fields(declared)}
    if {"--help", "-help", "-h", "--helpfull"} & set(argv):
        print(help_text(list(fields.values()), program, about), flush=True)
        raise SystemExit(0)
    return {name: convert(fields[name], text) for name, text in read_flags(fields, argv).items()}


def read_flags(fields: Mapping[str, dataclasses.Field[Any]], argv: Sequence[str]) -> dict[str, Any]:
    """Return the flags on the command line, as text (or bool, or a tuple of texts).

    absl parses them, into `FlagValues` of our own: frameworks define flags in the global ones.
    """
    values = flags.FlagValues()
    for field in fields.values():
        define = flags.DEFINE_boolean if field.metadata["kind"] is bool else flags.DEFINE_string
        define(field.name, None, field.metadata["help"], flag_values=values)
    argv, several = split_tuple_flags(fields, argv)
    for argument in argv:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name in ("flagfile", "undefok"):  # absl adds these
            raise unknown_flag(name, fields)
    try:
        rest = values(["", *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        raise unknown_flag(error.flagname, fields) from None
    except flags.IllegalFlagValueError as error:  # of a boolean flag: all others are text here
        raise UserError(f"{str(error).partition(':')[0]}: expected true or false (all flags: --help)") from None
    except (flags.Error, ValueError) as error:
        raise UserError(f"{error} (all flags: --help)") from None
    read = {name: values[name].value for name in fields if values[name].value is not None} | several
    positional = next((field.name for field in fields.values() if field.metadata["positional"]), None)
    if positional and rest and positional not in read:
        if fields[positional].metadata["kind"] is tuple:
            read[positional], rest = tuple(rest), []
        else:
            read[positional], *rest = rest
    if rest:
        raise unexpected_argument(rest[0], fields)
    return read


def split_tuple_flags(
    fields: Mapping[str, dataclasses.Field[Any]], argv: Sequence[str]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Split off the flags that take several values (`--sweep a b`): return the other arguments, and those values."""
    others: list[str] = []
    found: dict[str, tuple[str, ...]] = {}
    current = None
    for argument in argv:
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and argument != "-":  # a single one is standard input
            current = name if name in fields and fields[name].metadata["kind"] is tuple else None
            if current:
                found[name] = found.get(name, ()) + ((value,) if equals else ())
            else:
                others.append(argument)
        elif current:
            found[current] += (argument,)
        else:
            others.append(argument)
    for name, values in found.items():
        if not values:
            raise UserError(f"--{name}: expected one or more values, received none; try --{name} VALUE")
    return others, found


def unknown_flag(name: str, fields: Mapping[str, dataclasses.Field[Any]]) -> UserError:
    near = nearest(f"--{name}", [f"--{known}" for known in fields])
    return UserError(f"unknown flag --{name}{near} (all flags: --help)")


def unexpected_argument(argument: str, fields: Mapping[str, dataclasses.Field[Any]]) -> UserError:
    """Return the error about an argument that belongs to no flag, with the flag that was probably meant."""
    first = next(iter(fields.values()))
    example = f"--{first.name}" + ("" if first.metadata["kind"] is bool else "=VALUE")
    chosen = [field.name for field in fields.values() if argument.lower() in field.metadata["choices"]]
    if argument.lower() in ("true", "false"):
        hint = " (write --flag=true or --flag=false)"
    elif argument.partition("=")[0] in fields:
        hint = f"; did you mean --{argument}?"
    elif len(chosen) == 1:
        hint = f"; did you mean --{chosen[0]}={argument}?"
    else:
        hint = ""
    return UserError(f"expected flags such as {example}, received {argument!r}{hint}")


def convert(field: dataclasses.Field[Any], text: Any) -> Any:
    """Convert the text of a flag to the type of the field. Choices may be upper or lower case."""
    kind = field.metadata["kind"]
    if kind is str and field.metadata["choices"]:
        return text.lower()
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise UserError(f"--{field.name}: expected {expected(field)}, received {text!r}") from None
    return text


def help_text(fields: Sequence[dataclasses.Field[Any]], program: str, about: str) -> str:
    """Return the page that `--help` prints: many flags by their `group`, few in one list."""
    usage = " ".join(["usage:", called_as(program), *map(positional_usage, fields), "[--flag=value …]"])
    lines = [about.strip(), "", " ".join(usage.split())]
    many = len(fields) > FEW
    for group in ("", *GROUPS) if many else ("",):
        if members := [field for field in fields if not many or field.metadata["group"] == group]:
            lines += ["", f"{GROUPS.get(group, 'flags')}:", *map(help_of, members)]
    return "\n".join(lines)


def called_as(program: str) -> str:
    """Return how this program was started: by its module, or through the one command for all (`mnist_mlp.__main__`)."""
    return sys.argv[0] if sys.argv[0].endswith(f" {program}") else f"python -m mnist_mlp.{program}"


def positional_usage(field: dataclasses.Field[Any]) -> str:
    several = " …" if field.metadata["kind"] is tuple else ""
    return f"[{field.name.upper()}{several}]" if field.metadata["positional"] else ""


def help_of(field: dataclasses.Field[Any]) -> str:
    """Return the lines of one flag: its name and values, its text, its default."""
    kind, choices, text = field.metadata["kind"], field.metadata["choices"], field.metadata["help"]
    value = {bool: "", int: "=N", float: "=NUMBER", str: "=TEXT", tuple: " VALUE …"}[kind]
    if choices:
        value = "=" + "|".join(choices)
    if len(value) > 60:
        value, text = "=NAME", f"{text}: {', '.join(choices)}"
    if not any(field.default is nothing for nothing in (None, False)) and field.default not in ("", ()):
        text += f" (default: {field.default})"
    flag, margin = f"  --{field.name}{value}", " " * INDENT
    if len(flag) > INDENT - 2:
        return f"{flag}\n{textwrap.fill(text, WIDTH, initial_indent=margin, subsequent_indent=margin)}"
    return textwrap.fill(text, WIDTH, initial_indent=flag.ljust(INDENT), subsequent_indent=margin)
