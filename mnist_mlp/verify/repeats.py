"""The stages that train the same thing again: twice, and stopped and resumed. Every bit must be the same."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp import devices
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.errors import Stopped
from mnist_mlp.runs import checkpoint
from mnist_mlp.runs.directory import opened
from mnist_mlp.training.session import TrainingSession
from mnist_mlp.verify import bits
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding

LOSSES = "losses of the epochs"
STEPS = 5  # between checkpoints: a stop falls into an epoch
MODES = "XLA_FLAGS=--xla_gpu_deterministic_ops=true, on TensorFlow also TF_DETERMINISTIC_OPS=1"


def config_of(context: Context) -> Config:
    """Return a run with what has a state that could be lost: dropout, a schedule, distortions, averaged weights.

    A quick verification does without the last two, which take the longest to compile.
    """
    return Config(
        **context.device,
        dataset="digits",
        model="mlp_dropout",
        augment=context.for_tier("none", "shift", "elastic"),
        schedule="cosine",
        ema=context.for_tier(0.0, 0.9, 0.9),
        batch_size=128,
        epochs=context.for_tier(2, 4, 10),
        checkpoint_every=f"{STEPS}steps",
        keep=1000,
        seed=context.seed,
    )


def determinism(context: Context) -> Finding:
    """Train twice from the start, and compare all variables and losses.

    The second time everything is compiled again; not in a quick verification, where the same program runs again.
    """
    context.load_framework()
    config, directory = config_of(context), context.work / "repeated-1"
    with session_of(config, directory) as session:
        initial = session.engine.state()
        session.train()
        other = trained_again(session, initial) if context.tier == "quick" else {}
    what = "the same program run again" if other else "a second run"
    return compared(context, state_of(directory), other or trained(config, context.work / "repeated-2"), what)


def resume(context: Context) -> Finding:
    """Resume a run within its second epoch, where it was stopped as by Ctrl-C, and compare it with one that was not.

    A quick verification continues from a checkpoint of the run that was not stopped, as after a power failure.
    """
    context.load_framework()
    config, whole, directory = config_of(context), context.work / "repeated-1", context.work / "resumed"
    if context.tier == "quick":
        shutil.copytree(whole, directory)
        for file in checkpoints(directory)[3:]:
            file.unlink()
    else:
        try:
            trained(config, directory, [stopper()])
        except Stopped:
            pass
        else:
            raise RuntimeError("the run did not stop when it was asked to")
    found = checkpoint.read(checkpoints(directory)[-1])
    what = f"a run resumed at step {found.total_steps}"
    with session_of(dataclasses.replace(config, resume=True), directory) as session:
        session.restore()
        lost = bits.difference(found.state, session.engine.state())
        if lost:
            return Finding.judged(
                what,
                f"{what} does not begin as its checkpoint says: {lost}",
                difference=lost.as_json(),
                resumed_at=found.total_steps,
            )
        session.train()
    finding = compared(context, state_of(whole), state_of(directory), what)
    return dataclasses.replace(finding, details=finding.details | {"resumed_at": found.total_steps})


@contextlib.contextmanager
def session_of(config: Config, directory: Path) -> Iterator[TrainingSession]:
    """Return a session as `train_and_evaluate` has it, ready to train."""
    with opened(directory, config) as run:
        session = TrainingSession(config, devices.plan(config), run, SILENT)
        session.load_data()
        session.build_engine()
        yield session


def trained(config: Config, directory: Path, callbacks: Sequence[Any] = ()) -> dict[str, np.ndarray]:
    """Train a run, or the rest of one, and return `state_of` it."""
    with session_of(config, directory) as session:
        session.train(callbacks)
    return state_of(directory)


def trained_again(session: TrainingSession, initial: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Train with the session's engine from its initial state; return what `state_of` returns of a run."""
    engine, config, losses = session.engine, session.config, []
    engine.restore(initial)
    for epoch in range(config.epochs):
        examples = session.result.dataset["train_examples"]
        sums = engine.train(batch_indices(config.seed, epoch, examples, config.batch_size))
        losses.append(sums.loss_sum / sums.seen)
    return {**engine.state(), LOSSES: np.array(losses)}


def checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest last."""
    return sorted((directory / checkpoint.DIRECTORY).glob("*.npz"))


def state_of(directory: Path) -> dict[str, np.ndarray]:
    """Return all variables at the end of a run, and the losses of its epochs."""
    found = checkpoint.read(checkpoints(directory)[-1])
    return {**found.state, LOSSES: np.array([row["loss"] for row in found.progress.history])}


def stopper() -> Any:
    """Return a callback that stops the run in its second epoch."""
    import keras

    class Stopper(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    return Stopper()


def compared(context: Context, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], what: str) -> Finding:
    """Return whether a training has the bits of the first one. `what` it is, begins the figure and the problem."""
    different = bits.difference(one, other)
    if different is None:
        size = 8 * sum(value.nbytes for value in one.values())
        return Finding.judged(f"{what}: {size:,} equal bits in {len(one)} tensors", "")
    problem = f"{what} differs from the first one: {different}"
    if context.plan.device != "cpu":
        problem += f"; if this device is not deterministic, set {MODES}"
    figure = f"{what}: {len(different.tensors)} of {len(one)} tensors differ"
    return Finding.judged(figure, problem, difference=different.as_json())
