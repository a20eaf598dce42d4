"""Import Keras and the framework below it: with the right environment, quickly, and safe from signals.

At import Keras and TensorFlow also load packages that happen to be installed, for wrappers, plots and notebooks that
nothing here uses. Their own code does so within `try: import …, except ImportError`. `LeanFinder` makes these packages
look absent until the import is done; programs of this package can still import each of them before or afterwards.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import TYPE_CHECKING

from mnist_mlp.cli import shadowing, variables
from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.files import user_dirs

if TYPE_CHECKING:
    from mnist_mlp.devices import Plan

KERAS = ("sklearn", "matplotlib", "IPython", "psutil", "PIL")  # 500, 700, 40 to 250, 10, 15 ms
KERAS_ON = {
    "tensorflow": ("jax",),  # 600 ms and 110 MB: for checkpoints in Orbax format
    "jax": ("requests",),  # 60 ms: for a callback that sends metrics to a server; TensorFlow itself needs it
}
TENSORFLOW = ("jax", "scipy")  # for the TensorFlow Lite converter; 70 ms, to recognize sparse matrices
DEFERRED = ("jax.experimental.sparse.linalg",)  # 180 ms, for SciPy: loaded on first use


def load(plan: Plan) -> None:
    """Set the environment of a plan and import Keras with its framework. Signals wait until that is done.

    To be called before anything else imports a framework, and after all that can fail early. Variables that would
    change the numbers are removed from the environment (see `variables`).
    """
    variables.remove_ignored()
    os.environ.update(plan.environment)
    if "keras" not in sys.modules:
        with defer_signals(), importing():
            try:
                importlib.import_module("keras")
            except Exception:
                shadowing.refuse_loaded()
                raise


class LeanFinder(MetaPathFinder):
    """Reports these packages as not installed while a framework is being imported."""

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
    """Return the packages that look absent at this moment."""
    found: tuple[str, ...] = ()
    if under_way("keras"):
        found += KERAS + KERAS_ON.get(os.environ.get("KERAS_BACKEND", ""), ())
    if under_way("tensorflow"):
        found += TENSORFLOW
    return found


def under_way(name: str) -> bool:
    """Return whether that module is being imported."""
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def install() -> None:
    """Install the finder. For the programs only: a user's own process may want those packages."""
    sys.meta_path.insert(0, LeanFinder())


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import without garbage collection, which would traverse all modules again and again, for 0.3 to 0.5 s.

    In a program the imported objects are also exempt from later collections: they live until the process ends.
    TensorFlow logs no INFO messages, unless TF_CPP_MIN_LOG_LEVEL says otherwise.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    in_program = any(isinstance(finder, LeanFinder) for finder in sys.meta_path)
    was_on = gc.isenabled()
    gc.disable()
    try:
        with without_keras_files() if in_program or user_dirs.home() is None else contextlib.nullcontext():
            yield
    finally:
        if in_program:
            gc.freeze()
        if was_on:
            gc.enable()


@contextlib.contextmanager
def without_keras_files() -> Iterator[None]:
    """Import Keras without its keras.json: it would change the numbers, and Keras would write it where there is none.

    Without a home directory Keras would do so in a folder called ~, or in /tmp, where others can write.
    """
    before = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = str(user_dirs.NOWHERE)
    try:
        yield
    finally:
        os.environ.pop("KERAS_HOME", None)
        if before is not None:
            os.environ["KERAS_HOME"] = before
