"""Which processes train together: from `--workers` and `--worker_index`, or from TF_CONFIG."""

from __future__ import annotations

import dataclasses
import json
import re

from mnist_mlp.errors import UserError


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, the chief first, and the place of this process among them."""

    workers: tuple[str, ...]  # "host:port"
    index: int

    def tf_config(self) -> str:
        """The same for TensorFlow's TF_CONFIG."""
        return json.dumps({"cluster": {"worker": self.workers}, "task": {"type": "worker", "index": self.index}})


def cluster(workers: str, index: int | None, tf_config: str) -> Cluster:
    """The cluster that the flags name, or else TF_CONFIG. Raises `UserError`."""
    if workers:
        if index is None:
            raise UserError("--workers: expected the place of this process among them; type --worker_index=0 or higher")
        return checked(tuple(address.strip() for address in workers.split(",")), index, "--workers")
    if index is not None:
        raise UserError("--worker_index: expected the addresses of all workers; type --workers=HOST:PORT,HOST:PORT")
    if not tf_config:
        raise UserError(
            "--strategy=multiworker: expected the environment variable TF_CONFIG or flags; type "
            "--workers=HOST:PORT,HOST:PORT --worker_index=0 (to try it on one machine: "
            "python -m mnist_mlp.devices.launch_workers)"
        )
    try:
        found = json.loads(tf_config)
        jobs, task = found["cluster"], found["task"]
        addresses = [*jobs.get("chief", []), *jobs["worker"]]
        chiefs, index = len(jobs.get("chief", [])), int(task["index"])
        place = index + (chiefs if task["type"] == "worker" else 0)
        if set(jobs) - {"chief", "worker"} or task["type"] not in ("chief", "worker"):
            raise ValueError("only the jobs chief and worker train together")
        if not 0 <= index < len(jobs[task["type"]]):
            raise ValueError(f"its cluster has no {task['type']} {index}")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            'TF_CONFIG: expected {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}, '
            f"received {tf_config[:80]!r} ({error})"
        ) from None
    return checked(tuple(map(str, addresses)), place, "TF_CONFIG")


def checked(workers: tuple[str, ...], index: int, source: str) -> Cluster:
    for address in workers:
        host, _, port = address.rpartition(":")
        named = re.fullmatch(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|\[[0-9a-fA-F:.%\w]+\]", host)
        if not named or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            raise UserError(f"{source}: expected addresses as HOST:PORT, received {address!r}")
    if len(set(workers)) < len(workers):
        raise UserError(f"{source}: expected an address of its own for each worker, received one twice")
    if not 0 <= index < len(workers):
        raise UserError(f"{source}: expected a place from 0 to {len(workers) - 1}, received {index}")
    return Cluster(workers, index)
