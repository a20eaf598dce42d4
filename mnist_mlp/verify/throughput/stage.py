"""The stage: measure the device and the CPU beside it, judge the figures, and say what they come to."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from mnist_mlp.cli.child_process import Child
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding
from mnist_mlp.verify.throughput import judging
from mnist_mlp.verify.throughput.figures import Effort, Figures

SIZES = (32, 128, 512, 2_048, 8_192, 65_536)
EFFORTS = {
    "quick": Effort((32, 16_384), rounds=3, call_seconds=0.1, seconds=6),
    "usual": Effort(SIZES, rounds=5, call_seconds=0.25, seconds=25),
    "full": Effort((32, 64, 128, 256, 512, 2_048, 8_192, 32_768, 65_536), rounds=7, call_seconds=0.5, seconds=60),
}
CPU = {"strategy": "cpu", "replicas": None, "tpu": ""}  # one device, whatever the request splits
PATIENCE = 6  # times what the effort says: how long the process of the CPU may take, its start included
START = 60  # seconds, on top


def measure(context: Context) -> Finding:
    """Return how fast the device is, beside the CPU where it is another one."""
    effort = EFFORTS[context.tier]
    try:
        figures = figures_of(context, effort)
    except MemoryError as error:
        return Finding.skipped(str(error) or "there is too little memory")
    beside: Figures | str = "the device is the CPU itself"
    if figures.kind != "CPU":
        beside = figures_in_process(context, effort, CPU)
    return judged(figures, beside)


def judged(figures: Figures, beside: Figures | str) -> Finding:
    """Return the finding on the figures of a device and of the CPU beside it, or why there are none of that."""
    other = beside if isinstance(beside, Figures) else None
    problem = judging.problem(figures)
    if other and not problem and (found := judging.problem(other)):
        problem = f"on the CPU beside the device: {found}"
    details = figures.as_json()
    details["cpu_beside"] = other.as_json() if other else None
    details["cpu_beside_missing"] = None if other else beside
    details["worth_it"] = judging.worth_it(figures, other) if other else None
    details["worth_it_from_batch_size"] = judging.worth_it_from(judging.gains(figures, other)) if other else None
    return Finding.judged(judging.summary(figures, other), problem, **details)


def figures_of(context: Context, effort: Effort) -> Figures:
    """Measure the device of the context in this process. Raise `UserError`, or `MemoryError` if no batch fits."""
    from mnist_mlp.cli.load_framework import load as load_framework
    from mnist_mlp.config import Config
    from mnist_mlp.data import load
    from mnist_mlp.verify.throughput import measuring

    load_framework(context.plan)
    digits, timeout = load(Config(dataset="digits")), context.device["start_timeout"]
    return measuring.measure(context.plan, effort, digits, seed=context.seed, start_timeout=timeout)


def figures_in_process(context: Context, effort: Effort, device: Mapping[str, Any]) -> Figures | str:
    """Measure another device in a process of its own, on the same framework; return why if there are no figures.

    `device` replaces device options of the context.
    """
    request, answer = context.work / "throughput-request.json", context.work / "throughput-figures.json"
    options = {**context.device, "backend": context.plan.backend, **device}
    asked = {"seed": context.seed, "device": options, "effort": dataclasses.asdict(effort)}
    request.write_text(json.dumps(asked))
    environment = dict(os.environ)
    if options["strategy"] == "cpu":  # the first process holds the GPU's memory, or the TPU
        environment |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    with Child(["-m", "mnist_mlp.verify.throughput.process", request, answer], environment) as child:
        try:
            if child.wait(START + PATIENCE * effort.seconds):
                return f"its process {child.outcome}"
        except subprocess.TimeoutExpired:
            return "its process did not end in time"
    return Figures.from_raw(json.loads(answer.read_text()))
