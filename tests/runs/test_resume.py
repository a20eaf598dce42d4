"""Runs that stop and go on, as a user has them: signals, other devices, callbacks, full disks, odd paths."""

import csv
import dataclasses
import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
from conftest import ROOT
from helpers import fork_server
from helpers.once import once

from mnist_mlp.cli import signals
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.errors import Diverged, Stopped, UserError
from mnist_mlp.runs import checkpoint, directory
from mnist_mlp.runs.saved import read_run
from mnist_mlp.train import train_and_evaluate
from mnist_mlp.training import loop
from mnist_mlp.training.session import TrainingSession

pytestmark = pytest.mark.xla(False)

# Of one hidden layer, which is traced sooner than two.
SMALL = Config(
    dataset="digits",
    model="mlp_dropout",
    units="16",
    epochs=2,
    batch_size=64,
    strategy="cpu",
    checkpoint_every="9steps",
)

SMALLEST = dataclasses.replace(SMALL, model="softmax", units=None)  # where it is not about the network


def run(config, path, **more):
    return train_and_evaluate(config, path, reporter=SILENT, **more)


def again(config, **changes):
    return dataclasses.replace(config, resume=True, **changes)


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def stop_after(monkeypatch, calls, signum=signal.SIGTERM):
    """Lets that signal come during a call of the engine, the last of so many; on a slow machine at the same step."""
    monkeypatch.setattr("mnist_mlp.engine.batching.SECONDS_PER_CALL", 1e9)
    made = []
    call = loop.Training.call

    def counted(self, order):
        made.append(1)
        if len(made) == calls:
            signal.raise_signal(signum)
        call(self, order)

    monkeypatch.setattr(loop.Training, "call", counted)


def stopped_and_resumed(config, path, monkeypatch, calls=3, **changes):
    """A run that is stopped in its first epoch, and its rest."""
    with monkeypatch.context() as patch:
        stop_after(patch, calls)
        with pytest.raises(Stopped, match="terminated after step") as caught:
            run(config, path)
    assert f"--run_dir={path} --resume" in str(caught.value) and not (path / "result.json").exists()
    return run(again(config, **changes), path)


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A run that nothing disturbs: (its directory, its result)."""
    path = once(tmp_path_factory, "straight", lambda place: run(SMALL, place / "run")) / "run"
    return path, read_run(str(path))[2]


@pytest.fixture
def first_epoch(tmp_path_factory, tmp_path):
    """A run of `SMALLEST` that is done after one epoch."""
    config = dataclasses.replace(SMALLEST, epochs=1)
    made = once(tmp_path_factory, "first-epoch", lambda place: run(config, place / "run")) / "run"
    return shutil.copytree(made, tmp_path / "run")


@pytest.mark.slow
def test_stopped_and_resumed_to_the_same_bits(straight, tmp_path, monkeypatch):
    """Also if it began with the flag: --resume in a place without a run begins one."""
    result = stopped_and_resumed(again(SMALL), tmp_path / "run", monkeypatch)
    assert result.model_sha256 == straight[1].model_sha256 and result.test == straight[1].test
    assert without_times(result.epochs) == without_times(straight[1].epochs)
    # 8 steps, 1 to the checkpoint at 9, 9 more
    assert [once["step"] for once in result.resumed] == [18] and straight[1].resumed == []
    assert result.resumed[0]["before"] == result.resumed[0]["now"] and result.resumed[0]["of"] == 46


@pytest.mark.slow
def test_a_run_that_is_done_can_be_given_more_epochs(straight, tmp_path):
    path = tmp_path / "run"
    run(dataclasses.replace(SMALL, epochs=1), path)
    result = run(again(SMALL), path)
    assert result.model_sha256 == straight[1].model_sha256 and result.test == straight[1].test
    once_more = run(again(SMALL), path)  # nothing is left to train
    assert once_more.model_sha256 == straight[1].model_sha256 and len(once_more.resumed) == 2
    assert without_times(once_more.epochs) == without_times(straight[1].epochs)


@pytest.mark.slow
def test_fit_is_resumed_at_the_end_of_an_epoch(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL, engine="fit", checkpoint_every="1")
    expected = run(config, tmp_path / "straight")
    result = stopped_and_resumed(config, tmp_path / "run", monkeypatch, calls=1)
    assert result.model_sha256 == expected.model_sha256 and [once["step"] for once in result.resumed] == [23]
    assert without_times(result.epochs) == without_times(expected.epochs)


def go_on(path, backend, *flags):
    """Resume the run as a user does; its standard output, and its result."""
    flags = [f"--run_dir={path}", "--resume", "--strategy=cpu", f"--backend={backend}", *flags]
    done = fork_server.run("train", *flags, backend=backend)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((path / "result.json").read_text())


@pytest.mark.full  # what is said test_variables.py holds, the steps of several replicas test_replicas.py
def test_on_more_replicas_the_result_says_so(tmp_path):
    expected = run(dataclasses.replace(SMALL, model="mlp", checkpoint_every="1"), tmp_path / "straight")
    shutil.copytree(tmp_path / "straight", tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "step-000000046.npz").unlink()
    said, result = go_on(tmp_path / "run", "tensorflow", "--replicas=2", "--epochs=2")
    assert "now on replicas 2 (before: 1)" in said
    assert result["epochs"][1]["loss"] == pytest.approx(expected.epochs[1]["loss"], rel=1e-4)


@pytest.mark.full  # see test_jax_goes_on_where_tensorflow_stopped
def test_on_the_other_backend_it_goes_on_to_the_same_numbers(tmp_path):
    def losses(result):
        return [row["loss"] for row in result["epochs"]] + [result["test"]["loss"]]

    flags = ["--dataset=digits", "--model=mlp", "--optimizer=adam", "--batch_size=64", "--epochs=2"]
    straight = {}
    for first, then in (("tensorflow", "jax"), ("jax", "tensorflow")):
        path = tmp_path / first
        said, straight[first] = go_on(path, first, *flags)
        assert "now on backend" not in said and straight[first]["resumed"] == []
        crossed = shutil.copytree(path, tmp_path / f"{first}-{then}")
        (crossed / "checkpoints" / "step-000000046.npz").unlink()
    for first, then in (("tensorflow", "jax"), ("jax", "tensorflow")):
        said, result = go_on(tmp_path / f"{first}-{then}", then)
        assert "now on backend" in said
        assert [(once["step"], once["before"]["backend"]) for once in result["resumed"]] == [(23, first)]
        assert losses(result)[0] == losses(straight[first])[0]
        np.testing.assert_allclose(losses(result), losses(straight[first]), rtol=1e-3)


@pytest.mark.slow
def test_other_images_are_refused(first_epoch, digits):
    before = {file: file.read_bytes() for file in first_epoch.rglob("*") if file.is_file()}
    turned = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=digits.train.labels[::-1]))
    with pytest.raises(UserError, match="received digits whose training images differ; use --data_dir=DIR"):
        run(again(SMALLEST, csv=True), first_epoch, dataset=turned)
    assert before == {file: file.read_bytes() for file in first_epoch.rglob("*") if file.is_file()}


# ---- signals ----


BOTH = [  # backend, signal
    ("tensorflow", signal.SIGINT),
    ("jax", signal.SIGTERM),
    pytest.param("tensorflow", signal.SIGTERM, marks=pytest.mark.full),
    pytest.param("jax", signal.SIGINT, marks=pytest.mark.full),
]


@pytest.mark.slow
@pytest.mark.parametrize("backend, signum", BOTH)
def test_a_signal_stops_in_good_order_and_says_how_to_go_on(backend, signum, tmp_path):
    path = tmp_path / "a run"
    flags = ["--dataset=digits", "--model=softmax", "--epochs=100000", f"--backend={backend}", "--strategy=cpu"]
    flags.append(f"--run_dir={path}")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = fork_server.start("train", *flags, backend=backend, **pipes)
    while not process.stdout.readline().startswith("epoch"):
        assert process.poll() is None
    process.send_signal(signum)
    process.send_signal(signum)  # at once once more, as `timeout` does: the same request
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    word = "interrupted" if signum == signal.SIGINT else "terminated"
    assert said.startswith(f"{word} after step ") and said.count("\n") == 1
    found, _, _ = checkpoint.newest(path)
    assert f"after step {found.total_steps:,} of 4,500,000; resume with: " in said
    python, *module, one, other = shlex.split(said.partition("resume with: ")[2])
    assert python in ("python", sys.executable) and module == ["-m", "mnist_mlp.train"]
    more = f"--epochs={found.progress.epoch + 1}"
    done = fork_server.run("train", one, other, more, backend=backend)
    assert done.returncode == 0 and f"resumed  at {found.total_steps:,} of " in done.stdout, done.stderr


@pytest.mark.slow
def test_a_second_signal_stops_at_once_and_what_was_saved_stays(tmp_path):
    code = """
import os, signal, sys, threading, time
from mnist_mlp.cli import stderr_filter; stderr_filter.silence()
from mnist_mlp.cli import program; from mnist_mlp import train; from mnist_mlp.training import loop
call = loop.Training.call
def slow(self, order):  # as on a slow device; two signals meanwhile
    if self.done == 18:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        threading.Timer(0.9, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(30)
    call(self, order)
loop.Training.call = slow
program.run(train.main)
"""
    flags = ["--dataset=digits", "--batch_size=64", "--checkpoint_every=9steps", f"--run_dir={tmp_path / 'run'}"]
    done = fork_server.run_code(code, *flags, "--model=softmax", backend="tensorflow")
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("interrupted; resume with: ") and done.stderr.count("\n") == 1
    assert checkpoint.newest(tmp_path / "run")[0].total_steps == 18


def test_a_first_signal_is_noted_and_a_later_one_is_passed_on(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    with signals.requests() as request:
        assert not request
        signal.raise_signal(signal.SIGINT)
        now += signals.AGAIN - 0.01
        signal.raise_signal(signal.SIGINT)
        assert request and request.word == "interrupted"
        now += 0.02
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_a_terminal_that_is_closed_loses_nothing(tmp_path):
    path = tmp_path / "run"
    code = """
import fcntl, runpy, signal, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("mnist_mlp.train", run_name="__main__", alter_sys=True)
"""
    flags = ["--dataset=digits", "--epochs=100000", "--checkpoint_every=0", "--strategy=cpu", f"--run_dir={path}"]
    terminal, theirs = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    process = fork_server.start_code(code, *flags, backend="tensorflow", start_new_session=True, **streams)
    os.close(theirs)
    said = b""
    while b"epoch  " not in said:
        said += os.read(terminal, 10_000)
    os.close(terminal)  # SIGHUP, and no line can be written from now on
    assert process.wait(60) == 75
    assert checkpoint.newest(path)[0].total_steps > 0  # on a slow machine before an epoch is over


def test_signals_wait_where_something_must_not_be_left_half_done():
    reached = []
    with pytest.raises(KeyboardInterrupt), signals.defer_signals():
        os.kill(os.getpid(), signal.SIGINT)  # any thread may take it
        time.sleep(0.1)
        reached.append(1)
    assert reached


@pytest.mark.slow
def test_callbacks_are_told_of_the_epoch_that_is_gone_on_with_and_change_nothing_twice(tmp_path, monkeypatch):
    class Halve(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.optimizer.learning_rate = 0.01

        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) / 2
            self.began = epoch

        def on_epoch_end(self, epoch, logs=None):
            assert self.began == epoch

    expected = run(SMALLEST, tmp_path / "straight", callbacks=[Halve()])
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped, match="resume with: train_and_evaluate, with resume=True and the same callbacks"):
            run(SMALLEST, tmp_path / "run", callbacks=[Halve()])
    result = run(again(SMALLEST), tmp_path / "run", callbacks=[Halve()])
    assert result.model_sha256 == expected.model_sha256


@pytest.mark.slow
def test_a_signal_while_the_test_images_are_scored_loses_nothing_either(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "evaluate_and_save", interrupted)
        with pytest.raises(Stopped, match="^stopped; resume with: "):
            run(SMALLEST, tmp_path / "run")
    assert run(again(SMALLEST), tmp_path / "run").resumed[0]["step"] == 46


@pytest.mark.slow
def test_in_a_thread_a_run_hears_no_signals_and_needs_none(tmp_path):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(run(dataclasses.replace(SMALLEST, epochs=1), tmp_path / "run"))
    )
    thread.start()
    thread.join(300)
    assert found[0].test["total"] == 360


# ---- numbers that are no longer finite ----


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["compiled", "fit"])
def test_a_run_that_diverges_is_stopped(engine, tmp_path):
    config = dataclasses.replace(SMALL, model="mlp", learning_rate=1e30, engine=engine, checkpoint_every="0")
    with pytest.raises(Diverged) as caught:
        run(config, tmp_path / "run")
    said = str(caught.value)
    assert caught.value.exit_code == 3 and "(epoch 1, --learning_rate=1e+30): the loss is " in said
    assert "diverged between steps " + ("0 and 23 " if engine == "fit" else "1 and 2 ") in said
    assert "there is no checkpoint, nothing was kept" in said and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_last_good_checkpoint_is_named(tmp_path):
    class Explode(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                # Of the last layer: where a processor's maximum drops nan, the ReLU of an earlier one would hide it.
                kernel = self.model.get_layer("logits").kernel
                kernel.assign(np.where(np.arange(10) == 5, np.nan, np.array(kernel)))

    with pytest.raises(Diverged) as caught:
        run(dataclasses.replace(SMALL, checkpoint_every="1"), tmp_path / "run", callbacks=[Explode()])
    said = str(caught.value)
    assert "between steps 23 and 24 (epoch 2, --learning_rate=0.001): the loss is nan" in said
    assert said.endswith(f"the last good checkpoint is {tmp_path}/run/checkpoints/step-000000023.npz")
    assert checkpoint.newest(tmp_path / "run")[0].total_steps == 23


@pytest.mark.slow
def test_weights_that_a_callback_broke_are_not_saved(tmp_path):
    class Break(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                kernel = self.model.get_layer("hidden_1").kernel
                kernel.assign(np.full((784, 16), np.nan))

    with pytest.raises(Diverged, match=r"the weights hidden_1/kernel .* the last good .*/step-000000023\.npz"):
        run(dataclasses.replace(SMALL, checkpoint_every="1"), tmp_path / "run", callbacks=[Break()])


@pytest.mark.slow
def test_weights_are_looked_at_too(tmp_path, monkeypatch):
    """An infinite weight behind a ReLU that is shut does not show in the loss."""
    from mnist_mlp.engine.tensorflow.engine import TensorFlowEngine

    train = TensorFlowEngine.train

    def break_one(self, order, start=0, stop=None):
        sums = train(self, order, start, stop)
        if start == 9:
            bias = self.model.get_layer("hidden_1").bias
            bias.assign(np.where(np.arange(16) == 5, -np.inf, np.array(bias)))
        return sums

    monkeypatch.setattr(TensorFlowEngine, "train", break_one)
    with pytest.raises(Diverged, match=r"between steps 9 and 18 .* the weights hidden_1/bias are no longer finite"):
        run(SMALL, tmp_path / "run")
    assert checkpoint.newest(tmp_path / "run")[0].total_steps == 9


# ---- callbacks ----


@pytest.mark.slow
def test_early_stopping_stops_and_a_resumed_run_at_the_same_epoch(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL, model="mlp_zeros", epochs=9, early_stopping=2, csv=True, learning_rate=1e-30)
    expected = run(config, tmp_path / "straight")
    assert len(expected.epochs) == 3  # no epoch is better than the first; two of patience
    result = stopped_and_resumed(config, tmp_path / "run", monkeypatch, calls=8)
    assert result.resumed and without_times(result.epochs) == without_times(expected.epochs)
    assert (tmp_path / "run" / "history.csv").read_text() == (tmp_path / "straight" / "history.csv").read_text()
    assert len(run(again(config, early_stopping=3), tmp_path / "run").epochs) == 4
    with open(tmp_path / "run" / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"] and float(rows[0]["loss"]) == expected.epochs[0][
        "loss"
    ]


@pytest.mark.slow
def test_early_stopping_looks_at_the_validation_images(tmp_path):
    config = dataclasses.replace(SMALL, epochs=30, early_stopping=1, validation_fraction=0.2, learning_rate=0.01)
    result = run(config, tmp_path / "run")
    losses = [row["validation_loss"] for row in result.epochs]
    assert len(losses) < 30 and losses[-1] >= min(losses[:-1])
    assert all(later < earlier for earlier, later in zip(losses[:-2], losses[1:-1], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.full)])  # test_callbacks.py
def test_callbacks_of_your_own_reach_the_device(backend, tmp_path):
    """A schedule that stops learning after an epoch; what a callback sees, and what it assigns."""
    code = f"""
from mnist_mlp.cli import stderr_filter as chatter; chatter.silence()
import json, pathlib, sys
from mnist_mlp.config import Config
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.train import train_and_evaluate
import os; os.environ["KERAS_BACKEND"] = {backend!r}
import keras
seen = []
class Watch(keras.callbacks.Callback):
    def on_train_begin(self, logs=None): seen.append(["begin", self.params["epochs"]])
    def on_epoch_end(self, epoch, logs=None):
        seen.append([epoch, sorted(logs), float(self.model.optimizer.learning_rate)])
    def on_train_end(self, logs=None): seen.append(["end"])
schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate if epoch == 0 else 0.0)
config = Config(dataset="digits", epochs=3, batch_size=64, strategy="cpu", backend={backend!r})
result = train_and_evaluate(config, pathlib.Path(sys.argv[1]), callbacks=[schedule, Watch()], reporter=SILENT)
print(json.dumps([seen, [row["loss"] for row in result.epochs]]))
"""
    done = fork_server.run_code(code, tmp_path / "run", backend=backend)
    seen, losses = json.loads(done.stdout)
    names = ["accuracy", "learning_rate", "loss"]
    assert seen[0] == ["begin", 3] and seen[-1] == ["end"]
    assert [row[:2] for row in seen[1:-1]] == [[epoch, names] for epoch in range(3)]
    assert [row[2] for row in seen[1:-1]] == [pytest.approx(0.001), 0, 0]
    assert losses[0] > losses[1] == pytest.approx(losses[2], rel=1e-6)  # the same weights in another order


@pytest.mark.parametrize("flag, name", [("csv", "history.csv"), ("tensorboard", "tensorboard")])
def test_what_is_in_the_way_of_a_callback(flag, name, tmp_path):
    from mnist_mlp.training.callbacks import of_flags

    (tmp_path / "tensorboard").touch()
    os.mkfifo(tmp_path / "history.csv")
    with pytest.raises(UserError, match=f"--{flag}: {tmp_path}/{name} exists and is of the wrong kind"):
        of_flags(Config(**{flag: True}), tmp_path)


# ---- a disk that is full, a directory that is read-only ----


def limited(size, *flags):
    """A run where no file may be larger than that: it stands for a full disk."""
    code = (
        "import resource, signal, sys, runpy; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
        "runpy.run_module('mnist_mlp.train', run_name='__main__', alter_sys=True)"
    )
    return fork_server.run_code(code, *flags, backend="tensorflow")


@pytest.mark.slow
def test_a_disk_that_fills_up_loses_no_checkpoint(first_epoch):
    path = first_epoch
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "config.json"}
    done = limited(50_000, f"--run_dir={path}", "--resume", "--epochs=2")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "step-000000027.npz could not be written: File too large; free space" in done.stderr
    assert before == {file: file.read_bytes() for file in before}
    assert run(again(SMALLEST), path).epochs[1]["epoch"] == 2


@pytest.mark.slow
def test_a_directory_that_becomes_read_only(first_epoch, monkeypatch):
    path = first_epoch
    if os.geteuid() == 0:  # whom no permission stops: a file system that is read-only does

        def refuse(*arguments, **more):
            raise OSError(30, "Read-only file system", str(path))

        monkeypatch.setattr(os, "open", refuse)
    else:
        path.chmod(0o500)
    with pytest.raises(UserError, match="cannot use this directory: (Read-only|Permission)"):
        run(again(SMALLEST), path)


# ---- paths ----


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "-leading-dash, spaces and Zahlen-数字",
        pytest.param("a/b/../c", marks=pytest.mark.full),
        pytest.param("link/run", marks=pytest.mark.full),
    ],
)
def test_odd_paths(name, tmp_path, monkeypatch):
    """Relative ones, with a umask that leaves nothing to others."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o077)
    try:
        config = dataclasses.replace(SMALLEST, epochs=1)
        path = directory.Path(name)
        run(config, path)
        assert len(run(again(config, epochs=2), path).epochs) == 2
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o077 for p in path.rglob("*")} == {0}
    how = directory.Run(path, config).how_to_resume
    assert shlex.split(how)[-2:] == [f"--run_dir={path}", "--resume"]


def test_the_command_to_go_on_is_the_one_that_was_typed(monkeypatch):
    monkeypatch.setenv("MNIST_MLP_TRAIN", "scripts/train")
    assert directory.Run(directory.Path("a b"), Config()).how_to_resume == "scripts/train '--run_dir=a b' --resume"
    assert "MNIST_MLP_TRAIN" in (ROOT / "scripts" / "train").read_text()
