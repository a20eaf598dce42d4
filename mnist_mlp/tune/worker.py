"""A process of a search that fits and scores, one trial at a time: `python -m mnist_mlp.tune.worker DESCRIPTOR`.

It gets the training images and their folds over the pipe at DESCRIPTOR, and never the test images before the choice is
made. It ends when the pipe does, so it does not outlive the process that started it, however that ended.
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
from mnist_mlp.tune.messages import Failed, Fold, Optimizers, Ready, Test, Work


def main(argv: Sequence[str]) -> None:
    pipe = Connection(int(argv[0]))
    received: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def receive() -> None:
        try:
            while True:
                received.put(pipe.recv())
        except (EOFError, OSError):  # whoever started us is gone, or needs us no longer
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=receive, daemon=True).start()
    work: Work = received.get()
    fitter = Fitter(work.train, work.request, work.seed)
    while True:
        try:
            pipe.send(answer(fitter, work, received.get()))
        except UserError as error:
            pipe.send(Failed(str(error), error.exit_code))
        except Exception:
            pipe.send(Failed(traceback.format_exc(), None))


def answer(fitter: Fitter, work: Work, asked: Fold | Test | Optimizers) -> Score | dict[str, Any] | Ready:
    if isinstance(asked, Optimizers):
        fitter.check_optimizers(asked.values)
        return Ready()
    if isinstance(asked, Test):
        return fitter.on_test(asked.method, asked.values, asked.test)
    return fitter.held_out(asked.method, asked.values, work.fold_of, asked.fold)


if __name__ == "__main__":
    program.run(main)
