"""Find a data set below a directory: as Kaggle, torchvision and TFDS lay it out, and as archives are unpacked."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnist_mlp.data import array_files, downloads
from mnist_mlp.files import kinds

DEPTH = 3  # folders below the given one, as in data/MNIST/raw
DIRECTORIES = 2000  # that are looked at, so that a whole disk takes little time
IDX, NPZ, TFDS = "idx", "npz", "tfds"  # values of --data_source


@dataclasses.dataclass(frozen=True)
class Found:
    """A data set on disk: its format, a value of --data_source, and its directory (its file for npz)."""

    format: str
    path: Path

    def __str__(self) -> str:
        if self.format == NPZ:
            return f"{self.path.name} in {self.path.parent}"
        return f"{'IDX files in' if self.format == IDX else 'TFDS directory'} {self.path}"


def in_directory(name: str, directory: Path) -> list[Found]:
    """Return what the directory itself holds of the data set `name`, the preferred format first."""
    found = []
    if len(array_files.find_idx(directory)) == len(array_files.IDX_NAMES):
        found.append(Found(IDX, directory))
    if (directory / f"{name}.npz").exists():
        found.append(Found(NPZ, directory / f"{name}.npz"))
    if downloads.find_tfds(name, directory) is not None:
        found.append(Found(TFDS, directory))
    return found


def below(name: str, directory: Path, formats: Sequence[str]) -> list[Found]:
    """Return what the folders below a directory hold of the data set, the nearest first.

    If there are several data sets, only those below a folder of the right name remain: beside MNIST/raw, torchvision
    may have FashionMNIST/raw.
    """
    found = [
        each
        for folder, names in _folders(directory)
        if names & _signs(name)
        for each in in_directory(name, folder)
        if each.format in formats
    ]
    if len(found) > 1:
        named = [each for each in found if any(_is_called(name, part) for part in _parts(each, directory))]
        found = named or found
    return found


def _signs(name: str) -> set[str]:
    """Return the names of files and folders of which a data set has at least one."""
    return {*array_files.spellings("x_test"), f"{name}.npz", name, "dataset_info.json"}


def _folders(directory: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield the folders below a directory with the names in each, level by level; hidden ones are passed over."""
    level, seen = [directory], 0
    for depth in range(DEPTH + 1):
        deeper: list[Path] = []
        for folder in level:
            seen += 1
            if seen > DIRECTORIES:
                return
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                inside = sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)
                deeper += [Path(each.path) for each in inside if each.is_dir()]
                if depth:
                    yield folder, {each.name for each in inside}
        level = deeper


def _parts(found: Found, directory: Path) -> tuple[str, ...]:
    return found.path.relative_to(directory).parts


def _is_called(name: str, folder: str) -> bool:
    """Return whether a folder has the name of the data set: MNIST, mnist_data; FashionMNIST, fashion-mnist."""
    letters = re.sub("[^a-z]", "", folder.lower())
    return letters.startswith("fashion" if name == "fashion_mnist" else "mnist")


def lead(directory: Path, contents: Sequence[str]) -> str:
    """Return what a directory without the data set has instead, to end a message with; "" if it says nothing."""
    found = array_files.find_idx(directory)
    missing = [array_files.IDX_NAMES[key] for key in array_files.IDX_NAMES if key not in found]
    if found and not missing:
        return "; it has the four IDX files: omit --data_source, or use --data_source=idx"
    if found:
        return f"; no {', '.join(missing)} in it"
    if {*"0123456789"} <= {*contents}:
        return "; folders of pictures, one for each class, are not read yet"
    for entry in contents[:50]:
        if (directory / entry).is_file() and (kind := kinds.recognize_path(directory / entry)):
            return f"; {entry} is {kind.name if kind in kinds.READABLE else kind}"
    return ""
