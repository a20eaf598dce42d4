"""Figures as files."""

import os
import sys

import pytest

from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, figures


@pytest.mark.parametrize("name, begins", [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
def test_a_figure_is_written_whole_and_the_same_each_time(tmp_path, name, begins):
    for file in (tmp_path / name, tmp_path / f"again-{name}"):
        assert figures.file_to_write("figure", str(file)) == file
        figure = figures.new(2, 1)
        figure.subplots().plot([1, 2])
        figures.save(figure, file)
    assert (tmp_path / name).read_bytes().startswith(begins)
    if name.endswith("png"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name, said", [("a.doc", "ends in .png"), ("none/a.png", "a directory that exists")])
def test_a_place_that_cannot_be_is_refused_before_the_work(tmp_path, name, said):
    with pytest.raises(UserError, match=said):
        figures.file_to_write("figure", str(tmp_path / name))


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match="pip install matplotlib"):
        figures.file_to_write("figure", str(tmp_path / "a.png"))


def test_a_pipe_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="expected a file, received a device or a pipe"):
        figures.file_to_write("figure", str(pipe))
    with pytest.raises(UserError, match="expected a file, received a device or a pipe"):
        atomic.write_text(pipe, "text")
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]
