"""May a program write here? Checked before any work is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mnist_mlp.errors import UserError


@contextlib.contextmanager
def directories(path: Path, what: str = "run") -> Iterator[None]:
    """Makes the directory of a run (or study); if the block fails, it and those above it that were made too are removed
    where empty."""
    made: list[Path] = []
    try:
        try:
            for directory in reversed((path, *path.parents)):
                if not directory.is_dir():
                    directory.mkdir(exist_ok=True)  # a run beside this one may just have made it
                    made.append(directory)
        except FileExistsError:
            raise UserError(f"--{what}_dir={path}: expected a directory, it is none; name another one") from None
        except (OSError, ValueError) as error:
            raise unusable(path, error, what) from None
        yield
    except BaseException:
        for directory in reversed(made):
            with contextlib.suppress(OSError):  # something is in it
                directory.rmdir()
        raise


def unusable(path: Path, error: Exception, what: str = "run") -> UserError:
    reason = getattr(error, "strerror", None) or error
    return UserError(f"--{what}_dir={path}: expected a directory that can be written, received: {reason}")
