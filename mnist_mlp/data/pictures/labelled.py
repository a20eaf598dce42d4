"""Find pictures with labels: folders of classes, files whose names carry a label, or a table of files and labels.

Nothing is decoded here. What is no label, or could mean two, is refused before any picture is read; a picture that
cannot be read is in the result, so that its reader can say so.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mnist_mlp.data.pictures import decode, label_table
from mnist_mlp.data.pictures.labels import Labels
from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
from mnist_mlp.options import path_of
from mnist_mlp.text import quoted, spelled_out

# Pictures that cannot be decoded: each is refused by its name, never passed over.
SUFFIXES = (*decode.SUFFIXES, ".heic", ".heif", ".avif", ".jxl", ".svg")
JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")  # what systems leave beside pictures
MOST = 1_000_000  # pictures
SORT = "sort them into folders named after their labels, or give --label_pattern"


class Labelled(NamedTuple):
    """A picture file and its label, 0 to 9."""

    path: str
    label: int


@dataclasses.dataclass(frozen=True)
class Collection:
    """Pictures with labels, each content once; how their labels were found; and what the user should know."""

    pictures: list[Labelled]
    layout: str
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where pictures are searched: the text of the flag, the labels, and the pattern of names, if one is given."""

    text: str
    labels: Labels
    pattern: re.Pattern[str] | None = None
    flag: str = "images"

    def error(self, message: str) -> UserError:
        return UserError(f"--{self.flag}={self.text}: {message}")


def find(text: str, classes: Sequence[str], pattern: str = "", *, flag: str = "images") -> Collection:
    """Return the labelled pictures in the place that `text` names, a folder, a pattern of files, or a table.

    `classes` are the names of the classes 0 to 9; `pattern` is a regular expression for the names of files; `flag` is
    the one that named the place. Raise
    `UserError` if no picture is found, if a label is missing or is none, or if a picture has two.
    """
    place = Place(text, Labels(classes), name_pattern(pattern) if pattern else None, flag)
    path = path_of(flag, text)
    try:
        if path.is_dir():
            found, layout, notes = _in_folder(place, path)
        elif path.exists() or not glob.has_magic(text):
            found, layout, notes = _in_file(place, path)
        else:
            found, layout, notes = _matching(place, path)
        pictures, again = _once_each(place, found)
    except OSError as error:
        raise place.error(f"{error.filename or 'it'} cannot be read: {error.strerror or error}") from None
    if again:
        copies = "1 picture is a copy" if again == 1 else f"{again:,} pictures are copies"
        notes.append(f"{copies} of others, byte for byte: each content counts once")
    present = {picture.label for picture in pictures}
    if absent := [name for label, name in enumerate(classes) if label not in present]:
        notes.append(f"no pictures of {', '.join(absent)}")
    return Collection(pictures, layout, tuple(notes))


def check_labels(text: str, classes: Sequence[str], parts: Sequence[list[Labelled]], flag: str) -> None:
    """Raise `UserError` if the same bytes have two labels in several collections."""
    _once_each(Place(text, Labels(classes), None, flag), [picture for part in parts for picture in part])


def with_pictures(path: Path, without: set[str]) -> list[str]:
    """Return the names of the pictures in a folder, and of the folders in it that hold some, except `without`."""
    inside = sorted(each for each in path.iterdir() if _visible(each.name) and each.name not in without)
    return [each.name for each in inside if (_holds_pictures(each) if each.is_dir() else _is_picture(str(each)))]


def name_pattern(text: str) -> re.Pattern[str]:
    """Compile the value of --label_pattern. Raise `UserError` unless it has one group, which is the label."""
    flag, example = f"--label_pattern={text}", r"try '(\d)_.*' for 7_a.png"
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{flag}: expected a regular expression, received a wrong one: {error}; {example}") from None
    if pattern.groups != 1:
        hint = example if not pattern.groups else "write (?:…) for the others"
        raise UserError(f"{flag}: expected one group (…) around the label, received {pattern.groups}; {hint}")
    return pattern


# -------------------------------------------------------------------------------------------------------------- folders


def _in_folder(place: Place, path: Path) -> tuple[list[Labelled], str, list[str]]:
    """Return what a folder holds: pictures in folders of classes, or pictures whose names carry a label."""
    inside = sorted(each for each in path.iterdir() if _visible(each.name))
    folders = [each for each in inside if each.is_dir()]
    loose = [str(each) for each in inside if not each.is_dir()]
    pictures, others = _split(loose)
    full = [each for each in folders if _holds_pictures(each)]
    labels = {each: place.labels.read(each.name) for each in folders}
    if pictures and full:
        raise place.error(
            f"expected folders of classes or labelled files, received both ({full[0].name}/ and "
            f"{Path(pictures[0]).name}); name one of them, or move the others away"
        )
    if pictures:
        return _by_name(place, pictures, others)
    if not full:
        raise place.error(f"expected pictures, found {_instead(path, loose)}")
    if strangers := [each.name for each in full if labels[each] is None]:
        raise place.error(_strange_folder(place, path, full, strangers))
    if place.pattern:
        raise place.error("--label_pattern reads names of files, and these pictures lie in folders of classes; omit it")
    found: list[Labelled] = []
    for folder, label in labels.items():
        if label is not None:
            mine, more = _split(_files_below(folder))
            found += [Labelled(file, label) for file in mine]
            others += more
            _check_number(place, found)
    return found, "the folder of each picture", _passed_over(others)


def _strange_folder(place: Place, path: Path, full: list[Path], strangers: list[str]) -> str:
    """Return what is wrong with folders of pictures that are no classes."""
    expected = f"expected folders named after labels ({place.labels.expected})"
    for folder in full:  # such as train/0 … and test/0 …
        if any(place.labels.read(each.name) is not None for each in folder.iterdir() if each.is_dir()):
            return f"{expected}, found them in {folder.name}; try --images={folder}"
    hint = "rename them, or name one of them"
    if len(strangers) < len(full):
        hint = "move it away" if len(strangers) == 1 else "move them away"
    if {each.name for each in full} == {*map(str, range(1, 11))}:
        hint = "rename it to 0, if 0 is what its pictures show"
    return f"{expected}, received {_first(strangers)}; {hint}"


def _instead(path: Path, loose: list[str]) -> str:
    """Return what a folder without pictures holds, and what to do."""
    if not loose:
        return "folders without pictures" if any(map(Path.is_dir, path.iterdir())) else "an empty folder"
    table = next((file for file in loose if file.lower().endswith(label_table.SUFFIXES)), None)
    if table:
        return f"none, but a table; try --images={table}"
    kind = kinds.recognize_path(Path(loose[0]))
    return f"none; {Path(loose[0]).name} is {kind}" if kind else "none"


def _visible(name: str) -> bool:
    return not name.startswith(".") and name not in JUNK


def _is_picture(file: str) -> bool:
    return file.lower().endswith(SUFFIXES)


def _split(files: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the files that are pictures by their names, and the others."""
    pictures: list[str] = []
    others: list[str] = []
    for file in files:
        (pictures if _is_picture(file) else others).append(file)
    return pictures, others


def _passed_over(others: list[str]) -> list[str]:
    """Return a note about the files that are no pictures."""
    if not others:
        return []
    listed = ", ".join(spelled_out(Path(each).name) for each in others[:3]) + ", …" * (len(others) > 3)
    return [f"passed over {len(others):,} file{'s' * (len(others) > 1)} without the suffix of a picture: {listed}"]


def _holds_pictures(folder: Path) -> bool:
    return any(map(_is_picture, _files_below(folder)))


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the visible files in a folder and in those below it, by name. Links are followed, but no folder twice."""
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        current = waiting.pop()
        status = os.stat(current)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(current) as entries:
            inside = sorted((each for each in entries if _visible(each.name)), key=lambda each: each.name)
        yield from (each.path for each in inside if not each.is_dir())
        waiting += [each.path for each in reversed(inside) if each.is_dir()]


def _check_number(place: Place, found: Sequence[object]) -> None:
    if len(found) > MOST:
        raise place.error(f"expected at most {MOST:,} pictures, received more; try a part of them")


# ---------------------------------------------------------------------------------------------------------------- files


def _in_file(place: Place, path: Path) -> tuple[list[Labelled], str, list[str]]:
    """Return what a table lists, or a single picture whose name carries its label."""
    if _is_picture(str(path)):
        if not path.exists():
            raise place.error("expected a folder, a picture or a table (CSV), found nothing there")
        return _by_name(place, [str(path)], [])
    if place.pattern:
        raise place.error("--label_pattern reads names of pictures, and a table has the labels itself; omit it")
    rows = label_table.read(path, place.labels, place.error, MOST)
    return [Labelled(file, label) for file, label in rows], "a table", []


def _matching(place: Place, path: Path) -> tuple[list[Labelled], str, list[str]]:
    """Return the pictures that a pattern such as digits/*.png matches."""
    files = sorted(file for file in glob.glob(str(path), recursive=True) if not os.path.isdir(file))
    pictures, others = _split(files)
    if not pictures:
        raise place.error("expected a pattern that matches pictures, found no match")
    folders = {Path(file).parent for file in pictures}
    if len(folders) > 1 and not place.pattern and all(place.labels.read(each.name) is not None for each in folders):
        above = os.path.commonpath(folders)
        raise place.error(f"expected names with labels, received files in folders of classes; try --images={above}")
    return _by_name(place, pictures, others)


def _by_name(place: Place, pictures: list[str], others: list[str]) -> tuple[list[Labelled], str, list[str]]:
    """Return pictures with the labels that their names carry."""
    _check_number(place, pictures)
    stems = [Path(file).stem for file in pictures]
    labels, layout = _labels_by_pattern(place, stems) if place.pattern else _labels_by_rule(place, stems)
    found = [Labelled(file, label) for file, label in zip(pictures, labels, strict=True)]
    return found, layout, _passed_over(others)


def _labels_by_pattern(place: Place, stems: list[str]) -> tuple[list[int], str]:
    """Return the labels that the user's pattern finds in names, which it must match as a whole."""
    assert place.pattern
    labels: list[int] = []
    unmatched: list[str] = []
    wrong: list[str] = []
    for stem in stems:
        match = place.pattern.fullmatch(stem)
        if match is None or match[1] is None:
            unmatched.append(stem)
            continue
        label = place.labels.read(match[1])
        labels += [label] if label is not None else []
        wrong += [f"{match[1]!r} in {stem}"] if label is None else []
    flag = f"--label_pattern={place.pattern.pattern}"
    if unmatched:
        names = _first(unmatched)
        raise place.error(
            f"{flag}: expected it to match each name as a whole, without suffix; it does not match {names}"
        )
    if wrong:
        raise place.error(f"{flag}: expected labels {place.labels.expected}, received {_first(wrong)}")
    return labels, f"the pattern {place.pattern.pattern} in each name"


def _labels_by_rule(place: Place, stems: list[str]) -> tuple[list[int], str]:
    """Return the labels at the beginning of all names, or at the end of all, whichever there is."""
    fewest = stems
    for rules in place.labels.rules:  # names of classes first, then digits
        whole: list[tuple[list[int], str]] = []
        for where, pattern in rules.items():
            read = [place.labels.in_name(pattern, stem) for stem in stems]
            without = [stem for stem, label in zip(stems, read, strict=True) if label is None]
            if len(without) < len(fewest):
                fewest = without
            if not without:
                whole.append(([label for label in read if label is not None], where))
        if len(whole) == 2 and whole[0][0] != whole[1][0]:
            at = next(i for i, (one, other) in enumerate(zip(whole[0][0], whole[1][0], strict=True)) if one != other)
            raise place.error(
                f"expected one label in each name, received {stems[at]}, which begins and ends with one; "
                r"try --label_pattern='(\d).*' or --label_pattern='.*(\d)'"
            )
        if whole:
            return whole[0]
    raise place.error(
        f"expected a label at the beginning of each name, or at the end, as in 7_a.png or digit-7.jpg; "
        f"received {_first(fewest)} without one; {SORT}"
    )


def _first(names: list[str]) -> str:
    """Return the first name and how many more there are: "'x'", "'x' and 3 others"."""
    also = "" if len(names) == 1 else f" and {len(names) - 1:,} other{'s' * (len(names) > 2)}"
    return f"{quoted(names[0])}{also}"


# --------------------------------------------------------------------------------------------------------------- copies


def _once_each(place: Place, found: list[Labelled]) -> tuple[list[Labelled], int]:
    """Return the pictures without those whose bytes came before, and how many these are.

    Raise `UserError` if the same bytes have two labels. Only files of equal size are read.
    """
    sizes: dict[int, int] = {}
    of_each = [_size(file) for file, _ in found]
    for size in of_each:
        sizes[size] = sizes.get(size, 0) + 1
    seen: dict[bytes, Labelled] = {}
    kept = []
    for picture, size in zip(found, of_each, strict=True):
        content = _digest(picture.path) if size > 0 and sizes[size] > 1 else None
        before = seen.setdefault(content, picture) if content else picture
        if before.label != picture.label:
            one, other = (place.labels.classes[each.label] for each in (before, picture))
            again = "" if before.path == picture.path else f"{picture.path}, the same bytes, "
            raise place.error(
                f"expected one label for each picture, received {before.path} as {one} and {again}as {other}; keep one"
            )
        if before is picture:
            kept.append(picture)
    return kept, len(found) - len(kept)


def _size(path: str) -> int:
    """Return the size of a file that may be read; 0 for what is none, or too large."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_size <= decode.MAX_BYTES else 0


def _digest(path: str) -> bytes | None:
    """Return a hash of a file's content; None if it cannot be read, which is reported when it is decoded."""
    hasher = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while piece := file.read(2**20):
                hasher.update(piece)
    except OSError:
        return None
    return hasher.digest()
