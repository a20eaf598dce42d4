"""May a program write here? Every program asks before it starts its work, so that no result is lost for want of a file.

Each check takes the name of the flag and its value as the user typed it, and raises `UserError`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import cannot_write
from mnist_mlp.options import path_of

ANOTHER = "try another path"


def file_to_write(flag: str, text: str, *, will_exist: Path | None = None, special: bool = False) -> Path:
    """Return the path in `--flag=text`, with ~ expanded. Raise `UserError` if no file can be written there.

    An existing regular file will be replaced. `will_exist` is a directory that the program itself creates before it
    writes the file. `special` also allows what cannot be replaced but written to: devices, pipes.
    """
    path = path_of(flag, text)
    try:
        problem = file_problem(path, will_exist, special)
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, a loop of links, a null byte
        problem = f"cannot be written: {reason_of(error)}; {ANOTHER}"
    if problem:
        raise UserError(f"--{flag}={text}: {problem}")
    return path


def file_problem(path: Path, will_exist: Path | None, special: bool) -> str:
    """Return why no file can be written at `path`, or an empty string."""
    if path.is_dir():
        return f"expected a file, received a directory; {ANOTHER}"
    if path.exists() and not path.is_file():
        return "" if special else f"expected a file, received a device or a pipe; {ANOTHER}"
    if path.exists() and not (path.stat().st_mode & 0o222 and os.access(path, os.W_OK)):  # root may write any file
        return f"this file is read-only; {ANOTHER}"
    directory = path.resolve().parent
    if will_exist and not will_exist.exists() and directory == will_exist.resolve():
        return ""
    if not directory.is_dir():
        return f"expected a file in a directory that exists, {missing(path.parent)}"
    return not_writable(directory, path.parent)


def not_writable(directory: Path, shown: Path) -> str:
    """Return why nothing can be created in a directory, called `shown`; an empty string if it can."""
    if os.access(directory, os.W_OK | os.X_OK):
        return ""
    return f"the directory {shown} is not writable; {ANOTHER}"


def directory_to_write(flag: str, path: Path, *, replaced: bool = False) -> None:
    """Raise `UserError` unless files can be created in `path`, a directory, or one to be created in an existing one.

    `replaced`: another directory will take its place, which needs permission in the one above it instead.
    """
    try:
        problem = directory_problem(path, replaced)
    except (OSError, RuntimeError, ValueError) as error:
        problem = f"cannot be written: {reason_of(error)}; {ANOTHER}"
    if problem:
        raise UserError(f"--{flag}={path}: {problem}")


def directory_problem(path: Path, replaced: bool) -> str:
    """Return why no files can be created in a directory, or an empty string."""
    if path.is_dir() and not replaced:
        return not_writable(path, path)
    if path.exists() and not path.is_dir():
        return f"expected a directory, received a file; {ANOTHER}"
    if path.is_symlink() and not path.exists():  # mkdir would fail
        return f"expected a directory, received a link to {os.readlink(path)}, which is not there; {ANOTHER}"
    directory = path.resolve().parent
    if not directory.is_dir():
        return f"expected a directory inside one that exists, {missing(path.parent)}"
    return not_writable(directory, path.parent)


def files_to_write(flag: str, text: str, names: Sequence[str]) -> dict[str, Path]:
    """Return the paths of these files in the directory that `--flag=text` names, by their names; {} without a text.

    Raise `UserError` if one of them could not be written. `make_directory` creates the directory later.
    """
    if not text:
        return {}
    directory = path_of(flag, text)
    directory_to_write(flag, directory)
    return {name: file_to_write(flag, str(directory / name), will_exist=directory) for name in names}


def make_directory(path: Path) -> None:
    """Create a directory that `directory_to_write` has accepted, unless it is there. Raise `UserError`."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None


def missing(directory: Path) -> str:
    """The second half of a message about a directory that is needed."""
    if directory.exists():
        return f"{directory} is a file; {ANOTHER}"
    return f"there is no {directory}; try mkdir -p {shlex.quote(str(directory))}"


def check_distinct(files: Mapping[str, Path]) -> None:
    """Raise `UserError` if two of the flags {flag: path} name the same file, links followed."""
    flags = list(files)
    for number, other in enumerate(flags):
        for flag in flags[:number]:
            if same_file(files[flag], files[other]):
                raise UserError(
                    f"--{flag} and --{other}: expected two different files, received {str(files[other])!r} for both; "
                    f"try another path for --{other}"
                )


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same file, which need not exist."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
    return False


@contextlib.contextmanager
def directories(path: Path, what: str = "run") -> Iterator[None]:
    """Create the directory of a run (or study) and its parents. If the block fails, remove those created and empty."""
    created: list[Path] = []
    try:
        try:
            for directory in reversed((path, *path.parents)):
                if not directory.is_dir():
                    directory.mkdir(exist_ok=True)  # another run may have created it in between
                    created.append(directory)
        except FileExistsError:
            raise UserError(f"--{what}_dir={path}: expected a directory, received a file; {ANOTHER}") from None
        except (OSError, ValueError) as error:
            raise unusable(path, error, what) from None
        yield
    except BaseException:
        for directory in reversed(created):
            with contextlib.suppress(OSError):  # it is not empty
                directory.rmdir()
        raise


def unusable(path: Path, error: Exception, what: str = "run") -> UserError:
    """The error for a run (or study) directory that the system refuses."""
    reason = reason_of(error)
    return UserError(f"--{what}_dir={path}: cannot use this directory: {reason}; {ANOTHER}")


def reason_of(error: Exception) -> str:
    """What the system says: "Permission denied"."""
    return getattr(error, "strerror", None) or str(error)
