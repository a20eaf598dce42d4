"""startup: from process start to the first step of training, beside the bare import of the frameworks."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from measures.programs import OUR_STEPS, PROGRAMS, Asked, Program, on_device
from measures.running import Case, Done, Figures, Series, alternate, run
from measures.steps import OURS
from measures.tables import column, markdown, of_program, ratios, spread

IMPORTS = {  # by backend: what is imported bare, Keras on that backend
    "tensorflow": ("import tensorflow", "import keras"),
    "jax": ("import jax", "import keras"),
}


def measure(asked: Asked) -> list[Series]:
    cases = []
    for program in asked.chosen(OURS):
        first_step(program, asked, 0)  # what is measured is a later run
        cases.append(Case({"program": program.name}, partial(first_step, program, asked)))
        for statement in IMPORTS[program.backend]:
            about = {"program": statement, "beside": program.name}
            cases.append(Case(about, partial(imported, statement, {"KERAS_BACKEND": program.backend})))
    return alternate(cases, asked.runs, asked.say)


def imported(statement: str, own: Mapping[str, str], number: int) -> Figures:
    """Until the import has ended."""
    done = run([sys.executable, "-c", f"{statement}\nprint('imported', flush=True)"], own)
    return {"process": done.seconds, "first_step": done.lines[-1][0], "cpu": done.cpu_seconds}


def first_step(program: Program, asked: Asked, number: int) -> Figures:
    """Until the first epoch begins: when it is told that it ended, less the seconds that it took."""
    with tempfile.TemporaryDirectory(dir=asked.scratch) as run_dir:
        ours = ["-m", "mnist_mlp.train", "--dataset=mnist", f"--data_dir={asked.npz.parent}"]
        if not asked.real:
            ours = [str(OUR_STEPS), str(asked.npz), "1"]
        place = [f"--strategy={asked.device}", f"--backend={program.backend}", f"--run_dir={run_dir}"]
        flags = [f"--preset={asked.preset}", "--epochs=1", "--checkpoint_every=0"]
        done = run([sys.executable, *ours, *flags, *place], program.own(asked))
        result = json.loads((Path(run_dir) / "result.json").read_text())
        return on_device({**began(done, result), "device": result["device"]["actual"]}, program, asked)


def began(done: Done, result: Mapping) -> Figures:
    """When the first step of a run of one epoch began, by its lines and its result."""
    ended = next(at for at, line in done.lines if line.startswith("epoch "))
    parts = {part: result["seconds"].get(part, 0.0) for part in ("import", "load", "compile")}
    first = ended - result["epochs"][0]["seconds"]
    return {"process": done.seconds, "first_step": first, "cpu": done.cpu_seconds, **parts}


def table(found: Sequence[Series]) -> str:
    rows = []
    for series in found:
        ours = of_program(found, series.get("beside", series["program"]))
        seconds = column(series, "first_step")
        label = PROGRAMS[ours["program"]].label
        if series is not ours:
            label = f"`{series['program']}`{label.removeprefix('ours')}"
        parts = [spread(column(series, part), "s") if series is ours else "–" for part in ("import", "load", "compile")]
        rows.append([label, spread(seconds, "s"), *parts, spread(ratios(column(ours, "first_step"), seconds))])
    return markdown(["program", "to the first step", "import", "load", "compile", "ours / this"], rows)
