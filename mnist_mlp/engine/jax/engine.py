"""The JAX engine: the data lives on the devices as uint8, and an epoch is one XLA program over all of them.

Each batch is shared out over a mesh of devices; everything else is the same on each. The compiler puts the sums over
the batch (loss and gradients) across the devices, so that one device or eight compute the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

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
from mnist_mlp.engine.jax.devices import mesh_of, names
from mnist_mlp.engine.jax.programs import evaluate_program, forward_program, train_program
from mnist_mlp.models.networks import to_logits, with_hidden

Values = dict[str, list[Any]]  # trainable, non_trainable, optimizer


class JaxEngine:
    """See `Engine` for the contract. `optimizer` may be None where nothing is trained."""

    backend = "jax"
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
        self.seed = recipe.seed
        self.mesh = mesh_of(attached.where)
        self.pace = Pace() if attached.workers == 1 else None  # workers must make the same calls, whatever their clocks
        self.xla = not jax.config.jax_disable_jit
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
        self.network = to_logits(model)
        self.data = {name: (self.put(s.images), self.put(s.labels)) for name, s in splits.items()}
        orders = {name: sequential_indices(len(s), batch_size) for name, s in splits.items()}
        self.orders = {name: pad_batches(order, attached.replicas) for name, order in orders.items()}
        self.values = self.read_variables()
        # XLA runs a convolution on a CPU six times slower within a loop.
        convolutions = any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
        self.one_by_one = attached.kind == "CPU" and convolutions
        self.train_program = train_program(self.network, optimizer, self.mesh, recipe, one_by_one=self.one_by_one)
        self.evaluate_program = evaluate_program(self.network, self.mesh, one_by_one=self.one_by_one)
        self.predict_program = forward_program(model)
        self.logits_program = forward_program(self.network)

    def put(self, array: np.ndarray) -> jax.Array:
        """The array, whole, on each device; all processes give the same one."""
        array = np.asarray(array)
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return jax.make_array_from_callback(array.shape, everywhere, lambda _: array)

    def read_variables(self) -> Values:
        """The values of all variables, on the devices."""
        return jax.tree.map(lambda v: self.put(np.array(v.value)), variables_of(self.network, self.optimizer))

    def write_variables(self) -> None:
        """Gives Keras' variables the values that the devices hold: copies, since a call may reuse the memory."""
        for variable, value in zip(
            jax.tree.leaves(variables_of(self.network, self.optimizer)), jax.tree.leaves(self.values), strict=True
        ):
            variable.assign(np.array(value))

    def compile(self) -> None:
        nothing = (0, int(self.one_by_one))  # one step, on copies, where no call makes fewer
        if "train" in self.data:
            copies = self.read_variables()  # not jnp.copy, which is compiled for each shape
            self.attest(
                self.train_program(copies, *self.data["train"], self.orders["train"], *nothing, np.uint32(self.seed))[1]
            )
        for name in self.data:
            if name != "train":
                self.attest(self.evaluate_program(self.values, *self.data[name], self.orders[name], *nothing)[0])

    def attest(self, output: jax.Array) -> None:
        """Raises `UserError` if a program did not run on the devices that it was meant for."""
        self.step_on = names(output)
        check_places(self)

    @property
    def weights_on(self) -> list[str]:
        return sorted({name for value in self.values["trainable"] for name in names(value)})

    def calls(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The calls of a program that make the steps `start` to `stop`."""
        return [(i, i + 1) for i in range(start, stop)] if self.one_by_one else [(start, stop)]

    def train(self, order: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        stop = len(order) if stop is None else stop
        padded = pad_steps(pad_batches(order, self.attached.replicas), len(self.orders["train"]))
        losses, correct = np.zeros(len(padded)), 0
        with with_others(self.attached):
            for part in self.calls(start, stop):
                self.values, part_losses, hits = self.train_program(
                    self.values, *self.data["train"], padded, *part, np.uint32(self.seed)
                )
                self.attest(part_losses)
                losses += np.asarray(part_losses)  # 0 for the steps of other calls
                correct += int(hits)
            self.write_variables()
        return Sums(losses[start:stop], correct, int((order[start:stop] >= 0).sum()))

    def evaluate(self, split: str) -> Counts:
        order = self.orders[split]
        losses, confusion = np.zeros(len(order)), np.zeros((10, 10), np.int64)
        with with_others(self.attached):
            for start, stop in pieces(len(order), self.pace):
                for part in self.calls(start, stop):
                    part_losses, found = self.evaluate_program(self.values, *self.data[split], order, *part)
                    self.attest(part_losses)
                    losses += np.asarray(part_losses)  # 0 for the steps of other calls
                    confusion += np.asarray(found)
        return Counts(confusion, float(losses.sum()))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.forward(self.predict_program, images)

    def logits(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        return self.forward(self.logits_program, images, batch_size)

    def forward(self, program: Callable, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        def call(batch: np.ndarray) -> np.ndarray:
            found = program(self.values, self.put(batch))
            self.attest(found)
            return np.asarray(found)

        return predict_in_batches(images, batch_size or self.batch_size, call)

    @cached_property
    def layers_program(self) -> Callable:
        return forward_program(with_hidden(self.model))

    def layers(self, images: np.ndarray) -> list[np.ndarray]:
        found = self.layers_program(self.values, self.put(images.astype(np.float32)))
        found = found if isinstance(found, list) else [found]  # without a hidden layer
        self.attest(found[-1])
        return [np.asarray(output) for output in found]

    def state(self) -> dict[str, np.ndarray]:
        return read_state(self.model, self.optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        write_state(self.model, self.optimizer, state)
        self.values = self.read_variables()

    def step_flops(self) -> float:
        """Floating-point operations of a training step, as XLA counts them in the program that it is given."""
        program = self.train_program.lower(self.values, *self.data["train"], self.orders["train"], 0, 1, np.uint32(0))
        return float(program.cost_analysis()["flops"])  # the body of a loop counts once

    def mean_over_workers(self, values: Sequence[float]) -> list[float]:
        if self.attached.workers == 1:
            return list(values)
        from jax.experimental import multihost_utils

        with with_others(self.attached):
            return multihost_utils.process_allgather(np.array(values, np.float32)).mean(0).tolist()


def variables_of(network: keras.Model, optimizer: keras.Optimizer | None) -> Values:
    """The variables in the order that Keras' stateless calls take them."""
    return {
        "trainable": list(network.trainable_variables),
        "non_trainable": list(network.non_trainable_variables),
        "optimizer": list(optimizer.variables) if optimizer is not None else [],
    }
