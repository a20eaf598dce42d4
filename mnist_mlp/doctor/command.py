"""Says what is attached, what is installed, what each --strategy would do here and why, and what is known to go wrong.

It asks the frameworks that a run would take, each in a process of its own, for at most 15 seconds. Exit code: 0 if
nothing was found that stops `train` with the same flags (other workers, and a TPU elsewhere, are not asked), else 2.
--explain takes an error message and says what it means.
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
from mnist_mlp.cli import flags as command
from mnist_mlp.config import STRATEGIES, Config
from mnist_mlp.devices import Plan, machine
from mnist_mlp.devices.machine import Machine
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.doctor import framework_probes, known_failures
from mnist_mlp.doctor.text import printable, problem_lines, report
from mnist_mlp.errors import UserError
from mnist_mlp.options import check, option, option_of

VARIABLES = (  # of the environment, which change what a run does; and all that begin with TPU_
    *("CUDA_VISIBLE_DEVICES", "COLAB_TPU_1VM", "COLAB_TPU_ADDR", "ISTPUVM", "TF_CONFIG", "KERAS_BACKEND"),
    *("JAX_PLATFORMS", "XLA_FLAGS", "TF_XLA_FLAGS", "PJRT_DEVICE", "LIBTPU_INIT_ARGS"),
)
NEEDED = ("keras", "numpy", "absl-py", "pillow", "tensorflow-datasets", "importlib_resources")
OTHERS = (*NEEDED[1:], "array_record", "protobuf", *known_failures.SLOW)
LONGEST = 2_000_000  # bytes of an error message
Ask = Callable[[Mapping[str, framework_probes.Question]], Mapping[str, framework_probes.Answer]]


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program: those of `train` that choose the device, and its own."""

    strategy: str = option_of(Config, "strategy")
    backend: str = option_of(Config, "backend")
    replicas: int | None = option_of(Config, "replicas")
    tpu: str = option_of(Config, "tpu")
    workers: str = option_of(Config, "workers")
    worker_index: int | None = option_of(Config, "worker_index")
    probe: bool = option(True, "ask the frameworks; --noprobe answers in a second from what is installed alone")
    explain: str | None = option(None, "an error message, which is explained; - reads standard input", kind=str)
    json: bool = option(False, "print one JSON object")

    def __post_init__(self) -> None:
        check(self)


def main(argv: Sequence[str]) -> None:
    options = command.parse(Options, argv, program="doctor", about=__doc__)
    if options.explain is not None:
        explain(options)
        return
    found = diagnose(
        Request.of(options),
        machine.detect(),
        machine.installed_software(OTHERS),
        ask=framework_probes.ask if options.probe else None,
    )
    print(json.dumps(found) if options.json else printable(report(found)), flush=True)
    if not found["works"]:
        raise SystemExit(2)


def explain(options: Options) -> None:
    """Prints the known failures that a text shows. Raises `UserError` if there are none."""
    text = standard_input() if options.explain == "-" else options.explain or ""
    if not text.strip():
        raise UserError("--explain: expected an error message, received nothing; type --explain='…', or - and paste it")
    rows = [problem(row) for row in known_failures.explain(text)]
    if options.json:
        print(json.dumps({"problems": rows}), flush=True)
    if not rows:
        raise UserError(
            "nothing is known about this text; type python -m mnist_mlp.doctor, which looks at the machine itself"
        )
    if not options.json:
        print("\n\n".join("\n".join(problem_lines(row)) for row in rows), flush=True)


def standard_input() -> str:
    """What stands on standard input; of a long text the end, where the errors are."""
    if sys.stdin is None:
        raise UserError("--explain=-: expected a text on standard input, which is closed; type --explain='…'")
    if sys.stdin.isatty():
        print("paste the error message, then Enter and Ctrl-D", file=sys.stderr, flush=True)
    text = b""
    while received := sys.stdin.buffer.read(LONGEST):
        text = (text + received)[-LONGEST:]
    return text.decode("utf-8", "replace")


def diagnose(request: Request, seen: Machine, others: Mapping[str, str], *, ask: Ask | None) -> dict[str, Any]:
    """All that this program knows, as JSON values. `others`: versions of what is installed besides `seen.installed`;
    `ask` puts questions to the frameworks, None asks nothing."""
    installed = {**seen.installed, **others}
    plans = {strategy: plan_of(request, strategy, seen) for strategy in STRATEGIES}
    questions = framework_probes.questions(plans, request.strategy, seen) if ask else {}
    answers = ask(questions) if ask and questions else {}
    asked, refusal = plans[request.strategy], ""
    if isinstance(asked, UserError):
        refusal = str(asked)
    elif asked.backend in answers:  # its TPU may be elsewhere: the framework has to work here all the same
        refusal = answers[asked.backend].error
    return {
        "machine": machine_section(seen),
        "software": {
            "mnist_mlp": __version__,
            "python": platform.python_version(),
            "installed": installed,
            "missing": [name for name in NEEDED if name not in installed],
        },
        "strategies": {strategy: strategy_section(plan, seen) for strategy, plan in plans.items()},
        "probes": {name: probe_section(answer) for name, answer in answers.items()},
        "problems": [problem(row, "installed") for row in known_failures.installed_problems(seen, installed)]
        + printed_problems(answers),
        "asked": {
            **dataclasses.asdict(request),
            "command": train_command(request),
            "probe": ask is not None,
            "refusal": refusal,
        },
        "works": not refusal,
    }


def plan_of(request: Request, strategy: str, seen: Machine) -> Plan | UserError:
    """What `train` would do: as asked, or with another strategy and those of the flags that go with it."""
    if strategy != request.strategy:
        tpu = request.tpu if strategy in ("auto", "tpu") else ""
        several = strategy == "multiworker"
        replicas = None if several else request.replicas
        workers, index = (request.workers, request.worker_index) if several else ("", None)
        request = Request(strategy, request.backend, replicas, tpu, workers, index)
    try:
        return choose(request, seen)
    except UserError as error:
        return error


def machine_section(seen: Machine) -> dict[str, Any]:
    """What is attached, and the variables of the environment that change a run."""
    fields = ("gpus", "cuda_libraries", "tpu_chips", "tpu_kind", "tpu_holder", "host")
    names = [name for name in sorted(os.environ) if name in VARIABLES or name.startswith("TPU_")]
    return {
        "processor": machine.processor_name(),
        **{name: getattr(seen, name) for name in fields},
        "environment": {name: os.environ[name] for name in names},
    }


def strategy_section(plan: Plan | UserError, seen: Machine) -> dict[str, Any]:
    """A plan, or why there is none, as JSON values."""
    if isinstance(plan, UserError):
        return {"accepted": False, "refusal": str(plan)}
    return {"accepted": True, "strategy": plan.strategy, **dataclasses.asdict(plan)}


def probe_section(answer: framework_probes.Answer) -> dict[str, Any]:
    """What a framework answered, as JSON values, and the end of what it printed."""
    return {**dataclasses.asdict(answer), "printed": answer.printed[-4000:]}


def printed_problems(answers: Mapping[str, framework_probes.Answer]) -> list[dict[str, Any]]:
    """The known failures in what the frameworks printed; of GPUs nothing where the CPU was to be taken."""
    rows = []
    for name, answer in answers.items():
        for row in known_failures.explain(f"{answer.printed}\n{answer.error}"):
            if answer.device != "cpu" or row.name not in known_failures.GPU_SYMPTOMS:
                rows.append(problem(row, where=name))
    return rows


def problem(row: known_failures.Symptom, where: str = "") -> dict[str, Any]:
    """A known failure as JSON values; `where` it was seen: "installed", or the framework that printed it."""
    values = {name: getattr(row, name) for name in ("name", "hint", "meaning", "fix", "source")}
    return {**values, "where": where}


def train_command(request: Request) -> str:
    """The same flags for `train`."""
    given = dataclasses.asdict(request)
    flags = [f"--{name}={value}" for name, value in given.items() if name == "strategy" or value not in (None, "")]
    return " ".join(["train", *(flag for flag in flags if flag != "--backend=auto")])
