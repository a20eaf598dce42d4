"""The export directory, written under a temporary name and then renamed, so it is whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.errors import UserError
from mnist_mlp.export.formats import FORMATS
from mnist_mlp.files.atomic import DAMAGED, TEMPORARY, cannot_write, digest, read_json, sync
from mnist_mlp.files.lock import lives, ourselves
from mnist_mlp.files.outputs import ANOTHER, directory_to_write

REPORT = "export.json"
UNVERSIONED = "saved_model"  # where version 0.1 wrote the SavedModel
FILES = {UNVERSIONED, *(kind.file for kind in FORMATS.values())}
OURS = {REPORT, *(PurePosixPath(file).parts[0] for file in FILES)}


def earlier(output: Path) -> dict[str, Any]:
    """Return export.json of an earlier export; {} if the directory is new or empty.

    Raise `UserError` if the directory cannot be used for an export.
    """
    flag = f"--output={output}"
    try:
        directory_to_write("output", output, replaced=True)
        there = {entry.name for entry in output.iterdir()} if output.exists() else set()
        there |= other_versions(output)
        if strangers := sorted(there - OURS):
            raise UserError(
                f"{flag}: expected a new or empty directory, or an earlier export; received one that holds "
                f"{strangers[0]!r}; {ANOTHER}"
            )
        return read_json(output / REPORT) if there else {}
    except FileNotFoundError:
        raise UserError(f"{flag}: expected an earlier export, received one without {REPORT}; {ANOTHER}") from None
    except OSError as error:
        raise UserError(f"{flag}: the directory cannot be read: {error.strerror}; {ANOTHER}") from None
    except DAMAGED:
        raise UserError(f"{flag}: {REPORT} is damaged; remove the directory, or {ANOTHER}") from None


def other_versions(output: Path) -> set[str]:
    """Return the versions of the SavedModel that somebody has put beside ours, such as "saved_model/2"."""
    folders = (output / UNVERSIONED).iterdir() if (output / UNVERSIONED).is_dir() else ()
    names = {f"{UNVERSIONED}/{folder.name}" for folder in folders if folder.name.isdecimal()}
    return names - FILES


@contextlib.contextmanager
def replaced(output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a new directory, which replaces `output` when the block succeeds, and a scratch directory.

    Raise `UserError` if `output` cannot be written, or if another process has written to it since the block began.
    """
    remove_stale(output)
    before = fingerprint(output)
    new, work = temporary(output, "new"), temporary(output, "work")
    try:
        try:
            new.mkdir()
            work.mkdir()
            yield new, work
            for path in (new, *new.rglob("*")):
                sync(path)
            if fingerprint(output) != before:
                raise UserError(f"--output={output}: another process has just written it; run the command again")
            with defer_signals():
                swap(output, new)
        except OSError as error:
            raise cannot_write(output, error) from None
    finally:
        with defer_signals():
            for path in (new, work):
                shutil.rmtree(path, ignore_errors=True)


def swap(output: Path, new: Path) -> None:
    """Rename `new` to `output` and remove the previous directory, which is restored if the renaming fails."""
    old = temporary(output, "old")
    had = output.exists()
    if had:
        os.rename(output, old)
    try:
        os.rename(new, output)
    except OSError:
        if had:
            os.rename(old, output)
        raise
    sync(output.parent)
    shutil.rmtree(old, ignore_errors=True)


def temporary(output: Path, age: str) -> Path:
    """Return the temporary name of a directory beside `output`; `age` is new, old or work."""
    return output.with_name(f"{TEMPORARY}{os.getpid()}-{age}-{output.name}")


def remove_stale(output: Path) -> None:
    """Remove the temporary directories of killed processes beside `output`."""
    host = ourselves().partition(" on ")[2]
    for path in output.parent.glob(f"{TEMPORARY}*-{output.name}"):
        number, _, age = path.name.removeprefix(TEMPORARY).removesuffix(f"-{output.name}").partition("-")
        if age in ("new", "old", "work") and number.isdigit() and not lives(f"{number} on {host}"):
            shutil.rmtree(path, ignore_errors=True)


def fingerprint(output: Path) -> str:
    """Return a hash that identifies the export in `output`; "" if there is none."""
    with contextlib.suppress(OSError):
        return digest(output / REPORT)
    return ""


def keep(row: dict[str, Any], output: Path, new: Path) -> bool:
    """Copy the file of an earlier export into the new one and return True, if size and checksum match its row."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        name = row["file"]
        source = output / name
        if name not in FILES or not source.exists() or measure(source) != (row["bytes"], row["sha256"]):
            return False
        copy: Callable[..., object] = shutil.copytree if source.is_dir() else shutil.copyfile
        (new / name).parent.mkdir(exist_ok=True)
        copy(source, new / name)
        return True
    return False


def remove(file: Path, directory: Path) -> None:
    """Remove a file or directory of an export, and the folder of its version."""
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    if file.parent != directory:
        file.parent.rmdir()


def measure(path: Path) -> tuple[int, str]:
    """Return bytes and SHA-256 (hex) of a file; for a directory, the hash is over the names and hashes of its files."""
    if path.is_file():
        return path.stat().st_size, digest(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{digest(file)}  {file.relative_to(path).as_posix()}\n" for file in files)  # as sha256sum
    return sum(file.stat().st_size for file in files), hashlib.sha256(lines.encode()).hexdigest()
