"""Show the devices, the installed software, what each --strategy would do here, and known problems with their fixes.

Each framework that a run would use is tried in its own process, for at most 15 seconds. Exit code: 0 if nothing was
found that would stop `train` with the same flags, else 2. Other workers and remote TPUs are not tried. --explain
explains an error message.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mnist_mlp import __version__
from mnist_mlp.cli import shadowing, variables
from mnist_mlp.cli.flags import parse
from mnist_mlp.config import STRATEGIES, Config
from mnist_mlp.devices import Plan
from mnist_mlp.devices.cluster import NONE
from mnist_mlp.devices.machine import Machine, detect, installed_software, processor_name
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.doctor import framework_check, known_failures
from mnist_mlp.doctor.failures.symptom import Symptom
from mnist_mlp.doctor.text import printable, problem_lines, report, similar_lines
from mnist_mlp.errors import UserError
from mnist_mlp.options import check, option, option_of

VARIABLES = (  # of the environment that choose a device, besides those that begin with TPU_
    *("CUDA_VISIBLE_DEVICES", "COLAB_TPU_1VM", "COLAB_TPU_ADDR", "ISTPUVM", "TF_CONFIG", "KERAS_BACKEND"),
    *("JAX_PLATFORMS", "PJRT_DEVICE", "TF_XLA_FLAGS"),
)
NEEDED = ("keras", "numpy", "absl-py", "pillow", "tensorflow-datasets", "importlib_resources")
OTHERS = (*NEEDED[1:], "array_record", "protobuf", "scikit-learn", "matplotlib")
LONGEST = 2_000_000  # bytes of an error message
Check = Callable[[Mapping[str, framework_check.Question]], Mapping[str, framework_check.Answer]]


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program: those of `train` that choose the device, and a few more."""

    strategy: str = option_of(Config, "strategy")
    backend: str = option_of(Config, "backend")
    replicas: int | None = option_of(Config, "replicas")
    tpu: str = option_of(Config, "tpu")
    workers: str = option_of(Config, "workers")
    worker_index: int | None = option_of(Config, "worker_index")
    probe: bool = option(True, "try the frameworks; --noprobe only inspects what is installed, in a second")
    explain: str | None = option(None, "explain this error message; - reads it from standard input", kind=str)
    json: bool = option(False, "print one JSON object")

    def __post_init__(self) -> None:
        check(self)


def main(argv: Sequence[str]) -> None:
    options = parse(Options, argv, program="doctor", about=__doc__)
    if options.explain is not None:
        explain(options)
        return
    diagnosis = diagnose(
        Request.of(options),
        detect(),
        installed_software(OTHERS),
        check=framework_check.ask if options.probe else None,
    )
    print(json.dumps(diagnosis) if options.json else printable(report(diagnosis)), flush=True)
    if not diagnosis["works"]:
        raise SystemExit(2)


def explain(options: Options) -> None:
    """Print the known failures that a text shows. Raises `UserError` if there are none, after the likeliest three."""
    text = standard_input() if options.explain == "-" else options.explain or ""
    if not text.strip():
        raise UserError(
            "--explain: expected an error message, received nothing; use --explain='…', or --explain=- and paste it"
        )
    rows = [problem(row) for row in known_failures.explain(text)]
    if options.json:
        print(json.dumps({"problems": rows}), flush=True)
    elif rows:
        print("\n\n".join("\n".join(problem_lines(row)) for row in rows), flush=True)
    if not rows:
        similar = [] if options.json else known_failures.likeliest(text)
        if similar:
            print("\n".join(line for row in similar for line in similar_lines(problem(row))), flush=True)
        raise UserError(f"no known failure matches this text; {what_next(len(similar))}")


def what_next(similar: int) -> str:
    """Return what to do about a text that is not known, after `similar` failures that share words with it."""
    look = {0: "", 1: "the one above shares words with it; else "}.get(
        similar, f"the {similar} above share words with it; else "
    )
    return (
        f"{look}run python -m mnist_mlp.doctor to check this machine, and search the last line of the traceback, "
        "without paths and numbers, in the issues of the package that its file names"
    )


def standard_input() -> str:
    """Return what is on standard input; of a long text only the end, where the errors are."""
    if sys.stdin is None:
        raise UserError("--explain=-: standard input is closed; use --explain='…'")
    if sys.stdin.isatty():
        print("paste the error message, then Enter and Ctrl-D", file=sys.stderr, flush=True)
    text = b""
    while received := sys.stdin.buffer.read(LONGEST):
        text = (text + received)[-LONGEST:]
    return text.decode("utf-8", "replace")


def diagnose(request: Request, machine: Machine, others: Mapping[str, str], *, check: Check | None) -> dict[str, Any]:
    """Return all findings as JSON values.

    `others` has the versions of installed packages that are not in `machine.installed`. `check` tries the frameworks;
    None tries none.
    """
    installed = {**machine.installed, **others}
    plans = {strategy: plan_of(request, strategy, machine) for strategy in STRATEGIES}
    questions = framework_check.questions(plans, request.strategy, machine) if check else {}
    answers = check(questions) if check and questions else {}
    chosen, refusal = plans[request.strategy], ""
    if isinstance(chosen, UserError):
        refusal = str(chosen)
    else:
        refusal = hidden_module(chosen.backend, answers)
        if not refusal and chosen.backend in answers:  # also for a remote TPU: the framework has to work here
            refusal = answers[chosen.backend].error
    return {
        "machine": machine_section(machine),
        "software": {
            "mnist_mlp": __version__,
            "python": platform.python_version(),
            "installed": installed,
            "missing": [name for name in NEEDED if name not in installed],
        },
        "strategies": {strategy: strategy_section(plan, machine) for strategy, plan in plans.items()},
        "probes": {name: probe_section(answer) for name, answer in answers.items()},
        "problems": [problem(row, "installed") for row in known_failures.installed_problems(machine, installed)]
        + printed_problems(answers),
        "asked": {
            **dataclasses.asdict(request),
            "command": train_command(request),
            "probe": check is not None,
            "refusal": refusal,
        },
        "works": not refusal,
    }


def hidden_module(backend: str, answers: Mapping[str, framework_check.Answer]) -> str:
    """Return which file here would be imported by a run instead of a module that it needs, or "".

    What a framework imports is known once it was tried.
    """
    needed = {"keras", backend, *(answers[backend].modules if backend in answers else ())}
    return next(iter(shadowing.hidden(sorted(needed)).values()), "")


def plan_of(request: Request, strategy: str, machine: Machine) -> Plan | UserError:
    """Return what `train` would do with that strategy and those of the requested flags that go with it."""
    if strategy != request.strategy:
        tpu = request.tpu if strategy in ("auto", "tpu") else ""
        several = strategy == "multiworker"
        replicas = None if several else request.replicas
        workers = request.workers if several or request.workers == NONE else ""
        index = request.worker_index if several else None
        request = Request(strategy, request.backend, replicas, tpu, workers, index)
    try:
        return choose(request, machine)
    except UserError as error:
        return error


def machine_section(machine: Machine) -> dict[str, Any]:
    """Return the devices and the environment variables that change a run, as JSON values."""
    fields = ("gpus", "cuda_libraries", "tpu_chips", "tpu_kind", "tpu_holder", "host")
    names = [name for name in sorted(os.environ) if name in VARIABLES or name.startswith("TPU_")]
    environment = {name: os.environ[name] for name in names} | variables.recorded("")
    return {
        "processor": processor_name(),
        **{name: getattr(machine, name) for name in fields},
        "environment": dict(sorted(environment.items())),
        "ignored": dict(sorted(variables.ignored.items())),
    }


def strategy_section(plan: Plan | UserError, machine: Machine) -> dict[str, Any]:
    """Return a plan, or why there is none, as JSON values."""
    if isinstance(plan, UserError):
        return {"accepted": False, "refusal": str(plan)}
    return {"accepted": True, "strategy": plan.strategy, **dataclasses.asdict(plan)}


def probe_section(answer: framework_check.Answer) -> dict[str, Any]:
    """Return what a framework answered, as JSON values, with the end of what it printed."""
    values = {**dataclasses.asdict(answer), "printed": answer.printed[-4000:]}
    del values["modules"]  # hundreds
    return values


def printed_problems(answers: Mapping[str, framework_check.Answer]) -> list[dict[str, Any]]:
    """Return the known failures in what the frameworks printed."""
    return [
        problem(row, where=name)
        for name, answer in answers.items()
        for row in known_failures.printed_problems(f"{answer.printed}\n{answer.error}", answer.device)
    ]


def problem(row: Symptom, where: str = "") -> dict[str, Any]:
    """Return a known failure as JSON values. `where` is "installed" or the framework that printed it."""
    values = {name: getattr(row, name) for name in ("name", "meaning", "fix", "source")}
    return {**values, "where": where, "group": known_failures.GROUP_OF.get(row.name, ""), "level": row.level}


def train_command(request: Request) -> str:
    """Return the command of `train` with the same flags."""
    given = dataclasses.asdict(request)
    flags = [f"--{name}={value}" for name, value in given.items() if name == "strategy" or value not in (None, "")]
    return " ".join(["train", *(flag for flag in flags if flag != "--backend=auto")])
