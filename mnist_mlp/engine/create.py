"""Puts an engine on the planned device."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Mapping

import keras

from mnist_mlp.data import Split
from mnist_mlp.devices import Plan
from mnist_mlp.engine.base import PLAIN, Engine, Recipe, with_others
from mnist_mlp.engine.keras_fit import FitEngine
from mnist_mlp.errors import UserError
from mnist_mlp.models.networks import set_conventions


def start(
    plan: Plan,
    kind: str,
    make_model: Callable[[], keras.Model],
    make_optimizer: Callable[[], keras.Optimizer | None],
    splits: Mapping[str, Split],
    batch_size: int,
    recipe: Recipe = PLAIN,
    *,
    start_timeout: float = 300,
) -> Engine:
    """The engine `kind` ("compiled" or "fit") on the planned device, holding the splits.

    Model and optimizer come as functions, since an engine decides where they are built. `make_optimizer` gives
    None, and `splits` has no "train", where nothing is trained. `start_timeout` (seconds) is for a TPU and for other
    workers. Raises `UserError` if the device is not there.
    """
    if keras.backend.backend() != plan.backend:
        raise UserError(
            f"expected Keras on {plan.backend}, it already runs on {keras.backend.backend()}; start a new process"
        )
    set_conventions()
    if plan.backend == "jax":  # the other framework may not be installed, and takes seconds to import
        from mnist_mlp.engine.jax.devices import attach
        from mnist_mlp.engine.jax.engine import JaxEngine as CompiledEngine
    else:
        from mnist_mlp.engine.tensorflow.devices import attach
        from mnist_mlp.engine.tensorflow.engine import TensorFlowEngine as CompiledEngine
    attached = attach(plan, start_timeout)
    take_signals_back()
    attached = dataclasses.replace(attached, notes=(*plan.notes, *attached.notes))
    if kind == "fit" and attached.replicas > 1:
        raise UserError(f"--engine=fit: expected one device, received {attached.replicas}; type --replicas=1")
    with with_others(attached):
        engine_class = FitEngine if kind == "fit" else CompiledEngine
        with attached.where.scope() if plan.backend == "tensorflow" and attached.where else contextlib.nullcontext():
            return engine_class(make_model(), make_optimizer(), splits, batch_size, attached, recipe)


def take_signals_back() -> None:
    """Puts Python's handlers back in place: between workers TensorFlow and JAX catch SIGTERM themselves, and go on."""
    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handler = signal.getsignal(signum)
            if handler is not None:  # not one that Python does not know of
                signal.signal(signum, handler)
