"""Every callback of Keras in a run of this package, compared with `Model.fit`: the same images, batches and weights.

usage: python callback_table.py BACKEND DIRECTORY [ROW …]

Prints JSON: {row: {"fit": facts, "fresh": …, "stopped": …, "killed": …, "killed_at_end": …}}. In each column but the
first stand the facts that are not those of `Model.fit`, or how the run ended otherwise: {} is what is expected.
`fresh` is a run that nothing disturbs, and which is then resumed although it is finished. `stopped` ended with SIGTERM
after two epochs and was resumed, with callbacks made anew. What the others resume is the directory of the first as it
was in its fourth epoch, or between its last checkpoint and `on_train_end`: all that a SIGKILL would have left.
"""

import contextlib
import csv
import dataclasses
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from unittest import mock

if __name__ == "__main__":
    os.environ |= {"KERAS_BACKEND": sys.argv[1], "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}

import keras
import numpy as np

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.data import load
from mnist_mlp.data.batches import batch_indices, split_validation
from mnist_mlp.errors import Stopped, UserError
from mnist_mlp.models import networks
from mnist_mlp.runs import checkpoint
from mnist_mlp.train import train_and_evaluate
from mnist_mlp.training import callbacks as training_callbacks
from mnist_mlp.training import loop, optimizers

C = keras.callbacks
CONFIG = Config(dataset="digits", model="softmax", epochs=9, learning_rate=0.3, batch_size=256, validation_fraction=0.2)
LAST = {"learning_rate", "posted", "history", "calls"}  # of which a later process does not know the earlier one's
DATA = load(CONFIG)
TRAIN, VALIDATION = split_validation(DATA.train, CONFIG.validation_fraction, CONFIG.seed)


class Recorder(keras.callbacks.Callback):
    """Every hook of epochs and of the training, with the names of its logs."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append(["train begins", sorted(logs or {})])

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append([f"{epoch} begins", sorted(logs or {})])

    def on_test_begin(self, logs=None):
        self.calls.append(["test begins", sorted(logs or {})])

    def on_test_end(self, logs=None):
        self.calls.append(["test ends", sorted(logs or {})])

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append([f"{epoch} ends", sorted(logs or {})])

    def on_train_end(self, logs=None):
        self.calls.append(["train ends", sorted(logs or {})])


def scale(callback, factor):
    callback.model.set_weights([weight * factor for weight in callback.model.get_weights()])


def lambdas():
    """Callbacks that assign weights after the third epoch, and at the end of the training."""
    callback = C.LambdaCallback()
    callback.on_epoch_end = lambda epoch, logs: scale(callback, 0.5 if epoch == 2 else 1.0)
    callback.on_train_end = lambda logs: scale(callback, 0.1)
    return callback


def broken():
    """A callback that breaks the weights before the second epoch."""
    callback = C.LambdaCallback()
    callback.on_epoch_begin = lambda epoch, logs: scale(callback, np.nan if epoch == 1 else 1.0)
    return callback


def usual(path):
    return [
        C.EarlyStopping(patience=1, min_delta=0.5, restore_best_weights=True),
        C.ModelCheckpoint(path / "best-{epoch}.keras", monitor="val_accuracy", save_best_only=True),
        C.ReduceLROnPlateau(monitor="accuracy", factor=0.5, patience=1, min_delta=1),
        C.CSVLogger(path / "log.csv", append=True),
    ]


ROWS = {  # of each class in keras.callbacks: how to make it in a directory, and other options of the run
    "usual": (usual, {}),
    "BackupAndRestore": (lambda path: C.BackupAndRestore(path / "backup"), {}),
    "CSVLogger": (lambda path: C.CSVLogger(path / "log.csv", append=True), {}),
    "Callback": (lambda path: Recorder(), {}),
    "CallbackList": (lambda path: C.CallbackList([C.EarlyStopping("accuracy", patience=1, min_delta=0.1)]), {}),
    "EarlyStopping": (lambda path: C.EarlyStopping("val_accuracy", patience=1, restore_best_weights=True), {}),
    "History": (lambda path: C.History(), {}),
    "LambdaCallback": (lambda path: lambdas(), {}),
    "LearningRateScheduler": (lambda path: C.LearningRateScheduler(lambda epoch, rate: rate * 0.5), {}),
    "ModelCheckpoint": (
        lambda path: C.ModelCheckpoint(path / "best-{epoch}.keras", monitor="val_accuracy", save_best_only=True),
        {},
    ),
    "OrbaxCheckpoint": (lambda path: C.OrbaxCheckpoint(path / "orbax", monitor="val_loss", save_best_only=True), {}),
    "ProgbarLogger": (lambda path: C.ProgbarLogger(), {}),
    "ReduceLROnPlateau": (lambda path: C.ReduceLROnPlateau("val_loss", factor=0.5, patience=1), {}),
    "RemoteMonitor": (lambda path: C.RemoteMonitor(send_as_json=True), {}),
    "SwapEMAWeights": (lambda path: C.SwapEMAWeights(swap_on_epoch=True), {"ema": 0.5}),
    "TensorBoard": (lambda path: C.TensorBoard(path / "logs"), {}),
    "TerminateOnNaN": (lambda path: [C.TerminateOnNaN(), broken()], {}),
}


class Batches(keras.utils.PyDataset):
    """The batches of a run, in its order, which differs from epoch to epoch."""

    def __init__(self):
        super().__init__()
        self.epoch = 0

    @property
    def rows(self):
        return batch_indices(CONFIG.seed, self.epoch, len(TRAIN), CONFIG.batch_size)

    def at_epoch(self):
        """Return a callback that sets the epoch: Keras also reads batches before the first one."""
        return C.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(self, "epoch", epoch))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, step):
        row = self.rows[step]
        row = row[row >= 0]
        return TRAIN.images[row].astype("float32"), TRAIN.labels[row].astype("int32")


class Watched:
    """The callbacks of a row, made in a directory, and what they did."""

    def __init__(self, row, path):
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.row = path, row
        made = ROWS[row][0](path)
        self.history, self.posted = C.History(), []
        self.callbacks = [*(made if isinstance(made, list) else [made]), self.history]

    def post(self, url, json, headers):
        self.posted.append([url, json["epoch"], sorted(json)])

    def facts(self, weights, epochs):
        """What is compared; floats with a tolerance, all else exactly."""
        found = {"weights": [w.ravel().tolist() for w in weights], "epochs": epochs}
        found["learning_rate"] = self.history.history.get("learning_rate", [])
        found["posted"] = self.posted
        found["files"] = sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*.keras"))
        found["folders"] = sorted(p.name for p in self.path.iterdir() if p.is_dir())
        if (self.path / "log.csv").exists():
            with open(self.path / "log.csv") as file:
                found["csv"] = [[float(value) for value in row.values()] for row in csv.DictReader(file)]
        if self.row == "TensorBoard":
            found["curves"] = curves(self.path / "logs")
        if self.row == "History":
            found["history"] = {name: values[-2:] for name, values in self.history.history.items()}
        if self.row == "Callback":
            found["calls"] = self.callbacks[0].calls
        return found


def curves(path):
    """The names and steps of all scalars that TensorBoard would show."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for folder in sorted(path.iterdir()):
        events = EventAccumulator(str(folder)).Reload()
        for name in events.Tags()["tensors"]:
            if name != "keras":
                found[f"{folder.name}/{name}"] = sorted({event.step for event in events.Tensors(name)})
    return found


def fitted(row, path):
    """What `Model.fit` does with the callbacks. The loss is that of logits, as in a run."""
    config = dataclasses.replace(CONFIG, **ROWS[row][1])
    model = networks.build(config.model, pixels=config.pixels, precision=config.precision, seed=config.seed)
    model = networks.to_logits(model)
    batches = Batches()
    optimizer = optimizers.from_config(config, len(batches))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    watched = Watched(row, path)
    with mock.patch("requests.post", watched.post):
        model.fit(
            batches,
            epochs=config.epochs,
            validation_data=(VALIDATION.images.astype("float32"), VALIDATION.labels.astype("int32")),
            verbose=0,
            shuffle=False,
            callbacks=[batches.at_epoch(), *watched.callbacks],
        )
    return watched.facts(model.get_weights(), len(watched.history.epoch))


def ran(row, path, *, resume=False, signal_after=0, copies=False):
    """A run with the callbacks: its facts, and its result."""
    config = dataclasses.replace(CONFIG, strategy="cpu", backend=keras.backend.backend(), resume=resume, **ROWS[row][1])
    watched = Watched(row, path / "own")
    call, end, calls = loop.Training.call, training_callbacks.Callbacks.end, []

    def counted(self, order):
        calls.append(1)
        if copies and self.progress.epoch == 3 and self.progress.step == 0:
            shutil.copytree(path, f"{path}-killed")
        if len(calls) == signal_after:
            signal.raise_signal(signal.SIGTERM)
        call(self, order)

    def at_end(self, history):
        if copies:
            shutil.copytree(path, f"{path}-killed_at_end")
        end(self, history)

    with (
        mock.patch("requests.post", watched.post),
        mock.patch("mnist_mlp.engine.batching.SECONDS_PER_CALL", 1e9),
        mock.patch.object(loop.Training, "call", counted),
        mock.patch.object(training_callbacks.Callbacks, "end", at_end),
    ):
        result = train_and_evaluate(config, path / "run", reporter=SILENT, callbacks=watched.callbacks)
    model = keras.models.load_model(path / "run" / "model.keras")
    agree(path / "run", model, result, bool(config.ema))
    return watched.facts(model.get_weights(), len(result.epochs)), result


def agree(run_dir, model, result, averaged):
    """The model, the result and the last checkpoint are of the same weights."""
    kernel, bias = model.get_weights()
    found = (DATA.test.images.reshape(-1, 784) / 255.0 @ kernel + bias).argmax(1)
    assert int((found == DATA.test.labels).sum()) == result.test["correct"]
    state = checkpoint.newest(run_dir)[0].state
    if not averaged:
        for weight in model.layers[-2].weights:
            np.testing.assert_array_equal(state[f"model/logits/{weight.name}"], keras.ops.convert_to_numpy(weight))


def other(expected, found, *, only=()):
    """The facts that are not as expected: {name: value}."""
    names = [name for name in found if not only or name in only]
    different = {name: found[name] for name in names if not close(expected.get(name), found[name])}
    if "weights" in different:
        pairs = zip(expected["weights"], found["weights"], strict=True)
        different["weights"] = [float(np.abs(np.subtract(*pair)).max()) for pair in pairs]
    return different


def close(one, two):
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(close(one[name], two[name]) for name in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(close, one, two))
    if isinstance(one, float) and isinstance(two, float):
        return bool(np.isclose(one, two, rtol=1e-3, atol=2e-4, equal_nan=True))
    return one == two


def unchanged(before, after, run_dir, state):
    """What differs after a finished run was resumed."""
    found = checkpoint.newest(run_dir)[0].state
    names = ["epochs", "test", "model_sha256"]
    changed = {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}
    return changed | ({} if all(np.array_equal(found[name], state[name]) for name in state) else {"state": "differs"})


def columns(row, directory):
    path = Path(directory, row)
    print(row, file=sys.stderr, flush=True)
    found = {"fit": fitted(row, path / "fit")}
    fit = found["fit"]
    try:
        facts, result = ran(row, path / "fresh", copies=True)
        found["fresh"] = other(fit, facts)
        state, run_dir = checkpoint.newest(path / "fresh" / "run")[0].state, path / "fresh" / "run"
        found["fresh"] |= unchanged(result, ran(row, path / "fresh", resume=True)[1], run_dir, state)
        found["fresh"] |= other(fit, Watched(row, path / "fresh" / "own").facts([], 0), only=("csv", "files"))
        with contextlib.suppress(Stopped):
            ran(row, path / "stopped", signal_after=2)
        for column, begun in {
            "stopped": "stopped",
            "killed": "fresh-killed",
            "killed_at_end": "fresh-killed_at_end",
        }.items():
            facts, again = ran(row, path / begun, resume=True)
            found[column] = {name: value for name, value in other(fit, facts).items() if name not in LAST}
            if again.model_sha256 != result.model_sha256:
                found[column]["bits"] = "differ"
    except UserError as error:
        found["fresh"] = f"{type(error).__name__}: {error}"
    return found


def killed_at_end(row, directory):
    """A run, and what its rest does after a kill before `on_train_end`, without `Model.fit`: quicker than a table."""
    path = Path(directory, row)
    facts, result = ran(row, path / "fresh", copies=True)
    again, rest = ran(row, path / "fresh-killed_at_end", resume=True)
    different = {name: value for name, value in other(facts, again).items() if name not in LAST}
    different |= {} if rest.model_sha256 == result.model_sha256 else {"bits": "differ"}
    return result.epochs, {key: value for key, value in facts.items() if key != "weights"}, different


def table(directory, rows):
    found = {}
    for row in rows:
        try:
            found[row] = columns(row, directory)
        except ImportError as error:  # of a package that Keras wants, at the callback's own start
            found[row] = {"fresh": f"ImportError: {error}"}
        if "fit" in found[row]:
            del found[row]["fit"]["weights"]
    return found


if __name__ == "__main__":
    backend, directory, *rows = sys.argv[1:]
    print(json.dumps(table(directory, rows or ROWS)))
