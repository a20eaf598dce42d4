"""Faults to inject into an engine, as they were found in the field, and what is said of each: by accuracy, by the gate,
by parity.

usage: python faults.py BACKEND REPLICAS STEPS BATCH FAULT…

Each fault's certificate on a few images, shortened, is a line of JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

from helpers.fork_server import QUICKLY

REPLICAS = 2
NAMES = (
    "gradients summed over the replicas, not averaged",
    "one replica's gradient dropped",
    "products of factors cut to 11 bits",
    "optimizer slot not written back",
    "labels of the last batch shifted",
    "last batch dropped",
    "sign of one bias' gradient",
    "Adam's epsilon 1e-8",
)
SUMMED, DROPPED, CUT, STALE, SHIFTED, LAST, SIGN, EPSILON = NAMES
MORE = ("probabilities doubled", "last update of a call lost")  # of no use for the table: training goes on
DOUBLED, LOST = MORE
SLOT_OF, BIAS = "hidden_2_kernel", "hidden_2_bias"


@contextlib.contextmanager
def injected(fault: str, backend: str, replicas: int = REPLICAS):
    """Whatever engine is made within the block has the fault. "" is none."""
    import keras

    from mnist_mlp.training import optimizers

    engine = importlib.import_module(f"mnist_mlp.engine.{backend}.engine")
    patches = {
        "": [],
        SUMMED: [(optimizers, "make_optimizer", lambda *_: adam(change=lambda name, g: g * replicas))],
        DROPPED: [losses_without_a_replica(engine, backend, replicas)],
        CUT: [(keras.src.ops, "matmul", cut_product(backend))],
        STALE: [(optimizers, "make_optimizer", lambda *_: adam(stale=SLOT_OF))],
        SHIFTED: [shifting_labels(engine, backend)],
        LAST: [(engine_class(engine), "train", without_ragged_batches(engine_class(engine).train))],
        SIGN: [(optimizers, "make_optimizer", lambda *_: adam(change=lambda name, g: -g if name == BIAS else g))],
        EPSILON: [(optimizers, "make_optimizer", lambda *_: adam(epsilon=1e-8))],
        DOUBLED: [(engine_class(engine), "predict", doubled(engine_class(engine).predict))],
        LOST: [(engine_class(engine), "train", without_last_update(engine_class(engine).train))],
    }
    with contextlib.ExitStack() as stack:
        for owner, name, replacement in patches[fault]:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield


def adam(change=lambda name, gradient: gradient, stale="", **options):
    """Adam with other gradients, or with a second moment that is used and not kept."""
    import keras

    class Faulty(keras.optimizers.Adam):
        def update_step(self, gradient, variable, learning_rate):
            velocity = self._velocities[self._get_variable_index(variable)]
            name = velocity.name.removesuffix("_velocity")
            before = keras.ops.add(velocity, 0.0)
            super().update_step(change(name, gradient), variable, learning_rate)
            if name == stale:
                self.assign(velocity, before)

    return Faulty(**{"learning_rate": 0.001, **options})


def losses_without_a_replica(engine, backend, replicas):
    """The first replica's examples have their loss, and no gradient."""
    if backend == "jax":
        import jax
        import jax.numpy as jnp

        from mnist_mlp.engine.jax import programs

        right = programs.cross_entropy

        def cross_entropy(labels, logits, *more):
            dropped = jnp.arange(len(labels)) < len(labels) // replicas
            return right(labels, jnp.where(dropped[:, None], jax.lax.stop_gradient(logits), logits), *more)

        return programs, "cross_entropy", cross_entropy
    import tensorflow as tf

    from mnist_mlp.engine.tensorflow import programs

    right = programs.cross_entropy

    def cross_entropy(labels, logits, *more):
        dropped = tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group, 0)
        return right(labels, tf.where(dropped, tf.stop_gradient(logits), logits), *more)

    return programs, "cross_entropy", cross_entropy


def cut_product(backend):
    """A matrix product of factors without their last 13 bits, forwards and backwards."""
    import keras

    if backend == "jax":
        import jax
        import jax.numpy as jnp

        def cut(x):
            bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0xFFFFE000)
            return jax.lax.bitcast_convert_type(bits, jnp.float32)

        @jax.custom_vjp
        def product(a, b):
            return cut(a) @ cut(b)

        product.defvjp(
            lambda a, b: (product(a, b), (a, b)),
            lambda kept, g: (cut(g) @ cut(kept[1]).T, cut(kept[0]).T @ cut(g)),
        )
        return lambda a, b: product(*map(keras.ops.convert_to_tensor, (a, b)))
    import tensorflow as tf

    def cut(x):
        bits = tf.bitwise.bitwise_and(tf.bitcast(tf.convert_to_tensor(x), tf.int32), -8192)
        return tf.bitcast(bits, tf.float32)

    @tf.custom_gradient
    def product(a, b):
        def gradient(g):
            return tf.matmul(cut(g), cut(b), transpose_b=True), tf.matmul(cut(a), cut(g), transpose_a=True)

        return tf.matmul(cut(a), cut(b)), gradient

    return lambda a, b: product(*map(keras.ops.convert_to_tensor, (a, b)))


def shifting_labels(engine, backend):
    """Each label of a batch that is not full counts one up, in training alone."""
    if backend == "jax":
        import jax.numpy as jnp

        from mnist_mlp.engine.jax import programs

        right, right_gatherer = engine.train_program, programs.batch_gatherer

        def gatherer(mesh):
            gather = right_gatherer(mesh)

            def shifted(data, batch_indices, step):
                batch, ragged = gather(data, batch_indices, step), (batch_indices[step] < 0).any()
                return batch._replace(labels=jnp.where(ragged, (batch.labels + 1) % 10, batch.labels))

            return shifted

        def train_program(*arguments, **options):
            with mock.patch.object(programs, "batch_gatherer", gatherer):
                return right(*arguments, **options)

        return engine, "train_program", train_program
    import tensorflow as tf

    from mnist_mlp.engine.tensorflow import programs

    right = programs.training_step

    def training_step(network, optimizer, replicas, recipe):
        step = right(network, optimizer, replicas, recipe)

        def shifted(data, row, batch_weight, seed):
            (images, labels), full = data, float(row.shape[0] * replicas)
            return step((images, tf.where(batch_weight < full, (labels + 1) % 10, labels)), row, batch_weight, seed)

        return shifted

    return programs, "training_step", training_step


def engine_class(engine):
    return getattr(engine, "JaxEngine", None) or engine.TensorFlowEngine


def without_ragged_batches(train):
    """As a data loader that drops the remainder."""
    import numpy as np

    from mnist_mlp.engine.base import Sums

    def train_full_ones(self, batch_indices, start=0, stop=None):
        rows = batch_indices[start : len(batch_indices) if stop is None else stop]
        full = (rows >= 0).all(1)
        sums = train(self, rows[full]) if full.any() else Sums(np.zeros(0), 0, 0)
        losses = np.zeros(len(rows))
        losses[full] = sums.losses
        return Sums(losses, sums.correct, sums.seen)

    return train_full_ones


def doubled(predict):
    """Probabilities that sum to 2."""
    return lambda self, images: 2 * predict(self, images)


def without_last_update(train):
    """What the last step of a longer call has learned is forgotten."""
    import numpy as np

    from mnist_mlp.engine.base import Sums

    def train_and_forget(self, batch_indices, start=0, stop=None):
        stop = len(batch_indices) if stop is None else stop
        if stop - start < 2:
            return train(self, batch_indices, start, stop)
        first = train(self, batch_indices, start, stop - 1)
        state = self.state()
        last = train(self, batch_indices, stop - 1, stop)
        self.restore(state)
        losses = np.concatenate([first.losses, last.losses])
        return Sums(losses, first.correct + last.correct, first.seen + last.seen)

    return train_and_forget


def one_thread() -> None:
    """Those of NumPy wait for each other and take the processor from the framework's."""
    with contextlib.suppress(ImportError):  # it comes with scikit-learn
        import threadpoolctl

        threadpoolctl.threadpool_limits(1)


def few_images():
    """A part of the embedded digits: of batches of 32, 3 are an epoch, the last of them with 13 examples."""
    from mnist_mlp import data
    from mnist_mlp.config import Config

    digits = data.load(Config(dataset="digits"))
    train, test = (data.Split(s.images[:n], s.labels[:n]) for s, n in ((digits.train, 77), (digits.test, 40)))
    return dataclasses.replace(digits, train=train, test=test)


def certificates(
    backend: str, replicas: int, steps: int, batch_size: int, faults: list[str], seed: int = 0, dataset=None
):
    """Each fault's certificate; the CPU is divided by the first. The faults are in the engine: nothing is probed."""
    from mnist_mlp.cli.terminal import SILENT
    from mnist_mlp.parity.command import Options, certify, operations

    with tempfile.TemporaryDirectory() as place, mock.patch.object(operations, "test", lambda *_: []):
        file = str(Path(place) / "certificate.json")
        for fault in faults:
            options = Options(
                strategy="cpu", backend=backend, replicas=replicas, steps=steps, batch_size=batch_size, seed=seed,
                certificate=file,
            )  # fmt: skip
            with injected(fault, backend, replicas):
                yield fault, certify(options, dataset=dataset, reporter=SILENT)


if __name__ == "__main__":
    backend, replicas, steps, batch_size, *faults = sys.argv[1:]
    os.environ |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    # A program for each fault, which runs a few steps: compiled quickly, not to run quickly.
    os.environ.setdefault("XLA_FLAGS", QUICKLY)
    one_thread()

    from mnist_mlp.cli import stderr_filter

    stderr_filter.silence()
    for fault, found in certificates(
        backend, int(replicas), int(steps), int(batch_size), faults or ["", *NAMES, *MORE], dataset=few_images()
    ):
        kept = {name: found[name] for name in ("verdict", "told", "failed_probes", "first_differences")}
        largest = max(row["share"] or 0 for row in found["quantities"])
        print(json.dumps({"fault": fault, **kept, "largest": largest}), flush=True)
