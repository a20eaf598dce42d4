"""Which device a run takes: `choose` decides by what was asked for and what was seen, before any framework is imported.

An explicit request is met or refused, with what was seen and what to type; it never falls back to another device.
"auto" takes the best device that can be used, and says why not a better one that is there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from mnist_mlp.devices import cluster as workers
from mnist_mlp.devices.frameworks import NOT_INSTALLED, jax_problem, tensorflow_problem, tpu_tensorflow_problem
from mnist_mlp.devices.machine import Machine, detect
from mnist_mlp.errors import UserError


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked for, in flags."""

    strategy: str = "auto"
    backend: str = "auto"
    replicas: int | None = None
    tpu: str = ""  # address or name of a TPU elsewhere; "local" is the one of this machine
    workers: str = ""  # host:port,host:port,…
    worker_index: int | None = None

    @classmethod
    def of(cls, options: Any) -> Request:
        """What the options of a program ask for; those that it does not have are not asked for."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: getattr(options, name) for name in names if hasattr(options, name)})


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to run on. `environment` must be set before the framework is imported."""

    backend: str  # the Keras backend
    device: str  # "cpu", "gpu" or "tpu"
    requested: str  # what the user asked for
    environment: Mapping[str, str]
    replicas: int | None = 1  # on this machine; None: one on each device that the framework finds
    xla: bool = True  # whether its compiler is there
    tpu: str = ""  # for TensorFlow's resolver
    workers: tuple[str, ...] = ()
    worker_index: int = 0
    notes: tuple[str, ...] = ()

    @property
    def strategy(self) -> str:
        """What the plan is called among the strategies."""
        return "multiworker" if self.workers else self.device

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.worker_index == 0


def plan(options: Any) -> Plan:
    """The plan for the options of a program on this machine. Raises `UserError`."""
    return choose(Request.of(options), detect())


def choose(request: Request, seen: Machine) -> Plan:
    """The plan for a request on that machine. Raises `UserError` where it cannot be met."""
    if request.tpu and request.strategy not in ("auto", "tpu"):
        raise UserError(f"--tpu={request.tpu} does not go with --strategy={request.strategy}; type --strategy=tpu")
    if (request.workers or request.worker_index is not None) and request.strategy != "multiworker":
        raise UserError("--workers and --worker_index go with --strategy=multiworker; type it, or leave them out")
    choosers = {
        "auto": on_best,
        "cpu": on_cpu,
        "gpu": on_gpu,
        "mirrored": on_gpu,
        "tpu": on_tpu,
        "multiworker": on_workers,
    }
    return choosers[request.strategy](request, seen)


def on_best(request: Request, seen: Machine) -> Plan:
    """A TPU, else a GPU, else the CPU; notes say what is attached and why it is not used."""
    if request.tpu:
        return on_tpu(request, seen)
    notes: list[str] = []
    for attached, chooser in ((seen.tpu_chips, on_tpu), (len(visible_gpus(seen)), on_gpu)):
        if attached:
            try:
                chosen = chooser(request, seen)
                return dataclasses.replace(chosen, notes=(*notes, *chosen.notes))
            except UserError as error:
                what = "a TPU" if chooser is on_tpu else "a GPU"
                notes.append(f"{what} is attached but not used: {error}")
    chosen = on_cpu(request, seen)
    return dataclasses.replace(chosen, notes=(*notes, *chosen.notes))


def on_cpu(request: Request, seen: Machine) -> Plan:
    """The CPU, as one device or split into `--replicas` logical ones."""
    backend = pick_backend(request, seen, "cpu", tensorflow_problem(seen), jax_problem(seen))
    replicas = request.replicas or 1
    return Plan(
        backend, "cpu", request.strategy, environment(backend, "cpu", seen), replicas, xla=has_xla(backend, seen)
    )


def on_gpu(request: Request, seen: Machine) -> Plan:
    """One GPU, or as many as `--replicas` says; "mirrored" takes all that are visible."""
    flag, visible = prefix(request), visible_gpus(seen)
    if not seen.gpus:
        several = f" --replicas={request.replicas or 2}" if request.strategy == "mirrored" else ""
        raise UserError(f"{flag}expected an NVIDIA GPU and its driver, saw none; type --strategy=cpu{several}")
    if not visible:
        raise UserError(
            f"{flag}CUDA_VISIBLE_DEVICES={seen.cuda_visible_devices!r} hides all {seen.gpus} GPUs; "
            "type unset CUDA_VISIBLE_DEVICES"
        )
    count = request.replicas or (len(visible) if request.strategy == "mirrored" else 1)
    if count > len(visible):
        raise UserError(
            f"--replicas={count}: expected at most the {len(visible)} visible GPUs; type --replicas={len(visible)}"
        )
    backend = pick_backend(request, seen, "gpu", tensorflow_problem(seen, cuda=True), jax_problem(seen, "cuda12"))
    notes: tuple[str, ...] = ()
    if count < len(visible) and request.replicas is None:
        notes = (f"{len(visible)} GPUs are visible, one of them is used; --strategy=mirrored takes them all",)
    environment_ = environment(backend, "gpu", seen) | {"CUDA_VISIBLE_DEVICES": ",".join(visible[:count])}
    return Plan(backend, "gpu", request.strategy, environment_, count, notes=notes)


def on_tpu(request: Request, seen: Machine) -> Plan:
    """A TPU elsewhere by its address, else the one of this machine: with TensorFlow's TPU build if there is one."""
    if request.tpu and request.tpu != "local":
        if request.backend == "jax":
            raise UserError(f"--tpu={request.tpu}: only TensorFlow reaches a TPU elsewhere; type --backend=tensorflow")
        if problem := tensorflow_problem(seen):
            raise UserError(problem)
        return Plan(
            "tensorflow",
            "tpu",
            request.strategy,
            environment("tensorflow", "cpu", seen),
            request.replicas,
            tpu=request.tpu,
        )
    if not seen.tpu_chips:
        raise UserError(f"{prefix(request)}{no_tpu(seen)}")
    if seen.tpu_holder:
        remedy = "choose Runtime → Restart session" if seen.host == "colab" else f"type kill {seen.tpu_holder}"
        raise UserError(f"{prefix(request)}process {seen.tpu_holder} holds the TPU, which serves one; {remedy}")
    backend = pick_backend(request, seen, "tpu", tpu_tensorflow_problem(seen), jax_problem(seen, "tpu"))
    return Plan(backend, "tpu", request.strategy, environment(backend, "tpu", seen), request.replicas, tpu="local")


def no_tpu(seen: Machine) -> str:
    """What to do where no TPU chip is attached."""
    if seen.colab_tpu_addr:
        return (
            f"no chip is attached; COLAB_TPU_ADDR names a TPU on the network; type --tpu=grpc://{seen.colab_tpu_addr}"
        )
    remedy = {
        "colab": "choose Runtime → Change runtime type → TPU",
        "kaggle": "choose Settings → Accelerator → TPU",
        "": "type --strategy=cpu",
    }[seen.host]
    return f"expected a TPU, none is attached to this machine; {remedy}"


def on_workers(request: Request, seen: Machine) -> Plan:
    """Several processes, each with its TPU (on JAX) or all GPUs that it sees, else with its CPU."""
    if request.replicas is not None:
        raise UserError("--replicas does not go with --strategy=multiworker: each worker is one; leave it out")
    cluster = workers.cluster(request.workers, request.worker_index, seen.tf_config)
    if seen.tpu_chips and request.backend != "tensorflow" and not jax_problem(seen, "tpu"):
        backend, device = "jax", "tpu"
    else:
        device = "gpu" if visible_gpus(seen) else "cpu"
        cuda = device == "gpu"
        problems = (tensorflow_problem(seen, cuda=cuda), jax_problem(seen, "cuda12" if cuda else ""))
        backend = pick_backend(request, seen, device, *problems)
    if backend == "jax" and seen.host:
        # Their variables look like a cluster's, which jax.distributed then searches for minutes (jax#40854).
        raise UserError(
            f"--strategy=multiworker: JAX must not look for other machines on {seen.host.capitalize()}; "
            "type --strategy=auto"
        )
    set_before = environment(backend, device, seen)
    if backend == "tensorflow":
        set_before["TF_CONFIG"] = cluster.tf_config()
    replicas = 1 if device == "cpu" else None
    return Plan(
        backend,
        device,
        request.strategy,
        set_before,
        replicas,
        xla=has_xla(backend, seen),
        workers=cluster.workers,
        worker_index=cluster.index,
    )


def pick_backend(request: Request, seen: Machine, device: str, tensorflow: str, jax: str) -> str:
    """The backend asked for, or the first that can be used; each problem is "" or what to say. Raises `UserError`."""
    problems = {"tensorflow": tensorflow, "jax": jax}
    for backend in problems if request.backend == "auto" else [request.backend]:
        if not problems[backend]:
            return backend
    flag = prefix(request)
    if request.backend != "auto":
        raise UserError(f"{flag}{problems[request.backend]}")
    # One remedy: what is there is mended; where nothing is, TensorFlow, but on a TPU JAX, which needs the least.
    if device == "tpu":
        jax_first = "tensorflow-tpu" not in seen.installed
    else:
        jax_first = NOT_INSTALLED in tensorflow and NOT_INSTALLED not in jax
    other, told = (tensorflow, jax) if jax_first else (jax, tensorflow)
    raise UserError(f"{flag}{other.partition('; ')[0]}, and {told}")


def prefix(request: Request) -> str:
    """The flag that a refusal is about."""
    return "" if request.strategy == "auto" else f"--strategy={request.strategy}: "


def has_xla(backend: str, seen: Machine) -> bool:
    """Whether the backend has its compiler: tensorflow-tpu has none for a CPU (tensorflow#88960)."""
    return backend == "jax" or "tensorflow-tpu" not in seen.installed


def environment(backend: str, device: str, seen: Machine) -> dict[str, str]:
    """What must stand in the environment before the framework is imported."""
    found = {"KERAS_BACKEND": backend}
    if backend == "jax":
        # Named platforms must come up, or JAX raises: it takes no other in silence.
        return found | {"JAX_PLATFORMS": {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}[device]}
    if device == "cpu":
        # -1 hides the GPUs, so that the CPU is what really runs and no GPU memory is taken.
        found |= {"CUDA_VISIBLE_DEVICES": "-1"}
        # tensorflow-tpu looks for a TPU by asking the metadata service, for minutes where there is none.
        return found | ({"TPU_SKIP_MDS_QUERY": "1"} if "tensorflow-tpu" in seen.installed else {})
    if device == "tpu":  # the recipe of Keras' SparseCore tutorial (2025-09)
        return found | {
            "PJRT_DEVICE": "TPU",
            "NEXT_PLUGGABLE_DEVICE_USE_C_API": "true",
            "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": seen.libtpu,
            "TF_XLA_FLAGS": "--tf_mlir_enable_mlir_bridge=true "
            "--tf_mlir_enable_convert_control_to_data_outputs_pass=true "
            "--tf_mlir_enable_merge_control_flow_pass=true",
        }
    return found


def visible_gpus(seen: Machine) -> list[str]:
    """The names of the GPUs that CUDA will show, in its order: it stops at the first name that is not one."""
    if seen.cuda_visible_devices is None:
        return [str(index) for index in range(seen.gpus)]
    found: list[str] = []
    for name in seen.cuda_visible_devices.split(",") if seen.gpus else []:
        name = name.strip()
        by_index = re.fullmatch(r"[0-9]{1,4}", name) and int(name) < seen.gpus
        if not by_index and not name.startswith(("GPU-", "MIG-")):
            break
        found.append(name)
    return found
