"""Choose the device of a run from the user's request and the machine, before any framework is imported.

An explicit request is met or refused with what was found and what to do; there is no silent fallback. "auto" takes the
best usable device and notes why a better one that is attached is not used.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from typing import Any

from mnist_mlp.devices.cluster import NONE, as_tf_config
from mnist_mlp.devices.cluster import cluster as cluster_of
from mnist_mlp.devices.frameworks import (
    NO_RELEASE,
    NOT_INSTALLED,
    jax_problem,
    tensorflow_problem,
    tpu_tensorflow_problem,
)
from mnist_mlp.devices.machine import Machine, detect
from mnist_mlp.errors import UserError


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asks for with flags."""

    strategy: str = "auto"
    backend: str = "auto"
    replicas: int | None = None
    tpu: str = ""  # address or name of a remote TPU; "local" is the one of this machine
    workers: str = ""  # host:port,host:port,…, or "none"
    worker_index: int | None = None

    @classmethod
    def of(cls, options: Any) -> Request:
        """Return the request in a program's options; options that it lacks keep their defaults."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: getattr(options, name) for name in names if hasattr(options, name)})


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to run on. `environment` must be set before the framework is imported: `cli.load_framework.load` does."""

    backend: str  # the Keras backend
    device: str  # "cpu", "gpu" or "tpu"
    requested: str  # the strategy that the user asked for
    environment: Mapping[str, str]
    replicas: int | None = 1  # on this machine; None means one on each device that the framework finds
    xla: bool = True  # whether the backend has its compiler
    tpu: str = ""  # for TensorFlow's resolver
    workers: tuple[str, ...] = ()  # host:port, the chief first; "" until the workers have met (see `acquainted`)
    cluster: str = ""  # where that is from: "--workers", "TF_CONFIG", "Slurm job 7, step 0"
    worker_index: int = 0
    notes: tuple[str, ...] = ()

    @property
    def strategy(self) -> str:
        """The strategy that the plan amounts to."""
        return "multiworker" if self.workers else self.device

    @property
    def chief(self) -> bool:
        """Whether this process writes files and reports."""
        return self.worker_index == 0


def plan(options: Any) -> Plan:
    """Return the plan for a program's options on this machine. Raises `UserError`."""
    return choose(Request.of(options), detect())


def choose(request: Request, machine: Machine) -> Plan:
    """Return the plan for a request on that machine. Raises `UserError` if it cannot be met."""
    if request.tpu and request.strategy not in ("auto", "tpu"):
        raise UserError(
            f"--tpu={request.tpu} cannot be combined with --strategy={request.strategy}; use --strategy=tpu"
        )
    if (request.workers not in ("", NONE) or request.worker_index is not None) and request.strategy != "multiworker":
        raise UserError("--workers and --worker_index need --strategy=multiworker; add it, or omit them")
    choosers = {
        "auto": on_best,
        "cpu": on_cpu,
        "gpu": on_gpu,
        "mirrored": on_gpu,
        "tpu": on_tpu,
        "multiworker": on_workers,
    }
    return choosers[request.strategy](request, machine)


def on_best(request: Request, machine: Machine) -> Plan:
    """Choose a TPU, else a GPU, else the CPU; notes say why an attached device is not used."""
    if request.tpu:
        return on_tpu(request, machine)
    notes: list[str] = []
    for count, chooser in ((machine.tpu_chips, on_tpu), (len(visible_gpus(machine)), on_gpu)):
        if count:
            try:
                chosen = chooser(request, machine)
                return dataclasses.replace(chosen, notes=(*notes, *chosen.notes))
            except UserError as error:
                what = "a TPU" if chooser is on_tpu else "a GPU"
                notes.append(f"{what} is attached but not used: {error}")
    chosen = on_cpu(request, machine)
    return dataclasses.replace(chosen, notes=(*notes, *chosen.notes))


def on_cpu(request: Request, machine: Machine) -> Plan:
    """Choose the CPU, as one device or split into `--replicas` logical ones."""
    backend = pick_backend(request, machine, "cpu", tensorflow_problem(machine), jax_problem(machine))
    replicas = request.replicas or 1
    return Plan(
        backend, "cpu", request.strategy, environment(backend, "cpu", machine), replicas, xla=has_xla(backend, machine)
    )


def on_gpu(request: Request, machine: Machine) -> Plan:
    """Choose one GPU, or `--replicas` of them; "mirrored" takes all that are visible."""
    flag, visible = prefix(request), visible_gpus(machine)
    if not machine.gpus:
        several = f" --replicas={request.replicas or 2}" if request.strategy == "mirrored" else ""
        raise UserError(f"{flag}expected an NVIDIA GPU and its driver, found none; use --strategy=cpu{several}")
    if not visible:
        raise UserError(
            f"{flag}CUDA_VISIBLE_DEVICES={machine.cuda_visible_devices!r} hides all {machine.gpus} GPUs; "
            "run unset CUDA_VISIBLE_DEVICES"
        )
    count = request.replicas or (len(visible) if request.strategy == "mirrored" else 1)
    if count > len(visible):
        raise UserError(
            f"--replicas={count}: expected at most the {len(visible)} visible GPUs; use --replicas={len(visible)}"
        )
    backend = pick_backend(
        request, machine, "gpu", tensorflow_problem(machine, cuda=True), jax_problem(machine, "cuda")
    )
    notes: tuple[str, ...] = ()
    if count < len(visible) and request.replicas is None:
        notes = (f"{len(visible)} GPUs are visible, only one of them is used; --strategy=mirrored uses all",)
    environment_ = environment(backend, "gpu", machine) | {"CUDA_VISIBLE_DEVICES": ",".join(visible[:count])}
    return Plan(backend, "gpu", request.strategy, environment_, count, notes=notes)


def on_tpu(request: Request, machine: Machine) -> Plan:
    """Choose a remote TPU by its address, else that of this machine; a TPU build of TensorFlow comes before JAX."""
    if request.tpu and request.tpu != "local":
        if request.backend == "jax":
            raise UserError(f"--tpu={request.tpu}: only TensorFlow can use a remote TPU; use --backend=tensorflow")
        if problem := tensorflow_problem(machine):
            raise UserError(problem)
        return Plan(
            "tensorflow",
            "tpu",
            request.strategy,
            environment("tensorflow", "cpu", machine),
            request.replicas,
            tpu=request.tpu,
        )
    if not machine.tpu_chips:
        raise UserError(f"{prefix(request)}{no_tpu(machine)}")
    from mnist_mlp.devices import launchers  # not needed without a TPU

    launch = launchers.tpu_slice(machine.launch) if request.workers != NONE else None
    if launch:  # whose chips start only together: JAX would wait for the other hosts
        raise UserError(
            f"{prefix(request)}this is host {launch.index} of {launch.count} of a {launch.name}; use "
            "--strategy=multiworker on each of them, or --workers=none if this host is alone"
        )
    if machine.tpu_holder:
        remedy = "choose Runtime → Restart session" if machine.host == "colab" else f"run kill {machine.tpu_holder}"
        raise UserError(
            f"{prefix(request)}process {machine.tpu_holder} is using the TPU, which serves one process at a time; "
            f"{remedy}"
        )
    backend = pick_backend(request, machine, "tpu", tpu_tensorflow_problem(machine), jax_problem(machine, "tpu"))
    return Plan(backend, "tpu", request.strategy, environment(backend, "tpu", machine), request.replicas, tpu="local")


def no_tpu(machine: Machine) -> str:
    """Return what to do where no TPU chip is attached."""
    if machine.colab_tpu_addr:
        return f"no TPU chip is attached; COLAB_TPU_ADDR names a remote TPU; use --tpu=grpc://{machine.colab_tpu_addr}"
    remedy = {
        "colab": "choose Runtime → Change runtime type → TPU",
        "kaggle": "choose Settings → Accelerator → TPU",
        "": "use --strategy=cpu",
    }[machine.host]
    return f"no TPU is attached to this machine; {remedy}"


def on_workers(request: Request, machine: Machine) -> Plan:
    """Choose several processes, each on its TPU (with JAX), all visible GPUs, or its CPU."""
    if request.replicas is not None:
        raise UserError(
            "--replicas cannot be combined with --strategy=multiworker, where each worker decides for itself; omit it"
        )
    cluster = cluster_of(request.workers, request.worker_index, machine.tf_config, machine.launch)
    if machine.tpu_chips and request.backend != "tensorflow" and not jax_problem(machine, "tpu"):
        backend, device = "jax", "tpu"
    else:
        device = "gpu" if visible_gpus(machine) else "cpu"
        cuda = device == "gpu"
        problems = (tensorflow_problem(machine, cuda=cuda), jax_problem(machine, "cuda" if cuda else ""))
        backend = pick_backend(request, machine, device, *problems)
    if backend == "jax" and machine.host:
        # Their environment looks like that of a cluster: jax.distributed searches for it for minutes (jax#40854).
        raise UserError(
            f"--strategy=multiworker: JAX cannot form a cluster on {machine.host.capitalize()}; use --strategy=auto"
        )
    return with_workers(
        Plan(
            backend,
            device,
            request.strategy,
            environment(backend, device, machine),
            replicas=1 if device == "cpu" else None,
            xla=has_xla(backend, machine),
            worker_index=cluster.index,
            cluster=cluster.source,
        ),
        cluster.workers,
    )


def with_workers(plan: Plan, workers: tuple[str, ...]) -> Plan:
    """Return the plan for these workers, whose addresses TensorFlow reads in TF_CONFIG."""
    variables = dict(plan.environment)
    if plan.backend == "tensorflow" and all(workers):
        variables["TF_CONFIG"] = as_tf_config(workers, plan.worker_index)
    return dataclasses.replace(plan, workers=workers, environment=variables)


def acquainted(plan: Plan, timeout: float) -> Plan:
    """Return the plan with the addresses of all workers, which first meet at the chief's if a launcher knew no other.

    Prints what the cluster was taken for. Raises `UserError` if a worker is not there after `timeout` seconds.
    """
    if not plan.workers or plan.cluster == "--workers":
        return plan
    from mnist_mlp.devices import rendezvous  # not needed by one process

    what = f"worker {plan.worker_index} of {len(plan.workers)}, the chief at {plan.workers[0]}"
    if_wrong = "if that is wrong, use --workers=HOST:PORT,HOST:PORT, or none"
    print(f"{plan.cluster}: {what}; {if_wrong}", file=sys.stderr, flush=True)
    if all(plan.workers):
        return plan
    return with_workers(plan, rendezvous.introduce(plan.workers[0], len(plan.workers), plan.worker_index, timeout))


def pick_backend(request: Request, machine: Machine, device: str, tensorflow: str, jax: str) -> str:
    """Return the requested or first usable backend. `tensorflow` and `jax` are their problems, "" for none.

    Raises `UserError` if there is none.
    """
    problems = {"tensorflow": tensorflow, "jax": jax}
    for backend in problems if request.backend == "auto" else [request.backend]:
        if not problems[backend]:
            return backend
    flag = prefix(request)
    if request.backend != "auto":
        raise UserError(f"{flag}{problems[request.backend]}")
    # Give one remedy: for what is installed; if nothing is, for TensorFlow, but on a TPU for JAX, which needs least.
    if device == "tpu":
        jax_first = "tensorflow-tpu" not in machine.installed
    else:
        jax_first = NOT_INSTALLED in tensorflow and (NO_RELEASE in tensorflow or NOT_INSTALLED not in jax)
    other, first = (tensorflow, jax) if jax_first else (jax, tensorflow)
    raise UserError(f"{flag}{other.partition('; ')[0]}, and {first}")


def prefix(request: Request) -> str:
    """Return the flag that a refusal is about."""
    return "" if request.strategy == "auto" else f"--strategy={request.strategy}: "


def has_xla(backend: str, machine: Machine) -> bool:
    """Return whether the backend has XLA: tensorflow-tpu has none for CPUs (tensorflow#88960)."""
    return backend == "jax" or "tensorflow-tpu" not in machine.installed


def environment(backend: str, device: str, machine: Machine) -> dict[str, str]:
    """Return the environment variables to set before the framework is imported."""
    variables = {"KERAS_BACKEND": backend}
    if backend == "jax":
        # JAX raises if a named platform does not start: there is no silent fallback.
        return variables | {"JAX_PLATFORMS": {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}[device]}
    if device == "cpu":
        # -1 hides the GPUs, so that everything runs on the CPU and no GPU memory is allocated.
        variables |= {"CUDA_VISIBLE_DEVICES": "-1"}
        # tensorflow-tpu asks the metadata service for a TPU, for minutes where there is none.
        return variables | ({"TPU_SKIP_MDS_QUERY": "1"} if "tensorflow-tpu" in machine.installed else {})
    if device == "tpu":  # the recipe of Keras' SparseCore tutorial (2025-09)
        return variables | {
            "PJRT_DEVICE": "TPU",
            "NEXT_PLUGGABLE_DEVICE_USE_C_API": "true",
            "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": machine.libtpu,
            "TF_XLA_FLAGS": "--tf_mlir_enable_mlir_bridge=true "
            "--tf_mlir_enable_convert_control_to_data_outputs_pass=true "
            "--tf_mlir_enable_merge_control_flow_pass=true",
        }
    return variables


def visible_gpus(machine: Machine) -> list[str]:
    """Return the GPUs that CUDA will show, in its order: CUDA stops at the first invalid name."""
    if machine.cuda_visible_devices is None:
        return [str(index) for index in range(machine.gpus)]
    visible: list[str] = []
    for name in machine.cuda_visible_devices.split(",") if machine.gpus else []:
        name = name.strip()
        by_index = re.fullmatch(r"[0-9]{1,4}", name) and int(name) < machine.gpus
        if not by_index and not name.startswith(("GPU-", "MIG-")):
            break
        visible.append(name)
    return visible
