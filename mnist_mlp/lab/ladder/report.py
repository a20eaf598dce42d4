"""The report of the ladder: a line for each rung and each point of a curve; the same rows as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from typing import Any

from mnist_mlp.data.sets import not_mnist
from mnist_mlp.lab.ladder import networks
from mnist_mlp.stats import metrics

ALPHA = 0.05
NAME = max(len(rung.name) for rung in networks.RUNGS)
COLUMNS = f"{'accuracy %':>14}  {'95% interval':>13}"
CSV_COLUMNS = (
    *("dataset", "part", "number", "name", "against", "width", "depth", "images", "epochs", "seeds", "parameters"),
    *("accuracy", "sd", "low", "high", "difference", "p", "p_holm", "train_seconds", "compile_seconds"),
    *("l2_error", "largest_error"),
)


def opening(result: dict[str, Any]) -> str:
    """Describe what all rows have in common."""
    return "\n".join([data_line(result), *wrapped(result["dataset"]["notes"])])


def data_line(result: dict[str, Any]) -> str:
    data, seeds = result["dataset"], result["seeds"]
    several = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]} only"
    return (
        f"data     {data['name']}: {data['train_examples']:,} training + {data['test_examples']:,} test images; "
        f"{number(result['epochs'], 'epoch')}, batch 32, {several}"
    )


def number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def heading(group: str, *, first: bool) -> str:
    """Return the line above the rungs of a group; above the first group, also the column headers."""
    lines = [""]
    if first:
        tests = f"{'against':>7}  {'change':>7}  {'p':>7}"
        lines += [f" {'#':>2}  {'rung':<{NAME}}  {COLUMNS}  {tests}  {'parameters':>10}  {'train s':>7}"]
    return "\n".join([*lines, f"     {group}: {networks.GROUPS[group][0]}"])


def rung_line(row: dict[str, Any]) -> str:
    """Format a rung; "change" is in percentage points of accuracy."""
    tests = f"{'–':>7}  {'–':>7}  {'–':>7}"
    if "p" in row:
        tests = f"{row['against']:>7}  {100 * row['difference']:>+7.2f}  {small(row['p']):>7}"
    return f" {row['number']:>2}  {row['name']:<{NAME}}  {accuracy(row)}  {tests}  {cost(row)}"


def curve_heading(name: str, counted: str) -> str:
    """Return the lines above the points of a curve."""
    head = f"     {name:>8}  {COLUMNS}  {'parameters':>10}  {'train s':>7}"
    return f"\naccuracy against {counted}\n{head}"


def curve_line(name: str, row: dict[str, Any]) -> str:
    return f"     {row[name]:>8,}  {accuracy(row)}  {cost(row)}"


def accuracy(row: dict[str, Any]) -> str:
    """Return mean ± sd and interval in percent: "97.39 ± 0.24    97.09–97.69"."""
    mean = f"{100 * row['accuracy']:.2f}" + ("" if row["sd"] is None else f" ± {100 * row['sd']:.2f}")
    interval = "–" if row["interval"] is None else "{:.2f}–{:.2f}".format(*(100 * end for end in row["interval"]))
    return f"{mean:>14}  {interval:>13}"


def cost(row: dict[str, Any]) -> str:
    return f"{row['parameters']:>10,}  {row['train_seconds']:>7.2f}"


def small(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def reading(rows: Sequence[dict[str, Any]], result: dict[str, Any]) -> str:
    """Explain how to read the table of the rungs, and what its tests say together."""
    n, images = len(result["seeds"]), result["dataset"]["test_examples"]
    tested = [row for row in rows if "p" in row]
    best = max(rows, key=lambda row: row["accuracy"])
    low, high = metrics.wilson_interval(round(best["accuracy"] * images), images)
    lines = []
    if n > 1:
        lines.append(
            f"± is the standard deviation over {n} seeds (initial weights, order of the images, dropout); the interval "
            "is Student's, of the mean over seeds on these test images."
        )
    lines.append(
        f"Other test images would give other results: with {images:,} of them, {100 * best['accuracy']:.1f}% means "
        f"{100 * low:.1f}–{100 * high:.1f}% (Wilson). train s: seconds to train one network, without compilation."
    )
    if tested:
        how = "one for each seed, combined as twice the median" if n > 1 else "for the one seed"
        differ = ", ".join(str(row["number"]) for row in tested if differs(row)) or "none"
        same = ", ".join(str(row["number"]) for row in tested if not differs(row)) or "none"
        both = " and with Student's interval over the seeds" if n > 1 else ", for these trained networks"
        lines += [
            "against: the rung that this one is compared with, and differs from in one respect: up to the lecture's "
            f"net the rung before, then the lecture's net. p: McNemar's exact test on the same test images, {how}.",
            f"Significant at 5% with Holm's correction for {number(len(tested), 'test')}{both}: {differ}. Not "
            f"significant, which does not mean equal: {same}.",
        ]
    return "\n" + "\n".join(textwrap.fill(line, 112) for line in lines)


def differs(row: dict[str, Any]) -> bool:
    """Return whether the difference would persist with other test images and with other seeds."""
    low, high = row["difference_interval"] or (row["difference"], row["difference"])
    return row["p_holm"] < ALPHA and (low > 0 or high < 0)


def approximation_table(rows: Sequence[dict[str, Any]], seeds: int) -> str:
    """Return a line for each width, with both errors of each target."""
    targets = list(dict.fromkeys(row["target"] for row in rows))
    over = f", median of {seeds} seeds" if seeds > 1 else ""
    lines = [
        "",
        "approximation error against width: one hidden tanh layer on −1 … 1, random hidden weights, output weights by",
        f"least squares; L² error and largest error for each function{over}",
        "        width" + "".join(f"  {target:>23}" for target in targets),
    ]
    for width in dict.fromkeys(row["width"] for row in rows):
        cells = [row for row in rows if row["width"] == width]
        errors = "".join(f"  {row['l2_error']:>13.1e} {row['largest_error']:>9.1e}" for row in cells)
        lines.append(f"     {width:>8}{errors}")
    lines.append("A jump is never matched everywhere: its L² error falls, its largest error does not.")
    return "\n".join(lines)


def closing(result: dict[str, Any], files: Sequence[str], note: str) -> str:
    """Return the time taken, the device, the files and the data."""
    lines = ["", f"seconds  {result['seconds']:.0f} in total"]
    if "device" in result:
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        lines.append(f"device   {result['device']}; {versions}")
    if files:
        lines.append(f"written  {', '.join(files)}")
    lines += wrapped([note] if note else [])
    if "dataset" in result:
        lines.append(data_line(result))
        lines += wrapped(warnings(result))
    return "\n".join(lines)


def warnings(result: dict[str, Any]) -> list[str]:
    """Return a warning for numbers that are not MNIST's."""
    remark = not_mnist(result["dataset"]["name"])
    return [remark] if remark else []


def wrapped(notes: Sequence[str]) -> list[str]:
    return [textwrap.fill(note, 110, initial_indent="  !      ", subsequent_indent=" " * 9) for note in notes]


def as_csv(result: dict[str, Any]) -> str:
    """Return all rows as CSV: accuracies from 0 to 1, empty if a column does not apply."""
    common = {"seeds": len(result["seeds"])}
    trained = common | {"epochs": result.get("epochs"), "dataset": result.get("dataset", {}).get("name")}
    names = {row["number"]: row["name"] for row in result["rungs"]}
    rows = []
    for row in result["rungs"]:
        rows.append({**trained, **row, "part": row["group"], "against": names.get(row.get("against"))})
    for part in ("width", "depth", "images"):
        rows += [{**trained, **row, "part": part} for row in result[part]]
    rows += [{**common, **row, "part": "approximation", "name": row["target"]} for row in result["approximation"]]
    for row in rows:
        row["low"], row["high"] = row.get("interval") or (None, None)
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
