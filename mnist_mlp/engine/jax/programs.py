"""What the JAX engine compiles: a loop over the steps of an order, and the steps of training and evaluation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mnist_mlp.engine.augmentation import distort
from mnist_mlp.engine.base import PLAIN, Recipe

# How XLA compiles for a CPU: tasks one after the other, and no fusions by YNN. Together they take a seventh from a step
# of 32 images on two cores, as measured.
FOR_A_CPU = {
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "xla_cpu_experimental_ynn_fusion_type": "",
}


def one_program(loop: Callable, mesh: Mesh, **options: Any) -> Callable:
    """`loop(values, images, labels, order, start, stop, …)`, compiled; what comes out is the same on each device.

    `start` and `stop` are run-time values: a call may run any part of the order without compiling again.
    """

    def program(*arguments):
        with jax.default_matmul_precision("highest"):  # float32 means float32, also on a TPU and a GPU
            return loop(*arguments)

    if mesh.devices.flat[0].platform == "cpu":
        options |= {"compiler_options": known_options()}
    return jax.jit(program, out_shardings=NamedSharding(mesh, PartitionSpec()), **options)


@functools.cache
def known_options() -> dict[str, str]:
    """Those of FOR_A_CPU that the installed JAX knows: it is asked with an empty program, since no version has all."""

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
