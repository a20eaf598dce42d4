"""The processes that train together: from `--workers` and `--worker_index`, TF_CONFIG or a launcher."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping

from mnist_mlp.errors import UserError

NONE = "none"  # the value of --workers that refuses what the environment says


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, the chief first, and the index of this process."""

    workers: tuple[str, ...]  # "host:port"; "" if it is not known before they meet
    index: int
    source: str = "--workers"


def as_tf_config(workers: tuple[str, ...], index: int) -> str:
    """Return a cluster as TensorFlow's TF_CONFIG."""
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def cluster(workers: str, index: int | None, tf_config: str, launch: Mapping[str, str] | None = None) -> Cluster:
    """Return the cluster that the flags describe, or else TF_CONFIG, or else a launcher. Raises `UserError`.

    `launch` holds the environment variables of `launchers`.
    """
    if workers == NONE:
        raise UserError(
            "--workers=none leaves --strategy=multiworker without workers; use --workers=HOST:PORT,HOST:PORT, or "
            "another --strategy"
        )
    if workers:
        if index is None:
            raise UserError("--workers needs the index of this process; add --worker_index=0 for the chief")
        return checked(tuple(address.strip() for address in workers.split(",")), index, "--workers")
    if index is not None:
        raise UserError("--worker_index needs the addresses of all workers; add --workers=HOST:PORT,HOST:PORT")
    if not tf_config:
        from mnist_mlp.devices import launchers  # not needed by one process

        if launched := launchers.recognized(launch or {}):
            (chief,) = checked((launched.chief,), 0, launched.name).workers
            return Cluster((chief, *[""] * (launched.count - 1)), launched.index, launched.name)
        raise UserError(
            "--strategy=multiworker: found no Slurm, Open MPI, TPU slice, TF_CONFIG or variables of JAX; use "
            "--workers=HOST:PORT,HOST:PORT --worker_index=0 (to try it on one machine: "
            "python -m mnist_mlp.devices.launch_workers)"
        )
    try:
        config = json.loads(tf_config)
        jobs, task = config["cluster"], config["task"]
        addresses = [*jobs.get("chief", []), *jobs["worker"]]
        chiefs, index = len(jobs.get("chief", [])), int(task["index"])
        rank = index + (chiefs if task["type"] == "worker" else 0)
        if set(jobs) - {"chief", "worker"} or task["type"] not in ("chief", "worker"):
            raise ValueError("only the jobs chief and worker are supported")
        if not 0 <= index < len(jobs[task["type"]]):
            raise ValueError(f"the cluster has no {task['type']} {index}")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            'TF_CONFIG: expected {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}, '
            f"received {tf_config[:80]!r} ({error})"
        ) from None
    return checked(tuple(map(str, addresses)), rank, "TF_CONFIG")


def checked(workers: tuple[str, ...], index: int, source: str) -> Cluster:
    """Return the cluster. Raises `UserError`, which names `source`, for a wrong address or index."""
    for address in workers:
        host, _, port = address.rpartition(":")
        valid = re.fullmatch(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|\[[0-9a-fA-F:.%\w]+\]", host)
        if not valid or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            raise UserError(f"{source}: expected addresses as HOST:PORT, received {address!r}")
    if len(set(workers)) < len(workers):
        twice = next(address for address in workers if workers.count(address) > 1)
        raise UserError(f"{source}: expected a different address for each worker, received {twice} twice")
    if not 0 <= index < len(workers):
        raise UserError(f"{source}: expected a worker index from 0 to {len(workers) - 1}, received {index}")
    return Cluster(workers, index, source)
