"""A comparison of runs as text."""

from __future__ import annotations

from mnist_mlp.files.archives import truncated
from mnist_mlp.report.compare_runs import Comparison, remarks
from mnist_mlp.report.formatting import interval, number, p_value, percent
from mnist_mlp.text import aligned

WIDEST = 40  # characters of a run's name


def table(comparison: Comparison) -> str:
    """Format one line for each run and each pair."""
    rows = [("run", "accuracy", "95% interval", "errors", "loss", "parameters", "epochs", "train", "total", "on")]
    for run in comparison.runs:
        result, test = run.result, run.result["test"]
        rows.append(
            (
                *(truncated(run.name, WIDEST), percent(test["accuracy"], 2), interval(test["interval"])),
                *(f"{test['total'] - test['correct']:,}", number(test["loss"]), f"{result['parameters']:,}"),
                *(str(len(result["epochs"])), f"{result['seconds'].get('train', 0.0):.2f} s"),
                *(f"{result['seconds']['total']:.2f} s", f"{result['device']['actual'][:3]}, {result['backend']}"),
            )
        )
    lines = aligned(rows)
    if comparison.pairs:
        lines.append("")
        pairs = [("pair", "only 1st", "only 2nd", "points", "95% interval", "p", "p corrected")]
        for pair in comparison.pairs:
            low, high = (100 * end for end in pair.interval)
            pairs.append(
                (
                    *(f"{truncated(pair.one, WIDEST)} – {truncated(pair.other, WIDEST)}", f"{pair.only_one:,}"),
                    *(f"{pair.only_other:,}", f"{100 * pair.difference:+.2f}", f"{low:+.2f} to {high:+.2f}"),
                    *(p_value(pair.p), p_value(pair.p_holm)),
                )
            )
        lines += aligned(pairs)
        lines += [
            "",
            *(
                f"{truncated(pair.one, WIDEST)} – {truncated(pair.other, WIDEST)}: {pair.conclusion()}"
                for pair in comparison.pairs
            ),
        ]
    lines += [f"  !      {truncated(words, 1000)}" for words in remarks(comparison)]
    return "\n".join(lines)
