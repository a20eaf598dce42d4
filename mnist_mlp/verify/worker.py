"""A process that runs stages on a device, as their names come in, and writes each finding as soon as it has it.

    python -m mnist_mlp.verify.worker CONTEXT.json FINDINGS.jsonl DESCRIPTOR

Names are lines in a pipe of that descriptor; it ends with the pipe. A stage may hang or abort the process: whoever
started it then starts another one for the stages that are left.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.cli import program
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.runs.result import finite
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding
from mnist_mlp.verify.stages import STAGES, Stage


def main(argv: Sequence[str]) -> None:
    asked = json.loads(Path(argv[0]).read_text())
    context = Context(**{**asked, "work": Path(asked["work"])})
    by_name = {stage.name: stage for stage in STAGES}
    with os.fdopen(int(argv[2])) as names, open(argv[1], "a") as findings:
        for name in names:
            began = time.perf_counter()
            finding = attempt(function_of(by_name[name.strip()]), context)
            row = {"name": name.strip(), "seconds": time.perf_counter() - began, "finding": dataclasses.asdict(finding)}
            findings.write(json.dumps(finite(row)) + "\n")
            findings.flush()


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
