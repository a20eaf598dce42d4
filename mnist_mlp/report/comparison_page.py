"""The page of several runs, side by side."""

from __future__ import annotations

import dataclasses

import numpy as np

from mnist_mlp.config import Config
from mnist_mlp.data.dataset import title_of
from mnist_mlp.report import html, png_images
from mnist_mlp.report.compare_runs import ALPHA, Comparison, remarks
from mnist_mlp.report.content import Material
from mnist_mlp.report.formatting import NONE, interval, number, p_value, percent, probability, seconds, several
from mnist_mlp.report.html import Html, paragraph, scrolling, section, table, tag
from mnist_mlp.report.run_page import footer, style
from mnist_mlp.report.setup_sections import OF_THE_PLACE, command_of, formatted
from mnist_mlp.report.svg_charts import Line, interval_chart, legend, line_chart

SHOWN = 24  # images on which the runs differ


def render(comparison: Comparison) -> str:
    """The page as text."""
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
    """The accuracies with their intervals, and what may be concluded."""
    runs = comparison.runs
    rows = [
        (run.name, run.result["test"]["interval"][0], run.result["test"]["accuracy"], run.result["test"]["interval"][1])
        for run in runs
    ]
    about = "Test accuracy with 95% intervals: " + "; ".join(
        f"{who} {100 * share:.2f}%, {100 * low:.2f} to {100 * high:.2f}%" for who, low, share, high in rows
    )
    return tag(
        "header",
        paragraph("mnist_mlp", class_="over"),
        tag("h1", f"{several(len(runs), 'run')} compared", class_="words"),
        paragraph(conclusion(comparison), class_="lead"),
        tag(
            "figure", tag("figcaption", "Test accuracy and its 95% interval"), interval_chart("accuracies", about, rows)
        ),
        *(paragraph(words, class_="remark") for words in remarks(comparison)),
    )


def conclusion(comparison: Comparison) -> str:
    """The comparison as plain sentences."""
    runs, pairs = comparison.runs, comparison.pairs
    best = max(runs, key=lambda run: run.result["test"]["accuracy"])
    if len({run.result["dataset"]["name"] for run in runs}) > 1:
        return "These runs were measured on different data."
    test, data = best.result["test"], best.result["dataset"]["name"]
    words = f"{best.name} recognises the most of {title_of(data)}’s test images: {percent(test['accuracy'], 2)}. "
    if not pairs:
        return words + "Whether that is more than chance cannot be tested here."
    if len(pairs) == 1:
        return words + pairs[0].in_words()
    sure = [pair for pair in pairs if pair.p_holm < ALPHA]
    return words + f"Of {several(len(pairs), 'pair')} of runs {len(sure)} differ by more than chance would explain."


def tests(comparison: Comparison) -> Html:
    """Each pair on the images that they share."""
    pairs = comparison.pairs
    if not pairs:
        return section("tests", "Pair by pair", paragraph("No two of these runs can be tested.", class_="absent"))
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
    head: list[object] = ["pair", "images", "only 1st right", "only 2nd right", "difference, points"]
    head += ["95% interval", "p", "p, corrected"]
    words = (
        f"p: McNemar’s exact test on the images that one of the two alone recognises; corrected by Holm for "
        f"{several(len(pairs), 'comparison')}. Interval: Newcombe’s of 1998 for paired data, not corrected. Both speak "
        "of other test images for these trained networks, not of other seeds: for those train each several times."
    )
    caption = "Each pair on the test images that both saw"
    return section(
        "tests",
        "Pair by pair",
        scrolling("Tests", table(caption, head, rows, class_="numbers")),
        tag("ul", *(tag("li", f"{pair.one} – {pair.other}: {pair.in_words()}") for pair in pairs), class_="said-of"),
        paragraph(words, class_="note"),
    )


def side_by_side(comparison: Comparison) -> Html:
    """A column for each run."""
    runs = comparison.runs
    stages = list(dict.fromkeys(stage for run in runs for stage in run.result["seconds"] if stage != "total"))
    costs = [
        {
            **{stage: took(run, stage) for stage in stages},
            "in all": seconds(run.result["seconds"]["total"]),
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
        columns("What they came to", runs, [results_of(run) for run in runs]),
        columns("What they are; shaded where they differ", runs, [conditions_of(run) for run in runs], shade=True),
        columns("What they cost", runs, costs),
        columns("Options that differ", runs, options) if options[0] else paragraph("All options are the same."),
    )


def took(run: Material, stage: str) -> str:
    return seconds(run.result["seconds"][stage]) if stage in run.result["seconds"] else NONE


def differing_options(runs: list[Material]) -> list[str]:
    """The names of the options that are not the same in all of them."""
    names = [field.name for field in dataclasses.fields(Config) if field.name not in OF_THE_PLACE]
    return [name for name in names if len({formatted(getattr(run.config, name)) for run in runs}) > 1]


def columns(caption: str, runs: list[Material], facts: list[dict[str, str]], *, shade: bool = False) -> Html:
    """A table with a column for each run; `shade`: marks the rows in which they differ."""
    rows: list[list[object]] = []
    for name in facts[0]:
        values = [fact[name] for fact in facts]
        kind = "differs" if shade and len(set(values)) > 1 else None
        rows.append([name, *(tag("td", value, class_=kind) for value in values)])
    head: list[object] = ["", *(run.name for run in runs)]
    return scrolling(caption, table(caption, head, rows, class_="runs", style=f"min-width: {9 + 9 * len(runs)}rem"))


def results_of(run: Material) -> dict[str, str]:
    test, rows = run.result["test"], run.result["epochs"]
    return {
        "accuracy": percent(test["accuracy"], 2),
        "95% interval": interval(test["interval"]),
        "mistakes": f"{test['total'] - test['correct']:,} of {test['total']:,}",
        "test loss": number(test["loss"]),
        "training loss, last epoch": number(rows[-1]["loss"]) if rows else NONE,
    }


def conditions_of(run: Material) -> dict[str, str]:
    """What must be the same for a fair comparison, but for what is compared."""
    result, device = run.result, run.result["device"]
    data, epochs = result["dataset"], len(result["epochs"])
    return {
        "model": result["model"],
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
    """A difference of two shares, in points of a hundred, with its sign."""
    return f"{100 * share:+.2f}".replace("-", "−")


def curves(comparison: Comparison) -> Html:
    """The learning curves of all runs in the same axes."""
    runs = [run for run in comparison.runs if run.result["epochs"]]
    if not runs:
        return section("learning", "Learning curves", paragraph("None of these runs was trained."))
    charts = []
    for what, title in (("loss", "Loss, nats per image"), ("accuracy", "Accuracy")):
        lines = []
        for place, run in enumerate(comparison.runs):
            rows, kind = run.result["epochs"], f"run-{place % 6 + 1}"
            if rows:
                lines.append(Line(run.name, kind, [(row["epoch"], row[what]) for row in rows]))
                end = (rows[-1]["epoch"], run.result["test"][what])
                lines.append(Line(f"{run.name}, test", kind, [end], mark=True))
        about = f"{what} by epoch of {', '.join(run.name for run in runs)}; the last values stand in the table above."
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
        paragraph("Lines: training, as it went. Large dots: the test images, at the end.", class_="note"),
    )


def differing_images(comparison: Comparison) -> Html:
    """Some images that some of the runs recognise, and others do not."""
    pairs = comparison.pairs
    names = {name for pair in pairs for name in (pair.one, pair.other)}
    runs = [run for run in comparison.runs if run.name in names]
    if runs:
        of = pairs[0].one, pairs[0].other
        runs = [run for run in runs if run.name in of] if len(pairs) < len(runs) * (len(runs) - 1) // 2 else runs
    if not runs:
        return section(
            "images", "Where they differ", paragraph("The runs share no test images that are here.", class_="absent")
        )
    right = np.stack([run.seen.right for run in runs if run.seen])
    losses = np.stack([run.seen.losses for run in runs if run.seen])
    differ = np.flatnonzero(right.any(0) & ~right.all(0))
    spread = np.nan_to_num(losses.max(0) - losses.min(0), nan=np.inf)[differ]
    chosen = differ[np.argsort(-spread, kind="stable")][:SHOWN]
    if not len(chosen):
        return section(
            "images", "Where they differ", paragraph("Nowhere: each image is right for all runs, or wrong for all.")
        )
    words = (
        f"{several(len(differ), 'image')} right for some of these runs and wrong for others "
        f"({', '.join(run.name for run in runs)}); below, the {len(chosen)} on which they disagree most."
    )
    cards = tag("ol", *(card(runs, int(index)) for index in chosen), class_="cards")
    return section("images", "Where they differ", paragraph(words, class_="note"), cards)


def card(runs: list[Material], index: int) -> Html:
    """One image, and what each run says of it."""
    looks = [(run, run.seen) for run in runs if run.seen is not None]
    first, names = looks[0][1], runs[0].classes
    truth = int(first.test.labels[index])
    said = []
    for run, seen in looks:
        answer = int(seen.predicted[index])
        sure = probability(seen.probabilities(index)[answer])
        mark = tag("span", names[answer], class_="truth" if answer == truth else "said")
        said.append(tag("li", tag("span", run.name, class_="small who"), " ", mark, f" {sure}"))
    return tag(
        "li",
        png_images.digit(first.test.images[index], f"Test image {index}: a {names[truth]}"),
        tag("strong", f"truth: {names[truth]}"),
        tag("ul", *said, class_="answers-of"),
        tag("span", f"image {index:,}", class_="small"),
    )


def commands(comparison: Comparison) -> Html:
    """How each run is made again."""
    lines = []
    for run in comparison.runs:
        label = f"Command of {run.name}"
        lines.append(paragraph(run.name, class_="name"))
        lines.append(tag("pre", tag("code", command_of(run.config)), tabindex="0", role="region", aria_label=label))
    return section("commands", "Commands", *lines)
