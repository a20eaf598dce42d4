"""Shows that a device computes what the formulas say: every number of every step, beside a reference.

Device and reference begin with the same weights and see the same examples: loss, logits, predictions, gradients, Adam's
moments and updated weights of each step, then all steps in one call, then the test images. Each number has a bound that
follows from the precision. Before that the device's operations are probed one by one. The verdict, with all that it
rests on, is written to certificate.json; the exit code is 4 if anything is further off than it may be.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.cli.terminal import Terminal
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.parity import operations, report
from mnist_mlp.parity.comparison import Comparison, as_json
from mnist_mlp.parity.device_under_test import Subject
from mnist_mlp.parity.problem import LEARNING_RATE, MODELS, OPTIONS, Problem, describe, order_of
from mnist_mlp.parity.reference import Oracle, Recorded, Recorder, Reference, written_on_cpu
from mnist_mlp.parity.rounding import PRODUCTS, Precision
from mnist_mlp.parity.trial import try_steps, try_test_images
from mnist_mlp.runs.result import device_block, finite, versions

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program. The optimizer is Adam, as in the lecture."""

    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    against: str = option(
        "numpy",
        "the reference: numpy (float64), cpu (this framework's), or a file of --write, which fixes the problem",
    )
    steps: int = option(100, "training steps that are compared", low=1, high=100_000)
    model: str = option("mlp", "the network: those of Dense layers, without chance", choices=MODELS)
    pixels: str = option_of(Config, "pixels")
    dataset: str = option(
        "digits", "digits are embedded, and their last batch is not full; or mnist", choices=("digits", "mnist")
    )
    data_dir: str = option_of(Config, "data_dir")
    batch_size: int = option_of(Config, "batch_size")
    seed: int = option_of(Config, "seed")
    precision: str = option_of(Config, "precision")
    products: str = option(
        "auto",
        "what float32 products must be good to; auto: float32, on a TPU what its framework promises",
        choices=("auto", *PRODUCTS),
    )
    backend: str = option_of(Config, "backend")
    replicas: int | None = option_of(Config, "replicas")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")
    xla: str = option("auto", "XLA; auto: as in train", choices=("auto", "on", "off"))
    write: str = option("", "file: also write what the device computed, as a reference for others, if it agrees")
    certificate: str = option("certificate.json", "where the verdict is written")
    json: bool = option(False, "print the certificate as JSON; the rest goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        if self.write and self.against != "numpy":
            raise UserError("--write writes what was held against NumPy; leave --against out")


def main(argv: Sequence[str]) -> None:
    given = flags.given_flags(Options, argv, program="parity", about=__doc__ or "")
    options, recorded = options_of(given)
    stream = sys.stderr if options.json else sys.stdout
    certificate = certify(options, recorded, say=lambda text: print(text, file=stream, flush=True))
    if options.json:
        print(json.dumps(certificate, allow_nan=False))
    if certificate["verdict"] != "agrees":
        raise Refuted(f"✗ {certificate['told']}")


def options_of(given: dict[str, Any]) -> tuple[Options, Recorded | None]:
    """The options, and the reference in the file that they name, which fixes the problem."""
    options = Options(**given)
    if options.against in ("numpy", "cpu"):
        return options, None
    recorded = Recorded(path_of("against", options.against), f"--against={options.against}")
    fixed = recorded.options
    if other := [name for name in OPTIONS if name in given and getattr(options, name) != fixed[name]]:
        raise UserError(
            f"--{other[0]}={getattr(options, other[0])}: the reference in {options.against} was written with "
            f"--{other[0]}={fixed[other[0]]}; leave it out"
        )
    return dataclasses.replace(options, **fixed), recorded


def certify(
    options: Options,
    recorded: Recorded | None = None,
    *,
    dataset: data.Dataset | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Tries the device; the certificate, which is also written. `recorded` is the reference in a file, if it is one.

    `dataset` replaces what the options name with images of your own. Raises `UserError`.
    """
    stopwatch = Stopwatch()
    file = outputs.file_to_write("certificate", options.certificate)
    if options.write:
        outputs.file_to_write("write", options.write)
    for flag in ("write", "against"):
        if getattr(options, flag):
            outputs.check_distinct({flag: path_of(flag, getattr(options, flag)), "certificate": file})
    plan = devices.plan(options)
    plan = dataclasses.replace(plan, xla=plan.xla and options.xla != "off")
    dataset = dataset or data.load(Config(dataset=options.dataset, data_dir=options.data_dir))
    if options.against == "cpu":
        recorded = written_on_cpu(plan.backend, {name: getattr(options, name) for name in (*OPTIONS, "data_dir")})
    stopwatch.end("load")

    load(plan)
    engine = started(plan, options, dataset)
    stopwatch.end("import")
    say(report.opening(options, engine, dataset, recorded.name if recorded else Oracle().name))
    problem = problem_of(engine, options, dataset)
    recorder = Recorder(problem, engine.model.count_params()) if options.write else None
    certificate = tried(engine, options, problem, recorded, recorder, say)
    stopwatch.end("compare")
    certificate |= {"device": device_block(plan, engine), "backend": engine.backend}
    certificate = finite({**certificate, "versions": versions(engine.backend), **stopwatch.measured()})
    say(report.closing(certificate, str(file)))
    atomic.write_json(file, certificate)
    if recorder:
        say(write_reference(recorder, options, certificate))
    return certificate


def started(plan: devices.Plan, options: Options, dataset: data.Dataset) -> Engine:
    """The engine on the device, compiled. Raises `UserError` where XLA is not as it was asked for."""
    from mnist_mlp.engine.create import EngineSpec, create_engine
    from mnist_mlp.models import networks
    from mnist_mlp.training import optimizers

    spec = EngineSpec(
        lambda: networks.build(options.model, pixels=options.pixels, precision=options.precision, seed=options.seed),
        {"train": dataset.train, "test": dataset.test},
        options.batch_size,
        lambda: optimizers.make_optimizer("adam", LEARNING_RATE),
    )
    engine = create_engine(plan, spec, start_timeout=options.start_timeout)
    if options.xla != "auto" and engine.xla != (options.xla == "on"):
        now = "without XLA" if options.xla == "on" else "with XLA alone"
        raise UserError(
            f"--xla={options.xla}: {engine.devices.replicas} replicas on {engine.devices.name} run {now} on "
            f"{engine.backend}; use --xla=auto"
        )
    engine.compile()
    return engine


def problem_of(engine: Engine, options: Options, dataset: data.Dataset) -> Problem:
    promised = promise(engine) if options.products == "auto" else options.products
    precision = Precision(promised, options.precision)
    order = order_of(options.seed, len(dataset.train), options.batch_size, options.steps)
    return Problem(options.model, options.pixels, precision, dataset, order, Subject(engine).weights)


def tried(
    engine: Engine,
    options: Options,
    problem: Problem,
    recorded: Recorded | None,
    recorder: Recorder | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The certificate as far as numbers go: the problem, the reference, the probes, the differences, the verdict."""
    subject = Subject(engine)
    about = describe(problem) | {"seed": options.seed}
    if recorded:
        recorded.check(about, problem.order)
    probes = operations.probe(engine.devices, engine.backend, problem.precision.products, engine.xla)
    say(report.probed(probes))
    initial = recorded.initial(problem, subject.state()) if recorded else subject.state()
    reference: Reference = recorded or Oracle()
    with Terminal() as screen:

        def tell(step: int) -> None:
            screen.progress(f"step {step:,} of {options.steps:,}")

        comparisons = [*try_steps(subject, problem, reference, initial, recorder, tell)]
        comparisons.append(try_test_images(subject, problem))
    say(report.compared(comparisons))
    return {
        "problem": about,
        "against": reference.about,
        "probes": [dataclasses.asdict(probe) for probe in probes],
        "quantities": [row for comparison in comparisons for row in comparison.rows()],
        **verdict(probes, comparisons),
    }


def write_reference(recorder: Recorder, options: Options, certificate: dict[str, Any]) -> str:
    """Writes what was recorded, if it agrees; a line that says so."""
    if certificate["verdict"] != "agrees":
        return f"  !      {options.write} is not written: what does not agree is no reference"
    fixed = {name: getattr(options, name) for name in OPTIONS}
    kept = {name: certificate[name] for name in ("problem", "backend", "device", "versions")}
    recorder.write(path_of("write", options.write), {"options": fixed, **kept})
    return f"         {options.write}; on other machines: python -m mnist_mlp.parity --against={options.write}"


def promise(engine: Engine) -> str:
    """What the device promises of float32 products: TensorFlow rounds their factors to bfloat16 on a TPU
    (engine.tensorflow_devices.FLOAT32_ON_TPU)."""
    return "bfloat16" if engine.backend == "tensorflow" and engine.devices.kind == "TPU" else "float32"


def verdict(probes: Sequence[operations.Probe], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Whether the device agrees; where it does not, the first differences, and all of it in a sentence."""
    wrong = [probe for probe in probes if not probe.passed]
    first = [each for comparison in comparisons for each in comparison.first]
    told = [f"{probe.name}: expected {probe.expected}, found {probe.found}" for probe in wrong]
    told += [report.located(each) for each in first[:1]]
    return {
        "verdict": "agrees" if not told else "diverges",
        "told": "; ".join(told),
        "failed_probes": [probe.name for probe in wrong],
        "first_differences": [as_json(each) for each in first],
    }
