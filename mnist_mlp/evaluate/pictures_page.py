"""pictures.html: the score on pictures of one's own, with every mistake and every refusal, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp.data.sets import title_of
from mnist_mlp.report import html, png_images
from mnist_mlp.report.formatting import NONE, interval, percent, probability, several
from mnist_mlp.report.html import Html, definitions, paragraph, section, tag
from mnist_mlp.report.result_sections import classes_of, confusion_of
from mnist_mlp.report.run_page import footer, style
from mnist_mlp.report.svg_charts import ten_bars

if TYPE_CHECKING:
    from mnist_mlp.evaluate.pictures import Shown

Result = dict[str, Any]  # the content of pictures.json
SECTIONS = {"confusion": "Confusion", "classes": "Classes", "mistakes": "Mistakes", "refusals": "Refusals"}


def render(result: Result, mistakes: Sequence[Shown], refusals: Sequence[Shown]) -> str:
    """Return the page as HTML. `mistakes` and `refusals` are those whose pictures are shown, in their order."""
    main = tag(
        "main",
        opening(result),
        confusion_of(result["confusion"], result["classes"], [row["refused"] for row in result["per_class"]]),
        classes_of(result["per_class"], result["confusion"], result["classes"], "Pictures by class"),
        mistakes_section(result, mistakes),
        refusals_section(result, refusals),
        id="main",
    )
    title = f"{percent(result['accuracy'])} of own pictures – mnist_mlp"
    return html.page(title, style(), html.navigation(SECTIONS), main, footer())


def opening(result: Result) -> Html:
    """The share of correct answers with its interval, key figures, a summary, and remarks."""
    answered = result["answered"]
    figures: dict[str, object] = {
        "95% interval": interval(result["interval"], 1),
        "correct": f"{result['correct']:,} of {result['total']:,}",
        "mistakes": f"{len(result['mistakes']):,}",
        "refused": f"{result['refused']:,}",
        "correct of the answered": percent(result["answered_accuracy"]),
        "its 95% interval": interval(result["answered_interval"], 1) if answered else NONE,
    }
    facts: dict[str, object] = {
        "pictures": result["images"],
        "labels": result["layout"],
        "network": f"{result['run_dir']}, trained on {title_of(result['dataset'])}",
        "ran on": f"{result['device']['actual']}, {result['backend']}",
        "date": result["date"].replace("T", " "),
    }
    remarks = list(result["notes"])
    if not result["settings"]["reframe"]:
        remarks.append("The pictures were used as they are (--no_reframe), without a search for their digit.")
    return tag(
        "header",
        paragraph("mnist_mlp · pictures of one’s own", class_="over"),
        tag("h1", percent(result["accuracy"]), tag("span", f" of {several(result['total'], 'picture')}")),
        paragraph(summary(result), class_="lead"),
        definitions(figures),
        tag("div", definitions(facts), class_="about"),
        *(paragraph(f"{remark[:1].upper()}{remark[1:].removesuffix('.')}.", class_="remark") for remark in remarks),
    )


def summary(result: Result) -> str:
    """Return the result in plain sentences."""
    refused, mistakes = result["refused"], len(result["mistakes"])
    words = f"Of {several(result['total'], 'picture')}, {result['correct']:,} were recognized"
    words += f", {mistakes:,} mistaken for another class" if mistakes else ", none mistaken for another class"
    if not refused:
        return f"{words}, and none refused."
    return f"{words}, and {refused:,} refused. A refused picture counts as an error."


def mistakes_section(result: Result, shown: Sequence[Shown]) -> Html:
    """The pictures that were mistaken for another class."""
    total = len(result["mistakes"])
    if not total:
        return section("mistakes", "Mistakes", paragraph("There are none among the answered pictures."))
    words = (
        f"{how_many(shown, total, 'mistakes', 'with the lowest probability of their label')} On the left is the "
        "picture in grey, on the right what the network saw; the bars are its ten probabilities, blue for the label, "
        "orange for the answer."
    )
    cards = tag(
        "ol", *(mistake_card(each, result["classes"], folder_of(result)) for each in shown), class_="cards pictures"
    )
    return section("mistakes", "Mistakes", paragraph(words, class_="note"), cards)


def refusals_section(result: Result, shown: Sequence[Shown]) -> Html:
    """The pictures that got no answer, with the reasons."""
    total = result["refused"]
    if not total:
        return section("refusals", "Refusals", paragraph("No picture was refused."))
    words = (
        f"{how_many(shown, total, 'refusals', 'that came first')} Where the network was asked, what it saw and said is "
        "shown, too; otherwise the picture was refused before that."
    )
    cards = tag(
        "ol",
        *(refusal_card(each, result["classes"], folder_of(result)) for each in shown),
        class_="cards pictures reasons",
    )
    return section("refusals", "Refusals", paragraph(words, class_="note"), cards)


def folder_of(result: Result) -> str:
    """Return what the names of the files begin with, where that is the folder that the page names already."""
    return result["images"].rstrip("/") + "/"


def how_many(shown: Sequence[Shown], total: int, what: str, which: str) -> str:
    """Return which of the mistakes or refusals are shown."""
    if len(shown) == total:
        return f"All {total:,} {what}." if total > 1 else f"The only one of the {what}."
    return f"The {len(shown)} of {total:,} {what} {which}; pictures.json lists all of them."


def mistake_card(shown: Shown, names: Sequence[str], folder: str) -> Html:
    """One mistake: the picture, what the network saw, label and answer, and the ten probabilities."""
    outcome = shown.outcome
    label, found, p = outcome["label"], outcome["class"], outcome["p"]
    return tag(
        "li",
        pair(shown, names),
        tag(
            "strong",
            *(tag("span", names[label], class_="truth"), " mistaken for "),
            tag("span", names[found], class_="predicted"),
        ),
        tag("span", f"predicted {probability(p[found])}, true {probability(p[label])}", class_="small"),
        bars(shown, names),
        tag("span", outcome["file"].removeprefix(folder), class_="small break"),
    )


def refusal_card(shown: Shown, names: Sequence[str], folder: str) -> Html:
    """One refusal: the picture, its label and the reason; and what the network saw and said, if it was asked."""
    outcome = shown.outcome
    return tag(
        "li",
        pair(shown, names),
        tag("strong", tag("span", names[outcome["label"]], class_="truth"), " refused"),
        tag("span", outcome["reason"], class_="small break"),
        bars(shown, names) if "p" in outcome else None,
        tag("span", outcome["file"].removeprefix(folder), class_="small break"),
    )


def pair(shown: Shown, names: Sequence[str]) -> Html:
    """Return the picture beside what the network saw, those of the two that there are."""
    what = names[shown.outcome["label"]]
    parts = []
    if shown.thumbnail is not None:
        parts.append(png_images.photo(shown.thumbnail, f"A picture of {what}, in grey"))
    if shown.image is not None:
        parts.append(png_images.digit(shown.image, f"{what} as the network saw it"))
    return tag("span", *(parts or [tag("span", "no picture", class_="small")]), class_="pair")


def bars(shown: Shown, names: Sequence[str]) -> Html:
    """Return the network's ten probabilities as bars."""
    outcome = shown.outcome
    all_ten = ", ".join(f"{name} {probability(value)}" for name, value in zip(names, outcome["p"], strict=True))
    return ten_bars(f"Probabilities: {all_ten}", outcome["p"], outcome["label"], outcome["class"], names)
