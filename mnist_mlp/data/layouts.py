"""Find a data set in a directory, below it, or in an archive.

Known are the layouts of Kaggle, torchvision, TFDS and Hugging Face, and what archives unpack to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mnist_mlp.data import array_files, downloads, sets
from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds, members
from mnist_mlp.files.members import Entry

DEPTH = 3  # folders below the given one, as in data/MNIST/raw
DIRECTORIES = 2000  # that are looked at, so that a whole disk takes little time
IDX, NPZ, TFDS, CSV, PARQUET, PICTURES = "idx", "npz", "tfds", "csv", "parquet", "pictures"  # values of --data_source
FORMATS = (IDX, NPZ, TFDS, CSV, PARQUET, PICTURES)
TABLE_ENDS = {CSV: (".csv", ".csv.gz", ".tsv", ".tsv.gz"), PARQUET: (".parquet",)}
ANY_TABLE = (*TABLE_ENDS[CSV], *TABLE_ENDS[PARQUET])
ARCHIVES = 20  # of a directory, that are opened
TRAIN, TEST, ALL = "train", "test", "all"


@dataclasses.dataclass(frozen=True)
class Found:
    """A data set on disk: its format, a value of --data_source, where it is, and its files.

    `path` is the directory, the archive, or the one file. `files` are those of each key of SHAPES (IDX), or of "train",
    "test" or "all" (npz and tables; the folders of pictures); empty for TFDS. `folder` is the one in an archive.
    """

    format: str
    path: Path
    files: Mapping[str, tuple[Entry, ...]] = dataclasses.field(default_factory=dict, compare=False)
    folder: str = ""

    def __str__(self) -> str:
        place = f"{self.path}/{self.folder}".rstrip("/") if self.folder else str(self.path)
        if self.format == TFDS:
            return f"TFDS directory {place}"
        if self.format == PICTURES:
            return f"pictures in {place}"
        if self.format == IDX:
            return f"IDX files in {place}"
        names = [file.name for files in self.files.values() for file in files]
        here = self.path.parent if names == [self.path.name] else place  # `path` is the file itself
        return f"{' and '.join([*names[:3], *['…'] * (len(names) > 3)])} in {here}"


def in_directory(name: str, directory: Path) -> list[Found]:
    """Return what the directory itself holds of the data set `name`, the preferred format first."""
    found = []
    idx = array_files.find_idx(directory, name)
    if len(idx) == len(array_files.IDX_NAMES):
        found.append(Found(IDX, directory, {key: (Entry(path),) for key, path in idx.items()}))
    if (directory / f"{name}.npz").exists():
        found.append(_one_npz(Entry(directory / f"{name}.npz")))
    if downloads.find_tfds(name, directory) is not None:
        found.append(Found(TFDS, directory))
    files = _files_in(directory)
    found += [*_npz_parts(name, directory, files), *tables_among(name, directory, files)]
    return [*found, *pictures_in(directory)] if sets.find(name).of_pictures else found


def pictures_in(directory: Path) -> list[Found]:
    """Return the pictures in folders 0 to 9 of a directory, of its folders train and test, or of train alone."""
    train, test = directory / TRAIN, directory / TEST
    if _has_classes(train) and _has_classes(test):
        return [Found(PICTURES, directory, {TRAIN: (Entry(train),), TEST: (Entry(test),)})]
    if _has_classes(directory):
        return [Found(PICTURES, directory, {ALL: (Entry(directory),)})]
    return [Found(PICTURES, directory, {TRAIN: (Entry(train),)})] if _has_classes(train) else []


def _has_classes(directory: Path) -> bool:
    """Return whether a directory has folders for at least two of the classes 0 to 9."""
    return sum((directory / label).is_dir() for label in sets.DIGITS) > 1


def packed_in(name: str, directory: Path, formats: Sequence[str]) -> list[Found]:
    """Return what the archives in a directory hold of the data set; if none does, its only .npz file of another name.

    Raise the `UserError` of a damaged archive if nothing is found in another.
    """
    files = _files_in(directory)
    found: list[Found] = []
    errors: list[UserError] = []
    for archive in [file.path for file in files if members.is_archive(file.path)][:ARCHIVES]:
        try:
            found += in_archive(name, archive, formats)
        except UserError as error:  # it may be about something else
            errors.append(error)
    found = found or [each for each in _npz_among(name, files) if each.format in formats]
    if errors and not found:
        raise errors[0]
    return found


def in_file(name: str, file: Path, formats: Sequence[str]) -> list[Found]:
    """Return what a file holds of the data set: an archive, an .npz file, or one table. Raise `UserError`."""
    if members.is_archive(file):
        return in_archive(name, file, formats)
    kind = kinds.recognize_path(file)
    if file.suffix == ".npz" and kind is None:
        found = [_one_npz(Entry(file))]
    else:
        found = [
            Found(format, file, {ALL: (Entry(file),)})
            for format, ends in TABLE_ENDS.items()
            if file.name.lower().endswith(ends) or (format == CSV and kind is kinds.CSV)
        ]
    return [each for each in found if each.format in formats]


def is_one_of_two(name: str, file: Path) -> bool:
    """Return whether a file is the table of one split, and that of the other lies beside it."""
    return any(
        len(each.files) == 2 and Entry(file) in sum(each.files.values(), ()) for each in in_directory(name, file.parent)
    )


def in_archive(name: str, archive: Path, formats: Sequence[str]) -> list[Found]:
    """Return what the folders in an archive hold of the data set, one of each folder. Raise `UserError`."""
    entries = members.entries(archive)
    by_path = {str(PurePosixPath(entry.member)): entry for entry in entries}
    folders: dict[str, list[Entry]] = {}
    for entry in entries:
        folders.setdefault(str(PurePosixPath(entry.member).parent), []).append(entry)
    found = []
    for folder in sorted({*folders, *(str(PurePosixPath(each).parent) for each in folders)}):
        here = folders.get(folder, [])
        shelf = [*_idx_in_archive(name, archive, folder, by_path), *_npz_among(name, here)]
        shelf += _npz_parts(name, archive, here, _folder(folder))
        shelf += tables_among(name, archive, here, _folder(folder))
        found += [each for each in shelf if each.format in formats][:1]
    return _named(name, found, lambda each: (each.path.name, *PurePosixPath(each.folder).parts))


def _idx_in_archive(name: str, archive: Path, folder: str, by_path: Mapping[str, Entry]) -> list[Found]:
    """Return the four IDX files of a folder in an archive, each also in a folder of its own name."""
    files: dict[str, tuple[Entry, ...]] = {}
    for key in array_files.IDX_NAMES:
        names = array_files.spellings(key, name)
        for path in (*names, *(f"{outer}/{inner}" for outer in names for inner in names)):
            if entry := by_path.get(str(PurePosixPath(folder) / path)):
                files[key] = (entry,)
                break
    complete = len(files) == len(array_files.IDX_NAMES)
    return [Found(IDX, archive, files, _folder(folder))] if complete else []


def _folder(text: str) -> str:
    """Return the path of a folder in an archive, "" for its root."""
    return "" if text == "." else text


def _one_npz(file: Entry) -> Found:
    return Found(NPZ, file.path, {ALL: (file,)}, _folder(str(PurePosixPath(file.member).parent)))


def _npz_among(name: str, files: Sequence[Entry]) -> list[Found]:
    """Return the .npz file of the data set's name, or else the only one."""
    npz = [file for file in files if file.name.endswith(".npz")]
    return [_one_npz(file) for file in npz if len(npz) == 1 or file.name == f"{name}.npz"]


def _npz_parts(name: str, path: Path, files: Sequence[Entry], folder: str = "") -> list[Found]:
    """Return the four .npz files of one array each, as Kuzushiji-MNIST is published: kmnist-train-imgs.npz, …

    If there are several such sets, as with k49-train-imgs.npz beside it, the one that is called like the data set.
    """
    parts: dict[str, list[Entry]] = {}
    for file in files:
        words = {*re.split("[^a-z0-9]+", file.name.lower())}
        kind = "x" if words & {"imgs", "images"} else "y" if "labels" in words else ""
        split = _part_of(file.name)
        if file.name.endswith(".npz") and kind and split != ALL:
            parts.setdefault(f"{kind}_{split}", []).append(file)
    chosen = {key: _one_file(name, some) for key, some in parts.items()}
    if len(chosen) < 4 or any(len(each) != 1 for each in chosen.values()):
        return []
    return [Found(NPZ, path, {key: chosen[key] for key in array_files.SHAPES}, folder)]


def tables_among(name: str, path: Path, files: Sequence[Entry], folder: str = "") -> list[Found]:
    """Return the tables of a data set among the files of a folder: one for each split, or one alone.

    Their names say train or test. If several do, those that are called like the data set are meant. If several remain,
    none is.
    """
    found = []
    for format, ends in TABLE_ENDS.items():
        parts: dict[str, list[Entry]] = {TRAIN: [], TEST: [], ALL: []}
        for file in files:
            if file.name.lower().endswith(ends) and "submission" not in file.name.lower():
                parts[_part_of(file.name)].append(file)
        chosen = {part: _one_file(name, some) for part, some in parts.items()}
        if chosen[TRAIN] and (chosen[TEST] or not parts[TEST]):
            found.append(Found(format, path, {part: chosen[part] for part in (TRAIN, TEST) if chosen[part]}, folder))
        elif chosen[ALL] and not parts[TEST]:
            found.append(Found(format, path, {ALL: chosen[ALL]}, folder))
    return found


def _part_of(file: str) -> str:
    """Return which split a file of this name holds, ALL if it does not say."""
    words = {*re.split("[^a-z0-9]+", file.lower())}
    if words & {"train", "training"}:
        return TRAIN
    return TEST if words & {"test", "testing", "t10k"} else ALL


def _one_file(name: str, files: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the one file of the data set among some: it alone, or its shards; () if there are several."""
    found: dict[str, list[Entry]] = {}
    for file in files:
        found.setdefault(_without_shard(file.name), []).append(file)
    if len(found) > 1:
        found = {each: found[each] for each in sets.called(name, found)}
    return tuple(next(iter(found.values()))) if len(found) == 1 else ()


def _without_shard(file: str) -> str:
    return re.sub(r"-\d{5}-of-\d{5}", "", file)


def _files_in(directory: Path) -> list[Entry]:
    """Return the files in a directory by name, without hidden ones.

    Of a table that is packed alone, as Kaggle's train.csv.zip, the table.
    """
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(directory.iterdir()):
            if path.name.startswith(".") or not path.is_file():
                continue
            if path.name.lower().endswith(".csv.zip"):
                with contextlib.suppress(UserError):  # then it is an archive like another
                    inside = members.entries(path)
                    if len(inside) == 1:
                        found.append(inside[0])
                        continue
            found.append(Entry(path))
    return found


def below(name: str, directory: Path, formats: Sequence[str]) -> list[Found]:
    """Return what the folders below a directory hold of the data set, the nearest first.

    If there are several data sets, only those below a folder of the right name remain: beside MNIST/raw, torchvision
    may have FashionMNIST/raw. Tables count only where there is nothing else: many are called train.csv.
    """
    found = [
        each
        for folder, names in _folders(directory)
        if names & _signs(name) or any(each.lower().endswith(ANY_TABLE) for each in names)
        for each in in_directory(name, folder)
        if each.format in formats
    ]
    found = [each for each in found if each.format not in TABLE_ENDS] or found
    return _named(name, found, lambda each: _parts(each, directory))


def _named(name: str, found: list[Found], parts: Callable[[Found], Sequence[str]]) -> list[Found]:
    """Return the data sets below a folder of the right name, if there are several and one of them is."""
    if len(found) < 2:
        return found
    return [each for each in found if any(sets.is_called(name, part) for part in parts(each))] or found


def _signs(name: str) -> set[str]:
    """Return the names of files and folders of which a data set has at least one."""
    tfds = sets.find(name).tfds.split("/")[0] or name
    return {*array_files.spellings("x_test", name), f"{name}.npz", f"{name}-test-imgs.npz", tfds, "dataset_info.json"}


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
