"""Trains in a process of its own, on one backend and for several numbers of replicas, and writes what came of it.

usage: python curves.py BACKEND FILE.npz MODEL EXAMPLES BATCH STEPS SEED REPLICAS,REPLICAS,…
       python curves.py … workers=HOST:PORT,HOST:PORT INDEX

MODEL may be followed by a kind of distortions: mlp+elastic. Then the weights are averaged, too, the rate falls, and
weights decay.
For each number of replicas: losses, float64 [steps], confusion on all examples, int64 [10, 10], and the whole state.
"""

import os
import sys

backend, file, model, examples, batch, steps, seed, replicas, *index = sys.argv[1:]
model, _, augment = model.partition("+")
os.environ |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}

import numpy as np  # noqa: E402 (after the environment)

from mnist_mlp import chatter  # noqa: E402

chatter.silence()

from mnist_mlp import models, optimizers  # noqa: E402
from mnist_mlp.config import Config  # noqa: E402
from mnist_mlp.data import Split, batch_order, load  # noqa: E402
from mnist_mlp.devices import Plan, Request, choose  # noqa: E402
from mnist_mlp.engine import Recipe  # noqa: E402
from mnist_mlp.engine.start import start  # noqa: E402
from mnist_mlp.machine import detect  # noqa: E402

if index:
    addresses = replicas.removeprefix("workers=")
    plan = choose(Request("multiworker", backend, workers=addresses, worker_index=int(index[0])), detect())
    os.environ |= plan.environment
    plans = {len(plan.workers): plan}
else:  # the CPU is divided once, for the most
    counts = sorted(map(int, replicas.split(",")), reverse=True)
    plans = {count: Plan(backend, "cpu", "cpu", {}, replicas=count) for count in counts}

real = os.environ.get("CURVES_MNIST")  # a directory with MNIST; else the embedded digits
dataset = load(Config(dataset="mnist", data_dir=real) if real else Config(dataset="digits"))
split = Split(dataset.train.images[: int(examples)], dataset.train.labels[: int(examples)])
epochs = range(-(-int(steps) * int(batch) // len(split)) + 1)
order = np.concatenate([batch_order(int(seed), epoch, len(split), int(batch)) for epoch in epochs])[: int(steps)]

config = Config(epochs=1)
if augment:
    config = Config(epochs=1, augment=augment, schedule="cosine", warmup=0.1, weight_decay=0.1, ema=0.95)

found = {}
for count, plan in plans.items():
    engine = start(
        plan,
        "compiled",
        lambda: models.build(model, seed=int(seed)),
        lambda: optimizers.of_config(config, int(steps)),
        {"train": split, "test": split},
        int(batch),
        Recipe(config.augment, seed=int(seed)),
    )
    sums = [engine.train(row[None]) for row in order]
    found[f"{count}/losses"] = [s.loss_sum / s.seen for s in sums]
    found[f"{count}/seen"] = [s.seen for s in sums]
    with optimizers.averaged(engine):
        found[f"{count}/confusion"] = engine.evaluate("test").confusion
    found[f"{count}/placed"] = np.array([len(engine.step_on), len(set(engine.weights_on))])
    weights = [variable.value for variable in engine.model.trainable_variables]
    copies = [[np.asarray(part) for part in getattr(weight, "values", (weight,))] for weight in weights]
    found[f"{count}/apart"] = max(np.abs(part - parts[0]).max() for parts in copies for part in parts)
    found |= {f"{count}/state/{name}": value for name, value in engine.state().items()}
np.savez(file, **found)
