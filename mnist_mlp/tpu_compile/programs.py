"""Compiles the programs of the JAX engine for a TPU that is not here; runs none of them.

`main` is what the processes of tpu_compile.py run: libtpu may hang or abort, and one process at a time may load it.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
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

Program = tuple[Callable, tuple]  # a jitted function, and what it is called with: shapes instead of arrays


def main(text: str, file: str) -> None:
    """Writes the answer to a request, both JSON, into a file: see `compile_for`."""
    try:
        answer = compile_for(json.loads(text))
    except UserError as error:
        answer = {"error": str(error)}
    Path(file).write_text(json.dumps(answer))
    os._exit(0)  # taking JAX and libtpu apart in an orderly way costs time


def compile_for(request: Mapping[str, Any]) -> dict[str, Any]:
    """The programs, compiled for the topology of a request: what they need, and their optimised HLO text.

    Raises `UserError` with the compiler's own words where there is no such topology or a program does not compile.
    """
    devices = devices_of(request["topology"], request["replicas"])
    networks.set_conventions()
    model = networks.build(
        request["model"], pixels=request["pixels"], precision=request["precision"], seed=request["seed"]
    )
    config = Config(**{name: value for name, value in request.items() if name not in ("topology", "examples")})
    optimizer = optimizers.of_config(config, math.ceil(request["examples"]["train"] / config.batch_size))
    skip_layouts()
    recipe = Recipe(config.augment, config.label_smoothing)
    found = programs(model, optimizer, devices, request["examples"], config.batch_size, recipe)
    return {
        "error": "",
        "kind": devices[0].device_kind,
        "chips": len({tuple(device.coords) for device in devices}),
        "cores": len(devices),
        "parameters": model.count_params(),
        "trainable": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        "programs": {name: compile_program(name, *program) for name, program in found.items()},
    }


def devices_of(topology: str, count: int | None) -> Sequence[jax.Device]:
    """The first `count` cores of a topology, or all: devices to compile for, which cannot run anything."""
    options: dict[str, Any] = {}
    if re.fullmatch(r"[^:]+:1(x1)*", topology):
        options["chips_per_host_bounds"] = (1, 1, 1)  # libtpu 0.0.21 takes a host to have 2×2 chips, also of one
    if topology.startswith("v4:"):
        options["chip_config_name"] = "megacore"  # the two cores of a chip as one device, as JAX has them on a real v4
    try:
        devices = topologies.get_topology_desc(topology_name=topology, platform="tpu", **options).devices
    except RuntimeError as error:
        raise UserError(first_line(error)) from None
    if count and count > len(devices):
        raise UserError(f"--replicas={count}: {topology} has {len(devices)} cores; type --replicas={len(devices)}")
    return devices[:count]


def skip_layouts() -> None:
    """Keeps JAX from asking libtpu how it lays out arrays by default, which only a call of a program needs.

    libtpu 0.0.21 (Colab's) does not know the question in the form that JAX 0.7.2 puts it in to a topology, and crashes.
    """
    from jax._src.interpreters import pxla

    if hasattr(pxla, "is_default_layout"):
        pxla.is_default_layout = lambda layout, sharding, aval: True


def programs(
    model: keras.Model,
    optimizer: keras.Optimizer,
    devices: Sequence[jax.Device],
    examples: Mapping[str, int],
    batch_size: int,
    recipe: Recipe = PLAIN,
) -> dict[str, Program]:
    """What `JaxEngine` would run on these devices, by name, with the shapes, types and places of its arguments.

    `examples`: how many there are of each split, "train", "test" and perhaps "validation".
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
    found: dict[str, Program] = {
        "train": (train_program(network, optimizer, mesh, recipe), (*arguments("train"), np.uint32(0))),
        "evaluate": (evaluate, arguments("test")),
    }
    if "validation" in examples:
        found["validate"] = (evaluate, arguments("validation"))
    found["predict"] = (forward_program(model), (values, whole((width, 28, 28), np.float32)))
    return found


def compile_program(name: str, function: Callable, arguments: tuple) -> dict[str, Any]:
    """Seconds, bytes per core, floating-point operations per core and step, and the text of the compiled program."""
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
        "flops": int(cost["flops"]),  # of a loop, whose length is not known here, XLA counts the body once
        "hlo": compiled.as_text(),
    }
