"""The TensorFlow engine: an epoch is one compiled loop.

On one device the loop is one XLA program. Under tf.distribute each replica computes its share of every batch, and the
loop stays outside `strategy.run`, because the merge call in Keras' optimizer is not allowed inside control flow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_mlp.engine.compiled import CompiledEngine
from mnist_mlp.engine.tensorflow.devices import device_names, short_name
from mnist_mlp.engine.tensorflow.programs import (
    evaluate_program,
    forward_program,
    gradient_program,
    per_replica,
    product_program,
    split_across,
    train_program,
    training_step,
)
from mnist_mlp.engine.tensorflow.trace import traced


class TensorFlowEngine(CompiledEngine):
    """See `Engine` for the contract. Create it, its model and its optimizer within the scope of its strategy."""

    backend = "tensorflow"

    @property
    def strategy(self) -> Any:
        """The strategy of tf.distribute, or None."""
        return self.devices.where

    @cached_property
    def xla(self) -> bool:
        return xla_pays(self.model) if self.devices.xla is None else self.devices.xla

    @property
    def jit_compile(self) -> bool:
        """Whether tf.function is to call XLA; a TPU strategy does so itself."""
        return self.xla and self.strategy is None

    def put(self, array: np.ndarray) -> Any:
        # tf.identity: a tensor made from a NumPy array keeps a second copy of it; the copy of the tensor does not.
        if self.strategy is None:
            return tf.identity(array)
        devices = self.strategy.extended.worker_devices

        def on_device(context: tf.distribute.ValueContext) -> tf.Tensor:
            with tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
                return tf.identity(array)

        return self.strategy.experimental_distribute_values_from_function(on_device)

    def build_programs(self) -> None:
        network, strategy = self.network, self.strategy
        self.train_program = train_program(network, self.optimizer, strategy, self.recipe, xla=self.jit_compile)
        self.evaluate_program = evaluate_program(network, strategy, xla=self.jit_compile)
        self.mean_program = tf.function(self.mean_over_replicas, autograph=False)

    def forward_program(self, network: keras.Model) -> Callable:
        return forward_program(network, self.strategy, xla=self.jit_compile)

    def gradient_program(self) -> Callable:
        return gradient_program(self.network, self.strategy, xla=self.jit_compile)

    def product_program(self) -> Callable:
        return product_program(self.strategy, xla=self.jit_compile)

    def last_row(self, value: Any) -> np.ndarray:
        return [part[-1].numpy() for part in per_replica(value, self.strategy)][0]

    def warm_up(self, split: str) -> None:
        if split == "train":
            self.train_steps(self.batch_indices["train"], 0, 0)
        else:
            self.evaluate_steps(split, 0, 0)

    def train_steps(self, batch_indices: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, int]:
        losses, correct, last = self.train_program(self.data["train"], batch_indices, (start, stop), self.seed)
        self.verify_placement(last)
        return losses.numpy(), int(correct.numpy())

    def evaluate_steps(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        steps = (start, stop)
        losses, confusion, last = self.evaluate_program(self.data[split], self.batch_indices[split], steps, self.seed)
        self.verify_placement(last)
        return losses.numpy(), confusion.numpy()

    def outputs(self, program: Callable, images: np.ndarray) -> list[np.ndarray]:
        found = program(tf.constant(images))
        found = found if isinstance(found, list) else [found]
        self.verify_placement(found[-1])
        return [per_replica(output, self.strategy)[0].numpy() for output in found]

    def gradients(self, program: Callable, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        found = program(tf.constant(images), tf.constant(labels))
        self.verify_placement(found)
        return per_replica(found, self.strategy)[0].numpy()

    def devices_of(self, output: Any) -> list[str]:
        """Return the device of each replica. The output is of floats: TensorFlow may keep small integers on the CPU,
        whatever device they come from."""
        return device_names(per_replica(output, self.strategy))

    @property
    def weights_on(self) -> list[str]:
        weights = [variable.value for variable in self.model.trainable_variables]
        return sorted({short_name(part.device) for weight in weights for part in getattr(weight, "values", (weight,))})

    def mean_over_replicas(self, values: tf.Tensor) -> tf.Tensor:
        return self.strategy.reduce("MEAN", self.strategy.run(lambda x: x + 0.0, args=(values,)), axis=None)

    def reduce_mean(self, values: Sequence[float]) -> list[float]:
        return self.mean_program(tf.constant(values, tf.float32)).numpy().tolist()

    def step_flops(self) -> float:
        """Return what TensorFlow's profiler counts in the graph of a training step."""
        on_replicas = split_across(self.strategy)
        step = training_step(self.network, self.optimizer, self.devices.replicas, self.recipe)
        traced = tf.function(lambda *batch: on_replicas(step, *batch), autograph=False)
        row, seed = tf.constant(self.batch_indices["train"][0]), tf.constant(self.seed, tf.uint32)
        graph = traced.get_concrete_function(self.data["train"], row, seed).graph
        profiler = tf.compat.v1.profiler
        options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
        logger, level = tf.get_logger(), tf.get_logger().level
        logger.setLevel("ERROR")  # the profiler warns that it is deprecated
        try:
            return float(profiler.profile(graph, cmd="op", options=options.with_empty_output().build()).total_float_ops)
        finally:
            logger.setLevel(level)

    def trace(self, directory: Path) -> AbstractContextManager[None]:
        return traced(directory)


def xla_pays(model: keras.Model) -> bool:
    """Whether to compile with XLA. Not for convolutions on a CPU: XLA makes their gradient 10 times slower."""
    on_cpu = not tf.config.list_logical_devices("GPU")
    return not (on_cpu and any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers))
