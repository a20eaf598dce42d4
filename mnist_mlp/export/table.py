"""An export as text for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp.export.agreement import LEAST_TOLERANCE, LOST, MOVED, ROUNDINGS
from mnist_mlp.export.verify_worker import TIMED
from mnist_mlp.text import remarks

if TYPE_CHECKING:
    from mnist_mlp.runs.result import Result

ONE, MANY = TIMED
OF_0_1 = {  # how files of version 0.1 differ, which stay where only other formats are exported
    "saved_model": "no folder for its version",
    "litert": "class as output 0",
    "litert_int8": "class as output 0",
}
HEADS = ("format", "file", "bytes", "agree", "largest |Δp|", "correct", f"ms: n = {ONE}", f"n = {MANY}", "read by")
WIDTHS = (12, 17, 10, 14, 12, 7, 9, 8, 0)


def opening(trained: Result, correct: int, total: int, device: str, temperature: float | None = None) -> str:
    """Format the trained model, its temperature if it is calibrated, and its result on the test images."""
    scaled = f", logits divided by the temperature {temperature:.4g}" if temperature else ""
    highest = 255 if trained.pixels == "raw" else 1
    return (
        f"model    {trained.network} on pixels from 0 to {highest}, {trained.precision}{scaled}\n"
        f"test     {correct:,} of {total:,} {trained.dataset['name']} images correct, on {device}\n"
    )


def kept(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name the formats of an earlier export that stay, and what is different in those of version 0.1."""
    names = ", ".join(row["format"] for row in rows)
    lines = [f"kept     {names}: already exported from the same model"]
    if old := [row["format"] for row in rows if row["format"] in OF_0_1 and "outputs" not in row]:
        different = "; ".join(dict.fromkeys(OF_0_1[name] for name in old))
        again = " ".join(dict.fromkeys(name.removesuffix("_int8") for name in old))
        int8 = " --int8" * any(name.endswith("_int8") for name in old)
        note = f"version 0.1 wrote {', '.join(old)} ({different}); to replace them: --format {again}{int8}"
        lines += remarks([note])
    return "\n".join(lines)


def head() -> str:
    return "  " + line(HEADS)


def line(cells: Sequence[str]) -> str:
    """Align text to the left and numbers to the right."""
    aligned = [
        f"{cell:<{width}}" if index in (0, 1, 8) else f"{cell:>{width}}"
        for index, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def row(exported: Mapping[str, Any]) -> str:
    """Format one row of export.json."""
    milliseconds = [exported["milliseconds"].get(str(n)) for n in TIMED]
    difference = exported["largest_difference"]
    cells = (
        exported["format"],
        exported["file"],
        f"{exported['bytes']:,}",
        f"{exported['agreements']:,}/{exported['total']:,}",
        "nan" if difference is None else f"{difference:.1e}",
        f"{exported['correct']:,}",
        *("–" if value is None else f"{value:.3g}" for value in milliseconds),
        exported["runtime"],
    )
    return f"{'✓' if exported['agrees'] else '✗'} {line(cells)}"


def closing(exported: Mapping[str, Any], output: str) -> str:
    """Explain the columns and say where the files are."""
    rows, tolerance = exported["formats"], exported["tolerance"]
    calls = {n: max(row["calls"].get(str(n), 0) for row in rows) for n in TIMED}
    lines = ["", "agree    test images with the same class as the trained model"]
    if tolerance is not None:
        rule = f"{ROUNDINGS} times NumPy's float32 error, at least {LEAST_TOLERANCE:.0e}"
        lines.append(f"|Δp|     difference of one probability; float32 formats: at most {tolerance:.1e} ({rule})")
    if any(row["tolerance"] is None for row in rows):
        label = "" if tolerance is not None else "|Δp|"
        lines += [
            f"{label:<9}with fewer bits: {100 * LOST:g}% fewer images may be correct, and a number of images equal to "
            f"{MOVED} of the",
            f"{'':<9}model's errors may change class (both rounded up, at least one)",
        ]
    lines += [
        "ms       per image on the CPU, from images to predictions in memory: median of "
        f"{calls[ONE]} calls with {ONE} image, {calls[MANY]} with {MANY}",
        f"export   {output}",
    ]
    return "\n".join(lines)


def shown(probability: float | None) -> str:
    """Format a probability; JSON has no nan."""
    return "nan" if probability is None else format(probability, ".4f")


def refuted(rows: Sequence[Mapping[str, Any]]) -> str:
    """Describe the formats that do not agree: the first image of each, with both predictions."""
    sentences = []
    for row in rows:
        first = row["first_difference"]
        image = f"for test image {first['image']} (a {first['label']})"
        both = [(first[one]["class"], shown(first[one]["probability"])) for one in ("trained", "export")]
        if both[0][0] == both[1][0]:
            apart = first["apart"]
            words = f"{image} the model gives class {apart['class']} p = {shown(apart['trained'])}, the export "
            words += f"p = {shown(apart['export'])}"
        else:
            model, file = (f"{predicted} (p = {p})" for predicted, p in both)
            words = f"{image} the model predicts {model}, the export {file}"
        sentences.append(f"✗ {row['format']} differs from the trained model: {words}; its file was removed")
    return "; ".join(sentences)
