"""scripts/matrix.py: which interpreter it takes, and what it writes into the README."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "matrix.py"
spec = importlib.util.spec_from_file_location("matrix", SCRIPT)
assert spec and spec.loader
matrix = importlib.util.module_from_spec(spec)
spec.loader.exec_module(matrix)


def program(file: Path, status: int) -> str:
    file.parent.mkdir()
    file.write_text(f"#!/bin/sh\nexit {status}\n")
    file.chmod(0o755)
    return str(file)


def test_the_first_interpreter_that_starts_is_taken(tmp_path, monkeypatch):
    program(tmp_path / "shims" / "python3.77", 127)
    works = program(tmp_path / "bin" / "python3.77", 0)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}")
    assert matrix.interpreter("3.77") == works
    Path(works).unlink()
    with pytest.raises(SystemExit, match=r"expected a python3\.77 on the path that starts, found none"):
        matrix.interpreter("3.77")


def test_rows_are_written_between_the_comments_of_the_readme(tmp_path, monkeypatch):
    rows = {
        "AVX": {"good": False, "told": "1 failed, 2 passed", "cells": ["AVX", "a processor"], "commit": "abc"},
        "SSE4.2": {"good": True, "told": "3 passed", "cells": ["SSE4.2", "a processor"], "commit": "abc"},
    }
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- scripts/matrix.py arithmetic -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    matrix.write("arithmetic", matrix.table("arithmetic", rows))
    assert readme.read_text().splitlines() == [
        "before",
        "<!-- scripts/matrix.py arithmetic -->",
        "| arithmetic | processor | result | commit |",
        "| --- | --- | --- | --- |",
        "| SSE4.2 | a processor | 3 passed | abc |",
        "| AVX | a processor | **failed**: 1 failed, 2 passed | abc |",
        "<!-- end -->",
        "after",
    ]
    with pytest.raises(SystemExit, match="no marker for the table"):
        matrix.write("pythons", "")
