"""Spares a program what frameworks import at their start only because it happens to be installed.

What is left out stands in their own code within `try: import …, except ImportError`: parts for wrappers, drawings and
notebooks that nothing here uses. A program of this package may still import each itself, before them or after.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

KERAS = ("sklearn", "matplotlib", "IPython", "psutil", "PIL")  # 500, 700, 40 to 250, 10, 15 ms
KERAS_ON = {
    "tensorflow": ("jax",),  # 600 ms and 110 MB: for checkpoints in Orbax' format
    "jax": ("requests",),  # 60 ms: to send figures to a server; TensorFlow cannot do without it
}
TENSORFLOW = ("jax", "scipy")  # for TensorFlow Lite's converter; 70 ms: to know sparse matrices
DEFERRED = ("jax.experimental.sparse.linalg",)  # 180 ms, of SciPy: loaded when something in it is asked for


class LeanFinder(MetaPathFinder):
    """Tells whoever imports one of these packages that it is absent, as long as a framework is being imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in left_out():
            raise ModuleNotFoundError(f"No module named {name!r} while a framework is being imported", name=name)
        if name not in DEFERRED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


def left_out() -> tuple[str, ...]:
    """What is to be taken for absent at this moment."""
    found: tuple[str, ...] = ()
    if under_way("keras"):
        found += KERAS + KERAS_ON.get(os.environ.get("KERAS_BACKEND", ""), ())
    if under_way("tensorflow"):
        found += TENSORFLOW
    return found


def under_way(name: str) -> bool:
    """Whether that module is being imported."""
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def install() -> None:
    """For the programs alone: a person's own process may want those parts."""
    sys.meta_path.insert(0, LeanFinder())


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """For what is imported within it, without Python's collector of garbage: it would go through all modules again and
    again, 0.3 to 0.5 s in all. In a program it never looks at them afterwards: they stay to the end of the process.

    TensorFlow logs no INFO messages, unless TF_CPP_MIN_LOG_LEVEL says otherwise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if any(isinstance(finder, LeanFinder) for finder in sys.meta_path):
            gc.freeze()
        if was_on:
            gc.enable()
