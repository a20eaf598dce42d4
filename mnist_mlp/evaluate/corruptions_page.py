"""corruptions.html: the errors on corrupted images, a figure of them, and the images themselves, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mnist_mlp.data.sets import title_of
from mnist_mlp.evaluate.corruptions_text import beside_tfds, percent, points, ratio
from mnist_mlp.report import html, png_images
from mnist_mlp.report.formatting import interval, several
from mnist_mlp.report.html import Html, definitions, paragraph, scrolling, section, table, tag
from mnist_mlp.report.run_page import footer, style
from mnist_mlp.report.svg_charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    chart,
    decimals,
    legend,
    scale_of,
)

# The sheet's digits stand closer together than those of a report.
SHEET = """
.sheet td { padding: 0.3rem; text-align: center; line-height: 1.2; }
.sheet th { padding-right: 1rem; white-space: nowrap; }
.sheet .digit { width: 56px; height: 56px; display: block; margin: 0 auto 0.15rem; }
.sheet thead th { text-align: center; padding: 0.3rem; }
.figure .chart { max-width: 46rem; }
.number { fill: var(--paper); font-size: 7px; font-weight: 700; }
"""


def render(report: Mapping[str, Any], examples: Sequence[Any]) -> str:
    """Return the page for what corruptions.json holds. `examples`: see `corruptions.examples_of`."""
    names = {"errors": "Errors", "figure": "Figure", "images": "Images"}
    parts = [errors(report), figure(report), sheet(report, examples)]
    if report["fgsm"]:
        names["fgsm"] = "FGSM"
        parts.append(attacks(report["fgsm"]))
    main = tag("main", opening(report), *parts, id="main")
    title = f"{percent(report['mean']['error'])}% – {report['run']} – corrupted images – mnist_mlp"
    return html.page(title, style() + SHEET, html.navigation(names), main, footer())


def opening(report: Mapping[str, Any]) -> Html:
    """The mean error, and what it compares with."""
    reference, tfds = report["reference"], report["mnist_corrupted"]
    lead = (
        f"Of the test images of {title_of(report['dataset'])} as they are, {percent(report['clean']['error'])}% are "
        f"recognized wrongly; corrupted in {several(len(report['kinds']), 'way')}, "
        f"{percent(report['mean']['error'])}% on average."
    )
    facts: dict[str, object] = {
        "run": report["run"],
        "95% interval": interval(report["mean"]["interval"]),
        "images": f"{report['images']:,}",
        "severity": report["severity"],
        "seed": f"{report['seed']}",
    }
    if reference:
        facts |= {
            "reference": reference["run"],
            "its mean error": f"{percent(reference['mean']['error'])}%",
            "difference, points": points(reference["difference"]),
            "mCE": ratio(reference["mce"]),
            "relative mCE": ratio(reference["relative_mce"]),
        }
    return tag(
        "header",
        paragraph("mnist_mlp · corrupted images", class_="over"),
        tag("h1", f"{percent(report['mean']['error'])}%", tag("span", "mean corruption error")),
        paragraph(lead, class_="lead"),
        *(paragraph(words, class_="remark") for words in (beside_tfds(tfds) if tfds else ())),
        tag("div", definitions(facts), class_="about"),
    )


def severities_of(report: Mapping[str, Any]) -> list[int]:
    return sorted({row["severity"] for kind in report["kinds"] for row in kind["severities"]})


def errors(report: Mapping[str, Any]) -> Html:
    """The table by kind and severity."""
    reference, severities = report["reference"], severities_of(report)
    head: list[object] = ["kind", *(f"severity {each}" for each in severities), "mean", "95% interval"]
    head += ["reference", "CE", "relative CE"] if reference else []
    empty = [""] * len(severities)
    clean = report["clean"]
    rows: list[list[object]] = [["not corrupted", *empty, percent(clean["error"]), interval(clean["interval"])]]
    rows[0] += [percent(reference["clean"]["error"]), "", ""] if reference else []
    for index, kind in enumerate(report["kinds"]):
        by_severity = {row["severity"]: percent(row["error"]) for row in kind["severities"]}
        row: list[object] = [words(kind["kind"]), *(by_severity.get(each, "") for each in severities)]
        row += [percent(kind["error"]), interval(kind["interval"])]
        if reference:
            ratios = reference["kinds"][index]
            row += [percent(reference["errors"][index]["error"]), share(ratios["ce"]), share(ratios["relative_ce"])]
        rows.append(row)
    mean = report["mean"]
    rows.append([tag("strong", "mean"), *empty, tag("td", tag("strong", percent(mean["error"])))])
    rows[-1] += [interval(mean["interval"])]
    if reference:
        ends = [percent(reference["mean"]["error"]), share(reference["mce"]), share(reference["relative_mce"])]
        rows[-1] += ends
    note = (
        "Errors in percent of the images. Intervals hold for other images, corrupted in the same way; those of a mean "
        "count an image once, with the share of its corruptions that is recognized wrongly."
    )
    if reference:
        note += (
            " CE: the error divided by the reference’s; relative CE: the same of what corruption adds to the error on "
            "images as they are (Hendrycks and Dietterich, 2019)."
        )
    caption = "Errors by kind and severity"
    return section(
        "errors",
        "Errors",
        scrolling(caption, table(caption, head, rows, class_="numbers")),
        paragraph(note, class_="note"),
    )


def share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}%"


def words(kind: str) -> str:
    """Return the name of a kind as a sentence has it."""
    return kind.replace("_", " ").replace("canny", "Canny")


def figure(report: Mapping[str, Any]) -> Html:
    """A row for each kind, with a numbered dot for the error at each severity."""
    reference = report["reference"]
    drawn = [(report["kinds"], "run-1", report["run"])]
    drawn += [(reference["errors"], "run-2", reference["run"])] if reference else []
    about = "Error by kind and severity; the table above has the numbers."
    largest = max(row["error"] for kinds, _, _ in drawn for kind in kinds for row in kind["severities"])
    _, top, ticks = scale_of([0.0, min(1.0, max(largest, 0.01))], 0.0, 6)
    step, label = 26, 112
    height = step * len(report["kinds"]) + 28

    def x_at(value: float) -> float:
        return round(label + value / top * (WIDTH - label - RIGHT - 8), 1)  # room for the last label

    parts: list[Html] = [tag("title", about, id="errors-figure-title")]
    for tick in ticks:
        parts.append(tag("line", class_="grid", x1=x_at(tick), x2=x_at(tick), y1=2, y2=height - 22))
        text = f"{100 * tick:.{decimals(ticks, 100)}f}%"
        parts.append(tag("text", text, class_="tick", x=x_at(tick), y=height - 7, text_anchor="middle"))
    for number, (kinds, class_, run) in enumerate(drawn):
        for index, kind in enumerate(kinds):
            y = step * index + step / 2 + (0 if len(drawn) == 1 else 10 * number - 5)
            if number == 0:
                middle = step * index + step / 2 + 4
                parts.append(tag("text", words(kind["kind"]), class_="tick strong", x=0, y=middle))
            parts.append(dots(kind["severities"], x_at, y, class_, f"{run}, {words(kind['kind'])}"))
    drawing = tag(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_labelledby="errors-figure-title",
        class_="chart",
    )
    legend = [tag("li", tag("span", "●", class_=class_), run) for _, class_, run in drawn]
    note = "A dot for each severity, with its number: the farther to the right, the more errors."
    return section(
        "figure",
        "By kind and severity",
        tag("figure", drawing, tag("ul", *legend, class_="legend"), class_="figure"),
        paragraph(note, class_="note"),
    )


def dots(rows: Sequence[Mapping[str, Any]], x_at: Any, y: float, class_: str, name: str) -> Html:
    """Return the errors of one kind: a line from the least to the greatest, and a numbered dot for each severity."""
    at = [x_at(row["error"]) for row in rows]
    parts = [tag("line", class_="line", x1=min(at), x2=max(at), y1=y, y2=y)]
    for row, x in zip(rows, at, strict=True):
        low, high = row["interval"]
        title = (
            f"{name}, severity {row['severity']}: {percent(row['error'])}%, 95% interval "
            f"{percent(low)}–{percent(high)}%"
        )
        parts.append(tag("circle", tag("title", title), cx=x, cy=y, r=5, class_="dot"))
        parts.append(tag("text", row["severity"], class_="number", x=x, y=y + 2.5, text_anchor="middle"))
    return tag("g", *parts, class_=f"series {class_} thick")


def attacks(curves: Sequence[Mapping[str, Any]]) -> Html:
    """The errors on adversarial images, by how far each pixel may move."""
    lines = [
        Line(curve["run"], f"run-{index + 1}", [(row["epsilon"], row["error"]) for row in curve["errors"]])
        for index, curve in enumerate(curves)
    ]
    title = "Error by ε, the move of each pixel as a share of full ink"
    largest = curves[0]["errors"][-1]["epsilon"]

    def x_at(epsilon: float) -> float:
        return round(LEFT + epsilon / largest * (WIDTH - LEFT - RIGHT), 1)

    def y_at(error: float) -> float:
        return round(HEIGHT - BOTTOM - error * (HEIGHT - TOP - BOTTOM), 1)

    parts: list[Html] = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y_at(tick), y2=y_at(tick)))
        parts.append(tag("text", f"{100 * tick:g}%", class_="tick", x=LEFT - 7, y=y_at(tick) + 4, text_anchor="end"))
    for tick in (0, 0.1, 0.2, 0.3):
        place = {"x": x_at(tick), "y": HEIGHT - BOTTOM + 17}
        parts.append(tag("text", f"{tick:g}", class_="tick", text_anchor="middle", **place))
    for line in lines:
        path = "".join(f"{'L' if i else 'M'}{x_at(x)} {y_at(y or 0)}" for i, (x, y) in enumerate(line.points))
        marks = [tag("path", d=path, class_="line")]
        for x, y in line.points:
            name = tag("title", f"{line.name}, ε {x:g}: {percent(y or 0)}%")
            marks.append(tag("circle", name, cx=x_at(x), cy=y_at(y or 0), r=3, class_="dot"))
        parts.append(tag("g", *marks, class_=f"series {line.kind}"))
    drawing = chart("fgsm-chart", title, "The table of the program has the numbers, as has corruptions.json.", parts)
    note = (
        "The fast gradient sign method (Goodfellow et al., 2015): each pixel moves by ε to where the network’s own "
        "loss grows. It is the weakest attack: a network that withstands it may well fail others."
    )
    body = tag("figure", tag("figcaption", title), drawing, legend(lines))
    return section("fgsm", "Adversarial images", body, paragraph(note, class_="note"))


def sheet(report: Mapping[str, Any], examples: Sequence[Any]) -> Html:
    """A digit for each kind, as it is and at each severity, with what the network takes it for."""
    severities, names = severities_of(report), report["classes"]
    head: list[object] = ["kind", "as it is", *(f"severity {each}" for each in severities)]
    rows: list[list[object]] = []
    for kind, index, label, shown in examples:
        cells: list[object] = [words(kind)]
        at = {severity: (image, predicted) for severity, image, predicted in shown}
        for severity in (0, *severities):
            if severity not in at:
                cells.append("")
                continue
            image, predicted = at[severity]
            what = f"severity {severity}" if severity else "as it is"
            alt = f"Test image {index}, a {names[label]}, {words(kind)}, {what}"
            mark = tag("span", names[predicted], class_="truth" if predicted == label else "predicted")
            cells.append(tag("td", png_images.digit(image, alt), mark))
        rows.append(cells)
    caption = "A test image for each kind, and what the network takes it for: correct in blue, errors in orange"
    return section("images", "Images", scrolling("Images", table(caption, head, rows, class_="sheet")))
