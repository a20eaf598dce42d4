"""Which processes soak which devices: one for each GPU, one for a TPU, several that move over the cores of a CPU."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.devices import Plan
from mnist_mlp.devices.machine import Machine
from mnist_mlp.devices.strategy import visible_gpus

MEMORY = 10**9  # bytes that a process on the CPU may take: TensorFlow with the programs of a soak, and room
MOST = 32  # processes on a CPU: with more cores than that, each has several at a time


@dataclasses.dataclass(frozen=True)
class Slot:
    """A process of the soak, and the device that it holds."""

    name: str  # "GPU 1"
    options: Mapping[str, Any]  # of the device, as `train` has them
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gpu: str = ""  # for nvidia-smi
    index: int = 0  # of the processes on a CPU
    cores: Sequence[int] = ()  # all that the processes on a CPU share in turns; () if they cannot be pinned
    width: int = 0  # how many of them this process has at a time

    @property
    def kind(self) -> str:
        return self.name.split()[0]


def slots(plan: Plan, machine: Machine, options: Mapping[str, Any], cores: Sequence[int], memory: float) -> list[Slot]:
    """Return the processes for the devices of a plan.

    `options` are those of the verification's device, `cores` those that this process may use, and `memory` the bytes
    that are free. Replicas are no matter here, but on a TPU: one process alone may hold its chips, so that its cores
    work on one batch together, and the tests of operations tell which of them is wrong.
    """
    common = {**options, "strategy": plan.device, "backend": plan.backend}
    if plan.device == "gpu":
        # CUDA counts the fastest first, nvidia-smi by the bus: so a number means the same GPU to both.
        by_bus = {} if machine.cuda_visible_devices else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        return [
            Slot(f"GPU {gpu}", {**common, "replicas": 1}, {"CUDA_VISIBLE_DEVICES": gpu, **by_bus}, gpu=gpu, index=index)
            for index, gpu in enumerate(visible_gpus(machine))
        ]
    if plan.device == "tpu":
        return [Slot("TPU", common)]
    common["replicas"] = 1
    if not cores:
        return [Slot("CPU", common)]
    most = max(1, min(MOST, len(cores), int(memory / 2 // MEMORY)))
    width = -(-len(cores) // most)
    count = max(1, len(cores) // width)
    return [Slot(f"CPU process {i}", common, index=i, cores=tuple(cores), width=width) for i in range(count)]


def usable_cores() -> list[int]:
    """Return the cores that this process may use, or [] where processes cannot be pinned to cores."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []


def free_memory(root: Path = Path("/")) -> float:
    """Return the bytes of memory that are free, by Linux and by the limit of a container; infinite if unknown."""

    def number(path: str, pattern: str) -> float | None:
        with contextlib.suppress(OSError):
            if match := re.search(pattern, (root / path).read_text()):
                return float(match[1])
        return None

    available = number("proc/meminfo", r"MemAvailable:\s*(\d+) kB")
    limit = number("sys/fs/cgroup/memory.max", r"^(\d+)")
    used = number("sys/fs/cgroup/memory.current", r"^(\d+)")
    free = [float("inf") if available is None else available * 1024]
    if limit is not None:
        free.append(max(0.0, limit - (used or 0.0)))
    return min(free)


def cores_of(slot: Slot, repetition: int) -> list[int]:
    """Return the cores on which a process makes a repetition (from 1); [] if it is not pinned.

    It moves on by its width each time. Once it has been everywhere, it begins one core later, so that groups of cores
    overlap in other ways, and a core that errs is found within several groups.
    """
    if not slot.cores:
        return []
    count, turn = len(slot.cores), repetition - 1
    rounds = turn // -(-count // slot.width) if slot.width > 1 else 0
    first = (slot.index + turn) * slot.width + rounds
    return sorted({slot.cores[(first + k) % count] for k in range(slot.width)})


def pin(cores: Sequence[int]) -> None:
    """Move this process with all of its threads to these cores."""
    if not cores:
        return
    moved: set[str] = set()
    while threads := set(os.listdir("/proc/self/task")) - moved:  # a thread that started meanwhile
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread), cores)
        moved |= threads
