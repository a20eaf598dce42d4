"""Keras callbacks on every engine: calling their hooks, taking over what they assign, and keeping what they know."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mnist_mlp.config import Config
from mnist_mlp.engine.base import Engine
from mnist_mlp.errors import UserError
from mnist_mlp.runs.checkpoint import Checkpoint
from mnist_mlp.runs.directory import Run
from mnist_mlp.training.accepted_callbacks import OF_BATCHES, acts
from mnist_mlp.training.optimizers import averaging_optimizer
from mnist_mlp.training.tensorboard import Board, Histograms

Row = dict[str, Any]  # of the history

# What Keras' own callbacks know of earlier epochs, beyond their arguments. It is kept in the checkpoints.
KNOWN = {
    "EarlyStopping": ("best", "best_epoch", "best_weights", "wait", "stopped_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "ModelCheckpoint": ("best",),
    "OrbaxCheckpoint": ("best",),
}


class Callbacks:
    """All callbacks of a run: those that the flags ask for, and the user's own.

    The flags' callbacks get the epochs that earlier processes trained once more, so that a resumed run stops
    early, or writes its files, as if it had never stopped. The user's own see only the epochs that this process trains;
    what Keras' own classes know of earlier epochs comes from the checkpoint. A finished run that is resumed calls
    none of the user's: nothing of it is to change.
    """

    def __init__(self, engine: Engine, run: Run, own: Sequence[keras.callbacks.Callback], steps_per_epoch: int):
        self.engine = engine
        found = run.resumed_from
        self.finished = found is not None and is_finished(found, run.config)
        self.flagged = of_flags(run.config, run.path)
        self.own = [] if self.finished else [*own, *([keras.callbacks.History()] if own else [])]
        self.stopped_by_flags = False
        self.stopped_before = self.finished and run.progress.epoch < run.config.epochs
        self.missing: list[str] = []  # callbacks that the run had before and that are not among its own now
        self.model: keras.Model | None = None
        if self.flagged or self.own:
            self.model = as_callbacks_expect(engine)
            self.begin(self.model, run, steps_per_epoch)
        if found is not None and not self.finished:
            self.restore(found)

    def begin(self, model: keras.Model, run: Run, steps_per_epoch: int) -> None:
        """Introduce the callbacks to the model, call `on_train_begin`, and give the flags' the earlier epochs."""
        self.compiled_in = compiled_in(self.engine, model)
        for callback in (*self.flagged, *self.own):
            shows = isinstance(callback, keras.callbacks.ProgbarLogger)
            callback.set_params({"verbose": int(shows), "epochs": run.config.epochs, "steps": steps_per_epoch})
            callback.set_model(model)
        self.call("on_train_begin", {}, again=run.resumed_from is not None)
        by_own, model.stop_training = model.stop_training, False
        for row in run.progress.history:
            for callback in self.flagged:
                callback.on_epoch_end(row["epoch"] - 1, logs(row))
        self.stopped_by_flags, model.stop_training = bool(model.stop_training), by_own
        if any(acts(callback, hook) for callback in self.own for hook in OF_BATCHES):
            self.engine.on_batch = self.batch

    @property
    def any(self) -> bool:
        """Whether there are callbacks."""
        return self.model is not None

    @property
    def stop(self) -> bool:
        """Whether a callback has set `stop_training`."""
        by_own = self.model is not None and bool(self.model.stop_training)
        return by_own or self.stopped_by_flags or self.stopped_before

    def epoch_begins(self, epoch: int, *, under_way: bool) -> None:
        """Call `on_epoch_begin`. `under_way`: an earlier process has already started this epoch."""
        self.call("on_epoch_begin", epoch, {}, again=under_way)

    def epoch_ends(self, row: Row) -> None:
        """Call `on_epoch_end` with the epoch's row of the history."""
        self.call("on_epoch_end", row["epoch"] - 1, logs(row), averaged=True)

    def validation_begins(self) -> None:
        """Call `on_test_begin`."""
        self.call("on_test_begin", {})

    def validation_ends(self, loss: float, accuracy: float) -> None:
        """Call `on_test_end` with the scores of the validation images."""
        self.call("on_test_end", {"loss": loss, "accuracy": accuracy})

    def end(self, history: Sequence[Row]) -> None:
        """Call `on_train_end` with the last row of the history."""
        self.engine.on_batch = None
        if self.model is not None:
            self.model.stop_training = self.stop
        self.call("on_train_end", logs(history[-1]) if history else {}, averaged=True)

    def call(self, hook: str, *arguments: Any, again: bool = False, averaged: bool = False) -> None:
        """Call a hook of all callbacks that have it, those of the flags first. See `assigning` for the rest."""
        flagged, own = ([c for c in group if acts(c, hook)] for group in (self.flagged, self.own))
        if self.model is None or not (flagged or own):
            return
        with self.assigning(again=again, averaged=averaged):
            by_own, self.model.stop_training = self.model.stop_training, False
            for callback in flagged:
                getattr(callback, hook)(*arguments)
            self.stopped_by_flags |= bool(self.model.stop_training)
            self.model.stop_training = by_own
            for callback in own:
                getattr(callback, hook)(*arguments)

    def batch(self, hook: str, batch: int, logs: Mapping[str, float]) -> bool:
        """Call a hook of a batch, and return whether a callback has set `stop_training`. See `OnBatch`."""
        older = hook.replace("train_", "")  # Keras' `on_train_batch_end` calls `on_batch_end`, unless overridden
        for callback in self.own:
            if acts(callback, hook) or acts(callback, older):
                getattr(callback, hook)(batch, dict(logs))
        return self.model is not None and bool(self.model.stop_training)

    @contextlib.contextmanager
    def assigning(self, *, again: bool, averaged: bool) -> Iterator[None]:
        """Copy to the device what callbacks assign to variables: weights, a learning rate.

        `again`: the call repeats one from before a stop. Its assignments are undone, since the checkpoint has them
        already, and whatever came after them. `averaged`: show the averaged weights, if the optimizer averages them,
        since they are what is validated and saved. Weights that a callback assigns then replace the average, too.
        Raise `UserError` if a callback changes what the compiled steps have built in.
        """
        before = self.engine.state()
        optimizer = averaging_optimizer(self.engine) if averaged else None
        weights = self.engine.model.trainable_variables
        if optimizer is not None:
            trained = [keras.ops.convert_to_numpy(weight) for weight in weights]
            optimizer.finalize_variable_values(weights)
            shown = [keras.ops.convert_to_numpy(weight) for weight in weights]
        yield
        self.check_compiled_in()
        if optimizer is not None:
            averages = optimizer._model_variables_moving_average  # as Keras' SwapEMAWeights finds them
            for weight, average, value, old in zip(weights, averages, shown, trained, strict=True):
                now = keras.ops.convert_to_numpy(weight)
                if np.array_equal(now, value, equal_nan=True):
                    weight.assign(old)
                else:
                    average.assign(now)
        self.engine.restore(before if again else self.engine.state())

    def check_compiled_in(self) -> None:
        """Raise `UserError` if something is no longer as it was when the steps were compiled."""
        now = compiled_in(self.engine, self.model)
        other = [name for name in now.keys() | self.compiled_in.keys() if now.get(name) != self.compiled_in.get(name)]
        if other:
            raise UserError(
                f"a callback changed {min(other)}, which the training step has built in, so it would have no effect; "
                "callbacks may assign variables: weights, and optimizer.learning_rate as a number"
            )

    def state(self) -> dict[str, dict[str, Any]]:
        """Return what the user's own callbacks know of earlier epochs, by their names: {attribute: value}."""
        found: dict[str, dict[str, Any]] = {}
        for name, callback in named(self.own):
            attributes = {key: getattr(callback, key) for key in attributes_of(callback) if hasattr(callback, key)}
            found[name] = {key: v.item() if isinstance(v, np.generic) else v for key, v in attributes.items()}
        if found or self.stopped_before:
            found["model"] = {"stop_training": self.stopped_before or bool(self.model and self.model.stop_training)}
        return found

    def restore(self, found: Checkpoint) -> None:
        """Give the user's own callbacks what they knew when the checkpoint was written."""
        own = dict(named(self.own))
        for name, values in found.callbacks.items():
            if name == "model":
                # More epochs for a run that a callback had stopped train on.
                self.stopped_before = values["stop_training"] and not found.ended
            elif name in own:
                for key, value in values.items():
                    setattr(own[name], key, value)
            else:
                self.missing.append(name.rpartition(" ")[0])


def is_finished(found: Checkpoint, config: Config) -> bool:
    """Whether a checkpoint is that of a finished run, and nothing in the config asks for more epochs."""
    same = all(getattr(found.config, name) == getattr(config, name) for name in ("epochs", "early_stopping"))
    return found.ended and same


def named(own: Iterable[keras.callbacks.Callback]) -> Iterator[tuple[str, keras.callbacks.Callback]]:
    """Yield each callback with a name for it: its class, and which of its class it is, "EarlyStopping 1"."""
    count: collections.Counter[str] = collections.Counter()
    for callback in own:
        kind = type(callback).__name__
        if kind != "History":  # the run's own history has all epochs
            count[kind] += 1
            yield f"{kind} {count[kind]}", callback


def attributes_of(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    """Return the names of the attributes in which a callback of Keras, or of a class derived from one, keeps state."""
    kinds = [kind for kind in type(callback).__mro__ if kind is getattr(keras.callbacks, kind.__name__, None)]
    return next((KNOWN[kind.__name__] for kind in kinds if kind.__name__ in KNOWN), ())


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
        for metric in model.metrics:  # callbacks ask them whether more is better; Keras builds them in its first step
            if not getattr(metric, "built", True):
                metric.build(keras.KerasTensor((None,), "int32"), model.output)
    return model


def compiled_in(engine: Engine, model: keras.Model | None) -> dict[str, Any]:
    """Return what the compiled steps have built in, by name: options of the optimizer and of the layers."""
    optimizer = engine.optimizer
    options = optimizer.get_config() if optimizer else {}
    found = {f"optimizer.{name}": value for name, value in options.items()}
    if not isinstance(found.get("optimizer.learning_rate"), dict):  # a schedule; a number is a variable, and may change
        found["optimizer.learning_rate"] = None
    found |= {f"{layer.name}.{name}": v for layer in engine.model.layers for name, v in layer.get_config().items()}
    found["model.optimizer"] = model is not None and model.optimizer is optimizer
    return found
