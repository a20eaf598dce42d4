"""Keras callbacks at the beginning and end of each epoch, on every engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from mnist_mlp.config import Config
from mnist_mlp.engine.base import Engine
from mnist_mlp.errors import UserError
from mnist_mlp.runs.directory import Run
from mnist_mlp.training.tensorboard import Board, Histograms

Row = dict[str, Any]  # of the history


class Callbacks:
    """All callbacks of a run: those that the flags ask for, and the user's own.

    The flags' callbacks get the epochs that earlier processes trained once more, so that a resumed run stops
    early, or writes its files, as if it had never stopped. The user's own see only the epochs that this process trains.
    """

    def __init__(self, engine: Engine, run: Run, own: Sequence[keras.callbacks.Callback]):
        self.engine = engine
        flagged = of_flags(run.config, run.path)
        self.list: keras.callbacks.CallbackList | None = None
        if not flagged and not own:
            return
        model = as_callbacks_expect(engine)
        self.list = keras.callbacks.CallbackList([*flagged, *own], model=model, epochs=run.config.epochs, verbose=0)
        with self.assigning(again=run.resumed_from is not None):
            self.list.on_train_begin()
        for row in run.progress.history:
            for callback in flagged:
                callback.on_epoch_end(row["epoch"] - 1, logs(row))

    @property
    def stop(self) -> bool:
        """Whether a callback has set `stop_training`."""
        return self.list is not None and bool(self.list.model.stop_training)

    def epoch_begins(self, epoch: int, *, under_way: bool) -> None:
        """Call `on_epoch_begin`. `under_way`: an earlier process has already started this epoch."""
        if self.list is not None:
            with self.assigning(again=under_way):
                self.list.on_epoch_begin(epoch)

    def epoch_ends(self, row: Row) -> None:
        """Call `on_epoch_end` with the epoch's row of the history."""
        if self.list is not None:
            with self.assigning(again=False):
                self.list.on_epoch_end(row["epoch"] - 1, logs(row))

    @contextlib.contextmanager
    def assigning(self, *, again: bool) -> Iterator[None]:
        """Copy to the device what callbacks assign to variables, such as a learning rate.

        `again`: the call repeats one from before a stop. Its assignments are undone, since the checkpoint has them
        already, and whatever came after them.
        """
        before = self.engine.state()
        yield
        self.engine.restore(before if again else self.engine.state())

    def end(self) -> None:
        """Call `on_train_end`."""
        if self.list is not None:
            self.list.on_train_end()


def logs(row: Row) -> dict[str, float]:
    """Return a row of the history under Keras' names."""
    names = {
        "loss": "loss",
        "accuracy": "accuracy",
        "validation_loss": "val_loss",
        "validation_accuracy": "val_accuracy",
    }
    return {name: row[key] for key, name in names.items() if key in row}


def of_flags(config: Config, run_dir: Path) -> list[keras.callbacks.Callback]:
    """Return the callbacks that the flags ask for. Raise `UserError` if something else has their file's name."""
    found: list[keras.callbacks.Callback] = []
    for name, wanted, is_kind in (("csv", "history.csv", Path.is_file), ("tensorboard", "tensorboard", Path.is_dir)):
        path = run_dir / wanted
        if getattr(config, name) and path.exists() and not is_kind(path):
            raise UserError(f"--{name}: {path} exists and is of the wrong kind; remove it")
    if config.early_stopping:
        monitor = "val_loss" if config.validation_fraction else "loss"
        found.append(keras.callbacks.EarlyStopping(monitor, patience=config.early_stopping, mode="min"))
    if config.csv:
        found.append(keras.callbacks.CSVLogger(str(run_dir / "history.csv")))
    if config.tensorboard:
        found += [Board(run_dir / "tensorboard", config), Histograms(run_dir / "tensorboard")]
    return found


def as_callbacks_expect(engine: Engine) -> keras.Model:
    """Return a compiled model with the engine's variables and optimizer, where callbacks look for them."""
    with engine.devices.scope():
        model = keras.Model(engine.model.input, engine.model.output, name=engine.model.name)
        model.compile(engine.optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
