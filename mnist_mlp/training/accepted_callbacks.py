"""Which Keras callbacks a run accepts: one whose hooks would not be called is refused before the training.

A compiled engine trains many batches in one call, so hooks of batches are called with `engine="fit"` only.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import keras

from mnist_mlp.config import Config
from mnist_mlp.errors import UserError

# The hooks of batches that `Model.fit` calls; it never calls those of `predict`.
OF_BATCHES = tuple(
    f"on_{part}batch_{moment}" for part in ("train_", "", "test_") for moment in ("begin", "end")
)  # `on_batch_*` are other names of `on_train_batch_*`


def accepted(callbacks: Any, config: Config) -> list[keras.callbacks.Callback]:
    """Return the callbacks that a run with this config calls, from whatever `Model.fit` takes: one, or nested lists.

    Raise `UserError` for what is no callback, and for a callback that would not do what it does in `Model.fit`.
    """
    found = [callback for callback in flat(callbacks) if not served_by_ema(callback, config)]
    for callback in found:
        check(callback, config)
    return found


def flat(callbacks: Any) -> list[Any]:
    """Return callbacks as one list."""
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return flat(callbacks.callbacks)
    if isinstance(callbacks, (list, tuple)):
        return [callback for part in callbacks for callback in flat(part)]
    return [callbacks]


def served_by_ema(callback: Any, config: Config) -> bool:
    """Whether `--ema` does all that the callback does: it validates, shows and saves the averaged weights."""
    return type(callback) is keras.callbacks.SwapEMAWeights and bool(config.ema)


def check(callback: Any, config: Config) -> None:
    """Raise `UserError` if the callback cannot do its work in a run with this config."""
    name = type(callback).__name__
    if isinstance(callback, type):
        raise UserError(f"callbacks: expected an object, received the class {callback.__name__}; call it first")
    if not hasattr(callback, "set_model"):
        raise UserError(f"callbacks: expected Keras callbacks, received {name}")
    if isinstance(callback, keras.callbacks.SwapEMAWeights):
        raise UserError(f"{name}: this run has no averaged weights; use ema=DECAY (--ema) instead of the callback")
    changes_rate = isinstance(callback, (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau))
    if changes_rate and (config.schedule != "constant" or config.warmup):
        raise UserError(
            f"{name}: expected a constant learning rate, received schedule={config.schedule!r}, "
            f"warmup={config.warmup:g}; use either the callback or the schedule"
        )
    if isinstance(callback, keras.callbacks.BackupAndRestore) and not config.resume:
        check_no_backup(callback)
    check_packages(callback)
    if config.engine != "fit":
        check_hooks(callback)


def check_hooks(callback: keras.callbacks.Callback) -> None:
    """Raise `UserError` if the callback has hooks of batches."""
    hook = next((hook for hook in OF_BATCHES if acts(callback, hook)), None)
    if hook is None:
        return
    name, remedy = type(callback).__name__, "use engine='fit' (--engine fit)"
    if isinstance(callback, saving_callbacks()):
        remedy = f"use save_freq='epoch', or {remedy.removeprefix('use ')}"
    elif isinstance(callback, keras.callbacks.TensorBoard):
        remedy = f"use update_freq='epoch' without profile_batch and write_steps_per_second, --profile, or {remedy[4:]}"
    elif isinstance(callback, keras.callbacks.ProgbarLogger):
        remedy = f"the run reports its own progress: omit it, or {remedy}"
    raise UserError(f"{name}.{hook}: engine='compiled' trains many batches in one call, without such hooks; {remedy}")


def check_no_backup(callback: keras.callbacks.BackupAndRestore) -> None:
    """Raise `UserError` if a new run would start from the backup of another one, in the middle of its epochs."""
    if Path(callback.backup_dir, "training_metadata.json").exists():
        raise UserError(
            f"BackupAndRestore: {callback.backup_dir} holds the backup of another run, and a run resumes from its own "
            "checkpoints; use resume=True (--resume) with its run_dir, or remove the backup"
        )


def check_packages(callback: keras.callbacks.Callback) -> None:
    """Raise `UserError` if a callback needs a package that is not installed."""
    if isinstance(callback, keras.callbacks.TensorBoard) and not installed("tensorflow"):
        raise UserError("TensorBoard: Keras' callback needs TensorFlow; use tensorboard=True (--tensorboard) instead")
    if isinstance(callback, keras.callbacks.RemoteMonitor):
        if not installed("requests"):
            raise UserError("RemoteMonitor: the package requests is not installed; run pip install requests")
        # Keras looks for it when it is imported, and our programs import Keras without it.
        sys.modules[keras.callbacks.RemoteMonitor.__module__].requests = importlib.import_module("requests")  # type: ignore[attr-defined]


def installed(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def acts(callback: Any, hook: str) -> bool:
    """Whether a hook of a callback does anything that the run does not do itself."""
    method = getattr(callback, hook, None)
    if method is None or getattr(method, "_is_default", False):  # as Keras marks the hooks that do nothing
        return False
    owner = next((kind for kind in type(callback).__mro__ if hook in vars(kind)), None)
    if owner is None or hook in vars(callback):  # as of a LambdaCallback
        return True
    if owner in saving_callbacks() and hook in OF_BATCHES:
        return callback.save_freq != "epoch"
    if owner is keras.callbacks.BackupAndRestore:  # a run is resumed from its own checkpoints, not from the backup
        return hook != "on_train_begin"
    if owner is keras.callbacks.TensorBoard and hook in OF_BATCHES:
        # `profile_batch` is kept under private names only. The graph of Keras' own training step is not there to write.
        traces = getattr(callback, "_should_trace", False)
        return callback.update_freq != "epoch" or callback.write_steps_per_second or traces
    return owner is not keras.callbacks.TerminateOnNaN  # the loss of each step is checked anyway


def saving_callbacks() -> tuple[type, ...]:
    """Return the callbacks that save after every epoch or, with a number as `save_freq`, after so many batches."""
    names = ("ModelCheckpoint", "BackupAndRestore", "OrbaxCheckpoint")  # the last one since Keras 3.14
    return tuple(kind for name in names if (kind := getattr(keras.callbacks, name, None)))
