"""Training from where a run stands to its last epoch: calls of an engine, and what happens between two of them.

A call lasts about a second, so that Ctrl-C and SIGTERM are heard. Between two calls a run can be saved and stopped; how
it is cut into calls changes no number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from mnist_mlp.cli.signals import Request, requests
from mnist_mlp.config import Config
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.engine.base import Engine, Sums
from mnist_mlp.engine.batching import Pace
from mnist_mlp.errors import Diverged, Stopped
from mnist_mlp.runs.checkpoint import Progress
from mnist_mlp.training.callbacks import Callbacks
from mnist_mlp.training.optimizers import averaged, peak_rate
from mnist_mlp.training.progress import TrainingProgress


class Training:
    """The training of one run. `progress` and the engine's variables are its state."""

    def __init__(
        self,
        engine: Engine,
        config: Config,
        progress: Progress,
        examples: int,
        callbacks: Callbacks,
        save: Callable[[Progress, int], None],
        tell: Callable[[list[dict[str, Any]]], None],
        show: Callable[[TrainingProgress], None],
    ):
        """`save(progress, steps)` writes a checkpoint, so many steps since the start of the run; `tell(history)` is
        called when a row was added, and `show` about once a second."""
        self.engine, self.config, self.progress, self.examples = engine, config, progress, examples
        self.callbacks, self.save, self.tell, self.show = callbacks, save, tell, show
        self.steps_per_epoch = math.ceil(examples / config.batch_size)
        self.every = config.steps_between_checkpoints(self.steps_per_epoch)
        self.pace = Pace()
        self.stop_early = callbacks.stop
        self.saved: int | None = None  # at which step
        self.timed: tuple[float, int] | None = None  # when, and at which step, a first call was over, which is slower
        engine.on_progress = self.hear

    @property
    def done(self) -> int:
        """Steps since the start of the run."""
        return self.progress.total_steps(self.steps_per_epoch)

    def run(self) -> None:
        """Trains to the end of the last epoch, or of the one after which a callback stops it, and saves.

        Raises `Stopped`, with everything saved, where Ctrl-C, SIGTERM or another worker asked for it, and `Diverged`
        where the loss or a weight is no longer finite.
        """
        with requests() as request:
            while self.progress.epoch < self.config.epochs and not self.stop_early:
                self.train_epoch(request)
            self.write()
            if request and self.engine.devices.workers == 1:  # several go on to the end together
                raise self.stopped(request)
        self.callbacks.end()

    def train_epoch(self, request: Request) -> None:
        """What is left of the epoch under way."""
        order = batch_indices(self.config.seed, self.progress.epoch, self.examples, self.config.batch_size)
        self.callbacks.epoch_begins(self.progress.epoch, under_way=self.progress.step > 0)
        while self.progress.step < len(order):
            self.call(order)
            if self.progress.step < len(order):
                self.show_standing()
                self.pause(request)
        self.end_epoch()
        self.pause(request)
        if self.progress.epoch < self.config.epochs:
            self.show_standing()

    def call(self, order: np.ndarray) -> None:
        """Some steps of the order: as many as last about a second, but not beyond the next checkpoint."""
        progress, first, last = self.progress, self.progress.step, len(order)
        if not self.engine.whole_epochs:
            to_checkpoint = self.every - self.done % self.every if self.every else last
            last = min(last, first + self.pace.steps, first + to_checkpoint)
        began = time.perf_counter()
        sums = self.engine.train(order, first, last)
        seconds = time.perf_counter() - began
        self.check(sums, last - first)
        progress.step, progress.losses = last, np.concatenate([progress.losses, sums.losses])
        progress.correct, progress.seen = progress.correct + sums.correct, progress.seen + sums.seen
        progress.seconds += seconds
        self.pace.took(last - first, seconds)
        self.timed = self.timed or (time.perf_counter(), self.done)

    def show_standing(self) -> None:
        """Shows where the run stands, from the second call on: before, nobody knows how long it will take."""
        now, (since, at) = self.progress, self.timed
        if self.done == at:
            return
        per_step = (time.perf_counter() - since) / (self.done - at)
        if now.seen:
            seen = (now.losses.sum() / now.seen, now.correct / now.seen, now.seen / max(now.seconds, 1e-9))
        else:
            last = now.history[-1]
            seen = (last["loss"], last["accuracy"], self.examples / max(last["seconds"], 1e-9))
        self.show(self.standing(0, *seen, per_step))

    def hear(self, steps: int, loss: float, accuracy: float, per_step: float) -> None:
        """Of a call that lasts a whole epoch, after so many steps of it, of so many seconds each."""
        self.show(self.standing(steps, loss, accuracy, self.config.batch_size / per_step, per_step))

    def standing(self, steps: int, loss: float, accuracy: float, rate: float, per_step: float) -> TrainingProgress:
        """Where the run stands, with so many steps of a call that is under way; `per_step`: seconds."""
        now, epochs = self.progress, self.config.epochs
        left = (epochs * self.steps_per_epoch - self.done - steps) * per_step
        return TrainingProgress(
            now.epoch + 1, epochs, now.step + steps, self.steps_per_epoch, loss, accuracy, rate, left
        )

    def check(self, sums: Sums, steps: int) -> None:
        """Raises `Diverged` if a loss of the last call, of so many steps, or a weight after it is not finite."""
        begin, (bad,) = self.done, np.nonzero(~np.isfinite(sums.losses))
        weights = self.engine.model.trainable_variables
        broken = [w.path for w in weights if not np.isfinite(keras.ops.convert_to_numpy(w)).all()]
        if not len(bad) and not broken:
            return
        between, what = (begin, begin + steps), f"the weights {', '.join(broken)} are no longer finite numbers"
        if len(bad):
            what = f"the loss is {sums.losses[bad[0]]:g}"
            if not self.engine.whole_epochs:
                between = (begin + int(bad[0]), begin + int(bad[0]) + 1)
        rate = peak_rate(self.engine.optimizer)
        raise Diverged(
            f"training diverged between steps {between[0]:,} and {between[1]:,} (epoch {self.progress.epoch + 1}, "
            f"--learning_rate={rate:g}): {what}; type a smaller --learning_rate, in a new run"
        )

    def end_epoch(self) -> None:
        """The epoch's row in the history; the progress goes over to the next one."""
        done = self.progress
        row = {
            "epoch": done.epoch + 1,
            "loss": float(done.losses.sum()) / done.seen,
            "accuracy": done.correct / done.seen,
            "seconds": done.seconds,
        }
        if self.config.validation_fraction:
            with averaged(self.engine):
                counts = self.engine.evaluate("validation")
            row["validation_loss"] = counts.loss_sum / counts.total
            row["validation_accuracy"] = counts.correct / counts.total
        self.progress = Progress(epoch=done.epoch + 1, history=[*done.history, row])
        self.callbacks.epoch_ends(row)

    def pause(self, request: Request) -> None:
        """Between two calls: saves where that is due, stops where that was asked for."""
        said = [bool(request), self.callbacks.stop, self.pace.steps]
        asked, early, steps = self.engine.mean_over_workers(said)  # what one wants all do, and make the same calls
        self.stop_early, self.pace.steps = early > 0, int(steps)
        if asked or (self.every and self.done % self.every == 0):
            self.write()
        if self.progress.step == 0:
            try:
                self.tell(self.progress.history)
            except OSError:  # nobody reads it, or the disk is full
                self.write()
                raise
        if asked:
            raise self.stopped(request)

    def write(self) -> None:
        """Writes a checkpoint, if there is something new."""
        if self.saved != self.done:
            self.check(Sums(np.zeros(0), 0, 0), 0)  # once more: a callback may have assigned weights
            self.save(self.progress, self.done)
            self.saved = self.done

    def stopped(self, request: Request) -> Stopped:
        return Stopped(f"{request.word} after step {self.done:,} of {self.config.epochs * self.steps_per_epoch:,}")
