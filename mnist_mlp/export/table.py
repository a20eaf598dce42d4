"""An export as text for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp.export.agreement import LEAST_TOLERANCE, LOST, MOVED, ROUNDINGS
from mnist_mlp.export.verify_worker import TIMED

if TYPE_CHECKING:
    from mnist_mlp.runs.result import Result

ONE, MANY = TIMED
HEADS = ("format", "file", "bytes", "agree", "largest |Δp|", "right", f"ms: n = {ONE}", f"n = {MANY}", "read by")
WIDTHS = (12, 17, 10, 14, 12, 7, 9, 8, 0)


def opening(trained: Result, correct: int, total: int, device: str, backend: str) -> str:
    """The trained model that the files are held against."""
    highest = 255 if trained.pixels == "raw" else 1
    right = f"{correct:,} of {total:,} {trained.dataset['name']} images right"
    return (
        f"model    {trained.model} on pixels from 0 to {highest}, {trained.precision}\n"
        f"test     {right}, on {device}, {backend}\n"
    )


def head() -> str:
    return "  " + line(HEADS)


def line(cells: Sequence[str]) -> str:
    """Words to the left, figures to the right."""
    laid = [f"{c:<{w}}" if i in (0, 1, 8) else f"{c:>{w}}" for i, (c, w) in enumerate(zip(cells, WIDTHS, strict=True))]
    return "  ".join(laid).rstrip()


def row(found: Mapping[str, Any]) -> str:
    """One format."""
    milliseconds = [found["milliseconds"].get(str(n)) for n in TIMED]
    difference = found["largest_difference"]
    cells = (
        found["format"],
        found["file"],
        f"{found['bytes']:,}",
        f"{found['agreements']:,}/{found['total']:,}",
        "nan" if difference is None else f"{difference:.1e}",
        f"{found['correct']:,}",
        *("–" if value is None else f"{value:.3g}" for value in milliseconds),
        found["runtime"],
    )
    return f"{'✓' if found['agrees'] else '✗'} {line(cells)}"


def closing(exported: Mapping[str, Any], output: str) -> str:
    """What the columns mean, and where the files are."""
    rows, tolerance = exported["formats"], exported["tolerance"]
    calls = {n: max(found["calls"].get(str(n), 0) for found in rows) for n in TIMED}
    lines = ["", "agree    test images with the class that the trained model gives them"]
    if tolerance is not None:
        least = f"{ROUNDINGS} times what float32 is off float64 in NumPy, {LEAST_TOLERANCE:.0e} at least"
        lines.append(f"|Δp|     of one probability; float32 may differ by {tolerance:.1e} ({least})")
    if any(found["tolerance"] is None for found in rows):
        lines += [
            f"{'|Δp|' if tolerance is None else '':<9}with fewer bits {100 * LOST:g}% fewer images may be right, and "
            f"{MOVED} as many as the model has wrong may change their class",
            f"{'':<9}(right no longer less newly right; both rounded up, at least one)",
        ]
    lines += [
        "ms       per image, on the CPU: calls from images to predictions in memory, median of "
        f"{calls[ONE]} with {ONE} image, {calls[MANY]} with {MANY}",
        f"export   {output}",
    ]
    return "\n".join(lines)


def refuted(rows: Sequence[Mapping[str, Any]]) -> str:
    """What to tell of the formats that do not agree: the first image of each, with both predictions."""
    told = []
    for found in rows:
        first = found["first_difference"]
        ours, theirs = (
            f"{said['class']} (p = {'nan' if said['probability'] is None else format(said['probability'], '.4f')})"
            for said in (first["trained"], first["export"])
        )
        told.append(
            f"✗ {found['format']} does not predict what the trained model does: of test image {first['image']} "
            f"(a {first['label']}) the model says {ours}, the export {theirs}; its file was not kept"
        )
    return "; ".join(told)
