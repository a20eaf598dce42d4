"""What TPU cores exchange: read from compiled programs, and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

SUMS = 1_024  # bytes, at most, of what several cores sum besides gradients: losses, counts, a confusion matrix
COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all"),
    *("ragged-all-to-all", "collective-broadcast"),
)
# An instruction of an HLO text, "%name = shape operation(operands), …". Of the pair "-start", "-done" the first counts.
INSTRUCTION = re.compile(rf"^\s*(?:ROOT )?%?[\w.-]+ = ([^=]*?) ({'|'.join(COLLECTIVES)})(-start)?\(", re.MULTILINE)
ARRAY = re.compile(r"\b(pred|bf16|[a-z]+\d+\w*)\[([\d,]*)\]")


def collectives(hlo: str) -> dict[str, list[int]]:
    """The instructions of an HLO text by which cores exchange values: the bytes of each one's result, by kind.

    Of a tuple that holds both what goes in and what comes out (an `all-gather-start`), the bytes of both.
    """
    found: dict[str, list[int]] = {}
    for shape, kind, _ in INSTRUCTION.findall(re.sub(r"/\*.*?\*/", "", hlo)):
        found.setdefault(kind, []).append(sum(array_bytes(*array) for array in ARRAY.findall(shape)))
    return found


def array_bytes(dtype: str, dimensions: str) -> int:
    """ "f32", "784,128" → 401,408."""
    bits = 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
    return math.ceil(math.prod(int(size) for size in dimensions.split(",") if size) * bits / 8)


def check(name: str, cores: int, found: Mapping[str, Sequence[int]], trained: int, precision: str) -> list[str]:
    """What is wrong with the collectives of a program that trains so many parameters."""
    text = collectives_text(found)
    if cores == 1 or name == "predict":  # which each core does as a whole
        return [f"expected no collective, found {text}"] if found else []
    sums = found.get("all-reduce", [])
    least = (2 if precision == "bfloat16" else 4) * trained  # bytes: some gradients may be bfloat16 then
    most = 4 * trained + SUMS
    problems = []
    if set(found) - {"all-reduce"}:
        problems.append(f"expected no collective but all-reduce, found {text}")
    if max(sums, default=0) > most:
        problems.append(f"expected no all-reduce of more than {most:,} B, found {text}")
    if sum(sums) < least or not sums:
        problems.append(f"expected the cores to sum their shares ({least:,} B of gradients), found {text}")
    return problems


def collectives_text(found: Mapping[str, Sequence[int]]) -> str:
    """ "3 all-reduce up to 437,548 B"."""
    return ", ".join(f"{len(sizes)} {kind} up to {max(sizes):,} B" for kind, sizes in found.items()) or "none"
