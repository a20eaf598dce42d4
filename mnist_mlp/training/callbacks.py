"""Keras callbacks at the beginnings and ends of epochs, on every engine: those of the flags, and the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from mnist_mlp.config import Config
from mnist_mlp.engine.base import Engine
from mnist_mlp.errors import UserError
from mnist_mlp.training.tensorboard import Board, Histograms

Row = dict[str, Any]  # of the history


class Callbacks:
    """All callbacks of a run. `history`: the epochs that an earlier process has trained.

    Those of the flags are told of these epochs again, so that a run that is resumed stops early, or writes its files,
    as if it had never ended. Your own see the epochs that this process trains.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        run_dir: Path,
        history: Sequence[Row],
        own: Sequence[keras.callbacks.Callback],
        *,
        resumed: bool,
    ):
        self.engine = engine
        flagged = of_flags(config, run_dir)
        self.list: keras.callbacks.CallbackList | None = None
        if not flagged and not own:
            return
        model = as_callbacks_expect(engine)
        self.list = keras.callbacks.CallbackList([*flagged, *own], model=model, epochs=config.epochs, verbose=0)
        with self.assigning(again=resumed):
            self.list.on_train_begin()
        for row in history:
            for callback in flagged:
                callback.on_epoch_end(row["epoch"] - 1, logs(row))

    @property
    def stop(self) -> bool:
        """Whether one of them wants the training to end."""
        return self.list is not None and bool(self.list.model.stop_training)

    def epoch_begins(self, epoch: int, *, under_way: bool) -> None:
        """`under_way`: an earlier process has begun the epoch."""
        if self.list is not None:
            with self.assigning(again=under_way):
                self.list.on_epoch_begin(epoch)

    def epoch_ends(self, row: Row) -> None:
        if self.list is not None:
            with self.assigning(again=False):
                self.list.on_epoch_end(row["epoch"] - 1, logs(row))

    @contextlib.contextmanager
    def assigning(self, *, again: bool) -> Iterator[None]:
        """Gives the device what callbacks assign to variables, such as a learning rate. What they assign again after a
        stop is undone: the checkpoint has it already, and what came after it."""
        before = self.engine.state()
        yield
        self.engine.restore(before if again else self.engine.state())

    def end(self) -> None:
        if self.list is not None:
            self.list.on_train_end()


def logs(row: Row) -> dict[str, float]:
    """A row of the history under the names that Keras gives to its figures."""
    names = {
        "loss": "loss",
        "accuracy": "accuracy",
        "validation_loss": "val_loss",
        "validation_accuracy": "val_accuracy",
    }
    return {name: row[key] for key, name in names.items() if key in row}


def of_flags(config: Config, run_dir: Path) -> list[keras.callbacks.Callback]:
    """The callbacks that the flags ask for."""
    found: list[keras.callbacks.Callback] = []
    for name, wanted, is_kind in (("csv", "history.csv", Path.is_file), ("tensorboard", "tensorboard", Path.is_dir)):
        path = run_dir / wanted
        if getattr(config, name) and path.exists() and not is_kind(path):
            raise UserError(f"--{name}: {path} is in the way, which is something else; remove it")
    if config.early_stopping:
        monitor = "val_loss" if config.validation_fraction else "loss"
        found.append(keras.callbacks.EarlyStopping(monitor, patience=config.early_stopping, mode="min"))
    if config.csv:
        found.append(keras.callbacks.CSVLogger(str(run_dir / "history.csv")))
    if config.tensorboard:
        found += [Board(run_dir / "tensorboard", config), Histograms(run_dir / "tensorboard")]
    return found


def as_callbacks_expect(engine: Engine) -> keras.Model:
    """A model of the same variables that has the optimizer, as after `compile`: callbacks look for it there."""
    with engine.devices.scope():
        model = keras.Model(engine.model.input, engine.model.output, name=engine.model.name)
        model.compile(engine.optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
