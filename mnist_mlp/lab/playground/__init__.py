"""TensorFlow Playground without its page: the same random stream, data, weights, updates and quirks, in float64.

    from mnist_mlp.lab import playground

    history = playground.run("https://playground.tensorflow.org/#activation=relu&dataset=xor&seed=0.5", epochs=100)
    print(history.losses[-1], history.accuracy)

`python -m mnist_mlp.lab.playground 'URL' --epochs=100` does the same. Needs NumPy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_mlp.lab.playground.history import History, run, run_seeds
    from mnist_mlp.lab.playground.random_stream import Stream
    from mnist_mlp.lab.playground.url_state import State

__all__ = ["History", "State", "Stream", "run", "run_seeds"]
PLACES = {
    "History": "history",
    "run": "history",
    "run_seeds": "history",
    "State": "url_state",
    "Stream": "random_stream",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for, and only then: a program starts, and answers Ctrl-C, before NumPy is there."""
    if name in PLACES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
