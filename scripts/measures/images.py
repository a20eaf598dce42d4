"""The images of a benchmark, as one file that every program reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from mnist_mlp import data
from mnist_mlp.config import Config
from mnist_mlp.errors import UserError

SIZES = {"train": 60_000, "test": 10_000}


def make_npz(data_dir: str, directory: Path) -> Path:
    """mnist.npz with real MNIST, or where no `data_dir` is given with random images of its shape.

    Another process makes it: on Linux the peak memory of a program counts from that of the process that starts it.
    """
    path = directory / "mnist.npz"
    done = subprocess.run([sys.executable, __file__, data_dir, str(path)], stderr=subprocess.PIPE, text=True)
    if done.returncode == UserError.exit_code:
        raise UserError(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(done.stderr)
    return path


def write(data_dir: str, path: Path) -> None:
    arrays = {}
    if data_dir:
        dataset = data.load(Config(dataset="mnist", data_dir=data_dir))
        for name, split in (("train", dataset.train), ("test", dataset.test)):
            arrays |= {f"x_{name}": split.images, f"y_{name}": split.labels}
    else:
        random = np.random.default_rng(0)
        for name, n in SIZES.items():
            arrays[f"x_{name}"] = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
            arrays[f"y_{name}"] = random.integers(0, 10, n, dtype=np.uint8)
    np.savez(path, **arrays)


if __name__ == "__main__":
    try:
        write(sys.argv[1], Path(sys.argv[2]))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
