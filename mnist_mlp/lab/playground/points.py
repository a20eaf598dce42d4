"""The points of a run: drawn like the page's, or read from a file; then shuffled and split.

A point is (x, y, label). The formulas are those of the page, including the order of operations.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
from mnist_mlp.lab.playground import fdlibm
from mnist_mlp.lab.playground.random_stream import Stream
from mnist_mlp.lab.playground.url_state import State

Point = tuple[float, float, float]
CLASSIFICATION, REGRESSION = 500, 1200  # points of a data set
BUMPS = ((-4, 2.5, 1), (0, 2.5, -1), (4, 2.5, 1), (-4, -2.5, -1), (0, -2.5, 1), (4, -2.5, -1))  # x, y, sign
EDGE = 6.0  # the page's map shows [−6, 6]²
LARGEST, BYTES = 100_000, 20_000_000  # points in a file, and its size, at most
EXAMPLE = "a line is x,y,label, such as 0.5,-1.2,1"


def split_points(state: State, stream: Stream, own: Sequence[Point] | None = None) -> tuple[list[Point], list[Point]]:
    """Return training and test points. `own` points replace the drawn ones and use no random numbers."""
    points = draw(state, stream) if own is None else list(own)
    for count in range(len(points), 0, -1):
        k = math.floor(stream.random() * count)
        points[count - 1], points[k] = points[k], points[count - 1]
    train = math.floor(len(points) * state.percTrainData / 100)
    return points[:train], points[train:]


def draw(state: State, stream: Stream) -> list[Point]:
    """Draw the data set of a state: 500 points with labels ±1 for classification, 1,200 for regression."""
    name = state.dataset if state.problem == "classification" else state.regDataset
    return DRAW[name](stream, state.noise / 100)


def gauss(stream: Stream, noise: float) -> list[Point]:
    """Two normal distributions of equal variance, 0.5 + 7·noise, around (2, 2) and (−2, −2)."""
    spread = math.sqrt(mixed(0.5, 4, noise / 0.5))

    def normal(mean: float) -> float:
        square = 2.0
        while square > 1:  # Marsaglia's polar method; like the page, discard the second number of each pair
            a = 2 * stream.random() - 1
            b = 2 * stream.random() - 1
            square = a * a + b * b
        return mean + spread * (math.sqrt(-2 * fdlibm.log(square) / square) * a)

    return [(normal(2 * label), normal(2 * label), label) for label in (1, -1) for _ in range(CLASSIFICATION // 2)]


def circle(stream: Stream, noise: float) -> list[Point]:
    """A disc within a ring. Noise moves the position at which the label is evaluated, not the point."""
    points = []
    for low, high in ((0.0, 2.5), (5 * 0.7, 5.0)):
        for _ in range(CLASSIFICATION // 2):
            radius, angle = stream.uniform(low, high), stream.uniform(0, 2 * math.pi)
            x, y = radius * fdlibm.sin(angle), radius * fdlibm.cos(angle)
            dx, dy = stream.uniform(-5, 5) * noise, stream.uniform(-5, 5) * noise
            points.append((x, y, 1.0 if distance(x + dx, y + dy) < 2.5 else -1.0))
    return points


def xor(stream: Stream, noise: float) -> list[Point]:
    """Four squares 0.6 apart; diagonally opposite ones have the same label."""

    def padded() -> float:
        value = stream.uniform(-5, 5)
        return value + (0.3 if value > 0 else -0.3)

    points = []
    for _ in range(CLASSIFICATION):
        x, y = padded(), padded()
        dx, dy = stream.uniform(-5, 5) * noise, stream.uniform(-5, 5) * noise
        points.append((x, y, 1.0 if (x + dx) * (y + dy) >= 0 else -1.0))
    return points


def spiral(stream: Stream, noise: float) -> list[Point]:
    """Two arms of 1¾ turns. Noise moves the points."""
    points, n = [], CLASSIFICATION // 2
    for start, label in ((0.0, 1.0), (math.pi, -1.0)):
        for i in range(n):
            radius, angle = i / n * 5, 1.75 * i / n * 2 * math.pi + start
            x = radius * fdlibm.sin(angle) + stream.uniform(-1, 1) * noise
            y = radius * fdlibm.cos(angle) + stream.uniform(-1, 1) * noise
            points.append((x, y, label))
    return points


def plane(x: float, y: float) -> float:
    """(x + y) / 10."""
    return mixed(-1, 1, (x + y + 10) / 20)


def bumps(x: float, y: float) -> float:
    """Six cones of radius 2 and height ±1; where they overlap, the highest counts, on a tie the first."""
    label = 0.0
    for x0, y0, sign in BUMPS:
        height = sign * (1 - max(0.0, min(1.0, distance(x - x0, y - y0) / 2)))
        if abs(height) > abs(label):
            label = height
    return label


def regression(label: Callable[[float, float], float]) -> Callable[[Stream, float], list[Point]]:
    """Return a data set of points in the square, labelled by a function. Noise moves the position of evaluation."""

    def data_set(stream: Stream, noise: float) -> list[Point]:
        points = []
        for _ in range(REGRESSION):
            x, y = stream.uniform(-6, 6), stream.uniform(-6, 6)
            dx, dy = stream.uniform(-6, 6) * noise, stream.uniform(-6, 6) * noise
            points.append((x, y, label(x + dx, y + dy)))
        return points

    return data_set


DRAW: dict[str, Callable[[Stream, float], list[Point]]] = {
    **{"gauss": gauss, "circle": circle, "xor": xor, "spiral": spiral},
    **{"reg-plane": regression(plane), "reg-gauss": regression(bumps)},
}


def mixed(a: float, b: float, t: float) -> float:
    """Interpolate linearly from a (t = 0) to b (t = 1), with the rounding of the page's scales."""
    return a * (1 - t) + b * t


def distance(dx: float, dy: float) -> float:
    return math.sqrt(dx * dx + dy * dy)


def read_csv(path: Path, problem: str) -> list[Point]:
    """Read points from lines x,y,label, with or without a header.

    Labels are −1 and 1, or 0 and 1, or any number for regression. Raise `UserError` with the number of the first
    invalid line.
    """
    rows: list[tuple[int, Point]] = []
    if path.exists() and not path.is_dir() and (not path.is_file() or path.stat().st_size > BYTES):
        raise UserError(f"{path}: expected a file of at most {BYTES:,} bytes, received something else; {EXAMPLE}")
    kind = kinds.recognize_path(path)
    if kind not in (None, kinds.CSV, kinds.NUMBERS, kinds.EMPTY):
        raise UserError(f"{path}: expected a CSV file, received {kind.name}; {EXAMPLE}")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                if any(cell.strip() for cell in row):
                    rows.append((reader.line_num, point_of(path, reader.line_num, row)))
                if rows and math.isnan(rows[-1][1][0]):
                    rows.pop()  # the header
                if len(rows) > LARGEST:
                    raise UserError(f"{path}: expected at most {LARGEST:,} points, received more; omit some")
    except csv.Error as error:  # such as NUL characters in Python 3.10
        raise UserError(f"{path}: line {reader.line_num}: expected x,y,label, received {error}; {EXAMPLE}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected a CSV file in UTF-8, received {error}; {EXAMPLE}") from None
    except OSError as error:
        raise UserError(f"{path}: expected a CSV file, received: {error.strerror}; choose another one") from None
    if not rows:
        raise UserError(f"{path}: expected points, received none; {EXAMPLE}")
    points = [point for _, point in rows]
    return points if problem == "regression" else with_signs(path, rows)


def point_of(path: Path, line: int, row: Sequence[str]) -> Point:
    """Return the point of a line; nan for the header."""
    try:
        x, y, label = (float(cell) for cell in row)
    except ValueError:
        if line == 1 and [cell.strip().lower() for cell in row] == ["x", "y", "label"]:
            return math.nan, math.nan, math.nan
        shown = ",".join(row)[:60]
        if line == 1 and not any(map(is_number, row)):
            raise UserError(
                f"{path}: line 1: expected x,y,label as the header, or no header, received {shown!r}; {for_header(row)}"
            ) from None
        raise UserError(f"{path}: line {line}: expected x,y,label, received {shown!r}; {EXAMPLE}") from None
    if not all(map(math.isfinite, (x, y, label))):
        raise UserError(f"{path}: line {line}: expected finite numbers, received {','.join(row)[:60]!r}; {EXAMPLE}")
    return x, y, label


def is_number(cell: str) -> bool:
    """Return whether the text of a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def for_header(row: Sequence[str]) -> str:
    """Return what to do about another header, or about cells that commas do not separate."""
    if len(row) == 1 and len(re.split(r"[;\t]", row[0])) > 1:
        return "separate the cells by commas"
    if len(row) == 3:
        return "if these columns are the two coordinates and the class, in this order, rename them or omit the line"
    return f"it has {len(row)} column{'s' * (len(row) != 1)}: keep the two coordinates and the class"


def with_signs(path: Path | str, rows: Sequence[tuple[int, Point]]) -> list[Point]:
    """Return the points with labels ±1. Raise `UserError` for labels other than −1 and 1, or 0 and 1."""
    labels = {label for _, (_, _, label) in rows}
    negative = -1.0 if -1.0 in labels else 0.0
    for line, (_, _, label) in rows:
        if label not in (negative, 1.0):
            raise UserError(
                f"{path}: line {line}: expected the labels -1 and 1, or 0 and 1, received {label:g}; "
                f"for labels that are numbers, add problem=regression to the URL"
            )
    return [(x, y, 1.0 if label == 1 else -1.0) for _, (x, y, label) in rows]
