"""Check that a device computes what the formulas say: compare every number of every training step with a reference.

Device and reference start from the same weights and see the same examples. Compared are loss, logits, predictions,
gradients, Adam's moments and updated weights of each step, then all steps in one call, then the test images. Each
number has a bound derived from the precision. Before that, single operations are tested. The verdict and everything
that it is based on is written to certificate.json. Exit code: 4 if any number exceeds its bound.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.cli.terminal import PRINT, Reporter, Terminal
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.parity import operations, report
from mnist_mlp.parity.comparison import Comparison, as_json
from mnist_mlp.parity.device_under_test import DeviceUnderTest
from mnist_mlp.parity.problem import LEARNING_RATE, MODELS, OPTIONS, Problem, describe, order_of
from mnist_mlp.parity.reference import Oracle, Recorded, Recorder, Reference, written_on_cpu
from mnist_mlp.parity.rounding import PRODUCTS, Precision
from mnist_mlp.parity.trial import Trial
from mnist_mlp.runs.result import device_block, finite, versions

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program. The optimizer is Adam, as in the lecture."""

    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    against: str = option(
        "numpy",
        "the reference: numpy (float64), cpu (the same framework), or a file of --write, which determines the problem",
    )
    steps: int = option(100, "training steps to compare", low=1, high=100_000)
    model: str = option("mlp", "the network: Dense layers only, nothing random", choices=MODELS)
    pixels: str = option_of(Config, "pixels")
    dataset: str = option(
        "digits", "digits (embedded; the last batch is not full) or mnist", choices=("digits", "mnist")
    )
    data_dir: str = option_of(Config, "data_dir")
    batch_size: int = option_of(Config, "batch_size")
    seed: int = option_of(Config, "seed")
    precision: str = option_of(Config, "precision")
    products: str = option(
        "auto",
        "precision required of float32 matrix products; auto: float32, or on a TPU what the framework promises",
        choices=("auto", *PRODUCTS),
    )
    backend: str = option_of(Config, "backend")
    replicas: int | None = option_of(Config, "replicas")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")
    xla: str = option("auto", "XLA; auto: as in train", choices=("auto", "on", "off"))
    write: str = option(
        "", "also write the device's numbers to this file, as a reference for other devices, if they agree with NumPy"
    )
    certificate: str = option("certificate.json", "file for the verdict")
    json: bool = option(False, "print the certificate as JSON; the rest goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        if self.write and self.against != "numpy":
            raise UserError("--write needs the comparison with NumPy; omit --against")


def main(argv: Sequence[str]) -> None:
    given = flags.given_flags(Options, argv, program="parity", about=__doc__ or "")
    options, recorded = options_of(given)
    with Terminal(sys.stderr if options.json else sys.stdout) as reporter:
        certificate = certify(options, recorded, reporter=reporter)
    if options.json:
        print(json.dumps(certificate, allow_nan=False))
    if certificate["verdict"] != "agrees":
        raise Refuted(f"✗ {certificate['told']}")


def options_of(given: dict[str, Any]) -> tuple[Options, Recorded | None]:
    """Return the options, and the reference in the file that they name, which determines the problem."""
    options = Options(**given)
    if options.against in ("numpy", "cpu"):
        return options, None
    recorded = Recorded(path_of("against", options.against), f"--against={options.against}")
    fixed = recorded.options
    if other := [name for name in OPTIONS if name in given and getattr(options, name) != fixed[name]]:
        raise UserError(
            f"--{other[0]}={getattr(options, other[0])}: the reference in {options.against} was written with "
            f"--{other[0]}={fixed[other[0]]}; omit the flag"
        )
    return dataclasses.replace(options, **fixed), recorded


def certify(
    options: Options,
    recorded: Recorded | None = None,
    *,
    dataset: data.Dataset | None = None,
    reporter: Reporter = PRINT,
) -> dict[str, Any]:
    """Compare a device with a reference, NumPy or `recorded`; write the certificate and return it.

    `dataset` replaces the data set of the options with your own images. Raises `UserError`.
    """
    stopwatch = Stopwatch()
    file = check_outputs(options)
    plan = devices.plan(options)
    plan = dataclasses.replace(plan, xla=plan.xla and options.xla != "off")
    dataset = data.checked_own(dataset) or data.load(Config(dataset=options.dataset, data_dir=options.data_dir))
    if options.against == "cpu":
        recorded = written_on_cpu(plan.backend, {name: getattr(options, name) for name in (*OPTIONS, "data_dir")})
    reference: Reference = recorded or Oracle()
    stopwatch.end("load")

    load(plan)
    engine = start_engine(plan, options, dataset)
    stopwatch.end("import")
    reporter.line(report.opening(options, engine, dataset, reference.name))
    device = DeviceUnderTest(engine)
    problem = problem_of(device, options, dataset)
    recorder = Recorder(problem, engine.model.count_params()) if options.write else None
    certificate = compare(Trial(device, problem, reference, recorder), options.seed, reporter)
    stopwatch.end("compare")
    certificate |= {"device": device_block(plan, engine), "backend": engine.backend}
    certificate = finite({**certificate, "versions": versions(engine.backend), **stopwatch.measured()})
    reporter.line(report.closing(certificate, str(file)))
    atomic.write_json(file, certificate)
    if recorder:
        reporter.line(write_reference(recorder, options, certificate))
    return certificate


def check_outputs(options: Options) -> Path:
    """Return the path of the certificate. Raises `UserError` if a file cannot be written."""
    file = outputs.file_to_write("certificate", options.certificate)
    if options.write:
        outputs.file_to_write("write", options.write)
    for flag in ("write", "against"):
        if getattr(options, flag):
            outputs.check_distinct({flag: path_of(flag, getattr(options, flag)), "certificate": file})
    return file


def start_engine(plan: devices.Plan, options: Options, dataset: data.Dataset) -> Engine:
    """Return the compiled engine on the device. Raises `UserError` if XLA cannot be used as requested."""
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
        now = "without XLA" if options.xla == "on" else "only with XLA"
        raise UserError(
            f"--xla={options.xla}: {engine.devices.replicas} replicas on {engine.devices.name} run {now} on "
            f"{engine.backend}; use --xla=auto"
        )
    engine.compile()
    return engine


def problem_of(device: DeviceUnderTest, options: Options, dataset: data.Dataset) -> Problem:
    promised = promised_products(device.engine) if options.products == "auto" else options.products
    precision = Precision(promised, options.precision)
    order = order_of(options.seed, len(dataset.train), options.batch_size, options.steps)
    return Problem(options.model, options.pixels, precision, dataset, order, device.weights)


def promised_products(engine: Engine) -> str:
    """Return the promised precision of float32 matrix products.

    TensorFlow rounds their factors to bfloat16 on a TPU (`engine.tensorflow.devices.FLOAT32_ON_TPU`).
    """
    return "bfloat16" if engine.backend == "tensorflow" and engine.devices.kind == "TPU" else "float32"


def compare(trial: Trial, seed: int, reporter: Reporter) -> dict[str, Any]:
    """Return the numerical part of the certificate: problem, reference, operations, differences, verdict."""
    engine, problem = trial.device.engine, trial.problem
    about = describe(problem) | {"seed": seed}
    trial.reference.check(about, problem.order)
    tests = operations.test(engine.devices, engine.backend, problem.precision.products, engine.xla)
    reporter.line(report.operations(tests))
    comparisons = [*trial.steps(reporter), trial.test_images()]
    reporter.line(report.quantities(comparisons))
    return {
        "problem": about,
        "against": trial.reference.about,
        "probes": [dataclasses.asdict(test) for test in tests],
        "quantities": [row for comparison in comparisons for row in comparison.rows()],
        **verdict(tests, comparisons),
    }


def verdict(tests: Sequence[operations.OperationTest], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return whether the device agrees; if not, the first differences, and all of it in a sentence."""
    failed = [test for test in tests if not test.passed]
    first = [each for comparison in comparisons for each in comparison.first]
    problems = [f"{test.name}: expected {test.expected}, found {test.found}" for test in failed]
    problems += [report.located(each) for each in first[:1]]
    return {
        "verdict": "agrees" if not problems else "diverges",
        "told": "; ".join(problems),
        "failed_probes": [test.name for test in failed],
        "first_differences": [as_json(each) for each in first],
    }


def write_reference(recorder: Recorder, options: Options, certificate: dict[str, Any]) -> str:
    """Write what was recorded if it agrees; return a line about it."""
    if certificate["verdict"] != "agrees":
        return f"  !      {options.write} was not written, since the device does not agree with NumPy"
    fixed = {name: getattr(options, name) for name in OPTIONS}
    kept = {name: certificate[name] for name in ("problem", "backend", "device", "versions")}
    recorder.write(path_of("write", options.write), {"options": fixed, **kept})
    return f"         {options.write}; on other machines: python -m mnist_mlp.parity --against={options.write}"
