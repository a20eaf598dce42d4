"""What the TensorFlow engine compiles: a loop over the steps of an order, and the steps of training and evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import tensorflow as tf

from mnist_mlp.engine.augmentation import distort


def one_program(xla: bool, strategy: tf.distribute.Strategy | None, step: Callable, shape: tuple = ()) -> Callable:
    """The steps `start` to `stop` of an order, compiled, as a function of (images, labels, order, start, stop, seed).

    It gives the loss sum of each step, float32 [steps], the sum of what else the steps give (int32 of that shape), and
    the last loss sum as each replica had it. A call may run any part of the order without compiling again.
    """
    share_out = share_over(strategy)

    def program(images, labels, order, start, stop, seed):
        def body(i, losses, found, _):
            (loss_sum, more), last = share_out(step, images, labels, order[i], seed)
            return i + 1, losses.write(i, loss_sum), found + more, last

        # The losses leave step by step: their sum must not depend on how an epoch was cut into calls.
        losses = tf.TensorArray(tf.float32, size=order.shape[0], element_shape=())
        none_yet = tf.zeros(()) if strategy is None else strategy.run(lambda: tf.zeros(()))
        carry = (start, losses, tf.zeros(shape, tf.int32), none_yet)
        _, losses, found, last = tf.while_loop(lambda i, *_: i < stop, body, carry)
        # What leaves a loop is said to be on the CPU; one more operation of each replica is where the replica is.
        last = last + 0.0 if strategy is None else strategy.run(lambda x: x + 0.0, args=(last,))
        return losses.stack(), found, last

    # A partial of it: TensorFlow counts how often the same code is traced, and warns where there are several engines.
    compiled = tf.function(partial(program), jit_compile=xla, autograph=False)
    return lambda images, labels, order, start, stop, seed: compiled(
        images, labels, tf.constant(order), tf.constant(start), tf.constant(stop), tf.constant(seed, tf.uint32)
    )


def share_over(strategy: tf.distribute.Strategy | None) -> Callable:
    """A function that runs a step on a row of the order, int32 [batch]: each replica takes its share of the examples.

    It gives what the step gives, summed over the replicas, and the loss sum as each replica has it.
    """

    def on_one(step, images, labels, row, seed):
        found = step(images, labels, row, weight_of(row), seed)
        return found, found[0]

    def on_replicas(step, images, labels, row, seed):
        def on_each(images, labels):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = tf.reshape(row, (strategy.num_replicas_in_sync, -1))[replica]
            return step(images, labels, mine, weight_of(row), seed)

        found = strategy.run(on_each, args=(images, labels))
        return [strategy.reduce("SUM", value, axis=None) for value in found], found[0]

    return on_one if strategy is None else on_replicas


def weight_of(row):
    """How many examples a step has in all."""
    return tf.reduce_sum(tf.cast(row >= 0, tf.float32))


def gather_batch(images, labels, row):
    """The images, float32 [batch, 28, 28], labels, int32 [batch], and weights, float32 [batch], of a row of indices."""
    index = tf.maximum(row, 0)
    weights = tf.cast(row >= 0, tf.float32)
    return tf.cast(tf.gather(images, index), tf.float32), tf.cast(tf.gather(labels, index), tf.int32), weights


def training_step(network, optimizer, replicas, recipe):
    """A step on a replica's share of a batch: its Σ wᵢlᵢ and how many were right; the weights change."""

    def step(images, labels, row, weight_of_all, seed):
        x, y, weights = gather_batch(images, labels, row)
        x = distort(x, recipe.augment, seed, optimizer.iterations, tf.maximum(row, 0))
        with tf.GradientTape() as tape:
            with dropout_by_philox():
                logits = network(x, training=True)
            loss_sum = weighted_cross_entropy(y, logits, weights, recipe.label_smoothing)
            # The optimizer sums the replicas' gradients, so each has its part of the loss, and of the penalties.
            loss = tf.math.divide_no_nan(loss_sum, weight_of_all) + sum(network.losses) / replicas
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        hits = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == y, tf.float32)
        return loss_sum, tf.cast(tf.reduce_sum(weights * hits), tf.int32)

    return step


@contextlib.contextmanager
def dropout_by_philox() -> Iterator[None]:
    """Names the random generator that Keras' dropout leaves to TensorFlow, which takes Philox on CPUs and GPUs.

    The numbers are the same. Left unnamed, it is one that XLA computes 20 times slower on a CPU.
    """
    dropout = tf.nn.experimental.stateless_dropout
    if not tf.config.list_logical_devices("TPU"):  # where another generator may be the device's own
        tf.nn.experimental.stateless_dropout = partial(dropout, rng_alg="philox")
    try:
        yield
    finally:
        tf.nn.experimental.stateless_dropout = dropout


def evaluation_step(network):
    """A step on a replica's share of a batch: its Σ wᵢlᵢ and its confusion matrix, int32 [10, 10]."""

    def step(images, labels, row, weight_of_all, seed):
        x, y, weights = gather_batch(images, labels, row)
        logits = network(x, training=False)
        truth = weights[:, None] * tf.one_hot(y, 10)
        guess = tf.one_hot(tf.argmax(logits, axis=-1), 10)
        found = tf.matmul(truth, guess, transpose_a=True)  # zeros and ones: exact in any precision
        return weighted_cross_entropy(y, logits, weights), tf.cast(found, tf.int32)

    return step


def weighted_cross_entropy(labels, logits, weights, smoothing=0.0):
    """−Σ wᵢ log softmax(logitsᵢ)[labelᵢ], in nats; with smoothing that share of a label is spread over all classes."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if smoothing:
        losses = (1 - smoothing) * losses - smoothing * tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return tf.reduce_sum(weights * losses)
