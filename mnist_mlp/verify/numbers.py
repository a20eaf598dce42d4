"""The stages that compare numbers with known ones: operations, parity with NumPy and with the CPU, replicas."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.devices.machine import detect
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.errors import UserError
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine


def operations(context: Context) -> Finding:
    """Try the operations that a network consists of on every replica."""
    from mnist_mlp.parity import operations
    from mnist_mlp.parity.command import promised_products, verdict

    engine = context.engine
    tests = operations.test(engine.devices, engine.backend, promised_products(engine), engine.xla)
    passed = sum(test.passed for test in tests)
    figure = f"{passed} of {len(tests)} on {engine.devices.replicas} replica{'s' * (engine.devices.replicas > 1)}"
    return Finding.judged(figure, verdict(tests, [])["told"], operations=[dataclasses.asdict(test) for test in tests])


def parity(context: Context) -> Finding:
    """Compare every number of the first steps with NumPy in float64."""
    return compare(context.engine, context.parity_options)


def compare(engine: Engine, options: Any) -> Finding:
    from mnist_mlp.config import Config
    from mnist_mlp.data import load
    from mnist_mlp.parity.command import problem_of, verdict
    from mnist_mlp.parity.device_under_test import DeviceUnderTest
    from mnist_mlp.parity.problem import describe
    from mnist_mlp.parity.reference import Oracle
    from mnist_mlp.parity.trial import Trial

    device = DeviceUnderTest(engine)
    problem = problem_of(device, options, load(Config(dataset="digits")))
    trial = Trial(device, problem, Oracle())
    comparisons = [*trial.steps(SILENT), trial.test_images()]
    rows = [row for comparison in comparisons for row in comparison.rows()]
    found = verdict([], comparisons)
    largest = max(row["share"] for row in rows)
    figure = f"{len(rows)} quantities of {options.steps} steps, at most {largest:.2g} of their bounds"
    differences = found["first_differences"]
    return Finding.judged(
        figure, found["told"], about=describe(problem), quantities=rows, first_differences=differences
    )


def parity_with_cpu(context: Context) -> Finding:
    """Compare an accelerator with the same framework on the CPU beside it."""
    if context.engine.devices.kind == "CPU":
        return Finding.skipped("the device is the CPU itself")
    from mnist_mlp.parity.command import certify

    file = context.work / "certificate.json"
    steps = context.for_tier(5, 20, 100)
    options = dataclasses.replace(context.parity_options, against="cpu", steps=steps, certificate=str(file))
    found = certify(options, reporter=SILENT)
    largest = max(row["share"] for row in found["quantities"])
    figure = f"{len(found['quantities'])} quantities of {steps} steps, at most {largest:.2g} of their bounds"
    return Finding.judged(
        figure, found["told"], quantities=found["quantities"], first_differences=found["first_differences"]
    )


def replicas(context: Context) -> Finding:
    """Split each batch across several devices, and compare the steps with NumPy, which splits nothing.

    Where there is one device alone, the CPU is divided into two logical ones: what splits and sums is the same code.
    """
    try:
        device = device_of_several(context)
    except UserError as error:
        return Finding.skipped(str(error))
    plan = choose(Request(**device), detect())
    from mnist_mlp.cli.load_framework import load as load_framework
    from mnist_mlp.config import Config
    from mnist_mlp.data import load
    from mnist_mlp.parity.command import Options, start_engine

    steps = context.for_tier(4, 20, 100)
    options = Options(**device, seed=context.seed, steps=steps, batch_size=512)  # an epoch has 3 steps, one not full
    load_framework(plan)
    engine = start_engine(plan, options, load(Config(dataset="digits")))
    found = compare(engine, options)
    kind = "logical CPUs" if engine.devices.kind == "CPU" else f"{engine.devices.kind}s"
    return dataclasses.replace(found, figure=f"{engine.devices.replicas} {kind}: {found.figure}")


def device_of_several(context: Context) -> dict[str, Any]:
    """Return the device options for several replicas of the same backend."""
    plan = context.plan
    asked = {"backend": plan.backend, "tpu": context.device["tpu"]}
    if plan.device == "tpu":
        return {**asked, "strategy": "tpu", "replicas": plan.replicas}
    if plan.device == "gpu":
        several = {"backend": plan.backend, "strategy": "mirrored", "replicas": context.device["replicas"]}
        if (choose(Request(**several), detect()).replicas or 1) > 1:
            return several
    return {"backend": plan.backend, "strategy": "cpu", "replicas": max(2, plan.replicas or 1)}
