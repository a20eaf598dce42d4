"""Detect devices, environment and installed software with the standard library alone: no framework is imported."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

TENSORFLOWS = (  # distributions that own the package `tensorflow`
    *("tensorflow", "tensorflow-cpu", "tensorflow-tpu"),
    *("tensorflow-rocm", "tensorflow-macos", "tf-nightly"),
)
JAX_CUDA = ("jax-cuda12-plugin", "jax-cuda13-plugin")
SOFTWARE = (*TENSORFLOWS, "keras", "jax", "jaxlib", "libtpu", *JAX_CUDA)

LAUNCHERS = (  # what `launchers` reads in the environment
    *("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_MCA_orte_hnp_uri"),
    "PMIX_NAMESPACE",
    *("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    *("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID"),
    *("MEGASCALE_COORDINATOR_ADDRESS", "MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID"),
)

GOOGLE = "0x1ae0"  # PCI vendor; Google's network cards have it as well
TPUS = {  # PCI device: generation, as in jax/_src/hardware_utils.py
    "0x0027": "v2 or v3",
    "0x005e": "v4",
    "0x0062": "v5p",
    "0x0063": "v5e",
    "0x006f": "v6e",
    "0x0076": "v7x",
}
# Where CUDA libraries may be, besides the wheels of tensorflow[and-cuda].
CUDA_DIRECTORIES = (
    "usr/lib/*-linux-gnu",
    "usr/lib64",
    "usr/local/lib",
    "usr/local/cuda*/lib64",
    "usr/local/nvidia/lib64",
)


@dataclasses.dataclass(frozen=True)
class Machine:
    """What the standard library can find out about a machine."""

    gpus: int = 0  # NVIDIA GPUs attached
    cuda_visible_devices: str | None = None  # the environment variable; None if unset
    cuda_libraries: bool = False  # cuDNN was found: TensorFlow loads it, and no driver includes it
    tpu_chips: int = 0
    tpu_kind: str = ""  # "v5e"
    tpu_holder: int | None = None  # the pid of another process that has the TPU open
    host: str = ""  # "colab", "kaggle" or ""
    colab_tpu_addr: str = ""  # set by the TPU nodes that Colab had until 2025
    tf_config: str = ""  # the environment variable TF_CONFIG
    launch: Mapping[str, str] = dataclasses.field(default_factory=dict)  # the environment variables of `launchers`
    installed: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of SOFTWARE: distribution to version
    libtpu: str = ""  # path of libtpu.so

    @property
    def tensorflows(self) -> list[str]:
        """The installed distributions of TensorFlow. Two or more overwrite each other."""
        return [name for name in TENSORFLOWS if name in self.installed]


def detect(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Machine:
    """Inspect the device files below `root`, the environment and the installed distributions."""
    chips = tpu_chips(root)
    if not chips and (environ.get("COLAB_TPU_1VM") == "1" or environ.get("ISTPUVM") == "1"):
        chips = [environ.get("TPU_ACCELERATOR_TYPE", "").partition("-")[0]]  # empty on a CPU runtime
    gpus = nvidia_gpus(root)
    installed = installed_software()
    return Machine(
        gpus=gpus,
        cuda_visible_devices=environ.get("CUDA_VISIBLE_DEVICES"),
        cuda_libraries=bool(gpus) and cuda_libraries(root, environ),
        tpu_chips=len(chips),
        tpu_kind=chips[0] if chips else "",
        tpu_holder=tpu_holder(root) if chips else None,
        host=host(environ),
        colab_tpu_addr=environ.get("COLAB_TPU_ADDR", ""),
        tf_config=environ.get("TF_CONFIG", ""),
        launch={name: environ[name] for name in LAUNCHERS if name in environ},
        installed=installed,
        libtpu=libtpu_file() if "libtpu" in installed else "",
    )


def host(environ: Mapping[str, str]) -> str:
    """ "colab", "kaggle" or ""."""
    if any(name in environ for name in ("COLAB_RELEASE_TAG", "COLAB_GPU", "COLAB_TPU_1VM", "COLAB_TPU_ADDR")):
        return "colab"
    return "kaggle" if any(name in environ for name in ("KAGGLE_KERNEL_RUN_TYPE", "ISTPUVM")) else ""


def nvidia_gpus(root: Path) -> int:
    """Return the number of NVIDIA GPUs, from the driver's own list if there is one."""
    listed = len(list(root.glob("proc/driver/nvidia/gpus/*")))
    nodes = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in root.glob("dev/nvidia*"))
    windows = int((root / "dev/dxg").exists() and (root / "usr/lib/wsl/lib/libcuda.so.1").exists())
    return listed or nodes or windows


def cuda_libraries(root: Path, environ: Mapping[str, str]) -> bool:
    """Return whether cuDNN is in a directory that the dynamic linker or TensorFlow searches."""
    patterns = [str(root / directory) for directory in CUDA_DIRECTORIES]
    patterns += [directory for directory in environ.get("LD_LIBRARY_PATH", "").split(":") if directory]
    patterns += [f"{prefix}/lib" for prefix in (sys.prefix, environ.get("CONDA_PREFIX")) if prefix]
    patterns += [f"{directory}/nvidia/cudnn/lib" for directory in sys.path if directory]
    return any(
        name.startswith("libcudnn.so") for pattern in patterns for folder in matching(pattern) for name in names(folder)
    )


def matching(pattern: str) -> Iterable[str]:
    import glob  # needed only where there is a GPU

    return glob.iglob(pattern)


def names(folder: str) -> list[str]:
    """Return the names in a directory, or [] if it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def tpu_chips(root: Path) -> list[str]:
    """Return the generation of each TPU chip on the PCI bus."""
    found = []
    for vendor in root.glob("sys/bus/pci/devices/*/vendor"):
        try:
            if vendor.read_text().strip() == GOOGLE:
                found.append(vendor.with_name("device").read_text().strip())
        except OSError:
            continue  # the device disappeared meanwhile
    return [TPUS[device] for device in found if device in TPUS]


def tpu_holder(root: Path) -> int | None:
    """Return the pid of another process that has a TPU open, since libtpu allows only one, or None."""
    held = re.compile(r"/dev/(accel\d+|vfio/\d+)|/tmp/libtpu_lockfile")
    for process in root.glob("proc/[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        for name in names(str(process / "fd")):
            try:
                target = os.readlink(process / "fd" / name)
            except OSError:
                continue
            if held.fullmatch(target):
                return int(process.name)
    return None


def installed_software(names: Iterable[str] = SOFTWARE) -> dict[str, str]:
    """Return the versions of those distributions that are installed, from their metadata."""
    from importlib import metadata  # 20 ms, which --help should not wait for

    found = {}
    for name in names:
        for distribution in metadata.distributions(name=name):
            found[name] = distribution.version
            break
    return found


def libtpu_file() -> str:
    """Return the path of libtpu.so, or "", without importing the package that contains it."""
    from importlib.util import find_spec

    spec = find_spec("libtpu")
    directories = (spec.submodule_search_locations if spec else None) or []
    files = [f"{directory}/libtpu.so" for directory in directories]
    return next(filter(os.path.exists, files), "")


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor and the number of cores that this process may use: "AMD EPYC, 2 cores"."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
    except OSError:
        found = None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{found[1].strip() if found else 'processor'}, {cores} core{'s' if cores != 1 else ''}"
