"""The JAX engine: an epoch is one XLA program over all devices.

Each batch is split across a mesh of devices; everything else is replicated. The compiler inserts the collectives that
sum loss and gradients over the batch, so one device and eight compute the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mnist_mlp.engine.compiled import CompiledEngine
from mnist_mlp.engine.jax.devices import device_names, jit_disabled, mesh_of
from mnist_mlp.engine.jax.programs import (
    evaluate_program,
    forward_program,
    gradient_program,
    product_program,
    train_program,
)
from mnist_mlp.engine.jax.trace import traced

Values = dict[str, list[Any]]  # trainable, non_trainable, optimizer


class JaxEngine(CompiledEngine):
    """See `Engine` for the contract. `values` are the variables on the devices; training updates them in place of
    Keras' own, which get copies after each call."""

    backend = "jax"

    @cached_property
    def mesh(self) -> Mesh:
        return mesh_of(self.devices.where)

    @property
    def xla(self) -> bool:
        return not jit_disabled()

    @cached_property
    def one_by_one(self) -> bool:
        """Whether to call a program for each step: XLA runs a convolution on a CPU six times slower within a loop."""
        convolutions = any(isinstance(layer, keras.layers.Conv2D) for layer in self.model.layers)
        return self.devices.kind == "CPU" and convolutions

    def put(self, array: np.ndarray) -> jax.Array:
        array = np.asarray(array)
        replicated = NamedSharding(self.mesh, PartitionSpec())
        return jax.make_array_from_callback(array.shape, replicated, lambda _: array)

    def build_programs(self) -> None:
        network, mesh, one_by_one = self.network, self.mesh, self.one_by_one
        self.values = self.read_variables()
        self.train_program = train_program(network, self.optimizer, mesh, self.recipe, one_by_one=one_by_one)
        self.evaluate_program = evaluate_program(network, mesh, one_by_one=one_by_one)

    def forward_program(self, network: keras.Model) -> Callable:
        return forward_program(network)

    def gradient_program(self) -> Callable:
        return gradient_program(self.network)

    def product_program(self) -> Callable:
        return product_program(self.mesh)

    def last_row(self, value: jax.Array) -> np.ndarray:
        return np.asarray(jax.block_until_ready(value)[-1])

    def warm_up(self, split: str) -> None:
        data, batch_indices = self.data[split], self.batch_indices[split]
        steps = (0, int(self.one_by_one))  # no step at all, or the one that each call makes
        if split == "train":
            copies = self.read_variables()  # the call may reuse their memory; jnp.copy would compile for each shape
            _, losses, _ = self.train_program(copies, data, batch_indices, steps, np.uint32(self.seed))
        else:
            losses, _ = self.evaluate_program(self.values, data, batch_indices, steps)
        self.verify_placement(losses)

    def train_steps(self, batch_indices: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, int]:
        losses, correct = np.zeros(len(batch_indices)), 0
        for steps in self.calls(start, stop):
            self.values, call_losses, call_correct = self.train_program(
                self.values, self.data["train"], batch_indices, steps, np.uint32(self.seed)
            )
            self.verify_placement(call_losses)
            losses += np.asarray(call_losses)  # 0 for the steps of other calls
            correct += int(call_correct)
        self.write_variables()
        return losses, correct

    def evaluate_steps(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        batch_indices = self.batch_indices[split]
        losses, confusion = np.zeros(len(batch_indices)), np.zeros((10, 10), np.int64)
        for steps in self.calls(start, stop):
            call_losses, call_confusion = self.evaluate_program(self.values, self.data[split], batch_indices, steps)
            self.verify_placement(call_losses)
            losses += np.asarray(call_losses)  # 0 for the steps of other calls
            confusion += np.asarray(call_confusion)
        return losses, confusion

    def calls(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the (start, stop) of the program calls that make the steps `start` to `stop`."""
        return [(i, i + 1) for i in range(start, stop)] if self.one_by_one else [(start, stop)]

    def outputs(self, program: Callable, images: np.ndarray) -> list[np.ndarray]:
        found = program(self.values, self.put(images))
        found = found if isinstance(found, list) else [found]
        self.verify_placement(found[-1])
        return [np.asarray(output) for output in found]

    def gradients(self, program: Callable, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        found = program(self.values, self.put(images), self.put(labels))
        self.verify_placement(found)
        return np.asarray(found)

    def devices_of(self, output: jax.Array) -> list[str]:
        return device_names(output)

    @property
    def weights_on(self) -> list[str]:
        return sorted({name for value in self.values["trainable"] for name in device_names(value)})

    def read_variables(self) -> Values:
        """Return the values of all variables, on the devices."""
        return jax.tree.map(lambda v: self.put(np.array(v.value)), variables_of(self.network, self.optimizer))

    def write_variables(self) -> None:
        """Assign the devices' values to Keras' variables: copies, because a call may reuse the memory."""
        for variable, value in zip(
            jax.tree.leaves(variables_of(self.network, self.optimizer)), jax.tree.leaves(self.values), strict=True
        ):
            variable.assign(np.array(value))

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        super().restore(state)
        self.values = self.read_variables()

    def reduce_mean(self, values: Sequence[float]) -> list[float]:
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(np.array(values, np.float32)).mean(0).tolist()

    def step_flops(self) -> float:
        """Return what XLA counts in the program before it is optimized. The body of a loop counts once."""
        data, batch_indices = self.data["train"], self.batch_indices["train"]
        program = self.train_program.lower(self.values, data, batch_indices, (0, 1), np.uint32(0))
        analysis: Any = program.cost_analysis()
        return float(analysis["flops"])

    def trace(self, directory: Path) -> AbstractContextManager[None]:
        return traced(directory)


def variables_of(network: keras.Model, optimizer: keras.Optimizer | None) -> Values:
    """Return the variables in the order in which Keras' stateless calls take them."""
    return {
        "trainable": list(network.trainable_variables),
        "non_trainable": list(network.non_trainable_variables),
        "optimizer": list(optimizer.variables) if optimizer is not None else [],
    }
