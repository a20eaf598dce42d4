"""The section on how sure the network is: reliability diagram, calibration error, and what it can answer safely."""

from __future__ import annotations

from typing import Any

from mnist_mlp.report.content import RunContent
from mnist_mlp.report.formatting import NONE, interval, number, percent
from mnist_mlp.report.html import Html, paragraph, scrolling, section, table, tag
from mnist_mlp.report.svg_charts import Line, legend, share_chart

NAME, TITLE = "certainty", "How sure is it?"
Block = dict[str, Any]  # of stats.calibration.measure


def certainty(run: RunContent) -> Html | None:
    """Whether the network's probabilities can be believed; None for results that do not say it, as older ones."""
    blocks = blocks_of(run)
    if not blocks:
        return None
    diagram = tag(
        "figure",
        tag("figcaption", "Reliability, in bins of equally many images"),
        share_chart(
            "reliability", "Reliability diagram", reliability_text(blocks), reliability_lines(blocks), "confidence"
        ),
    )
    curve = tag(
        "figure",
        tag("figcaption", "Precision, if only the surest images are answered"),
        share_chart(
            "coverage", "Risk–coverage curve", coverage_text(blocks), coverage_lines(blocks), "images answered"
        ),
    )
    return section(
        NAME,
        TITLE,
        paragraph(verdict(run, blocks), class_="note"),
        tag("div", diagram, curve, class_="two"),
        legend([Line(name, kind, []) for name, kind in zip(blocks, KINDS, strict=False)]) if len(blocks) > 1 else None,
        scrolling("Calibration in numbers", error_table(blocks)),
        paragraph(meaning(blocks), class_="note"),
        scrolling("What can be answered", answers_table(blocks)),
        paragraph(chosen(blocks), class_="note"),
        tag("details", tag("summary", "The diagram as a table"), *map(bin_table, blocks, blocks.values())),
    )


KINDS = ("run-1", "run-2")  # as trained; with the temperature


def blocks_of(run: RunContent) -> dict[str, Block]:
    """Return what was measured on the test images by its name: as trained, and with a temperature if there is one."""
    test = run.result["test"]
    before, after = test.get("calibration"), test.get("calibrated")
    named = {"as trained": before} if before else {}
    return named | ({f"with temperature {after['temperature']:.2f}": after} if before and after else {})


def verdict(run: RunContent, blocks: dict[str, Block]) -> str:
    """State in plain sentences whether the network is as sure as it may be."""
    before = blocks["as trained"]
    sure, correct = percent(before["confidence"], 2), percent(before["accuracy"], 2)
    words = f"On average the network is {sure} sure of its answers, and {correct} of them are correct. "
    if before["p_calibrated"] > 0.05:
        words += "A calibrated network would often show as large a calibration error as this: no other is shown. "
    elif before["confidence"] > before["accuracy"]:
        words += "It is overconfident: more than chance explains. "
    else:
        words += "Its confidence does not match its accuracy: more than chance explains. "
    after = run.result["test"].get("calibrated")
    if not after:
        return words
    low, high = after["temperature_interval"]
    change = after["change"]["nll"]
    mean, least, most = (f"{value:+.4f}".replace("-", "−") for value in (change["mean"], *change["interval"]))
    return words + (
        f"The temperature {after['temperature']:.3f} (95% interval {low:.3f}–{high:.3f}), fitted on "
        f"{after['fitted_on_images']:,} validation images, divides the logits: no class changes, and predict, serve "
        f"and export use it. It changes the loss by {mean} (95% interval {least} to {most})."
    )


def reliability_lines(blocks: dict[str, Block]) -> list[Line]:
    """Return a point for each bin, with the interval of its accuracy."""
    lines = []
    for (name, block), kind in zip(blocks.items(), KINDS, strict=False):
        points = [(row["confidence"], row["accuracy"]) for row in block["bins"]]
        bars = [(row["confidence"], *row["interval"]) for row in block["bins"]]
        lines.append(Line(name, kind, points, bars=bars))
    return lines


def reliability_text(blocks: dict[str, Block]) -> str:
    """Describe the diagram for those who do not see it."""
    parts = []
    for name, block in blocks.items():
        first, last = block["bins"][0], block["bins"][-1]
        parts.append(
            f"{name}, {len(block['bins'])} bins: confidence {percent(first['confidence'])} and accuracy "
            f"{percent(first['accuracy'])} in the first, {percent(last['confidence'])} and "
            f"{percent(last['accuracy'])} in the last"
        )
    return f"{'; '.join(parts)}. The diagonal is a calibrated network; points below it are overconfident."


def coverage_lines(blocks: dict[str, Block]) -> list[Line]:
    """Return the risk–coverage curves."""
    return [
        Line(name, kind, [(x, y) for x, y in block["coverage"]["curve"]])
        for (name, block), kind in zip(blocks.items(), KINDS, strict=False)
    ]


def coverage_text(blocks: dict[str, Block]) -> str:
    """Describe the curves for those who do not see them."""
    parts = []
    for name, block in blocks.items():
        (x, y), (_, whole) = block["coverage"]["curve"][0], block["coverage"]["curve"][-1]
        parts.append(f"{name}: {percent(y, 2)} of the surest {percent(x)} are correct, {percent(whole, 2)} of all")
    return f"{'; '.join(parts)}."


def error_table(blocks: dict[str, Block]) -> Html:
    """Return the calibration error and the scores, with their intervals."""
    rows: list[list[object]] = []
    for name, block in blocks.items():
        rows.append(
            [
                *(name, percent(block["confidence"], 2), percent(block["ece"], 2), interval(block["ece_interval"])),
                *(percent(block["ece_if_calibrated"], 2), number(block["nll"]), ends(block["nll_interval"])),
                *(number(block["brier"]), ends(block["brier_interval"])),
            ]
        )
    head: list[object] = ["", "mean confidence", "ECE", "95% interval", "by chance alone", "loss (NLL)"]
    return table(
        "Calibration on the test images", [*head, "95% interval", "Brier score", "95% interval"], rows, class_="numbers"
    )


def ends(values: list[float]) -> str:
    """ "0.0712–0.0858"."""
    return "–".join(f"{value:.4f}" for value in values)


def meaning(blocks: dict[str, Block]) -> str:
    """Explain the columns, and the bias of the calibration error."""
    count = len(next(iter(blocks.values()))["bins"])
    return (
        f"ECE: the expected calibration error, the mean of |accuracy − confidence| over {count} bins of equally many "
        "images. It is never 0: “by chance alone” is what a perfectly calibrated network with these confidences would "
        "show on as many images, on average. The interval, from a bootstrap of the bins’ gaps, is that of the true "
        "error; its lower end is without this bias. Brier score: the mean squared distance of the ten probabilities "
        "from the truth, from 0 to 2."
    )


def answers_table(blocks: dict[str, Block]) -> Html:
    """Return what share of the test images can be answered at each precision."""
    rows: list[list[object]] = []
    for name, block in blocks.items():
        for row in block["coverage"]["rows"]:
            goal = f"{name}, {100 * row['precision']:g}%"
            if row["threshold"] is None or not row["answered"]:
                rows.append([goal, NONE, "0.0%", NONE, NONE, NONE])
                continue
            counts = f"{row['correct']:,} of {row['answered']:,}"
            reached = percent(row["precision_reached"], 2), interval(row["interval"])
            rows.append([goal, f"{row['threshold']:.5f}", percent(row["coverage"]), counts, *reached])
    head: list[object] = ["precision wanted", "answer from confidence", "images answered", "correct", "precision"]
    return table("What can be answered", [*head, "95% interval"], rows, class_="numbers")


def chosen(blocks: dict[str, Block]) -> str:
    """Say on which images the thresholds were chosen."""
    coverage = next(iter(blocks.values()))["coverage"]
    images = f"{coverage['chosen_on_images']:,}"
    if coverage["chosen_on"] == "validation":
        return f"The thresholds were chosen on {images} validation images; all else was counted on the test images."
    return (
        f"The thresholds were chosen on the same {images} test images, so the precision of new ones will be lower; "
        "with --validation_fraction they are chosen on images of their own."
    )


def bin_table(name: str, block: Block) -> Html:
    """Return the bins of a diagram as a table."""
    rows: list[list[object]] = [
        [
            index,
            f"{row['images']:,}",
            percent(row["confidence"], 2),
            percent(row["accuracy"], 2),
            interval(row["interval"]),
        ]
        for index, row in enumerate(block["bins"], start=1)
    ]
    head: list[object] = ["bin", "images", "mean confidence", "accuracy", "95% interval"]
    return scrolling(f"Bins, {name}", table(f"Bins of the diagram, {name}", head, rows, class_="numbers"))
