"""MNIST with Keras: trained, evaluated and served with the same numbers on every device.

    from mnist_mlp import Config, load_data, open_run, train_and_evaluate

Importing the package loads nothing but a watch for files that hide installed modules (`cli/shadowing.py`); each name is
loaded when it is first used. Start reading at `train.py`.

`train_and_evaluate` limits TensorFlow's log messages to warnings (unless TF_CPP_MIN_LOG_LEVEL is set). A few lines that
TensorFlow prints in spite of its log level remain; `mnist_mlp.cli.stderr_filter.silence()`, called before Keras is
imported, removes them, too.
"""

import sys

if sys.platform == "win32":  # no fcntl, no fork, no POSIX signals: said before an import fails for one of these
    _WHY = "mnist_mlp needs Linux or macOS; on Windows type this in WSL2 (once: wsl --install)"
    _PROGRAM = "".join(sys.argv[:1])
    if _PROGRAM == "-m" or "mnist-mlp" in _PROGRAM:  # a program is started
        print(f"error: {_WHY}", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(_WHY)

from mnist_mlp.cli import shadowing  # noqa: E402

shadowing.watch()  # before anything is imported that a file of the user's could hide

from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from mnist_mlp.config import Config
    from mnist_mlp.data import load as load_data
    from mnist_mlp.runs.saved import open_run
    from mnist_mlp.train import train_and_evaluate

__version__ = "0.2.0"
__all__ = ["Config", "__version__", "load_data", "open_run", "train_and_evaluate"]
_HOMES = {  # of each name: its module, and what it is called there
    "Config": ("mnist_mlp.config", "Config"),
    "load_data": ("mnist_mlp.data", "load"),
    "open_run": ("mnist_mlp.runs.saved", "open_run"),
    "train_and_evaluate": ("mnist_mlp.train", "train_and_evaluate"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
