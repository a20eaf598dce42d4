"""The observer within the process that trains: writes the events and obeys the commands of the server."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.errors import UserError
from mnist_mlp.lab.live.training.events import EventLog
from mnist_mlp.lab.live.training.looking import Budget, Looker, clocks
from mnist_mlp.lab.live.training.redaction import without_paths
from mnist_mlp.training.observer import Observer

if TYPE_CHECKING:
    from mnist_mlp.cli.signals import Request
    from mnist_mlp.training.loop import Training
    from mnist_mlp.training.session import TrainingSession

SECONDS = 0.12  # a call of the engine, and so between two points of the curves
LONGEST = 4  # times as long a call may get on a processor that other processes use, too
OFTEN = 0.8  # a point waits for the next call if the last one is more recent than this share of it: tiny epochs
LOOK_EVERY = 1.0  # seconds between two looks, at first
LOOKS = 0.02  # and at least this share of the time since the first: an hour has some 250 looks, a day some 400
SCORES = 0.005  # the same for scores after epochs: each of the first 800 s, if an epoch lasts 4 s
RECENT = 100  # rows of the history that a resumed run repeats: a kill may have lost the event of the last one
WAIT = 0.25  # seconds after which a paused run looks for signals
AT_MOST = 2**16  # bytes of commands read at once


class Commands:
    """The server's commands, JSON lines on a pipe. When it closes, the server is gone."""

    def __init__(self, descriptor: int):
        self.descriptor, self.closed, self.rest = descriptor, False, b""
        os.set_blocking(descriptor, False)
        self.poll = select.poll()
        self.poll.register(descriptor, select.POLLIN)

    def received(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """Return the commands that have come. Wait up to `seconds` for the first one."""
        if self.closed:
            time.sleep(seconds)
            return []
        if not self.poll.poll(1000 * seconds):
            return []
        found = os.read(self.descriptor, AT_MOST)
        self.closed = not found
        *whole, self.rest = (self.rest + found).split(b"\n")
        return [json.loads(line) for line in whole]


@dataclasses.dataclass
class Point:
    """What has been trained since the last point of the curves."""

    losses: float = 0.0  # Σ cross-entropy
    correct: float = 0.0
    images: int = 0
    seconds: float = 0.0
    epoch: int = 0  # of the last of these images, from 1 on

    def add(self, epoch: int, losses: float, correct: float, images: int, seconds: float) -> None:
        self.epoch = epoch
        self.losses, self.correct = self.losses + losses, self.correct + correct
        self.images, self.seconds = self.images + images, self.seconds + seconds


class LiveObserver(Observer):
    """Writes `log`, and `weights`, the file of the newest weights."""

    seconds_per_call = SECONDS

    def __init__(self, log: EventLog, commands: Commands, weights: Path):
        self.log, self.commands, self.weights = log, commands, weights
        self.paused, self.reason = False, ""
        self.budget = Budget()
        self.call_ended = clocks()
        self.within = (0, 0.0, 0.0)  # of a call that lasts an epoch: images, Σ loss and correct that are reported
        self.since = Point()
        self.next_point = self.next_scores = 0.0  # by the clock

    def begins(self, session: TrainingSession) -> None:
        self.session, self.looker = session, Looker(session)
        self.looker.warm_up()
        rate_of(session.engine.optimizer)  # JAX compiles even this
        result, progress = session.result, session.run.progress
        self.log.write(
            "begin",
            step=progress.total_steps(session.steps_per_epoch),
            steps=session.total_steps,
            steps_per_epoch=session.steps_per_epoch,
            epochs=session.config.epochs,
            history=progress.history[-RECENT:],
            rates=progress.rates,
            **{
                name: getattr(result, name)
                for name in ("model", "network", "pixels", "parameters", "layers", "batch_size", "evaluation_steps")
                + ("optimizer", "learning_rate", "seed", "precision", "backend", "engine", "recipe")
            },
            dataset={k: v for k, v in result.dataset.items() if k not in ("source", "notes")},
            device={k: result.device[k] for k in ("actual", "weights_on", "replicas", "xla", "strategy")},
            scored_on=self.looker.split,
        )
        self.began = time.perf_counter()
        step = progress.total_steps(session.steps_per_epoch)
        self.look(step)  # the weights as they are drawn
        self.budget = Budget()  # nothing of this was taken from the training
        self.log.write("state", state="training", step=step)

    def called(self, training: Training, losses: float, correct: int, seen: int, seconds: float) -> None:
        self.keep_calls_long(training)
        images, loss_sum, hits = self.within
        self.within = (0, 0.0, 0.0)
        self.since.add(training.progress.epoch + 1, losses - loss_sum, correct - hits, seen - images, seconds)
        self.point(training, training.done)

    def keep_calls_long(self, training: Training) -> None:
        """Let calls last longer by the clock on a processor that is shared: each costs a millisecond or two of its own
        there, whatever little it got done."""
        before, self.call_ended = self.call_ended, clocks()
        clock, processor = self.call_ended - before
        if training.engine.devices.kind == "CPU" and clock > 0:
            wanted = SECONDS * min(LONGEST, max(1.0, clock / max(processor, 1e-9)))
            training.pace.seconds_per_call = 0.8 * training.pace.seconds_per_call + 0.2 * wanted

    def within_epoch(self, training: Training, steps: int, loss: float, accuracy: float) -> None:
        images, loss_sum, hits = self.within
        seen = min(steps * training.config.batch_size, training.examples)
        self.within = seen, loss * seen, accuracy * seen
        more = (loss * seen - loss_sum, accuracy * seen - hits, seen - images)
        self.since.add(training.progress.epoch + 1, *more, 0.0)
        self.point(training, training.done + steps)

    def point(self, training: Training, step: int, *, due: bool = False) -> None:
        """Write a point of the curves, means over the images since the one before, if it is time for one or `due`."""
        now, since = time.perf_counter(), self.since
        if not since.images or (now < self.next_point and not due):
            return
        self.next_point, self.since = now + OFTEN * SECONDS, Point()
        self.log.write(
            "step",
            epoch=since.epoch,
            step=step,
            loss=since.losses / since.images,
            accuracy=since.correct / since.images,
            images=since.images,
            seconds=since.seconds,
            images_per_second=since.images / since.seconds if since.seconds else None,
            learning_rate=rate_of(training.engine.optimizer),
        )

    def epoch_ended(self, training: Training) -> None:
        row = training.progress.history[-1]
        last = training.progress.epoch >= training.config.epochs  # it is scored by the run itself
        self.point(training, training.done, due=last)
        self.log.write("epoch", step=training.done, row=row)
        if not last and time.perf_counter() >= self.next_scores:
            self.score(training)

    def score(self, training: Training) -> None:
        """Write the scores after an epoch, of as many images as can be afforded."""
        if count := self.looker.affordable(self.budget):
            with self.budget.spending(), self.looker.final_weights():
                values = self.looker.scores(count)
                self.log.write("scores", epoch=training.progress.epoch, step=training.done, **values)
            now = time.perf_counter()
            self.next_scores = now + max(LOOK_EVERY, SCORES * (now - self.began))

    def ended(self) -> None:
        """Write what the run has saved: the last look, and the scores of all test images as in its result."""
        session = self.session
        step = session.run.progress.total_steps(session.steps_per_epoch)
        self.look(step)  # the engine has the averaged weights by now, if they are averaged
        looker = Looker(session, "test")
        values = looker.scores_of(session.test_logits)
        self.log.write("scores", epoch=session.run.progress.epoch, step=step, final=True, **values)

    def between_calls(self, training: Training, request: Request) -> None:
        self.obey(self.commands.received(), training)
        if self.paused or request:
            self.point(training, training.done, due=True)
        if self.paused and not request:
            self.wait(training, request)
        if time.perf_counter() >= self.next_look and self.budget.allows():
            self.look(training.done)

    def look(self, step: int) -> None:
        """Write what the network looks like after that step, and its weights for those who draw a digit."""
        with self.budget.spending(), self.looker.final_weights():
            self.log.write("look", step=step, **self.looker.look())
            self.looker.write_weights(self.weights)
        now = time.perf_counter()
        self.next_look = now + max(LOOK_EVERY, LOOKS * (now - self.began))

    def wait(self, training: Training, request: Request) -> None:
        """Wait until the run is to go on, or to stop. It is saved: a kill while it waits loses nothing."""
        training.save()
        self.look(training.done)
        self.log.write("state", state="paused", step=training.done)
        since = clocks()
        while self.paused and not request:
            self.obey(self.commands.received(WAIT), training)
            training.save()  # if the rate was changed meanwhile
        training.timed = None  # the pause is no part of the speed
        self.call_ended = clocks()
        self.budget.waited(since)
        if not request:
            self.log.write("state", state="training", step=training.done)

    def obey(self, commands: list[dict[str, Any]], training: Training) -> None:
        """Do what was asked for. The server has checked it as far as it can."""
        doings: dict[str, Callable[[], None]] = {
            "pause": lambda: self.pause(True),
            "go_on": lambda: self.pause(False),
            "stop": lambda: self.stop("stopped on request"),
        }
        for command in commands:
            try:
                if command["do"] == "rate":
                    training.change_rate(command["learning_rate"])
                    self.log.write("rate", **training.progress.rates[-1])
                elif command["do"] == "digit":
                    self.choose(command["index"], training)
                else:
                    doings[command["do"]]()
            except UserError as error:
                self.log.write("refused", do=command["do"], message=without_paths(str(error)))
        if self.commands.closed and not self.reason:
            self.stop("stopped, because the server ended")

    def pause(self, wanted: bool) -> None:
        self.paused = wanted

    def stop(self, reason: str) -> None:
        """Ask this process to stop, as by `kill`: the run is saved and can be resumed."""
        if not self.reason:
            self.reason = reason
            signal.raise_signal(signal.SIGTERM)

    def choose(self, index: int, training: Training) -> None:
        """Show the activations of another digit from now on. Raise `UserError` if there is no such image."""
        if not 0 <= index < len(self.looker.images):
            raise UserError(
                f"index: expected a whole number from 0 to {len(self.looker.images) - 1:,}, received {index}"
            )
        self.looker.digit = index
        if self.budget.allows():
            self.look(training.done)


def rate_of(optimizer: Any) -> float | None:
    """Return the learning rate of the next step; of a constant one with the digits that were typed."""
    from mnist_mlp.training.optimizers import Schedule, peak_rate

    if optimizer is None:
        return None
    if not isinstance(optimizer._learning_rate, Schedule):
        return peak_rate(optimizer)
    import keras

    return float(np.float32(keras.ops.convert_to_numpy(optimizer.learning_rate)))
