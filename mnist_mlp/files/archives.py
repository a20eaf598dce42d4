"""Zip archives and NumPy's arrays in files that may hold anything.

Nothing is read on the word of a header alone: it is compared with the size of the file first, and what is read grows
with the bytes that are really there. Pickled objects are never loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.errors import UserError

MAX_BYTES = 2**30  # of one array: 1.3 million images; a file that unpacks to more is refused unread
MAX_DIRECTORY = 2**20  # of an archive's list of members: thousands; Python needs ten times that to hold it
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED  # bzip2 and LZMA unpack whole blocks, of any size


@contextlib.contextmanager
def reading(path: Path, wanted: str) -> Iterator[None]:
    """Turns whatever goes wrong while a file is read into one UserError that names the file."""
    try:
        if not path.is_file():  # also keeps us from waiting on a named pipe
            special = "a special file" if path.exists() else "no such file"
            what = "a directory" if path.is_dir() else special
            raise UserError(f"{path}: expected {wanted}, received {what}")
        yield
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"{path}: expected {wanted}, received a file that may not be read") from error
    except Exception as error:  # parsers fail in many ways on damaged bytes; each is the file's fault
        raise UserError(f"{path}: expected {wanted}, received a damaged file ({reason_of(error)})") from error


def reason_of(error: Exception) -> str:
    """What an exception says, as a part of our own line: parsers put thousands of bytes of a file into theirs."""
    return truncated(" ".join(str(error).split()), 150) or type(error).__name__


def truncated(text: str, length: int) -> str:
    """Words out of a file, for the reader: on one line, no longer than that, and nothing that steers a terminal."""
    text = text if len(text) <= length else text[:length] + "…"
    return text if text.isprintable() else ascii(text)


def times(shape: Sequence[int | None]) -> str:
    """A shape for the reader: 60000×28×28."""
    return "×".join("n" if length is None else str(length) for length in shape)[:100] or "one number"


def names_in(names: Sequence[str]) -> str:
    """The first of the names in a file, for the reader."""
    return truncated(", ".join(names[:10]) + ", …" * (len(names) > 10), 150) or "none"


def open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    """The zip archive in an open file, as zipfile writes it: its directory of members is small, no two have one name.

    Raises ValueError or zipfile's errors for anything else, rare ways to pack among it.
    """
    file.seek(0)
    if file.read(4) not in (b"PK\3\4", b"PK\5\6"):  # zipfile passes over anything that stands before an archive
        raise ValueError("it does not begin as a zip archive does")
    file.seek(max(0, file.seek(0, 2) - 42))
    end = file.read()
    # No comment behind the record of the end, and none of the longer records for archives above 4 GB before it:
    # then zipfile reads this record and no other, and allocates by its word.
    if end[-22:-18] != b"PK\5\6" or end[-2:] != b"\0\0" or end[:4] == b"PK\6\7":
        raise ValueError("it does not end as a zip archive does")
    if int.from_bytes(end[-10:-6], "little") > MAX_DIRECTORY:
        raise ValueError("it claims too many members")
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise ValueError("two of its members have one name")
    for member in archive.infolist():
        if member.compress_type not in (STORED, DEFLATED):
            raise ValueError(f"it is packed in an unusual way, {member.compress_type}")
    return archive


def read_npy(
    stream: IO[bytes], size: int, where: str, key: str = "", expected: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """One array in NumPy's format, `size` bytes with its header; uint8 of the shape `expected` if that is given."""
    # np.load would allocate what the header says, whatever the file's size.
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):  # the header of a later one may be 4 GB long, and NumPy reads it before it looks at that
        raise UserError(f"{where}: expected NumPy's format 1.0, received {version[0]}.{version[1]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's parser, on what stands in a damaged header
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise UserError(f"{where}: expected numbers, received pickled Python objects, which are never loaded")
    if expected and (shape != expected or dtype != np.uint8):
        raise UserError(f"{where}: expected {key} as uint8 {times(expected)}, received {dtype} {times(shape)}")
    if dtype.kind not in "biufc":
        raise UserError(f"{where}: expected numbers, received {str(dtype)[:60]}")
    length = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or length != size - stream.tell() or length > MAX_BYTES:
        raise UserError(
            f"{where}: expected {length} bytes for {dtype} {times(shape)} (at most {MAX_BYTES}), "
            f"received {size - stream.tell()}"
        )
    body = read_up_to(stream, length)  # to the end of a member, where zipfile checks its CRC
    if len(body) != length:
        raise UserError(f"{where}: expected {length} bytes after the header, received {len(body)}")
    return as_array(body, dtype, shape, "F" if fortran else "C")


def read_up_to(stream: IO[bytes], size: int) -> bytearray:
    """At most `size` bytes, piece by piece: one read(size) would allocate them all, whether they are there or not."""
    body = bytearray()
    while piece := stream.read(min(size - len(body), 2**20)):
        body += piece
    return body


def as_array(
    body: bytearray, dtype: np.dtype[Any], shape: Sequence[int], order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    """Those bytes as an array that is read-only."""
    array = np.frombuffer(body, dtype).reshape(shape, order=order)
    array.flags.writeable = False
    return array


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file that np.savez wrote, {name: array}; they are read-only, and numbers of any kind.

    A name may hold slashes. Compressed members are refused, so what is read is no larger than the file, and that no
    larger than MAX_BYTES. Every check sum is checked.
    """
    with reading(path, "an .npz file as np.savez writes it"), path.open("rb") as file, open_archive(file) as archive:
        size, members = path.stat().st_size, archive.infolist()
        if size > MAX_BYTES:
            raise UserError(f"{path}: expected an .npz file of at most {MAX_BYTES} bytes, received {size}")
        if any(member.compress_type != STORED for member in members):
            raise ValueError("its arrays are compressed")
        if sum(member.file_size for member in members) > size:  # members that share their bytes, or that lie
            raise ValueError("its arrays claim to be larger than the file")
        if odd := [member.filename for member in members if not member.filename.endswith(".npy")]:
            raise ValueError(f"{odd[0][:60]!r} is not an array")
        return {member.filename[:-4]: _read_member(archive, member.filename[:-4], path) for member in members}


def _read_member(
    archive: zipfile.ZipFile, key: str, path: Path, expected: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """One array of an .npz file, uint8 of the shape `expected` if that is given."""
    if f"{key}.npy" not in archive.namelist():
        raise UserError(f"{path}: expected an array {key}, received {names_in(archive.namelist())}")
    with archive.open(f"{key}.npy") as stream:
        where = str(path) if expected else f"{path} ({names_in([key])})"
        return read_npy(stream, archive.getinfo(f"{key}.npy").file_size, where, key, expected)


def checksum(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) over the JSON value and over name, type, shape and bytes of each array."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.data)
    return found.hexdigest()
