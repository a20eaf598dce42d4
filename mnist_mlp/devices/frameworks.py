"""Which installed framework can be used on what: a problem comes with the command that mends it, "" is none."""

from __future__ import annotations

import re

from mnist_mlp.devices.machine import JAX_CUDA, Machine

NOT_INSTALLED = "is not installed"
OLDEST = {"TensorFlow": (2, 18), "JAX": (0, 6), "Keras": (3, 10)}
TPU_PAIRS = {"2.19.1": "0.0.10"}  # tensorflow-tpu → the libtpu that it works with
TPU_ENVIRONMENT = (  # apart, since JAX needs another libtpu, and our own package asks for plain TensorFlow
    "python3.12 -m venv tpu && tpu/bin/pip install tensorflow-tpu==2.19.1 'keras>=3.10' tensorflow-datasets "
    "importlib_resources absl-py pillow, then use tpu/bin/python"
)


def tensorflow_problem(seen: Machine, *, cuda: bool = False) -> str:
    """Why TensorFlow cannot be used (on a GPU, if `cuda`)."""
    wheels = seen.tensorflows
    remedy = f"pip install 'tensorflow{'[and-cuda]' if cuda else ''}>=2.18'"
    if "tensorflow-tpu" in wheels and len(wheels) > 1:
        return overwritten(wheels, "pip install 'tensorflow>=2.18'")
    problem = version_problem(seen, "TensorFlow", wheels[0] if wheels else "tensorflow", remedy)
    if problem or not cuda:
        return problem
    if wheels[0] in ("tensorflow-cpu", "tensorflow-tpu"):
        return f"{wheels[0]} is built without CUDA; type pip uninstall -y {wheels[0]}, then {remedy}"
    return "" if seen.cuda_libraries else f"the CUDA libraries of TensorFlow are not installed; type {remedy}"


def tpu_tensorflow_problem(seen: Machine) -> str:
    """Why TensorFlow cannot use the TPU of this machine."""
    wheels, version = seen.tensorflows, seen.installed.get("tensorflow-tpu", "")
    if version and len(wheels) > 1:
        return overwritten(wheels, "pip install tensorflow-tpu==2.19.1")
    if not version:
        what = f"{wheels[0]} {seen.installed[wheels[0]]} is built without TPUs" if wheels else "it is not installed"
        return f"TensorFlow: {what}; type {TPU_ENVIRONMENT}"
    libtpu, fitting = seen.installed.get("libtpu", ""), TPU_PAIRS.get(version, "")
    if not libtpu or (fitting and libtpu != fitting):
        needed, found = f"libtpu {fitting}".rstrip(), libtpu or "none"
        remedy = f"libtpu=={fitting}" if fitting else f"tensorflow-tpu=={version}"  # which brings its own
        return f"tensorflow-tpu {version} needs {needed}, found {found}; type pip install {remedy}"
    if not seen.libtpu:
        remedy = f"pip install --force-reinstall libtpu=={libtpu}"
        return f"libtpu {libtpu} is installed without its file libtpu.so; type {remedy}"
    return version_problem(seen, "TensorFlow", "tensorflow-tpu", TPU_ENVIRONMENT)


def jax_problem(seen: Machine, extra: str = "") -> str:
    """Why JAX cannot be used: on the CPU, or with an `extra`, "cuda12" or "tpu", on that device."""
    remedy = f"pip install -U 'jax[{extra}]'" if extra else "pip install -U jax"
    problem = version_problem(seen, "JAX", "jax", remedy) or version_problem(seen, "JAX", "jaxlib", remedy)
    if problem:
        return problem
    if extra == "cuda12" and not any(name in seen.installed for name in JAX_CUDA):
        return f"JAX {seen.installed['jax']} is installed without CUDA; type {remedy}"
    if extra == "tpu" and "libtpu" not in seen.installed:
        return f"JAX {seen.installed['jax']} is installed without libtpu; type {remedy}"
    tensorflows = TPU_PAIRS.get(seen.installed.get("tensorflow-tpu", ""))
    if extra == "tpu" and seen.installed["libtpu"] == tensorflows:  # jax#29989
        return f"libtpu {tensorflows} is that of tensorflow-tpu, JAX needs another; type {remedy}"
    return ""


def overwritten(wheels: list[str], remedy: str) -> str:
    return (
        f"{' and '.join(wheels)} are both installed and overwrite each other; "
        f"type pip uninstall -y {' '.join(wheels)}, then {remedy}"
    )


def version_problem(seen: Machine, name: str, distribution: str, remedy: str) -> str:
    """Why the installed version of a framework, or of Keras above it, does not do."""
    needed = ((name, distribution, remedy), ("Keras", "keras", "pip install -U keras"))
    for package, wheel, command in needed:
        version, (major, minor) = seen.installed.get(wheel, ""), OLDEST[package]
        if not version:
            return f"{package} {NOT_INSTALLED}; type {command}"
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < (major, minor):
            return f"expected {package} {major}.{minor} or newer, found {version}; type {command}"
    return ""
