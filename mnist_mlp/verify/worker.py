"""A process that runs stages on a device, as their names come in, and writes each finding as soon as it has it.

    python -m mnist_mlp.verify.worker CONTEXT.json FINDINGS.jsonl DESCRIPTOR PARENT

Names are lines in a pipe of that descriptor; it ends with the pipe. A stage may hang or abort the process: whoever
started it then starts another one for the stages that are left. PARENT is the process that started it: when that is
killed, this one ends, too.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from mnist_mlp.cli import program
from mnist_mlp.runs.result import finite
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.stages import STAGES, attempt, function_of

PATIENCE = 5  # seconds in which SIGTERM must end this process; C++ code may not return before


def main(argv: Sequence[str]) -> None:
    asked = json.loads(Path(argv[0]).read_text())
    context = Context(**{**asked, "work": Path(asked["work"])})
    end_with_parent(int(argv[3]), context.work)
    by_name = {stage.name: stage for stage in STAGES}
    with os.fdopen(int(argv[2])) as names, open(argv[1], "a") as findings:
        for name in names:
            began = time.perf_counter()
            finding = attempt(function_of(by_name[name.strip()]), context)
            row = {"name": name.strip(), "seconds": time.perf_counter() - began, "finding": dataclasses.asdict(finding)}
            findings.write(json.dumps(finite(row)) + "\n")
            findings.flush()


def end_with_parent(parent: int, work: Path) -> None:
    """Watch the parent, which may be gone already. Once it is, remove `work`, and end this process with its children.

    Nobody else would: a process that is killed cleans nothing up, and a stage may hold a device for minutes.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        shutil.rmtree(work, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGTERM)  # so that a stage kills the processes that it has started
        time.sleep(PATIENCE)
        shutil.rmtree(work, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    program.run(main)
