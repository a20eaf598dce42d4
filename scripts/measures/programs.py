"""The programs that are measured: ours on both backends, and those of others, each with what it needs."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from measures.running import Done, Figures, run
from mnist_mlp.config import PRESETS
from mnist_mlp.devices.machine import detect
from mnist_mlp.devices.strategy import Request, choose
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
    devices: tuple[str, ...] = ("cpu",)  # that it can use
    framework: str = ""  # whose devices these are: a backend of ours, or torch

    def own(self, asked: Asked) -> dict[str, str]:
        """The environment that is its own. What XLA has compiled is kept in a place of this benchmark's."""
        kept = {"MNIST_MLP_CACHE": "off" if self.first else str(asked.scratch / "kept")} if self.backend else {}
        visible = {"CUDA_VISIBLE_DEVICES": asked.gpus} if asked.device == "gpu" else {}
        # JAX raises where the named platform does not start: it never runs elsewhere unnoticed.
        jax = {"JAX_PLATFORMS": JAX_PLATFORMS[asked.device]} if self.framework == "jax" and not self.backend else {}
        return {**self.environment, **kept, **visible, **jax}


JAX_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}
ANY = ("cpu", "gpu", "tpu")
PROGRAMS = {
    program.name: program
    for program in (
        Program(
            *("ours", "ours on TensorFlow", ("tensorflow", "keras")),
            backend="tensorflow",
            framework="tensorflow",
            devices=ANY,
        ),
        Program("ours-jax", "ours on JAX", ("jax", "keras"), backend="jax", framework="jax", devices=ANY),
        # Programs are kept for a CPU alone: elsewhere each run is a first one.
        Program(
            "ours-first", "ours on TensorFlow, first run", ("tensorflow", "keras"), backend="tensorflow", first=True
        ),
        Program("ours-jax-first", "ours on JAX, first run", ("jax", "keras"), backend="jax", first=True),
        Program(
            *("plain", "Model.fit", ("tensorflow", "keras"), "plain_fit.py"),
            environment={"KERAS_BACKEND": "tensorflow"},
            framework="tensorflow",
            devices=("cpu", "gpu"),
        ),
        Program("pytorch", "PyTorch, eager", ("torch",), "pytorch.py", framework="torch", devices=("cpu", "gpu")),
        Program("scikit-learn", "scikit-learn", ("sklearn",), "scikit_learn.py"),
        Program("jax-by-hand", "JAX by hand", ("jax",), "jax_by_hand.py", framework="jax", devices=ANY),
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
    device: str = "cpu"  # on which all programs run: cpu, gpu or tpu
    gpus: str = ""  # those that the programs see, as in CUDA_VISIBLE_DEVICES; each uses the first one

    def chosen(self, possible: Sequence[str]) -> list[Program]:
        """Those of the possible programs that are asked for and installed. Raises `UserError` where there is none."""
        asked = [PROGRAMS[name] for name in possible if not self.programs or name in self.programs]
        found = [program for program in asked if not missing(program, self.device)]
        if not found:
            on = "" if self.device == "cpu" else f" and runs on a {self.device.upper()}"
            raise UserError(f"--programs: expected at least one of {', '.join(possible)} that is installed here{on}")
        return found


def missing(program: Program, device: str = "cpu") -> str:
    """Why a program cannot be run here on such a device, or nothing."""
    return not_installed(program) or ("" if device == "cpu" else no_device(program, device))


def no_device(program: Program, device: str) -> str:
    """Why an installed program cannot use an accelerator, or nothing."""
    if device not in program.devices:
        return f"does not run on a {device.upper()}"
    if program.framework == "torch":
        return "" if torch_finds_gpu() else "torch finds no GPU"
    try:
        choose(Request(strategy=device, backend=program.framework), detect())
    except UserError as error:
        return str(error)
    return ""


@functools.cache
def torch_finds_gpu() -> bool:
    """In a process of its own: what this one imported, the programs' memory would begin with."""
    asked = [sys.executable, "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"]
    return subprocess.run(asked, stderr=subprocess.DEVNULL).returncode == 0


def not_installed(program: Program) -> str:
    """Why a program cannot be run here on any device, or nothing."""
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
    words = [str(asked.npz), str(asked.epochs), str(batch_size), pixels, asked.device]
    done = run([sys.executable, str(RIVALS / program.file), *words], program.own(asked))
    return on_device(rival_figures(done, asked.epochs), program, asked)


def run_ours(program: Program, asked: Asked, flags: Sequence[str]) -> Figures:
    """One process of the program that users type; where there is no MNIST, of the same on random images."""
    with tempfile.TemporaryDirectory(dir=asked.scratch) as run_dir:
        place = [f"--strategy={asked.device}", f"--backend={program.backend}", f"--run_dir={run_dir}", "--json"]
        ours = ["-m", "mnist_mlp.train", "--dataset=mnist", f"--data_dir={asked.npz.parent}"]
        if not asked.real:
            ours = [str(OUR_STEPS), str(asked.npz), "1"]
        done = run([sys.executable, *ours, *flags, *place], program.own(asked))
        return on_device(our_figures(done), program, asked)


def run_our_steps(program: Program, asked: Asked, flags: Sequence[str], times: int = 1) -> Figures:
    """One process of ours that trains and tells each epoch's seconds as a whole; the images `times` over."""
    with tempfile.TemporaryDirectory(dir=asked.scratch) as run_dir:
        place = [
            f"--strategy={asked.device}",
            f"--backend={program.backend}",
            f"--run_dir={run_dir}",
            "--checkpoint_every=0",
        ]
        command = [sys.executable, str(OUR_STEPS), str(asked.npz), str(times), *flags, *place, "--json"]
        return on_device(our_figures(run(command, program.own(asked))), program, asked)


def on_device(found: Figures, program: Program, asked: Asked) -> Figures:
    """The figures, of which `device` is what the program said of where it ran. Raises `UserError` if it ran elsewhere.

    On a CPU nothing else is visible.
    """
    told = found.get("device", "")
    if asked.device != "cpu" and not told.upper().startswith(asked.device.upper()):
        raise UserError(
            f"{program.name} ran on {told or 'an unknown device'} instead of a {asked.device.upper()}; "
            f"omit it from --programs, or run python -m mnist_mlp.doctor --strategy={asked.device}"
        )
    return found


def our_figures(done: Done) -> Figures:
    """The figures of a result that a program of ours printed last, and of its process."""
    said = json.loads(done.lines[-1][1])
    calls = steady([row["seconds"] for row in said["epochs"]])
    epoch = steady(said["whole_epochs"]) if "whole_epochs" in said else calls
    seconds = {part: said["seconds"].get(part, 0.0) for part in PARTS}
    found = figures(done, seconds, epoch, said["steps_per_epoch"], said["test"]["accuracy"])
    device = said.get("device", {}).get("actual", "")
    return found | {"calls": 1e6 * calls / said["steps_per_epoch"], "device": device}


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
    return figures(done, seconds, epoch, said["steps_per_epoch"], said["accuracy"]) | {"device": said.get("device", "")}


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
