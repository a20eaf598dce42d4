"""Whether the installed frameworks can use a device.

Each function returns "" or the problem as "what is wrong; what to do".
"""

from __future__ import annotations

import re
import sys

from mnist_mlp.devices.machine import JAX_CUDA, Machine

NOT_INSTALLED = "is not installed"
NO_TENSORFLOW = f"TensorFlow {NOT_INSTALLED}"
NO_RELEASE = "it has no release"
OLDEST = {"TensorFlow": (2, 18), "JAX": (0, 6), "Keras": (3, 10)}
TPU_PAIRS = {"2.19.1": "0.0.10"}  # tensorflow-tpu: the libtpu that it works with
TENSORFLOW_ENDS = (3, 14)  # the first Python that TensorFlow has no wheel for, but for a release candidate
CUDA_EXTRA = "cuda13" if sys.version_info >= (3, 11) else "cuda12"  # of JAX, whose last version for 3.10 has no other
TPU_ENVIRONMENT = (  # separate: JAX needs another libtpu, and this package depends on plain TensorFlow
    "python3.12 -m venv tpu && tpu/bin/pip install tensorflow-tpu==2.19.1 'keras>=3.10' tensorflow-datasets "
    "importlib_resources absl-py pillow, then use tpu/bin/python"
)


def tensorflow_problem(machine: Machine, *, cuda: bool = False) -> str:
    """Return why TensorFlow cannot be used (on a GPU, if `cuda`)."""
    wheels = machine.tensorflows
    remedy = f"pip install 'tensorflow{'[and-cuda]' if cuda else ''}>=2.18'"
    if not wheels and sys.version_info >= TENSORFLOW_ENDS:
        version = ".".join(map(str, sys.version_info[:2]))
        return f"{NO_TENSORFLOW} ({NO_RELEASE} for Python {version}); use --backend=jax, or Python 3.10 to 3.13"
    if "tensorflow-tpu" in wheels and len(wheels) > 1:
        return overwritten(wheels, "pip install 'tensorflow>=2.18'")
    problem = version_problem(machine, "TensorFlow", wheels[0] if wheels else "tensorflow", remedy)
    if problem or not cuda:
        return problem
    if wheels[0] in ("tensorflow-cpu", "tensorflow-tpu"):
        return f"{wheels[0]} is built without CUDA; run pip uninstall -y {wheels[0]}, then {remedy}"
    return "" if machine.cuda_libraries else f"the CUDA libraries of TensorFlow are not installed; run {remedy}"


def tpu_tensorflow_problem(machine: Machine) -> str:
    """Return why TensorFlow cannot use the TPU of this machine."""
    wheels, version = machine.tensorflows, machine.installed.get("tensorflow-tpu", "")
    if version and len(wheels) > 1:
        return overwritten(wheels, "pip install tensorflow-tpu==2.19.1")
    if not version:
        what = f"{wheels[0]} {machine.installed[wheels[0]]} is built without TPU support" if wheels else NO_TENSORFLOW
        return f"{what}; run {TPU_ENVIRONMENT}"
    libtpu, fitting = machine.installed.get("libtpu", ""), TPU_PAIRS.get(version, "")
    if not libtpu or (fitting and libtpu != fitting):
        needed, installed = f"libtpu {fitting}".rstrip(), libtpu or "none"
        remedy = f"libtpu=={fitting}" if fitting else f"tensorflow-tpu=={version}"  # which brings its own
        return f"tensorflow-tpu {version} needs {needed}, found {installed}; run pip install {remedy}"
    if not machine.libtpu:
        remedy = f"pip install --force-reinstall libtpu=={libtpu}"
        return f"libtpu {libtpu} is installed without its file libtpu.so; run {remedy}"
    return version_problem(machine, "TensorFlow", "tensorflow-tpu", TPU_ENVIRONMENT)


def jax_problem(machine: Machine, extra: str = "") -> str:
    """Return why JAX cannot be used, on the CPU or, with the extra "cuda" or "tpu", on that device."""
    wanted = CUDA_EXTRA if extra == "cuda" else extra
    remedy = f"pip install -U 'jax[{wanted}]'" if extra else "pip install -U jax"
    problem = version_problem(machine, "JAX", "jax", remedy) or version_problem(machine, "JAX", "jaxlib", remedy)
    if problem:
        return problem
    if extra == "cuda" and not any(name in machine.installed for name in JAX_CUDA):
        return f"JAX {machine.installed['jax']} is installed without CUDA; run {remedy}"
    if extra == "tpu" and "libtpu" not in machine.installed:
        return f"JAX {machine.installed['jax']} is installed without libtpu; run {remedy}"
    theirs = TPU_PAIRS.get(machine.installed.get("tensorflow-tpu", ""))
    if extra == "tpu" and machine.installed["libtpu"] == theirs:  # jax#29989
        return f"libtpu {theirs} belongs to tensorflow-tpu, JAX needs another version; run {remedy}"
    return ""


def overwritten(wheels: list[str], remedy: str) -> str:
    """Return the problem of several wheels that install the same package."""
    return (
        f"{' and '.join(wheels)} are both installed and overwrite each other; "
        f"run pip uninstall -y {' '.join(wheels)}, then {remedy}"
    )


def version_problem(machine: Machine, name: str, distribution: str, remedy: str) -> str:
    """Return what is wrong with the installed version of a framework, or of Keras above it."""
    needed = ((name, distribution, remedy), ("Keras", "keras", "pip install -U keras"))
    for package, wheel, command in needed:
        version, (major, minor) = machine.installed.get(wheel, ""), OLDEST[package]
        if not version:
            return f"{package} {NOT_INSTALLED}; run {command}"
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < (major, minor):
            return f"expected {package} {major}.{minor} or newer, found {version}; run {command}"
    return ""
