"""The TensorFlow engine on one device: the data lives there as uint8, and an epoch is one XLA program."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from mnist_mlp.data import Split, sequential_order
from mnist_mlp.devices import Plan
from mnist_mlp.engine import Counts, Sums, read_state, write_state
from mnist_mlp.errors import UserError
from mnist_mlp.machine import processor_name
from mnist_mlp.models import to_logits

SECONDS_PER_CALL = 1.0  # a longer epoch is cut into calls of about this length, so that Ctrl-C is heard


def attach(plan: Plan) -> tuple[str, tuple[str, ...]]:
    """The device that TensorFlow really has for the plan, "GPU: NVIDIA L4", and what must be said of it.

    Where the machine has a GPU that TensorFlow cannot use, "auto" takes the CPU with a note; a GPU that was asked
    for raises `UserError`. In silence it happens never.
    """
    cpu = f"CPU: {processor_name()}"
    if plan.strategy == "cpu":
        return cpu, ()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "unnamed")
        return f"GPU: {name}", ()
    problem = (
        f"TensorFlow {tf.__version__} cannot use the GPU of this machine (its CUDA libraries are missing or do not fit "
        "the driver)"
    )
    remedy = "type pip install 'tensorflow[and-cuda]'"
    if plan.requested == "gpu":
        raise UserError(f"--strategy=gpu: {problem}; {remedy}, or --strategy=cpu")
    return cpu, (f"{problem}: this run is on the CPU; {remedy}",)


class TensorFlowEngine:
    """See `Engine` for the contract. `optimizer` may be None where nothing is trained."""

    backend = "tensorflow"
    replicas = 1
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer | None,
        splits: Mapping[str, Split],
        batch_size: int,
        device: str,
        xla: bool | None = None,
    ):
        self.model, self.optimizer, self.batch_size, self.device = model, optimizer, batch_size, device
        self.network = to_logits(model)
        self.xla = xla_pays(model, optimizer) if xla is None else xla
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
        # identity: a tensor made from a NumPy array keeps a second copy of it, its own copy does not.
        self.data = {name: (tf.identity(s.images), tf.identity(s.labels)) for name, s in splits.items()}
        self.orders = {name: sequential_order(len(s), batch_size) for name, s in splits.items()}
        self.train_program = one_program(self.xla, train_loop, self.network, optimizer)
        self.evaluate_program = one_program(self.xla, evaluate_loop, self.network)
        self.predict_program = tf.function(model, jit_compile=self.xla, autograph=False)

    def compile(self) -> None:
        if "train" in self.data:
            self.train(self.orders["train"][:0])
        for name in self.data:
            if name != "train":
                self.attest(self.evaluate_program(*self.data[name], self.orders[name], 0, 0)[0])

    def attest(self, output: tf.Tensor) -> None:
        """Raises `UserError` if a program did not run on the device that it was meant for.

        `output` is a float tensor: TensorFlow may keep small integers on the CPU wherever the work was done.
        """
        if f"device:{self.device[:3]}:" not in output.device:
            raise UserError(
                f"expected the program to run on {self.device}, it ran on {output.device}; type --strategy=cpu"
            )

    def train(self, order: np.ndarray) -> Sums:
        capacity = max(len(order), len(self.orders["train"]))
        padded = np.full((capacity, order.shape[1]), -1, np.int32)  # one shape, one compilation
        padded[: len(order)] = order
        padded = tf.constant(padded)
        losses, correct = np.zeros(len(order)), 0
        start, stop = 0, min(len(order), 64)
        while True:  # at least one call, so that an empty order compiles
            began = time.perf_counter()
            step_losses, hits = self.train_program(*self.data["train"], padded, start, stop)
            self.attest(step_losses)
            losses[start:stop] = step_losses.numpy()[start:stop]
            correct += int(hits)
            if stop == len(order):
                return Sums(float(losses.sum()), correct, int((order >= 0).sum()))
            rate = (stop - start) / (time.perf_counter() - began)
            start, stop = stop, min(len(order), stop + max(1, int(rate * SECONDS_PER_CALL)))

    def evaluate(self, split: str) -> Counts:
        order = self.orders[split]
        losses, confusion = self.evaluate_program(*self.data[split], order, 0, len(order))
        self.attest(losses)
        return Counts(confusion.numpy().astype(np.int64), float(losses.numpy().astype(np.float64).sum()))

    def predict(self, images: np.ndarray) -> np.ndarray:
        found = []
        for row in sequential_order(len(images), self.batch_size):  # every call of one shape
            probabilities = self.predict_program(tf.constant(images[np.maximum(row, 0)], tf.float32))
            found.append(probabilities.numpy()[row >= 0])
        return np.concatenate(found)

    def state(self) -> dict[str, np.ndarray]:
        return read_state(self.model, self.optimizer)

    def restore(self, state: dict[str, np.ndarray]) -> None:
        write_state(self.model, self.optimizer, state)


def xla_pays(model: keras.Model, optimizer: keras.Optimizer | None) -> bool:
    """Whether to compile with XLA: not where a convolution runs on a CPU, whose gradient XLA makes 10 times slower,
    and not with Keras' Adafactor, which gives nan under XLA where a pixel is always 0."""
    if isinstance(optimizer, keras.optimizers.Adafactor):
        return False
    on_cpu = not tf.config.list_logical_devices("GPU")
    return not (on_cpu and any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers))


def one_program(xla: bool, loop: Callable, *static: object) -> Callable:
    """`loop(*static, images, labels, order, start, stop)` as one compiled program over the resident data.

    `start` and `stop` are run-time values: a call may run any part of the order without compiling again.
    """

    def program(images, labels, order, start, stop):
        return loop(*static, images, labels, order, start, stop)

    compiled = tf.function(program, jit_compile=xla, autograph=False)
    return lambda images, labels, order, start, stop: compiled(
        images, labels, tf.constant(order), tf.constant(start), tf.constant(stop)
    )


def gather_batch(images, labels, order, step):
    """The images, float32 [batch, 28, 28], labels, int32 [batch], and weights, float32 [batch], of a step."""
    row = order[step]
    index = tf.maximum(row, 0)
    weights = tf.cast(row >= 0, tf.float32)
    return tf.cast(tf.gather(images, index), tf.float32), tf.cast(tf.gather(labels, index), tf.int32), weights


def train_loop(network, optimizer, images, labels, order, start, stop):
    """Steps `start` to `stop` of the order: Σ wᵢlᵢ of each step, float32 [steps], and how many were right."""

    def step(i, losses, correct):
        x, y, weights = gather_batch(images, labels, order, i)
        with tf.GradientTape() as tape:
            logits = network(x, training=True)
            loss_sum = weighted_cross_entropy(y, logits, weights)
            loss = tf.math.divide_no_nan(loss_sum, tf.reduce_sum(weights)) + sum(network.losses)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        hits = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == y, tf.float32)
        return i + 1, losses.write(i, loss_sum), correct + tf.cast(tf.reduce_sum(weights * hits), tf.int32)

    # The losses leave step by step: their sum must not depend on how an epoch was cut into calls.
    losses = tf.TensorArray(tf.float32, size=order.shape[0], element_shape=())
    _, losses, correct = tf.while_loop(lambda i, *_: i < stop, step, (start, losses, 0))
    return losses.stack(), correct


def evaluate_loop(network, images, labels, order, start, stop):
    """Steps `start` to `stop`: Σ wᵢlᵢ of each step, float32 [steps], and the confusion matrix, int32 [10, 10]."""

    def step(i, losses, confusion):
        x, y, weights = gather_batch(images, labels, order, i)
        logits = network(x, training=False)
        truth = weights[:, None] * tf.one_hot(y, 10)
        guess = tf.one_hot(tf.argmax(logits, axis=-1), 10)
        found = tf.matmul(truth, guess, transpose_a=True)  # zeros and ones: exact in any precision
        loss_sum = weighted_cross_entropy(y, logits, weights)
        return i + 1, losses.write(i, loss_sum), confusion + tf.cast(found, tf.int32)

    losses = tf.TensorArray(tf.float32, size=order.shape[0], element_shape=())
    nothing = tf.zeros((10, 10), tf.int32)
    _, losses, confusion = tf.while_loop(lambda i, *_: i < stop, step, (start, losses, nothing))
    return losses.stack(), confusion


def weighted_cross_entropy(labels, logits, weights):
    """−Σ wᵢ log softmax(logitsᵢ)[labelᵢ], in nats."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_sum(weights * losses)
