"""Temperature and clocks of a device, as far as the system shows them. What it does not show is None, never a guess."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

CPU_SENSORS = re.compile(r"coretemp|k10temp|zenpower|cpu\w*[_-]?thermal|cpu[_-]temp|x86_pkg_temp|(soc|cpu)[\w-]*")
GPU_FIELDS = ("temperature.gpu", "clocks.sm", "clocks.mem", "power.draw")
PATIENCE = 10  # seconds for nvidia-smi


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was measured: °C, MHz, MHz and watts."""

    temperature: float | None = None  # of a CPU: the hottest of its sensors
    clock: float | None = None  # of CPU cores: the mean
    memory_clock: float | None = None
    power: float | None = None

    def __str__(self) -> str:
        texts = [
            f"{self.temperature:.0f} °C" if self.temperature is not None else "temperature not shown by this system",
            f"{self.clock:,.0f} MHz" if self.clock is not None else "clock not shown by this system",
        ]
        return ", ".join([*texts, *([f"{self.power:.0f} W"] if self.power is not None else [])])

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def cpu(cores: Iterable[int], root: Path = Path("/")) -> Reading:
    """Read what Linux shows of the CPU and of these cores."""
    temperatures = [*hwmon(root), *thermal_zones(root)]
    clocks = frequencies(cores, root)
    return Reading(
        max(temperatures) if temperatures else None,
        sum(clocks) / len(clocks) if clocks else None,
    )


def hwmon(root: Path) -> list[float]:
    """Return the °C of the CPU's own sensors."""
    found = []
    for directory in root.glob("sys/class/hwmon/hwmon*"):
        if CPU_SENSORS.fullmatch(text_of(directory / "name")):
            found += numbers(directory.glob("temp*_input"), 1000)
    return found


def thermal_zones(root: Path) -> list[float]:
    zones = [path for path in root.glob("sys/class/thermal/thermal_zone*")]
    return numbers([zone / "temp" for zone in zones if CPU_SENSORS.fullmatch(text_of(zone / "type"))], 1000)


def frequencies(cores: Iterable[int], root: Path) -> list[float]:
    """Return the MHz of the cores, from cpufreq, else from /proc/cpuinfo."""
    wanted = set(cores)
    directory = root / "sys/devices/system/cpu"
    if found := numbers([directory / f"cpu{core}/cpufreq/scaling_cur_freq" for core in sorted(wanted)], 1000):
        return found
    blocks = re.findall(r"processor\s*:\s*(\d+)(.*?)(?:\n\n|\Z)", text_of(root / "proc/cpuinfo"), re.DOTALL)
    shown = [re.search(r"cpu MHz\s*:\s*([\d.]+)", block) for core, block in blocks if int(core) in wanted]
    return [float(match[1]) for match in shown if match]


def gpu(device: str) -> Reading:
    """Ask nvidia-smi about a GPU: "0", or its UUID. (A part of one, MIG-…, has no sensors of its own.)"""
    command = ["nvidia-smi", f"--id={device}", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return Reading()
    return gpu_reading(done.stdout) if done.returncode == 0 else Reading()


def gpu_reading(line: str) -> Reading:
    """Return what nvidia-smi prints: "61, 1980, 2619, 412.35"; "[N/A]" is None."""
    fields = [field.strip() for field in line.strip().split(",")]
    values = [float(field) if re.fullmatch(r"-?\d+(\.\d+)?", field) else None for field in fields]
    return Reading(*values) if len(values) == len(GPU_FIELDS) else Reading()


def text_of(path: Path) -> str:
    """Return the text of a file, or "" if it cannot be read."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def numbers(paths: Iterable[Path], divisor: float) -> list[float]:
    """Return the numbers in those files that have one."""
    texts: Sequence[str] = [text_of(path) for path in paths]
    return [float(text) / divisor for text in texts if re.fullmatch(r"-?\d+", text)]
