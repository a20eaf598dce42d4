"""One process at a time writes a run directory: the kernel releases its lock when it ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from mnist_mlp.errors import UserError

NAME = "lock"  # the file holds the owner: "4711 on host"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of file systems that have none


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Holds the directory within the block; raises `UserError` where another process that lives holds it."""
    file = directory / NAME
    descriptor = acquire(file)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
        os.close(descriptor)


def acquire(file: Path) -> int:
    """The descriptor of the file, which is ours alone until it is closed."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno in NO_LOCKS and not lives(owner):
                return os.open(file, os.O_RDWR)
            who = f"process {owner}" if owner else "another process"
            raise UserError(
                f"--run_dir={file.parent}: expected a run that no process is writing, {who} is; "
                "wait for its end, or name another directory"
            ) from None
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor
        os.close(descriptor)  # the owner before us has just taken the file away


def lives(owner: str) -> bool:
    """Whether the process "PID on HOST" is there, as far as can be seen from here."""
    found = re.fullmatch(r"(\d{1,9}) on (.+)", owner)
    if found is None:
        return False
    if found[2] != socket.gethostname():
        return True
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
