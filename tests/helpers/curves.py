"""Takes steps in a process of its own, on one backend and for several numbers of replicas, and writes what they did.

usage: python curves.py BACKEND FILE.npz JOBS [STATES.npz [INDEX]]

JOBS is JSON: [[MODEL, [REPLICAS, …], STEPS], …], or of workers [[MODEL, ["HOST:PORT", …], STEPS], …], of which this is
number INDEX. MODEL is one of `steps.smooth`, and may be followed by a kind of distortions: mlp+elastic. Then the
weights are averaged, too, the rate falls, and weights decay. Every number of replicas takes each step from the same
state: the one to which the first number came by the step before, or the one in STATES, which another process wrote.

Of MODEL and, where it stands, COUNT replicas: MODEL/before/STEP/NAME, the state before a step; MODEL/COUNT/STEP/NAME,
the state after it; …/losses, float64 [steps]; …/confusion, of all examples, int64 [10, 10], and …/weights/INDEX with
which they were scored; …/placed, on how many devices; …/apart, the largest difference between the replicas' weights;
and of the network with dropout on its first number of replicas MODEL/learned, losses of 60 steps more.
"""

import json
import os
import sys

backend, file, jobs, states, index = (*sys.argv[1:], "", "")[:5]
os.environ |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}

from helpers.fork_server import QUICKLY

if "CURVES_QUICKLY" in os.environ:
    os.environ.setdefault("XLA_FLAGS", QUICKLY)

import numpy as np

from mnist_mlp.cli import stderr_filter

stderr_filter.silence()

from keras import ops

from helpers.steps import later, smooth
from mnist_mlp.config import Config
from mnist_mlp.data import Split, load
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.devices import Plan
from mnist_mlp.devices.machine import detect
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.engine.base import Recipe
from mnist_mlp.engine.create import EngineSpec, create_engine
from mnist_mlp.training import optimizers

if backend == "jax":
    import jax

    from mnist_mlp.engine.jax.devices import attach

    jax.config.update("jax_enable_compilation_cache", not index)  # of workers the first alone would have one
else:
    from mnist_mlp.engine.tensorflow.devices import attach

EXAMPLES, BATCH = 63, 30  # 4 replicas do not divide 30; of a last batch of 3 one of them has none
jobs = json.loads(jobs)


def plan_of(replicas):
    if not index:
        return Plan(backend, "cpu", "cpu", {}, replicas=replicas)
    plan = choose(Request("multiworker", backend, workers=",".join(replicas), worker_index=int(index)), detect())
    os.environ.update(plan.environment)
    return plan


def engine_of(model, replicas, steps):
    name, _, augment = model.partition("+")
    config = Config(epochs=1)
    if augment:
        config = Config(epochs=1, augment=augment, schedule="cosine", warmup=0.1, weight_decay=0.1, ema=0.95)
    splits, recipe = {"train": split, "test": test}, Recipe(config.augment)
    make_optimizer = lambda: optimizers.from_config(config, steps + 1)  # noqa: E731 (in the last step the rate is not 0)
    spec = EngineSpec(lambda: smooth(name), splits, BATCH, make_optimizer, recipe)
    return create_engine(plan_of(replicas), spec)


real = os.environ.get("CURVES_MNIST")  # a directory with MNIST; else the embedded digits
dataset = load(Config(dataset="mnist", data_dir=real) if real else Config(dataset="digits"))
test = Split(dataset.train.images[:EXAMPLES], dataset.train.labels[:EXAMPLES])
split = dataset.train if real else test
given = dict(np.load(states)) if states else {}
found = {}


def part(arrays, begin):
    return {key.removeprefix(begin): value for key, value in arrays.items() if key.startswith(begin)}


def keep(begin, state):
    found.update({f"{begin}{name}": value for name, value in state.items()})


def take_steps(model, replicas, steps):
    begin = f"{model}/{len(replicas) if index else replicas}"
    engine = engine_of(model, replicas, steps)
    batches = np.concatenate([batch_indices(0, epoch, len(split), BATCH) for epoch in range(1 if real else steps)])
    fresh = engine.state()
    after, sums = later(fresh), []
    for step, row in enumerate(batches[:steps]):
        place = f"{model}/before/{step}/"
        before = part(found, place) or part(given, place) or after
        keep(place, before)
        engine.restore(before)
        sums.append(engine.train(row[None]))
        assert sums[-1].seen == (row >= 0).sum()
        after = engine.state()
        keep(f"{begin}/{step}/", after)
    copies = [[np.asarray(each) for each in getattr(v.value, "values", (v.value,))] for v in weights_of(engine)]
    found[f"{begin}/apart"] = max(np.abs(each - copy[0]).max() for copy in copies for each in copy)
    found[f"{begin}/losses"] = np.array([each.loss_sum / each.seen for each in sums])
    with optimizers.averaged(engine):
        found[f"{begin}/confusion"] = engine.evaluate("test").confusion
        keep(f"{begin}/weights/", {str(i): ops.convert_to_numpy(v) for i, v in enumerate(weights_of(engine))})
    found[f"{begin}/placed"] = np.array([len(engine.step_on), len(set(engine.weights_on))])
    if "dropout" in model and f"{model}/learned" not in found:
        engine.restore(fresh)
        rows = np.concatenate([batch_indices(1, epoch, len(split), BATCH)[:2] for epoch in range(30)])
        found[f"{model}/learned"] = np.concatenate([engine.train(row[None]).losses for row in rows])


def weights_of(engine):
    return engine.model.trainable_variables


if not index:  # the CPU is divided once, for the most
    attach(plan_of(max(max(job[1]) for job in jobs)), 60)
for model, counts, steps in jobs:
    for replicas in [counts] if index else counts:
        take_steps(model, replicas, steps)
np.savez(file, **found)
