"""Compile the programs of `train` for TPUs with the real TPU compiler, on a machine without one, and check their
collectives: a single core must need none, several cores must sum their gradients and nothing more.

Nothing runs on a TPU: a program that compiles may still be slow there, or fail. The flags are those of `train`; the
backend is always JAX with the compiled engine. Bytes are per core. FLOPs are XLA's count for one core and one step (a
loop's body counts once; `predict` is one batch): 15.8 million for the default run on one core; by hand
4·109,184 weights·32 images + 2·8,832·32 (the first layer needs no gradient of its input) + 12 per parameter for Adam.

Exit code: 0 if everything compiles and passes; 2 if not, or for wrong flags: other flags, another topology or another
libtpu may help; 1 for a bug.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp import __version__, data
from mnist_mlp.cli import child_process, flags
from mnist_mlp.cli.terminal import PRINT, Reporter, Terminal
from mnist_mlp.config import PRESETS, Config, with_preset
from mnist_mlp.data import sets
from mnist_mlp.data.batches import split_validation
from mnist_mlp.devices import frameworks, machine
from mnist_mlp.errors import UserError
from mnist_mlp.files.user_dirs import NOWHERE
from mnist_mlp.options import option, tagged
from mnist_mlp.tpu_compile.collectives import check, collectives, collectives_text

NOTE = "nothing ran on a TPU: the programs were only compiled for it"
PACKAGES = ("jax", "jaxlib", "libtpu", "keras", "numpy")
REMEDY = "run pip install -e '.[tpu]'"
MNIST_EXAMPLES = {"train": 60_000, "test": 10_000}  # of all data sets whose sizes are not known to differ
DIGITS_EXAMPLES = {"train": 1_437, "test": 360}
CHILD = """
import signal, sys
signal.alarm(int(sys.argv[1]))  # in case the parent was killed
from mnist_mlp.tpu_compile import programs
programs.main(*sys.argv[2:])
"""


@dataclasses.dataclass(frozen=True)
class Options(Config):
    """The flags of `train` and a few more."""

    topology: str = option(
        "v5e:1x1,v5e:2x2,v5e:2x4,v6e:1x1,v4:2x2x1",
        "what to compile for, separated by commas: generation:chips per axis",
    )
    limit: int = option(120, "time limit of each topology in seconds", low=1, high=86_400)

    @property
    def topologies(self) -> list[str]:
        """The names, without repetition. Raises `UserError` if there are none."""
        names = [name.strip() for name in self.topology.split(",") if name.strip()]
        if not names:
            raise UserError(f"--topology: expected names such as v5e:2x4, received {self.topology!r}")
        return list(dict.fromkeys(names))


def main(argv: Sequence[str]) -> None:
    presets = {name: Options(**preset.to_dict()) for name, preset in PRESETS.items()}
    options = with_preset(presets, flags.given_flags(Options, argv, program="tpu_compile", about=__doc__ or ""))
    stream = sys.stderr if options.json else sys.stdout
    report = compile_all(options, reporter=Terminal(stream))
    if options.json:
        print(json.dumps(report, allow_nan=False))
    bugs = [row["printed"] for row in report["rows"] if row["bug"]]
    if bugs:
        print(bugs[0], file=sys.stderr)
    if not report["works"]:
        raise SystemExit(1 if bugs else 2)


def compile_all(options: Options, *, reporter: Reporter = PRINT) -> dict[str, Any]:
    """Compile for all topologies, one after the other; return the results as JSON values.

    Raises `UserError` if there is no compiler.
    """
    versions = installed_versions()
    request, notes, names = request_of(options), notes_of(options), options.topologies
    reporter.line(opening(request, versions, notes))
    rows = []
    with turn():
        for name in names:
            rows.append(row_of(name, ask({**request, "topology": name}, options.limit), options.precision))
            reporter.line(row_text(rows[-1]))
    reporter.line(f"\n{NOTE}")
    works = all(not row["problems"] for row in rows)
    return {"works": works, "note": NOTE, "notes": notes, "versions": versions, "request": request, "rows": rows}


def installed_versions() -> dict[str, str]:
    """Return the versions of the compiler's packages. Raises `UserError` if this machine cannot compile for TPUs."""
    if not (sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")):
        here = f"{platform.system() or sys.platform} on {platform.machine() or 'an unknown processor'}"
        raise UserError(f"the TPU compiler (libtpu) only exists for x86-64 Linux, this is {here}")
    installed = machine.installed_software(sorted({*machine.SOFTWARE, *PACKAGES}))
    for name, what in (("libtpu", "libtpu, the TPU compiler,"), ("jax", "JAX")):
        if name not in installed:
            raise UserError(f"{what} is not installed; {REMEDY}")
    if problem := frameworks.jax_problem(machine.Machine(installed=installed), "tpu"):
        raise UserError(problem)
    packages = {name: installed[name] for name in PACKAGES if name in installed}
    return {"mnist_mlp": __version__, "python": platform.python_version(), **packages}


def examples_of(dataset: str) -> dict[str, int]:
    """Return the numbers of training and test images. Raise `UserError` if only the data themselves could tell."""
    if dataset == "digits":
        return dict(DIGITS_EXAMPLES)
    known = sets.KNOWN.get(dataset)
    if known and known.any_size:
        raise UserError(
            f"--dataset={dataset}: expected a data set whose number of images is known without reading it, such as "
            "mnist"
        )
    return dict(zip(MNIST_EXAMPLES, known.sizes, strict=True)) if known and known.sizes else dict(MNIST_EXAMPLES)


def request_of(options: Options) -> dict[str, Any]:
    """Return what determines the programs of a run, besides the topology. Raises `UserError` as `train` would."""
    others = ("dataset", "validation_fraction", "early_stopping")  # sizes are in "examples"; the host stops training
    names = [name for name in tagged(Config, affects="result") if name not in others] + ["seed", "replicas"]
    examples = examples_of(options.dataset)
    empty = data.Split(np.empty((examples["train"], 0), np.uint8), np.empty(examples["train"], np.uint8))
    train, validation = split_validation(empty, options.validation_fraction, options.seed)
    examples["train"] = len(train)
    if validation:
        examples["validation"] = len(validation)
    return {**{name: getattr(options, name) for name in names}, "examples": examples}


def notes_of(options: Options) -> list[str]:
    """Return notes about flags that have no effect here."""
    effective = {"engine": ("compiled",), "backend": ("auto", "jax"), "strategy": ("auto", "tpu")}
    given = {name: getattr(options, name) for name in effective}
    others = [f"--{name}={value}" for name, value in given.items() if value not in effective[name]]
    return [f"{', '.join(others)}: no effect, programs are compiled for the compiled engine on JAX"] if others else []


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Wait until no other tpu_compile of this user compiles: libtpu's own lock fails instead of waiting."""
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
    """Return the answer of a process that compiles for one topology, or {"error", "bug", "printed"}.

    Takes at most `limit` seconds. Neither the process nor its files remain, also after Ctrl-C.
    """
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
        error = f"did not compile within {limit:g} seconds; use a longer --limit"
    bug = in_time and child.returncode == 1  # an exception; what the compiler refuses is an answer
    return {"error": error, "bug": bug, "printed": printed[-4000:]}


def environment(folder: str) -> dict[str, str]:
    """Return the environment of the process that compiles.

    Variables that describe a TPU of this machine would be taken as part of the topology, and libtpu must not ask Google
    Cloud's metadata server about it, for minutes (jax#11668).
    """
    about_this_machine = ("TPU_", "CLOUD_TPU_", "MEGASCALE_")
    dropped = {name for name in os.environ if name.startswith(about_this_machine)} - {"TPU_LIBRARY_PATH"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | {
        "KERAS_BACKEND": "jax",
        "KERAS_HOME": str(NOWHERE),  # its keras.json is neither read nor written
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_LOG_DIR": "disabled",  # otherwise files remain in /tmp/tpu_logs
        "TMPDIR": folder,
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # other programs may use libtpu: no TPU is touched
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # run the compiler itself
        "PYTHONIOENCODING": "utf-8",
    }


def row_of(topology: str, answer: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """Return the results of a topology as JSON values; "problems" is empty if all is well."""
    problems, programs = [answer["error"]] if answer["error"] else [], {}
    for name, program in answer.get("programs", {}).items():
        sizes = collectives(program["hlo"])
        trained = answer["trainable"] if name == "train" else 0
        problems += [f"{name}: {problem}" for problem in check(name, answer["cores"], sizes, trained, precision)]
        programs[name] = {**{key: value for key, value in program.items() if key != "hlo"}, "collectives": sizes}
    rest = {key: value for key, value in answer.items() if key not in ("error", "programs")}
    return {"topology": topology, "works": not problems, "problems": problems, **rest, "programs": programs}


def opening(request: Mapping[str, Any], versions: Mapping[str, str], notes: Sequence[str]) -> str:
    """Return what is compiled, by what, and the head of the table."""
    n, batch = request["examples"]["train"], request["batch_size"]
    network = " ".join(filter(None, (request["model"], request["units"])))
    lines = [
        f"program  {network} on {request['pixels']} pixels, {request['optimizer']}, {request['precision']}, "
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
    """Return the lines of a topology: one for each program, then the problems."""
    chips = ""
    if row["programs"]:
        per_chip = row["cores"] // row["chips"]  # two on v2 and v3
        chips = f"{row['chips']:>5}" if per_chip == 1 else f"{row['chips']:>3}×{per_chip}"
    head = f"{'✗' if row['problems'] else '✓'} {row['topology']:<11}{chips}"
    lines: list[str] = []
    for name, program in row["programs"].items():
        numbers = f"{program['argument_bytes']:>13,}{program['temporary_bytes']:>15,}{program['code_bytes']:>12,}"
        numbers = f"{program['compile_seconds']:>8.2f}{numbers}{program['flops']:>17,}"
        lines.append(f"{'' if lines else head:<18}  {name:<8} {numbers}  {collectives_text(program['collectives'])}")
    lines += [f"{'  ' if lines or index else head} {problem}" for index, problem in enumerate(row["problems"])]
    return "\n".join(lines)
