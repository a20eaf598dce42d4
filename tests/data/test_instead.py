"""What lies in a directory instead of a data set is named, with what to try, in one line."""

import os
from types import SimpleNamespace

import pytest

from mnist_mlp import data
from mnist_mlp.errors import UserError

PNG = b"\x89PNG\r\n\x1a\n"
LINES = b'{"epoch": 1, "loss": 0.2, "accuracy": 0.9}\n' * 3
IMAGES = "; name the directory of the images, with --data_dir=DIR"
NO_IMAGES = f", which holds no images{IMAGES}; to start from the run: train --init_from="

DIRECTORIES = {  # the files in it, and how the message goes on after "received"
    "a run": ({"config.json": b"{}", "result.json": b"{}", "history.jsonl": LINES}, f"a run{NO_IMAGES}"),
    "an unfinished run": ({"config.json": b"{}", "checkpoints/step-1.npz": b"PK"}, f"a run{NO_IMAGES}"),
    "runs": (
        {f"{run}/{file}.json": b"{}" for run in "ab" for file in ("config", "result")},
        f"2 runs in it (a, b), which hold no images{IMAGES}",
    ),
    "a study": (
        {"study.json": b"{}", "study.sqlite3": b"SQLite format 3\0"},
        "a study of tune, which holds no images",
    ),
    "an environment": ({"pyvenv.cfg": b"home = /usr", "bin/python": b"", "x.lock": b""}, "a virtual environment of"),
    "a project": (
        {"pyproject.toml": b"[project]", "main.py": b"pass"},
        "the source code of a project (pyproject.toml)",
    ),
    "a clone": ({".git/HEAD": b"ref", "main.c": b"int x;"}, "the source code of a project (.git)"),
    "texts": (
        {f"note{i}.txt": b"a, b\nc" for i in range(5)},
        f"5 text files (note0.txt, note1.txt, note2.txt, …){IMAGES}",
    ),
    "JSON": ({"history.jsonl": LINES}, f"a text file (history.jsonl){IMAGES}"),
    "nothing": ({}, f"an empty directory{IMAGES}"),
    "hidden": ({".DS_Store": b"x"}, f"an empty directory (but for hidden files: .DS_Store){IMAGES}"),
    "pictures": (
        {"7.png": PNG, "b.png": PNG},
        "2 pictures (7.png, …) in no folder of a class; sort them into folders named after their labels, 0 to 9",
    ),
    "other folders": (
        {"four/a.png": PNG, "three/b.png": PNG},
        "pictures in folders that are not named 0 to 9 (four, three); name them 0 to 9, with their own names in",
    ),
    "a table without a suffix": (
        {"rows": b"7,0,0\n2,0,0\n", "x": b"\0"},
        "rows, x; rows may be a table: call it train.csv",
    ),
    "a model": ({"net.onnx": b"\x08\x08", "x": b"\0"}, "net.onnx, x; net.onnx is a model (ONNX); models of other"),
    "an empty file": ({"x.lock": b""}, "x.lock; x.lock is an empty file; try another directory"),
    "folders without pictures": (
        {f"{label}/a.txt": b"x" for label in range(10)},
        "folders without pictures; repair it",
    ),
}


def made(place, files):
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def refusal(path, dataset="custom"):
    with pytest.raises(UserError) as caught:
        data.load(SimpleNamespace(dataset=dataset, data_dir=str(path), data_source="auto"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", DIRECTORIES)
def test_a_directory_is_called_what_it_is(case, tmp_path):
    files, words = DIRECTORIES[case]
    said = refusal(made(tmp_path / "place", files))
    assert f"{'found' if case == 'folders without pictures' else 'received'} {words}" in said


def test_a_part_of_a_data_set_is_more_than_what_lies_beside_it(tmp_path):
    """What is missing is said, not that it lies in a project."""
    files = {"pyproject.toml": b"[project]", "README.md": b"x"}
    said = refusal(made(tmp_path / "idx", files | {"train-images-idx3-ubyte": b"\0\0\x08\3"}), "mnist")
    assert "; no train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte in it" in said
    said = refusal(made(tmp_path / "csv", files | {"test.csv": b"7,0,0\n"}), "mnist")
    assert "test.csv is a table for testing: put one for training beside it" in said


def test_what_is_in_a_run_leads_to_the_run(tmp_path):
    run = made(tmp_path / "run", DIRECTORIES["an unfinished run"][0] | {"checkpoints/step-2.npz": b"PK"})
    said = refusal(run / "checkpoints", "mnist")
    assert f"expected the images of MNIST, received a part of the run {run}{NO_IMAGES}{run}" in said


def test_pictures_where_a_known_data_set_is_expected(tmp_path):
    said = refusal(made(tmp_path / "place", DIRECTORIES["pictures"][0]), "mnist")
    assert "sort them into folders named after their labels, 0 to 9, and use --dataset=custom; to score" in said


def test_a_file_is_called_what_it_is(tmp_path):
    files = made(tmp_path, {"history.jsonl": LINES, "note.txt": "eins, zwei, dré".encode(), "x.bin": bytes(range(256))})
    assert "received the text file history.jsonl; try another" in refusal(files / "history.jsonl")  # not a table
    assert "received the text file note.txt; try another" in refusal(files / "note.txt")
    assert "received the file x.bin; try another" in refusal(files / "x.bin")
    os.mkfifo(tmp_path / "pipe")
    assert "expected a directory or a file, received a device or a pipe; try" in refusal(tmp_path / "pipe")
    assert "expected a directory or a file, received no such file" in refusal(tmp_path / "absent")


def test_a_table_of_files_and_labels_is_no_data_set(tmp_path):
    made(tmp_path, {"labels.csv": b"file,label\na.png,7\n"})
    said = refusal(tmp_path)
    assert "received a label and 1 column; a table of picture files and labels is scored by evaluate --images" in said
