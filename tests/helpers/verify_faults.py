"""Faults for the stages of `verify`, and what the stages say of each.

usage: python verify_faults.py BACKEND TIER SEED FAULT…

A fault is "STAGE: NAME"; only that stage runs (and what it needs), in this process. Each prints a line of JSON: the
fault, the status, the reason and the figure of the stage. "STAGE: " is the stage without a fault.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import mock

from helpers import faults
from helpers.fork_server import QUICKLY

LOST_RANDOM = "resume: the random state is lost"
LOST_SLOT = "resume: a moment of Adam is lost"
FLIPPED = "determinism: one bit of a weight is flipped in the second run"
SWAPPED = "exports: two classes are swapped"
ROUNDED = "exports: weights of half precision"
BROKEN = "machine: the framework computes wrong numbers"
ABSENT = "machine: the framework finds no device"
OF_STAGES = (LOST_RANDOM, LOST_SLOT, FLIPPED, SWAPPED, ROUNDED, BROKEN, ABSENT)
OF_ENGINES = tuple(f"parity: {name}" for name in (*faults.NAMES, *faults.MORE))
OF_REPLICAS = tuple(f"replicas: {name}" for name in (faults.SUMMED, faults.DROPPED))
OF_TRAINING = tuple(f"training: {name}" for name in (faults.STALE, faults.SHIFTED))
ALL = (*OF_STAGES, *OF_ENGINES, *OF_REPLICAS, *OF_TRAINING)
BEFORE = {"resume": ("determinism",), "exports": ("training",)}  # what a stage continues from


@contextlib.contextmanager
def injected(fault: str, backend: str):
    """Whatever the stage does within the block has the fault."""
    stage, _, name = fault.partition(": ")
    patches = {
        LOST_RANDOM: restored_without("seed_generator_state"),
        LOST_SLOT: restored_without("hidden_2_kernel_velocity"),
        FLIPPED: second_run_flipped,
        SWAPPED: exported_as(swapped),
        ROUNDED: exported_as(rounded),
        BROKEN: answering(right=False),
        ABSENT: answering(devices=[]),
    }
    if not name:
        yield
    elif fault in patches:
        with patches[fault]():
            yield
    else:
        with faults.injected(name, backend):
            yield


def restored_without(lost):
    """A resumed run begins without a part of its state."""

    def patch():
        from mnist_mlp.training.session import TrainingSession

        right = TrainingSession.restore

        def restore(self):
            fresh = {name: value for name, value in self.engine.state().items() if lost in name}
            assert fresh
            right(self)
            if self.run.resumed_from:
                self.engine.restore({**self.engine.state(), **fresh})

        return mock.patch.object(TrainingSession, "restore", restore)

    return patch


def second_run_flipped():
    """The first training of the process is right, each later one begins with one bit flipped."""
    from mnist_mlp.engine.compiled import CompiledEngine

    right, seen = CompiledEngine.train, []

    def train(self, batch_indices, start=0, stop=None):
        before = self.state()
        first = any(name.endswith("/iteration") and not value for name, value in before.items())
        if first:
            seen.append(self)
        if first and len(seen) == 2:
            bits = before["model/hidden_1/kernel"].view("u4").copy()
            bits[5, 7] ^= 1 << 12
            self.restore({**before, "model/hidden_1/kernel": bits.view("f4")})
        return right(self, batch_indices, start, stop)

    return mock.patch.object(CompiledEngine, "train", train)


def exported_as(change):
    """What is exported is not quite the model."""

    def patch():
        from mnist_mlp.models import portable

        right = portable.write
        return mock.patch.object(portable, "write", lambda layers, file: right([*map(change, layers)], file))

    return patch


def swapped(layer):
    if layer.name != "logits":
        return layer
    order = [0, 1, 2, 3, 9, 5, 6, 7, 8, 4]
    kernel, bias = layer.weights
    return dataclasses.replace(layer, kernel=kernel[:, order], bias=bias[order])


def rounded(layer):
    if layer.kernel is None:
        return layer
    kernel, bias = (weight.astype("float16").astype("float32") for weight in layer.weights)
    return dataclasses.replace(layer, kernel=kernel, bias=bias)


def answering(**changes):
    """The process that tries the framework reports something else."""

    def patch():
        from mnist_mlp.doctor import framework_check

        right = framework_check.judge
        return mock.patch.object(
            framework_check, "judge", lambda question, reported, printed: right(question, reported | changes, printed)
        )

    return patch


class Verification:
    """The stages on a device, each without a fault at most once: those with one begin with copies of its files."""

    def __init__(self, backend: str, tier: str, seed: int, work: Path) -> None:
        self.asked, self.work, self.sound = (backend, tier, seed), work, {}

    def found(self, fault: str):
        """The finding of the fault's stage; what it needs has run before it, without the fault."""
        stage, _, name = fault.partition(": ")
        if not name:
            return self.without(stage)
        for needed in BEFORE.get(stage, ()):
            assert self.without(needed).status == "passed"
        work = self.work / fault
        work.mkdir()
        for needed in BEFORE.get(stage, ()):
            shutil.copytree(self.work / needed, work, dirs_exist_ok=True)
        with injected(fault, self.asked[0]):
            return self.attempt(stage, work)

    def without(self, stage: str):
        """The finding of a stage that needs no other, which leaves its files in a directory of its name."""
        if stage not in self.sound:
            (self.work / stage).mkdir()
            self.sound[stage] = self.attempt(stage, self.work / stage)
        return self.sound[stage]

    def attempt(self, name: str, work: Path):
        from mnist_mlp.verify import stages
        from mnist_mlp.verify.context import Context

        backend, tier, seed = self.asked
        device = {"strategy": "cpu", "backend": backend, "replicas": None, "tpu": "", "start_timeout": 300}
        by_name = {stage.name: stage for stage in stages.STAGES}
        return stages.attempt(stages.function_of(by_name[name]), Context(tier, seed, device, "", work))


if __name__ == "__main__":
    backend, tier, seed, *asked = sys.argv[1:]
    os.environ |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    os.environ.setdefault("XLA_FLAGS", QUICKLY)
    faults.one_thread()

    from mnist_mlp.cli import stderr_filter

    stderr_filter.silence()
    with tempfile.TemporaryDirectory() as work:
        verification = Verification(backend, tier, int(seed), Path(work))
        for fault in asked or ALL:
            finding = verification.found(fault)
            row = {"fault": fault, "status": finding.status, "reason": finding.reason, "figure": finding.figure}
            row["details"] = sorted(finding.details)
            print(json.dumps(row), flush=True)
