"""A trace of some training steps, by the framework's own profiler, for TensorBoard and Perfetto."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.engine.base import Engine, Sums
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import cannot_write

WARM_UP = 10  # steps before the trace: a first call does more than later ones
STEPS = 100  # of the trace: enough to tell a slow step from a usual one, few enough for the viewers


class Profiled:
    """An engine that traces some steps of its second call, or of its first one where that ends an epoch, after a few
    steps to warm up. It makes a call of its own of them: how a run is cut into calls changes no number.

    `tell` hears where the trace is.
    """

    def __init__(self, engine: Engine, directory: Path, tell: Callable[[str], None]):
        self.engine, self.directory, self.tell = engine, directory, tell
        self.warm = self.done = False
        if directory.exists() and not directory.is_dir():
            raise UserError(f"--profile: {directory} is in the way, which is something else; remove it")
        try:
            directory.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(directory, error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def train(self, order: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        stop = len(order) if stop is None else stop
        if self.done or not (self.warm or stop == len(order)):
            self.warm = True
            return self.engine.train(order, start, stop)
        begin = start if self.warm else start + min(WARM_UP, (stop - start) // 2)
        end = min(begin + STEPS, stop)
        parts = [self.engine.train(order, start, begin)] if begin > start else []
        with self.traced():
            parts.append(self.engine.train(order, begin, end))
        if end < stop:
            parts.append(self.engine.train(order, end, stop))
        self.done = True
        self.say_where(end - begin)
        return Sums(
            np.concatenate([part.losses for part in parts]),
            sum(part.correct for part in parts),
            sum(part.seen for part in parts),
        )

    def traced(self) -> Any:
        """The profiler of the engine's framework, for a `with`."""
        if self.engine.backend == "jax":
            from mnist_mlp.engine.jax.trace import traced
        else:
            from mnist_mlp.engine.tensorflow.trace import traced
        return traced(self.directory)

    def say_where(self, steps: int) -> None:
        traces = sorted(self.directory.glob("plugins/profile/*/perfetto_trace.json.gz"))
        if not traces:
            self.tell("profile  the framework's profiler has written no trace")
            return
        self.tell(f"profile  {steps} steps: {traces[-1]}, for https://ui.perfetto.dev; also for TensorBoard with xprof")
