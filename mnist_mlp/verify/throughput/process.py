"""Measure another device than the first process does.

python -m mnist_mlp.verify.throughput.process REQUEST.json FIGURES.json
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from mnist_mlp.cli import program
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.throughput.figures import Effort
from mnist_mlp.verify.throughput.stage import figures_of


def main(argv: Sequence[str]) -> None:
    request, file = map(Path, argv)
    asked = json.loads(request.read_text())
    context = Context("quick", asked["seed"], asked["device"], data_dir="", work=file.parent)
    figures = figures_of(context, Effort(**asked["effort"]))
    file.write_text(json.dumps(dataclasses.asdict(figures)))


if __name__ == "__main__":
    program.run(main)
