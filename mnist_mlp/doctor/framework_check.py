"""Try the frameworks, each in its own process with a time limit, since a framework may hang or abort."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from mnist_mlp.cli.child_process import Child
from mnist_mlp.devices import Plan
from mnist_mlp.devices.machine import Machine
from mnist_mlp.errors import UserError
from mnist_mlp.files.user_dirs import NOWHERE

SECONDS = 15  # time limit
MARK = "mnist_mlp.check "  # starts the line with the answer: frameworks may also print to standard output

# What the processes run. The matrix product is of small integers, which bfloat16 and TF32 represent exactly.
START = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]  # a file in the current directory is the doctor's to report
import json, os, signal, time
if hasattr(signal, "alarm"):
    signal.alarm({alarm})  # in case the parent was killed
began = time.perf_counter()
"""
TENSORFLOW = """
import tensorflow as tf
import keras
imported = time.perf_counter()
if {device!r} == "tpu":
    tf.distribute.cluster_resolver.TPUClusterResolver.connect("local")
def short(name):
    return name.split("device:")[-1]  # "GPU:0"
devices = tf.config.list_logical_devices()
names = {{}}
for gpu in tf.config.list_physical_devices("GPU"):
    names[short(gpu.name)] = tf.config.experimental.get_device_details(gpu).get("device_name", "")
listed = [[d.device_type.lower(), short(d.name), names.get(short(d.name), "")] for d in devices]
mine = [d.name for d in devices if d.device_type.lower() == {device!r}]
versions = {{"tensorflow": tf.__version__, "keras": keras.__version__}}
def product(a, b):
    with tf.device(mine[0]):
        found = tf.function(tf.matmul, jit_compile={xla!r})(tf.constant(a), tf.constant(b))
    return found.numpy(), [d for d in mine if short(d) == short(found.device)]
"""
JAX = """
import jax
import keras
imported = time.perf_counter()
devices = jax.devices()
listed = [[d.platform, "%s:%d" % (d.platform.upper(), d.id), d.device_kind] for d in devices]
mine = [d for d in devices if d.platform == {device!r}]
versions = {{"jax": jax.__version__, "jaxlib": sys.modules["jaxlib"].__version__, "keras": keras.__version__}}
def product(a, b):
    a, b = jax.device_put(a, mine[0]), jax.device_put(b, mine[0])
    found = jax.jit(jax.numpy.matmul)(a, b)
    return jax.device_get(found), [d for d in found.devices() if d in mine]
"""
END = """
import numpy as np
row, column = np.indices((64, 64))
a, b = (row * column) % 7 - 3, (row + 2 * column) % 5 - 2
right = on_device = False
if mine:
    found, devices = product(a.astype(np.float32), b.astype(np.float32))
    right, on_device = bool((found == a @ b).all()), bool(devices)
print({mark!r} + json.dumps({{
    "keras_backend": keras.backend.backend(), "versions": versions, "devices": listed, "right": right,
    "on_device": on_device, "modules": sorted({{name.partition(".")[0] for name in sys.modules}}),
    "seconds": {{"import": imported - began, "compute": time.perf_counter() - imported}},
}}), flush=True)
os._exit(0)  # an orderly shutdown of a framework takes time
"""
PROGRAMS = {"tensorflow": START + TENSORFLOW + END, "jax": START + JAX + END}


@dataclasses.dataclass(frozen=True)
class Question:
    """Whether a framework finds the devices of a plan and computes correctly on them."""

    backend: str  # "tensorflow" or "jax"
    device: str  # "cpu", "gpu" or "tpu"
    environment: Mapping[str, str]  # set before the framework is imported
    devices: int = 1  # number needed
    xla: bool = True
    tpu_attached: bool = False


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a framework answered. `error` is "" if all is well."""

    error: str
    device: str
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    devices: tuple[str, ...] = ()  # "GPU:0 NVIDIA L4"
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    printed: str = ""  # to standard error
    modules: tuple[str, ...] = ()  # all that it imports, without what belongs to packages


def questions(plans: Mapping[str, Plan | UserError], asked: str, machine: Machine) -> dict[str, Question]:
    """Return one question for each backend that a plan uses, about the requested strategy's plan or else the first one.

    Remote TPUs are not tried.
    """
    result: dict[str, Question] = {}
    for strategy in (asked, *plans):
        plan = plans[strategy]
        if isinstance(plan, UserError) or plan.tpu not in ("", "local") or plan.backend in result:
            continue
        count = (plan.replicas or 1) if plan.device != "cpu" else 1  # a CPU is split later
        xla = plan.xla and plan.device != "tpu"  # TPUStrategy compiles by itself
        result[plan.backend] = Question(
            plan.backend, plan.device, plan.environment, count, xla, bool(machine.tpu_chips)
        )
    return result


def ask(questions: Mapping[str, Question], seconds: float = SECONDS) -> dict[str, Answer]:
    """Try all frameworks at the same time, for `seconds`. No process is left afterwards, also after Ctrl-C."""
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        children = {name: stack.enter_context(start(question, seconds)) for name, question in questions.items()}
        return {name: answer(questions[name], child, deadline, seconds) for name, child in children.items()}


def start(question: Question, seconds: float) -> Child:
    program = PROGRAMS[question.backend].format(
        alarm=int(seconds) + 2, device=question.device, xla=question.xla, mark=MARK
    )
    return Child(["-c", program], environment(question))


def environment(question: Question) -> dict[str, str]:
    """Return the environment of the process that tries a framework."""
    variables = {**os.environ, **question.environment}
    variables["KERAS_HOME"] = str(NOWHERE)  # Keras leaves a file there
    variables.pop("TF_CONFIG", None)  # other workers are not tried
    variables["TF_CPP_MIN_LOG_LEVEL"] = "0"  # all messages of TensorFlow, to search for known failures
    variables["PYTHONIOENCODING"] = "utf-8"
    variables["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # do not allocate all GPU memory for one small product
    variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if not question.tpu_attached:
        variables["TPU_SKIP_MDS_QUERY"] = "1"  # libtpu asks Google Cloud's metadata server for minutes (jax#11668)
    return variables


def answer(question: Question, child: Child, deadline: float, seconds: float) -> Answer:
    """Wait for a process and read its answer."""
    late = False
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        late = True
        child.kill()
    printed = child.stderr
    for line in child.stdout.splitlines():
        if line.startswith(MARK):
            return judge(question, json.loads(line.removeprefix(MARK)), printed)
    if late:
        error = f"{question.backend} did not answer within {seconds:g} s{busy()}"
        if question.device == "tpu":
            error += ", which a TPU may need for its first start: train waits for --start_timeout seconds"
    else:
        error = f"{question.backend} {child.outcome}{'' if child.returncode else ' without an answer'}"
    return Answer(error, question.device, printed=printed)


def busy() -> str:
    """Return that the machine is busy, for the end of a message about what came too late; "" if it is not."""
    try:
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
    except (AttributeError, OSError):  # Windows has no load
        return ""
    return f" (the machine is busy: load {load:.0f} on {cores} cores; try again when it is quiet)" * (load > 2 * cores)


def judge(question: Question, reported: Mapping[str, Any], printed: str) -> Answer:
    """Compare what a framework reported with what is needed."""
    listed = reported["devices"]
    mine = [name for device, name, _ in listed if device == question.device]
    wanted = f"{question.devices} {question.device.upper()}{'s' if question.devices > 1 else ''}"
    if reported["keras_backend"] != question.backend:
        error = f"Keras runs on {reported['keras_backend']} instead of {question.backend}"
    elif len(mine) < question.devices:
        error = (
            f"{question.backend} finds {', '.join(name for _, name, _ in listed) or 'no device'} instead of {wanted}"
        )
    elif not reported["on_device"]:
        error = f"{question.backend} did not compute on the {question.device.upper()}"
    else:
        error = (
            "" if reported["right"] else f"{question.backend} computes wrong numbers on the {question.device.upper()}"
        )
    names = tuple(f"{name} {kind}" if kind and kind != device else name for device, name, kind in listed)
    modules = tuple(reported.get("modules", ()))
    return Answer(error, question.device, reported["versions"], names, reported["seconds"], printed, modules)
