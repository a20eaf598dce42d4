"""Puts an engine on the planned device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras

from mnist_mlp.data import Split
from mnist_mlp.devices import Plan
from mnist_mlp.engine import Engine
from mnist_mlp.engine.fit import FitEngine
from mnist_mlp.engine.tensorflow import TensorFlowEngine, attach
from mnist_mlp.errors import UserError


def start(
    plan: Plan,
    kind: str,
    make_model: Callable[[], keras.Model],
    make_optimizer: Callable[[], keras.Optimizer | None],
    splits: Mapping[str, Split],
    batch_size: int,
) -> Engine:
    """The engine `kind` ("compiled" or "fit") on the planned device, holding the splits.

    Model and optimizer come as functions, since an engine decides where they are built. `make_optimizer` gives
    None, and `splits` has no "train", where nothing is trained. Raises `UserError` if the device is not there.
    """
    if keras.backend.backend() != plan.backend:
        raise UserError(
            f"expected Keras on {plan.backend}, it already runs on {keras.backend.backend()}; start a new process"
        )
    keras.config.set_floatx("float32")  # whatever ~/.keras/keras.json says: it would change the numbers
    keras.config.set_image_data_format("channels_last")
    device, notes = attach(plan)
    engine_class = FitEngine if kind == "fit" else TensorFlowEngine
    engine: Engine = engine_class(make_model(), make_optimizer(), splits, batch_size, device)
    engine.notes = (*plan.notes, *notes)
    return engine
