"""What every `python -m mnist_mlp.NAME` shares: flags from a dataclass, help, and errors in one line.

Exit codes: 0 done, 1 a bug (with traceback), 2 something for the user to mend, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

from mnist_mlp import chatter
from mnist_mlp.errors import UserError
from mnist_mlp.options import expected, nearest

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
    fields = {field.name: field for field in dataclasses.fields(declared)}  # type: ignore[arg-type]
    if {"--help", "-help", "-h", "--helpfull"} & set(argv):
        print(help_text(list(fields.values()), program, about))
        raise SystemExit(0)
    given = {name: convert(fields[name], text) for name, text in read_flags(fields, argv).items()}
    if not presets:
        return declared(**given)
    name = given.get("preset", "default")
    if name not in presets:
        raise UserError(
            f"--preset: expected one of {', '.join(presets)}; received {name!r}{nearest(name, list(presets))}"
        )
    return dataclasses.replace(presets[name], **given)  # type: ignore[type-var]


def read_flags(fields: Mapping[str, dataclasses.Field[Any]], argv: Sequence[str]) -> dict[str, Any]:
    """The flags that stand on the command line, as text (or bool). absl parses; a private set of
    flags keeps those that frameworks define out of ours."""
    values = flags.FlagValues()
    for field in fields.values():
        define = flags.DEFINE_boolean if field.metadata["kind"] is bool else flags.DEFINE_string
        define(field.name, None, field.metadata["help"], flag_values=values)
    try:
        rest = values(["", *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        raise UserError(
            f"unknown flag --{error.flagname}{nearest(error.flagname, list(fields))} (all flags: --help)"
        ) from None
    except flags.Error as error:
        raise UserError(f"{' '.join(str(error).split())} (all flags: --help)") from None
    if rest:
        raise UserError(f"expected flags such as --{next(iter(fields))}=VALUE, received {rest[0]!r}")
    return {name: values[name].value for name in fields if values[name].value is not None}


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
    lines = [about.strip(), "", f"usage: python -m mnist_mlp.{program} [--flag=value …]", "", "flags:"]
    for field in fields:
        kind, choices = field.metadata["kind"], field.metadata["choices"]
        shape = "" if kind is bool else f"={'|'.join(choices) or kind.__name__.upper()}"
        lines += textwrap.wrap(f"--{field.name}{shape}", 98, initial_indent="  ", subsequent_indent="      ",
                               break_on_hyphens=False)  # fmt: skip
        default = "" if field.default in ("", None, False) else f" (default: {field.default})"
        lines += textwrap.wrap(field.metadata["help"] + default, 90, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a program's `main` on the command line's arguments and ends the process with its exit code."""
    interrupted = False

    def interrupt(signum: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    chatter.silence()
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # all is written; taking TensorFlow apart in an orderly way would cost another 0.6 s
    except UserError as error:
        fail(str(error), 2)
    except BrokenPipeError:  # the reader has seen enough, as in `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would complain again at exit
        raise SystemExit(1) from None
    except BaseException:
        # Interrupted in the middle of an import, C code may turn KeyboardInterrupt into another exception.
        if not interrupted:
            raise
        fail("interrupted; nothing was kept", 130)


def fail(message: str, code: int) -> None:
    """Ends the process with one line on standard error."""
    print(f"error: {message}" if code == 2 else message, file=sys.stderr)
    raise SystemExit(code)
