"""A result as text for the console: `opening` before training, a line per epoch, `closing` at the end."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from mnist_mlp.data.sets import DIGITS, class_names, not_mnist
from mnist_mlp.files.archives import truncated
from mnist_mlp.runs.result import Result
from mnist_mlp.text import division, remarks

NUMBERS = ("warmup", "weight_decay", "label_smoothing", "ema")  # of a recipe


def setting(result: Result) -> str:
    """Return the lines about the data and the device."""
    data = result.dataset
    kept = f" + {data['validation_examples']:,} validation" if data["validation_examples"] else ""
    lines = [
        f"data     {data['name']}: {data['train_examples']:,} training{kept} + {data['test_examples']:,} test images",
        f"         {data['source']}, " + ("content verified" if data["verified"] else "content not verified"),
        *remarks(data["notes"]),
        *device(result),
    ]
    return "\n".join(lines)


def device(result: Result) -> list[str]:
    """Return the lines about the device."""
    return [
        f"device   {result.device['actual']} (requested: {result.device['requested']}), {replicas(result)}"
        f"XLA {'on' if result.device['xla'] else 'off'}, {result.precision}, {result.backend}, {result.engine} engine",
        *remarks(result.device["notes"]),
    ]


def replicas(result: Result) -> str:
    """Return "4 replicas, " if each batch is split across several."""
    count = result.device["replicas"]
    return f"{count} replicas, " if count > 1 else ""


def opening(result: Result) -> str:
    """Return what is known before training: the data, the device and the network."""
    seen = "0 to 255" if result.pixels == "raw" else "0 to 1"
    lines = [
        setting(result),
        f"model    {result.network} on pixels from {seen}, {result.optimizer} at {result.learning_rate:g}, "
        f"seed {result.seed}",
        *([f"         with the weights of {result.initial['run']}"] if result.initial else []),
        *recipe(result),
    ]
    for row in result.layers:
        shape = "×".join(map(str, row["output"]))
        arithmetic = f" = {row['arithmetic']}" if row["arithmetic"] else ""
        lines.append(f"         {row['kind']:<12} {shape:>9} {row['parameters']:>9,}{arithmetic}")
    steps, batch, data = result.steps_per_epoch, result.batch_size, result.dataset
    lines += [
        f"         {'parameters':<12} {'':>9} {result.parameters:>9,}",
        f"steps    {division(data['train_examples'], batch, steps)} per epoch of training, "
        f"{division(data['test_examples'], batch, result.evaluation_steps)} of evaluation",
        *continuations(result),
        "",
    ]
    return "\n".join(lines)


def recipe(result: Result) -> list[str]:
    """Return a line of what training does beyond the plain step, if anything."""
    options = {"schedule": "constant", "augment": "none", **result.recipe}
    words = {
        "schedule": f"{options['schedule']} learning rate" if options["schedule"] != "constant" else "",
        **{name: f"{name.replace('_', ' ')} {options.get(name):g}" if options.get(name) else "" for name in NUMBERS},
        "augment": f"{options['augment']} distortions (distortions.png)" if options["augment"] != "none" else "",
    }
    said = [each for each in words.values() if each]
    return [f"recipe   {', '.join(said)}", *remarks(too_early(result))] if said else []


def too_early(result: Result) -> list[str]:
    """Return a warning if the average of the weights will still hold much of the first ones when the run ends."""
    ema, steps = result.recipe["ema"], result.recipe["steps"]
    left = ema ** (steps - 1) if ema else 0.0  # Keras begins the average with the weights after the first step
    if left <= 0.01:
        return []
    still = f"after {steps:,} steps, {left:.0%} of the average is still the weights after the first step"
    return [f"--ema={ema:g}: {still}; try a smaller --ema, or more --epochs"]


def continuations(result: Result) -> list[str]:
    """Return a line per resume, with the checkpoints that were skipped and what has changed since."""
    lines = []
    for once in result.resumed:
        at = f"{once['step']:,} of {once['of']:,} steps"
        lines.append(f"resumed  at {at}" if once["before"] else "resumed  from the start: no checkpoint was intact")
        lines += remarks([f"skipped: {reason}" for reason in once["passed_over"]])
        changed = [key for key, value in once["now"].items() if once["before"].get(key, value) != value]
        if changed:
            what = ", ".join(
                f"{key} {once['now'][key]} (before: {truncated(str(once['before'][key]), 80)})" for key in changed
            )
            lines += remarks(
                [f"now on {what}: equal up to rounding (with dropout: other random bits), not bit for bit"]
            )
    return lines


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """Return an epoch as a line."""
    line = (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}   loss {row['loss']:.4f}   accuracy {row['accuracy']:.4f}"
    )
    if "validation_loss" in row:
        line += f"   validation loss {row['validation_loss']:.4f} accuracy {row['validation_accuracy']:.4f}"
    return f"{line}   {row['seconds']:.2f} s"


def diagnosed(diagnoses: list[dict[str, Any]]) -> str:
    """Return what `--diagnose` found."""
    lines = [f"{each['name']}: {each['seen']}; {each['remedy']}" for each in diagnoses]
    wrapper = textwrap.TextWrapper(110, initial_indent="diagnosis  ", subsequent_indent=" " * 11)
    return "\n".join(["", *map(wrapper.fill, lines or ["no known mistake found"])])


def closing(result: Result, run_dir: str) -> str:
    """Return the result of the run, and where it is."""
    test, names = result.test, class_names(result.dataset)
    low, high = test["interval"]
    lines = [
        "",
        f"test     {test['correct']:,} of {test['total']:,} correct = {100 * test['accuracy']:.2f}% "
        f"(95% interval {100 * low:.2f}–{100 * high:.2f}%), loss {test['loss']:.4f}",
        *started(result),
        *rates(result),
        *warnings(result),
        *class_table(test["per_class"], () if names == DIGITS else names),
        *gated(result.gate),
        f"seconds  {spent(result.seconds)}",
        f"ran on   {', '.join(result.device['step_on']) or 'what Keras chose'}; "
        f"weights on {', '.join(result.device['weights_on'])}",
        f"memory   {result.peak_memory_mb:,.0f} MB peak",
        "versions " + ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        f"run      {run_dir}",
    ]
    return "\n".join(lines)


def rates(result: Result) -> list[str]:
    """Return a line per change of the learning rate while the run trained."""
    changes = result.recipe.get("rates", [])
    return [f"rate     {each['from']:g} → {each['to']:g} after step {each['step']:,}" for each in changes]


def started(result: Result) -> list[str]:
    """Return what the weights of `--init_from` scored before training, and what was forgotten of another data set."""
    facts = result.initial
    if not facts:
        return []
    before = facts["before"]
    lines = [
        f"before   {before['correct']:,} of {before['total']:,} correct = {100 * before['accuracy']:.2f}%, "
        f"with the weights of {facts['run']}"
    ]
    if after := facts.get("after"):
        old = facts["test"]
        lines.append(
            f"{'':9}{facts['dataset']}: {after['correct']:,} of {after['total']:,} correct = "
            f"{100 * after['accuracy']:.2f}%; before: {old['correct']:,} = {100 * old['accuracy']:.2f}%"
        )
    return [*lines, *remarks(facts["notes"])]


def class_table(rows: list[dict[str, Any]], names: Sequence[str] = ()) -> list[str]:
    """Return the table of rows of `metrics.per_class`, with a column for `refused` if they have it, and for `names`."""
    refused = "refused" in rows[0]
    lines = [
        f"         class  images correct{' refused' * refused}  recall  precision  mistaken for{'  name' * bool(names)}"
    ]
    for row in rows:
        recall, precision = (percent(row[key]) for key in ("recall", "precision"))
        mistaken = "–" if row["mistaken_for"] is None else row["mistaken_for"]
        counts = f"{row['class']:>5}  {row['examples']:>6}  {row['correct']:>5}"
        counts += f" {row['refused']:>8}" if refused else ""
        name = f"  {names[row['class']]}" if names else ""
        lines.append(f"         {counts}  {recall:>6}  {precision:>9}  {mistaken:>12}{name}")
    return lines


def gated(verdict: dict[str, Any]) -> list[str]:
    """Return the verdict of `--gate`: observed, expected, p; what failed and what that may mean; its power."""
    if not verdict:
        return []
    right, origin = verdict["right"], verdict["reference"]
    odd = [row for row in verdict["losses"] if row["out"]]
    shown_losses = [f"loss of epoch {row['epoch']}: {against(row, '.4f')}" for row in odd or verdict["losses"][-1:]]
    if not odd:
        shown_losses.append(f"losses of all {len(verdict['losses'])} epochs: p {equals(verdict['p_losses'])}")
    (power, loss), *more = verdict["noticed"].items()
    powers = [f"{100 * loss:.2g} points of accuracy with probability {power}"]
    powers += [f"{100 * loss:.2g} with {power}" for power, loss in more]
    rows = [
        f"correct: {against(right, ',.0f')}",
        *shown_losses,
        *(f"{what}: {means}" for what, means in verdict["found"].items()),
        f"would detect a loss of {', '.join(powers)}",
        f"compared with {origin['seeds']} seeds of {origin['made']['date']}, {origin['made']['backend']}",
    ]
    wrapper = textwrap.TextWrapper(119, initial_indent=" " * 9, subsequent_indent=" " * 11)
    word = "passed" if verdict["passed"] else "FAILED"
    failing = f"by the spread of {origin['seeds']} seeds {correct_runs(verdict['false_alarms'])} fails"
    return [f"gate     {word}, p {equals(verdict['p'])}; {failing}", *map(wrapper.fill, rows)]


def against(row: dict[str, Any], digits: str) -> str:
    """Return a number of a verdict beside what was expected."""
    observed, expected, sd, low, high = (
        format(value, digits) for value in (row["observed"], row["expected"], row["sd"], *row["accepted"])
    )
    return f"{observed}, expected {expected} ± {sd}, p {equals(row['p'])} ({low} to {high} pass)"


def correct_runs(share: float) -> str:
    """Return a share of them: "1 in 10,000 correct runs", or in per cent if it is not one in a whole number."""
    times = round(1 / share)
    one = math.isclose(times * share, 1, rel_tol=1e-6)
    return f"1 in {times:,} correct runs" if one else f"{100 * share:g}% of correct runs"


def equals(p: float) -> str:
    """Return p as the end of an equation. Below 1e-9 no distribution is known well enough for a figure."""
    return f"= {p:.2g}" if p >= 1e-9 else "< 1e-9"


def spent(seconds: dict[str, float]) -> str:
    """Return the stages' seconds and their sum: "import 2.00 + load 0.25 + …; total 5.51"."""
    stages = [f"{stage} {value:.2f}" for stage, value in seconds.items() if value and stage != "total"]
    return f"{' + '.join(stages)}; total {seconds['total']:.2f}"


def warnings(result: Result) -> list[str]:
    """Return warnings if the accuracy could be taken for what it is not."""
    lines = []
    if remark := not_mnist(result.dataset["name"]):
        lines.append(f"  !      {remark}")
    if not math.isfinite(result.test["loss"]):
        lines.append("  !      the loss is not a finite number: training diverged; try a smaller --learning_rate")
    return lines


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"
