"""What every `python -m mnist_mlp.NAME` shares: flags from a dataclass, help, and errors in one line.

Exit codes: 0 done, 1 a bug (with traceback), 2 something for the user to mend, 3 training diverged, 4 a claim
refuted, 75 stopped by Ctrl-C, SIGTERM or SIGHUP with everything saved; 130, 143, 129 ended at once by them, 141 nobody
reads the output.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

try:
    from absl import flags
except ModuleNotFoundError:
    raise SystemExit(
        f"error: {sys.executable} does not have what mnist_mlp needs; type scripts/train, or pip install -e ."
    ) from None

from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import LARGEST
from mnist_mlp.options import expected, path_of
from mnist_mlp.text import nearest

Options = TypeVar("Options")


def parse(
    declared: type[Options],
    argv: Sequence[str],
    *,
    program: str,
    about: str,
    presets: Mapping[str, Options] | None = None,
) -> Options:
    """Reads flags (`--name=value`, `--name value`) into the options dataclass `declared`.

    Values not given come from `presets[--preset]`, or else from the defaults. `--help` prints and exits.
    Raises `UserError` for an unknown flag, a value that does not fit, or a word that is no flag.
    """
    given = given_flags(declared, argv, program=program, about=about)
    return with_preset(presets, given) if presets else declared(**given)


def given_flags(declared: type[Any], argv: Sequence[str], *, program: str, about: str) -> dict[str, Any]:
    """The options that stand on the command line, with their values; as `parse`."""
    fields = {field.name: field for field in dataclasses.fields(declared)}
    if {"--help", "-help", "-h", "--helpfull"} & set(argv):
        print(help_text(list(fields.values()), program, about), flush=True)
        raise SystemExit(0)
    return {name: convert(fields[name], text) for name, text in read_flags(fields, argv).items()}


def with_preset(presets: Mapping[str, Options], given: Mapping[str, Any]) -> Options:
    """The preset that is given, or the default one, with the other values that are given."""
    given = with_file(given)
    name = given.get("preset", "default")
    if name not in presets:
        raise UserError(
            f"--preset: expected one of {', '.join(presets)}; received {name!r}{nearest(name, list(presets))}"
        )
    return dataclasses.replace(presets[name], **given)  # type: ignore[type-var]


def with_file(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the file that `--config` names, and over them those that are given themselves."""
    if not given.get("config"):
        return dict(given)
    path = path_of("config", given["config"])
    expected_file = f"--config={path}: expected a JSON file of options, such as tune writes or the config.json of a run"
    try:
        if path.is_fifo() and path.parent.name != "fd":  # nobody may ever write to it; <(…) of a shell is in /dev/fd
            raise ValueError("a pipe")
        with open(path, encoding="utf-8-sig") as file:
            values = json.loads(file.read(LARGEST))
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{expected_file}; received: {getattr(error, 'strerror', None) or error}") from None
    try:
        Config.from_dict({name: value for name, value in values.items() if name != "sha256"})
    except UserError as error:
        raise UserError(f"--config={path}: {error}") from None
    own = {"sha256", "run_dir", "resume", "json", "worker_index"}  # of the run that the file is of, alone
    kept = {name: value for name, value in values.items() if name not in own}
    return {**kept, **given, "config": ""}


def read_flags(fields: Mapping[str, dataclasses.Field[Any]], argv: Sequence[str]) -> dict[str, Any]:
    """The flags that stand on the command line, as text (or bool). absl parses; a private set of
    flags keeps those that frameworks define out of ours."""
    values = flags.FlagValues()
    for field in fields.values():
        define = flags.DEFINE_boolean if field.metadata["kind"] is bool else flags.DEFINE_string
        define(field.name, None, field.metadata["help"], flag_values=values)
    argv, several = words_of_flags(fields, argv)
    for argument in argv:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name in ("flagfile", "undefok"):  # absl's own: not among our flags
            raise unknown_flag(name, fields)
    try:
        rest = values(["", *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        raise unknown_flag(error.flagname, fields) from None
    except flags.IllegalFlagValueError as error:  # only of a flag that is on or off: the others are text here
        raise UserError(f"{str(error).partition(':')[0]}: expected true or false (all flags: --help)") from None
    except (flags.Error, ValueError) as error:
        raise UserError(f"{error} (all flags: --help)") from None
    read = {name: values[name].value for name in fields if values[name].value is not None} | several
    word = next((field.name for field in fields.values() if field.metadata["word"]), None)
    if word and rest and word not in read:
        if fields[word].metadata["kind"] is tuple:
            read[word], rest = tuple(rest), []
        else:
            read[word], *rest = rest
    if rest:
        hint = " (on or off goes with =, as in --json=true)" if rest[0].lower() in ("true", "false") else ""
        raise UserError(f"expected flags such as --{next(iter(fields))}=VALUE, received {rest[0]!r}{hint}")
    return read


def words_of_flags(
    fields: Mapping[str, dataclasses.Field[Any]], argv: Sequence[str]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The arguments without the flags that take several words (`--sweep a b`), and the words of these."""
    left: list[str] = []
    found: dict[str, tuple[str, ...]] = {}
    taking = None
    for argument in argv:
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and argument != "-":  # which stands for standard input
            taking = name if name in fields and fields[name].metadata["kind"] is tuple else None
            if taking:
                found[name] = found.get(name, ()) + ((value,) if equals else ())
            else:
                left.append(argument)
        elif taking:
            found[taking] += (argument,)
        else:
            left.append(argument)
    for name, words in found.items():
        if not words:
            raise UserError(f"--{name}: expected words behind it, received none")
    return left, found


def unknown_flag(name: str, fields: Mapping[str, dataclasses.Field[Any]]) -> UserError:
    near = nearest(f"--{name}", [f"--{known}" for known in fields])
    return UserError(f"unknown flag --{name}{near} (all flags: --help)")


def convert(field: dataclasses.Field[Any], text: Any) -> Any:
    """A flag's text as a value of the field's type. Choices may be written in any case."""
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
    """The page that `--help` prints."""
    several = {tuple: " …"}
    positional = "".join(
        f" [{field.name.upper()}{several.get(field.metadata['kind'], '')}]"
        for field in fields
        if field.metadata["word"]
    )
    usage = f"usage: python -m mnist_mlp.{program}{positional} [--flag=value …]"
    lines = [(about or "").strip(), "", usage, "", "flags:"]
    for field in fields:
        kind, choices, words = field.metadata["kind"], field.metadata["choices"], field.metadata["help"]
        value = {bool: "", int: "=N", float: "=NUMBER", str: "=TEXT", tuple: " WORD …"}[kind]
        if choices:
            value = "=" + "|".join(choices)
        if len(value) > 60:
            value, words = "=NAME", f"{words}: {', '.join(choices)}"
        if not any(field.default is nothing for nothing in (None, False)) and field.default not in ("", ()):
            words += f" (default: {field.default})"
        lines += [f"  --{field.name}{value}", textwrap.indent(textwrap.fill(words, 90), " " * 6)]
    return "\n".join(lines)
