"""The TensorFlow engine: the data lives on the devices as uint8, and an epoch is one compiled loop.

On one device the loop is one XLA program. Under tf.distribute each replica computes its share of every batch, and the
loop stands outside `strategy.run`: Keras' optimizer makes a merge call, which is refused inside control flow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_mlp.data import Split, sequential_order
from mnist_mlp.engine import Attached, Counts, Sums, check_places, read_state, with_others, write_state
from mnist_mlp.engine.calls import Pace, pad_batches, pad_steps, pieces, predict_in_batches
from mnist_mlp.models import to_logits


class TensorFlowEngine:
    """See `Engine` for the contract. `optimizer` may be None where nothing is trained.

    To be made, like model and optimizer, in the scope of the strategy `attached.where`, if there is one.
    """

    backend = "tensorflow"
    whole_epochs = False
    step_on: list[str] = []

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer | None,
        splits: Mapping[str, Split],
        batch_size: int,
        attached: Attached,
    ):
        self.model, self.optimizer, self.batch_size, self.attached = model, optimizer, batch_size, attached
        self.strategy = attached.where
        self.pace = Pace() if attached.workers == 1 else None  # workers must make the same calls, whatever their clocks
        self.network = to_logits(model)
        self.xla = xla_pays(model, optimizer) if attached.xla is None else attached.xla
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
        self.data = {name: (self.put(s.images), self.put(s.labels)) for name, s in splits.items()}
        orders = {name: sequential_order(len(s), batch_size) for name, s in splits.items()}
        self.orders = {name: pad_batches(order, attached.replicas) for name, order in orders.items()}
        compiled = self.xla and self.strategy is None  # a TPU strategy calls XLA itself
        train_step = training_step(self.network, optimizer, attached.replicas)
        self.train_program = one_program(compiled, self.strategy, train_step)
        self.evaluate_program = one_program(compiled, self.strategy, evaluation_step(self.network), (10, 10))
        self.predict_program = self.forward_program(model, compiled)
        self.logits_program = self.forward_program(self.network, compiled)
        self.mean_program = tf.function(self.mean_over_replicas, autograph=False)

    def put(self, array: np.ndarray) -> Any:
        """The array, whole, on each replica's device."""
        # identity: a tensor made from a NumPy array keeps a second copy of it, its own copy does not.
        if self.strategy is None:
            return tf.identity(array)
        devices = self.strategy.extended.worker_devices

        def on_device(context: tf.distribute.ValueContext) -> tf.Tensor:
            with tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
                return tf.identity(array)

        return self.strategy.experimental_distribute_values_from_function(on_device)

    def compile(self) -> None:
        if "train" in self.data:
            self.train(self.orders["train"][:0])
        for name in self.data:
            if name != "train":
                self.run(self.evaluate_program, name, self.orders[name], 0, 0)

    def run(self, program: Callable, split: str, order: np.ndarray, start: int, stop: int) -> tuple[Any, Any]:
        """Calls a program over a split, and reads back where it ran."""
        with with_others(self.attached):
            losses, found, last = program(*self.data[split], order, start, stop)
            self.attest(last)
            return losses.numpy(), found.numpy()

    def attest(self, output: Any) -> None:
        """Raises `UserError` if a program did not run on the devices that it was meant for.

        `output` is a float of each replica: small integers TensorFlow may keep on the CPU wherever they come from.
        """
        parts = (output,) if self.strategy is None else self.strategy.experimental_local_results(output)
        self.step_on = [short(part.backing_device) for part in parts]
        check_places(self)

    @property
    def weights_on(self) -> list[str]:
        weights = [variable.value for variable in self.model.trainable_variables]
        return sorted({short(part.device) for weight in weights for part in getattr(weight, "values", (weight,))})

    def train(self, order: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        stop = len(order) if stop is None else stop
        padded = pad_steps(pad_batches(order, self.attached.replicas), len(self.orders["train"]))
        losses, correct = self.run(self.train_program, "train", padded, start, stop)
        return Sums(losses[start:stop].astype(np.float64), int(correct), int((order[start:stop] >= 0).sum()))

    def evaluate(self, split: str) -> Counts:
        order = self.orders[split]
        losses, confusion = np.zeros(len(order)), np.zeros((10, 10), np.int64)
        for start, stop in pieces(len(order), self.pace):
            part_losses, found = self.run(self.evaluate_program, split, order, start, stop)
            losses[start:stop] = part_losses[start:stop]
            confusion += found
        return Counts(confusion, float(losses.sum()))

    def forward_program(self, network: keras.Model, xla: bool) -> Callable:
        """A function of float32 images [batch, 28, 28], compiled: what the network gives on each replica."""
        everywhere = network if self.strategy is None else lambda batch: self.strategy.run(network, args=(batch,))
        return tf.function(partial(everywhere), jit_compile=xla, autograph=False)  # a partial: as in `one_program`

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.forward(self.predict_program, images)

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.forward(self.logits_program, images)

    def forward(self, program: Callable, images: np.ndarray) -> np.ndarray:
        def call(batch: np.ndarray) -> np.ndarray:
            found = program(tf.constant(batch))
            self.attest(found)
            parts = (found,) if self.strategy is None else self.strategy.experimental_local_results(found)
            return parts[0].numpy()

        return predict_in_batches(images, self.batch_size, call)

    def mean_over_replicas(self, values: tf.Tensor) -> tf.Tensor:
        return self.strategy.reduce("MEAN", self.strategy.run(lambda x: x + 0.0, args=(values,)), axis=None)

    def state(self) -> dict[str, np.ndarray]:
        return read_state(self.model, self.optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        write_state(self.model, self.optimizer, state)

    def step_flops(self) -> float:
        """Floating-point operations of a training step, as TensorFlow's profiler counts them in the step's graph."""
        share_out, step = share_over(self.strategy), training_step(self.network, self.optimizer, self.attached.replicas)
        traced = tf.function(lambda *batch: share_out(step, *batch), autograph=False)
        graph = traced.get_concrete_function(*self.data["train"], tf.constant(self.orders["train"][0])).graph
        profiler = tf.compat.v1.profiler
        options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
        logger, level = tf.get_logger(), tf.get_logger().level
        logger.setLevel("ERROR")  # the profiler calls itself old
        try:
            return float(profiler.profile(graph, cmd="op", options=options.with_empty_output().build()).total_float_ops)
        finally:
            logger.setLevel(level)

    def mean_over_workers(self, values: Sequence[float]) -> list[float]:
        if self.attached.workers == 1:
            return list(values)
        with with_others(self.attached):
            return self.mean_program(tf.constant(values, tf.float32)).numpy().tolist()


def short(device: str) -> str:
    """ "GPU:0" of TensorFlow's "/job:localhost/replica:0/task:0/device:GPU:0"."""
    return device.rpartition("device:")[2]


def xla_pays(model: keras.Model, optimizer: keras.Optimizer | None) -> bool:
    """Whether to compile with XLA: not where a convolution runs on a CPU, whose gradient XLA makes 10 times slower,
    and not with Keras' Adafactor, which gives nan under XLA where a pixel is always 0."""
    if isinstance(optimizer, keras.optimizers.Adafactor):
        return False
    on_cpu = not tf.config.list_logical_devices("GPU")
    return not (on_cpu and any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers))


def one_program(xla: bool, strategy: tf.distribute.Strategy | None, step: Callable, shape: tuple = ()) -> Callable:
    """The steps `start` to `stop` of an order, compiled, as a function of (images, labels, order, start, stop).

    It gives the loss sum of each step, float32 [steps], the sum of what else the steps give (int32 of that shape), and
    the last loss sum as each replica had it. A call may run any part of the order without compiling again.
    """
    share_out = share_over(strategy)

    def program(images, labels, order, start, stop):
        def body(i, losses, found, _):
            (loss_sum, more), last = share_out(step, images, labels, order[i])
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
    return lambda images, labels, order, start, stop: compiled(
        images, labels, tf.constant(order), tf.constant(start), tf.constant(stop)
    )


def share_over(strategy: tf.distribute.Strategy | None) -> Callable:
    """A function that runs a step on a row of the order, int32 [batch]: each replica takes its share of the examples.

    It gives what the step gives, summed over the replicas, and the loss sum as each replica has it.
    """

    def on_one(step, images, labels, row):
        found = step(images, labels, row, weight_of(row))
        return found, found[0]

    def on_replicas(step, images, labels, row):
        def on_each(images, labels):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = tf.reshape(row, (strategy.num_replicas_in_sync, -1))[replica]
            return step(images, labels, mine, weight_of(row))

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


def training_step(network, optimizer, replicas):
    """A step on a replica's share of a batch: its Σ wᵢlᵢ and how many were right; the weights change."""

    def step(images, labels, row, weight_of_all):
        x, y, weights = gather_batch(images, labels, row)
        with tf.GradientTape() as tape:
            with dropout_by_philox():
                logits = network(x, training=True)
            loss_sum = weighted_cross_entropy(y, logits, weights)
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

    def step(images, labels, row, weight_of_all):
        x, y, weights = gather_batch(images, labels, row)
        logits = network(x, training=False)
        truth = weights[:, None] * tf.one_hot(y, 10)
        guess = tf.one_hot(tf.argmax(logits, axis=-1), 10)
        found = tf.matmul(truth, guess, transpose_a=True)  # zeros and ones: exact in any precision
        return weighted_cross_entropy(y, logits, weights), tf.cast(found, tf.int32)

    return step


def weighted_cross_entropy(labels, logits, weights):
    """−Σ wᵢ log softmax(logitsᵢ)[labelᵢ], in nats."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_sum(weights * losses)
