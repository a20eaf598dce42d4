"""Atomic writes: a file is written under a temporary name, synced and renamed, so it is whole or absent."""

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

TEMPORARY = ".writing-"  # prefix of temporary names
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # raised by reading a damaged file
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
LARGEST = 2**26  # bytes of a JSON file; no run writes nearly as much


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, sync the file and rename it to `path`."""
    if path.exists() and not path.is_file():  # a device or a pipe must not be replaced by a file
        received = "a directory" if path.is_dir() else "a device or a pipe"
        raise UserError(f"{path}: expected a file, received {received}; try another path")
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")  # Keras needs the suffix
    try:
        write(temporary)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)  # the name must survive a power failure, too
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync(path: Path) -> None:
    """Flush a file or a directory to disk. Not every file system can flush a directory; that is no error."""
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
        advice = "try a directory that you can write to"
    return UserError(f"{path} could not be written: {reason}; {advice}")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object with its checksum. Raise ValueError for NaN or infinity, which JSON lacks."""
    write_text(path, json.dumps({**values, "sha256": checksum(values)}, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read an object that `write_json` wrote. Raise one of `DAMAGED` for anything else, and OSError."""
    if not path.is_file():  # opening a named pipe would block
        what = "it is no regular file" if path.exists() else "no such file"
        raise FileNotFoundError(errno.ENOENT, what, str(path))
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("too large")
    values = json.loads(content.decode("utf-8"))
    if not isinstance(values, dict) or values.pop("sha256", "") != checksum(values):
        raise ValueError("its checksum does not match")
    return values


def checksum(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a JSON object, independent of its layout."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object per line."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def remove_stale(directory: Path) -> None:
    """Remove the temporary files of killed processes. Hold the lock of the directory when calling this."""
    for path in directory.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
