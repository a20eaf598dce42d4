"""Kills runs with SIGKILL at seeded random moments, resumes them to the end, and compares every bit of what they leave.

usage: python kills.py BACKEND MODEL MOMENTS SEED DIRECTORY

A moment is a number of function calls (Python's and C's) since the start of the run or, three times in four, within
its training; so writing, syncing and renaming are hit as well as what is between, and a failure can be had again.
Frameworks are imported once: each run is a fork of this process. Prints a line for each moment; exit code 1 if a run
ended otherwise.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

backend, model, moments, seed, directory = sys.argv[1:]
os.environ |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
os.environ.setdefault("TF_XLA_FLAGS", f"--tf_xla_persistent_cache_directory={directory}")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

from mnist_mlp.cli import stderr_filter
from mnist_mlp.cli.terminal import SILENT

stderr_filter.silence()

import keras

from mnist_mlp import train
from mnist_mlp.config import Config
from mnist_mlp.data import load
from mnist_mlp.files import atomic
from mnist_mlp.runs import checkpoint
from mnist_mlp.training import loop

if backend == "jax":
    import jax

    from mnist_mlp.engine.jax import engine  # noqa: F401

    jax.config.update("jax_compilation_cache_dir", f"{directory}/cache")  # JAX may be killed while it writes there
else:
    from mnist_mlp.engine.tensorflow import engine  # noqa: F401

CONFIG = Config(
    dataset="digits",
    model=model,
    backend=backend,
    strategy="cpu",
    batch_size=128,
    epochs=2,
    checkpoint_every="4steps",
    validation_fraction=0.1,
    early_stopping=3,
    csv=True,
    keep=2,
    resume=True,
)
DATA = load(CONFIG)
OF_THE_PROCESS = ("seconds", "peak_memory_mb", "resumed")  # what a run that was killed need not have in common


def callbacks():
    """Callbacks with a memory: a rate that falls after each epoch, and at the end the weights of the first one."""
    falling = keras.callbacks.ReduceLROnPlateau("accuracy", factor=0.5, patience=1, min_delta=1)
    first = keras.callbacks.EarlyStopping("val_loss", mode="max", patience=9, restore_best_weights=True)
    return [falling, first]


def in_fork(run_dir, since="", moment=0):
    """Runs to the end or to that call since "start" or "training"; its exit code, and where it was killed or, counted
    since the start, how many calls it made, and how many of them in its training."""
    note = Path(f"{run_dir}.note")
    note.write_text("")
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, note.read_text()
    calls = in_training = 0
    run_training = loop.Training.run

    def count(frame, event, argument):
        nonlocal calls
        if event.endswith("call"):
            calls += 1
            if calls == moment:
                name = argument.__name__ if event == "c_call" else frame.f_code.co_name
                note.write_text(f"{name} in {Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(self):
        nonlocal in_training
        before = calls
        if since:
            sys.setprofile(count)
        run_training(self)
        in_training = calls - before

    try:
        if since == "start":
            sys.setprofile(count)
        loop.Training.run = counted
        train.train_and_evaluate(CONFIG, run_dir, dataset=DATA, reporter=SILENT, callbacks=callbacks())
        sys.setprofile(None)
        note.write_text(f"{calls} {in_training}")
        os._exit(0)
    except BaseException:
        sys.setprofile(None)
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def left(run_dir):
    """All that a run leaves, but for times: {name: bytes or value}."""
    newest, _, damaged = checkpoint.newest(run_dir)
    result = atomic.read_json(run_dir / "result.json")
    history = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    for rows in (history, result["epochs"], newest.progress.history):
        for row in rows:
            del row["seconds"]
    found = {name: (value.dtype.str, value.shape, value.tobytes()) for name, value in newest.state.items()}
    found |= {key: value for key, value in result.items() if key not in OF_THE_PROCESS}
    found |= {"history": history, "history of the checkpoint": newest.progress.history, "damaged": damaged}
    found["csv"] = (run_dir / "history.csv").read_bytes()
    found["files"] = sorted(str(path.relative_to(run_dir)) for path in run_dir.rglob("*"))
    return found


def try_moments(numbers, calls, expected):
    """Kills at these moments; whether every run came to what was expected."""
    good = True
    for number in numbers:
        rng = random.Random(f"{seed} {number}")
        run_dir = Path(directory, f"run-{number}")
        said, code = [], -signal.SIGKILL
        while code and (not said or rng.random() < 0.3):  # some are killed again when they have gone on
            since = rng.choice(["start", "training", "training", "training"])
            moment = rng.randrange(1, calls[since])
            code, where = in_fork(run_dir, since, moment)
            said.append(f"killed at {where}" if code == -signal.SIGKILL else f"ended with {code} before that")
        bugs = [words for words in said if words.startswith("ended with") and not words.startswith("ended with 0")]
        code, _ = in_fork(run_dir)
        got = left(run_dir) if code == 0 else {}
        other = [key for key in expected if key not in got or got[key] != expected[key]]
        at = [once["step"] for once in json.loads((run_dir / "result.json").read_text())["resumed"]] if not code else []
        verdict = f"DIFFERS in {', '.join(other)}" if other else "identical"
        print(f"{backend} {model} {number}: {'; '.join(said)}; resumed at {at}: {verdict}", flush=True)
        good = good and not other and not code and not bugs
        shutil.rmtree(run_dir)
    return good


def main():
    began = time.perf_counter()
    defer_signals = Path(directory, "defer_signals")
    _, made = in_fork(defer_signals, "start")
    calls = dict(zip(("start", "training"), map(int, made.split()), strict=True))
    expected = left(defer_signals)
    told = " or ".join(f"{number:,} since the {since}" for since, number in calls.items())
    print(f"{backend} {model}: {told}; {len(expected)} things to compare", flush=True)
    workers = []
    for part in range(2):  # at a time
        workers.append(os.fork())
        if not workers[-1]:
            os._exit(0 if try_moments(range(int(moments))[part::2], calls, expected) else 1)
    codes = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
    print(f"{backend} {model}: {moments} moments in {time.perf_counter() - began:.0f} s", flush=True)
    sys.stdout.flush()
    os._exit(max(abs(code) for code in codes))


main()
