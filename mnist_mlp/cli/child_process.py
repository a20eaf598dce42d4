"""Child processes that run Python: start one, read the end of what it prints, kill it, and say how it ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import mnist_mlp
from mnist_mlp.errors import UserError

ROOT = Path(mnist_mlp.__file__).parents[1]
LONGEST = 1_000_000  # bytes kept of the output


class Child:
    """A Python process in a process group of its own; used in a `with`, it is killed at the end of the block.

    The process imports the same `mnist_mlp` as this one and reads nothing from standard input. Ctrl-C on the terminal
    reaches this process alone, which then kills the child with all that the child has started.

    Output is captured in temporary files, not pipes: a full pipe blocks a process that prints much, and the process's
    own children would keep it open. With `capture=False` the child inherits this process's output.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str] = os.environ,
        *,
        capture: bool = True,
        pass_fds: Sequence[int] = (),
    ):
        """Run `python ARGUMENTS` with these environment variables."""
        self.files = [tempfile.TemporaryFile() for _ in range(2 if capture else 0)]  # noqa: SIM115 (closed on exit)
        stdout, stderr = self.files or (None, None)
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=with_this_package(environment),
            pass_fds=pass_fds,
            start_new_session=True,
        )

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises `subprocess.TimeoutExpired`."""
        return self.process.wait(timeout)

    def kill(self) -> None:
        """Kill the process if it still runs, and everything in its process group."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def stdout(self) -> str:
        return tail(self.files[0]) if self.files else ""

    @property
    def stderr(self) -> str:
        return tail(self.files[1]) if self.files else ""

    @property
    def outcome(self) -> str:
        """How the process ended: see `outcome_of`."""
        return outcome_of(self.wait(), self.stdout + self.stderr)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.kill()
        for file in self.files:
            file.close()


def with_this_package(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `environment` in which a child imports the `mnist_mlp` that is running here."""
    paths = [str(ROOT), environment.get("PYTHONPATH", "")]
    # Without PYTHONSAFEPATH, a directory called mnist_mlp in the current one would come first.
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}


def tail(file: IO[bytes]) -> str:
    """Return the last `LONGEST` bytes of a file as text."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST))
    return file.read(LONGEST).decode("utf-8", "replace")


def outcome_of(code: int, output: str = "") -> str:
    """Say how a process ended, to follow its name.

    >>> outcome_of(-9)
    'was killed by signal 9 (SIGKILL)'
    >>> outcome_of(1, "Traceback …\\nValueError: bad\\n")
    'exited with code 1: ValueError: bad'
    """
    if code < 0:
        names = [name.name for name in signal.Signals if name == -code]
        return f"was killed by signal {-code}{f' ({names[0]})' if names else ''}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]  # JAX prints more after its error
    last = (errors or lines)[-1:] if code else []
    return f"exited with code {code}{''.join(f': {line[:300]}' for line in last)}"


def run(module: str, *arguments: str | Path, doing: str) -> None:
    """Run `python -m mnist_mlp.MODULE ARGUMENTS` on the CPU and wait for its end.

    Raises `UserError` with the error that the process reports to the user, where it was killed, or where a package
    cannot be imported; `RuntimeError` with its traceback otherwise. `doing` completes "the process that …".
    """
    # JAX_PLATFORMS also because this process may hold the TPU.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    with Child(["-m", f"mnist_mlp.{module}", *arguments], environment) as child:
        code, printed = child.wait(), child.stderr
        outcome = f"the process that {doing} {child.outcome}"
    last = (printed.strip().splitlines() or [""])[-1]
    if code == 2:
        raise UserError(last.removeprefix("error: "))
    if code < 0:
        raise UserError(f"{outcome}; it may have run out of memory: free some memory and run the command again")
    if "ImportError" in last or "ModuleNotFoundError" in last:
        raise UserError(f"{outcome}; reinstall this package")
    if code:
        raise RuntimeError(f"{outcome}\n{printed}")
