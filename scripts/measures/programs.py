"""The programs that are measured: ours on both backends, and those of others, each with what it needs."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from measures.running import Done, Figures, run
from mnist_mlp.config import PRESETS
from mnist_mlp.errors import UserError
from mnist_mlp.text import nearest

RIVALS = Path(__file__).resolve().parent.parent / "rivals"
OUR_STEPS = Path(__file__).resolve().with_name("our_steps.py")
PARTS = ("import", "load", "compile", "train", "evaluate")


@dataclasses.dataclass(frozen=True)
class Program:
    """A program by the name that --programs takes. `file` is of RIVALS; ours have none, but a backend."""

    name: str
    label: str
    packages: tuple[str, ...]
    file: str = ""
    backend: str = ""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tool: str = ""
    trains: bool = True
    first: bool = False  # of ours: as on a machine where it has not run before, without programs that XLA has kept

    def own(self, asked: Asked) -> dict[str, str]:
        """The environment that is its own. What XLA has compiled is kept in a place of this benchmark's."""
        kept = {"MNIST_MLP_CACHE": "off" if self.first else str(asked.scratch / "kept")} if self.backend else {}
        return {**self.environment, **kept}


PROGRAMS = {
    program.name: program
    for program in (
        Program("ours", "ours on TensorFlow", ("tensorflow", "keras"), backend="tensorflow"),
        Program("ours-jax", "ours on JAX", ("jax", "keras"), backend="jax"),
        Program(
            "ours-first", "ours on TensorFlow, first run", ("tensorflow", "keras"), backend="tensorflow", first=True
        ),
        Program("ours-jax-first", "ours on JAX, first run", ("jax", "keras"), backend="jax", first=True),
        Program(
            "plain", "Model.fit", ("tensorflow", "keras"), "plain_fit.py", environment={"KERAS_BACKEND": "tensorflow"}
        ),
        Program("pytorch", "PyTorch, eager", ("torch",), "pytorch.py"),
        Program("scikit-learn", "scikit-learn", ("sklearn",), "scikit_learn.py"),
        Program("jax-by-hand", "JAX by hand", ("jax",), "jax_by_hand.py", environment={"JAX_PLATFORMS": "cpu"}),
        Program("floor", "floor: 8 GEMMs + Adam", (), "floor.py", tool="cc", trains=False),
        Program(
            *("floor-1", "floor, on one thread", (), "floor.py"),
            environment={"OPENBLAS_NUM_THREADS": "1"},
            tool="cc",
            trains=False,
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a measure is asked for. `npz` holds MNIST, or (if not `real`) random images of its shape."""

    npz: Path
    real: bool
    scratch: Path
    programs: Sequence[str] = ()  # none: those of the measure
    runs: int = 5
    epochs: int = 5
    preset: str = "default"
    seeds: int = 100
    say: Callable[[str], None] = print

    def chosen(self, possible: Sequence[str]) -> list[Program]:
        """Those of the possible programs that are asked for and installed. Raises `UserError` where there is none."""
        asked = [PROGRAMS[name] for name in possible if not self.programs or name in self.programs]
        found = [program for program in asked if not missing(program)]
        if not found:
            raise UserError(f"--programs: expected at least one of {', '.join(possible)} that is installed here")
        return found


def missing(program: Program) -> str:
    """Why a program cannot be run here, or nothing."""
    absent = [name for name in program.packages if importlib.util.find_spec(name) is None]
    if program.tool and shutil.which(program.tool) is None:
        absent.append(program.tool)
    return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed" if absent else ""


def check_names(names: Sequence[str]) -> None:
    """Raises `UserError` for a program that there is none of."""
    for name in names:
        if name not in PROGRAMS:
            raise UserError(
                f"--programs: expected some of {', '.join(PROGRAMS)}; received {name!r}{nearest(name, list(PROGRAMS))}"
            )


def run_rival(program: Program, asked: Asked, batch_size: int = 32) -> Figures:
    """One process of a program of others."""
    pixels = PRESETS[asked.preset].pixels
    command = [sys.executable, str(RIVALS / program.file), str(asked.npz), str(asked.epochs), str(batch_size), pixels]
    return rival_figures(run(command, program.own(asked)), asked.epochs)


def run_ours(program: Program, asked: Asked, flags: Sequence[str]) -> Figures:
    """One process of the program that users type; where there is no MNIST, of the same on random images."""
    with tempfile.TemporaryDirectory(dir=asked.scratch) as run_dir:
        place = ["--strategy=cpu", f"--backend={program.backend}", f"--run_dir={run_dir}", "--json"]
        ours = ["-m", "mnist_mlp.train", "--dataset=mnist", f"--data_dir={asked.npz.parent}"]
        if not asked.real:
            ours = [str(OUR_STEPS), str(asked.npz), "1"]
        return our_figures(run([sys.executable, *ours, *flags, *place], program.own(asked)))


def run_our_steps(program: Program, asked: Asked, flags: Sequence[str], times: int = 1) -> Figures:
    """One process of ours that trains and tells each epoch's seconds as a whole; the images `times` over."""
    with tempfile.TemporaryDirectory(dir=asked.scratch) as run_dir:
        place = ["--strategy=cpu", f"--backend={program.backend}", f"--run_dir={run_dir}", "--checkpoint_every=0"]
        command = [sys.executable, str(OUR_STEPS), str(asked.npz), str(times), *flags, *place, "--json"]
        return our_figures(run(command, program.own(asked)))


def our_figures(done: Done) -> Figures:
    """The figures of a result that a program of ours printed last, and of its process."""
    said = json.loads(done.lines[-1][1])
    calls = steady([row["seconds"] for row in said["epochs"]])
    epoch = steady(said["whole_epochs"]) if "whole_epochs" in said else calls
    seconds = {part: said["seconds"].get(part, 0.0) for part in PARTS}
    found = figures(done, seconds, epoch, said["steps_per_epoch"], said["test"]["accuracy"])
    return found | {"calls": 1e6 * calls / said["steps_per_epoch"]}


def rival_figures(done: Done, epochs: int) -> Figures:
    """The figures that a rival printed last, and of its process, which trained so many epochs.

    Where it compiles within its first epoch, what this took longer than a steady one counts as compilation: an
    estimate, and none where there is but one epoch.
    """
    said = json.loads(done.lines[-1][1])
    seconds = {part: said["seconds"].get(part, 0.0) for part in PARTS}
    epoch = steady(said["epochs"] or [seconds["train"] / epochs])
    if said["compiles"] and len(said["epochs"]) > 1:
        compiling = max(0.0, said["epochs"][0] - epoch)
        seconds["compile"] += compiling
        seconds["train"] -= compiling
    return figures(done, seconds, epoch, said["steps_per_epoch"], said["accuracy"])


def steady(epochs: Sequence[float]) -> float:
    """Seconds of a steady epoch: the median of those after the first, which may compile."""
    return statistics.median(epochs[1:] or epochs)


def figures(done: Done, seconds: Figures, epoch: float, steps: int, accuracy: float | None) -> Figures:
    """Seconds; µs for `step` and, of it in compiled calls, `calls`; MB for `memory`.

    `rest` is Python's start, what a program imports before its stopwatch runs, saving, and the end.
    """
    found = {"process": done.seconds, "cpu": done.cpu_seconds, **seconds, "rest": done.seconds - sum(seconds.values())}
    found |= {"epoch": epoch, "step": 1e6 * epoch / steps, "memory": done.memory_mb}
    return found if accuracy is None else found | {"accuracy": accuracy}
