"""Run the trials of a search: assign folds to workers and store their scores."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_mlp import data
from mnist_mlp.cli.signals import Request
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.errors import Stopped
from mnist_mlp.tune.messages import CheckOptimizers, FitAndTest, FitFold, Work
from mnist_mlp.tune.methods import METHODS
from mnist_mlp.tune.space import Choice, Space
from mnist_mlp.tune.study import Search, Trial
from mnist_mlp.tune.table import method_line
from mnist_mlp.tune.worker_pool import Pool, Worker


class TrialRunner:
    """Runs the remaining trials of some searches on a pool of workers."""

    def __init__(self, searches: Sequence[Search], trials: int, request: Request, reporter: Reporter):
        """Report each method when its trials are done. Raise `Stopped` soon after `request`."""
        self.searches, self.trials, self.request, self.reporter = searches, trials, request, reporter
        self.waiting = list(searches)
        self.started: dict[str, float] = {}

    def next_trial(self) -> Trial | None:
        """Return the next trial of the first method that has one left."""
        while self.waiting:
            search = self.waiting[0]
            self.started.setdefault(search.method, time.perf_counter())
            trial = search.next(self.trials)
            if trial is not None:
                return trial
            self.waiting.pop(0)
        return None

    def run(self, work: Work, jobs: int) -> None:
        """Run all trials."""
        first = self.next_trial()
        if first is None:
            return
        with Pool(work, jobs) as pool:
            self.fit_next_fold(pool.workers[0], first)
            self.assign(pool)
            while len(pool.idle()) < jobs:
                self.collect(pool)
                self.assign(pool)
                self.report_finished_methods(pool)
                self.raise_if_stopped()

    def fit_next_fold(self, worker: Worker, trial: Trial) -> None:
        worker.submit(FitFold(trial.method, trial.values, len(trial.scores)), trial)

    def assign(self, pool: Pool) -> None:
        """Give each idle worker a new trial."""
        for worker in pool.idle():
            self.raise_if_stopped()
            trial = self.next_trial()
            if trial is None:
                break
            self.fit_next_fold(worker, trial)

    def collect(self, pool: Pool) -> None:
        """Store the scores that have arrived, and let their workers continue with the same trial."""
        for worker in pool.ready():
            trial: Trial = worker.trial
            trial.add(worker.result())
            if trial.running:
                self.fit_next_fold(worker, trial)
            self.reporter.progress(
                f"{trial.method}: trial {trial.number + 1} of {trial.search.proposals.limit(self.trials)}, "
                f"fold {len(trial.scores)} of {trial.search.folds}"
            )

    def report_finished_methods(self, pool: Pool) -> None:
        busy = {worker.trial.method for worker in pool.workers if worker.job is not None}
        busy |= {search.method for search in self.waiting}
        for search in self.searches:
            if search.method in self.started and search.method not in busy:
                seconds = time.perf_counter() - self.started.pop(search.method)
                self.reporter.line(method_line(search.method, search.rows(), seconds))

    def raise_if_stopped(self) -> None:
        if self.request:
            done = sum(row.finished for search in self.searches for row in search.rows())
            raise Stopped(f"{self.request.word} after {done:,} finished trials")


def fit_and_test(work: Work, job: FitAndTest, request: Request) -> dict[str, Any]:
    """Return the answer to `job` from a new process, which uses all cores and has seen no test image before."""
    tested: dict[str, Any] = run_alone(work, job, request, "before the test")
    return tested


def check_optimizers(work: Work, spaces: Mapping[str, Space], request: Request) -> None:
    """Raise `UserError` if the backend cannot run an optimizer of a space.

    The check needs a process that imports Keras, so it is skipped where no space has optimizers to choose from.
    """
    parameters = {
        name: space["optimizer"] for name, space in spaces.items() if METHODS[name].network and "optimizer" in space
    }
    choices = {name: choice.values for name, choice in parameters.items() if isinstance(choice, Choice)}
    if choices:
        no_images = dataclasses.replace(work, train=data.Split(work.train.images[:0], work.train.labels[:0]))
        run_alone(no_images, CheckOptimizers(next(iter(choices)), choices), request, "before the search")


def run_alone(work: Work, job: Any, request: Request, when: str) -> Any:
    """Run one job in a process of its own; `when` says in a message how far the search was if it is stopped."""
    with Pool(dataclasses.replace(work, fold_of=work.fold_of[:0]), 1) as pool:
        (worker,) = pool.workers
        worker.submit(job, None)
        while True:
            if pool.ready():
                return worker.result()
            if request:
                raise Stopped(f"{request.word} {when}")
