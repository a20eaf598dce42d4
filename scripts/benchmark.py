#!/usr/bin/env python3
"""Measures this project against the lecture's own program, or its two backends, alternately, in one run.

usage: scripts/benchmark.py [--against plain|jax] [--runs N] [--epochs E] [--preset default|lecture] [--data_dir DIR]

Both train the 109,386-parameter network at batch 32 and score it on the test images, each as a process of its own.
"plain" is the lecture's program (Model.fit, data in NumPy arrays, progress off): on raw pixels as on the slide with
--preset lecture, else on x / 255.0 as it is usually written. "jax" is ours on that backend. Without MNIST in
--data_dir (default: $MNIST_DATA_DIR) both get random images of MNIST's shape.
Printed: the median, minimum and maximum of n runs, and the ratios pair by pair. `epoch` is a steady one: the
median of a run's epochs after the first, which compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PLAIN = """
import json, resource, sys, time
import keras
import numpy as np

with np.load(sys.argv[1]) as data:
    x_train, y_train, x_test, y_test = (data[k] for k in ("x_train", "y_train", "x_test", "y_test"))
if sys.argv[3] == "default":
    x_train, x_test = x_train / 255.0, x_test / 255.0
model = keras.Sequential([
    keras.layers.Input((28, 28)),
    keras.layers.Flatten(),
    keras.layers.Dense(128, activation="relu"),
    keras.layers.Dense(64, activation="relu"),
    keras.layers.Dense(10, activation="softmax"),
])
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

class Clock(keras.callbacks.Callback):
    seconds = []
    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.began)

model.fit(x_train, y_train, epochs=int(sys.argv[2]), batch_size=32, verbose=0, callbacks=[Clock()])
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
print(json.dumps({"epochs": Clock.seconds, "accuracy": accuracy, "memory": memory}))
"""

OURS = """
import dataclasses, json, sys
from pathlib import Path
import numpy as np
from mnist_mlp.config import PRESETS
from mnist_mlp.data import Dataset, Split
from mnist_mlp.train import train_and_evaluate

with np.load(sys.argv[1]) as data:
    dataset = Dataset("random", sys.argv[1], Split(data["x_train"], data["y_train"]),
                      Split(data["x_test"], data["y_test"]), (), False)
config = dataclasses.replace(PRESETS[sys.argv[3]], strategy="cpu", backend=sys.argv[5], epochs=int(sys.argv[2]))
result = train_and_evaluate(config, Path(sys.argv[4]), dataset=dataset, say=lambda text: None)
print(json.dumps(result.to_dict()))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--against", default="plain", choices=("plain", "jax"), help="what ours on TensorFlow is held to"
    )
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--preset", default="default", choices=("default", "lecture"))
    parser.add_argument("--data_dir", default=os.environ.get("MNIST_DATA_DIR", ""), help="directory with MNIST")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        npz, name = make_npz(arguments.data_dir, Path(scratch))
        found: dict[str, list[dict[str, float]]] = {"ours": [], arguments.against: []}
        for run in range(arguments.runs):
            # Alternately, and in turn the first, so that a drift of the machine falls on both.
            for program in sorted(found, reverse=bool(run % 2)):
                command = commands(npz, arguments, Path(scratch) / f"run-{run}")[program]
                found[program].append(measure(command))
                if sys.stderr.isatty():
                    print(
                        f"{program} {run + 1}/{arguments.runs}: {found[program][-1]['process']:.1f} s", file=sys.stderr
                    )
    print(table(found, name, arguments))


def make_npz(data_dir: str, scratch: Path) -> tuple[Path, str]:
    """mnist.npz for the plain program, of real MNIST or of random images; and what it holds."""
    path = scratch / "mnist.npz"
    if data_dir:
        from mnist_mlp.config import Config
        from mnist_mlp.data import load

        data = load(Config(dataset="mnist", data_dir=data_dir))
        arrays = (data.train.images, data.train.labels, data.test.images, data.test.labels)
    else:
        rng = np.random.default_rng(0)
        draw = lambda *shape, high: rng.integers(0, high, shape, dtype=np.uint8)  # noqa: E731
        arrays = (
            draw(60000, 28, 28, high=256),
            draw(60000, high=10),
            draw(10000, 28, 28, high=256),
            draw(10000, high=10),
        )
    np.savez(path, **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=True)))
    return path, "MNIST" if data_dir else "random images of MNIST's shape"


def commands(npz: Path, arguments: argparse.Namespace, run_dir: Path) -> dict[str, list[str]]:
    """The two programs as command lines. Ours is the program that users type where MNIST is there."""
    epochs = str(arguments.epochs)
    preset = arguments.preset
    programs = {"plain": [sys.executable, "-c", PLAIN, str(npz), epochs, preset]}
    for program, backend in (("ours", "tensorflow"), ("jax", "jax")):
        place = f"{run_dir}-{backend}"
        ours = [sys.executable, "-m", "mnist_mlp.train", f"--preset={preset}", "--strategy=cpu", f"--backend={backend}"]
        ours += ["--dataset=mnist", f"--data_dir={npz.parent}", f"--epochs={epochs}", f"--run_dir={place}", "--json"]
        if not arguments.data_dir:
            ours = [sys.executable, "-c", OURS, str(npz), epochs, preset, place, backend]
        programs[program] = ours
    return programs


def measure(command: list[str]) -> dict[str, float]:
    """Runs a program and reads what it printed last: seconds of the process and of an epoch, memory, accuracy."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}  # ours sets it anew
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    process = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    said = json.loads(done.stdout.splitlines()[-1])
    if "test" in said:  # our result.json
        epochs = [row["seconds"] for row in said["epochs"]]
        return {
            "process": process,
            "epoch": statistics.median(epochs[1:] or epochs),
            "memory": said["peak_memory_mb"],
            "accuracy": said["test"]["accuracy"],
            **{part: said["seconds"][part] for part in ("import", "load", "compile", "train", "evaluate")},
        }
    epochs = said["epochs"]
    return {
        "process": process,
        "epoch": statistics.median(epochs[1:] or epochs),
        "memory": said["memory"],
        "accuracy": said["accuracy"],
    }


def table(found: dict[str, list[dict[str, float]]], name: str, arguments: argparse.Namespace) -> str:
    """The figures as Markdown."""
    other = arguments.against
    lines = [
        f"{name}, preset {arguments.preset}, batch 32, {arguments.epochs} epochs, CPU, "
        f"n = {arguments.runs} pairs of processes",
        "",
        f"| figure | ours: median (min–max) | {other}: median (min–max) | {other} / ours, pair by pair |",
        "|---|---|---|---|",
    ]
    for figure, unit, scale in (
        ("process", "s", 1),
        ("epoch", "s", 1),
        ("memory", "MB", 1),
        ("accuracy", "%", 100),
    ):
        ours, plain = ([scale * run[figure] for run in found[program]] for program in ("ours", other))
        ratio = "–" if unit == "%" else spread([p / o for o, p in zip(ours, plain, strict=True)], "")
        lines.append(f"| {figure} | {spread(ours, unit)} | {spread(plain, unit)} | {ratio} |")
    parts = ", ".join(
        f"{part} {statistics.median(run[part] for run in found['ours']):.2f}"
        for part in ("import", "load", "compile", "train", "evaluate")
    )
    return "\n".join([*lines, "", f"ours in parts, median seconds: {parts}"])


def spread(values: list[float], unit: str) -> str:
    """Median (min–max)."""
    digits = 0 if unit == "MB" else 2
    low, middle, high = (f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    return f"{middle} {unit} ({low}–{high})".replace("  ", " ")


if __name__ == "__main__":
    main()
