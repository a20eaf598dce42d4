"""The space of a search: for each method, the values that its hyper-parameters may take.

It is written alike on the command line and in a file: `adam,sgd` are choices, `3..10` is a range, `1e-4..1e-2:log` a
range that is searched evenly on a logarithmic scale, and `1e-4..1e-2:log:3` one of which grid search takes 3 points.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import LARGEST
from mnist_mlp.options import expected
from mnist_mlp.text import nearest, quoted
from mnist_mlp.tune.methods import METHODS, Method

PIPES = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")  # <(…) of a shell: somebody writes at the other end

EXAMPLE = "learning_rate=1e-4..1e-2:log, batch_size=16,32,64 or epochs=3..10"
LARGEST_GRID = 1_000_000  # points
WHOLE_RANGE = 20  # whole numbers that grid search takes one by one, at most


@dataclasses.dataclass(frozen=True)
class Choice:
    """Some values, in no order."""

    values: tuple[Any, ...]

    def points(self) -> tuple[Any, ...]:
        return self.values

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


@dataclasses.dataclass(frozen=True)
class Range:
    """All numbers from low to high, both included; whole ones where both ends are ints."""

    low: float
    high: float
    log: bool = False
    count: int | None = None  # how many of them grid search takes

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int)

    def points(self) -> tuple[Any, ...] | None:
        """Those of a grid, both ends among them; None where it is not said how many."""
        if self.count is None:
            few = self.whole and self.high - self.low < WHOLE_RANGE
            return tuple(range(int(self.low), int(self.high) + 1)) if few else None
        steps = [i / (self.count - 1) for i in range(self.count)]
        if self.log:
            found = [self.low * (self.high / self.low) ** step for step in steps]
        else:
            found = [self.low + (self.high - self.low) * step for step in steps]
        inner = [round(x) if self.whole else float(f"{x:.6g}") for x in found[1:-1]]
        # The ends exactly, and nothing beyond them by rounding.
        return tuple(dict.fromkeys([self.low, *(min(max(x, self.low), self.high) for x in inner), self.high]))

    def __str__(self) -> str:
        count = f":{self.count}" if self.count else ""
        return f"{self.low}..{self.high}{':log' if self.log else ''}{count}"


Parameter = Choice | Range
Space = dict[str, Parameter]


def spaces_of(
    methods: Sequence[str], words: Sequence[str], filed: Mapping[str, Space], begun: Mapping[str, Space]
) -> dict[str, Space]:
    """The space of each method: what the words of --space say, else --space_file, else as begun, else its own.

    A word names a parameter of one method (`tree.max_depth=…`), or of all (`max_depth=…`): of all networks where one
    of the methods is a network that has it, for what a network and another method call alike is not the same thing.
    Raises `UserError`.
    """
    found = {name: {**(begun.get(name) or default_space(name)), **filed.get(name, {})} for name in methods}
    given: set[tuple[str, str]] = set()
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise UserError(f"--space: expected NAME=VALUES, such as {EXAMPLE}; received {quoted(word)}")
        for name, parameter in meant(key, methods):
            if (name, parameter) in given:
                raise UserError(f"--space: expected {parameter} of {name} once, received it twice; leave one out")
            given.add((name, parameter))
            found[name][parameter] = parse(METHODS[name], parameter, value, f"--space {key}")
    return found


def default_space(method: str) -> Space:
    """Where a method is searched if nothing else is said."""
    return from_words(method, METHODS[method].default)


def from_words(method: str, words: Sequence[str]) -> Space:
    """The space that `to_words` wrote."""
    pairs = (word.partition("=") for word in words)
    return {key: parse(METHODS[method], key, value, f"{method}.{key}") for key, _, value in pairs}


def to_words(space: Space) -> list[str]:
    """The space as it is written on the command line, in the order of the names."""
    return [f"{name}={space[name]}" for name in sorted(space)]


def meant(key: str, methods: Sequence[str]) -> list[tuple[str, str]]:
    """The (method, parameter) that a name on the command line stands for."""
    method, dot, parameter = key.rpartition(".")
    if dot:
        if method not in methods:
            raise UserError(
                f"--space {key}: expected one of the methods {', '.join(methods)} before the dot; "
                f"received {quoted(method)}{nearest(method, methods)}"
            )
        check_name(METHODS[method], parameter, f"--space {key}")
        return [(method, parameter)]
    having = [name for name in methods if key in METHODS[name].parameters]
    if not having:
        known = list(dict.fromkeys(name for method in methods for name in METHODS[method].parameters))
        raise UserError(
            f"--space {key}: expected a parameter of {', '.join(methods)}: {', '.join(known)}{nearest(key, known)}"
        )
    return [(name, key) for name in [n for n in having if METHODS[n].network] or having]


def check_name(method: Method, parameter: str, where: str) -> None:
    known = method.parameters
    if parameter not in known:
        raise UserError(
            f"{where}: expected a parameter of {method.name}: {', '.join(known)}; "
            f"received {quoted(parameter)}{nearest(parameter, known)}"
        )


def parse(method: Method, name: str, value: Any, where: str) -> Parameter:
    """What a text, or a value of a TOML file (a text, a number or a list of them), says of a parameter."""
    check_name(method, name, where)
    (field,) = [field for field in dataclasses.fields(method.declared) if field.name == name]
    if isinstance(value, str) and ".." in value:
        limits = parse_range(field, value, where)
        found: Parameter = limits
        values: Sequence[Any] = (limits.low, limits.high)
    else:
        texts = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else [value]
        values = tuple(dict.fromkeys(one_value(field, text, where) for text in texts))
        if not values:
            raise UserError(f"{where}: expected values, received none; type {name}=VALUE,VALUE")
        found = Choice(tuple(values))
    for one in values:
        try:
            method.declared(**{name: one})
        except UserError as error:
            raise UserError(f"{where}: {str(error).removeprefix(f'--{name}: ')}") from None
    return found


def one_value(field: dataclasses.Field[Any], text: Any, where: str) -> Any:
    """A value of the field's type."""
    kind = field.metadata["kind"]
    wrong = UserError(f"{where}: expected {expected(field)}, received {quoted(text)}")
    if isinstance(text, bool) or not isinstance(text, str if kind is str else (str, int, float)):
        raise wrong
    if kind is str:
        return str(text).strip().lower()
    try:
        number = kind(text)
    except (ValueError, OverflowError):
        raise wrong from None
    if isinstance(text, float) and number != text:  # 2.5 of a TOML file as a whole number
        raise wrong
    return number


def parse_range(field: dataclasses.Field[Any], text: str, where: str) -> Range:
    """low..high, with :log and :COUNT behind it."""
    read = re.fullmatch(r"(.*?[^.])\.\.([^:]+?)(:log)?(?::(\d{1,6}))?", text.strip())
    if read is None:
        raise UserError(f"{where}: expected a range such as 3..10, 1e-4..1e-2:log or 1..9:3; received {quoted(text)}")
    if field.metadata["kind"] is str:
        raise UserError(f"{where}: expected names with commas between them, received the range {quoted(text)}")
    low, high = (one_value(field, end, where) for end in (read[1], read[2]))
    if not low < high:  # also where one of them is nan
        hint = f"; type {high}..{low}" if low > high else f"; type {low} alone" if low == high else ""
        raise UserError(f"{where}: expected the smaller end first, received {quoted(text)}{hint}")
    if math.inf in (abs(low), abs(high)):
        raise UserError(f"{where}: expected finite numbers, received {quoted(text)}")
    if read[3] and low <= 0:
        raise UserError(f"{where}: expected both ends above 0 on a logarithmic scale, received {quoted(text)}")
    count = int(read[4]) if read[4] else None
    if count is not None and count < 2:
        raise UserError(f"{where}: expected 2 points or more behind the colon, received {count}; type {low}..{high}:2")
    return Range(low, high, bool(read[3]), count)


def size(space: Space) -> int | None:
    """How many points a search that draws from the space can meet; None where there is no end of them."""
    found = 1
    for parameter in space.values():
        if isinstance(parameter, Choice):
            found *= len(parameter.values)
        elif parameter.whole:
            found *= int(parameter.high) - int(parameter.low) + 1
        else:
            return None
    return found


def grid(space: Space) -> Mapping[str, tuple[Any, ...]]:
    """The points of each parameter for grid search. Raises `UserError` where a range does not say how many."""
    found = {}
    for name in sorted(space):
        points = space[name].points()
        if points is None:
            raise UserError(
                f"--search=grid: expected a number of points behind the range of {name}, received "
                f"{space[name]}; type --space {name}={space[name]}:5"
            )
        found[name] = points
    if (count := math.prod(map(len, found.values()))) > LARGEST_GRID:
        raise UserError(
            f"--search=grid: expected at most {LARGEST_GRID:,} points, received {count:,}; or type --search=random"
        )
    return found


def read(file: Path, methods: Sequence[str]) -> dict[str, Space]:
    """What the file says of each method, of those too that are not compared. Raises `UserError`, also where it says
    nothing of any of `methods`."""
    flag, found = f"--space_file={file}", {}
    for name, table in tables(file).items():
        if name not in METHODS:
            raise UserError(
                f"{flag}: expected a table named after a method ({', '.join(METHODS)}); "
                f"received {quoted(name)}{nearest(name, list(METHODS))}"
            )
        if not isinstance(table, dict):
            raise UserError(f"{flag}: expected [{name}] as a table, received {name} = {quoted(table)}")
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
