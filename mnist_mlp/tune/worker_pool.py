"""The worker processes of a search, seen from the process that assigns their jobs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing.connection import Pipe, wait
from types import TracebackType
from typing import Any

from mnist_mlp.cli.child_process import Child, outcome_of
from mnist_mlp.errors import UserError
from mnist_mlp.tune.messages import Failed, Work

POLL = 0.2  # seconds between two looks at a request to stop


class Worker:
    """One process; `job` is the message that it works on, `trial` the trial that it belongs to."""

    def __init__(self, cores: int | None):
        self.pipe, theirs = Pipe()
        self.job: Any = None
        self.trial: Any = None
        environment = {
            # One thread for scikit-learn: a thread that spins while it waits takes a core from the other workers.
            **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            **({"TF_NUM_INTRAOP_THREADS": str(cores)} if cores else {}),
            **os.environ,
        }
        descriptor = theirs.fileno()
        command = ["-m", "mnist_mlp.tune.worker", str(descriptor)]
        self.process = Child(command, environment, capture=False, pass_fds=(descriptor,))
        theirs.close()

    def submit(self, job: Any, trial: Any) -> None:
        """Send a job; `result` returns its answer."""
        self.job, self.trial = job, trial
        self.send(job)

    def send(self, message: Any) -> None:
        try:
            self.pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self.died() from None

    def result(self) -> Any:
        """Return the answer to the job. Raise `UserError` for a failure the user can fix, such as a lack of memory."""
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self.died() from None
        if isinstance(answer, Failed):
            if answer.exit_code is None:
                raise RuntimeError(f"a worker failed:\n{answer.message}")
            error = UserError(answer.message)
            error.exit_code = answer.exit_code
            raise error
        self.job = None
        return answer

    def died(self) -> UserError:
        """Wait for the process to end, and describe how it did."""
        how = outcome_of(self.process.wait())
        doing = f" while fitting {self.job.method} with {self.job.values}" if self.job else ""
        return UserError(
            f"a worker process {how}{doing}; finished trials are kept: run the same command again, perhaps with fewer "
            "--jobs"
        )


class Pool:
    """`jobs` workers, killed on leaving the block."""

    def __init__(self, work: Work, jobs: int):
        self.workers: list[Worker] = []
        cores = None if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
        self.work, self.jobs, self.cores = work, jobs, cores

    def __enter__(self) -> Pool:
        try:
            for _ in range(self.jobs):
                self.workers.append(Worker(self.cores))
            for worker in self.workers:
                worker.send(self.work)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.pipe.close()
        for worker in self.workers:
            worker.process.wait()

    def idle(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.job is None]

    def ready(self) -> Sequence[Worker]:
        """Return the workers whose answers have arrived, after at most `POLL` seconds; perhaps none."""
        busy = {worker.pipe: worker for worker in self.workers if worker.job is not None}
        return [busy[pipe] for pipe in wait(list(busy), POLL)]  # type: ignore[index]
