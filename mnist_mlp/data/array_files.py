"""Read images and labels from files: IDX (plain or gzip), NumPy's .npy and .npz.

For any bytes, the result is an array or one `UserError` that names the file. Headers are not trusted: a header is
checked against the size of its file before memory is allocated, and pickled objects are never loaded.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import (
    MAX_BYTES,
    as_array,
    names_in,
    open_archive,
    read_member,
    read_npy,
    read_up_to,
    reading,
    times,
)
from mnist_mlp.options import path_of

Arrays = dict[str, NDArray[np.uint8]]  # with the keys of SHAPES, as in Keras' mnist.npz

SHAPES: dict[str, tuple[int, ...]] = {
    "x_train": (60000, 28, 28),
    "y_train": (60000,),
    "x_test": (10000, 28, 28),
    "y_test": (10000,),
}
IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
DEFLATE_LIMIT = 1032  # the largest compression ratio of deflate, as in gzip


class NotFound(UserError):
    """The source does not exist; a plain `UserError` means that it exists and cannot be used."""


def find_idx(directory: Path) -> dict[str, Path]:
    """Return the IDX files in a directory, {key of SHAPES: path}, without the keys that have no file.

    Names are NAME, NAME.gz and the dotted spelling (train-images.idx3-ubyte) of either; plain files come before gzip.
    """
    found = {}
    for key, name in IDX_NAMES.items():
        dotted = name.replace("-idx", ".idx")
        paths = [directory / spelling for spelling in (name, dotted, f"{name}.gz", f"{dotted}.gz")]
        existing = [path for path in paths if path.is_file()] or [path for path in paths if path.exists()]
        if existing:
            found[key] = existing[0]
    return found


def read_idx_directory(directory: Path) -> Arrays:
    """Return the arrays of a directory's four IDX files. Raise `NotFound` unless it has all four."""
    found = find_idx(directory)
    missing = [name for key, name in IDX_NAMES.items() if key not in found]
    if missing:
        raise NotFound(f"no {', '.join(missing)} in {directory}")
    arrays = {key: read_idx(path, SHAPES[key]) for key, path in found.items()}
    for key in ("y_train", "y_test"):
        check_labels(arrays[key], found[key])
    return arrays


def read_idx(path: Path, expected: Sequence[int | None]) -> NDArray[np.uint8]:
    """Return the array in an IDX file of bytes, plain or gzip (recognized by its first bytes, not by its name).

    `expected` is the required shape, with None for a length that may vary. The array is read-only.
    """
    wanted = f"an IDX file of {times(expected)} bytes"
    with reading(path, wanted), path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        possible = path.stat().st_size * (DEFLATE_LIMIT if packed else 1)
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
        magic = stream.read(4)
        if magic != bytes([0, 0, 8, len(expected)]):  # 0, 0, type (8 = unsigned byte), dimensions
            raise UserError(f"{path}: expected {wanted}, received a file that begins with {magic!r}")
        shape = struct.unpack(f">{len(expected)}I", stream.read(4 * len(expected)))
        if any(want not in (None, got) for want, got in zip(expected, shape, strict=True)):
            raise UserError(f"{path}: expected {wanted}, received a header that says {times(shape)}")
        size = math.prod(shape)
        if size > min(possible, MAX_BYTES):
            raise UserError(
                f"{path}: expected {wanted}, received a header that says {times(shape)} "
                f"in a file of {path.stat().st_size} bytes"
            )
        body = read_up_to(stream, size + 1)  # one more byte reaches the end, where gzip checks its CRC
        if len(body) != size:
            amount = "more than that" if len(body) > size else f"only {len(body)} of them"
            raise UserError(f"{path}: expected {wanted}, {size} after the header, received {amount}")
    return as_array(body, np.dtype(np.uint8), shape)


def read_npz(path: Path) -> Arrays:
    """Return the arrays in Keras' mnist.npz. Raise `NotFound` if there is no such file."""
    if not path.exists():
        raise NotFound(f"no {path.name} in {path.parent}")
    with (
        reading(path, f"an .npz file with {', '.join(SHAPES)}"),
        path.open("rb") as file,
        open_archive(file) as archive,
    ):
        arrays = {key: read_member(archive, key, path, shape) for key, shape in SHAPES.items()}
    for key in ("y_train", "y_test"):
        check_labels(arrays[key], path)
    return arrays


def check_labels(labels: NDArray[Any], where: object) -> None:
    """Raise `UserError`, which names the file `where`, unless all labels are 0–9."""
    invalid = labels[(labels < 0) | (labels > 9)]
    if len(invalid):
        raise UserError(f"{where}: expected labels 0–9, received {invalid[0]} ({len(invalid)} invalid labels)")


def read_images(path: str | Path) -> NDArray[np.uint8]:
    """Return the images in a .npy, .npz or IDX file (plain or gzip): uint8 [n, 28, 28], 0–255, n ≥ 1.

    Accepted shapes: [n, 28, 28], [28, 28] (one image), [n, 784], [n, 28, 28, 1]. In an .npz, the only array is read, or
    `images`, or `x_test`. Integers of any type are grey levels 0–255; floats are shares of full ink, 0–1, which are
    multiplied by 255 and rounded. Anything else (floats above 1, NaN, negative numbers, bool, pickles) raises
    `UserError`, since its meaning would be a guess.
    """
    path = path_of("input", str(path))
    try:
        array = _read_array(path)
        return np.ascontiguousarray(_grey_levels(_frames(array, path), path))
    except UserError as error:
        raise UserError(f"{error}; try another file with --input=FILE") from error


def _read_array(path: Path) -> NDArray[Any]:
    """Return the file's array in its own shape and type. Its first bytes, not its name, tell the format."""
    wanted = "images as .npy, .npz or IDX"
    with reading(path, wanted), path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start == b"\x93NUM":
            return read_npy(file, path.stat().st_size, str(path))
        if start == b"PK\x03\x04":
            with open_archive(file) as archive:
                return read_member(archive, _image_key(archive, path), path)
        if start[:2] in (b"\0\0", b"\x1f\x8b"):
            return read_idx(path, (None, 28, 28))
        raise UserError(f"{path}: expected {wanted}, received a file that begins with {start!r}")


def _frames(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return the same numbers as [n, 28, 28]."""
    if array.shape == (28, 28) or array.shape[1:] in ((784,), (28, 28), (28, 28, 1)):
        frames = array.reshape(-1, 28, 28) if array.size else array
        if len(frames):
            return frames
    raise UserError(
        f"{path}: expected images as [n, 28, 28], [28, 28], [n, 784] or [n, 28, 28, 1], n ≥ 1, "
        f"received [{', '.join(map(str, array.shape))}]"
    )


def _grey_levels(images: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """Return the same images as uint8, by the rules of `read_images`."""
    if images.dtype == np.uint8:
        return images
    top = {"i": 255, "u": 255, "f": 1}.get(images.dtype.kind)
    if top is None:
        raise UserError(f"{path}: expected integers 0–255 or floats 0–1, received {images.dtype}")
    if not np.isfinite(images).all():
        raise UserError(f"{path}: expected floats 0–1, received NaN or infinity")
    low, high = images.min(), images.max()
    if low < 0 or high > top:
        raise UserError(
            f"{path}: expected {'floats 0–1' if top == 1 else 'integers 0–255'}, "
            f"received {images.dtype} {low}–{high}; save the images as uint8, 0–255"
        )
    return np.rint(images * 255.0).astype(np.uint8) if top == 1 else images.astype(np.uint8)


def _image_key(archive: zipfile.ZipFile, path: Path) -> str:
    """Return the name of the array of images in an archive."""
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    for key in ("images", "x_test", *keys[: len(keys) == 1]):
        if key in keys:
            return key
    raise UserError(f"{path}: expected one array, or one called images or x_test, received {names_in(keys)}")
