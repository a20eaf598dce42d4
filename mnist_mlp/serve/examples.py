"""Test images to show: ten at a time, one of each class, in the order of the file, none chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnist_mlp.data import Split


class Examples:
    """The test images of the run's data set, or none and why (`note`)."""

    def __init__(self, test: Split | None, note: str = ""):
        self.test, self.note = test, note
        self.rounds: np.ndarray = np.empty((0, 10), int)  # the k-th image of each class in row k
        if test is not None:
            places = [np.flatnonzero(test.labels == digit) for digit in range(10)]
            shortest = min(map(len, places))
            self.rounds = np.stack([place[:shortest] for place in places], axis=1)

    def __len__(self) -> int:
        return len(self.rounds)

    def round(self, which: int) -> dict[str, Any]:
        """Ten examples: index in the test set, label, image uint8 [28, 28]; after the last round comes the first."""
        found = []
        if self.test is not None and len(self):
            for index in self.rounds[which % len(self)]:
                image = np.ascontiguousarray(self.test.images[index])
                found.append({"index": int(index), "label": int(self.test.labels[index]), "image": image})
        return {"rounds": len(self), "note": self.note, "examples": found}
