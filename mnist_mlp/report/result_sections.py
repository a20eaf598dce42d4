"""The first half of a run's page: what it came to, how it learned, and where it is wrong."""

from __future__ import annotations

from typing import Any

from mnist_mlp.data.dataset import title_of
from mnist_mlp.report.content import Material
from mnist_mlp.report.formatting import NONE, interval, number, percent, seconds, several
from mnist_mlp.report.html import Html, definitions, paragraph, scrolling, section, table, tag
from mnist_mlp.report.svg_charts import Line, legend, line_chart
from mnist_mlp.stats.metrics import wilson_interval

SHADES = 5  # of the cells of a confusion matrix


def opening(material: Material) -> Html:
    """The result, large, with its interval, the mistakes and the time; a sentence; and what must not be overlooked."""
    result, test = material.result, material.result["test"]
    wrong = test["total"] - test["correct"]
    figures: dict[str, object] = {
        "95% interval": interval(test["interval"]),
        "mistakes": f"{wrong:,} of {test['total']:,}",
        "test loss": number(test["loss"]),
        "whole run": seconds(result["seconds"]["total"]),
        "training": seconds(result["seconds"].get("train", 0.0)),
        "parameters": f"{result['parameters']:,}",
    }
    return tag(
        "header",
        paragraph("mnist_mlp · ", tag("span", material.name, class_="name"), class_="over"),
        tag(
            "h1",
            percent(test["accuracy"], 2),
            tag("span", f" of the {test['total']:,} test images of {title_of(result['dataset']['name'])}"),
        ),
        paragraph(in_words(material), class_="lead"),
        definitions(figures),
        *(paragraph(words, class_="remark") for words in remarks(material)),
    )


def in_words(material: Material) -> str:
    """The result as plain sentences."""
    result, test = material.result, material.result["test"]
    data, wrong = result["dataset"], test["total"] - test["correct"]
    epochs = len(result["epochs"])
    learned = f"was trained for {several(epochs, 'epoch')} on {several(data['train_examples'], 'image')}"
    words = (
        f"The network {result['model']} {learned if epochs else 'was not trained: these are its first weights. It'} "
        f"{'and' if epochs else ''} recognises {test['correct']:,} of {test['total']:,} images that it has never seen; "
        f"{wrong:,} it gets wrong."
    )
    counted = [row for row in test["per_class"] if row["recall"] is not None]
    if wrong and counted:
        worst = min(counted, key=lambda row: row["recall"])
        names = material.classes
        words += f" Hardest for it: {names[worst['class']]}, of which it knows {percent(worst['recall'])}"
        if worst["mistaken_for"] is not None:
            words += f" and which it takes most often for {names[worst['mistaken_for']]}"
        words += "."
    return " ".join(words.split())


def remarks(material: Material) -> list[str]:
    """What might be taken for what it is not."""
    result, found = material.result, []
    if result["dataset"]["name"] != "mnist":
        found.append(f"Measured on {title_of(result['dataset']['name'])}: this is not MNIST accuracy.")
    if result["test"]["loss"] is None:
        found.append("The test loss is not a finite number: training diverged; a smaller --learning_rate may help.")
    found += [*result["dataset"]["notes"], *result["device"]["notes"]]
    gate = result["gate"]
    if gate:
        by = f"held against {gate['reference']['seeds']} seeds of right runs: p = {gate['p']:.2g}"
        what = "; ".join(f"{name}: {means}" for name, means in gate["found"].items())
        found.append(f"The gate passed, {by}." if gate["passed"] else f"The gate FAILED, {by}. {what}")
    found += [f"Diagnosis: {each['name']}: {each['seen']}; {each['remedy']}" for each in result["diagnosis"]]
    for once in result["resumed"]:
        found.append(f"Resumed at step {once['step']:,} of {once['of']:,}; the seconds are those of the last process.")
    if not material.counts_agree:
        found.append(
            "Computed again for this page, some images come out otherwise than when the run was scored: "
            "another device or version rounds otherwise. The counts are those of the run."
        )
    return found


def curves(material: Material) -> Html:
    """Loss and accuracy over the epochs."""
    rows, test = material.result["epochs"], material.result["test"]
    if not rows:
        return section("learning", "Learning curves", paragraph("No epoch was trained, so there is nothing to draw."))
    loss, accuracy = (lines_of(rows, what, test[what]) for what in ("loss", "accuracy"))
    charts = [
        tag("figure", tag("figcaption", "Loss, nats per image"), chart("loss", loss, percent=False, low=0.0)),
        tag("figure", tag("figcaption", "Accuracy"), chart("accuracy", accuracy, percent=True, low=None)),
    ]
    words = (
        "Training is scored on each image in the step that learns from it, before the step: its first epoch holds the "
        "beginner’s mistakes, so it may look worse than the test result, which comes from the finished network."
    )
    return section(
        "learning",
        "Learning curves",
        tag("div", *charts, class_="two"),
        legend(accuracy),
        paragraph(words, class_="note"),
        tag("details", tag("summary", "The same as numbers"), scrolling("Epochs", epoch_table(rows))),
    )


def lines_of(rows: list[dict[str, Any]], what: str, test: float | None) -> list[Line]:
    """The lines of a run: training, validation where there is one, and the test result at the end."""
    lines = [Line("training", "train", [(row["epoch"], row[what]) for row in rows])]
    if f"validation_{what}" in rows[-1]:
        points = [(row["epoch"], row.get(f"validation_{what}")) for row in rows]
        lines.append(Line("validation", "validation", points))
    return [*lines, Line("test", "test", [(rows[-1]["epoch"], test)], mark=True)]


def chart(what: str, lines: list[Line], *, percent: bool, low: float | None) -> Html:
    def shown(value: float | None) -> str:
        return number(value, 4) if not percent or value is None else f"{100 * value:.2f}%"

    ends = [
        f"{line.name} {shown(line.points[0][1])}" + (f" to {shown(line.points[-1][1])}" if not line.mark else "")
        for line in lines
    ]
    about = f"{what} over {several(len(lines[0].points), 'epoch')}: {'; '.join(ends)}."
    return line_chart(f"curve-{what}", f"{what.capitalize()} by epoch", about, lines, percent=percent, low=low)


def epoch_table(rows: list[dict[str, Any]]) -> Html:
    kept = "validation_loss" in rows[-1]
    head: list[object] = ["epoch", "loss", "accuracy", *(["validation loss", "validation accuracy"] * kept), "seconds"]
    body: list[list[object]] = []
    for row in rows:
        values: list[object] = [row["epoch"], number(row["loss"]), percent(row["accuracy"], 2)]
        if kept:
            values += [number(row.get("validation_loss")), percent(row.get("validation_accuracy"), 2)]
        body.append([*values, f"{row['seconds']:.2f}"])
    return table("Loss and accuracy of each epoch", head, body, class_="numbers")


def confusion(material: Material) -> Html:
    """The confusion matrix as a table whose cells are the darker the more images they hold."""
    counts, names = material.result["test"]["confusion"], material.classes
    most = max([1, *(n for t, row in enumerate(counts) for p, n in enumerate(row) if t != p)])
    body: list[list[object]] = []
    for truth, row in enumerate(counts):
        cells: list[object] = []
        for said, n in enumerate(row):
            what = f"{n:,} × {names[truth]} " + ("right" if truth == said else f"taken for {names[said]}")
            kind = "right" if truth == said else f"wrong-{-(-n * SHADES // most)}" if n else "zero"
            cells.append(tag("td", f"{n:,}" if n else "·", class_=kind, title=what))
        body.append([names[truth], *cells, f"{sum(row):,}"])
    caption = "Rows: what the image is. Columns: what it was taken for."
    matrix = table(caption, ["", *names, "images"], body, class_="confusion")
    pairs = sorted(
        ((n, t, p) for t, row in enumerate(counts) for p, n in enumerate(row) if t != p and n), reverse=True
    )[:3]
    often = "; ".join(f"{names[t]} taken for {names[p]}, {n} times" for n, t, p in pairs)
    words = f"Most often: {often}." if pairs else "There is no mistake."
    return section("confusion", "Confusion", scrolling("Confusion matrix", matrix), paragraph(words, class_="note"))


def classes(material: Material) -> Html:
    """A row for each class."""
    test, names = material.result["test"], material.classes
    body: list[list[object]] = []
    for row in test["per_class"]:
        n, right, said = row["examples"], row["correct"], row["mistaken_for"]
        times = "" if said is None else f" ({test['confusion'][row['class']][said]}×)"
        ends = interval(wilson_interval(right, n), 1) if n else NONE
        body.append(
            [
                *(names[row["class"]], f"{n:,}", f"{right:,}", percent(row["recall"]), ends),
                *(percent(row["precision"]), percent(f1(row["recall"], row["precision"]))),
                NONE if said is None else f"{names[said]}{times}",
            ]
        )
    head: list[object] = ["class", "images", "right", "recall", "95% interval", "precision", "F1", "mistaken for"]
    return section(
        "classes",
        "Classes",
        scrolling("Table of the classes", table("Test images by class", head, body, class_="numbers")),
        paragraph(
            "Recall: the share of a class that is recognised. Precision: the share that is right of what was taken for "
            "the class. F1: their harmonic mean.",
            class_="note",
        ),
    )


def f1(recall: float | None, precision: float | None) -> float | None:
    """The harmonic mean; None where there is nothing to be right about."""
    if recall is None:
        return None
    if not precision:  # never predicted, or never rightly
        return 0.0
    return 2 * recall * precision / (recall + precision)
