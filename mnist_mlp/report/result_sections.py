"""The sections on the result of a run: accuracy, learning curves, confusion matrix, classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mnist_mlp.data.sets import is_mnist, title_of
from mnist_mlp.report.content import RunContent
from mnist_mlp.report.formatting import NONE, interval, number, percent, seconds, several
from mnist_mlp.report.html import Html, definitions, paragraph, scrolling, section, table, tag
from mnist_mlp.report.svg_charts import Line, legend, line_chart
from mnist_mlp.runs.result import network_of
from mnist_mlp.stats.metrics import wilson_interval

SHADES = 5  # of errors in the confusion matrix


def opening(run: RunContent) -> Html:
    """The accuracy with its interval, key figures, a summary, and remarks."""
    result, test = run.result, run.result["test"]
    errors = test["total"] - test["correct"]
    figures: dict[str, object] = {
        "95% interval": interval(test["interval"]),
        "errors": f"{errors:,} of {test['total']:,}",
        "test loss": number(test["loss"]),
        "whole run": seconds(result["seconds"]["total"]),
        "training": seconds(result["seconds"].get("train", 0.0)),
        "parameters": f"{result['parameters']:,}",
    }
    return tag(
        "header",
        paragraph("mnist_mlp · ", tag("span", run.name, class_="name"), class_="over"),
        tag(
            "h1",
            percent(test["accuracy"], 2),
            tag("span", f" of the {test['total']:,} test images of {title_of(result['dataset']['name'])}"),
        ),
        paragraph(summary(run), class_="lead"),
        definitions(figures),
        *(paragraph(remark, class_="remark") for remark in remarks(run)),
    )


def summary(run: RunContent) -> str:
    """Summarise the result in plain sentences."""
    result, test = run.result, run.result["test"]
    data, errors = result["dataset"], test["total"] - test["correct"]
    epochs = len(result["epochs"])
    trained = f"was trained for {several(epochs, 'epoch')} on {several(data['train_examples'], 'image')}"
    words = (
        f"The network {network_of(result['model'], result['layers'])} "
        f"{trained if epochs else 'was not trained: these are its initial weights'}. "
        f"It recognizes {test['correct']:,} of {test['total']:,} images that it has never seen; {errors:,} are errors."
    )
    counted = [row for row in test["per_class"] if row["recall"] is not None]
    if errors and counted:
        worst = min(counted, key=lambda row: row["recall"])
        names = run.classes
        words += f" The hardest class is {names[worst['class']]}: {percent(worst['recall'])} are recognized"
        if worst["mistaken_for"] is not None:
            words += f", and it is most often mistaken for {names[worst['mistaken_for']]}"
        words += "."
    return words


def remarks(run: RunContent) -> list[str]:
    """What a reader must not miss."""
    result, found = run.result, []
    if not is_mnist(result["dataset"]["name"]):
        found.append(f"Measured on {title_of(result['dataset']['name'])}: this is not MNIST accuracy.")
    if result["test"]["loss"] is None:
        found.append("The test loss is not a finite number: training diverged; a smaller --learning_rate may help.")
    found += [*result["dataset"]["notes"], *result["device"]["notes"]]
    gate = result["gate"]
    if gate:
        by = f"compared with {gate['reference']['seeds']} seeds of correct runs: p = {gate['p']:.2g}"
        what = "; ".join(f"{name}: {means}" for name, means in gate["found"].items())
        found.append(f"The gate passed, {by}." if gate["passed"] else f"The gate FAILED, {by}. {what}")
    found += [f"Diagnosis: {each['name']}: {each['seen']}; {each['remedy']}" for each in result["diagnosis"]]
    if facts := result["initial"]:
        found += [before_training(facts), *facts["notes"]]
    for once in result["resumed"]:
        found.append(f"Resumed at step {once['step']:,} of {once['of']:,}; the seconds are those of the last process.")
    if not run.counts_agree:
        found.append(
            "The predictions computed for this page differ from those of the run for some images, since another device "
            "or version rounds differently. The counts are those of the run."
        )
    return found


def before_training(facts: dict[str, Any]) -> str:
    """What the weights of --init_from scored, and what was forgotten of another data set."""
    before, after, old = facts["before"], facts.get("after"), facts["test"]
    words = f"Before training, with the weights of {facts['run']}, {percent(before['accuracy'])} were correct."
    if after:
        words += (
            f" Of the test images of {title_of(facts['dataset'])}, {percent(after['accuracy'])} are correct now, "
            f"and {percent(old['accuracy'])} were before."
        )
    return words


def curves(run: RunContent) -> Html:
    """Loss and accuracy by epoch."""
    rows, test = run.result["epochs"], run.result["test"]
    if not rows:
        return section("learning", "Learning curves", paragraph("No epoch was trained."))
    loss, accuracy = (lines_of(rows, what, test[what]) for what in ("loss", "accuracy"))
    charts = [
        tag("figure", tag("figcaption", "Loss, nats per image"), chart("loss", loss, percent=False, low=0.0)),
        tag("figure", tag("figcaption", "Accuracy"), chart("accuracy", accuracy, percent=True, low=None)),
    ]
    words = (
        "Training loss and accuracy are means over the epoch, measured on each batch before the step that learns from "
        "it. So they may look worse than the test result, which is measured after training."
    )
    return section(
        "learning",
        "Learning curves",
        tag("div", *charts, class_="two"),
        legend(accuracy),
        paragraph(words, class_="note"),
        tag("details", tag("summary", "As a table"), scrolling("Epochs", epoch_table(rows))),
    )


def lines_of(rows: list[dict[str, Any]], what: str, test: float | None) -> list[Line]:
    """Return the lines of a chart: training, validation if there is one, and the test result at the end."""
    lines = [Line("training", "train", [(row["epoch"], row[what]) for row in rows])]
    if f"validation_{what}" in rows[-1]:
        points = [(row["epoch"], row.get(f"validation_{what}")) for row in rows]
        lines.append(Line("validation", "validation", points))
    return [*lines, Line("test", "test", [(rows[-1]["epoch"], test)], mark=True)]


def chart(what: str, lines: list[Line], *, percent: bool, low: float | None) -> Html:
    """Return the chart of the loss or the accuracy, with a description for screen readers."""

    def as_text(value: float | None) -> str:
        return number(value, 4) if not percent or value is None else f"{100 * value:.2f}%"

    ends = [
        f"{line.name} {as_text(line.points[0][1])}" + (f" to {as_text(line.points[-1][1])}" if not line.mark else "")
        for line in lines
    ]
    about = f"{what} over {several(len(lines[0].points), 'epoch')}: {'; '.join(ends)}."
    return line_chart(f"curve-{what}", f"{what.capitalize()} by epoch", about, lines, percent=percent, low=low)


def epoch_table(rows: list[dict[str, Any]]) -> Html:
    """Return the table of all epochs."""
    validated = "validation_loss" in rows[-1]
    validation = ["validation loss", "validation accuracy"] if validated else []
    head: list[object] = ["epoch", "loss", "accuracy", *validation, "seconds"]
    body: list[list[object]] = []
    for row in rows:
        values: list[object] = [row["epoch"], number(row["loss"]), percent(row["accuracy"], 2)]
        if validated:
            values += [number(row.get("validation_loss")), percent(row.get("validation_accuracy"), 2)]
        body.append([*values, f"{row['seconds']:.2f}"])
    return table("Loss and accuracy of each epoch", head, body, class_="numbers")


def confusion(run: RunContent) -> Html:
    """The confusion matrix of the test images."""
    return confusion_of(run.result["test"]["confusion"], run.classes)


def confusion_of(counts: Sequence[Sequence[int]], names: Sequence[str], refused: Sequence[int] = ()) -> Html:
    """A confusion matrix, with cells shaded by their count; `refused` images of each class have a column."""
    most = max([1, *(n for t, row in enumerate(counts) for p, n in enumerate(row) if t != p)])
    body: list[list[object]] = []
    for truth, row in enumerate(counts):
        cells: list[object] = []
        for predicted, n in enumerate(row):
            correct = truth == predicted
            what = f"{n:,} × {names[truth]} " + ("correct" if correct else f"mistaken for {names[predicted]}")
            kind = "correct" if correct else f"error-{-(-n * SHADES // most)}" if n else "zero"
            cells.append(tag("td", f"{n:,}" if n else "·", class_=kind, title=what))
        cells += [f"{refused[truth]:,}"] if refused else []
        body.append([names[truth], *cells, f"{sum(row) + (refused[truth] if refused else 0):,}"])
    caption = "Rows: true class. Columns: predicted class."
    matrix = table(caption, ["", *names, *(["refused"] if refused else []), "images"], body, class_="confusion")
    pairs = sorted(
        ((n, t, p) for t, row in enumerate(counts) for p, n in enumerate(row) if t != p and n), reverse=True
    )[:3]
    often = "; ".join(f"{names[t]} mistaken for {names[p]} ({n} times)" for n, t, p in pairs)
    words = f"Most frequent: {often}." if pairs else "There are no errors."
    if not pairs and any(refused):
        words = "No answer is wrong."
    return section("confusion", "Confusion", scrolling("Confusion matrix", matrix), paragraph(words, class_="note"))


def classes(run: RunContent) -> Html:
    """A table of the test images with one row per class."""
    test = run.result["test"]
    return classes_of(test["per_class"], test["confusion"], run.classes, "Test images by class")


def classes_of(
    rows: Sequence[dict[str, Any]], counts: Sequence[Sequence[int]], names: Sequence[str], caption: str
) -> Html:
    """A table with one row per class, as of `metrics.per_class`, with a column for `refused` if the rows have it."""
    refused = ["refused"] if "refused" in rows[0] else []
    body: list[list[object]] = []
    for row in rows:
        n, correct, other = row["examples"], row["correct"], row["mistaken_for"]
        times = "" if other is None else f" ({counts[row['class']][other]}×)"
        ends = interval(wilson_interval(correct, n), 1) if n else NONE
        body.append(
            [
                *(names[row["class"]], f"{n:,}", f"{correct:,}", *(f"{row[key]:,}" for key in refused)),
                *(percent(row["recall"]), ends),
                *(percent(row["precision"]), percent(f1(row["recall"], row["precision"]))),
                NONE if other is None else f"{names[other]}{times}",
            ]
        )
    head: list[object] = ["class", "images", "correct", *refused, "recall", "95% interval", "precision", "F1"]
    return section(
        "classes",
        "Classes",
        scrolling("Table of the classes", table(caption, [*head, "mistaken for"], body, class_="numbers")),
        paragraph(
            "Recall: the share of a class that is recognized. Precision: the share of a class’s predictions that is "
            "correct. F1: their harmonic mean.",
            class_="note",
        ),
    )


def f1(recall: float | None, precision: float | None) -> float | None:
    """Return the harmonic mean; None if the class has no images."""
    if recall is None:
        return None
    if not precision:  # never predicted, or never correctly
        return 0.0
    return 2 * recall * precision / (recall + precision)
