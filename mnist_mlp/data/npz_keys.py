"""Find images and labels in an .npz file whatever its arrays are called: by their shapes, and by train and test."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data.array_files import SHAPES, as_frames, as_labels
from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import names_in, open_archive, read_member, reading, times, truncated
from mnist_mlp.files.members import Entry

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "t10k": "test"}
Found = dict[str, NDArray[Any]]


def read_npz_parts(file: Entry, expected: Mapping[str, Sequence[int | None]]) -> Found:
    """Return images and labels under the keys of SHAPES; without those of a test split if there is but one of each.

    `expected` are the shapes that they must have if there are two splits; None for a length that may vary.

    Images [n, 28, 28], [n, 784], [n, 28, 28, 1] or [n, 1, 28, 28] of any type come as [n, 28, 28], labels as [n].
    Raise `UserError`, which lists the arrays, unless each has one meaning.
    """
    wanted = f"an .npz file with {', '.join(SHAPES)}"
    with reading(file.path, wanted, file), file.open() as (stream, _), open_archive(stream) as archive:
        shapes = {name.removesuffix(".npy"): shape_of(archive, name) for name in archive.namelist()}
        keys = meanings(shapes)
        if keys is None:
            listed = truncated(
                ", ".join(f"{key} {times(shape or ())}" for key, shape in list(shapes.items())[:12]), 400
            )
            raise UserError(
                f"{file}: expected {wanted}, or other names that tell images and labels, train and test apart, "
                f"received {listed or 'no array'}; save it with np.savez(FILE, x_train=…, y_train=…, x_test=…, "
                "y_test=…)"
            )
        for meaning, key in keys.items():
            wants, has = expected[meaning][0], (shapes[key] or (0,))[0]
            if len(keys) == len(SHAPES) and wants not in (None, has):
                raise UserError(f"{file}: expected {wants:,} images or labels in {key}, received {has:,}")
        arrays = {meaning: read_member(archive, key, file) for meaning, key in keys.items()}
    return {
        meaning: as_frames(array, f"{file} ({keys[meaning]})")
        if meaning.startswith("x")
        else as_labels(array, f"{file} ({keys[meaning]})")
        for meaning, array in arrays.items()
    }


def read_only_array(meaning: str, file: Entry) -> NDArray[Any]:
    """Return the only array of an .npz file: [n, 28, 28] for the images of a split, [n] for its labels."""
    wanted = "an .npz file with one array"
    with reading(file.path, wanted, file), file.open() as (stream, _), open_archive(stream) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise UserError(f"{file}: expected {wanted}, received {names_in(names)}")
        array = read_member(archive, names[0].removesuffix(".npy"), file)
    return as_frames(array, str(file)) if meaning.startswith("x") else as_labels(array, str(file))


def shape_of(archive: zipfile.ZipFile, name: str) -> tuple[int, ...] | None:
    """Return the shape of an array in an archive; None for what is no array of numbers."""
    if not name.endswith(".npy"):
        return None
    with archive.open(name) as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            return None
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return shape if dtype.kind in "biuf" else None


def meanings(shapes: Mapping[str, Sequence[int] | None]) -> dict[str, str] | None:
    """Return {key of SHAPES: name of the array}, with those of a test split or without; None if there is a doubt."""
    found: dict[str, str] = {}
    for name, shape in shapes.items():
        if shape is None or min(shape, default=0) < 1:
            continue
        kind = "x" if is_images(shape) else "y" if is_labels(shape) else ""
        words = [word for word in re.split(r"[^a-z0-9]+", _words(name)) if word]
        parts = {PARTS[word] for word in words if word in PARTS}
        if not kind:
            continue
        if len(parts) > 1:
            return None
        key = f"{kind}_{parts.pop() if parts else ''}"
        if key in found:
            return None
        found[key] = name
    if found.keys() == {"x_", "y_"}:  # all images together
        return {"x_train": found["x_"], "y_train": found["y_"]}
    return found if found.keys() in ({*SHAPES}, {"x_train", "y_train"}) else None


def is_images(shape: Sequence[int]) -> bool:
    """Return whether an array of this shape holds images of 28×28 pixels."""
    return tuple(shape[1:]) in ((784,), (28, 28), (28, 28, 1), (1, 28, 28))


def is_labels(shape: Sequence[int]) -> bool:
    """Return whether an array of this shape may hold labels, as numbers or one-hot."""
    return len(shape) == 1 or tuple(shape[1:]) in ((1,), (10,))


def _words(name: str) -> str:
    """Return the name with its words apart: trainImages, Xtrain and X_train alike."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    apart = re.sub(r"(train(?:ing)?|test(?:ing)?|t10k)", r" \1 ", apart.lower())
    return apart.replace("_", " ")
