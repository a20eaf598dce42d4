"""May a program write here?"""

import os

import pytest

from mnist_mlp.errors import UserError
from mnist_mlp.files import outputs


def refused(words, flag, text, **more):
    with pytest.raises(UserError) as error:
        outputs.file_to_write(flag, text, **more)
    assert str(error.value).startswith(f"--{flag}={text}: ") and words in str(error.value)


def test_a_file_that_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.csv").touch()
    for text, path in {"new.csv": "new.csv", "old.csv": "old.csv", "~/new.csv": tmp_path / "new.csv"}.items():
        assert str(outputs.file_to_write("csv", text)) == str(path)


def test_a_file_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    (tmp_path / "read only").touch(mode=0o444)
    refused("received a directory; try another path", "csv", ".")
    refused("received a device or a pipe; try another path", "csv", "pipe")
    refused("this file is read-only; try another path", "csv", "read only")
    refused("in a directory that exists, there is no a b; try mkdir -p 'a b'", "csv", "a b/x.csv")
    refused("in a directory that exists, pipe is a file; try another path", "csv", "pipe/x.csv")
    refused("cannot be written: File name too long; try another path", "csv", "a" * 300)
    assert outputs.file_to_write("csv", "pipe", special=True).is_fifo()


def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))  # root may write anywhere
    refused(f"the directory {tmp_path} is not writable; try another path", "csv", f"{tmp_path}/x.csv")


def test_a_directory_that_the_program_will_create(tmp_path):
    study = tmp_path / "study"
    assert outputs.file_to_write("figure", f"{study}/x.png", will_exist=study) == study / "x.png"
    refused("there is no", "figure", f"{study}/more/x.png", will_exist=study)


def test_a_directory_to_write(tmp_path):
    outputs.directory_to_write("output", tmp_path)
    outputs.directory_to_write("output", tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: expected a directory, received a file; try another path$"):
        outputs.directory_to_write("output", tmp_path / "file")
    with pytest.raises(UserError, match="expected a directory inside one that exists, there is no .*a; try mkdir -p "):
        outputs.directory_to_write("output", tmp_path / "a" / "b")


def test_a_directory_that_may_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))  # root may write anywhere
    not_writable = f"the directory {tmp_path} is not writable; try another path$"
    for path in (tmp_path, tmp_path / "new"):
        with pytest.raises(UserError, match=f"--output={path}: {not_writable}"):
            outputs.directory_to_write("output", path)
    (tmp_path / "there").mkdir()
    outputs.directory_to_write("output", tmp_path / "there")
    with pytest.raises(UserError, match=not_writable):  # another one cannot take its place
        outputs.directory_to_write("output", tmp_path / "there", replaced=True)


def test_names_that_cannot_become_a_directory(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="link: expected a directory, received a link to nowhere, which is not there;"):
        outputs.directory_to_write("output", tmp_path / "link")
    with pytest.raises(UserError, match="cannot be written: File name too long; try another path$"):
        outputs.directory_to_write("output", tmp_path / ("a" * 300))


def test_the_files_of_a_directory(tmp_path):
    assert outputs.files_to_write("output", "", ("a.json",)) == {}
    new = tmp_path / "new"
    assert outputs.files_to_write("output", str(new), ("a.json", "b")) == {"a.json": new / "a.json", "b": new / "b"}
    assert not new.exists()
    outputs.make_directory(new)
    (new / "b").mkdir()
    with pytest.raises(UserError, match="new/b: expected a file, received a directory"):
        outputs.files_to_write("output", str(new), ("a.json", "b"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file could not be written: File exists; try another directory"):
        outputs.make_directory(tmp_path / "file")


def test_two_flags_with_one_file(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    outputs.check_distinct({"csv": file, "figure": link})
    file.touch()
    link.symlink_to(file)
    with pytest.raises(
        UserError, match="^--csv and --figure: expected two different files, received '.*link' for both; try"
    ):
        outputs.check_distinct({"data": tmp_path / "other", "csv": file, "figure": link})


def test_directories_are_removed_again_where_the_block_fails(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyError), outputs.directories(tmp_path / "there" / "a" / "b"):
        assert (tmp_path / "there" / "a" / "b").is_dir()
        raise KeyError
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with (
            pytest.raises(UserError, match="--study_dir=.*: expected a directory, received a file; try another path"),
            outputs.directories(path, "study"),
        ):
            pass
