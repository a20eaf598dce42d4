"""Read NumPy arrays and zip archives from untrusted files.

Sizes in headers are compared with the size of the file before memory is allocated. Pickled objects are never loaded.
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

MAX_BYTES = 2**30  # of one array: 1.3 million images
MAX_DIRECTORY = 2**20  # of an archive's directory: thousands of members; Python needs ten times as much memory
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED  # bzip2 and LZMA decompress blocks of any size at once


@contextlib.contextmanager
def reading(path: Path, wanted: str, where: object = None) -> Iterator[None]:
    """Convert any error in the block into a `UserError` that names the file; `wanted` is what was expected.

    `where` names it in messages instead of `path`: a member of an archive.
    """
    where = where or path
    try:
        if not path.is_file():  # opening a named pipe would block
            special = "a special file" if path.exists() else "no such file"
            what = "a directory" if path.is_dir() else special
            raise UserError(f"{where}: expected {wanted}, received {what}")
        yield
    except UserError:
        raise
    except EOFError as error:  # of gzip
        why = "damaged file: it ends early, as after an interrupted download; copy or download it again"
        raise UserError(f"{where}: expected {wanted}, received a {why}") from error
    except PermissionError as error:
        raise UserError(f"{where}: expected {wanted}, received a file without read permission") from error
    except Exception as error:  # parsers raise many types of exception on damaged bytes
        raise UserError(f"{where}: expected {wanted}, received a damaged file ({reason_of(error)})") from error


def reason_of(error: Exception) -> str:
    """Return the message of an exception, shortened: parsers quote thousands of bytes of a file."""
    return truncated(" ".join(str(error).split()), 150) or type(error).__name__


def truncated(text: str, length: int) -> str:
    """Return text from a file on one line, at most `length` characters, unprintable ones escaped."""
    text = text if len(text) <= length else text[:length] + "…"
    return text if text.isprintable() else ascii(text)


def times(shape: Sequence[int | None]) -> str:
    """Return a shape as text: 60000×28×28."""
    return "×".join("n" if length is None else str(length) for length in shape)[:100] or "one number"


def names_in(names: Sequence[str]) -> str:
    """Return the first names in a file as text."""
    return truncated(", ".join(names[:10]) + ", …" * (len(names) > 10), 150) or "none"


def open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    """Open a zip archive as Python's zipfile writes it, with a small directory and unique names.

    Raise ValueError or zipfile's errors for anything else, also for rare compression methods.
    """
    file.seek(0)
    if file.read(4) not in (b"PK\3\4", b"PK\5\6"):  # zipfile skips anything before an archive
        raise ValueError("it does not start like a zip archive")
    file.seek(max(0, file.seek(0, 2) - 42))
    end = file.read()
    # Neither a comment after the end record nor a ZIP64 record before it: so zipfile reads this record and no other,
    # and allocates what it says.
    if end[-22:-18] != b"PK\5\6" or end[-2:] != b"\0\0" or end[:4] == b"PK\6\7":
        raise ValueError("it does not end like a zip archive")
    if int.from_bytes(end[-10:-6], "little") > MAX_DIRECTORY:
        raise ValueError("it has too many members")
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise ValueError("two members have the same name")
    for member in archive.infolist():
        if member.compress_type not in (STORED, DEFLATED):
            raise ValueError(f"it uses compression method {member.compress_type}")
    return archive


def read_npy(
    stream: IO[bytes], size: int, where: str, key: str = "", expected: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """Read an array in NumPy's format of `size` bytes with its header; `expected` demands uint8 of that shape."""
    # np.load would allocate what the header says, whatever the size of the file.
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):  # a later header may be 4 GB long, and NumPy reads it without a check
        raise UserError(f"{where}: expected NumPy's format 1.0, received {version[0]}.{version[1]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python's parser, about damaged headers
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
    body = read_up_to(stream, length)  # reads to the end of a member, where zipfile checks its CRC
    if len(body) != length:
        raise UserError(f"{where}: expected {length} bytes after the header, received {len(body)}")
    return as_array(body, dtype, shape, "F" if fortran else "C")


def read_up_to(stream: IO[bytes], size: int) -> bytearray:
    """Read at most `size` bytes in pieces: read(size) would allocate all of them, even if they are missing."""
    body = bytearray()
    while piece := stream.read(min(size - len(body), 2**20)):
        body += piece
    return body


def as_array(
    body: bytearray, dtype: np.dtype[Any], shape: Sequence[int], order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    """Return the bytes as a read-only array."""
    array = np.frombuffer(body, dtype).reshape(shape, order=order)
    array.flags.writeable = False
    return array


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file that np.savez wrote: {name: read-only array of any numeric type}.

    Names may contain slashes. Compressed members and files above MAX_BYTES are refused. Checksums are verified.
    """
    with reading(path, "an .npz file as np.savez writes it"), path.open("rb") as file, open_archive(file) as archive:
        size, members = path.stat().st_size, archive.infolist()
        if size > MAX_BYTES:
            raise UserError(f"{path}: expected an .npz file of at most {MAX_BYTES} bytes, received {size}")
        if any(member.compress_type != STORED for member in members):
            raise ValueError("its arrays are compressed")
        if sum(member.file_size for member in members) > size:  # members that share bytes, or a false size
            raise ValueError("its arrays claim to be larger than the file")
        if odd := [member.filename for member in members if not member.filename.endswith(".npy")]:
            raise ValueError(f"{odd[0][:60]!r} is not an array")
        return {member.filename[:-4]: read_member(archive, member.filename[:-4], path) for member in members}


def read_member(
    archive: zipfile.ZipFile, key: str, path: object, expected: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """Read one array of an .npz file; `expected` demands uint8 of that shape."""
    if f"{key}.npy" not in archive.namelist():
        raise UserError(f"{path}: expected an array {key}, received {names_in(archive.namelist())}")
    with archive.open(f"{key}.npy") as stream:
        where = str(path) if expected else f"{path} ({names_in([key])})"
        return read_npy(stream, archive.getinfo(f"{key}.npy").file_size, where, key, expected)


def checksum(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 (hex) of a JSON value and of the name, type, shape and bytes of each array."""
    hasher = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hasher.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        hasher.update(array.data)
    return hasher.hexdigest()
