"""Programs as processes of their own, one after the other, and what each of them cost."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mnist_mlp.errors import UserError

Figures = dict[str, Any]  # what one run of a program came to: numbers, and the device that it ran on
Series = dict[str, Any]  # what was run ("program" and what else tells it apart), and under "runs" the Figures of each

# Settings of a person's own for a framework or its threads: no program that is measured gets them.
SETTINGS = (
    "KERAS_",
    "TF_",
    "XLA_",
    "JAX_",
    "OMP_",
    "MKL_",
    "KMP_",
    "OPENBLAS_",
    "GOTO_",
    "TORCH_",
    "PYTORCH_",
    "ABSL_",
)


@dataclasses.dataclass(frozen=True)
class Done:
    """A process that ended well. `lines` are those of its standard output, each with the second it came at."""

    seconds: float  # from its start to its end
    cpu_seconds: float
    memory_mb: float  # the largest resident size
    lines: list[tuple[float, str]]


@dataclasses.dataclass(frozen=True)
class Case:
    """What is to be run again and again: `about` tells it apart, `call` runs it once, in the round of that number."""

    about: dict[str, Any]
    call: Callable[[int], Figures]


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """What a program gets: no settings of a person's own, no GPU unless `own` names some, and what is `own` to it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return kept | {"CUDA_VISIBLE_DEVICES": "-1", **own}


def run(command: Sequence[str], own: Mapping[str, str]) -> Done:
    """Runs a program to its end. Raises `UserError` with what it said last where it fails."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment(own), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            lines = [(time.perf_counter() - began, line.rstrip("\n")) for line in process.stdout or ()]
        except BaseException:  # Ctrl-C
            process.kill()
            process.wait()
            raise
        # Of this process alone. Its memory counts from what we had when it was started: little, see images.py.
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if code:
            errors.seek(0)
            said = [line.strip() for line in errors.read().splitlines() if line.strip()] or ["nothing"]
            raise UserError(f"{' '.join(command)} failed with exit code {code}: {said[-1][:1000]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Done(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6, lines)


def alternate(cases: Sequence[Case], runs: int, say: Callable[[str], None]) -> list[Series]:
    """Runs all cases in each round, so that a drift of the machine falls on all, and says how far it is."""
    found = [[] for _ in cases]
    for number in range(runs):
        for place in order_of_round(len(cases), number):
            figures = cases[place].call(number)
            found[place].append(figures)
            about = ", ".join(str(value) for value in cases[place].about.values())
            say(f"round {number + 1}/{runs}  {about}: {figures['process']:.1f} s")
    return [case.about | {"runs": runs_of_case} for case, runs_of_case in zip(cases, found, strict=True)]


def order_of_round(cases: int, number: int) -> list[int]:
    """The order of the cases in the round of that number, another one each time.

    Each second one is the one before it backwards, and the next two begin one place later: two programs run as
    A B, B A, B A, A B.
    """
    shift = number // 2 % max(1, cases)
    order = [*range(shift, cases), *range(shift)]
    return order[::-1] if number % 2 else order
