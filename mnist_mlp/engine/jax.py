"""The JAX engine: the data lives on the devices as uint8, and an epoch is one XLA program over all of them.

Each batch is shared out over a mesh of devices; everything else is the same on each. The compiler puts the sums over
the batch (loss and gradients) across the devices, so that one device or eight compute the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mnist_mlp.data import Split, sequential_order
from mnist_mlp.distortions import distort
from mnist_mlp.engine import PLAIN, Attached, Counts, Recipe, Sums, check_places, read_state, with_others, write_state
from mnist_mlp.engine.calls import Pace, pad_batches, pad_steps, pieces, predict_in_batches
from mnist_mlp.models import to_logits

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
        attached: Attached,
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
        orders = {name: sequential_order(len(s), batch_size) for name, s in splits.items()}
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

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.forward(self.logits_program, images)

    def forward(self, program: Callable, images: np.ndarray) -> np.ndarray:
        def call(batch: np.ndarray) -> np.ndarray:
            found = program(self.values, self.put(batch))
            self.attest(found)
            return np.asarray(found)

        return predict_in_batches(images, self.batch_size, call)

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


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
    """The devices in a row, over which each batch is shared out."""
    return Mesh(np.array(devices), ("batch",))


def names(array: jax.Array) -> list[str]:
    """The devices that hold an array: "TPU:0"."""
    return sorted(f"{kind(d)}:{d.id}" for d in array.devices())


def kind(device: jax.Device) -> str:
    """ "CPU", "GPU" or "TPU"."""
    return {"cuda": "GPU", "rocm": "GPU"}.get(device.platform, device.platform.upper())


def variables_of(network: keras.Model, optimizer: keras.Optimizer | None) -> Values:
    """The variables in the order that Keras' stateless calls take them."""
    return {
        "trainable": list(network.trainable_variables),
        "non_trainable": list(network.non_trainable_variables),
        "optimizer": list(optimizer.variables) if optimizer is not None else [],
    }


def one_program(loop: Callable, mesh: Mesh, **options: Any) -> Callable:
    """`loop(values, images, labels, order, start, stop, …)`, compiled; what comes out is the same on each device.

    `start` and `stop` are run-time values: a call may run any part of the order without compiling again.
    """

    def program(*arguments):
        with jax.default_matmul_precision("highest"):  # float32 means float32, also on a TPU and a GPU
            return loop(*arguments)

    return jax.jit(program, out_shardings=NamedSharding(mesh, PartitionSpec()), **options)


def batch_gatherer(mesh: Mesh) -> Callable:
    """A function that gives of a step the images, float32 [batch, 28, 28], labels, int32 [batch], and weights, float32
    [batch], of which each device has its share, and the weight of the whole batch."""
    shared_out = NamedSharding(mesh, PartitionSpec("batch"))
    whole = NamedSharding(mesh, PartitionSpec())

    def gather_batch(images, labels, order, step):
        row = jax.lax.with_sharding_constraint(order[step], whole)
        weight_of_all = jnp.sum(row >= 0).astype(jnp.float32)  # counted by each, without a collective
        row = jax.lax.with_sharding_constraint(row, shared_out)
        index = jnp.maximum(row, 0)
        weights = (row >= 0).astype(jnp.float32)
        return images[index].astype(jnp.float32), labels[index].astype(jnp.int32), weights, weight_of_all

    return gather_batch


def train_program(
    network: keras.Model,
    optimizer: keras.Optimizer | None,
    mesh: Mesh,
    recipe: Recipe = PLAIN,
    *,
    one_by_one: bool = False,
) -> Callable:
    """Steps `start` to `stop`: the new values, Σ wᵢlᵢ of each step, float32 [steps], and how many were right."""
    gather_batch = batch_gatherer(mesh)
    counter = [variable is optimizer.iterations for variable in optimizer.variables].index(True) if optimizer else 0

    def loss(trainable, non_trainable, x, y, weights, weight_of_all):
        logits, non_trainable, penalties = network.stateless_call(
            trainable, non_trainable, x, training=True, return_losses=True
        )
        loss_sum = jnp.sum(weights * cross_entropy(y, logits, recipe.label_smoothing))
        hits = jnp.sum(weights * (jnp.argmax(logits, -1) == y)).astype(jnp.int32)
        return loss_sum / jnp.maximum(weight_of_all, 1) + sum(penalties), (non_trainable, loss_sum, hits)

    def loop(values, images, labels, order, start, stop, seed):
        def step(i, carry):
            values, losses, correct = carry
            x, *rest = gather_batch(images, labels, order, i)
            x = distort(x, recipe.augment, seed, values["optimizer"][counter], jnp.maximum(order[i], 0))
            (_, (non_trainable, loss_sum, hits)), gradients = jax.value_and_grad(loss, has_aux=True)(
                values["trainable"], values["non_trainable"], x, *rest
            )
            trainable, slots = optimizer.stateless_apply(values["optimizer"], gradients, values["trainable"])
            values = {"trainable": trainable, "non_trainable": non_trainable, "optimizer": slots}
            return values, losses.at[i].set(loss_sum), correct + hits

        # The losses leave step by step: their sum must not depend on how an epoch was cut into calls.
        losses = jnp.zeros(order.shape[0], jnp.float32)
        carry = (values, losses, jnp.int32(0))
        return step(start, carry) if one_by_one else jax.lax.fori_loop(start, stop, step, carry)

    return one_program(loop, mesh, donate_argnums=0)


def evaluate_program(network: keras.Model, mesh: Mesh, *, one_by_one: bool = False) -> Callable:
    """Steps `start` to `stop`: Σ wᵢlᵢ of each step, float32 [steps], and the confusion matrix, int32 [10, 10]."""
    gather_batch = batch_gatherer(mesh)

    def loop(values, images, labels, order, start, stop):
        def step(i, carry):
            losses, confusion = carry
            x, y, weights, _ = gather_batch(images, labels, order, i)
            logits, _ = network.stateless_call(values["trainable"], values["non_trainable"], x, training=False)
            truth = weights[:, None] * jax.nn.one_hot(y, 10)
            found = truth.T @ jax.nn.one_hot(jnp.argmax(logits, -1), 10)  # zeros and ones: exact in any precision
            loss_sum = jnp.sum(weights * cross_entropy(y, logits))
            return losses.at[i].set(loss_sum), confusion + found.astype(jnp.int32)

        losses = jnp.zeros(order.shape[0], jnp.float32)
        carry = (losses, jnp.zeros((10, 10), jnp.int32))
        return step(start, carry) if one_by_one else jax.lax.fori_loop(start, stop, step, carry)

    return one_program(loop, mesh)


def forward_program(network: keras.Model) -> Callable:
    """What the network gives, float32 [n, 10], for images, float32 [n, 28, 28]."""

    def program(values, images):
        with jax.default_matmul_precision("highest"):
            return network.stateless_call(values["trainable"], values["non_trainable"], images, training=False)[0]

    return jax.jit(program)


def cross_entropy(labels, logits, smoothing=0.0):
    """−log softmax(logitsᵢ)[labelᵢ], in nats, float32 [batch]; with smoothing that share of a label is spread over all
    classes."""
    losses = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]
    return losses if not smoothing else (1 - smoothing) * losses - smoothing * jax.nn.log_softmax(logits).mean(-1)
