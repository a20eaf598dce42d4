"""Figures as files, drawn with Matplotlib, which is optional: the extra `plots`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 150


def check(flag: str, file: Path) -> None:
    """Raises `UserError` where a figure could not be written there, before the work that it shows is begun."""
    if file.suffix.lower() not in FORMATS:
        raise UserError(f"{flag}={file}: expected a name that ends in {', '.join(FORMATS)}; received {file.name!r}")
    if (file.exists() and not file.is_file()) or not file.parent.is_dir():
        raise UserError(f"{flag}={file}: expected a file in a directory that exists; name another one")
    new(1, 1)


def new(width: float, height: float, **settings: Any) -> Figure:
    """An empty figure of so many inches. Raises `UserError` where Matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # never pyplot, which looks for a window
    except ImportError:
        raise UserError(
            "a figure: expected the package matplotlib, it is not installed; "
            f"type {sys.executable} -m pip install matplotlib"
        ) from None
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", **settings)


def save(figure: Figure, file: Path) -> None:
    """Writes it, in the format that the name ends in; the file is there whole or not at all."""
    kind = file.suffix.lower().removeprefix(".")
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    atomic.write_file(file, lambda part: figure.savefig(part, format=kind, metadata=metadata))


def caption(figure: Figure, lines: Sequence[str]) -> None:
    """Small text under a figure: what was measured, with how many seeds."""
    figure.supxlabel("\n".join(lines), fontsize="small", color="#555")
