"""What the rivals share: a stopwatch. `python RIVAL.py FILE.npz EPOCHS BATCH_SIZE unit|raw` trains and tells in JSON."""

from __future__ import annotations

import json
import sys
import time


class Stopwatch:
    """Seconds for the stages of a program, and for each epoch where the program can tell them apart."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.epochs: list[float] = []
        self.last = time.perf_counter()

    def end(self, stage: str) -> None:
        """The time since the last call belongs to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = now - self.last
        self.last = now

    def epoch_begins(self) -> None:
        self.began = time.perf_counter()

    def epoch_ends(self) -> None:
        """To be called when the epoch's results are there, not only asked for."""
        self.epochs.append(time.perf_counter() - self.began)

    def tell(self, steps_per_epoch: int, accuracy: float | None) -> None:
        said = {"seconds": self.seconds, "epochs": self.epochs, "steps_per_epoch": steps_per_epoch}
        print(json.dumps(said | {"accuracy": accuracy}), file=sys.stdout)
