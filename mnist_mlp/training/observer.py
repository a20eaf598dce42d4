"""Somebody who looks on while a run trains: called by the loop between two calls of the engine, on the same thread.

Nothing of it is within a compiled step. An observer may wait, change the learning rate through `Training.change_rate`,
and ask for a stop by raising SIGTERM in this process; it changes no weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_mlp.engine.batching import SECONDS_PER_CALL

if TYPE_CHECKING:
    from mnist_mlp.cli.signals import Request
    from mnist_mlp.training.loop import Training
    from mnist_mlp.training.session import TrainingSession


class Observer:
    """Sees nothing and asks for nothing. How often it is called changes no number of a run."""

    seconds_per_call = SECONDS_PER_CALL  # how long a call of the engine is to last

    def begins(self, session: TrainingSession) -> None:
        """Called before the first step of this process; a checkpoint, if there is one, is restored."""

    def within_epoch(self, training: Training, steps: int, loss: float, accuracy: float) -> None:
        """Called within a call that lasts a whole epoch, after `steps` of its steps, with their means."""

    def called(self, training: Training, losses: float, correct: int, seen: int, seconds: float) -> None:
        """Called after a call of the engine, whose steps are counted in `training.progress`.

        `losses` is Σ cross-entropy over the `seen` images of the call, `seconds` how long it took.
        """

    def epoch_ended(self, training: Training) -> None:
        """Called when an epoch's row is in the history, and in history.jsonl."""

    def between_calls(self, training: Training, request: Request) -> None:
        """Called before a run is saved or stopped. A wait must end as soon as there is a request."""


NOBODY = Observer()
