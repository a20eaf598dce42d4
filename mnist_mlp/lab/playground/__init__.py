"""TensorFlow Playground without a browser: the page's random stream, data, weights, updates and quirks, in float64.

    from mnist_mlp.lab import playground

    history = playground.run("https://playground.tensorflow.org/#activation=relu&dataset=xor&seed=0.5", epochs=100)
    print(history.losses[-1], history.accuracy)

`python -m mnist_mlp.lab.playground 'URL' --epochs=100` does the same. Only NumPy is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_mlp.lab.playground.history import History, run, run_seeds
    from mnist_mlp.lab.playground.random_stream import Stream
    from mnist_mlp.lab.playground.url_state import State

__all__ = ["History", "State", "Stream", "run", "run_seeds"]
MODULES = {
    "History": "history",
    "run": "history",
    "run_seeds": "history",
    "State": "url_state",
    "Stream": "random_stream",
}


def __getattr__(name: str) -> Any:
    """Import lazily, so that a program can start and answer Ctrl-C before NumPy is imported."""
    if name in MODULES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
