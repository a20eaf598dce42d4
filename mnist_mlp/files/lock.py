"""A lock on a run or study directory. The kernel releases it when the process ends, even if it is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from mnist_mlp.errors import UserError

NAME = ".mnist_mlp.lock"  # the file holds the owner: "4711 on host"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of file systems without locks


@contextlib.contextmanager
def held(directory: Path, what: str = "run") -> Iterator[Callable[[], None]]:
    """Lock the directory of a run (or study) within the block. Raise `UserError` if another process holds the lock.

    Yields a function that raises `UserError` if the directory has been moved or replaced since.
    """
    file = directory / NAME
    descriptor = acquire(file, what)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{ourselves()}\n".encode(), 0)
        yield lambda: check(file, descriptor, what)
    finally:
        with contextlib.suppress(OSError, UserError):
            check(file, descriptor, what)
            file.unlink()
        os.close(descriptor)


def check(file: Path, descriptor: int, what: str) -> None:
    """Raise `UserError` if the lock file is no longer the open one, as when the directory was moved."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), os.stat(file)):
            return
    flag = f"--{what}_dir={file.parent}"
    raise UserError(f"{flag}: this directory was moved or replaced while the {what} was writing to it")


def ourselves() -> str:
    """Return this process as it stands in a lock file: "4711 on host"."""
    return f"{os.getpid()} on {socket.gethostname()}"


def acquire(file: Path, what: str) -> int:
    """Return a descriptor that holds the lock until it is closed."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            if error.errno in NO_LOCKS and not lives(owner):
                return descriptor
            os.close(descriptor)
            if error.errno not in (*NO_LOCKS, errno.EWOULDBLOCK, errno.EACCES):
                raise
            who = f"process {owner}" if owner.isprintable() and owner else "another process"
            raise UserError(
                f"--{what}_dir={file.parent}: this {what} is locked by {who}; wait for it to finish (if it no longer "
                f"exists: rm {shlex.quote(str(file))}), or try another directory"
            ) from None
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor
        os.close(descriptor)  # the previous owner has just removed the file


def lives(owner: str) -> bool:
    """Return whether the process "PID on HOST" may still run; True for other hosts, False for our own PID, which a
    restarted container uses again."""
    found = re.fullmatch(r"(\d{1,9}) on (.+)", owner)
    if found is None or owner == ourselves():
        return False
    if found[2] != socket.gethostname():
        return True
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True
