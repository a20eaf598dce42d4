"""Create an engine on the planned device."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Mapping

import keras

from mnist_mlp.cli import variables
from mnist_mlp.data import Split
from mnist_mlp.devices import Plan
from mnist_mlp.engine.base import PLAIN, DeviceSet, Engine, Recipe, report_lost_workers
from mnist_mlp.engine.keras_fit import FitEngine
from mnist_mlp.errors import UserError
from mnist_mlp.models.networks import set_conventions


@dataclasses.dataclass(frozen=True)
class EngineSpec:
    """What an engine computes, on whatever device. Model and optimizer are functions: they are built on the device."""

    make_model: Callable[[], keras.Model]
    splits: Mapping[str, Split]  # "train", "test", "validation", as far as they are used
    batch_size: int
    make_optimizer: Callable[[], keras.Optimizer | None] = lambda: None  # None if nothing is trained
    recipe: Recipe = PLAIN
    kind: str = "compiled"  # or "fit"


def create_engine(plan: Plan, spec: EngineSpec, *, start_timeout: float = 300) -> Engine:
    """Return an engine on the planned device, which holds the splits. Raise `UserError` if there is no such device.

    `start_timeout` (seconds) limits the wait for a TPU and for other workers.
    """
    if keras.backend.backend() != plan.backend:
        raise UserError(
            f"Keras already runs on {keras.backend.backend()} in this process, not on {plan.backend}; "
            "start a new process"
        )
    set_conventions()
    engine_class, devices = attach(plan, start_timeout)
    restore_signal_handlers()
    devices = dataclasses.replace(devices, notes=(*plan.notes, *variables.notes(plan.backend), *devices.notes))
    if spec.kind == "fit":
        engine_class = FitEngine
        if devices.replicas > 1:
            raise UserError(f"--engine=fit: expected one device, received {devices.replicas}; use --replicas=1")
    with report_lost_workers(devices), devices.scope():
        model, optimizer = spec.make_model(), spec.make_optimizer()
        return engine_class(model, optimizer, spec.splits, spec.batch_size, devices, spec.recipe)


def attach(plan: Plan, start_timeout: float) -> tuple[Callable[..., Engine], DeviceSet]:
    """Return the compiled engine of the plan's framework, and the devices. The other framework may not be installed,
    and takes seconds to import."""
    if plan.backend == "jax":
        from mnist_mlp.engine.jax import devices as jax_devices
        from mnist_mlp.engine.jax.engine import JaxEngine

        return JaxEngine, jax_devices.attach(plan, start_timeout)
    from mnist_mlp.engine.tensorflow import devices as tensorflow_devices
    from mnist_mlp.engine.tensorflow.engine import TensorFlowEngine

    return TensorFlowEngine, tensorflow_devices.attach(plan, start_timeout)


def restore_signal_handlers() -> None:
    """Install Python's signal handlers again: with several workers TensorFlow and JAX catch SIGTERM and continue."""
    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handler = signal.getsignal(signum)
            if handler is not None:  # None: a handler that Python did not install
                signal.signal(signum, handler)
