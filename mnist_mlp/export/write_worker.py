"""A process that writes a network in other formats from its weights.npz, without Keras or the run.

python -m mnist_mlp.export.write_worker WEIGHTS CALIBRATION DIRECTORY FORMAT…
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_mlp.cli import program
from mnist_mlp.export import onnx_file, tensorflow_files
from mnist_mlp.export.formats import FORMATS
from mnist_mlp.models import portable


def main(argv: Sequence[str]) -> None:
    weights, calibration, directory = map(Path, argv[:3])
    try:
        write(weights, calibration, directory, argv[3:])
    except Exception as error:  # TensorFlow has its own errors for a full disk
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise


def write(weights: Path, calibration: Path, directory: Path, names: Sequence[str]) -> None:
    """Write the formats into the directory. Intermediate files are written beside the weights.

    `calibration` is a file of training images, for the int8 formats.
    """
    layers = portable.read(weights)
    files = {name: (directory if name in names else weights.parent) / FORMATS[name].file for name in FORMATS}
    if {"onnx", "onnx_int8"} & {*names}:
        onnx_file.write(layers, files["onnx"])
    if "onnx_int8" in names:
        onnx_file.quantise(files["onnx"], files["onnx_int8"], np.load(calibration)["images"])
    if any(FORMATS[name].tensorflow for name in names):
        tensorflow_files.write_saved_model(layers, files["saved_model"])
    if "litert" in names:
        tensorflow_files.write_litert(files["saved_model"], files["litert"])
    if "litert_int8" in names:
        tensorflow_files.write_litert(files["saved_model"], files["litert_int8"], np.load(calibration)["images"])


if __name__ == "__main__":
    program.run(main)
