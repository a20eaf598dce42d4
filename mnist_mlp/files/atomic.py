"""Files that are there whole or not at all: written under a temporary name, synced, and then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError

TEMPORARY = ".writing-"  # how a name begins that is not yet the file's own
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # what reading a damaged file raises
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
LARGEST = 2**26  # bytes of a JSON file; far more than any run writes


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary path beside `path`, syncs what it wrote, and gives it its name."""
    if path.exists() and not path.is_file():  # also a device or a pipe, which must not be replaced by a file
        received = "a directory" if path.is_dir() else "a device or a pipe"
        raise UserError(f"{path}: expected a file, received {received}; try another path")
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")  # keeps the suffix: Keras looks at it
    try:
        write(temporary)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)  # the name, too, outlives a loss of power
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync(path: Path) -> None:
    """Returns when a file, or the names in a directory, are on the disk; not every file system can do the latter."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a file that the system did not let us write."""
    reason = error.strerror or error
    advice = "try another directory"
    if error.errno in NO_SPACE:
        advice = "free space or try another directory"
    if error.errno in NOT_ALLOWED:
        advice = "try a directory that you may write to"
    return UserError(f"{path} could not be written: {reason}; {advice}")


def write_text(path: Path, text: str) -> None:
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON object with its checksum; its numbers must be finite, since JSON has no NaN."""
    write_text(path, json.dumps({**values, "sha256": checksum(values)}, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object that `write_json` wrote. Raises ValueError or RecursionError where it is not that, and OSError."""
    if not path.is_file():  # also keeps us from waiting on a named pipe
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("too large")
    values = json.loads(content.decode("utf-8"))
    if not isinstance(values, dict) or values.pop("sha256", "") != checksum(values):
        raise ValueError("its content does not have its checksum")
    return values


def checksum(values: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a JSON object, however it is laid out: one digit that changes would be a wrong number."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes one JSON object a line."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def remove_stale(directory: Path) -> None:
    """Removes what a process that was killed had half written. Only for who is alone in the directory."""
    for path in directory.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
