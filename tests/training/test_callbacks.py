"""Keras' callbacks: which are refused, what they assign, what they keep, and that they do as in `Model.fit`."""

import dataclasses
import inspect
import json
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT
from helpers.fork_server import run_code

from mnist_mlp.cli.terminal import SILENT, Reporter
from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.runs import checkpoint
from mnist_mlp.train import train_and_evaluate
from mnist_mlp.training.accepted_callbacks import accepted, acts

pytestmark = pytest.mark.xla(False)

C = keras.callbacks
SMALL = Config(dataset="digits", model="softmax", epochs=2, batch_size=512, strategy="cpu", validation_fraction=0.2)


def of_a_batch(hook):
    """A callback that overrides one hook."""
    return type("Mine", (C.Callback,), {hook: lambda self, batch, logs=None: None})()


REFUSED = {  # what is said, of which callback
    "Mine.on_train_batch_begin: engine='compiled' trains many": lambda: of_a_batch("on_train_batch_begin"),
    "Mine.on_train_batch_end: .* use engine='fit'": lambda: of_a_batch("on_train_batch_end"),
    "Mine.on_batch_begin: ": lambda: of_a_batch("on_batch_begin"),
    "Mine.on_batch_end: ": lambda: of_a_batch("on_batch_end"),
    "Mine.on_test_batch_begin: ": lambda: of_a_batch("on_test_batch_begin"),
    "Mine.on_test_batch_end: ": lambda: of_a_batch("on_test_batch_end"),
    "LambdaCallback.on_train_batch_end: .* use engine='fit'": lambda: C.LambdaCallback(on_train_batch_end=print),
    "LambdaCallback.on_batch_end: ": lambda: C.LambdaCallback(on_batch_end=print),
    "ModelCheckpoint.on_train_batch_end: .* use save_freq='epoch', or engine='fit'": lambda: C.ModelCheckpoint(
        "best.keras", save_freq=100
    ),
    "BackupAndRestore.on_train_batch_end: .* use save_freq='epoch'": lambda: C.BackupAndRestore("b", save_freq=2),
    "TensorBoard.on_train_batch_begin: .* use update_freq": lambda: C.TensorBoard("logs", update_freq="batch"),
    "TensorBoard.on_train_batch_begin: .*write_steps": lambda: C.TensorBoard("logs", write_steps_per_second=True),
    "ProgbarLogger.on_train_batch_end: .* the run reports its own progress": lambda: C.ProgbarLogger(),
}
ANYWHERE = {  # also with the fit engine
    "SwapEMAWeights: .* use ema=DECAY": lambda: C.SwapEMAWeights(),
    "expected Keras callbacks, received str": lambda: "early",
    "received the class EarlyStopping; call it first": lambda: C.EarlyStopping,
    "LearningRateScheduler: .* received schedule='cosine'": lambda: C.LearningRateScheduler(lambda epoch: 0.1),
    "ReduceLROnPlateau: .* received schedule='cosine'": lambda: C.ReduceLROnPlateau(),
}


@pytest.mark.parametrize("words", [*REFUSED, *ANYWHERE])
def test_what_would_not_do_its_work_is_refused_by_name(words):
    config = dataclasses.replace(SMALL, schedule="cosine")
    make = {**REFUSED, **ANYWHERE}[words]
    with pytest.raises(UserError, match=words):
        accepted([C.EarlyStopping(), make()], config)
    fit = dataclasses.replace(config, engine="fit")
    if words in ANYWHERE:
        with pytest.raises(UserError, match=words):
            accepted(make(), fit)
    else:
        assert len(accepted(make(), fit)) == 1


def test_what_has_hooks_of_batches_that_do_nothing_is_accepted():
    """Keras' own with their default arguments; one, nested lists and a CallbackList, as `Model.fit` takes them."""
    plain = [C.ModelCheckpoint("best.keras"), C.BackupAndRestore("nowhere"), C.TensorBoard("logs"), C.TerminateOnNaN()]
    assert accepted(plain, SMALL) == plain
    assert accepted((plain[0], [plain[1], C.CallbackList([plain[2]])]), SMALL) == plain[:3]
    assert accepted(plain[0], SMALL) == plain[:1] and accepted(None, SMALL) == []
    averaged = dataclasses.replace(SMALL, ema=0.9)
    assert accepted([C.SwapEMAWeights(swap_on_epoch=True)], averaged) == []  # the run does it itself
    assert not acts(of_a_batch("on_predict_batch_end"), "on_test_batch_end")
    assert len(accepted(of_a_batch("on_predict_batch_end"), SMALL)) == 1  # `Model.fit` does not call it either


def test_a_new_run_does_not_start_from_another_ones_backup(tmp_path):
    (tmp_path / "training_metadata.json").write_text('{"epoch": 3}')
    with pytest.raises(UserError, match="BackupAndRestore: .* holds the backup of another run"):
        accepted(C.BackupAndRestore(tmp_path), SMALL)
    assert len(accepted(C.BackupAndRestore(tmp_path), dataclasses.replace(SMALL, resume=True))) == 1


def run(path, *callbacks, **changes):
    return train_and_evaluate(dataclasses.replace(SMALL, **changes), path, reporter=SILENT, callbacks=callbacks)


class Recorder(C.Callback):
    """All hooks that `Model.fit` calls, with the names of the logs."""

    def __init__(self):
        super().__init__()
        self.calls = []
        for hook, _ in inspect.getmembers(C.Callback, inspect.isfunction):
            if hook.startswith("on_") and "predict" not in hook and not hook.startswith("on_batch"):
                setattr(self, hook, lambda *arguments, hook=hook, **more: self.heard(hook, *arguments, **more))

    def heard(self, hook, *arguments, logs=None):
        *at, logs = arguments if arguments and isinstance(arguments[-1], dict) else [*arguments, logs]
        self.calls.append([hook, *at, sorted(logs or {})])


@pytest.mark.slow
def test_the_fit_engine_calls_the_hooks_of_batches_as_model_fit_does(digits, tmp_path):
    mine, theirs = Recorder(), Recorder()
    run(tmp_path / "run", mine, engine="fit", epochs=1)
    images, labels = digits.train.images[:1150].astype("float32"), digits.train.labels[:1150]
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    held_out = (images[:287], labels[:287])
    model.fit(images, labels, batch_size=512, epochs=1, verbose=0, validation_data=held_out, callbacks=[theirs])
    assert mine.calls == theirs.calls and ["on_test_batch_end", 0, ["accuracy", "loss"]] in mine.calls


@pytest.mark.full
def test_what_hooks_of_batches_assign_counts_and_an_epoch_that_they_end_counts_what_it_has_seen(tmp_path):
    class Stop(C.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.loss = logs["loss"]
            self.model.set_weights([weight * 0 for weight in self.model.get_weights()])
            self.model.stop_training = batch == 1

    result = run(tmp_path / "stopped", stop := Stop(), engine="fit", epochs=3, learning_rate=1e-9)
    assert [row["epoch"] for row in result.epochs] == [1]
    assert result.epochs[0]["loss"] == pytest.approx(stop.loss) and result.test["loss"] == pytest.approx(np.log(10))


def frozen(model):
    model.get_layer("logits").trainable = False


def momentum(model):
    model.optimizer.beta_1 = 0.5


def schedule(model):
    model.optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, change",
    [
        ("logits.trainable", frozen),
        pytest.param("optimizer.beta_1", momentum, marks=pytest.mark.full),
        pytest.param("optimizer.learning_rate", schedule, marks=pytest.mark.full),
    ],
)
def test_what_the_training_step_has_built_in_cannot_be_changed(name, change, tmp_path):
    """Keras would go on without a word and without effect."""

    class Change(C.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            change(self.model)

    with pytest.raises(UserError, match=f"a callback changed {name}, .* would have no effect"):
        run(tmp_path / "run", Change())
    assert not (tmp_path / "run").exists()


def in_one_process(backend, path, call):
    """What a call of `helpers/callback_table.py` returns on a backend."""
    code = f"""
import json, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from helpers.callback_table import *
print(json.dumps({call}))
"""
    done = run_code(code, path, backend=backend, timeout=3000)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", pytest.param("tensorflow", marks=pytest.mark.full)])
def test_what_callbacks_assign_is_scored_saved_and_survives_a_kill(backend, tmp_path):
    """Early stopping with the best weights, the best model in a file, a falling rate and a CSV, in one run.

    The result, model.keras and the last checkpoint are compared in `callback_table.agree`."""
    epochs, facts, different = in_one_process(backend, tmp_path, "killed_at_end('usual', sys.argv[1])")
    losses = [row["validation_loss"] for row in epochs]
    best = [row["validation_accuracy"] for row in epochs]
    assert 3 < len(losses) < 9 and losses[-1] > losses[-2] - 0.5  # it stopped, after an epoch that was not the best
    assert facts["files"] == [f"best-{k + 1}.keras" for k in range(len(best)) if best[k] > max([0, *best[:k]])]
    assert facts["learning_rate"] == pytest.approx([0.3 / 2 ** max(0, k - 1) for k in range(len(losses))])
    assert [row[0] for row in facts["csv"]] == list(range(len(losses)))
    assert different == {}


DISTURBED = ("stopped", "killed", "killed_at_end")
AS_FIT = dict.fromkeys(("fresh", *DISTURBED), {})


def without_fit(row):
    return {column: value for column, value in row.items() if column != "fit"}


@pytest.mark.full
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_callback_of_keras_does_as_in_model_fit(backend, tmp_path, capsys):
    found = in_one_process(backend, tmp_path, "table(sys.argv[1], ROWS)")
    with capsys.disabled():
        print(json.dumps({row: without_fit(columns) for row, columns in found.items()}, indent=1), file=sys.stderr)
    refused = {
        "ProgbarLogger": "UserError: ProgbarLogger.on_train_batch_end: engine='compiled'",
        "TerminateOnNaN": "Diverged: training diverged between steps 5 and 6 (epoch 2, ",
    }
    assert found["TerminateOnNaN"]["fit"]["epochs"] == 2  # there, too
    for row, columns in found.items():
        if "ImportError" in str(columns.get("fresh")):
            assert row == "OrbaxCheckpoint"  # needs a package of its own
        elif row in refused:
            assert columns["fresh"].startswith(refused[row]), row
        else:
            assert without_fit(columns) == AS_FIT, row


def test_the_table_has_every_callback_of_this_keras():
    """A new one in a later Keras has to be tried."""
    source = (ROOT / "tests" / "helpers" / "callback_table.py").read_text()
    page = (ROOT / "mnist_mlp" / "training" / "README.md").read_text()
    classes = {name for name, kind in vars(C).items() if inspect.isclass(kind)}
    assert len(classes) >= 14
    for name in classes:
        assert f'    "{name}": (' in source, name
        assert name in ("Callback", "CallbackList") or f"`{name}`" in page, name


def test_a_checkpoint_holds_what_callbacks_know(tmp_path):
    from mnist_mlp.runs.checkpoint import Checkpoint, Progress

    known = {
        "EarlyStopping 1": {
            "best": 0.25,
            "wait": 2,
            "best_weights": [np.full((2, 2), i, np.float32) for i in range(12)],
        },
        "LambdaCallback 1": {},
        "model": {"stop_training": True},
    }
    written = Checkpoint(Progress(), 0, {"w": np.ones(3)}, SMALL, {}, {}, [], True, known)
    read = Checkpoint.from_arrays(written.to_arrays())
    weights = read.callbacks["EarlyStopping 1"].pop("best_weights")
    assert [int(w[0, 0]) for w in weights] == list(range(12)) and read.ended and list(read.state) == ["w"]
    del known["EarlyStopping 1"]["best_weights"]
    assert read.callbacks == known


@pytest.mark.slow
def test_a_finished_run_is_finished(tmp_path):
    """Callbacks do not hear of its resume, which changes nothing; more epochs train on from what they assigned."""

    class Stop(C.Callback):
        def on_train_begin(self, logs):  # Keras always gives logs, perhaps empty ones
            heard.append("begin")

        def on_epoch_begin(self, epoch, logs):
            assert logs == {}

        def on_test_begin(self, logs):
            assert logs == {}

        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = True

        def on_train_end(self, logs):
            heard.append(sorted(logs))
            self.model.set_weights([weight * 0 for weight in self.model.get_weights()])

    heard = []
    first = run(tmp_path / "run", Stop(), epochs=3)
    state = checkpoint.newest(tmp_path / "run")[0].state
    assert len(first.epochs) == 1 and heard == ["begin", ["accuracy", "loss", "val_accuracy", "val_loss"]]
    assert first.test["loss"] == pytest.approx(np.log(10)) and not state["model/logits/kernel"].any()
    again = run(tmp_path / "run", Stop(), epochs=3, resume=True)
    assert (again.epochs, again.test, again.model_sha256) == (first.epochs, first.test, first.model_sha256)
    after = checkpoint.newest(tmp_path / "run")[0].state
    assert len(heard) == 2 and all(np.array_equal(after[name], state[name]) for name in state)
    lines = []
    reporter = type("Lines", (Reporter,), {"line": lambda self, text: lines.append(text)})()
    config = dataclasses.replace(SMALL, epochs=2, resume=True, early_stopping=9)
    more = train_and_evaluate(config, tmp_path / "run", reporter=reporter)
    assert len(more.epochs) == 2 and more.epochs[1]["loss"] < np.log(10)
    assert "missing  Stop: the run had these callbacks before; pass them again to continue what they do" in lines


@pytest.mark.slow
def test_averaged_weights_are_what_callbacks_see_and_replace(tmp_path):
    """With --ema they are validated and saved, so the best ones that are restored are averages, too."""
    shown = []

    class Look(C.Callback):
        def on_epoch_end(self, epoch, logs=None):
            shown.append(self.model.get_weights()[0])

    stopping = C.EarlyStopping("val_loss", mode="max", patience=5, restore_best_weights=True)
    run(tmp_path / "run", Look(), stopping, ema=0.5, learning_rate=0.01)
    average, checkpointed = shown[0], checkpoint.newest(tmp_path / "run")[0].state["model/logits/kernel"]
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    # The largest loss is that of the first epoch, whose average is restored.
    assert np.array_equal(model.get_weights()[0], average) and np.array_equal(checkpointed, average)
    assert len(shown) == 2 and not np.array_equal(*shown)
