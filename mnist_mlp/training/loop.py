"""The training loop: calls of an engine, and what happens between two of them.

A call lasts about a second, since signals are handled only between calls. Between calls a run can be saved and stopped;
how the steps are divided into calls changes no number.
"""

from __future__ import annotations

import math
import time

import keras
import numpy as np

from mnist_mlp.cli.signals import Request, requests
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.engine.base import Engine, Sums
from mnist_mlp.engine.batching import SECONDS_PER_CALL, Pace
from mnist_mlp.errors import Diverged, Stopped
from mnist_mlp.runs import summary
from mnist_mlp.runs.checkpoint import Progress
from mnist_mlp.runs.directory import Run
from mnist_mlp.training.callbacks import Callbacks
from mnist_mlp.training.observer import NOBODY, Observer
from mnist_mlp.training.optimizers import averaged, peak_rate, set_rate
from mnist_mlp.training.progress import TrainingProgress


class Training:
    """The training of one run on `examples` images. Its state is the run's progress and the engine's variables."""

    # Six parameters: what a training consists of.
    def __init__(
        self,
        engine: Engine,
        run: Run,
        examples: int,
        callbacks: Callbacks,
        reporter: Reporter,
        observer: Observer = NOBODY,
    ):
        self.engine, self.current_run, self.config, self.examples = engine, run, run.config, examples
        self.callbacks, self.reporter, self.observer = callbacks, reporter, observer
        self.steps_per_epoch = math.ceil(examples / self.config.batch_size)
        self.steps_between_checkpoints = self.config.steps_between_checkpoints(self.steps_per_epoch)
        self.pace = Pace(observer.seconds_per_call)
        self.stop_early = callbacks.stop
        self.ended = callbacks.finished  # whether `on_train_end` is done
        # The step of the last checkpoint, and whether it is that of a finished run.
        self.saved: tuple[int, bool] | None = (self.done, True) if callbacks.finished else None
        # When, and after which step, the first call ended: it is slower, so the speed is measured from there on.
        self.timed: tuple[float, int] | None = None
        self.next_check = 0.0  # of the weights, by the clock
        engine.on_progress = self.report_within_epoch

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self.current_run.progress

    @property
    def done(self) -> int:
        """Steps since the start of the run."""
        return self.progress.total_steps(self.steps_per_epoch)

    @property
    def over(self) -> bool:
        """Whether no step is left to train."""
        return self.progress.epoch >= self.config.epochs or self.stop_early

    def run(self) -> None:
        """Train to the end of the last epoch, or of the one after which a callback stops it, and save.

        The last checkpoint holds what `on_train_end` assigns. One before it, in which it is not done yet, is there for
        the case that this process is killed meanwhile.

        Raise `Stopped`, with everything saved, if Ctrl-C, SIGTERM or another worker asks for it, and `Diverged` if the
        loss or a weight is no longer finite.
        """
        with requests() as request:
            while not self.over:
                self.train_epoch(request)
            self.save()
            if request and self.engine.devices.workers == 1:  # several workers go on to the end together
                raise self.stopped(request)
        self.callbacks.end(self.progress.history)
        self.ended = True
        self.save()

    def train_epoch(self, request: Request) -> None:
        """Train the rest of the current epoch."""
        batches = batch_indices(self.config.seed, self.progress.epoch, self.examples, self.config.batch_size)
        self.callbacks.epoch_begins(self.progress.epoch, under_way=self.progress.step > 0)
        while self.progress.step < len(batches):
            self.call(batches)
            if self.progress.step < len(batches):
                self.report_progress()
                self.between_calls(request)
        self.end_epoch()
        self.between_calls(request)
        if self.progress.epoch < self.config.epochs:
            self.report_progress()

    def call(self, batches: np.ndarray) -> None:
        """Train as many steps as last about a second, but not beyond the next checkpoint."""
        progress, first, last = self.progress, self.progress.step, len(batches)
        if not self.engine.whole_epochs:
            every = self.steps_between_checkpoints
            to_checkpoint = every - self.done % every if every else last
            last = min(last, first + self.pace.steps, first + to_checkpoint)
        began = time.perf_counter()
        sums = self.engine.train(batches, first, last)
        seconds = time.perf_counter() - began
        self.check_finite(sums, last - first, weights=self.weights_are_due())
        progress.step, progress.losses = last, np.concatenate([progress.losses, sums.losses])
        progress.correct, progress.seen = progress.correct + sums.correct, progress.seen + sums.seen
        progress.seconds += seconds
        self.pace.took(last - first, seconds)
        self.timed = self.timed or (time.perf_counter(), self.done)
        self.observer.called(self, sums.loss_sum, sums.correct, sums.seen, seconds)

    def report_progress(self) -> None:
        """Report the progress from the second call on: before it, the speed is unknown."""
        now = self.progress
        if self.timed is None or self.done == self.timed[1]:
            return
        since, at = self.timed
        seconds_per_step = (time.perf_counter() - since) / (self.done - at)
        if now.seen:
            figures = (now.losses.sum() / now.seen, now.correct / now.seen, now.seen / max(now.seconds, 1e-9))
        else:
            last = now.history[-1]
            figures = (last["loss"], last["accuracy"], self.examples / max(last["seconds"], 1e-9))
        self.reporter.progress(self.training_progress(0, *figures, seconds_per_step))

    def report_within_epoch(self, steps: int, loss: float, accuracy: float, seconds_per_step: float) -> None:
        """Report the progress within a call that lasts a whole epoch, after `steps` of its steps."""
        rate = self.config.batch_size / seconds_per_step
        self.observer.within_epoch(self, steps, loss, accuracy)
        self.reporter.progress(self.training_progress(steps, loss, accuracy, rate, seconds_per_step))

    def training_progress(
        self, steps: int, loss: float, accuracy: float, rate: float, seconds_per_step: float
    ) -> TrainingProgress:
        """Return the progress after `steps` steps of the current call; `rate` is in images per second."""
        now, epochs = self.progress, self.config.epochs
        left = (epochs * self.steps_per_epoch - self.done - steps) * seconds_per_step
        return TrainingProgress(
            now.epoch + 1, epochs, now.step + steps, self.steps_per_epoch, loss, accuracy, rate, left
        )

    def weights_are_due(self) -> bool:
        """Whether to check the weights after this call: always, but about once a second if an observer wants short
        calls. A weight that is not finite shows in the next losses, too, and nothing is saved unchecked."""
        now = time.perf_counter()
        if self.observer.seconds_per_call < SECONDS_PER_CALL and now < self.next_check:
            return False
        self.next_check = now + SECONDS_PER_CALL
        return True

    def check_finite(self, sums: Sums, steps: int, *, weights: bool = True) -> None:
        """Raise `Diverged` if a loss of the last call (of `steps` steps), or one of the `weights`, is not finite."""
        begin, (bad,) = self.done, np.nonzero(~np.isfinite(sums.losses))
        checked = self.engine.model.trainable_variables if weights else []
        broken = [w.path for w in checked if not np.isfinite(keras.ops.convert_to_numpy(w)).all()]
        if not len(bad) and not broken:
            return
        between, what = (begin, begin + steps), f"the weights {', '.join(broken)} are no longer finite"
        if len(bad):
            what = f"the loss is {sums.losses[bad[0]]:g}"
            if not self.engine.whole_epochs:
                between = (begin + int(bad[0]), begin + int(bad[0]) + 1)
        rate = peak_rate(self.engine.optimizer)
        raise Diverged(
            f"training diverged between steps {between[0]:,} and {between[1]:,} (epoch {self.progress.epoch + 1}, "
            f"--learning_rate={rate:g}): {what}; try a smaller --learning_rate, in a new run"
        )

    def end_epoch(self) -> None:
        """Add the epoch's row to the history, and go on to the next epoch."""
        done = self.progress
        row = {
            "epoch": done.epoch + 1,
            "loss": float(done.losses.sum()) / done.seen,
            "accuracy": done.correct / done.seen,
            "seconds": done.seconds,
        }
        if self.config.validation_fraction:
            row["validation_loss"], row["validation_accuracy"] = self.validate()
        if done.rates:
            row["learning_rate"] = done.rates[-1]["to"]
        self.current_run.progress = Progress(epoch=done.epoch + 1, history=[*done.history, row], rates=done.rates)
        self.callbacks.epoch_ends(row)

    def validate(self) -> tuple[float, float]:
        """Return loss and accuracy of the validation images."""
        self.callbacks.validation_begins()
        with averaged(self.engine):
            counts = self.engine.evaluate("validation")
        loss, accuracy = counts.loss_sum / counts.total, counts.correct / counts.total
        self.callbacks.validation_ends(loss, accuracy)
        return loss, accuracy

    def between_calls(self, request: Request) -> None:
        """Save if a checkpoint is due, report an epoch that has ended, and stop if that was requested."""
        self.observer.between_calls(self, request)
        mine = [bool(request), self.callbacks.stop, self.pace.steps]
        stop, early, steps = self.engine.mean_over_workers(mine)  # if one worker stops, all do; all make the same calls
        self.stop_early, self.pace.steps = early > 0, int(steps)
        every = self.steps_between_checkpoints
        if stop or (every and self.done % every == 0):
            self.save()
        if self.progress.step == 0:
            try:
                self.report_epoch()
            except OSError:  # nobody reads the report, or the disk is full
                self.save()
                raise
        if stop:
            raise self.stopped(request)

    def report_epoch(self) -> None:
        """Write the history, and report its last row."""
        history = self.progress.history
        self.current_run.write_history()
        self.reporter.line(summary.epoch_line(history[-1], self.config.epochs))
        self.observer.epoch_ended(self)

    def change_rate(self, rate: float) -> None:
        """Change the learning rate from the next step on, and record that. Raise `UserError` if it is no constant."""
        before = peak_rate(self.engine.optimizer)
        set_rate(self.engine, rate)
        self.progress.rates.append({"step": self.done, "from": before, "to": peak_rate(self.engine.optimizer)})
        self.saved = None  # a checkpoint of this step, if there is one, has the former rate

    def save(self) -> None:
        """Write a checkpoint, if there is anything new."""
        ended = self.ended or (self.over and not self.callbacks.any)
        if self.saved != (self.done, ended):
            self.check_finite(Sums(np.zeros(0), 0, 0), 0)  # again: a callback may have assigned weights
            self.current_run.save(self.done, self.engine.state(), ended=ended, callbacks=self.callbacks.state())
            self.saved = self.done, ended

    def stopped(self, request: Request) -> Stopped:
        return Stopped(f"{request.word} after step {self.done:,} of {self.config.epochs * self.steps_per_epoch:,}")
