"""A process that runs stages on a device, one after the other, and writes each finding as soon as it has it.

    python -m mnist_mlp.verify.worker REQUEST.json FINDINGS.jsonl

A stage may hang or abort the process: whoever started it then starts another one for the stages that are left.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.cli import program
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.runs.result import finite
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding
from mnist_mlp.verify.stages import STAGES, Stage


def main(argv: Sequence[str]) -> None:
    request, findings = map(Path, argv)
    asked = json.loads(request.read_text())
    context = Context(**{**asked["context"], "work": Path(asked["context"]["work"])})
    names = asked["stages"]
    with open(findings, "a") as file:
        for name, finding, seconds in run([stage for stage in STAGES if stage.name in names], context):
            row = {"name": name, "seconds": seconds, "finding": dataclasses.asdict(finding)}
            file.write(json.dumps(finite(row)) + "\n")
            file.flush()


def run(stages: Iterable[Stage], context: Context) -> Iterator[tuple[str, Finding, float]]:
    """Run the stages; yield the name of each, what it found, and its seconds. No error of a stage hides another."""
    for stage in stages:
        began = time.perf_counter()
        yield stage.name, attempt(function_of(stage), context), time.perf_counter() - began


def attempt(function: Callable[[Context], Finding], context: Context) -> Finding:
    """Return what a stage finds; an exception becomes a finding, too."""
    try:
        return function(context)
    except Refuted as error:
        return Finding.judged("", str(error))
    except UserError as error:
        return Finding.error(str(error))
    except Exception as error:  # of a framework, or a bug: it is shown, and the other stages are tried
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Finding.error(reason, traceback=traceback.format_exc()[-4000:])


def function_of(stage: Stage) -> Any:
    module, _, name = stage.function.partition(":")
    return getattr(importlib.import_module(f"mnist_mlp.verify.{module}"), name)


if __name__ == "__main__":
    program.run(main)
