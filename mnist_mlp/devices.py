"""Which device a run takes: `detect` looks at the machine, `choose` decides, both before any framework is imported.

An explicit request is met or refused, with what was seen and what to type; it never falls back to another device.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

from mnist_mlp.errors import UserError


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the standard library can tell of this machine."""

    gpus: int  # NVIDIA GPUs attached
    cuda_visible_devices: str | None  # the environment variable, None if it is not set
    tensorflow: str  # its installed version, "" if there is none


TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-rocm", "tensorflow-macos", "tf-nightly")  # distributions


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to run on. `environment` must be set before the framework is imported."""

    backend: str  # the Keras backend
    strategy: str  # "cpu" or "gpu"
    requested: str  # what the user asked for
    environment: Mapping[str, str]
    notes: tuple[str, ...] = ()


def detect(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Seen:
    """Looks at the device files below `root`, the environment and the installed distributions."""
    from importlib import metadata  # 20 ms that --help need not wait for

    listed = len(list(root.glob("proc/driver/nvidia/gpus/*")))
    nodes = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in root.glob("dev/nvidia*"))
    windows = int((root / "dev/dxg").exists() and (root / "usr/lib/wsl/lib/libcuda.so.1").exists())
    found = [metadata.version(name) for name in TENSORFLOWS if any(metadata.distributions(name=name))]
    return Seen(listed or nodes or windows, environ.get("CUDA_VISIBLE_DEVICES"), found[0] if found else "")


def plan(request: str) -> Plan:
    """The plan for `--strategy=request` on this machine."""
    return choose(request, detect())


def choose(request: str, seen: Seen) -> Plan:
    """The plan for `--strategy=request` on that machine.

    Raises `UserError` where the request cannot be met. "auto" takes a GPU where one is visible, else the CPU.
    """
    if request == "tpu":
        raise UserError("--strategy=tpu is not there yet; type --strategy=cpu or --strategy=gpu")
    if [int(part) for part in re.findall(r"\d+", seen.tensorflow)[:2]] < [2, 18]:
        found = seen.tensorflow or "none"
        raise UserError(f"expected TensorFlow 2.18 or newer, found {found}; type pip install 'tensorflow>=2.18'")
    hidden = seen.cuda_visible_devices is not None and not visible_gpus(seen)
    if request == "gpu" and not seen.gpus:
        raise UserError("--strategy=gpu: expected an NVIDIA GPU and its driver, saw none; type --strategy=cpu")
    if request == "gpu" and hidden:
        raise UserError(
            f"--strategy=gpu: CUDA_VISIBLE_DEVICES={seen.cuda_visible_devices!r} hides all {seen.gpus} GPUs; "
            "type unset CUDA_VISIBLE_DEVICES"
        )
    if request == "cpu" or not seen.gpus or hidden:
        # -1 hides the GPUs, so that the CPU is what really runs and no GPU memory is taken.
        return Plan("tensorflow", "cpu", request, {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"})
    first, *others = visible_gpus(seen)
    notes = (f"{1 + len(others)} GPUs are visible; this version trains on one, GPU {first}",) if others else ()
    return Plan("tensorflow", "gpu", request, {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": first}, notes)


def visible_gpus(seen: Seen) -> list[str]:
    """The names of the GPUs that CUDA will show, in its order: it stops at the first name that is not one."""
    if seen.cuda_visible_devices is None:
        return [str(index) for index in range(seen.gpus)]
    names = []
    for name in seen.cuda_visible_devices.split(","):
        name = name.strip()
        by_index = re.fullmatch(r"[0-9]{1,4}", name) and int(name) < seen.gpus
        if not by_index and not name.startswith(("GPU-", "MIG-")):
            break
        names.append(name)
    return names


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor and the number of its cores that this process may use: "AMD EPYC, 2 cores"."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
    except OSError:
        found = None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{found[1].strip() if found else 'processor'}, {cores} core{'s' if cores != 1 else ''}"
