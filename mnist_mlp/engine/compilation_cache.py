"""A cache of XLA's compiled programs for later runs on the same CPU. It halves the time before the first step.

TensorFlow and JAX trust every file in their cache directory, so each run gets its own. Programs are copied into it from
the store if their checksum is correct; new programs are added to the store at the end, each with an atomic rename.
Concurrent runs never see a partial file, and a damaged one is dropped. Compiled code is CPU-specific and can crash
elsewhere, so the cache key covers everything that XLA reads.

`MNIST_MLP_CACHE=DIR` replaces ~/.cache/mnist_mlp; `MNIST_MLP_CACHE=off` turns the cache off, and a user without a home
directory has none. It is safe to delete at any time. A run has the same bits with and without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mnist_mlp.devices import Plan
from mnist_mlp.devices.machine import installed_software
from mnist_mlp.files import user_dirs

MAX_BYTES = 2**26  # of all stores; the programs of a run have 0.2 to 0.5 MB
DIGEST = hashlib.sha256().digest_size
# Lines of /proc/cpuinfo that differ between cores, or from moment to moment.
VOLATILE = ("processor", "cpu MHz", "bogomips", "BogoMIPS", "core id", "apicid", "initial apicid", "physical id")
READ_BY_XLA = ("TF_", "XLA_", "JAX_", "DNNL_", "ONEDNN_", "OMP_")  # prefixes of environment variables


@contextlib.contextmanager
def compilation_cache(plan: Plan, *, wanted: bool) -> Iterator[None]:
    """Cache the compiled programs of a framework that is imported within this context, on a single CPU.

    Never fails a run: without a usable cache, everything is compiled.
    """
    store = store_for(plan) if wanted else None
    with contextlib.ExitStack() as stack:
        try:
            if store is None or shutil.disk_usage(tempfile.gettempdir()).free < MAX_BYTES:
                raise OSError
            scratch = tempfile.TemporaryDirectory(prefix="mnist_mlp-", ignore_cleanup_errors=True)
            work = Path(stack.enter_context(scratch))
            known = take_out(store, work)
        except OSError:
            yield
            return
        os.environ.update(settings(plan.backend, str(work)))
        yield  # if this raises, a program may be incomplete: store nothing
        with contextlib.suppress(OSError):
            put_in(store, work, known)
            trim(store.parent)


def store_for(plan: Plan) -> Path | None:
    """Return the directory of programs for this CPU, these versions and settings, or None if there is no cache."""
    one_cpu = plan.device == "cpu" and plan.replicas == 1 and not plan.workers and plan.xla
    user_has_jax_cache = {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & os.environ.keys()
    flags = os.environ.get("TF_XLA_FLAGS", "--")
    user_has_tf_cache = not flags.startswith("--") or "persistent_cache" in flags
    users_own = user_has_jax_cache or user_has_tf_cache
    if not one_cpu or users_own or plan.backend in sys.modules or not hasattr(os, "getuid"):
        return None
    root = user_dirs.cache_directory()
    if root is None:
        return None
    try:
        store = root / "xla" / fingerprint(plan.backend)
        if not user_dirs.private(store.parent, store):
            return None  # another user could put a program there
        return store if os.access(tempfile.gettempdir(), os.W_OK) else None
    except OSError:
        return None


def fingerprint(backend: str) -> str:
    """Return a cache key of what affects compiled code and may be missing from the framework's own keys."""
    cpu = {line for line in Path("/proc/cpuinfo").read_text().splitlines() if not line.startswith(VOLATILE)}
    inputs = {
        "processor": sorted(cpu),
        "cores": len(os.sched_getaffinity(0)),
        "versions": installed_software(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(READ_BY_XLA)},
    }
    return f"{backend}-{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]}"


def settings(backend: str, work: str) -> dict[str, str]:
    """Return the environment variables that make a framework cache its programs in that directory."""
    if backend == "tensorflow":
        flag = f"--tf_xla_persistent_cache_directory={work}"
        return {"TF_XLA_FLAGS": f"{os.environ.get('TF_XLA_FLAGS', '')} {flag}".strip()}
    return {
        "JAX_COMPILATION_CACHE_DIR": work,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # including the many small programs
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # their path, new in each run, would be part of every key
    }


def take_out(store: Path, work: Path) -> set[str]:
    """Copy the intact programs to `work`, remove damaged ones, and return the names of the copies."""
    copied = set()
    for path in store.iterdir():
        if path.name.startswith("."):  # still being written by another process
            continue
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            content = path.read_bytes()
            if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
                (work / path.name).write_bytes(content[DIGEST:])
                os.utime(path)  # recently used
                copied.add(path.name)
            else:
                path.unlink()
    return copied


def put_in(store: Path, work: Path, known: set[str]) -> None:
    """Store the new programs, each with its checksum."""
    for path in work.iterdir():
        if path.is_file() and path.name not in known:
            content = path.read_bytes()
            temporary = store / f".{os.getpid()}-{path.name}"
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(temporary, store / path.name)


def trim(stores: Path) -> None:
    """Remove the least recently used programs while all stores together are too large."""
    programs = sorted(((path.stat(), path) for path in stores.glob("*/*")), key=lambda pair: pair[0].st_mtime)
    size = sum(status.st_size for status, _ in programs)
    for status, path in programs:
        if size > MAX_BYTES:
            path.unlink(missing_ok=True)
            size -= status.st_size
