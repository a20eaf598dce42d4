"""Asks the frameworks themselves, each in a process of its own under a time limit: a framework may hang or abort."""

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

SECONDS = 15  # after which a framework is taken to hang
MARK = "mnist_mlp.probe "  # begins the line of the answer: frameworks may print to standard output as well

# What the processes run. The product is of small whole numbers, which every precision (bfloat16, TF32) has exactly.
START = """
import json, os, signal, sys, time
if hasattr(signal, "alarm"):
    signal.alarm({alarm})  # the end, should the parent have ended without a word
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
    found, place = product(a.astype(np.float32), b.astype(np.float32))
    right, on_device = bool((found == a @ b).all()), bool(place)
print({mark!r} + json.dumps({{
    "keras_backend": keras.backend.backend(), "versions": versions, "devices": listed, "right": right,
    "on_device": on_device,
    "seconds": {{"import": imported - began, "compute": time.perf_counter() - imported}},
}}), flush=True)
os._exit(0)  # taking a framework apart in an orderly way costs time
"""
PROGRAMS = {"tensorflow": START + TENSORFLOW + END, "jax": START + JAX + END}


@dataclasses.dataclass(frozen=True)
class Question:
    """What to ask a framework: whether it has so many devices of that kind, and computes rightly on them."""

    backend: str  # "tensorflow" or "jax"
    device: str  # "cpu", "gpu" or "tpu"
    environment: Mapping[str, str]  # set before the framework is imported
    devices: int = 1  # how many are needed
    xla: bool = True
    tpu_attached: bool = False


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a framework answered. `error` is "" if it does what was asked."""

    error: str
    device: str
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    devices: tuple[str, ...] = ()  # "GPU:0 NVIDIA L4"
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    printed: str = ""  # on standard error, chatter and all


def questions(plans: Mapping[str, Plan | UserError], asked: str, seen: Machine) -> dict[str, Question]:
    """One for each backend that a plan takes, for the plan of the strategy `asked` for or else for the first one.

    A TPU elsewhere is not asked.
    """
    found: dict[str, Question] = {}
    for strategy in (asked, *plans):
        plan = plans[strategy]
        if isinstance(plan, UserError) or plan.tpu not in ("", "local") or plan.backend in found:
            continue
        count = (plan.replicas or 1) if plan.device != "cpu" else 1  # the parts of a CPU come about later
        xla = plan.xla and plan.device != "tpu"  # which TensorFlow's strategy for TPUs calls itself
        found[plan.backend] = Question(plan.backend, plan.device, plan.environment, count, xla, bool(seen.tpu_chips))
    return found


def ask(questions: Mapping[str, Question], seconds: float = SECONDS) -> dict[str, Answer]:
    """Ask all frameworks at the same time; each answers within `seconds`, or its answer says that it did not.

    Whatever happens (Ctrl-C, too), no process is left.
    """
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
    """The environment of the process that asks."""
    found = {**os.environ, **question.environment}
    found.pop("TF_CONFIG", None)  # the other workers are not asked
    found["TF_CPP_MIN_LOG_LEVEL"] = "0"  # all that TensorFlow says, for the known failures
    found["PYTHONIOENCODING"] = "utf-8"
    found["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # not all of a GPU's memory for one small product
    found["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if not question.tpu_attached:
        found["TPU_SKIP_MDS_QUERY"] = "1"  # libtpu asks Google Cloud's metadata server for minutes (jax#11668)
    return found


def answer(question: Question, child: Child, deadline: float, seconds: float) -> Answer:
    """Waits for a process and reads what it says."""
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
        error = f"{question.backend} did not answer within {seconds:g} s"
        if question.device == "tpu":
            error += ", which a TPU may need at its first start: train waits --start_timeout seconds"
    else:
        error = f"{question.backend} {child.outcome}{'' if child.returncode else ' without an answer'}"
    return Answer(error, question.device, printed=printed)


def judge(question: Question, told: Mapping[str, Any], printed: str) -> Answer:
    """Holds what a framework told against what was asked of it."""
    listed = told["devices"]
    mine = [name for device, name, _ in listed if device == question.device]
    wanted = f"{question.devices} {question.device.upper()}{'s' if question.devices > 1 else ''}"
    if told["keras_backend"] != question.backend:
        error = f"expected Keras on {question.backend}, it runs on {told['keras_backend']}"
    elif len(mine) < question.devices:
        error = f"{question.backend}: expected {wanted}, it lists {', '.join(name for _, name, _ in listed) or 'none'}"
    elif not told["on_device"]:
        error = f"{question.backend} did not compute on the {question.device.upper()}"
    else:
        error = "" if told["right"] else f"{question.backend} computes wrong numbers on the {question.device.upper()}"
    names = tuple(f"{name} {kind}" if kind and kind != device else name for device, name, kind in listed)
    return Answer(error, question.device, told["versions"], names, told["seconds"], printed)
