"""Compiles what `train` would run on a TPU with the real TPU compiler (libtpu), on a machine without one, and checks
that its chips would share the work rightly: one communicates with none, several sum their gradients and no more.

Nothing is run on a TPU: what compiles may still be slow there, or fail. The flags are those of `train`; of its backends
and engines this is always JAX, compiled. Bytes are those on one core. FLOPs are XLA's own count for one core in one
step (a loop's body counts once; `predict` is one batch): for the default run on one core 15.8 million, by hand
4·109,184 weights·32 images + 2·8,832·32 (the first layer needs no gradient of its input) + 12 per parameter for Adam.

Exit code: 0 if all compile and pass the check; 2 if not, and for wrong flags, since other flags, another topology or
another libtpu mend it; 1 for a bug.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp import __version__, data
from mnist_mlp.cli import child_process, flags
from mnist_mlp.config import PRESETS, Config, with_preset
from mnist_mlp.data.batches import split_validation
from mnist_mlp.devices import frameworks, machine
from mnist_mlp.errors import UserError
from mnist_mlp.options import option, tagged
from mnist_mlp.tpu_compile.collectives import check, collectives, collectives_text

NOTE = "nothing was run on a TPU: these programs were compiled for one, on a machine that need not have any"
PACKAGES = ("jax", "jaxlib", "libtpu", "keras", "numpy")
REMEDY = "type pip install -e '.[tpu]'"
MNIST_EXAMPLES = {"train": 60_000, "test": 10_000}  # so many have all data sets but these:
EXAMPLES = {"digits": {"train": 1_437, "test": 360}}
CHILD = """
import signal, sys
signal.alarm(int(sys.argv[1]))  # the end, should the parent have ended without a word
from mnist_mlp.tpu_compile import programs
programs.main(*sys.argv[2:])
"""


@dataclasses.dataclass(frozen=True)
class Options(Config):
    """The flags of `train`, and those of this program."""

    topology: str = option(
        "v5e:1x1,v5e:2x2,v5e:2x4,v6e:1x1,v4:2x2x1", "what to compile for, by commas: generation:chips along each axis"
    )
    limit: int = option(120, "seconds for each topology, after which its compiler is ended", low=1, high=86_400)

    @property
    def topologies(self) -> list[str]:
        """The names, each once. Raises `UserError` if there are none."""
        names = [name.strip() for name in self.topology.split(",") if name.strip()]
        if not names:
            raise UserError(f"--topology: expected names such as v5e:2x4, received {self.topology!r}")
        return list(dict.fromkeys(names))


def main(argv: Sequence[str]) -> None:
    presets = {name: Options(**preset.to_dict()) for name, preset in PRESETS.items()}
    options = with_preset(presets, flags.given_flags(Options, argv, program="tpu_compile", about=__doc__ or ""))
    stream = sys.stderr if options.json else sys.stdout
    found = compile_all(options, say=lambda text: print(text, file=stream, flush=True))
    if options.json:
        print(json.dumps(found, allow_nan=False))
    bugs = [row["printed"] for row in found["rows"] if row["bug"]]
    if bugs:
        print(bugs[0], file=sys.stderr)
    if not found["works"]:
        raise SystemExit(1 if bugs else 2)


def compile_all(options: Options, *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """All topologies, one after the other, as JSON values; `say` gets the report, piece by piece. Raises `UserError`
    where there is no compiler."""
    versions = installed_versions()
    request, notes, names = request_of(options), notes_of(options), options.topologies
    say(opening(request, versions, notes))
    rows = []
    with turn():
        for name in names:
            rows.append(row_of(name, ask({**request, "topology": name}, options.limit), options.precision))
            say(row_text(rows[-1]))
    say(f"\n{NOTE}")
    works = all(not row["problems"] for row in rows)
    return {"works": works, "note": NOTE, "notes": notes, "versions": versions, "request": request, "rows": rows}


def installed_versions() -> dict[str, str]:
    """The versions of what compiles. Raises `UserError` where this machine cannot, before any process is started."""
    if not (sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")):
        here = f"{platform.system() or sys.platform} on {platform.machine() or 'an unknown processor'}"
        raise UserError(f"expected x86-64 Linux, all that TPUs' compiler (libtpu) exists for, received {here}")
    installed = machine.installed_software(sorted({*machine.SOFTWARE, *PACKAGES}))
    for name, what in (("libtpu", "libtpu, the compiler of TPUs"), ("jax", "JAX")):
        if name not in installed:
            raise UserError(f"expected {what}, it is not installed; {REMEDY}")
    if problem := frameworks.jax_problem(machine.Machine(installed=installed), "tpu"):
        raise UserError(problem)
    packages = {name: installed[name] for name in PACKAGES if name in installed}
    return {"mnist_mlp": __version__, "python": platform.python_version(), **packages}


def request_of(options: Options) -> dict[str, Any]:
    """What decides the programs of a run, beside the topology. Raises `UserError` as `train` would."""
    others = ("dataset", "validation_fraction", "early_stopping")  # sizes are in "examples"; the host stops training
    names = [name for name in tagged(Config, affects="result") if name not in others] + ["seed", "replicas"]
    examples = dict(EXAMPLES.get(options.dataset, MNIST_EXAMPLES))
    nothing = data.Split(np.empty((examples["train"], 0), np.uint8), np.empty(examples["train"], np.uint8))
    train, validation = split_validation(nothing, options.validation_fraction, options.seed)
    examples["train"] = len(train)
    if validation:
        examples["validation"] = len(validation)
    return {**{name: getattr(options, name) for name in names}, "examples": examples}


def notes_of(options: Options) -> list[str]:
    """What must be said where the flags ask for something else than what is compiled here."""
    heeded = {"engine": ("compiled",), "backend": ("auto", "jax"), "strategy": ("auto", "tpu")}
    given = {name: getattr(options, name) for name in heeded}
    others = [f"--{name}={value}" for name, value in given.items() if value not in heeded[name]]
    return [f"{', '.join(others)}: not heeded here, this is the compiled engine on JAX"] if others else []


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Waits until no other tpu_compile of this user compiles: libtpu's own lock would refuse, not wait."""
    import fcntl  # not on Windows

    path = Path(tempfile.gettempdir(), f"mnist_mlp.tpu_compile.{os.getuid()}.lock")
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another tpu_compile: one compiles at a time ...", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ask(request: Mapping[str, Any], limit: float) -> dict[str, Any]:
    """The answer of a process that compiles for one topology, or {"error", "bug", "printed"}; takes at most `limit`
    seconds. Whatever happens (Ctrl-C too), neither the process nor its files remain."""
    with tempfile.TemporaryDirectory(prefix="mnist_mlp.tpu_compile.") as folder:
        arguments = ["-c", CHILD, str(math.ceil(limit) + 2), json.dumps(request), f"{folder}/answer"]
        with child_process.Child(arguments, environment(folder)) as child:
            in_time = True
            try:
                child.wait(limit)
            except subprocess.TimeoutExpired:
                in_time = False
                child.kill()
            printed, outcome = child.stdout + child.stderr, child.outcome
        answer = Path(folder, "answer")
        if child.returncode == 0 and answer.exists():
            return {"bug": False, "printed": "", **json.loads(answer.read_text())}
    error = f"the compiler {outcome}{'' if child.returncode else ' without an answer'}"
    if not in_time:
        error = f"did not compile within {limit:g} seconds; give it more with --limit"
    bug = in_time and child.returncode == 1  # Python's own: what the compiler refuses is an answer
    return {"error": error, "bug": bug, "printed": printed[-4000:]}


def environment(folder: str) -> dict[str, str]:
    """That of the process which compiles. A variable that describes a TPU of this machine would be taken to describe
    the topology, and libtpu must not ask Google Cloud's metadata server about it, for minutes (jax#11668)."""
    about_this_machine = ("TPU_", "CLOUD_TPU_", "MEGASCALE_")
    dropped = {name for name in os.environ if name.startswith(about_this_machine)} - {"TPU_LIBRARY_PATH"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_LOG_DIR": "disabled",  # else files in /tmp/tpu_logs remain
        "TMPDIR": folder,
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # what other programs do with libtpu is of no concern: no TPU is touched
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # the compiler itself, not what it said last time
        "PYTHONIOENCODING": "utf-8",
    }


def row_of(topology: str, told: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """What is known of a topology, as JSON values; "problems" is empty if all is as it must be."""
    problems, programs = [told["error"]] if told["error"] else [], {}
    for name, program in told.get("programs", {}).items():
        found = collectives(program["hlo"])
        trained = told["trainable"] if name == "train" else 0
        problems += [f"{name}: {problem}" for problem in check(name, told["cores"], found, trained, precision)]
        programs[name] = {**{key: value for key, value in program.items() if key != "hlo"}, "collectives": found}
    rest = {key: value for key, value in told.items() if key not in ("error", "programs")}
    return {"topology": topology, "works": not problems, "problems": problems, **rest, "programs": programs}


def opening(request: Mapping[str, Any], versions: Mapping[str, str], notes: Sequence[str]) -> str:
    """What is compiled, by what, and the head of the table."""
    n, batch = request["examples"]["train"], request["batch_size"]
    lines = [
        f"program  {request['model']} on {request['pixels']} pixels, {request['optimizer']}, {request['precision']}, "
        f"batch {batch:,} of {n:,} images = {math.ceil(n / batch):,} steps",
        f"compiler {', '.join(f'{name} {version}' for name, version in versions.items())}",
        *(f"  !      {note}" for note in notes),
        "",
        f"  {'':<11}{'':>5}           {'compile':>8}{'argument':>13}{'temporary':>15}{'code':>12}{'FLOPs per':>17}",
        f"  {'topology':<11}{'chips':>5}  program  {'seconds':>8}{'bytes':>13}{'bytes':>15}{'bytes':>12}"
        f"{'core and step':>17}  collectives",
    ]
    return "\n".join(lines)


def row_text(row: Mapping[str, Any]) -> str:
    """The lines of a topology: one for each program, then what is wrong."""
    chips = ""
    if row["programs"]:
        several = row["cores"] // row["chips"]  # on each chip: two on v2 and v3
        chips = f"{row['chips']:>5}" if several == 1 else f"{row['chips']:>3}×{several}"
    head = f"{'✗' if row['problems'] else '✓'} {row['topology']:<11}{chips}"
    lines: list[str] = []
    for name, told in row["programs"].items():
        numbers = f"{told['argument_bytes']:>13,}{told['temporary_bytes']:>15,}{told['code_bytes']:>12,}"
        numbers = f"{told['compile_seconds']:>8.2f}{numbers}{told['flops']:>17,}"
        lines.append(f"{'' if lines else head:<18}  {name:<8} {numbers}  {collectives_text(told['collectives'])}")
    lines += [f"{'  ' if lines or index else head} {problem}" for index, problem in enumerate(row["problems"])]
    return "\n".join(lines)
