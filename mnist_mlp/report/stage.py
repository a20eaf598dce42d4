"""The last stage of training: the page of the run, which must never cost the run."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from mnist_mlp.data import Split
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic
from mnist_mlp.report import content, run_page
from mnist_mlp.runs.directory import Run
from mnist_mlp.runs.result import Laps, Result

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine


def report(engine: Engine, run: Run, result: Result, test: Split, laps: Laps, tell: Callable[[str], None]) -> Result:
    """Writes report.html into the directory of a run whose result and model are there already; the result with the
    seconds that it took.

    `engine` has the weights that were scored. All workers call this, since all hold a part of the engine; the chief
    writes. Where the page cannot be written, a line says why and how to try again: a run of hours does not fail by it.
    """
    try:
        seen = content.look(engine, test)
        if run.chief:
            layers = content.weights_of(engine)
            made = content.Material(run.path.name, run.config, result.to_dict(), layers, seen)
            run.check_place()
            atomic.write_text(run.path / run_page.NAME, run_page.drawn(made))
    except Exception as error:  # a full disk, or a bug: the run is whole without its page
        why = " ".join(str(error).split()) or type(error).__name__
        again = f"python -m mnist_mlp.report {shlex.quote(str(run.path))}"
        tell(f"  !      {run_page.NAME} was not written: {why}; to try again type {again}")
    laps.end("report")
    result = dataclasses.replace(result, **laps.measured())
    with contextlib.suppress(UserError):  # the file is there already: only these seconds are new
        run.check_place()
        atomic.write_json(run.path / "result.json", result.to_dict())
    return result
