"""The report of a search: what is searched, a line for each finished method, and the tables at the end."""

from __future__ import annotations

import csv
import dataclasses
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_mlp.data import Dataset
from mnist_mlp.data.sets import not_mnist
from mnist_mlp.stats.metrics import mean_interval
from mnist_mlp.text import remarks
from mnist_mlp.tune.selection import best_of_each, ranking, standard_error
from mnist_mlp.tune.space import Parameter, Range, Space, format_space
from mnist_mlp.tune.study import Row

SHOWN = 5  # rows in the table of the best trials


def opening(
    dataset: Dataset,
    fold_sizes: Sequence[int],
    options: Mapping[str, Any],
    spaces: Mapping[str, Space],
    done: Mapping[str, int],
) -> str:
    """Return the lines before the first trial; `done` is the number of trials of each method already finished."""
    verified = "content verified" if dataset.verified else "content not verified"
    low, high = min(fold_sizes), max(fold_sizes)
    sizes = f"{low:,}" if low == high else f"{low:,} or {high:,}"
    pruned = {"none": "no pruning"}.get(options["pruning"], f"{options['pruning']} pruning")
    workers = "1 job" if options["jobs"] == 1 else f"{options['jobs']} jobs"
    trials = counted(options["trials"], "trial")
    lines = [
        f"data     {dataset.name}: {len(dataset.train):,} training images; {dataset.source}, {verified}",
        f"         the {len(dataset.test):,} test images are not used before the choice is made",
        *remarks(list(dataset.notes)),
        f"folds    {len(fold_sizes)} of {sizes} images, stratified, drawn by seed {options['seed']}, the same for all "
        "trials",
        f"search   {options['search']}, up to {trials} of each method, {pruned}, {workers}",
    ]
    width = max(map(len, spaces))
    for name, space in spaces.items():
        if options["search"] != "grid":
            space = {key: without_count(value) for key, value in space.items()}
        lines.append(wrapped(f"         {name:<{width}}  ", format_space(space)))
    if any(done.values()):
        lines.append(f"resumed  trials already finished: {sum(done.values()):,}")
    more = [f"{name} already has {count:,}" for name, count in done.items() if count > options["trials"]]
    if more:
        lines += remarks([f"--trials={options['trials']}: {', '.join(more)}, and all of them count"])
    return "\n".join(lines) + "\n"


def counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + "s" * (count != 1)


def without_count(parameter: Parameter) -> Parameter:
    """Return a range without its number of points, which only grid search uses."""
    return dataclasses.replace(parameter, count=None) if isinstance(parameter, Range) else parameter


def wrapped(indent: str, words: Sequence[str]) -> str:
    return textwrap.fill(
        " ".join(words), 118, initial_indent=indent, subsequent_indent=" " * len(indent), break_on_hyphens=False
    )


def method_line(method: str, rows: Sequence[Row], seconds: float) -> str:
    """Summarize a method whose trials are done."""
    ranked = ranking(rows)
    pruned = sum(row.state == "pruned" for row in rows)
    best = f"best {100 * ranked[0].accuracy:.2f}%, trial {ranked[0].number}" if ranked else "none complete"
    return f"{method}: {counted(len(rows), 'trial')}, {pruned} of them pruned, {best}; {seconds:.1f} s"


def loss_text(loss: float) -> str:
    """Format a loss in six characters, whatever its size."""
    return f"{loss:.4f}" if loss < 10 else f"{loss:.4g}"


def formatted(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def row_line(row: Row, name: str, more: str) -> str:
    """Format a trial: mean accuracy ± standard deviation over the folds, interval of the mean (in percent), values."""
    low, high = (100 * bound for bound in mean_interval(row.accuracies))
    interval = f"{max(low, 0):.2f}–{min(high, 100):.2f}"
    mean = f"{100 * row.accuracy:5.2f} ± {100 * row.sd:<4.2f}"
    figures = f"{mean}  {interval:>12}  {loss_text(row.loss):>6}  {row.seconds:7.1f}"
    indent = f"{name}  {more}  {figures}  "
    values = ", ".join(f"{key} {formatted(value)}" for key, value in sorted(row.values.items())) or "defaults"
    return textwrap.fill(
        values, 120, initial_indent=indent, subsequent_indent=" " * len(indent), break_on_hyphens=False
    )


def tables(rows: Sequence[Row], folds: int) -> str:
    """Format the tables of the best trial of each method and of the best trials overall."""
    width = max(len("method"), *(len(row.method) for row in rows))
    figures = f"accuracy, %   {'95% interval':>12}  {'loss':>6}  seconds  with"
    lines = [f"{'method':<{width}}  trials (pruned)  {figures}"]
    for row in best_of_each(rows):
        trials = [other for other in rows if other.method == row.method]
        pruned = sum(other.state == "pruned" for other in trials)
        lines.append(row_line(row, f"{row.method:<{width}}", f"{len(trials):>6} {f'({pruned})':>8}"))
    unfinished = {row.method for row in rows} - {row.method for row in best_of_each(rows)}
    lines += [f"{name:<{width}}  no trial completed" for name in sorted(unfinished)]
    lines += [
        "",
        f"Means over {folds} folds ± their standard deviation; Student's interval of the mean. The folds share",
        "training images, so the interval is too narrow. Each row is the best of its trials, so its mean is a little",
        "too high.",
        "",
        f"best trials of all\n{'method':<{width}}  {'trial':>6}  {figures}",
    ]
    lines += [row_line(row, f"{row.method:<{width}}", f"{row.number:>6}") for row in ranking(rows)[:SHOWN]]
    return "\n".join(lines)


def chosen_lines(chosen: Row, other: Row | None) -> list[str]:
    """Report the chosen trial and how certain the choice is."""
    lines = [
        f"chosen   {chosen.method}, trial {chosen.number}: the highest mean accuracy, {100 * chosen.accuracy:.2f}%"
    ]
    if other is None:
        return lines
    behind = 100 * (chosen.accuracy - other.accuracy)
    error = 100 * standard_error(chosen, other)
    verdict = "within one standard error" if behind <= error else "more than one standard error"
    tail = ": the folds cannot separate them" if behind <= error else ""
    lines.append(
        f"         next: {other.method}, trial {other.number}, {behind:.2f} points behind, {verdict} of that "
        f"difference ({error:.2f}){tail}"
    )
    return lines


def test_lines(result: Mapping[str, Any]) -> list[str]:
    """Report the result on the test images."""
    test, chosen = result["test"], result["chosen"]
    low, high = test["interval"]
    lines = [
        f"test     {chosen['method']}, fitted on all {result['dataset']['train_examples']:,} training images: "
        f"{test['correct']:,} of {test['total']:,} correct = {100 * test['accuracy']:.2f}%",
        f"         (95% interval {100 * low:.2f}–{100 * high:.2f}%), loss {loss_text(test['loss'])}, fitted in "
        f"{test['seconds']:.1f} s on {test['ran_on']}",
    ]
    if test.get("diverged"):
        lines.append("  !      this training diverged (a loss or a weight is not finite), though none of the folds did")
    if remark := not_mnist(result["dataset"]["name"]):
        lines.append(f"  !      {remark}")
    *earlier, last = result["looks"]
    same = [look for look in earlier if look.get("test images") in (None, last["test images"])]
    if same:
        before = "; ".join(
            f"{look['method']} after {counted(look['trials'], 'trial')}, {look['correct']} of {look['total']}"
            for look in same
        )
        lines += remarks([f"the test images have been used before ({before}): this choice is no longer blind to them"])
    return lines


def as_csv(rows: Sequence[Row]) -> str:
    """Return all trials as CSV; a parameter that a method does not have is empty."""
    names = sorted({name for row in rows for name in row.values})
    folds = max((len(row.scores) for row in rows), default=0)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["method", "trial", "state", "folds", "accuracy", "sd", "loss", "seconds"]
    writer.writerow([*head, *names, *(f"fold {fold}" for fold in range(folds))])
    for row in rows:
        done = [row.accuracy, row.sd, row.loss, row.seconds] if row.scores else [""] * 4
        writer.writerow(
            [row.method, row.number, row.state, len(row.scores), *done, *(row.values.get(name, "") for name in names)]
            + [*row.accuracies, *[""] * (folds - len(row.scores))]
        )
    return out.getvalue()
