"""The stages that train the same thing again: twice, and stopped and resumed. Every bit must be the same."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.errors import Stopped
from mnist_mlp.verify import bits
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding

STEPS = 5  # between checkpoints: a stop falls into an epoch
MODES = "XLA_FLAGS=--xla_gpu_deterministic_ops=true, on TensorFlow also TF_DETERMINISTIC_OPS=1"


def config_of(context: Context) -> Config:
    """Return a run with everything whose state could be lost: dropout, distortions, a schedule, averaged weights."""
    return Config(
        **context.device,
        dataset="digits",
        model="mlp_dropout",
        augment="shift",
        schedule="cosine",
        ema=0.9,
        batch_size=128,
        epochs=context.for_tier(2, 4, 10),
        checkpoint_every=f"{STEPS}steps",
        seed=context.seed,
    )


def determinism(context: Context) -> Finding:
    """Train twice from the start, and compare all variables and losses."""
    config = config_of(context)
    one = trained(config, context.work / "repeated-1")
    other = trained(config, context.work / "repeated-2")
    return compared(one, other, "a second run")


def resume(context: Context) -> Finding:
    """Stop a run within its second epoch as Ctrl-C does, resume it, and compare it with one that was not stopped."""
    config, directory = config_of(context), context.work / "resumed"
    whole = context.work / "repeated-1"
    one = state_of(whole) if whole.exists() else trained(config, whole)
    try:
        trained(config, directory, [stopper()])
    except Stopped:
        pass
    else:
        raise RuntimeError("the run did not stop when it was asked to")
    at = newest(directory)
    other = trained(dataclasses.replace(config, resume=True), directory)
    return compared(one, other, f"a run resumed at step {at.total_steps}", resumed_at=at.total_steps)


def trained(config: Config, directory: Path, callbacks: Sequence[Any] = ()) -> dict[str, np.ndarray]:
    from mnist_mlp.train import train_and_evaluate

    train_and_evaluate(config, directory, callbacks=callbacks, reporter=SILENT)
    return state_of(directory)


def newest(directory: Path) -> Any:
    from mnist_mlp.runs import checkpoint

    return checkpoint.read(max((directory / checkpoint.DIRECTORY).glob("*.npz")))


def state_of(directory: Path) -> dict[str, np.ndarray]:
    """Return all variables at the end of a run, and the losses of its epochs."""
    found = newest(directory)
    losses = np.array([row["loss"] for row in found.progress.history])
    return {"losses of the epochs": losses, **found.state}


def stopper() -> Any:
    """Return a callback that stops the run in its second epoch."""
    import keras

    class Stopper(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    return Stopper()


def compared(one: dict[str, np.ndarray], other: dict[str, np.ndarray], what: str, **details: Any) -> Finding:
    different = bits.difference(one, other)
    size = sum(value.nbytes for value in one.values())
    figure = f"{what}: {8 * size:,} equal bits in {len(one)} tensors"
    if different is None:
        return Finding.judged(figure, "", **details)
    problem = f"{what} differs first in {different}; if this device is not deterministic, set {MODES}"
    return Finding.judged(
        f"{what}: {len(different.tensors)} of {len(one)} tensors differ",
        problem,
        **details,
        difference=different.as_json(),
    )
