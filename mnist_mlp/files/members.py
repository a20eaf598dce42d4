"""Read files where they lie: on disk, or as members of a zip or tar archive, without unpacking anything to disk.

Sizes are bounded: of an archive's directory, of each read, and of what a packed tar unpacks to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from mnist_mlp.files.archives import open_archive, reading

ZIP_ENDS = (".zip",)
TAR_ENDS = (".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 20_000
MAX_UNPACKED = 2**31  # bytes of a packed tar, which must be unpacked up to a member
MAX_READ = 2**24  # bytes of a single read, which bounds the headers in a tar


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file: on disk, or if `member` is its path there, in the archive `path`."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        return PurePosixPath(self.member).name if self.member else self.path.name

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[IO[bytes], int]]:
        """Yield the content as a seekable stream, and its size in bytes."""
        with self.path.open("rb") as file:
            if not self.member:
                yield file, self.path.stat().st_size
            elif is_tar(self.path):
                with _open_tar(file) as tar:
                    info = tar.getmember(self.member)
                    stream = tar.extractfile(info)
                    if stream is None:
                        raise ValueError(f"{self.member[:60]!r} is no file")
                    with stream:
                        yield stream, info.size
            else:
                with open_archive(file) as archive, archive.open(self.member) as stream:
                    yield stream, archive.getinfo(self.member).file_size


def is_archive(path: Path) -> bool:
    """Return whether a file is called like an archive that `entries` reads."""
    return path.name.lower().endswith((*ZIP_ENDS, *TAR_ENDS))


def is_tar(path: Path) -> bool:
    """Return whether a file is called like a tar archive."""
    return path.name.lower().endswith(TAR_ENDS)


def entries(path: Path) -> list[Entry]:
    """Return the files in an archive, without hidden ones and a Mac's notes. Raise `UserError`."""
    with reading(path, "a zip or tar archive"), path.open("rb") as file:
        if is_tar(path):
            names = _tar_names(file)
        else:
            with open_archive(file) as archive:
                if any(member.flag_bits & 1 for member in archive.infolist()):
                    raise ValueError("it is encrypted: unpack it with its password")
                names = [member.filename for member in archive.infolist() if not member.is_dir()]
    return [Entry(path, name) for name in names if not _is_hidden(name)]


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part != "." or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _tar_names(file: IO[bytes]) -> list[str]:
    """Return the paths of the regular files in a tar archive."""
    names: list[str] = []
    with _open_tar(file) as tar:
        for member in tar:
            if len(names) >= MAX_MEMBERS:
                raise ValueError("it has too many members")
            if member.isreg() and not member.issparse():
                names.append(member.name)
    return names


def _open_tar(file: IO[bytes]) -> tarfile.TarFile:
    """Open a tar archive, plain or packed with gzip; no read of it allocates more than MAX_READ."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    stream: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
    return tarfile.open(fileobj=_Bounded(stream), mode="r:")  # type: ignore[call-overload,no-any-return]


class _Bounded:
    """A stream whose reads and positions are bounded: tarfile reads as much as a header says, and seeks as far."""

    def __init__(self, stream: IO[bytes]):
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise ValueError(f"a part of {size} bytes")
        return self.stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        if position > MAX_UNPACKED:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED:,} bytes")
        return self.stream.seek(position, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def seekable(self) -> bool:
        return True
