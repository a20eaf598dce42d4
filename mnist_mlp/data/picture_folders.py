"""Read a data set of one's own from pictures in folders 0 to 9, as `predict` reads them.

Names and bytes are checked before the first picture is read, which takes a tenth of a second.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.cli.terminal import Terminal
from mnist_mlp.data import layouts, sets
from mnist_mlp.data.array_files import Arrays
from mnist_mlp.data.layouts import TEST, Found
from mnist_mlp.data.pictures import inputs, labelled, reading_cache
from mnist_mlp.data.pictures.labelled import Collection
from mnist_mlp.errors import UserError

Image = NDArray[np.uint8]  # [28, 28]


def read(found: Found, classes: tuple[str, ...]) -> tuple[Arrays, list[str]]:
    """Return the digits in the pictures of a data set, by the keys of SHAPES, and what should be known about them.

    `classes` are their names. A picture that is refused is left out, and a note says so. Raise `UserError` if a class
    has no pictures, if a picture has two classes, or if all are refused.
    """
    settings = inputs.Settings(digits=classes == sets.DIGITS)
    folders = {part: folder.path for part, (folder,) in found.files.items()}
    collections = {part: labelled.find(str(path), sets.DIGITS, flag="data_dir") for part, path in folders.items()}
    for part, collection in collections.items():
        _check_classes(folders[part], collection)
    labelled.check_labels(str(found.path), sets.DIGITS, [each.pictures for each in collections.values()], "data_dir")
    notes = [note for collection in collections.values() for note in collection.notes]
    notes += _passed_over(found, folders)

    arrays: Arrays = {}
    total, done = sum(len(each.pictures) for each in collections.values()), 0
    with Terminal(sys.stderr) as reporter, reading_cache.opened(settings) as read_one:
        for part, collection in collections.items():
            images, labels, refused = [], [], []
            for picture in collection.pictures:
                reporter.progress(f"{done:,} of {total:,} pictures read")
                done += 1
                try:
                    images.append(read_one(Path(picture.path)))
                    labels.append(picture.label)
                except UserError as error:
                    refused.append(f"{picture.path}: {str(error).removeprefix(f'{picture.path}: ')}")
            split = "test" if part == TEST else "train"
            notes += _refusals(folders[part], collection, refused)
            arrays[f"x_{split}"], arrays[f"y_{split}"] = np.stack(images), np.array(labels, np.uint8)
    return arrays, notes


def _check_classes(folder: Path, collection: Collection) -> None:
    """Raise `UserError` unless each of the ten classes has a picture."""
    present = {picture.label for picture in collection.pictures}
    if absent := [label for label in sets.DIGITS if int(label) not in present]:
        raise UserError(f"{folder}: expected pictures of all ten classes, received none of {', '.join(absent)}")


def _refusals(folder: Path, collection: Collection, refused: list[str]) -> list[str]:
    """Return a note about the pictures that are left out. Raise `UserError` if none remains."""
    if not refused:
        return []
    if len(refused) == len(collection.pictures):
        raise UserError(
            f"{folder}: expected pictures that can be read, received {len(refused):,}, all refused, such as "
            f"{refused[0]}"
        )
    count = f"{len(refused):,} of {len(collection.pictures):,} pictures in {folder}"
    return [f"{count} are refused and left out, such as {refused[0]}"]


def _passed_over(found: Found, folders: Mapping[str, Path]) -> list[str]:
    """Return a note about pictures that lie beside the folders train and test, and so belong to neither."""
    if layouts.ALL in folders:
        return []
    beside = labelled.with_pictures(found.path, without={path.name for path in folders.values()})
    if not beside:
        return []
    listed = ", ".join(beside[:5]) + f" and {len(beside) - 5} more" * (len(beside) > 5)
    return [f"passed over the pictures beside {' and '.join(folders)}: {listed}"]
