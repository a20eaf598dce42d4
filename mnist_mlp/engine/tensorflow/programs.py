"""The programs that the TensorFlow engine compiles: a loop over the steps of an epoch, and the steps themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import keras
import tensorflow as tf

from mnist_mlp.engine.augmentation import distort
from mnist_mlp.engine.base import PLAIN, Recipe


def train_program(
    network: keras.Model,
    optimizer: keras.Optimizer | None,
    strategy: tf.distribute.Strategy | None,
    recipe: Recipe = PLAIN,
    *,
    xla: bool,
) -> Callable:
    """Return a program (see `one_program`) that trains, and counts the correct answers."""
    replicas = 1 if strategy is None else strategy.num_replicas_in_sync
    return one_program(training_step(network, optimizer, replicas, recipe), strategy, xla=xla)


def evaluate_program(network: keras.Model, strategy: tf.distribute.Strategy | None, *, xla: bool) -> Callable:
    """Return a program (see `one_program`) that sums up the confusion matrix, int32 [10, 10]."""
    return one_program(evaluation_step(network), strategy, (10, 10), xla=xla)


def forward_program(network: keras.Model, strategy: tf.distribute.Strategy | None, *, xla: bool) -> Callable:
    """Return a function of images, float32 [n, 28, 28], that computes the network's outputs on each replica."""
    on_each = network if strategy is None else lambda images: strategy.run(network, args=(images,))
    return tf.function(partial(on_each), jit_compile=xla, autograph=False)  # a partial: see `one_program`


def gradient_program(network: keras.Model, strategy: tf.distribute.Strategy | None, *, xla: bool) -> Callable:
    """Return a function of images, float32 [n, 28, 28], and labels, int32 [n], that computes the gradient of each
    image's cross-entropy by its pixels, float32 [n, 28, 28], on each replica."""

    def gradient(images, labels):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(cross_entropy(labels, network(images, training=False)))
        return tape.gradient(loss, images)

    on_each = gradient if strategy is None else lambda *batch: strategy.run(gradient, args=batch)
    return tf.function(partial(on_each), jit_compile=xla, autograph=False)  # a partial: see `one_program`


def product_program(strategy: tf.distribute.Strategy | None, *, xla: bool) -> Callable:
    """Return a function of two matrices that every replica multiplies as a whole, compiled as the steps are."""
    on_each = tf.matmul if strategy is None else lambda left, right: strategy.run(tf.matmul, args=(left, right))
    return tf.function(partial(on_each), jit_compile=xla, autograph=False)  # a partial: see `one_program`


def one_program(
    step: Callable, strategy: tf.distribute.Strategy | None, shape: tuple[int, ...] = (), *, xla: bool
) -> Callable:
    """Return a compiled function of (data, batch_indices, (start, stop), seed) that makes the steps `start` to `stop`.

    `data` is (images, labels). The function returns the loss sum of each step, float32 [steps]; the sum of the steps'
    counts, int32 of `shape`; and the last loss sum as each replica has it. `start` and `stop` are run-time values: no
    call compiles again.
    """
    on_replicas = split_across(strategy)

    def program(data, batch_indices, steps, seed):
        start, stop = steps

        def body(i, losses, counts, _):
            (loss_sum, step_counts), last = on_replicas(step, data, batch_indices[i], seed)
            return i + 1, losses.write(i, loss_sum), counts + step_counts, last

        # One loss for each step: a sum of them must not depend on how an epoch is cut into calls.
        losses = tf.TensorArray(tf.float32, size=batch_indices.shape[0], element_shape=())
        no_loss = tf.zeros(()) if strategy is None else strategy.run(lambda: tf.zeros(()))
        carry = (start, losses, tf.zeros(shape, tf.int32), no_loss)
        _, losses, counts, last = tf.while_loop(lambda i, *_: i < stop, body, carry)
        # TensorFlow reports the outputs of a loop to be on the CPU; one more operation shows where a replica really is.
        last = last + 0.0 if strategy is None else strategy.run(lambda x: x + 0.0, args=(last,))
        return losses.stack(), counts, last

    # A partial: TensorFlow counts how often it traces the same code, and would warn of several engines.
    compiled = tf.function(partial(program), jit_compile=xla, autograph=False)

    def call(data, batch_indices, steps, seed):
        start, stop = (tf.constant(value) for value in steps)
        return compiled(data, tf.constant(batch_indices), (start, stop), tf.constant(seed, tf.uint32))

    return call


def split_across(strategy: tf.distribute.Strategy | None) -> Callable:
    """Return a function that makes a step on a batch, int32 [batch], of which each replica computes its share.

    It returns what the step returns, summed over the replicas, and the loss sum as each replica has it.
    """

    def on_one(step, data, row, seed):
        found = step(data, row, total_weight(row), seed)
        return found, found[0]

    def on_replicas(step, data, row, seed):
        def on_each(data):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            own_row = tf.reshape(row, (strategy.num_replicas_in_sync, -1))[replica]
            return step(data, own_row, total_weight(row), seed)

        found = strategy.run(on_each, args=(data,))
        return [strategy.reduce("SUM", value, axis=None) for value in found], found[0]

    return on_one if strategy is None else on_replicas


def per_replica(value, strategy: tf.distribute.Strategy | None) -> tuple:
    """Return the values that the replicas of this process have."""
    return (value,) if strategy is None else strategy.experimental_local_results(value)


def total_weight(row):
    """Return the number of examples in a batch, float32."""
    return tf.reduce_sum(tf.cast(row >= 0, tf.float32))


def gather_batch(data, row):
    """Return the images, float32 [batch, 28, 28], labels, int32 [batch], and weights, float32 [batch], of a batch."""
    images, labels = data
    index = tf.maximum(row, 0)
    weights = tf.cast(row >= 0, tf.float32)
    return tf.cast(tf.gather(images, index), tf.float32), tf.cast(tf.gather(labels, index), tf.int32), weights


def training_step(
    network: keras.Model, optimizer: keras.Optimizer | None, replicas: int, recipe: Recipe = PLAIN
) -> Callable:
    """Return a step that updates the weights from a replica's share of a batch: Σ wᵢlᵢ and the correct answers."""

    def step(data, row, batch_weight, seed):
        x, y, weights = gather_batch(data, row)
        x = distort(x, recipe.augment, seed, optimizer.iterations, tf.maximum(row, 0))
        with tf.GradientTape() as tape:
            with dropout_by_philox():
                logits = network(x, training=True)
            loss_sum = tf.reduce_sum(weights * cross_entropy(y, logits, recipe.label_smoothing))
            # The optimizer sums the replicas' gradients, so each replica adds its part of the loss and the penalties.
            loss = tf.math.divide_no_nan(loss_sum, batch_weight) + sum(network.losses) / replicas
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        hits = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == y, tf.float32)
        return loss_sum, tf.cast(tf.reduce_sum(weights * hits), tf.int32)

    return step


@contextlib.contextmanager
def dropout_by_philox() -> Iterator[None]:
    """Name the random generator that Keras' dropout leaves to TensorFlow, which uses Philox on CPUs and GPUs.

    The numbers are the same. Without a name, XLA computes them 20 times slower on a CPU.
    """
    dropout = tf.nn.experimental.stateless_dropout
    if not tf.config.list_logical_devices("TPU"):  # a TPU may have its own generator
        tf.nn.experimental.stateless_dropout = partial(dropout, rng_alg="philox")
    try:
        yield
    finally:
        tf.nn.experimental.stateless_dropout = dropout


def evaluation_step(network: keras.Model) -> Callable:
    """Return a step that scores a replica's share of a batch: Σ wᵢlᵢ and the confusion matrix, int32 [10, 10]."""

    def step(data, row, batch_weight, seed):
        x, y, weights = gather_batch(data, row)
        logits = network(x, training=False)
        truth = weights[:, None] * tf.one_hot(y, 10)
        guess = tf.one_hot(tf.argmax(logits, axis=-1), 10)
        confusion = tf.matmul(truth, guess, transpose_a=True)  # zeros and ones: exact in any precision
        return tf.reduce_sum(weights * cross_entropy(y, logits)), tf.cast(confusion, tf.int32)

    return step


def cross_entropy(labels, logits, smoothing=0.0):
    """Return −log softmax(logitsᵢ)[labelᵢ], float32 [batch], in nats. `smoothing` is the share of a label that is
    spread evenly over the classes."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if smoothing:
        losses = (1 - smoothing) * losses - smoothing * tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return losses
