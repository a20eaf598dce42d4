"""Search spaces: the values that the hyper-parameters of each method may take.

The notation is the same on the command line and in a file: `adam,sgd` are choices, `3..10` is a range, `1e-4..1e-2:log`
a range on a logarithmic scale, and `1e-4..1e-2:log:3` the same with 3 points for grid search. Choices of widths, which
have commas themselves, are separated by `|`: `256,128|128,64`.
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

PIPES = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")  # such as <(…) of a shell, which has a writer

EXAMPLE = "learning_rate=1e-4..1e-2:log, batch_size=16,32,64 or epochs=3..10"
WIDTHS = "widths such as 256,128|128,64"
LARGEST_GRID = 1_000_000  # points
WHOLE_RANGE = 20  # the longest range of whole numbers that grid search enumerates by default


@dataclasses.dataclass(frozen=True)
class Choice:
    """An unordered set of values."""

    values: tuple[Any, ...]
    separator: str = ","  # in the notation of the command line

    def points(self) -> tuple[Any, ...]:
        return self.values

    def __str__(self) -> str:
        return self.separator.join(map(str, self.values))


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, inclusive; whole numbers if both ends are ints."""

    low: float
    high: float
    log: bool = False
    count: int | None = None  # points for grid search

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int)

    def points(self) -> tuple[Any, ...] | None:
        """Return the grid points, both ends included; None if their number is not specified."""
        if self.count is None:
            few = self.whole and self.high - self.low < WHOLE_RANGE
            return tuple(range(int(self.low), int(self.high) + 1)) if few else None
        steps = [i / (self.count - 1) for i in range(self.count)]
        if self.log:
            points = [self.low * (self.high / self.low) ** step for step in steps]
        else:
            points = [self.low + (self.high - self.low) * step for step in steps]
        inner = [round(x) if self.whole else float(f"{x:.6g}") for x in points[1:-1]]
        # Keep the ends exact, and let rounding push no point beyond them.
        return tuple(dict.fromkeys([self.low, *(min(max(x, self.low), self.high) for x in inner), self.high]))

    def __str__(self) -> str:
        count = f":{self.count}" if self.count else ""
        return f"{self.low}..{self.high}{':log' if self.log else ''}{count}"


Parameter = Choice | Range
Space = dict[str, Parameter]


def resolve(
    methods: Sequence[str], assignments: Sequence[str], filed: Mapping[str, Space], stored: Mapping[str, Space]
) -> dict[str, Space]:
    """Return the space of each method.

    Precedence for each parameter: an assignment of --space, then --space_file (`filed`), then the resumed study
    (`stored`), then the method's default. `tree.max_depth=…` sets the parameter of one method, `max_depth=…` that of
    every method that has it; if one of these is a network, that of the networks only, because networks and other
    methods use the same name for different things. Raise `UserError`.
    """
    spaces = {name: {**(stored.get(name) or default_space(name)), **filed.get(name, {})} for name in methods}
    assigned: set[tuple[str, str]] = set()
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key or not value:
            raise UserError(f"--space: expected NAME=VALUES, such as {EXAMPLE}; received {quoted(assignment)}")
        for name, parameter in targets(key, methods):
            if (name, parameter) in assigned:
                raise UserError(f"--space: expected {parameter} of {name} once, received it twice; omit one")
            assigned.add((name, parameter))
            spaces[name][parameter] = parse(METHODS[name], parameter, value, f"--space {key}")
    return spaces


def default_space(method: str) -> Space:
    return parse_space(method, METHODS[method].default)


def parse_space(method: str, assignments: Sequence[str]) -> Space:
    """Return the space that `format_space` wrote."""
    pairs = (assignment.partition("=") for assignment in assignments)
    return {key: parse(METHODS[method], key, value, f"{method}.{key}") for key, _, value in pairs}


def format_space(space: Space) -> list[str]:
    """Return the space in the notation of the command line, sorted by name."""
    return [f"{name}={space[name]}" for name in sorted(space)]


def targets(key: str, methods: Sequence[str]) -> list[tuple[str, str]]:
    """Return each (method, parameter) that a name on the command line stands for."""
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
    """Parse text, or a TOML value (a string, a number or a list of them), into the parameter's values."""
    check_name(method, name, where)
    (field,) = [field for field in dataclasses.fields(method.declared) if field.name == name]
    separator = field.metadata["alternatives"]
    if isinstance(value, str) and ".." in value:
        limits = parse_range(field, value, where)
        parameter: Parameter = limits
        values: Sequence[Any] = (limits.low, limits.high)
    else:
        texts = value if isinstance(value, list) else value.split(separator) if isinstance(value, str) else [value]
        values = tuple(dict.fromkeys(parse_value(field, text, where) for text in texts))
        if not values:
            raise UserError(f"{where}: expected values, received none; try {name}=VALUE{separator}VALUE")
        parameter = Choice(tuple(values), separator)
    for one in values:
        try:
            method.declared(**{name: one})
        except UserError as error:
            raise UserError(f"{where}: {str(error).removeprefix(f'--{name}: ')}") from None
    return parameter


def parse_value(field: dataclasses.Field[Any], text: Any, where: str) -> Any:
    """Convert text or a TOML value to the field's type."""
    kind = field.metadata["kind"]
    what = expected(field) if field.metadata["alternatives"] == "," else WIDTHS
    wrong = UserError(f"{where}: expected {what}, received {quoted(text)}")
    if isinstance(text, bool) or not isinstance(text, str if kind is str else (str, int, float)):
        raise wrong
    if kind is str:
        return ",".join(part.strip() for part in str(text).lower().split(","))  # widths may have spaces between them
    try:
        number = kind(text)
    except (ValueError, OverflowError):
        raise wrong from None
    if isinstance(text, float) and number != text:  # 2.5 in a TOML file where an int is expected
        raise wrong
    return number


def parse_range(field: dataclasses.Field[Any], text: str, where: str) -> Range:
    """Parse low..high, optionally followed by :log and :COUNT."""
    match = re.fullmatch(r"(.*?[^.])\.\.([^:]+?)(:log)?(?::(\d{1,6}))?", text.strip())
    if match is None:
        raise UserError(f"{where}: expected a range such as 3..10, 1e-4..1e-2:log or 1..9:3; received {quoted(text)}")
    if field.metadata["kind"] is str:
        what = "names separated by commas" if field.metadata["alternatives"] == "," else WIDTHS
        raise UserError(f"{where}: expected {what}, received the range {quoted(text)}")
    low, high = (parse_value(field, end, where) for end in (match[1], match[2]))
    if not low < high:  # true for NaN, too
        hint = f"; try {high}..{low}" if low > high else f"; try {low} alone" if low == high else ""
        raise UserError(f"{where}: expected the smaller end first, received {quoted(text)}{hint}")
    if math.inf in (abs(low), abs(high)):
        raise UserError(f"{where}: expected finite numbers, received {quoted(text)}")
    if match[3] and low <= 0:
        raise UserError(f"{where}: expected both ends above 0 on a logarithmic scale, received {quoted(text)}")
    count = int(match[4]) if match[4] else None
    if count is not None and count < 2:
        raise UserError(f"{where}: expected 2 points or more after the colon, received {count}; try {low}..{high}:2")
    return Range(low, high, bool(match[3]), count)


def size(space: Space) -> int | None:
    """Return the number of points of the space; None if it is infinite."""
    count = 1
    for parameter in space.values():
        if isinstance(parameter, Choice):
            count *= len(parameter.values)
        elif parameter.whole:
            count *= int(parameter.high) - int(parameter.low) + 1
        else:
            return None
    return count


def grid(space: Space) -> Mapping[str, tuple[Any, ...]]:
    """Return the grid points of each parameter. Raise `UserError` if a range does not specify their number."""
    points_of = {}
    for name in sorted(space):
        points = space[name].points()
        if points is None:
            raise UserError(
                f"--search=grid: expected a number of points after the range of {name}, received "
                f"{space[name]}; try --space {name}={space[name]}:5"
            )
        points_of[name] = points
    if (count := math.prod(map(len, points_of.values()))) > LARGEST_GRID:
        raise UserError(
            f"--search=grid: expected at most {LARGEST_GRID:,} points, received {count:,}; try --search=random"
        )
    return points_of


def read_file(file: Path, methods: Sequence[str]) -> dict[str, Space]:
    """Return the spaces in a TOML file, including those of methods that are not compared.

    Raise `UserError` if the file is invalid or has no table for any of `methods`.
    """
    flag, spaces = f"--space_file={file}", {}
    for name, table in load_toml(file).items():
        if name not in METHODS:
            raise UserError(
                f"{flag}: expected a table named after a method ({', '.join(METHODS)}); "
                f"received {quoted(name)}{nearest(name, list(METHODS))}"
            )
        if not isinstance(table, dict):
            raise UserError(f"{flag}: expected [{name}] as a table, received {name} = {quoted(table)}")
        spaces[name] = {
            key: parse(METHODS[name], key, value, f"{flag}: [{name}] {key}") for key, value in table.items()
        }
    if not set(spaces) & set(methods):
        received = ", ".join(f"[{name}]" for name in spaces) or "no table"
        remedy = f"try --methods={','.join(spaces)}" if spaces else f"add [{methods[0]}] with values below it"
        raise UserError(f"{flag}: expected a table for {', '.join(methods)}; received {received}; {remedy}")
    return spaces


def unused_tables(filed: Sequence[str], methods: Sequence[str]) -> list[str]:
    """Return a note on the tables of a file whose methods are not compared, if there are any."""
    names = [name for name in filed if name not in methods]
    if not names:
        return []
    tables = ", ".join(f"[{name}]" for name in names)
    return [f"--space_file: {tables} is not used; to compare it too, try --methods={','.join([*methods, *names])}"]


def load_toml(file: Path) -> dict[str, Any]:
    """Return the content of a TOML file. Raise `UserError`."""
    try:
        toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ModuleNotFoundError:
        raise UserError(
            f"--space_file: the package tomli is not installed; run {sys.executable} -m pip install 'mnist_mlp[tune]'"
        ) from None
    try:
        if file.exists() and not file.is_file() and not file.is_dir() and not str(file).startswith(PIPES):
            raise ValueError("not a regular file")  # opening a named pipe could block forever
        with open(file, encoding="utf-8") as opened:
            content: dict[str, Any] = toml.loads(opened.read(LARGEST))
            return content
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--space_file={file}: expected a TOML file, such as [mlp] and below it batch_size = [16, 32]; "
            f"received: {reason}"
        ) from None
