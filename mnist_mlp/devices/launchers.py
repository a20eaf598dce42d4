"""Recognize from the environment that a launcher has started several processes: Slurm, Open MPI, a Cloud TPU slice.

A launcher says where the chief is, how many processes there are, and which one this is. The addresses of the others
come from the processes themselves, when they meet (`rendezvous.introduce`). What is read here is `machine.LAUNCHERS`.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable, Mapping

from mnist_mlp.errors import UserError

TPU_PORT = 8482  # the one that JAX itself takes on a slice
FIRST_PORT, PORTS = 61440, 4096  # above those that Linux hands out by itself


@dataclasses.dataclass(frozen=True)
class Launch:
    """One of `count` processes that a launcher has started. Raises `UserError` for impossible numbers."""

    name: str  # "Slurm job 7, step 0"
    chief: str  # HOST:PORT
    count: int
    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(
                f"{self.name}: expected a process from 0 to {self.count - 1}, received {self.index}; "
                "use --workers=HOST:PORT,HOST:PORT --worker_index=N"
            )


def recognized(variables: Mapping[str, str]) -> Launch | None:
    """Return what the environment says of this process, or None. Raises `UserError` for what makes no sense.

    Variables that a user sets come before those of a launcher, and `mpirun` before the Slurm job that it runs in.
    """
    readers: tuple[Callable[[Mapping[str, str]], Launch | None], ...] = (jax_variables, open_mpi, slurm, tpu_slice)
    return next(filter(None, (read(variables) for read in readers)), None)


def jax_variables(variables: Mapping[str, str]) -> Launch | None:
    """Read what `jax.distributed.initialize()` reads."""
    name, names = "JAX's variables", ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    if not any(variables.get(each) for each in names):
        return None
    if missing := [each for each in names if not variables.get(each)]:
        raise UserError(f"{name}: expected {', '.join(names)}, found no {' and no '.join(missing)}; set all three")
    address, count, index = names
    return Launch(name, variables[address], number(variables, count), number(variables, index))


def open_mpi(variables: Mapping[str, str]) -> Launch | None:
    """Read what Open MPI's `mpirun` sets. Rank 0 is taken to be on the machine on which `mpirun` was typed."""
    if "OMPI_COMM_WORLD_RANK" not in variables:
        return None
    count, index = number(variables, "OMPI_COMM_WORLD_SIZE"), number(variables, "OMPI_COMM_WORLD_RANK")
    job = variables.get("PMIX_NAMESPACE") or variables.get("OMPI_MCA_orte_hnp_uri", "")
    name = f"Open MPI job {job}" if job.isdecimal() else "Open MPI"
    if variables.get("OMPI_COMM_WORLD_LOCAL_SIZE") == variables.get("OMPI_COMM_WORLD_SIZE"):
        return Launch(name, f"127.0.0.1:{port_of(job)}", count, index)
    # "98172928.0;tcp://10.0.0.1,10.1.0.1:34723;tcp6://[fd00::2]:55961"
    host = re.search(r"tcp://([^,:]+)|tcp6://\[([^,\]]+)", variables.get("OMPI_MCA_orte_hnp_uri", ""))
    if not host:  # Open MPI 5
        raise UserError(
            f"{name}: {count} processes on several machines, of which it does not say where rank 0 is; "
            "use --workers=HOST:PORT,HOST:PORT --worker_index=$OMPI_COMM_WORLD_RANK"
        )
    return Launch(name, f"{host[1] or f'[{host[2]}]'}:{port_of(job)}", count, index)


def slurm(variables: Mapping[str, str]) -> Launch | None:
    """Read what `srun` sets for each task of a step. Task 0 is on the first node of the step."""
    if not (job := variables.get("SLURM_JOB_ID")):
        return None
    if not variables.get("SLURM_STEP_NODELIST"):
        raise UserError(
            f"Slurm job {job}: this process is not a task of a step, but the job's script; start it with srun, "
            "or use another --strategy"
        )
    step = variables.get("SLURM_STEP_ID", "0")
    return Launch(
        f"Slurm job {job}, step {step}",
        f"{first_node(variables['SLURM_STEP_NODELIST'])}:{port_of(f'{job}.{step}')}",
        number(variables, "SLURM_STEP_NUM_TASKS"),
        number(variables, "SLURM_PROCID"),
    )


def tpu_slice(variables: Mapping[str, str]) -> Launch | None:
    """Read what GKE sets on each host of a Cloud TPU slice, or of several slices. One host alone is no cluster."""
    listed = variables.get("TPU_PROCESS_ADDRESSES") or variables.get("TPU_WORKER_HOSTNAMES", "")
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    slices = number(variables, "MEGASCALE_NUM_SLICES") if variables.get("MEGASCALE_NUM_SLICES") else 1
    if len(hosts) * slices < 2:  # also "local", of Kaggle
        return None
    slice_ = number(variables, "MEGASCALE_SLICE_ID") if slices > 1 else 0
    first = variables.get("MEGASCALE_COORDINATOR_ADDRESS") if slices > 1 else hosts[0]
    if not first:
        raise UserError("Cloud TPU slices: found no MEGASCALE_COORDINATOR_ADDRESS, the address of the first host")
    name = f"{slices} Cloud TPU slices" if slices > 1 else "Cloud TPU slice"
    chief = f"{without_port(first)}:{TPU_PORT}"
    return Launch(name, chief, len(hosts) * slices, number(variables, "TPU_WORKER_ID") + slice_ * len(hosts))


def number(variables: Mapping[str, str], name: str) -> int:
    """Return a variable's value. Raises `UserError` if it is no whole number of at most six digits."""
    value = variables.get(name, "")
    if not re.fullmatch(r"[0-9]{1,6}", value):
        received = f"received {value[:40]!r}" if value else "found none"
        raise UserError(f"{name}: expected a whole number, {received}; use --workers=HOST:PORT,HOST:PORT")
    return int(value)


def port_of(job: str) -> int:
    """Return the chief's port, which is the same for all processes of a job and hardly that of another one."""
    return FIRST_PORT + zlib.crc32(job.encode()) % PORTS


def first_node(nodes: str) -> str:
    """Return the first node of a list as Slurm writes it: "a01" of "a[01-04,7],b2"."""
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", nodes).partition(",")[0]


def without_port(address: str) -> str:
    """Return the host of "host", "host:port", "[::1]:port"; an IPv6 address in brackets."""
    if address.count(":") > 1 and not address.startswith("["):
        return f"[{address}]"
    return re.sub(r":[0-9]+$", "", address)
