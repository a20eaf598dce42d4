"""Write figures with Matplotlib, an optional package (the extra `plots`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, outputs, user_dirs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 150


def file_to_write(flag: str, text: str, *, will_exist: Path | None = None) -> Path:
    """Return the path in `--flag=text`, as `outputs.file_to_write`. Raise `UserError` if no figure can be written there
    or Matplotlib is not installed."""
    file = outputs.file_to_write(flag, text, will_exist=will_exist)
    if file.suffix.lower() not in FORMATS:
        raise UserError(f"--{flag}={text}: expected a name that ends in {', '.join(FORMATS)}; received {file.name!r}")
    new(1, 1)
    return file


def new(width: float, height: float, **settings: Any) -> Figure:
    """Return an empty figure; sizes in inches. Raise `UserError` if Matplotlib is not installed."""
    home = user_dirs.home()
    if not (home and os.access(home, os.W_OK)) and not os.environ.get("MPLCONFIGDIR"):
        # Matplotlib would leave its list of fonts in a folder called ~, or in /tmp, a new one by each process.
        os.environ["MPLCONFIGDIR"] = user_dirs.scratch("matplotlib-")
    try:
        from matplotlib.figure import Figure  # not pyplot, which looks for a display
    except ImportError:
        raise UserError(
            "a figure needs the package matplotlib, which is not installed; "
            f"run {sys.executable} -m pip install matplotlib"
        ) from None
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", **settings)


def save(figure: Figure, file: Path) -> None:
    """Write the figure atomically, in the format of the name's suffix."""
    kind = file.suffix.lower().removeprefix(".")
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    atomic.write_file(file, lambda part: figure.savefig(part, format=kind, metadata=metadata))


def caption(figure: Figure, lines: Sequence[str]) -> None:
    """Add small text below a figure, such as what was measured with how many seeds."""
    figure.supxlabel("\n".join(lines), fontsize="small", color="#555")
