"""Ours, as `train` runs it, on the images of a file: `our_steps.py FILE.npz TIMES [flags of train]`.

The training images are there TIMES over. Beside the result it tells `whole_epochs`: the seconds from the end of each
epoch to the next one's with all that happens on the way (the order of the images, the check of the weights, the
history), where the result's own are those of the compiled calls alone. The first stands in both as those calls.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_mlp.cli import flags, program
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.config import Config
from mnist_mlp.data import Dataset, Split
from mnist_mlp.train import config_of, train_and_evaluate


def main(argv: Sequence[str]) -> None:
    file, times, *rest = argv
    config = config_of(flags.given_flags(Config, rest, program="train", about=__doc__ or ""))
    with np.load(file) as data:
        train = Split(*(np.concatenate([data[name]] * int(times)) for name in ("x_train", "y_train")))
        dataset = Dataset("a benchmark's", file, train, Split(data["x_test"], data["y_test"]), (), False)
    ends: list[float] = []

    class EpochEnds(Reporter):
        """Notes when the line of each epoch comes."""

        def line(self, text: str) -> None:
            if text.startswith("epoch "):
                ends.append(time.perf_counter())
            if not config.json:
                super().line(text)

    result = train_and_evaluate(config, Path(config.run_dir), dataset=dataset, reporter=EpochEnds(), keep_programs=True)
    if len(ends) != config.epochs:
        raise RuntimeError(f"Expected a line for each of {config.epochs} epochs. Received {len(ends)}.")
    whole = [result.epochs[0]["seconds"], *(end - before for before, end in itertools.pairwise(ends))]
    print(json.dumps(result.to_dict() | {"whole_epochs": whole}))


if __name__ == "__main__":
    program.run(main)
