#!/usr/bin/env python3
"""Compare this project with others: the source of every figure of speed and memory in the README.

usage: scripts/benchmark.py [MEASURE ...] [--runs N] [--epochs E] [--preset default|lecture] [--data_dir DIR]
                            [--strategy cpu|gpu|tpu|auto] [--programs NAME ...] [--seeds N] [--json FILE]
                            [--figure FILE]

  process   whole processes in parts (import, load, compile, train, evaluate), CPU time, peak memory, accuracy;
            ours also as first run, without the programs that XLA has compiled before
  step      a steady step at batch 32, and a floor: its eight matrix products in BLAS and Adam in C
  batch     steps of 32 to 8192 images
  data      epochs of MNIST once, 4 and 16 times over
  replicas  steps split across 1 and 2 replicas
  startup   from process start to the first step, compared with the bare import of the frameworks
  to98      processes of preset speedrun: how long they take, and how many of --seeds reach 98% test accuracy
  to99      the same of preset best, with fewer epochs, and 99%

Without a MEASURE: process and step. The programs are ours on both backends, and those in scripts/rivals as their own
users would write them; what is not installed is skipped and named (the extra `benchmark` has them). All run on the CPU,
or on what --strategy names; a program that cannot run there is skipped and named, too. Each runs in its own process;
all run in each round, in a different order each time. The output has the median, the minimum and the
maximum of n rounds, and ratios round by round. `steady` is the median of a run's epochs after the first, which may
compile. Without MNIST in --data_dir (default: $MNIST_DATA_DIR) all get random images of MNIST's shape.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from measures import goals, process, programs, startup, steps
from measures.images import make_npz
from measures.programs import PROGRAMS, Asked
from measures.running import Series

from mnist_mlp.cli import program
from mnist_mlp.devices.machine import detect, processor_name
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, figures, outputs
from mnist_mlp.options import path_of
from mnist_mlp.text import nearest

PACKAGES = ("mnist_mlp", "numpy", "tensorflow", "keras", "jax", "jaxlib", "torch", "scikit-learn", "matplotlib")


class Measure(NamedTuple):
    measure: Callable[[Asked], list[Series]]
    table: Callable[[Sequence[Series]], str]


MEASURES = {
    "process": Measure(process.measure, process.table),
    "step": Measure(steps.measure_step, steps.step_table),
    "batch": Measure(steps.measure_batch, steps.batch_table),
    "data": Measure(steps.measure_data, steps.data_table),
    "replicas": Measure(steps.measure_replicas, steps.replicas_table),
    "startup": Measure(startup.measure, startup.table),
    **{name: Measure(partial(goals.measure, name), partial(goals.table, name)) for name in goals.GOALS},
}
STRATEGIES = ("cpu", "gpu", "tpu", "auto")
UNNAMED = ("process", "step")
TO_ASK = ("programs", "runs", "epochs", "preset", "seeds", "device", "gpus")  # options that a measure gets


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (all flags: --help)")


def main(argv: Sequence[str]) -> None:
    options = read(argv)
    told: dict[str, Any] = {"command": " ".join(["scripts/benchmark.py", *argv]), **place(options.device)}
    told |= {"device": options.device, "notes": options.notes, "measures": {}}
    with tempfile.TemporaryDirectory() as scratch:
        asked = Asked(
            npz=make_npz(options.data_dir, Path(scratch)),
            real=bool(options.data_dir),
            scratch=Path(scratch),
            say=say,
            **{name: getattr(options, name) for name in TO_ASK},
        )
        for name in options.measures:
            load = os.getloadavg()[0]
            found = MEASURES[name].measure(asked)
            loads = {"load_at_start": load, "load_at_end": os.getloadavg()[0]}
            heading = about(name, asked, found)
            told["measures"][name] = {"about": heading, **loads, "series": found}
            if options.json:
                atomic.write_json(options.json, told)  # after each, so that what is measured stays
            print(f"## {heading}\n\n{MEASURES[name].table(found)}\n")
            print("load average: {load_at_start:.2f} before, {load_at_end:.2f} after\n".format_map(loads), flush=True)
            if name == "process" and options.figure:
                caption = [f"{heading}; lines: minimum to maximum", told["processor"]]
                process.draw(found, caption, options.figure)
    print(f"{told['processor']}; {', '.join(f'{name} {version}' for name, version in told['versions'].items())}")
    for note in told["notes"]:
        print(note)
    for name, why in told["left_out"].items():
        print(f"skipped {name}: {why}")


def read(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. Raises `UserError` for what could only fail later."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.usage = argparse.SUPPRESS  # the description has it
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"{', '.join(MEASURES)}, or all")
    parser.add_argument("--runs", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="of a run (default: %(default)s)")
    parser.add_argument("--preset", default="default", choices=("default", "lecture"), help="pixels up to 1, or to 255")
    parser.add_argument("--data_dir", default=os.environ.get("MNIST_DATA_DIR", ""), help="directory with MNIST")
    parser.add_argument("--strategy", default="cpu", help="device: cpu, gpu, tpu, or auto (default: %(default)s)")
    parser.add_argument("--programs", nargs="+", default=[], metavar="NAME", help=f"alone: {', '.join(PROGRAMS)}")
    parser.add_argument("--seeds", type=int, default=100, help="of to98 and to99 (default: %(default)s)")
    parser.add_argument("--json", type=partial(path_of, "json"), help="file for all raw figures")
    parser.add_argument("--figure", type=partial(path_of, "figure"), help="picture of process: .svg, .png or .pdf")
    try:
        options = parser.parse_args(argv)
    finally:
        sys.stdout.flush()  # the help
    if "all" in options.measures:
        options.measures = list(MEASURES)
    options.measures = list(dict.fromkeys(options.measures)) or list(UNNAMED)
    for name in options.measures:
        if name not in MEASURES:
            raise UserError(f"expected measures of {', '.join(MEASURES)}; received {name!r}{nearest(name, MEASURES)}")
        if name in goals.GOALS:
            goals.check(name, bool(options.data_dir))
    for name in ("runs", "epochs", "seeds"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}={getattr(options, name)}: expected 1 or more; try --{name}=1")
    programs.check_names(options.programs)
    options.device, options.gpus, options.notes = device_of(options.strategy)
    if "replicas" in options.measures and options.device == "gpu":
        choose(Request(strategy="mirrored", replicas=max(steps.REPLICAS)), detect())
    if options.json:
        outputs.file_to_write("json", str(options.json))
    if options.figure:
        figures.file_to_write("figure", str(options.figure))
        if "process" not in options.measures:
            raise UserError("--figure shows the measure process; add process")
    return options


def say(text: str) -> None:
    """Progress, for a person who waits."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def device_of(strategy: str) -> tuple[str, str, tuple[str, ...]]:
    """The device that a strategy comes to, the GPUs that programs may see, and notes. Raises `UserError`."""
    if strategy not in STRATEGIES:
        raise UserError(f"--strategy={strategy}: expected {', '.join(STRATEGIES)}{nearest(strategy, STRATEGIES)}")
    if strategy == "cpu":  # as in train, but whatever is installed: programs that are not are left out
        return "cpu", "", ()
    plan = choose(Request(strategy=strategy), detect())
    if plan.device != "gpu":
        return plan.device, "", plan.notes
    visible = choose(Request(strategy="mirrored"), detect()).environment["CUDA_VISIBLE_DEVICES"]
    return plan.device, visible, plan.notes


def about(name: str, asked: Asked, found: Sequence[Series]) -> str:
    """What was measured, and where, in a line."""
    images = "MNIST" if asked.real else "random images of MNIST's shape"
    where = device_in_words(asked.device, found)
    if name in goals.GOALS:
        return f"{name}: {images}, {where}, n = {asked.seeds} processes of each program"
    batch = "" if name == "batch" else ", batch 32"
    epochs = min(asked.epochs, steps.EPOCHS_OF_REPLICAS) if name == "replicas" else asked.epochs
    trained = "" if name == "startup" else f", {epochs} epoch{'s' * (epochs != 1)}"
    return (
        f"{name}: {images}, preset {asked.preset}{batch}{trained}, {where}, n = {asked.runs} processes of each program"
    )


def device_in_words(device: str, found: Sequence[Series]) -> str:
    """Where the programs ran, as they said themselves: "GPU (NVIDIA L4)"; which CPU it was is said below."""
    kind = device.upper()
    told = {run.get("device", "").partition(": ")[2] for series in found for run in series["runs"]} - {""}
    return f"{kind} ({', '.join(sorted(told))})" if told and device != "cpu" else kind


def place(device: str) -> dict[str, Any]:
    """Where and when it is measured."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    left_out = {name: why for name, program in PROGRAMS.items() if (why := programs.missing(program, device))}
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "processor": processor_name(),
        "platform": platform.platform(),
        "versions": versions,
        "left_out": left_out,
    }


if __name__ == "__main__":
    program.run(main)
