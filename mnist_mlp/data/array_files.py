"""Read images and labels from files: IDX (plain or gzip), NumPy's .npy and .npz.

For any bytes, the result is an array or one `UserError` that names the file. Headers are not trusted: a header is
checked against the size of its file before memory is allocated, and pickled objects are never loaded.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data import sets
from mnist_mlp.data.pixel_values import UnknownScale, to_grey_levels
from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
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
from mnist_mlp.files.members import Entry
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
BYTES = np.dtype(np.uint8)
DEFLATE_LIMIT = 1032  # the largest compression ratio of deflate, as in gzip


class NotFound(UserError):
    """The source does not exist; a plain `UserError` means that it exists and cannot be used."""


def shapes_of(name: str) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of a data set's arrays, by the keys of SHAPES; None for a length that may vary."""
    known = sets.find(name)
    if not known.any_size and known.sizes is None:
        return dict(SHAPES)
    train, test = known.sizes or (None, None)
    return {"x_train": (train, 28, 28), "y_train": (train,), "x_test": (test, 28, 28), "y_test": (test,)}


def find_idx(directory: Path, name: str = "mnist") -> dict[str, Path]:
    """Return the IDX files in a directory, {key of SHAPES: path}, without the keys that have no file.

    Names are NAME, NAME.gz and the dotted spelling (train-images.idx3-ubyte) of either; plain files come before gzip. A
    file may lie in a folder of its own name, as Kaggle unpacks it.
    """
    found = {}
    for key in IDX_NAMES:
        names = spellings(key, name)
        paths = [directory / name for name in names]
        nested = [directory / folder / name for folder in names for name in names]
        existing = [path for path in (*paths, *nested) if path.is_file()] or [path for path in paths if path.exists()]
        if existing:
            found[key] = existing[0]
    return found


def spellings(key: str, dataset: str = "mnist") -> tuple[str, ...]:
    """Return the names that the IDX file of a key of SHAPES may have, plain ones first."""
    names = []
    own = sets.find(dataset).idx[list(IDX_NAMES).index(key) :][:1]
    plain = (name.replace("idx2-int", "idx1-ubyte") for name in own)  # QMNIST's test labels are published in both forms
    for name in dict.fromkeys((*own, *plain, IDX_NAMES[key])):
        dotted = name.replace("-idx", ".idx")
        names += [name, dotted, f"{name}.gz", f"{dotted}.gz"]
    return tuple(names)


def read_idx_directory(directory: Path) -> Arrays:
    """Return the arrays of a directory's four IDX files. Raise `NotFound` unless it has all four."""
    found = find_idx(directory)
    missing = [name for key, name in IDX_NAMES.items() if key not in found]
    if missing:
        raise NotFound(f"no {', '.join(missing)} in {directory}")
    return read_idx_files({key: Entry(path) for key, path in found.items()}, SHAPES)


def read_idx_files(files: Mapping[str, Entry], shapes: Mapping[str, Sequence[int | None]]) -> Arrays:
    """Return the arrays of four IDX files, by the keys of SHAPES; they must have these shapes."""
    arrays = {
        key: read_idx(file, shapes[key]) if "idx2-int" not in file.name else read_qmnist_labels(file, shapes[key][0])
        for key, file in files.items()
    }
    for key in ("y_train", "y_test"):
        check_labels(arrays[key], files[key])
    return arrays


def read_qmnist_labels(file: Entry, count: int | None) -> NDArray[np.uint8]:
    """Return the labels in a file of QMNIST: the first of eight 32-bit numbers for each image."""
    labels = read_idx(file, (count, 8), np.dtype(">i4"))[:, 0]
    check_labels(labels, file)
    return labels.astype(np.uint8)


def read_idx(source: Path | Entry, expected: Sequence[int | None], dtype: np.dtype[Any] = BYTES) -> NDArray[Any]:
    """Return the array in an IDX file, plain or gzip (recognized by its first bytes, not by its name).

    `expected` is the required shape, with None for a length that may vary; `dtype` is uint8 or big-endian int32. The
    array is read-only.
    """
    code, called = (0x08, "bytes") if dtype == BYTES else (0x0C, "32-bit numbers")
    path = source if isinstance(source, Entry) else Entry(source)
    wanted = f"an IDX file of {times(expected)} {called}"
    with reading(path.path, wanted, path), path.open() as (file, file_size):
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        possible = file_size * (DEFLATE_LIMIT if packed else 1)
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
        magic = stream.read(4)
        if magic != bytes([0, 0, code, len(expected)]):  # 0, 0, type (8 = unsigned byte), dimensions
            raise UserError(f"{path}: expected {wanted}, received {_of_magic(magic, file, path.name)}")
        lengths = stream.read(4 * len(expected))
        shape = struct.unpack(f">{len(expected)}I", lengths)
        size = math.prod(shape) * dtype.itemsize
        fits = all(want in (None, got) for want, got in zip(expected, shape, strict=True))
        if not (fits and size <= possible):
            swapped = struct.unpack(f"<{len(expected)}I", lengths)
            if all(want in (None, got) for want, got in zip(expected, swapped, strict=True)) and (
                math.prod(swapped) <= possible
            ):
                raise UserError(
                    f"{path}: expected {wanted}, received lengths in the other byte order: IDX has the highest byte "
                    f"first; write {times(swapped)} so"
                )
        if not fits:
            raise UserError(f"{path}: expected {wanted}, received a header that says {times(shape)}")
        if size > min(possible, MAX_BYTES):
            raise UserError(
                f"{path}: expected {wanted}, received a header that says {times(shape)} in a file of {file_size} bytes"
            )
        body = read_up_to(stream, size + 1)  # one more byte reaches the end, where gzip checks its CRC
        if len(body) != size:
            amount = "more than that" if len(body) > size else f"only {len(body)} of them"
            raise UserError(f"{path}: expected {wanted}, {size} after the header, received {amount}")
    return as_array(body, dtype, shape)


def _of_magic(magic: bytes, file: IO[bytes], name: str) -> str:
    """Return what a file is that does not begin like the wanted IDX file; `magic` are its first bytes, unpacked."""
    file.seek(0)
    kind = kinds.recognize(file.read(kinds.START), Path(name).suffix)
    if kind is not None:
        return str(kind)
    if not magic:
        return "nothing, packed with gzip; copy or download it again"
    if magic[:2] == b"\0\0" and len(magic) == 4:
        kind_of_numbers = kinds.IDX_TYPES.get(magic[2])
        if kind_of_numbers:
            return f"IDX of {kind_of_numbers}; save them as unsigned bytes, 0–255"
        if magic[2:] == b"\x08\x01":
            return "IDX labels (one dimension); give the file of the images, such as t10k-images-idx3-ubyte"
        if magic[2] == 8:
            return f"IDX of {magic[3]} dimensions"
    if magic[2:] == b"\0\0" and magic[1] == 8:
        return "IDX in the other byte order; IDX has the highest byte first"
    return f"a file that begins with {magic!r}"


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
    if labels.dtype.kind not in "uif":
        raise UserError(f"{where}: expected labels 0–9, received {str(labels.dtype)[:60]}")
    invalid = labels[~((labels >= 0) & (labels <= 9) & (labels % 1 == 0))]
    if len(invalid):
        raise UserError(f"{where}: expected labels 0–9, received {invalid[0]} ({len(invalid)} invalid labels)")


def read_images(path: str | Path) -> NDArray[np.uint8]:
    """Return the images in a .npy, .npz or IDX file (plain or gzip): uint8 [n, 28, 28], 0–255, n ≥ 1.

    In an .npz, the only array is read, or `images`, or `x_test`. Shapes and numbers are those of `to_images`; anything
    else raises `UserError`, as do pickles.
    """
    path = path_of("input", str(path))
    try:
        return to_images(_read_array(path), str(path))
    except UserError as error:
        raise UserError(f"{error}; try another file with --input=FILE") from error


def to_images(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Return an array of images as uint8 [n, 28, 28], 0 (background) to 255 (ink), n ≥ 1.

    Accepted shapes: [n, 28, 28], [n, 784], [n, 28, 28, 1], [n, 1, 28, 28]; [28, 28] and [784] are one image. The
    numbers are grey levels 0–255 or ink 0–1, told apart by the rule of `pixel_values`. Raise `UserError`, which begins
    with `where`, for other shapes, and for numbers whose scale would be a guess.
    """
    frames = _frames(array, where)
    try:
        return np.ascontiguousarray(to_grey_levels(frames))
    except UnknownScale as error:
        which = f": image {error.image}" if len(frames) > 1 else ""
        values = f" ({frames.dtype} {frames.min()}–{frames.max()})" if error.pixel is not None else ""
        raise UserError(
            f"{where}{which}: expected {error.expected}, received {error.received}{values}; {error.remedy}"
        ) from None


def as_frames(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Return the images of a data set, of any shape that `to_images` accepts, as [n, 28, 28] with the same numbers."""
    return _frames(array, where)


def as_labels(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Return labels, [n], [n, 1] or one-hot [n, 10], as uint8 [n]. Raise `UserError` unless they are 0–9."""
    if array.ndim == 2 and array.shape[1] == 10:
        if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
            raise UserError(f"{where}: expected labels 0–9, or one 1 a row, received [n, 10] of other numbers")
        array = array.argmax(axis=1)
    labels = array.reshape(len(array))
    check_labels(labels, where)
    return labels.astype(np.uint8)


def _read_array(path: Path) -> NDArray[Any]:
    """Return the file's array in its own shape and type. Its first bytes, not its name, tell the format."""
    wanted = "images as .npy, .npz or IDX"
    with reading(path, wanted), path.open("rb") as file:
        start = file.read(kinds.START)
        file.seek(0)
        if start.startswith(b"\x93NUM"):
            return read_npy(file, path.stat().st_size, str(path))
        if kind := kinds.recognize(start, path.suffix):
            raise UserError(f"{path}: expected {wanted}, received {kind}")
        if start.startswith(b"PK\x03\x04"):
            with open_archive(file) as archive:
                return read_member(archive, _image_key(archive, path), path)
        if start[:2] in (b"\0\0", b"\x1f\x8b", b"\3\x08", b"\1\x08"):  # the last two: in the other byte order
            return read_idx(path, (None, 28, 28))
        raise UserError(f"{path}: expected {wanted}, received a file that begins with {start[:4]!r}")


def _frames(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Return the same numbers as [n, 28, 28]."""
    if array.shape in ((28, 28), (784,)) or array.shape[1:] in ((784,), (28, 28), (28, 28, 1), (1, 28, 28)):
        frames = array.reshape(-1, 28, 28) if array.size else array
        if len(frames):
            return frames
    hint = ""
    if array.shape[1:] in ((8, 8), (64,)):
        hint = "; for scikit-learn's digits, use --dataset=digits, or mnist_mlp.data.embedded_digits.enlarge"
    elif array.shape[-1:] in ((3,), (4,)) and array.shape[-3:-1] == (28, 28):
        hint = "; for colours, save one channel, or pictures"
    raise UserError(
        f"{where}: expected images as [n, 28, 28], [28, 28], [n, 784] or [n, 28, 28, 1], n ≥ 1, "
        f"received [{', '.join(map(str, array.shape))}]{hint}"
    )


def _image_key(archive: zipfile.ZipFile, path: Path) -> str:
    """Return the name of the array of images in an archive."""
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    for key in ("images", "x_test", *keys[: len(keys) == 1]):
        if key in keys:
            return key
    raise UserError(f"{path}: expected one array, or one called images or x_test, received {names_in(keys)}")
