"""The errors on corrupted images as a table for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(report: Mapping[str, Any]) -> str:
    """Return the lines for what corruptions.json holds."""
    reference, tfds = report["reference"], report["mnist_corrupted"]
    severities = sorted({row["severity"] for kind in report["kinds"] for row in kind["severities"]})
    several = len(severities) > 1
    head = [f"{'':<15}", *(f"{severity:>6}" for severity in severities if several), f"{'error':>7}", f"{'95%':>11}"]
    lines = [
        "",
        f"corrupted: {report['images']:,} test images of {report['dataset']}, seed {report['seed']}; errors in percent"
        + (", by severity and on average" if several else f", severity {severities[0]}"),
        " ".join([*head, *([f"{'reference':>10}", f"{'CE':>6}"] if reference else [])]).rstrip(),
    ]
    width = 7 * len(severities) * several
    others = {row["kind"]: row for row in reference["kinds"]} if reference else {}
    errors = {row["kind"]: row["error"] for row in reference["errors"]} if reference else {}

    def line(name: str, cells: str, row: Mapping[str, Any], other: float | None = None, ce: float | None = None) -> str:
        low, high = row["interval"]
        beside = f" {percent(other):>10}" if other is not None else ""
        ratio = f" {100 * ce:>6.1f}" if ce is not None else ""
        span = f"{percent(low)}–{percent(high)}"
        return f"{name:<15}{cells:<{width}} {percent(row['error']):>7} {span:>11}{beside}{ratio}"

    clean = reference["clean"]["error"] if reference else None
    lines.append(line("not corrupted", "", report["clean"], clean))
    for kind in report["kinds"]:
        by_severity = {row["severity"]: row["error"] for row in kind["severities"]}
        cells = "".join(
            f" {percent(by_severity[severity]):>6}" if severity in by_severity else " " * 7 for severity in severities
        )
        name = kind["kind"]
        ce = others[name]["ce"] if reference else None
        lines.append(line(name, cells if several else "", kind, errors.get(name), ce))
    mean = reference["mean"]["error"] if reference else None
    lines.append(line("mean", "", report["mean"], mean, reference["mce"] if reference else None))
    if reference:
        lines += compared(report, reference)
    if tfds:
        lines += beside_tfds(tfds)
    return "\n".join(lines)


def attacks(curves: Sequence[Mapping[str, Any]]) -> str:
    """Return the lines for the errors on adversarial images, of one network or of two."""
    lines = [
        "",
        "FGSM: errors in percent, with 95% intervals, where each pixel moves by ε of full ink to a larger loss",
    ]
    lines.append(" ".join([f"{'ε':>6}", *(f"{name:>18}" for name in ("this run", "reference")[: len(curves)])]))
    for rows in zip(*(curve["errors"] for curve in curves), strict=True):
        spans = ("–".join(map(percent, row["interval"])) for row in rows)
        cells = (f"{percent(row['error'])} ({span})" for row, span in zip(rows, spans, strict=True))
        lines.append(" ".join([f"{rows[0]['epsilon']:>6g}", *(f"{cell:>18}" for cell in cells)]))
    return "\n".join(lines)


def percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.0995 else f"{100 * share:.1f}"


def compared(report: Mapping[str, Any], reference: Mapping[str, Any]) -> Sequence[str]:
    """Return the comparison with the reference in words."""
    low, high = (points(value) for value in reference["difference_interval"])
    lines = [
        f"compared with {reference['run']}: mean error {points(reference['difference'])} points "
        f"(95% {low} to {high}), mCE {ratio(reference['mce'])}, relative mCE {ratio(reference['relative_mce'])}"
    ]
    return lines


def ratio(value: float | None) -> str:
    """A mean of errors relative to the reference's, or why there is none."""
    return "not defined (on some kind the reference makes no more errors)" if value is None else f"{100 * value:.1f}%"


def points(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")


def beside_tfds(tfds: Mapping[str, Any]) -> Sequence[str]:
    """Return how MNIST-C's own images compare with ours, in words."""
    worst = max(tfds["kinds"], key=lambda row: abs(row["error"] - row["ours"]["error"]))
    harder = "easier" if tfds["ours"] < tfds["mean"] else "harder"
    return [
        f"MNIST-C in {tfds['directory']}: mean error {100 * tfds['mean']:.1f}% on {len(tfds['kinds'])} of its kinds; "
        f"ours of the same kinds, at the nearest severity: {100 * tfds['ours']:.1f}%, so ours are {harder} by "
        f"{abs(100 * (tfds['mean'] - tfds['ours'])):.1f} points; farthest apart: {worst['kind']}, "
        f"{100 * worst['error']:.1f}% and {100 * worst['ours']['error']:.1f}%"
    ]
