"""Run the stages in processes of their own: one that hangs, aborts or is killed takes no other stage with it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mnist_mlp.cli.child_process import Child
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import PASSED, SKIPPED, Finding
from mnist_mlp.verify.stages import HERE, Stage
from mnist_mlp.verify.worker import run

LONGEST = 600  # seconds for one stage, besides the start of the device
POLL = 0.05  # seconds


def run_stages(stages: Sequence[Stage], context: Context, reporter: Reporter) -> Iterator[tuple[Stage, Finding, float]]:
    """Run the stages in their order; yield each with its finding and its seconds as soon as it is known."""
    found: dict[str, Finding] = {}
    for where, group in itertools.groupby(stages, key=lambda stage: stage.where):
        left = list(group)
        while left:
            if reason := pointless(left[0], found):
                results = iter([(left[0].name, Finding.skipped(reason), 0.0)])
            elif where == HERE:
                results = run(left[:1], context)
            else:
                results = in_process(left, context, reporter)
            for name, finding, seconds in results:
                stage = left.pop(0)
                assert stage.name == name
                found[name] = finding
                yield stage, finding, seconds
                if left and pointless(left[0], found):
                    break  # the process would run it all the same


def pointless(stage: Stage, found: dict[str, Finding]) -> str:
    """Return why a stage says nothing after what was found, or ""."""
    for name, why in stage.needs.items():
        if name in found and found[name].status not in (PASSED, SKIPPED):
            return f"{why} (stage {name})"
    return ""


def in_process(stages: Sequence[Stage], context: Context, reporter: Reporter) -> Iterator[tuple[str, Finding, float]]:
    """Run stages in one process; yield what it finds. If it ends early, the stage that it was at has an error."""
    number = len(list(context.work.glob("request-*.json")))
    request, findings = (context.work / f"{name}-{number}" for name in ("request.json", "findings.jsonl"))
    request = context.work / f"request-{number}.json"
    asked = {"stages": [stage.name for stage in stages], "context": context_as_json(context)}
    request.write_text(json.dumps(asked))
    findings.write_text("")
    # NumPy's threads busy-wait and compete with the framework's: with one thread everything takes half the time.
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
    with Child(["-m", "mnist_mlp.verify.worker", request, findings], environment) as child:
        read = 0
        for stage in stages:
            reporter.progress(f"{stage.name}: {stage.proves}")
            began = time.monotonic()
            limit = LONGEST + context.device["start_timeout"]
            while True:
                ended = has_ended(child)
                lines = findings.read_text().splitlines(keepends=True)
                if len(lines) > read and lines[read].endswith("\n"):
                    row: dict[str, Any] = json.loads(lines[read])
                    read += 1
                    yield row["name"], Finding(**row["finding"]), row["seconds"]
                    break
                seconds = time.monotonic() - began
                if ended:
                    yield (
                        stage.name,
                        Finding.error(f"its process {child.outcome}", printed=child.stderr[-4000:]),
                        seconds,
                    )
                    return
                if seconds > limit:
                    yield stage.name, Finding.error(f"it did not end within {limit:g} s"), seconds
                    return


def has_ended(child: Child) -> bool:
    try:
        child.wait(POLL)
    except subprocess.TimeoutExpired:
        return False
    return True


def context_as_json(context: Context) -> dict[str, Any]:
    return {
        "tier": context.tier,
        "seed": context.seed,
        "device": context.device,
        "data_dir": context.data_dir,
        "work": str(context.work),
    }
