"""A worker process of a search, which runs one job at a time: `python -m mnist_mlp.tune.worker DESCRIPTOR`.

It receives the training images and their folds over the pipe at DESCRIPTOR, and no test images before a trial has been
chosen. It exits when the pipe closes, so it cannot outlive the process that started it.
"""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from mnist_mlp.cli import program
from mnist_mlp.errors import UserError
from mnist_mlp.tune.fitting import Fitter, Score
from mnist_mlp.tune.messages import CheckOptimizers, Done, Failed, FitAndTest, FitFold, Work


def main(argv: Sequence[str]) -> None:
    pipe = Connection(int(argv[0]))
    received: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def receive() -> None:
        try:
            while True:
                received.put(pipe.recv())
        except (EOFError, OSError):  # the parent has gone, or no longer needs this worker
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=receive, daemon=True).start()
    work: Work = received.get()
    fitter = Fitter(work.train, work.request, work.seed)
    while True:
        try:
            pipe.send(run(fitter, work, received.get()))
        except UserError as error:
            pipe.send(Failed(str(error), error.exit_code))
        except Exception:
            pipe.send(Failed(traceback.format_exc(), None))


def run(fitter: Fitter, work: Work, job: FitFold | FitAndTest | CheckOptimizers) -> Score | dict[str, Any] | Done:
    """Run one job and return its answer."""
    if isinstance(job, CheckOptimizers):
        fitter.check_optimizers(job.values)
        return Done()
    if isinstance(job, FitAndTest):
        return fitter.fit_and_test(job.method, job.values, job.test)
    return fitter.fit_fold(job.method, job.values, work.fold_of, job.fold)


if __name__ == "__main__":
    program.run(main)
