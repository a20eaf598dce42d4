"""Set up JAX on the devices of a plan, without TensorFlow."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mnist_mlp.devices import Plan, rendezvous
from mnist_mlp.devices.machine import processor_name
from mnist_mlp.devices.timeout import within
from mnist_mlp.engine.base import DeviceSet
from mnist_mlp.errors import UserError


def jit_disabled() -> bool:
    """Return whether JAX runs operation by operation, without XLA's compiler."""
    return jax.config.jax_disable_jit  # type: ignore[attr-defined]  # JAX adds its options at run time


DISABLED = jit_disabled()  # by the user, who may set JAX_DISABLE_JIT
HEARTBEAT_TIMEOUT = 30  # seconds of silence after which JAX takes a worker for dead and ends the others


def attach(plan: Plan, start_timeout: float) -> DeviceSet:
    """Return the devices that JAX really has for the plan.

    If a GPU or TPU fails to start, "auto" falls back to the CPU with a note; an explicit request raises `UserError`.
    There is no silent fallback. `start_timeout` (seconds) limits the wait for a TPU and for other workers.
    """
    jax.config.update("jax_disable_jit", not plan.xla or DISABLED)  # without XLA: operation by operation
    if plan.workers:
        return on_workers(plan, start_timeout)
    if plan.device == "cpu":
        return on_cpu(plan)
    flag = f"--strategy={plan.requested}"
    remedy = f"run python -m mnist_mlp.doctor {flag}"
    try:
        devices = within(start_timeout, f"the {plan.device.upper()}", remedy, jax.devices)
    except (RuntimeError, AssertionError) as error:  # an AssertionError if no platform started
        problem = f"JAX {jax.__version__} has no {plan.device.upper()}: {first_line(error)}"
        if plan.requested != "auto":
            raise UserError(f"{flag}: {problem}; {remedy}") from None
        jax.config.update("jax_platforms", "cpu")
        return on_cpu(plan, (f"{problem}: this run is on the CPU; {remedy}",))
    count = plan.replicas or len(devices)
    if count > len(devices):
        raise UserError(
            f"--replicas={count}: expected at most JAX's {len(devices)} devices; try --replicas={len(devices)}"
        )
    several = f"{count} × " if count > 1 else ""
    return DeviceSet(f"{kind(devices[0])}: {several}{devices[0].device_kind}", (), count, devices[:count])


def on_cpu(plan: Plan, notes: tuple[str, ...] = ()) -> DeviceSet:
    """Return the CPU, divided into a logical device for each replica."""
    count = plan.replicas or 1
    if count > 1:
        with contextlib.suppress(RuntimeError):  # JAX already runs in this process, perhaps with enough devices
            jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise UserError(f"--replicas={count}: JAX has already divided the CPU differently; start a new process")
    return DeviceSet(f"CPU: {processor_name()}", notes, count, devices[:count])


def on_workers(plan: Plan, start_timeout: float) -> DeviceSet:
    """Wait for all workers, and return their devices."""
    remedy = "start the same command on each with its own --worker_index, or use a longer --start_timeout"
    what = f"{len(plan.workers)} workers at {', '.join(plan.workers)}"

    options: dict[str, Any] = {"initialization_timeout": int(start_timeout)}
    # Nothing is left to detect, but JAX would ask Google's metadata service for minutes (jax#40854), and hide all GPUs
    # but one from a task of Slurm or Open MPI.
    options["cluster_detection_method"] = "deactivate"
    known = inspect.signature(jax.distributed.initialize).parameters
    timeouts = ("heartbeat_timeout_seconds", "shutdown_timeout_seconds")  # JAX 0.6 waits 100 s and 300 s
    options |= {name: HEARTBEAT_TIMEOUT for name in timeouts if name in known}

    def initialize() -> list[jax.Device]:
        jax.distributed.initialize(plan.workers[0], len(plan.workers), plan.worker_index, **options)
        host = rendezvous.own_host(plan.workers, plan.worker_index)
        if plan.device == "cpu" and host:
            connect_cpus_at(host)
        return jax.devices()

    try:
        devices = within(start_timeout, what, remedy, initialize)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"--strategy=multiworker: cannot connect {what}: {first_line(error)}; {remedy}") from None
    here = jax.local_devices()[0]
    name = processor_name() if kind(here) == "CPU" else here.device_kind
    device = f"{kind(here)}: {len(plan.workers)} workers, here {name}"

    lost = (jax.errors.JaxRuntimeError, ValueError)  # ValueError: raised before a call starts
    return DeviceSet(
        device, (), len(devices), devices, workers=len(plan.workers), lost=lost, leave=jax.distributed.shutdown
    )


def connect_cpus_at(host: str) -> None:
    """Let Gloo, which connects the CPUs of several workers, listen at the address `host` of this machine.

    By itself it listens at the address that the machine's own name resolves to, which other machines cannot reach
    where that is 127.0.1.1, as on Debian and Ubuntu.
    """
    import jax.extend.backend
    from jax._src import distributed, xla_bridge
    from jax._src.lib import xla_client

    def make_client() -> Any:
        client = distributed.global_state.client
        gloo = xla_client._xla.make_gloo_tcp_collectives(distributed_client=client, hostname=host)
        return xla_bridge.make_cpu_client(gloo)

    # What JAX itself registers, but for the address.
    jax.extend.backend.register_backend_factory("cpu", make_client, priority=0, fail_quietly=False)


def first_line(error: Exception) -> str:
    """Return what went wrong, in at most 300 characters, without JAX's advice on a variable that the plan sets."""
    first = (str(error).strip() or "no such platform started").splitlines()[0]
    return first.partition(" (set JAX_PLATFORMS")[0][:300]


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
    """Return a mesh with one axis, across which each batch is split."""
    return Mesh(np.array(devices), ("batch",))


def device_names(array: jax.Array) -> list[str]:
    """Return the devices that hold an array: ["TPU:0"]."""
    return sorted(f"{kind(d)}:{d.id}" for d in array.devices())


def kind(device: jax.Device) -> str:
    """Return "CPU", "GPU" or "TPU"."""
    return {"cuda": "GPU", "rocm": "GPU"}.get(device.platform, device.platform.upper())
