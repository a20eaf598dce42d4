"""The worker processes of a search, as the process sees them that hands out the work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing.connection import Pipe, wait
from types import TracebackType
from typing import Any

from mnist_mlp.cli.child_process import Child, outcome_of
from mnist_mlp.errors import UserError
from mnist_mlp.tune.messages import Failed, Work

HEARING = 0.2  # seconds after which a request to stop is heard, at most


class Worker:
    """One process; `asked` is what it is working on, `about` what that is for."""

    def __init__(self, cores: int | None):
        self.pipe, theirs = Pipe()
        self.asked: Any = None
        self.about: Any = None
        environment = {
            # scikit-learn's methods on one thread: what waits for a second one, busily, takes a core from the others.
            **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            **({"TF_NUM_INTRAOP_THREADS": str(cores)} if cores else {}),
            **os.environ,
        }
        number = theirs.fileno()
        command = ["-m", "mnist_mlp.tune.worker", str(number)]
        self.process = Child(command, environment, capture=False, pass_fds=(number,))
        theirs.close()

    def ask(self, asked: Any, about: Any) -> None:
        self.asked, self.about = asked, about
        self.tell(asked)

    def tell(self, message: Any) -> None:
        try:
            self.pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self.lost() from None

    def answer(self) -> Any:
        """What it was asked for. Raises `UserError` for what the user can mend, such as too little memory."""
        try:
            found = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self.lost() from None
        if isinstance(found, Failed):
            if found.exit_code is None:
                raise RuntimeError(f"a worker failed:\n{found.message}")
            error = UserError(found.message)
            error.exit_code = found.exit_code
            raise error
        self.asked = None
        return found

    def lost(self) -> UserError:
        how = outcome_of(self.process.wait())
        doing = f" while it fitted {self.asked.method} with {self.asked.values}" if self.asked else ""
        return UserError(
            f"expected every worker process to live, one {how}{doing}; what is finished is kept: type the command "
            "again, with fewer --jobs if memory is what was missing"
        )


class Pool:
    """So many workers, which are killed when the block is left."""

    def __init__(self, work: Work, jobs: int):
        self.workers: list[Worker] = []
        cores = None if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
        self.work, self.jobs, self.cores = work, jobs, cores

    def __enter__(self) -> Pool:
        try:
            for _ in range(self.jobs):
                self.workers.append(Worker(self.cores))
            for worker in self.workers:
                worker.tell(self.work)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.pipe.close()
        for worker in self.workers:
            worker.process.wait()

    def idle(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.asked is None]

    def answered(self) -> Sequence[Worker]:
        """The workers whose answers are there; none after a while, so that who waits can look about."""
        busy = {worker.pipe: worker for worker in self.workers if worker.asked is not None}
        return [busy[pipe] for pipe in wait(list(busy), HEARING)]  # type: ignore[index]
