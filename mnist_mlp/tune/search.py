"""Runs the trials of a search: hands folds out to the workers, and their scores to the studies."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mnist_mlp import data
from mnist_mlp.cli.signals import Request
from mnist_mlp.cli.terminal import Terminal
from mnist_mlp.errors import Stopped
from mnist_mlp.tune.messages import Fold, Optimizers, Test, Work
from mnist_mlp.tune.methods import METHODS
from mnist_mlp.tune.space import Choice, Space
from mnist_mlp.tune.study import Search, Trial
from mnist_mlp.tune.table import method_line
from mnist_mlp.tune.worker_pool import Pool, Worker


class Run:
    """The trials that are left of some searches, on so many workers."""

    def __init__(self, searches: Sequence[Search], trials: int, request: Request, say: Callable[[str], None]):
        """`say` hears of each method when its trials are done. `Stopped` is raised soon after `request`."""
        self.searches, self.trials, self.request, self.say = searches, trials, request, say
        self.waiting = list(searches)
        self.screen = Terminal()
        self.began: dict[str, float] = {}

    def first(self) -> Trial | None:
        """The next trial of the first method that has one."""
        while self.waiting:
            search = self.waiting[0]
            self.began.setdefault(search.method, time.perf_counter())
            trial = search.next(self.trials)
            if trial is not None:
                return trial
            self.waiting.pop(0)
        return None

    def run(self, work: Work, jobs: int) -> None:
        """Runs them all."""
        first = self.first()
        if first is None:
            return
        with Pool(work, jobs) as pool:
            self.give(pool.workers[0], first)
            self.hand_out(pool)
            try:
                while len(pool.idle()) < jobs:
                    self.hear(pool)
                    self.hand_out(pool)
                    self.tell_methods(pool)
                    self.check_request()
            finally:
                self.screen.clear()

    def give(self, worker: Worker, trial: Trial) -> None:
        """Lets a worker fit the next fold of a trial."""
        worker.ask(Fold(trial.method, trial.values, len(trial.scores)), trial)

    def hand_out(self, pool: Pool) -> None:
        for worker in pool.idle():
            self.check_request()
            trial = self.first()
            if trial is None:
                break
            self.give(worker, trial)

    def hear(self, pool: Pool) -> None:
        """Stores what the workers answer."""
        for worker in pool.answered():
            trial: Trial = worker.about
            trial.add(worker.answer())
            if trial.running:
                self.give(worker, trial)
            self.screen.progress(
                f"{trial.method}: trial {trial.number + 1} of {trial.search.proposals.limit(self.trials)}, "
                f"fold {len(trial.scores)} of {trial.search.folds}"
            )

    def tell_methods(self, pool: Pool) -> None:
        """Says which methods are done."""
        busy = {worker.about.method for worker in pool.workers if worker.asked is not None}
        busy |= {search.method for search in self.waiting}
        for search in self.searches:
            if search.method in self.began and search.method not in busy:
                seconds = time.perf_counter() - self.began.pop(search.method)
                self.screen.clear()
                self.say(method_line(search.method, search.rows(), seconds))

    def check_request(self) -> None:
        if self.request:
            done = sum(row.state in ("complete", "pruned") for search in self.searches for row in search.rows())
            raise Stopped(f"{self.request.word}, trials done: {done:,}")


def look_at_test(work: Work, asked: Test, request: Request) -> dict[str, Any]:
    """What `Fitter.on_test` gives: from a new process, which has all cores and had no test image before."""
    found: dict[str, Any] = answer_of(work, asked, request, "the test images were looked at")
    return found


def check_optimizers(work: Work, spaces: Mapping[str, Space], request: Request) -> None:
    """Raises `UserError` where an optimizer that is to be searched cannot be run: a process must import Keras to know,
    so none is asked where each network has its own."""
    asked = {
        name: space["optimizer"] for name, space in spaces.items() if METHODS[name].network and "optimizer" in space
    }
    searched = {name: choice.values for name, choice in asked.items() if isinstance(choice, Choice)}
    if searched:
        none = dataclasses.replace(work, train=data.Split(work.train.images[:0], work.train.labels[:0]))
        answer_of(none, Optimizers(next(iter(searched)), searched), request, "anything was searched")


def answer_of(work: Work, asked: Any, request: Request, before: str) -> Any:
    """What a process of its own answers."""
    with Pool(dataclasses.replace(work, fold_of=work.fold_of[:0]), 1) as pool:
        (worker,) = pool.workers
        worker.ask(asked, None)
        while True:
            if pool.answered():
                return worker.answer()
            if request:
                raise Stopped(f"{request.word} before {before}")
