"""The page that compares several runs."""

from __future__ import annotations

import dataclasses

import numpy as np

from mnist_mlp.config import Config
from mnist_mlp.data.sets import title_of
from mnist_mlp.report import html, png_images
from mnist_mlp.report.compare_runs import ALPHA, Comparison, remarks
from mnist_mlp.report.content import RunContent
from mnist_mlp.report.formatting import NONE, interval, number, p_value, percent, probability, seconds, several
from mnist_mlp.report.html import Html, paragraph, scrolling, section, table, tag
from mnist_mlp.report.run_page import footer, style
from mnist_mlp.report.setup_sections import PROCESS_OPTIONS, command_of, formatted
from mnist_mlp.report.svg_charts import Line, interval_chart, legend, line_chart
from mnist_mlp.runs.result import network_of

SHOWN = 24  # images shown at most


def render(comparison: Comparison) -> str:
    """Return the page as HTML."""
    runs = comparison.runs
    sections = (tests, side_by_side, curves, differing_images, commands)
    main = tag("main", opening(comparison), *(part(comparison) for part in sections), id="main")
    title = f"{', '.join(run.name for run in runs)} – mnist_mlp"
    names = {
        "tests": "Tests",
        "table": "Side by side",
        "learning": "Learning",
        "images": "Images",
        "commands": "Commands",
    }
    return html.page(title, style(), html.navigation(names), main, footer())


def opening(comparison: Comparison) -> Html:
    """The accuracies with their intervals, the conclusion, and remarks."""
    runs = comparison.runs
    rows = [
        (run.name, run.result["test"]["interval"][0], run.result["test"]["accuracy"], run.result["test"]["interval"][1])
        for run in runs
    ]
    about = "Test accuracy with 95% intervals: " + "; ".join(
        f"{name} {100 * share:.2f}%, {100 * low:.2f} to {100 * high:.2f}%" for name, low, share, high in rows
    )
    return tag(
        "header",
        paragraph("mnist_mlp", class_="over"),
        tag("h1", f"{several(len(runs), 'run')} compared", class_="words"),
        paragraph(conclusion(comparison), class_="lead"),
        tag(
            "figure", tag("figcaption", "Test accuracy and its 95% interval"), interval_chart("accuracies", about, rows)
        ),
        *(paragraph(remark, class_="remark") for remark in remarks(comparison)),
    )


def conclusion(comparison: Comparison) -> str:
    """State the conclusion in plain sentences."""
    runs, pairs = comparison.runs, comparison.pairs
    best = max(runs, key=lambda run: run.result["test"]["accuracy"])
    if len({run.result["dataset"]["name"] for run in runs}) > 1:
        return "These runs were evaluated on different data."
    test, data = best.result["test"], best.result["dataset"]["name"]
    words = f"{best.name} has the highest test accuracy on {title_of(data)}: {percent(test['accuracy'], 2)}. "
    if not pairs:
        return words + "Whether the difference is significant cannot be tested here."
    if len(pairs) == 1:
        return words + pairs[0].conclusion()
    significant = [pair for pair in pairs if pair.p_holm < ALPHA]
    return words + f"{len(significant)} of {several(len(pairs), 'pair')} of runs differ significantly."


def tests(comparison: Comparison) -> Html:
    """McNemar's test for each pair of runs."""
    pairs = comparison.pairs
    if not pairs:
        return section("tests", "Pair by pair", paragraph("No pair of these runs can be tested.", class_="absent"))
    rows: list[list[object]] = []
    for pair in pairs:
        low, high = pair.interval
        rows.append(
            [
                *(f"{pair.one} – {pair.other}", f"{pair.images:,}", f"{pair.only_one:,}", f"{pair.only_other:,}"),
                *(points(pair.difference), f"{points(low)} to {points(high)}"),
                *(p_value(pair.p), p_value(pair.p_holm)),
            ]
        )
    head: list[object] = ["pair", "images", "only 1st correct", "only 2nd correct", "difference, points"]
    head += ["95% interval", "p", "p, corrected"]
    words = (
        f"p: McNemar’s exact test on the images that only one of the two recognizes; corrected with Holm’s method for "
        f"{several(len(pairs), 'comparison')}. Interval: Newcombe’s (1998) for paired data, not corrected. Both hold "
        "for other test images and these trained networks, not for other seeds: to compare those, train several times."
    )
    caption = "Each pair on the same test images"
    lines = [tag("li", f"{pair.one} – {pair.other}: {pair.conclusion()}") for pair in pairs]
    conclusions = tag("ul", *lines, class_="conclusions")
    return section(
        "tests",
        "Pair by pair",
        scrolling("Tests", table(caption, head, rows, class_="numbers")),
        conclusions,
        paragraph(words, class_="note"),
    )


def side_by_side(comparison: Comparison) -> Html:
    """Results, setup, cost and options, with one column per run."""
    runs = comparison.runs
    stages = list(dict.fromkeys(stage for run in runs for stage in run.result["seconds"] if stage != "total"))
    costs = [
        {
            **{stage: took(run, stage) for stage in stages},
            "total": seconds(run.result["seconds"]["total"]),
            "peak memory": f"{run.result['peak_memory_mb']:,.0f} MB",
        }
        for run in runs
    ]
    options = []
    for run in runs:
        options.append({f"--{name}": formatted(getattr(run.config, name)) for name in differing_options(runs)})
    return section(
        "table",
        "Side by side",
        columns("Results", runs, [results_of(run) for run in runs]),
        columns("Setup; differences are shaded", runs, [setup_of(run) for run in runs], shade=True),
        columns("Cost", runs, costs),
        columns("Options that differ", runs, options) if options[0] else paragraph("All options are equal."),
    )


def took(run: RunContent, stage: str) -> str:
    """Format the seconds of a stage."""
    return seconds(run.result["seconds"][stage]) if stage in run.result["seconds"] else NONE


def differing_options(runs: list[RunContent]) -> list[str]:
    """Return the names of the options that differ between the runs."""
    names = [field.name for field in dataclasses.fields(Config) if field.name not in PROCESS_OPTIONS]
    return [name for name in names if len({formatted(getattr(run.config, name)) for run in runs}) > 1]


def columns(caption: str, runs: list[RunContent], facts: list[dict[str, str]], *, shade: bool = False) -> Html:
    """Return a table with one column per run. `shade` marks rows in which the runs differ."""
    rows: list[list[object]] = []
    for name in facts[0]:
        values = [fact[name] for fact in facts]
        kind = "differs" if shade and len(set(values)) > 1 else None
        rows.append([name, *(tag("td", value, class_=kind) for value in values)])
    head: list[object] = ["", *(run.name for run in runs)]
    return scrolling(caption, table(caption, head, rows, class_="runs", style=f"min-width: {9 + 9 * len(runs)}rem"))


def results_of(run: RunContent) -> dict[str, str]:
    """Return the results of a run."""
    test, rows = run.result["test"], run.result["epochs"]
    return {
        "accuracy": percent(test["accuracy"], 2),
        "95% interval": interval(test["interval"]),
        "errors": f"{test['total'] - test['correct']:,} of {test['total']:,}",
        "test loss": number(test["loss"]),
        "training loss, last epoch": number(rows[-1]["loss"]) if rows else NONE,
    }


def setup_of(run: RunContent) -> dict[str, str]:
    """Return the setup of a run, which should be equal for a fair comparison except for what is compared."""
    result, device = run.result, run.result["device"]
    data, epochs = result["dataset"], len(result["epochs"])
    return {
        "model": network_of(result["model"], result["layers"]),
        "parameters": f"{result['parameters']:,}",
        "epochs": f"{epochs:,}",
        "steps": f"{epochs * result['steps_per_epoch']:,}",
        "data": data["name"],
        "training images": f"{data['train_examples']:,}",
        "preset": result["preset"],
        "seed": f"{result['seed']}",
        "device": device["actual"],
        "replicas": f"{device['replicas']}",
        "XLA": "on" if device["xla"] else "off",
        "precision": result["precision"],
        "engine": f"{result['engine']}, {result['backend']}",
        "versions": ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    }


def points(share: float) -> str:
    """Format a difference of two accuracies in percentage points, with its sign."""
    return f"{100 * share:+.2f}".replace("-", "−")


def curves(comparison: Comparison) -> Html:
    """The learning curves of all runs in the same charts."""
    runs = [run for run in comparison.runs if run.result["epochs"]]
    if not runs:
        return section("learning", "Learning curves", paragraph("None of these runs was trained."))
    charts = []
    for what, title in (("loss", "Loss, nats per image"), ("accuracy", "Accuracy")):
        lines = []
        for index, run in enumerate(comparison.runs):
            rows, kind = run.result["epochs"], f"run-{index % 6 + 1}"
            if rows:
                lines.append(Line(run.name, kind, [(row["epoch"], row[what]) for row in rows]))
                end = (rows[-1]["epoch"], run.result["test"][what])
                lines.append(Line(f"{run.name}, test", kind, [end], mark=True))
        about = f"{what} by epoch of {', '.join(run.name for run in runs)}; the table above has the last values."
        percentages = what == "accuracy"
        drawing = line_chart(
            f"curve-{what}", f"{title} by epoch", about, lines, percent=percentages, low=None if percentages else 0.0
        )
        charts.append(tag("figure", tag("figcaption", title), drawing))
    return section(
        "learning",
        "Learning curves",
        tag("div", *charts, class_="two"),
        legend([line for line in lines if not line.mark]),
        paragraph("Lines: training. Large dots: test images, after training.", class_="note"),
    )


def differing_images(comparison: Comparison) -> Html:
    """Images that some of the runs recognize and others do not."""
    pairs = comparison.pairs
    names = {name for pair in pairs for name in (pair.one, pair.other)}
    runs = [run for run in comparison.runs if run.name in names]
    if runs:
        first = pairs[0].one, pairs[0].other
        runs = [run for run in runs if run.name in first] if len(pairs) < len(runs) * (len(runs) - 1) // 2 else runs
    if not runs:
        words = "No two of these runs have the same test images available."
        return section("images", "Where they differ", paragraph(words, class_="absent"))
    predictions = [run.predictions for run in runs if run.predictions]
    correct, losses = np.stack([each.correct for each in predictions]), np.stack([each.losses for each in predictions])
    differ = np.flatnonzero(correct.any(0) & ~correct.all(0))
    spread = np.nan_to_num(losses.max(0) - losses.min(0), nan=np.inf)[differ]
    chosen = differ[np.argsort(-spread, kind="stable")][:SHOWN]
    if not len(chosen):
        return section("images", "Where they differ", paragraph("Nowhere: all runs agree on every image."))
    words = (
        f"{several(len(differ), 'image')} recognized by some of these runs ({', '.join(run.name for run in runs)}) and "
        f"not by others. Shown: the {len(chosen)} on which their losses differ most."
    )
    cards = tag("ol", *(card(runs, int(index)) for index in chosen), class_="cards")
    return section("images", "Where they differ", paragraph(words, class_="note"), cards)


def card(runs: list[RunContent], index: int) -> Html:
    """One image and the prediction of each run."""
    predicted = [(run, run.predictions) for run in runs if run.predictions is not None]
    test, names = predicted[0][1].test, runs[0].classes
    truth = int(test.labels[index])
    items = []
    for run, predictions in predicted:
        label = int(predictions.predicted[index])
        p = probability(predictions.probabilities(index)[label])
        mark = tag("span", names[label], class_="truth" if label == truth else "predicted")
        items.append(tag("li", tag("span", run.name, class_="small who"), " ", mark, f" {p}"))
    return tag(
        "li",
        png_images.digit(test.images[index], f"Test image {index}: a {names[truth]}"),
        tag("strong", f"true: {names[truth]}"),
        tag("ul", *items, class_="predictions"),
        tag("span", f"image {index:,}", class_="small"),
    )


def commands(comparison: Comparison) -> Html:
    """The command that trains each run."""
    lines = []
    for run in comparison.runs:
        label = f"Command of {run.name}"
        lines.append(paragraph(run.name, class_="name"))
        lines.append(tag("pre", tag("code", command_of(run.config)), tabindex="0", role="region", aria_label=label))
    return section("commands", "Commands", *lines)
