"""Read Parquet files of images, as Hugging Face has MNIST: a column of PNG files and one of labels.

pyarrow reads them. It is imported in the function alone: nothing else needs it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import MAX_BYTES, read_up_to, reading, truncated
from mnist_mlp.files.members import Entry

IMAGES = ("image", "img", "images", "pixels")  # what the column may be called
LABELS = ("label", "labels", "class", "target", "digit", "fine_label")
MAX_ROWS = MAX_BYTES // 784
AT_ONCE = 1024  # rows


def missing_pyarrow(file: object) -> UserError:
    """Return the error without the package."""
    return UserError(
        f"{file}: reading Parquet files needs pyarrow, which is not installed; run: pip install 'mnist_mlp[parquet]'"
    )


def read_parquet(files: Sequence[Entry]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[str, ...]]:
    """Return the images, uint8 [n, 28, 28], the labels, uint8 [n], and the names of the classes, () without any.

    `files` are the shards of one split, in their order. Raise `UserError`.
    """
    shards = [_read_shard(file) for file in files]
    names = {each[2] for each in shards}
    if len(names) > 1:
        raise UserError(f"{files[0]}: expected the same classes in each of the files of a split, received others")
    return np.concatenate([each[0] for each in shards]), np.concatenate([each[1] for each in shards]), names.pop()


def _read_shard(file: Entry) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[str, ...]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise missing_pyarrow(file) from None

    wanted = "a Parquet file of images and labels"
    with reading(file.path, wanted, file), file.open() as (stream, size):
        if size > MAX_BYTES:
            raise UserError(f"{file}: expected {wanted} of at most {MAX_BYTES:,} bytes, received {size:,}")
        content = read_up_to(stream, size)
        table = parquet.ParquetFile(io.BytesIO(content))
        about = table.metadata
        claimed = sum(about.row_group(index).total_byte_size for index in range(about.num_row_groups))
        if about.num_rows > MAX_ROWS or claimed > 2 * MAX_BYTES:
            raise UserError(f"{file}: expected {wanted}, at most {MAX_ROWS:,}, received {about.num_rows:,}")
        names = table.schema_arrow.names
        columns = [_column(names, known, file) for known in (IMAGES, LABELS)]
        images: list[NDArray[np.uint8]] = []
        labels: list[Any] = []
        for batch in table.iter_batches(AT_ONCE, columns=columns):
            for value in batch.column(columns[0]).to_pylist():
                images.append(_pixels(value, file, len(images)))
            labels += batch.column(columns[1]).to_pylist()
        classes = _class_names(table.schema_arrow.metadata, columns[1])
    if not images:
        raise UserError(f"{file}: expected {wanted}, received no rows")
    for row, label in enumerate(labels):
        if type(label) is not int or not 0 <= label <= 9:
            raise UserError(f"{file}, row {row}: expected a label 0–9, received {truncated(repr(label), 40)}")
    return np.stack(images), np.array(labels, np.uint8), classes


def _column(names: Sequence[str], known: Sequence[str], file: Entry) -> str:
    """Return the first of the known names that a table has."""
    for name in known:
        if name in names:
            return name
    raise UserError(
        f"{file}: expected a column {known[0]} beside one of {'labels' if known is IMAGES else 'images'}, received "
        f"{truncated(', '.join(names), 150) or 'none'}; rename it"
    )


def _pixels(value: Any, file: Entry, row: int) -> NDArray[np.uint8]:
    """Return an image as uint8 [28, 28]: of a PNG file, or of grey levels in a list."""
    where = f"{file}, row {row}"
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, bytes):
        return _decoded(value, where)
    try:
        levels = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        levels = np.empty(0)
    if levels.size != 784 or not ((levels >= 0) & (levels <= 255) & (levels % 1 == 0)).all():
        raise UserError(f"{where}: expected a picture, or 28×28 grey levels 0–255, received neither")
    return levels.astype(np.uint8).reshape(28, 28)


def _decoded(content: bytes, where: str) -> NDArray[np.uint8]:
    """Return the pixels of a picture file of 28×28 grey pixels."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "BMP")) as picture:
            if picture.size != (28, 28) or picture.mode not in ("L", "1"):
                width, height = picture.size
                raise UserError(f"{where}: expected 28×28 grey pixels, received {width}×{height} of {picture.mode}")
            return np.asarray(picture.convert("L"), np.uint8)
    except UserError:
        raise
    except Exception as error:  # decoders raise many types of exception on damaged bytes
        raise UserError(f"{where}: expected a PNG picture, received a damaged one") from error


def _class_names(metadata: Any, column: str) -> tuple[str, ...]:
    """Return the names of the classes that Hugging Face's library noted in the file, () if it noted none."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = tuple(features[column]["names"])
    except (KeyError, TypeError, ValueError, LookupError):
        return ()
    return names if len(names) == 10 and all(type(name) is str and name for name in names) else ()


def shard_of(name: str) -> tuple[str, int, int]:
    """Return (the name without it, index, count) of a file name such as train-00000-of-00002.parquet."""
    match = re.fullmatch(r"(.*?)-(\d{5})-of-(\d{5})(.*)", name)
    return (match[1] + match[4], int(match[2]), int(match[3])) if match else (name, 0, 1)
