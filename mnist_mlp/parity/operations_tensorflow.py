"""The operation tests on TensorFlow: one function, compiled as the engine compiles, which each replica runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mnist_mlp.engine.base import DeviceSet
from mnist_mlp.engine.tensorflow.devices import short_name
from mnist_mlp.parity.questions import DROPPED

Arrays = dict[str, Any]  # by name, perhaps in groups


def answerer(devices: DeviceSet, xla: bool) -> Callable[[Arrays], dict[int, tuple[str, Arrays]]]:
    """Return a function that returns the device, "CPU:3", and the results of each replica of this process."""
    strategy = devices.where or tf.distribute.get_strategy()

    def everywhere(asked: Arrays) -> tuple[Arrays, Arrays]:
        found = strategy.run(compute, args=(asked,))
        floats, integers = strategy.run(contributions, args=(asked["positions"], asked["shares"]))
        return found, {
            "reduced sum": strategy.reduce("SUM", floats, axis=None),
            "mean": strategy.reduce("MEAN", floats, axis=None),
            "integer sum": strategy.reduce("SUM", integers, axis=None),
        }

    compiled = xla and devices.where is None  # as in the engine
    program = tf.function(everywhere, jit_compile=compiled, autograph=False)

    def answer(asked: Arrays) -> dict[int, tuple[str, Arrays]]:
        found, reduced = program(tf.nest.map_structure(tf.constant, asked))
        replicas = strategy.experimental_local_results(found["replica"])
        parts = [strategy.experimental_local_results(value) for value in tf.nest.flatten(found)]
        answers = {}
        for replica, own in zip(replicas, zip(*parts, strict=True), strict=True):
            computed = tf.nest.pack_sequence_as(found, [value.numpy() for value in own])
            computed["all-reduce"] |= {name: value.numpy() for name, value in reduced.items()}
            answers[int(replica)] = (short_name(replica.backing_device), computed)
        return answers

    return answer


def compute(asked: Arrays) -> Arrays:
    """Return all results of one replica."""
    replica = tf.distribute.get_replica_context()
    pixels = tf.cast(asked["pixels"], tf.float32)
    return {
        "replica": tf.cast(replica.replica_id_in_sync_group, tf.float32),
        "products": products(**asked["products"]),
        "means": {name: tf.reduce_mean(tf.cast(flags, tf.float32)) for name, flags in asked["flags"].items()},
        "counts": {name: tf.reduce_sum(tf.cast(flags, tf.int32)) for name, flags in asked["flags"].items()},
        "argmax": tf.argmax(asked["ties"], -1, output_type=tf.int32),
        "extremes": softmax_and_loss(**asked["extremes"]),
        "images": tf.gather(asked["images"], asked["rows"]),
        "labels": tf.cast(tf.gather(asked["labels"], asked["rows"]), tf.int32),
        "pixels": pixels,
        "scaled": pixels * tf.constant(1 / 255),
        "bytes": tf.cast(asked["floats"], tf.uint8),
        "sums": {name: tf.reduce_sum(values) for name, values in asked["addends"].items()},
        "exp": tf.exp(asked["exponents"]),
        "log": tf.math.log(asked["positives"]),
        "all-reduce": {"sum": replica.all_reduce("SUM", contributions(asked["positions"], asked["shares"])[0])},
        "bits": random_bits(asked["seed"], asked["ones"].shape),
        "mask": keras.random.dropout(asked["ones"], DROPPED, seed=1),
    }


def products(forwards: Arrays, for_the_kernel: Arrays, for_the_input: Arrays) -> Arrays:
    """Return the products of a Dense layer: forward, for its kernel's gradient, and for its input's gradient."""
    found = {name: tf.matmul(a, b) for name, (a, b) in forwards.items()}
    found |= {name: tf.matmul(a, b, transpose_a=True) for name, (a, b) in for_the_kernel.items()}
    return found | {name: tf.matmul(a, b, transpose_b=True) for name, (a, b) in for_the_input.items()}


def softmax_and_loss(logits: tf.Tensor, labels: tf.Tensor) -> Arrays:
    """Return softmax and losses as models and engine compute them, and the derivatives with respect to the logits."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return {"softmax": tf.nn.softmax(logits), "losses": losses, "gradient": tape.gradient(losses, logits)}


def contributions(positions: tf.Tensor, shares: Arrays) -> list[tf.Tensor]:
    """Return what a replica adds, as floats and integers: its share at its own positions, 0 elsewhere."""
    replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
    mine = positions % shares["floats"].shape[0] == replica
    return [tf.where(mine, shares[kind][replica], 0) for kind in ("floats", "integers")]


def random_bits(seed: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Return uint32 from the generator that dropout uses on CPUs and GPUs; here on TPUs, too."""
    return tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg="philox")
