"""MNIST-C itself, where TFDS has prepared it (`mnist_corrupted`)."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mnist_mlp.cli.child_process import Child
from mnist_mlp.data import Split, downloads
from mnist_mlp.errors import UserError

NAME = "mnist_corrupted"
SECONDS = 600  # for a child that reads fifteen times 10,000 images, which takes half a minute


def find(directories: Sequence[Path], kinds: Sequence[str]) -> dict[str, Path]:
    """Return the prepared directory of each kind that the first directory with any has: NAME/KIND/VERSION below it.

    A directory may also be the one called NAME.
    """
    for directory in directories:
        for root in (directory / NAME, directory):
            found = {kind: sorted((root / kind).glob("[0-9]*/dataset_info.json")) for kind in kinds}
            if prepared := {kind: files[-1].parent for kind, files in found.items() if files}:
                return prepared
    return {}


def read(prepared: Mapping[str, Path]) -> dict[str, Split]:
    """Return the test images of each kind, in TFDS' order. Raise `UserError` if they cannot be read here."""
    for directory in prepared.values():
        downloads.check_readable(NAME, directory)
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "arrays.npz")
        places = json.dumps({kind: str(directory) for kind, directory in prepared.items()})
        environment = {
            **os.environ,
            **{"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
        }
        code = "import sys; from mnist_mlp.data.corruptions import published; published.write_arrays(*sys.argv[1:])"
        where = next(iter(prepared.values()))
        with Child(["-c", code, places, str(output)], environment) as child:
            try:
                child.wait(SECONDS)
            except subprocess.TimeoutExpired:
                raise UserError(f"{where}: expected to read it within {SECONDS} s, waited in vain") from None
            if child.returncode:
                raise UserError(
                    f"{where}: expected a prepared TFDS directory, received one that cannot be read ({child.outcome})"
                )
        with np.load(output) as arrays:
            return {kind: as_split(kind, arrays[f"x_{kind}"], arrays[f"y_{kind}"], prepared[kind]) for kind in prepared}


def as_split(kind: str, images: np.ndarray, labels: np.ndarray, where: Path) -> Split:
    """Return TFDS' images [n, 28, 28, 1] and int64 labels [n] as a split. Raise `UserError` for others."""
    if images.dtype != np.uint8 or images.shape != (len(labels), 28, 28, 1) or not len(labels):
        raise UserError(f"{where}: expected images uint8 [n, 28, 28, 1] of {kind}, received {images.shape}")
    if not ((labels >= 0) & (labels <= 9)).all():
        raise UserError(f"{where}: expected labels from 0 to 9, received {labels.min()} to {labels.max()}")
    return Split(images.reshape(-1, 28, 28), labels.astype(np.uint8))


def write_arrays(places: str, output: str) -> None:
    """Write the test images and labels of {kind: prepared directory}, JSON. Runs in a child."""
    import tensorflow_datasets as tfds

    arrays = {}
    for kind, directory in json.loads(places).items():
        whole = downloads.tfds_split(tfds.builder_from_directory(directory), "test")
        arrays[f"x_{kind}"], arrays[f"y_{kind}"] = whole["image"], whole["label"]
    np.savez(output, **arrays)  # type: ignore[arg-type]  # its stub takes the arrays for allow_pickle
