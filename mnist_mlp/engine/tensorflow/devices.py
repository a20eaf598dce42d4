"""Set up TensorFlow on the devices of a plan: one device without a strategy, several under tf.distribute."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from mnist_mlp.devices import Plan
from mnist_mlp.devices.machine import processor_name
from mnist_mlp.devices.timeout import within
from mnist_mlp.engine.base import DeviceSet
from mnist_mlp.errors import UserError

LOST = (  # what a collective raises if a worker is lost; some of these have other causes, too
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError),
    *(tf.errors.DeadlineExceededError, tf.errors.InternalError, tf.errors.FailedPreconditionError),
)
START_FAILED = (tf.errors.OpError, OSError, ValueError, RuntimeError)
FLOAT32_ON_TPU = "TensorFlow rounds the factors of float32 matrix products on a TPU to bfloat16"
CUDA_REMEDY = "run pip install 'tensorflow[and-cuda]'"


def attach(plan: Plan, start_timeout: float) -> DeviceSet:
    """Return the devices that TensorFlow really has for the plan.

    If TensorFlow cannot use the machine's GPU, "auto" falls back to the CPU with a note; an explicit request raises
    `UserError`. There is no silent fallback. `start_timeout` (seconds) limits the wait for a TPU and for other workers.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 means float32, also on GPUs
    attachers: dict[str, Callable[[], DeviceSet]] = {
        "cpu": lambda: on_cpu(plan),
        "gpu": lambda: on_gpus(plan),
        "tpu": lambda: on_tpu(plan, start_timeout),
        "multiworker": lambda: on_workers(plan, start_timeout),
    }
    devices = attachers[plan.strategy]()
    return devices if plan.xla else dataclasses.replace(devices, xla=False)


def on_cpu(plan: Plan, notes: tuple[str, ...] = ()) -> DeviceSet:
    """Return the CPU, divided into a logical device for each replica."""
    device = f"CPU: {processor_name()}"
    if plan.replicas == 1:
        return DeviceSet(device, notes)
    parts = [tf.config.LogicalDeviceConfiguration()] * (plan.replicas or 1)
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError:  # TensorFlow already runs in this process
        if len(tf.config.list_logical_devices("CPU")) < len(parts):
            raise UserError(
                f"--replicas={plan.replicas}: TensorFlow has already divided the CPU differently; start a new process"
            ) from None
    names = [f"CPU:{index}" for index in range(len(parts))]
    strategy = tf.distribute.MirroredStrategy(names, tf.distribute.ReductionToOneDevice())
    return DeviceSet(device, notes, len(parts), strategy, xla=False)


def on_gpus(plan: Plan) -> DeviceSet:
    """Return one GPU without a strategy, which would rule out XLA, or several in a MirroredStrategy."""
    gpus = tf.config.list_physical_devices("GPU")
    count = plan.replicas or 1
    if len(gpus) < count:
        problem = gpus_missing(f"{len(gpus)} of {count} GPUs" if gpus else "none of the GPUs of this machine")
        if plan.requested != "auto":
            raise UserError(f"--strategy={plan.requested}: {problem}; {CUDA_REMEDY}")
        return on_cpu(plan, (f"{problem}: this run is on the CPU; {CUDA_REMEDY}",))
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "unnamed")
    if count == 1:
        return DeviceSet(f"GPU: {name}")
    names = [f"GPU:{index}" for index in range(count)]
    return DeviceSet(f"GPU: {count} × {name}", (), count, tf.distribute.MirroredStrategy(names), xla=False)


def gpus_missing(usable: str) -> str:
    return f"TensorFlow {tf.__version__} can use {usable} (the CUDA libraries are missing or do not match the driver)"


@functools.cache  # TensorFlow loses all variables if a process does this twice
def tpu_strategy(tpu: str, replicas: int | None) -> tf.distribute.Strategy:
    """Return the strategy for `replicas` cores of a TPU, or all."""
    if tpu_strategy.cache_info().currsize:
        raise UserError("the TPU is already set up differently in this process; start a new process")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
    tf.config.experimental_connect_to_cluster(resolver)  # does nothing for "local"
    topology = tf.tpu.experimental.initialize_tpu_system(resolver)
    cores = topology.num_tasks * topology.num_tpus_per_task
    if replicas and replicas > cores:
        raise UserError(f"--replicas={replicas}: expected at most the TPU's {cores} cores; try --replicas={cores}")
    assignment = tf.tpu.experimental.DeviceAssignment.build(topology, num_replicas=replicas or cores)
    return tf.distribute.TPUStrategy(resolver, experimental_device_assignment=assignment)


def on_tpu(plan: Plan, start_timeout: float) -> DeviceSet:
    """Return all cores of a TPU, or `--replicas` of them."""
    remedy = "run python -m mnist_mlp.doctor --strategy=tpu"
    try:
        strategy = within(start_timeout, f"the TPU {plan.tpu!r}", remedy, lambda: tpu_strategy(plan.tpu, plan.replicas))
    except START_FAILED as error:
        raise UserError(f"--strategy=tpu: TPU {plan.tpu!r} failed to start: {first_line(error)}; {remedy}") from None
    replicas = strategy.num_replicas_in_sync
    return DeviceSet(f"TPU: {replicas} cores", (FLOAT32_ON_TPU,), replicas, strategy, xla=True)


def on_workers(plan: Plan, start_timeout: float) -> DeviceSet:
    """Wait for all workers, and return their devices."""
    remedy = "start the same command on each with its own --worker_index, or use a longer --start_timeout"
    what = f"{len(plan.workers)} workers at {', '.join(plan.workers)}"
    try:
        strategy = within(start_timeout, what, remedy, tf.distribute.MultiWorkerMirroredStrategy)
    except START_FAILED as error:
        raise UserError(f"--strategy=multiworker: cannot connect {what}: {first_line(error)}; {remedy}") from None

    gpus = tf.config.list_logical_devices("GPU")
    if plan.device == "gpu" and not gpus:
        raise UserError(f"--strategy=multiworker: {gpus_missing('none of the GPUs of this machine')}; {CUDA_REMEDY}")
    replicas = strategy.num_replicas_in_sync
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "") if gpus else processor_name()
    device = f"{'GPU' if gpus else 'CPU'}: {len(plan.workers)} workers, here {name}"
    return DeviceSet(device, (), replicas, strategy, xla=False, workers=len(plan.workers), lost=LOST)


def first_line(error: Exception) -> str:
    """Return what went wrong, in at most 300 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def device_names(parts: Sequence[tf.Tensor]) -> list[str]:
    """Return the device that computed each tensor: "TPU:0"."""
    return [short_name(part.backing_device) for part in parts]


def short_name(device: str) -> str:
    """Return "GPU:0" for "/job:localhost/replica:0/task:0/device:GPU:0"."""
    return device.rpartition("device:")[2]
