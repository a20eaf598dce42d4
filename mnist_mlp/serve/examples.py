"""Test images for the page: rounds of ten, one of each class, in the order of the data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnist_mlp.data import Split


class Examples:
    """The test images of the run's data set, or none and a note that says why."""

    def __init__(self, test: Split | None, note: str = ""):
        self.test, self.note = test, note
        self.rounds: np.ndarray = np.empty((0, 10), int)  # row k: the index of the k-th image of each class
        if test is not None:
            by_class = [np.flatnonzero(test.labels == label) for label in range(10)]
            shortest = min(map(len, by_class))
            self.rounds = np.stack([indices[:shortest] for indices in by_class], axis=1)

    def __len__(self) -> int:
        return len(self.rounds)

    def round(self, number: int) -> dict[str, Any]:
        """Return ten examples with index in the test set, label and image uint8 [28, 28]. Rounds repeat."""
        examples = []
        if self.test is not None and len(self):
            for index in self.rounds[number % len(self)]:
                image = np.ascontiguousarray(self.test.images[index])
                examples.append({"index": int(index), "label": int(self.test.labels[index]), "image": image})
        return {"rounds": len(self), "note": self.note, "examples": examples}
