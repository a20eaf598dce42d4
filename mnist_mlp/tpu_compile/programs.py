"""Compile the programs of the JAX engine for a TPU that this machine does not have.

`main` runs in a child process of command.py: libtpu may hang or abort, and only one process at a time may load it.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

from mnist_mlp.config import Config
from mnist_mlp.data.batches import sequential_indices
from mnist_mlp.engine.base import PLAIN, Recipe
from mnist_mlp.engine.batching import pad_batches
from mnist_mlp.engine.jax.devices import first_line, mesh_of
from mnist_mlp.engine.jax.engine import variables_of
from mnist_mlp.engine.jax.programs import evaluate_program, forward_program, train_program
from mnist_mlp.errors import UserError
from mnist_mlp.models import networks
from mnist_mlp.training import optimizers

Program = tuple[jax.stages.Wrapped, tuple]  # a jitted function and its arguments, with shapes instead of arrays


def main(text: str, file: str) -> None:
    """Write the answer to a request, both as JSON, to a file: see `compile_for`."""
    try:
        answer = compile_for(json.loads(text))
    except UserError as error:
        answer = {"error": str(error)}
    Path(file).write_text(json.dumps(answer))
    os._exit(0)  # an orderly shutdown of JAX and libtpu takes time


def compile_for(request: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the programs for the topology of a request; return what they need, and their optimized HLO.

    Raises `UserError` with the compiler's error if the topology does not exist or a program does not compile.
    """
    devices = devices_of(request["topology"], request["replicas"])
    networks.set_conventions()
    config = Config(**{name: value for name, value in request.items() if name not in ("topology", "examples")})
    model = networks.from_config(config)
    optimizer = optimizers.from_config(config, math.ceil(request["examples"]["train"] / config.batch_size))
    skip_layouts()
    recipe = Recipe(config.augment, config.label_smoothing)
    to_compile = programs(model, optimizer, devices, request["examples"], config.batch_size, recipe)
    return {
        "error": "",
        "kind": devices[0].device_kind,
        "chips": len({tuple(device.coords) for device in devices}),
        "cores": len(devices),
        "parameters": model.count_params(),
        "trainable": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        "programs": {name: compile_program(name, *program) for name, program in to_compile.items()},
    }


def devices_of(topology: str, count: int | None) -> Sequence[jax.Device]:
    """Return the first `count` cores of a topology, or all, as devices to compile for; they cannot run anything."""
    options: dict[str, Any] = {}
    if re.fullmatch(r"[^:]+:1(x1)*", topology):
        options["chips_per_host_bounds"] = (1, 1, 1)  # libtpu 0.0.21 assumes 2×2 chips per host, even for one chip
    if topology.startswith("v4:"):
        options["chip_config_name"] = "megacore"  # the two cores of a chip as one device, as on a real v4
    try:
        devices = topologies.get_topology_desc(topology_name=topology, platform="tpu", **options).devices
    except RuntimeError as error:
        raise UserError(first_line(error)) from None
    if count and count > len(devices):
        raise UserError(f"--replicas={count}: {topology} has {len(devices)} cores; use --replicas={len(devices)}")
    return devices[:count]


def skip_layouts() -> None:
    """Keep JAX from asking libtpu for default array layouts, which are needed only to call a program.

    libtpu 0.0.21 (Colab's) crashes on the form in which JAX 0.7.2 asks it about a topology.
    """
    from jax._src.interpreters import pxla

    if hasattr(pxla, "is_default_layout"):
        pxla.is_default_layout = lambda layout, sharding, aval: True


# Six parameters: those of an engine, with the numbers of examples instead of the splits.
def programs(
    model: keras.Model,
    optimizer: keras.Optimizer,
    devices: Sequence[jax.Device],
    examples: Mapping[str, int],
    batch_size: int,
    recipe: Recipe = PLAIN,
) -> dict[str, Program]:
    """Return what `JaxEngine` would run on these devices, by name, with shapes, types and shardings of its arguments.

    The parameters are those of `JaxEngine`, with the sizes of the splits "train", "test" and perhaps "validation" as
    `examples`.
    """
    mesh = mesh_of(devices)
    everywhere = NamedSharding(mesh, PartitionSpec())
    network = networks.to_logits(model)
    optimizer.build(model.trainable_variables)

    def whole(shape: Sequence[int], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=everywhere)

    values = jax.tree.map(lambda v: whole(v.value.shape, v.value.dtype), variables_of(network, optimizer))

    def arguments(split: str) -> tuple:
        n = examples[split]
        indices = pad_batches(sequential_indices(n, batch_size), len(devices))
        # The engine passes batch indices as a NumPy array: the compiler chooses their sharding.
        batch_indices = jax.ShapeDtypeStruct(indices.shape, indices.dtype)
        return values, (whole((n, 28, 28), np.uint8), whole((n,), np.uint8)), batch_indices, (0, 0)

    evaluate = evaluate_program(network, mesh)
    width = sequential_indices(examples["test"], batch_size).shape[1]
    result: dict[str, Program] = {
        "train": (train_program(network, optimizer, mesh, recipe), (*arguments("train"), np.uint32(0))),
        "evaluate": (evaluate, arguments("test")),
    }
    if "validation" in examples:
        result["validate"] = (evaluate, arguments("validation"))
    result["predict"] = (forward_program(model), (values, whole((width, 28, 28), np.float32)))
    return result


def compile_program(name: str, function: jax.stages.Wrapped, arguments: tuple) -> dict[str, Any]:
    """Return seconds, bytes per core, floating-point operations per core and step, and HLO of a compiled program."""
    began = time.perf_counter()
    try:
        lowered = function.trace(*arguments).lower(lowering_platforms=("tpu",))
        traced = time.perf_counter()
        compiled = lowered.compile()
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        raise UserError(f"{name} does not compile: {first_line(error)}") from None
    ended = time.perf_counter()
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    return {
        "trace_seconds": traced - began,
        "compile_seconds": ended - traced,
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "flops": int(cost["flops"]),  # XLA does not know the length of a loop and counts its body once
        "hlo": compiled.as_text(),
    }
