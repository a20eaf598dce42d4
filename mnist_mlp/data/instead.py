"""Say what a directory or a file holds instead of a data set, and what to try."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from mnist_mlp.data import array_files, layouts, sets
from mnist_mlp.files import kinds

ENTRIES, FEW = 200, 20  # names that are inspected: of a directory, and of a folder in it
IMAGES = "name the directory of the images, with --data_dir=DIR"
STUDY, EXPORT = "study.json", "export.json"
PROJECT = ("pyproject.toml", "setup.py", "setup.cfg", "package.json", "Cargo.toml", "CMakeLists.txt", "Makefile")


def of_directory(name: str, directory: Path, contents: Sequence[str]) -> tuple[str, str] | None:
    """Return what a directory without the data set `name` is, and what to try; None if it is nothing known.

    `contents` are the names in it, without hidden ones.
    """
    there = {*contents[:ENTRIES]}
    here = directory.absolute()
    for run in (here, here.parent, here.parent.parent):
        if _is_run(run):
            what = "a run" if run == here else f"a part of the run {run}"
            return f"{what}, which holds no images", f"{IMAGES}; to start from the run: train --init_from={run}"
    if runs := [entry for entry in sorted(there) if _is_run(directory / entry)]:
        listed = ", ".join(runs[:3]) + ", …" * (len(runs) > 3)
        return f"{'a run' if len(runs) == 1 else f'{len(runs)} runs'} in it ({listed}), which hold no images", IMAGES
    if there & {STUDY, EXPORT}:
        return f"{'a study of tune' if STUDY in there else 'an export'}, which holds no images", IMAGES
    if (directory / "pyvenv.cfg").is_file():
        return "a virtual environment of Python", IMAGES
    if array_files.find_idx(directory, name) or any(entry.lower().endswith(layouts.ANY_TABLE) for entry in contents):
        return None  # `lead` says what is missing
    if signs := [sign for sign in PROJECT if sign in there] or [".git"] * (directory / ".git").exists():
        return f"the source code of a project ({signs[0]})", IMAGES
    return _pictures(name, directory, contents) or _texts(directory, contents)


def _is_run(directory: Path) -> bool:
    """Return whether a directory is that of a run, finished or not."""
    if not (directory / "config.json").is_file():
        return False
    return (directory / "result.json").is_file() or any(directory.glob("checkpoints/step-*.npz"))


def _pictures(name: str, directory: Path, contents: Sequence[str]) -> tuple[str, str] | None:
    """Return what is wrong with pictures that are no data set: they are loose, or in folders of other names."""
    folders = [entry for entry in contents[:ENTRIES] if (directory / entry).is_dir()]
    loose = [entry for entry in contents[:ENTRIES] if entry not in folders and _is_picture(directory / entry)]
    full = [folder for folder in folders if _has_picture(directory / folder)]
    own = "" if sets.find(name).of_pictures else ", and use --dataset=custom"
    if loose:
        count = "a picture" if len(loose) == 1 else f"{len(loose):,} pictures"
        return (
            f"{count} ({loose[0]}{', …' * (len(loose) > 1)}) in no folder of a class",
            f"sort them into folders named after their labels, 0 to 9{own}; to score them, use evaluate --images",
        )
    if not full or layouts.pictures_in(directory):
        return None
    listed = ", ".join(full[:3]) + ", …" * (len(full) > 3)
    advice = f"name them 0 to 9, with their own names in a file classes.txt, one a line{own}"
    return f"pictures in folders that are not named 0 to 9 ({listed})", advice


def _texts(directory: Path, contents: Sequence[str]) -> tuple[str, str] | None:
    """Return what a directory is in which nothing can be images: an empty one, or one of text files
    that are no tables."""
    if not contents:
        hidden = sorted(os.listdir(directory))[:1]
        return f"an empty directory{f' (but for hidden files: {hidden[0]})' if hidden else ''}", IMAGES
    if len(contents) > ENTRIES or not all(_is_other_text(directory / entry) for entry in contents):
        return None
    listed = ", ".join(contents[:3]) + ", …" * (len(contents) > 3)
    return f"{'a text file' if len(contents) == 1 else f'{len(contents)} text files'} ({listed})", IMAGES


def _is_other_text(file: Path) -> bool:
    """Return whether a file is a text and no table."""
    return file.is_file() and kinds.recognize_path(file) is None and _is_text(file)


def _is_picture(file: Path) -> bool:
    kind = kinds.recognize_path(file)
    return kind in (kinds.PICTURE, kinds.HEIC, kinds.AVIF)


def _has_picture(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(folder))[:FEW]
        return any(_is_picture(folder / entry) for entry in names if not entry.startswith("."))
    return False


def lead(name: str, directory: Path, contents: Sequence[str]) -> str:
    """Return what the files in a directory without the data set say, to end a message with; "" if nothing."""
    found = array_files.find_idx(directory, name)
    missing = [array_files.spellings(key, name)[0] for key in array_files.IDX_NAMES if key not in found]
    if found and not missing:
        return "; it has the four IDX files: omit --data_source, or use --data_source=idx"
    if found:
        return f"; no {', '.join(missing)} in it"
    if layouts.pictures_in(directory):
        if not any(_has_picture(directory / folder / entry) for folder in ("", "train") for entry in sets.DIGITS):
            return "; its folders 0 to 9 hold no pictures"
        return "; it has folders of pictures, one for each class: use --dataset=custom"
    tables = [entry for entry in contents if entry.lower().endswith(layouts.ANY_TABLE)]
    if len(tables) > 1:
        return "; of several tables, one must be called train, and one test: rename them"
    if tables:
        return f"; {tables[0]} is a table for testing: put one for training beside it"
    for entry in contents[:50]:
        if (directory / entry).is_file() and (kind := kinds.recognize_path(directory / entry)):
            return f"; {entry} {_is(kind)}"
    return ""


def _is(kind: kinds.Kind) -> str:
    """Return what a file in a directory is, and what to do so that a data set is found."""
    if kind is kinds.CSV:
        return "may be a table: call it train.csv"
    return f"is {kind.name}" if kind in (*kinds.READABLE, kinds.EMPTY) else f"is {kind}"


def of_file(file: Path) -> str:
    """Return what a file is that holds no data set."""
    if file.exists() and not file.is_file():
        return "a device or a pipe"
    return str(kinds.recognize_path(file) or f"the {'text ' * _is_text(file)}file {file.name}")


def _is_text(file: Path) -> bool:
    """Return whether a file begins like a text in UTF-8."""
    with contextlib.suppress(OSError, UnicodeDecodeError), file.open("rb") as stream:
        start = stream.read(kinds.START).decode("utf-8", "ignore" if file.stat().st_size > kinds.START else "strict")
        return all(character.isprintable() or character in "\n\r\t" for character in start)
    return False
