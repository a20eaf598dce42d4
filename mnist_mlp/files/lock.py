"""One process at a time writes a run directory: the kernel releases its lock when it ends, however it ends."""

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
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of file systems that have none


@contextlib.contextmanager
def held(directory: Path, what: str = "run") -> Iterator[Callable[[], None]]:
    """Holds the directory of a run (or of a study, named by --study_dir) within the block; raises `UserError` where
    another process that lives holds it.

    Gives a function that raises `UserError` once there is another directory, or none, under that name.
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
    """Raises `UserError` where the file is no longer the one that is open: the directory was moved, say."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), os.stat(file)):
            return
    raise UserError(
        f"--{what}_dir={file.parent}: expected the directory that the {what} began in, it was moved or replaced"
    )


def ourselves() -> str:
    return f"{os.getpid()} on {socket.gethostname()}"


def acquire(file: Path, what: str) -> int:
    """The descriptor of the file, which is ours alone until it is closed."""
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
                f"--{what}_dir={file.parent}: expected a {what} that no process is writing, {who} is; wait for its end "
                f"(or, if it is gone, type rm {shlex.quote(str(file))}), or name another directory"
            ) from None
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor
        os.close(descriptor)  # the owner before us has just taken the file away


def lives(owner: str) -> bool:
    """Whether the process "PID on HOST" is there, as far as can be seen from here. One of our own number is not: in a
    container that was started again, numbers come again."""
    found = re.fullmatch(r"(\d{1,9}) on (.+)", owner)
    if found is None or owner == ourselves():
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
