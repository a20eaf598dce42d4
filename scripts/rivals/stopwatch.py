"""What the rivals share: a stopwatch. A rival trains, and tells in JSON what it took:

    python RIVAL.py FILE.npz EPOCHS BATCH_SIZE unit|raw cpu|gpu|tpu

Standard library alone, so that the stopwatch runs before a rival imports anything.
"""

from __future__ import annotations

import json
import time


class Stopwatch:
    """Seconds for the stages of a program, and for each epoch where the program can tell them apart.

    `compiles`: within its first epoch.
    """

    def __init__(self, *, compiles: bool = False) -> None:
        self.compiles = compiles
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

    def tell(self, steps_per_epoch: int, accuracy: float | None, device: str = "CPU") -> None:
        """The last line of a rival's output. `accuracy`: of the test images, from 0 to 1. `device`: where it ran, as
        its framework says ("GPU: NVIDIA L4")."""
        said = {"seconds": self.seconds, "epochs": self.epochs, "compiles": self.compiles, "device": device}
        print(json.dumps(said | {"steps_per_epoch": steps_per_epoch, "accuracy": accuracy}))
