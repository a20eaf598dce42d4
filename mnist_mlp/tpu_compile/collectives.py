"""The collectives of a compiled program: read from its HLO, and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

SUMS = 1_024  # bytes that cores may sum besides gradients: losses, counts, a confusion matrix
COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all"),
    *("ragged-all-to-all", "collective-broadcast"),
)
# An HLO instruction, "%name = shape operation(operands), …". Of a pair "-start", "-done" only the first is counted.
INSTRUCTION = re.compile(rf"^\s*(?:ROOT )?%?[\w.-]+ = ([^=]*?) ({'|'.join(COLLECTIVES)})(-start)?\(", re.MULTILINE)
ARRAY = re.compile(r"\b(pred|bf16|[a-z]+\d+\w*)\[([\d,]*)\]")


def collectives(hlo: str) -> dict[str, list[int]]:
    """Return the bytes of the result of each collective in an HLO text, by kind.

    Where the result is a tuple of input and output (`all-gather-start`), the bytes of both are counted.
    """
    sizes: dict[str, list[int]] = {}
    for shape, kind, _ in INSTRUCTION.findall(re.sub(r"/\*.*?\*/", "", hlo)):
        sizes.setdefault(kind, []).append(sum(array_bytes(*array) for array in ARRAY.findall(shape)))
    return sizes


def array_bytes(dtype: str, dimensions: str) -> int:
    """Return the size of an array in bytes: "f32", "784,128" give 401,408."""
    bits = 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
    return math.ceil(math.prod(int(size) for size in dimensions.split(",") if size) * bits / 8)


def check(name: str, cores: int, sizes: Mapping[str, Sequence[int]], trained: int, precision: str) -> list[str]:
    """Return what is wrong with the collectives of a program that trains `trained` parameters."""
    text = collectives_text(sizes)
    if cores == 1 or name == "predict":  # each core predicts the whole batch
        return [f"expected no collectives, found {text}"] if sizes else []
    sums = sizes.get("all-reduce", [])
    least = (2 if precision == "bfloat16" else 4) * trained  # bytes; some gradients may be bfloat16
    most = 4 * trained + SUMS
    problems = []
    if set(sizes) - {"all-reduce"}:
        problems.append(f"expected only all-reduce, found {text}")
    if max(sums, default=0) > most:
        problems.append(f"expected no all-reduce of more than {most:,} B, found {text}")
    if sum(sums) < least or not sums:
        problems.append(f"expected the cores to sum {least:,} B of gradients, found {text}")
    return problems


def collectives_text(sizes: Mapping[str, Sequence[int]]) -> str:
    """Return "3 all-reduce up to 437,548 B"."""
    return ", ".join(f"{len(each)} {kind} up to {max(each):,} B" for kind, each in sizes.items()) or "none"
