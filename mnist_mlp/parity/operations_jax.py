"""The operation tests on JAX: one program, which every device of the mesh runs as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import PartitionSpec

from mnist_mlp.engine.base import DeviceSet
from mnist_mlp.engine.jax.devices import kind, mesh_of
from mnist_mlp.engine.jax.programs import cross_entropy
from mnist_mlp.parity.questions import DROPPED

try:
    from jax import shard_map
except ImportError:  # JAX 0.6.0
    from jax.experimental.shard_map import shard_map  # type: ignore[no-redef]

Arrays = dict[str, Any]  # by name, perhaps in groups


def answerer(devices: DeviceSet) -> Callable[[Arrays], dict[int, tuple[str, Arrays]]]:
    """Return a function that returns the device, "CPU:3", and the results of each replica of this process."""

    def on_each(asked: Arrays) -> Arrays:
        replica = jax.lax.axis_index("batch")
        return jax.tree.map(lambda value: value[None], compute(asked, replica))

    everywhere, apart = PartitionSpec(), PartitionSpec("batch")
    program = jax.jit(shard_map(on_each, mesh=mesh_of(devices.where), in_specs=everywhere, out_specs=apart))

    def answer(asked: Arrays) -> dict[int, tuple[str, Arrays]]:
        with jax.default_matmul_precision("highest"):  # as in the engine
            stacked = program(asked)
        shards = jax.tree.leaves(stacked)[0].addressable_shards
        return {
            replica: (
                f"{kind(device)}:{device.id}",
                jax.tree.map(lambda value, at=device: own_part(value, at), stacked),
            )
            for replica, device in sorted((shard.index[0].start or 0, shard.device) for shard in shards)
        }

    return answer


def own_part(stacked: jax.Array, device: jax.Device) -> np.ndarray:
    """Return a device's part of an array that holds one value per replica."""
    return next(np.asarray(shard.data)[0] for shard in stacked.addressable_shards if shard.device == device)


def compute(asked: Arrays, replica: jax.Array) -> Arrays:
    """Return all results of one replica."""
    return {
        "products": products(**asked["products"]),
        "means": {name: jnp.mean(flags) for name, flags in asked["flags"].items()},
        "counts": {name: jnp.sum(flags) for name, flags in asked["flags"].items()},
        "argmax": jnp.argmax(asked["ties"], -1).astype(jnp.int32),
        "extremes": softmax_and_loss(**asked["extremes"]),
        "images": gather(asked["images"], asked["rows"]),
        "labels": gather(asked["labels"], asked["rows"]).astype(jnp.int32),
        "pixels": asked["pixels"].astype(jnp.float32),
        "scaled": asked["pixels"].astype(jnp.float32) * jnp.float32(1 / 255),
        "bytes": asked["floats"].astype(jnp.uint8),
        "sums": {name: jnp.sum(values) for name, values in asked["addends"].items()},
        "exp": jnp.exp(asked["exponents"]),
        "log": jnp.log(asked["positives"]),
        "all-reduce": all_reduce(asked["positions"], asked["shares"], replica),
        "bits": random_bits(asked["seed"], asked["ones"].shape),
        "mask": keras.random.dropout(asked["ones"], DROPPED, seed=1),
    }


def products(forwards: Arrays, for_the_kernel: Arrays, for_the_input: Arrays) -> Arrays:
    """Return the products of a Dense layer: forward, for its kernel's gradient, and for its input's gradient."""
    found = {name: jnp.matmul(a, b) for name, (a, b) in forwards.items()}
    found |= {name: jnp.matmul(a.T, b) for name, (a, b) in for_the_kernel.items()}
    return found | {name: jnp.matmul(a, b.T) for name, (a, b) in for_the_input.items()}


def softmax_and_loss(logits: jax.Array, labels: jax.Array) -> Arrays:
    """Return softmax and losses as models and engine compute them, and the derivatives with respect to the logits."""
    losses = cross_entropy(labels, logits)
    gradient = jax.grad(lambda logits: jnp.sum(cross_entropy(labels, logits)))(logits)
    return {"softmax": jax.nn.softmax(logits), "losses": losses, "gradient": gradient}


def gather(values: jax.Array, rows: jax.Array) -> jax.Array:
    """Index as the engine does."""
    return values[rows]


def all_reduce(positions: jax.Array, shares: Arrays, replica: jax.Array) -> Arrays:
    """Reduce over the replicas, each with its share at its own positions and 0 elsewhere."""
    mine = positions % len(shares["floats"]) == replica
    floats, integers = (jnp.where(mine, shares[kind][replica], 0) for kind in ("floats", "integers"))
    return {
        "sum": jax.lax.psum(floats, "batch"),
        "mean": jax.lax.pmean(floats, "batch"),
        "integer sum": jax.lax.psum(integers, "batch"),
    }


def random_bits(seed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return uint32 from the generator that Keras seeds."""
    with jax.threefry_partitionable(True):  # the same numbers for every number of devices
        return jax.random.bits(jax.random.wrap_key_data(seed, impl="threefry2x32"), shape, jnp.uint32)
