"""No path of this machine leaves the server: messages and results are written for whoever sits at the machine."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HIDDEN = "…"
# An absolute path, or one below a home directory: not a fraction (60000/32), a unit (images/s) or an address (http://…).
PATH = re.compile(r"(?<![\w/:.…])(?:~[\w.-]*)?/(?!/)[^\s'\"`;,()<>\[\]{}|:]+")


def without_paths(value: Any, own: Sequence[str] = ()) -> Any:
    """Return a JSON value in which each path is replaced by "…". `own` are some that may have spaces in them."""
    if isinstance(value, dict):
        return {key: without_paths(item, own) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(item, own) for item in value]
    return text_without_paths(value, own) if isinstance(value, str) else value


def text_without_paths(text: str, own: Sequence[str]) -> str:
    for known in sorted({*own, *roots()}, key=len, reverse=True):
        if len(known) > 1:
            text = re.sub(rf"{re.escape(known)}(/[^\s'\"`;,()]*)?", HIDDEN, text)
    return PATH.sub(HIDDEN, text)


def roots() -> set[str]:
    """Return the directories of this machine whose names may have spaces, where the pattern would stop."""
    found = {os.path.expanduser("~"), tempfile.gettempdir(), sys.prefix, str(Path(__file__).parents[4])}
    try:
        found.add(os.getcwd())
    except OSError:  # the working directory is gone
        return found
    return found
