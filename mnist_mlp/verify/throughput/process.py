"""Measure other devices than the first process does.

python -m mnist_mlp.verify.throughput.process REQUEST.json FIGURES.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mnist_mlp.cli import program
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.throughput.stage import write_figures


def main(argv: Sequence[str]) -> None:
    request, figures = map(Path, argv)
    asked = json.loads(request.read_text())
    context = Context(asked["tier"], asked["seed"], asked["device"], data_dir="", work=figures.parent)
    write_figures(context, figures)


if __name__ == "__main__":
    program.run(main)
