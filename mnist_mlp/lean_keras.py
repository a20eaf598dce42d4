"""Spares a program the 1.2 s that Keras takes to import scikit-learn and Matplotlib, where they are installed.

Keras imports both at its start, for wrappers and drawings that nothing here uses, and goes on without them where they
are absent. A program of this package may still import them itself, before Keras or after.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder

LEFT_OUT = ("sklearn", "matplotlib")


class AbsentForKeras(MetaPathFinder):
    """Tells whoever imports one of these packages that it is absent, as long as Keras itself is being imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        if name in LEFT_OUT and getattr(getattr(sys.modules.get("keras"), "__spec__", None), "_initializing", False):
            raise ModuleNotFoundError(f"No module named {name!r} while Keras is being imported", name=name)


def install() -> None:
    """For the programs alone: a person's own process may want those parts of Keras."""
    sys.meta_path.insert(0, AbsentForKeras())
