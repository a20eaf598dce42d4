"""Run the stages in processes of their own: one that hangs, aborts or is killed takes no other stage with it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import Any

from mnist_mlp.cli.child_process import Child
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.errors import UserError
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import PASSED, SKIPPED, Finding
from mnist_mlp.verify.stages import DEVICE, HERE, REPLICAS, Stage, attempt, function_of

LONGEST = 600  # seconds for one stage, besides the start of the device
POLL = 0.02  # seconds
numbers = itertools.count()  # of the processes, for the names of their files


def run_stages(
    stages: Sequence[Stage], context: Context, reporter: Reporter
) -> Generator[tuple[Stage, Finding, float]]:
    """Run the stages in their order; yield each with its finding and its seconds as soon as it is known."""
    found: dict[str, Finding] = {}
    with Workers(context) as workers:
        workers.start_beside([stage for stage in stages if stage.where == DEVICE][:1])
        for stage in stages:
            reporter.progress(f"{stage.name}: {stage.proves}")
            if reason := pointless(stage, found):
                finding, seconds = Finding.skipped(reason), 0.0
            elif stage.where == HERE:
                began = time.perf_counter()
                finding = attempt(function_of(stage), context)
                seconds = time.perf_counter() - began
                workers.start_beside([each for each in stages if each.where == REPLICAS])
            else:
                finding, seconds = workers.run(stage)
            found[stage.name] = finding
            yield stage, finding, seconds


def pointless(stage: Stage, found: Mapping[str, Finding]) -> str:
    """Return why a stage says nothing after what was found, or ""."""
    for name, why in stage.needs.items():
        if name in found and found[name].status not in (PASSED, SKIPPED):
            return f"{why} (stage {name})"
    return ""


class Workers:
    """The processes of a verification: one on the device, and one on several replicas."""

    def __init__(self, context: Context):
        self.context = context
        self.processes: dict[str, WorkerProcess] = {}

    def run(self, stage: Stage) -> tuple[Finding, float]:
        """Run a stage in the process that it belongs to, or take what that has found already."""
        process = self.process(stage)
        process.ask(stage)
        finding, seconds = process.answer(stage)
        if not process.alive:  # the next stage gets a new one
            self.processes.pop(stage.where).close()
        return finding, seconds

    def start_beside(self, others: Sequence[Stage]) -> None:
        """Start stages before their turn, if the device is a CPU: they run beside those before them.

        None of these measures time. A TPU serves one process, and GPUs may have no room for two.
        """
        with contextlib.suppress(UserError):  # there is no such device: the stages will say so
            on_cpu = self.context.plan.device == "cpu"
            for other in others if on_cpu and (self.context.plan.replicas or 1) == 1 else ():
                self.process(other).ask(other)

    def process(self, stage: Stage) -> WorkerProcess:
        if stage.where not in self.processes:
            if self.context.plan.device == "tpu":  # it serves one process at a time
                self.close()
            self.processes[stage.where] = WorkerProcess(self.context)
        return self.processes[stage.where]

    def close(self) -> None:
        while self.processes:
            self.processes.popitem()[1].close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


class WorkerProcess:
    """A process that waits for the names of stages (see worker.py), and what it has found so far."""

    def __init__(self, context: Context):
        number = next(numbers)
        self.limit = LONGEST + context.device["start_timeout"]
        self.findings = context.work / f"findings-{number}.jsonl"
        self.findings.touch()
        request = context.work / f"context-{number}.json"
        request.write_text(json.dumps(dataclasses.asdict(context) | {"work": str(context.work)}))
        reading, writing = os.pipe()
        # NumPy's threads busy-wait and compete with the framework's: with one thread everything takes half the time.
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
        arguments = ("-m", "mnist_mlp.verify.worker", request, self.findings, str(reading), str(os.getpid()))
        self.child = Child(arguments, environment, pass_fds=[reading])
        os.close(reading)
        self.commands = os.fdopen(writing, "w")
        self.asked: list[str] = []
        self.alive, self.read = True, 0

    def ask(self, stage: Stage) -> None:
        """Have a stage run after those that were asked for before."""
        if stage.name not in self.asked:
            self.asked.append(stage.name)
            with contextlib.suppress(BrokenPipeError):  # it has ended: `answer` says how
                self.commands.write(f"{stage.name}\n")
                self.commands.flush()

    def answer(self, stage: Stage) -> tuple[Finding, float]:
        """Wait for what the stage finds; if the process ends or hangs instead, that is the finding."""
        began = time.monotonic()
        while True:
            ended = has_ended(self.child)
            lines = self.findings.read_text().splitlines(keepends=True)
            if len(lines) > self.read and lines[self.read].endswith("\n"):
                row: dict[str, Any] = json.loads(lines[self.read])
                self.read += 1
                if row["name"] == stage.name:
                    return Finding(**row["finding"]), row["seconds"]
            seconds = time.monotonic() - began
            if ended or seconds > self.limit:
                self.alive = False
                why = f"its process {self.child.outcome}" if ended else f"it did not end within {self.limit:g} s"
                return Finding.error(why, printed=self.child.stderr[-4000:]), seconds

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.commands.close()
        self.child.__exit__(None, None, None)


def has_ended(child: Child) -> bool:
    try:
        child.wait(POLL)
    except subprocess.TimeoutExpired:
        return False
    return True
