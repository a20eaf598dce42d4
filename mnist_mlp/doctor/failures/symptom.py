"""What the tables of this folder are made of."""

from __future__ import annotations

import dataclasses

ERROR, WARNING, HARMLESS = "error", "warning", "harmless"
LEVELS = (ERROR, WARNING, HARMLESS)  # it stopped; it went on, but not as wanted; nothing is wrong

TRAIN = "python -m mnist_mlp.train"
TRY_TPU = f"run {TRAIN} --strategy=tpu"


@dataclasses.dataclass(frozen=True)
class Symptom:
    """A message that others have reported.

    Each pattern is a regular expression that ignores case, in which a space matches any white space. It begins with at
    least four letters or digits as they are, without a quantifier, and has no unbounded repetition: so a long text
    takes little time (see `known_failures.keyword`).
    """

    name: str
    patterns: tuple[str, ...]
    meaning: str
    fix: str  # one thing to run or to do
    source: str  # where it is reported: tensorflow#1, keras#1, jax#1, colabtools#1, owner/repository#1, or a file
    level: str = ERROR
