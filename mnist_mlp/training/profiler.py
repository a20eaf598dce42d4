"""Trace some training steps with the framework's own profiler, for TensorBoard and Perfetto."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.engine.base import Engine, Sums
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import cannot_write

WARM_UP = 10  # steps before the trace: the first call does more work than later ones
STEPS = 100  # in the trace: enough to tell a slow step from a usual one, few enough for the viewers


class Profiled:
    """An engine that traces some steps of its second call of `train`.

    If the first call ends an epoch, it traces that call, after a few steps to warm up. The traced steps are a call of
    their own: how a run is cut into calls changes no number.
    """

    engine: Engine
    directory: Path
    reporter: Reporter
    warm: bool  # whether `train` was called before
    done: bool  # whether the trace is written

    def __init__(self, engine: Engine, directory: Path, reporter: Reporter):
        # Past `__setattr__`: all other attributes are the engine's.
        vars(self).update(engine=engine, directory=directory, reporter=reporter, warm=False, done=False)
        if directory.exists() and not directory.is_dir():
            raise UserError(f"--profile: {directory} exists and is not a directory; remove it")
        try:
            directory.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(directory, error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["engine"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the wrapper, or else of the engine, such as `on_progress`."""
        if name in vars(self):
            vars(self)[name] = value
        else:
            setattr(self.engine, name, value)

    def train(self, batch_indices: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        stop = len(batch_indices) if stop is None else stop
        if self.done or not (self.warm or stop == len(batch_indices)):
            self.warm = True
            return self.engine.train(batch_indices, start, stop)
        first = start if self.warm else start + min(WARM_UP, (stop - start) // 2)
        last = min(first + STEPS, stop)
        parts = [self.engine.train(batch_indices, start, first)] if first > start else []
        with self.engine.trace(self.directory), self.progress_after(first - start):
            parts.append(self.engine.train(batch_indices, first, last))
        if last < stop:
            with self.progress_after(last - start):
                parts.append(self.engine.train(batch_indices, last, stop))
        self.done = True
        self.report(last - first)
        return Sums(
            np.concatenate([part.losses for part in parts]),
            sum(part.correct for part in parts),
            sum(part.seen for part in parts),
        )

    @contextlib.contextmanager
    def progress_after(self, steps: int) -> Iterator[None]:
        """Count the steps of earlier calls in what the engine reports to `on_progress`."""
        on_progress = self.engine.on_progress
        if on_progress is not None:
            self.engine.on_progress = lambda more, *figures: on_progress(steps + more, *figures)
        try:
            yield
        finally:
            self.engine.on_progress = on_progress

    def report(self, steps: int) -> None:
        """Report where the trace is."""
        traces = sorted(self.directory.glob("plugins/profile/*/perfetto_trace.json.gz"))
        if not traces:
            self.reporter.line("profile  the framework's profiler wrote no trace")
            return
        self.reporter.line(
            f"profile  {steps} steps: {traces[-1]}, for https://ui.perfetto.dev; also for TensorBoard with xprof"
        )
