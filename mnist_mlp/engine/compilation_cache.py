"""What XLA has compiled, kept for the next run on the same processor: half of the time before the first step.

A run works in a directory of its own, since TensorFlow and JAX trust whatever lies in theirs: programs come into it
from the store only with the checksum that they were stored with, and those that are new go to the store at the end,
each under its name at once. So no run sees what another one has half written or what a disk has lost, and several may
run together. A program made for one processor can end another one's process: the store is divided by all that XLA
looks at.

`MNIST_MLP_CACHE=DIR` names another place than ~/.cache/mnist_mlp, `MNIST_MLP_CACHE=off` keeps nothing. The store may be
removed at any time. With it or without, every bit of a run is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mnist_mlp.devices import Plan
from mnist_mlp.devices.machine import installed_software

LARGEST = 2**26  # bytes of the store; a run's programs are 0.2 to 0.5 MB
DIGEST = hashlib.sha256().digest_size
DIFFERS = ("processor", "cpu MHz", "bogomips", "BogoMIPS", "core id", "apicid", "initial apicid", "physical id")
READ_BY_XLA = ("TF_", "XLA_", "JAX_", "DNNL_", "ONEDNN_", "OMP_")  # how the names of environment variables begin


@contextlib.contextmanager
def compilation_cache(plan: Plan, *, wanted: bool) -> Iterator[None]:
    """Lets the framework that is imported within it find what earlier runs have compiled for one CPU.

    Never a reason to fail: where nothing can be kept, all is compiled as ever.
    """
    store = store_for(plan) if wanted else None
    with contextlib.ExitStack() as stack:
        try:
            if store is None or shutil.disk_usage(tempfile.gettempdir()).free < LARGEST:
                raise OSError
            made = tempfile.TemporaryDirectory(prefix="mnist_mlp-", ignore_cleanup_errors=True)
            work = Path(stack.enter_context(made))
            taken = take_out(store, work)
        except OSError:
            yield
            return
        os.environ.update(settings(plan.backend, str(work)))
        yield  # where it raises, what lies there may be half written: nothing is stored
        with contextlib.suppress(OSError):
            put_in(store, work, taken)
            trim(store.parent)


def store_for(plan: Plan) -> Path | None:
    """The directory of the programs for this processor, these versions and settings; None where none are kept."""
    one_cpu = plan.device == "cpu" and plan.replicas == 1 and not plan.workers and plan.xla
    its_own = {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & os.environ.keys()  # the user's
    flags = os.environ.get("TF_XLA_FLAGS", "--")
    its_own_flags = not flags.startswith("--") or "persistent_cache" in flags
    if not one_cpu or its_own or its_own_flags or plan.backend in sys.modules or not hasattr(os, "getuid"):
        return None
    place = os.environ.get("MNIST_MLP_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mnist_mlp"
    )
    if place == "off":
        return None
    try:
        store = Path(place).absolute() / "xla" / fingerprint(plan.backend)
        for directory in (store.parent, store):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = directory.stat()
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None  # somebody else could have a program run here
        return store if os.access(tempfile.gettempdir(), os.W_OK) else None
    except OSError:
        return None


def fingerprint(backend: str) -> str:
    """Of all that decides what XLA makes of a program, as far as the framework's own names of programs may not."""
    cpu = {line for line in Path("/proc/cpuinfo").read_text().splitlines() if not line.startswith(DIFFERS)}
    has = {
        "processor": sorted(cpu),
        "cores": len(os.sched_getaffinity(0)),
        "versions": installed_software(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(READ_BY_XLA)},
    }
    return f"{backend}-{hashlib.sha256(json.dumps(has, sort_keys=True).encode()).hexdigest()[:32]}"


def settings(backend: str, work: str) -> dict[str, str]:
    """The environment that makes a framework keep its programs in that directory."""
    if backend == "tensorflow":
        flag = f"--tf_xla_persistent_cache_directory={work}"
        return {"TF_XLA_FLAGS": f"{os.environ.get('TF_XLA_FLAGS', '')} {flag}".strip()}
    return {
        "JAX_COMPILATION_CACHE_DIR": work,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # the many small programs, too
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # whose path, new each time, would be part of all names
    }


def take_out(store: Path, work: Path) -> set[str]:
    """Copies the programs that are whole, and removes the others; the names of the former."""
    taken = set()
    for path in store.iterdir():
        if path.name.startswith("."):  # another process is writing it
            continue
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            content = path.read_bytes()
            if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
                (work / path.name).write_bytes(content[DIGEST:])
                os.utime(path)  # used just now
                taken.add(path.name)
            else:
                path.unlink()
    return taken


def put_in(store: Path, work: Path, taken: set[str]) -> None:
    """Stores the programs that are new, each with its checksum."""
    for path in work.iterdir():
        if path.is_file() and path.name not in taken:
            content = path.read_bytes()
            temporary = store / f".{os.getpid()}-{path.name}"
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(temporary, store / path.name)


def trim(stores: Path) -> None:
    """Removes what has not been used for longest, where all stores together are too large."""
    found = sorted(((path.stat(), path) for path in stores.glob("*/*")), key=lambda pair: pair[0].st_mtime)
    size = sum(status.st_size for status, _ in found)
    for status, path in found:
        if size > LARGEST:
            path.unlink(missing_ok=True)
            size -= status.st_size
