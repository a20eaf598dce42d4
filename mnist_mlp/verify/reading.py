"""Read a report that another version may have written: with fewer details, with others, or damaged.

Nothing here raises: what is missing, or of another type, is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

NONE = "–"
DEEPEST = 5  # levels of nested values that are shown as text
LONGEST = 2000  # characters of such a text


def inside(value: Any, *path: str) -> Any:
    """Return what lies in nested mappings at `path`, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def mapping(value: Any, *path: str) -> dict[str, Any]:
    """Return the mapping at `path`, or an empty one. Its keys are text."""
    found = inside(value, *path)
    return {str(key): each for key, each in found.items()} if isinstance(found, Mapping) else {}


def sequence(value: Any, *path: str) -> list[Any]:
    """Return the list at `path`, or an empty one."""
    found = inside(value, *path)
    return list(found) if isinstance(found, (list, tuple)) else []


def rows(value: Any, *path: str) -> list[dict[str, Any]]:
    """Return the mappings in the list at `path`."""
    return [mapping(each) for each in sequence(value, *path) if isinstance(each, Mapping)]


def words(value: Any, *path: str) -> str:
    """Return the text or number at `path` as text, or ""."""
    found = inside(value, *path)
    return "" if found in (None, "") or isinstance(found, (Mapping, list, tuple)) else shown(found)


def verbatim(value: Any, *path: str) -> str:
    """Return the text or number at `path` as it is written in JSON, such as a seed, or ""."""
    found = inside(value, *path)
    return str(found) if isinstance(found, int) and number(found) is not None else words(found)


def number(value: Any, *path: str) -> float | None:
    """Return the finite number at `path`, or None."""
    found = inside(value, *path)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    try:
        return float(found) if math.isfinite(found) else None
    except OverflowError:  # an integer beyond floats
        return None


def shown(value: Any, depth: int = 0) -> str:
    """Return a JSON value as text for people; nested ones on one line, and not without end."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return figure(value)
    if depth == DEEPEST and isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        return "…"
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}: {shown(each, depth + 1)}" for key, each in value.items())
    elif isinstance(value, (list, tuple)):
        text = ", ".join(shown(each, depth + 1) for each in value)
        text = f"[{text}]" if depth else text
    else:
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def figure(value: float) -> str:
    """ "0.1226", "1,437", "14,001,856", "1.2e-07"."""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**18 else "a very large number"
    if not math.isfinite(value):
        return "not a finite number"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
