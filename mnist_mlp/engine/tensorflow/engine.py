"""The TensorFlow engine: the data lives on the devices as uint8, and an epoch is one compiled loop.

On one device the loop is one XLA program. Under tf.distribute each replica computes its share of every batch, and the
loop stands outside `strategy.run`: Keras' optimizer makes a merge call, which is refused inside control flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_mlp.data import Split
from mnist_mlp.data.batches import sequential_indices
from mnist_mlp.engine.base import (
    PLAIN,
    Counts,
    DeviceSet,
    Recipe,
    Sums,
    check_places,
    read_state,
    with_others,
    write_state,
)
from mnist_mlp.engine.batching import Pace, pad_batches, pad_steps, pieces, predict_in_batches
from mnist_mlp.engine.tensorflow.programs import evaluation_step, one_program, share_over, training_step
from mnist_mlp.models.networks import to_logits, with_hidden


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
        attached: DeviceSet,
        recipe: Recipe = PLAIN,
    ):
        self.model, self.optimizer, self.batch_size, self.attached = model, optimizer, batch_size, attached
        self.recipe, self.seed = recipe, recipe.seed
        self.strategy = attached.where
        self.pace = Pace() if attached.workers == 1 else None  # workers must make the same calls, whatever their clocks
        self.network = to_logits(model)
        self.xla = xla_pays(model) if attached.xla is None else attached.xla
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
        self.data = {name: (self.put(s.images), self.put(s.labels)) for name, s in splits.items()}
        orders = {name: sequential_indices(len(s), batch_size) for name, s in splits.items()}
        self.orders = {name: pad_batches(order, attached.replicas) for name, order in orders.items()}
        compiled = self.xla and self.strategy is None  # a TPU strategy calls XLA itself
        train_step = training_step(self.network, optimizer, attached.replicas, recipe)
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
            losses, found, last = program(*self.data[split], order, start, stop, self.seed)
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

    def logits(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        return self.forward(self.logits_program, images, batch_size)

    def forward(self, program: Callable, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        def call(batch: np.ndarray) -> np.ndarray:
            found = program(tf.constant(batch))
            self.attest(found)
            parts = (found,) if self.strategy is None else self.strategy.experimental_local_results(found)
            return parts[0].numpy()

        return predict_in_batches(images, batch_size or self.batch_size, call)

    @cached_property
    def layers_program(self) -> Callable:
        return self.forward_program(with_hidden(self.model), self.xla and self.strategy is None)

    def layers(self, images: np.ndarray) -> list[np.ndarray]:
        found = self.layers_program(tf.constant(images.astype(np.float32)))
        found = found if isinstance(found, list) else [found]  # without a hidden layer
        self.attest(found[-1])
        on_each = (lambda x: (x,)) if self.strategy is None else self.strategy.experimental_local_results
        return [on_each(output)[0].numpy() for output in found]

    def mean_over_replicas(self, values: tf.Tensor) -> tf.Tensor:
        return self.strategy.reduce("MEAN", self.strategy.run(lambda x: x + 0.0, args=(values,)), axis=None)

    def state(self) -> dict[str, np.ndarray]:
        return read_state(self.model, self.optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        write_state(self.model, self.optimizer, state)

    def step_flops(self) -> float:
        """Floating-point operations of a training step, as TensorFlow's profiler counts them in the step's graph."""
        share_out, step = (
            share_over(self.strategy),
            training_step(self.network, self.optimizer, self.attached.replicas, self.recipe),
        )
        traced = tf.function(lambda *batch: share_out(step, *batch), autograph=False)
        graph = traced.get_concrete_function(
            *self.data["train"], tf.constant(self.orders["train"][0]), tf.constant(self.seed, tf.uint32)
        ).graph
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


def xla_pays(model: keras.Model) -> bool:
    """Whether to compile with XLA: not where a convolution runs on a CPU, whose gradient XLA makes 10 times slower."""
    on_cpu = not tf.config.list_logical_devices("GPU")
    return not (on_cpu and any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers))
