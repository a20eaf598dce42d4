"""What the runs in view make of a drawn digit, with the newest weights that each of them has published.

The server computes it itself, with NumPy: a digit drawn in the hall must not cost the training anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.lab.live.training import orders
from mnist_mlp.lab.live.training.looking import VALUES, rounded
from mnist_mlp.models import numpy_forward, portable
from mnist_mlp.models.portable import Layer

Stamp = tuple[int, int]  # of a file: its inode, and when it was written


class Weights:
    """The newest weights of runs, read again when they have changed."""

    def __init__(self) -> None:
        self.read: dict[Path, tuple[Stamp, list[Layer]]] = {}

    def of(self, folder: Path) -> list[Layer] | None:
        """Return the layers of a run's network; None if it has not published any yet."""
        file = folder / orders.WEIGHTS
        try:
            found = file.stat()
            stamp = (found.st_ino, found.st_mtime_ns)
            if folder not in self.read or self.read[folder][0] != stamp:
                self.read[folder] = stamp, portable.read(file)
        except FileNotFoundError:
            return None
        return self.read[folder][1]

    def keep_only(self, folders: list[Path]) -> None:
        """Forget the weights of other runs."""
        self.read = {folder: self.read[folder] for folder in folders if folder in self.read}

    def answers(self, folders: list[Path], image: np.ndarray) -> dict[str, dict[str, Any] | None]:
        """Return what each run makes of an image, uint8 [28, 28], by the run's name: see `answer`."""
        self.keep_only(folders)
        found = {folder.name: self.of(folder) for folder in folders}
        return {name: answer(layers, image) if layers else None for name, layers in found.items()}


def answer(layers: list[Layer], image: np.ndarray) -> dict[str, Any]:
    """Return the probabilities of the classes, and the activations of the hidden layers, of a convolution the largest
    of each channel, as `Engine.layers` has them."""
    x, hidden = image[np.newaxis].astype("float32"), []
    for layer in layers:
        x = numpy_forward.apply(layer, x)
        if layer.kernel is not None and layer.name != "logits":
            units = x.max(axis=(1, 2)) if x.ndim == 4 else x
            hidden.append({"layer": layer.name, "units": units.shape[1], "values": rounded(units[0, :VALUES])})
    probabilities = [float(value) if np.isfinite(value) else None for value in x[0]]
    return {"probabilities": probabilities, "activations": hidden}
