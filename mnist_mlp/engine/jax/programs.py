"""The programs that the JAX engine compiles: a loop over the steps of an epoch, and the steps themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.stages import Wrapped

from mnist_mlp.engine.augmentation import distort
from mnist_mlp.engine.base import PLAIN, Recipe

# How XLA compiles for a CPU: it runs tasks one after the other, without fusions by YNN. Together they save a seventh of
# a step of 32 images, as measured on two cores.
FOR_A_CPU = {
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "xla_cpu_experimental_ynn_fusion_type": "",
}


class Batch(NamedTuple):
    """A batch, split across the devices."""

    images: jax.Array  # float32 [batch, 28, 28]
    labels: jax.Array  # int32 [batch]
    weights: jax.Array  # float32 [batch], 0 for padding
    total_weight: jax.Array  # float32, of the whole batch


def train_program(
    network: keras.Model,
    optimizer: keras.Optimizer | None,
    mesh: Mesh,
    recipe: Recipe = PLAIN,
    *,
    one_by_one: bool = False,
) -> Wrapped:
    """Return a program (see `one_program`) that trains: the new values, Σ wᵢlᵢ of each step, float32 [steps], and the
    number of correct answers. Its last argument is the seed of the distortions."""
    gather_batch = batch_gatherer(mesh)
    counter = [variable is optimizer.iterations for variable in optimizer.variables].index(True) if optimizer else 0

    def loss(trainable, non_trainable, batch):
        logits, non_trainable, penalties = network.stateless_call(
            trainable, non_trainable, batch.images, training=True, return_losses=True
        )
        loss_sum = jnp.sum(batch.weights * cross_entropy(batch.labels, logits, recipe.label_smoothing))
        hits = jnp.sum(batch.weights * (jnp.argmax(logits, -1) == batch.labels)).astype(jnp.int32)
        return loss_sum / jnp.maximum(batch.total_weight, 1) + sum(penalties), (non_trainable, loss_sum, hits)

    def loop(values, data, batch_indices, steps, seed):
        def step(i, carry):
            values, losses, correct = carry
            batch = gather_batch(data, batch_indices, i)
            iteration, index = values["optimizer"][counter], jnp.maximum(batch_indices[i], 0)
            batch = batch._replace(images=distort(batch.images, recipe.augment, seed, iteration, index))
            (_, (non_trainable, loss_sum, hits)), gradients = jax.value_and_grad(loss, has_aux=True)(
                values["trainable"], values["non_trainable"], batch
            )
            trainable, slots = optimizer.stateless_apply(values["optimizer"], gradients, values["trainable"])
            values = {"trainable": trainable, "non_trainable": non_trainable, "optimizer": slots}
            return values, losses.at[i].set(loss_sum), correct + hits

        # One loss for each step: a sum of them must not depend on how an epoch is cut into calls.
        losses = jnp.zeros(batch_indices.shape[0], jnp.float32)
        carry = (values, losses, jnp.int32(0))
        return step(steps[0], carry) if one_by_one else jax.lax.fori_loop(*steps, step, carry)

    return one_program(loop, mesh, donate_argnums=0)


def evaluate_program(network: keras.Model, mesh: Mesh, *, one_by_one: bool = False) -> Wrapped:
    """Return a program (see `one_program`) that scores: Σ wᵢlᵢ of each step, float32 [steps], and the confusion matrix,
    int32 [10, 10]."""
    gather_batch = batch_gatherer(mesh)

    def loop(values, data, batch_indices, steps):
        def step(i, carry):
            losses, confusion = carry
            x, y, weights, _ = gather_batch(data, batch_indices, i)
            logits, _ = network.stateless_call(values["trainable"], values["non_trainable"], x, training=False)
            truth = weights[:, None] * jax.nn.one_hot(y, 10)
            found = truth.T @ jax.nn.one_hot(jnp.argmax(logits, -1), 10)  # zeros and ones: exact in any precision
            loss_sum = jnp.sum(weights * cross_entropy(y, logits))
            return losses.at[i].set(loss_sum), confusion + found.astype(jnp.int32)

        losses = jnp.zeros(batch_indices.shape[0], jnp.float32)
        carry = (losses, jnp.zeros((10, 10), jnp.int32))
        return step(steps[0], carry) if one_by_one else jax.lax.fori_loop(*steps, step, carry)

    return one_program(loop, mesh)


def forward_program(network: keras.Model) -> Wrapped:
    """Return a function of the values and of images, float32 [n, 28, 28], that computes the network's outputs."""

    def program(values, images):
        with jax.default_matmul_precision("highest"):
            return network.stateless_call(values["trainable"], values["non_trainable"], images, training=False)[0]

    return jax.jit(program)


def gradient_program(network: keras.Model) -> Wrapped:
    """Return a function of the values, of images, float32 [n, 28, 28], and of labels, int32 [n], that computes the
    gradient of each image's cross-entropy by its pixels, float32 [n, 28, 28]."""

    def program(values, images, labels):
        def loss(images):
            logits, _ = network.stateless_call(values["trainable"], values["non_trainable"], images, training=False)
            return jnp.sum(cross_entropy(labels, logits))

        with jax.default_matmul_precision("highest"):
            return jax.grad(loss)(images)

    return jax.jit(program)


def product_program(mesh: Mesh) -> Wrapped:
    """Return a function of two matrices that every device multiplies as a whole, compiled as the steps are."""
    return one_program(jnp.matmul, mesh)


def one_program(loop: Callable, mesh: Mesh, **options: Any) -> Wrapped:
    """Return the compiled `loop(values, data, batch_indices, (start, stop), …)`, whose outputs every device has.

    `data` is (images, labels). `start` and `stop` are run-time values: no call compiles again.
    """

    def program(*arguments):
        with jax.default_matmul_precision("highest"):  # float32 means float32, also on a TPU and a GPU
            return loop(*arguments)

    if mesh.devices.flat[0].platform == "cpu":
        options |= {"compiler_options": known_options()}
    return jax.jit(program, out_shardings=NamedSharding(mesh, PartitionSpec()), **options)


@functools.cache
def known_options() -> dict[str, str]:
    """Return the options of FOR_A_CPU that the installed JAX accepts for an empty program; no version has all."""

    def known(options: dict[str, str]) -> bool:
        try:
            jax.jit(lambda: (), compiler_options=options).lower().compile()
        except jax.errors.JaxRuntimeError:
            return False
        return True

    if known(FOR_A_CPU):
        return FOR_A_CPU
    return {name: value for name, value in FOR_A_CPU.items() if known({name: value})}


def batch_gatherer(mesh: Mesh) -> Callable:
    """Return a function that gathers the `Batch` of a step from the data, with a share on each device."""
    split = NamedSharding(mesh, PartitionSpec("batch"))
    replicated = NamedSharding(mesh, PartitionSpec())

    def gather_batch(data, batch_indices, step):
        images, labels = data
        row = jax.lax.with_sharding_constraint(batch_indices[step], replicated)
        total_weight = jnp.sum(row >= 0).astype(jnp.float32)  # counted on each device, without a collective
        row = jax.lax.with_sharding_constraint(row, split)
        index = jnp.maximum(row, 0)
        weights = (row >= 0).astype(jnp.float32)
        return Batch(images[index].astype(jnp.float32), labels[index].astype(jnp.int32), weights, total_weight)

    return gather_batch


def cross_entropy(labels, logits, smoothing=0.0):
    """Return −log softmax(logitsᵢ)[labelᵢ], float32 [batch], in nats. `smoothing` is the share of a label that is
    spread evenly over the classes."""
    losses = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]
    return losses if not smoothing else (1 - smoothing) * losses - smoothing * jax.nn.log_softmax(logits).mean(-1)
