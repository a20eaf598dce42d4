"""Runs the processes of an export: each starts with nothing but its files, and works on the CPU."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

from mnist_mlp.errors import UserError

KEPT = 1_000_000  # bytes, of what a framework prints


def run(module: str, *arguments: str | Path, doing: str) -> None:
    """Runs `python -m mnist_mlp.export.MODULE arguments` to its end.

    Raises `UserError` with what the process said to the user, or where it was killed; RuntimeError with its traceback.
    """
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",  # also where our own process holds a TPU
    }
    done = subprocess.run(
        [sys.executable, "-m", f"mnist_mlp.export.{module}", *map(str, arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for us; what we raise ends the process
    )
    if done.returncode == 0:
        return
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode == 2:
        raise UserError(last.removeprefix("error: "))
    if done.returncode < 0:
        raise UserError(
            f"expected the process that {doing} to live, it was killed by signal {-done.returncode}; free memory, or "
            "leave a --format out"
        )
    if "ImportError" in last or "ModuleNotFoundError" in last:
        raise UserError(f"the process that {doing}: a package cannot be imported ({last}); install it anew")
    raise RuntimeError(f"the process that {doing} failed:\n{done.stderr}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that still runs, and all that it has started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tail(file: IO[bytes]) -> str:
    """The end of what was written to a file."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - KEPT))
    return file.read(KEPT).decode("utf-8", "replace")


def last_words(code: int, printed: str) -> str:
    """How a process ended that gave no answer: by a signal, or by the error at the end of its traceback."""
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]  # more may follow, as from JAX
    return f"failed: {(errors or lines)[-1][:300]}" if code and lines else f"gave no answer (exit code {code})"
