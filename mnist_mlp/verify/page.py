"""verify.html: a verification on one page, fit to be attached to a ticket.

What a reader needs comes first: the verdict, on what, the table of the stages. A section for each stage follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_mlp.report import html
from mnist_mlp.report.formatting import seconds as duration
from mnist_mlp.report.html import Html, definitions, paragraph, scrolling, section, table, tag
from mnist_mlp.verify import page_sections
from mnist_mlp.verify.findings import ERROR, MARKS, PASSED, REFUTED, SKIPPED
from mnist_mlp.verify.page_sections import anything, folded, preformatted
from mnist_mlp.verify.reading import NONE, mapping, number, rows, sequence, shown, verbatim, words

TITLES = {
    PASSED: ("Passed", "this machine trains correctly, as far as it was tried"),
    REFUTED: ("Refuted", "this machine does not compute what it should"),
    ERROR: ("No verdict", "something must be mended first"),
}
DID = {PASSED: "passed", REFUTED: "refuted", ERROR: "could not be tried", SKIPPED: "skipped"}


def render(report: Mapping[str, Any]) -> str:
    """Return the content of verify.html for that of verify.json, whichever version wrote it."""
    from mnist_mlp.report.run_page import footer, style  # with NumPy and Pillow, which --help does without

    stages = rows(report, "stages")
    names = anchors(stages)
    links = {"stages": "Stages"} | dict(zip(names, (shown(stage.get("name")) for stage in stages), strict=True))
    sections = [stage_section(stage, name) for stage, name in zip(stages, names, strict=True)]
    main = tag("main", opening(report, stages), overview(stages, names), *sections, rest_of(report), id="main")
    title = f"{verdict(report)[0]} – verification of {machine_of(stages)} – mnist_mlp"
    return html.page(title, style(), html.navigation(links), main, footer())


def anchors(stages: list[dict[str, Any]]) -> list[str]:
    """Return an id for each stage: its name, if it is a plain one that no other stage has."""
    found: list[str] = []
    for index, stage in enumerate(stages, 1):
        name = stage.get("name")
        plain = isinstance(name, str) and name.isidentifier() and name.isascii() and name not in ("main", "stages")
        found.append(str(name) if plain and name not in found else f"stage-{index}")
    return found


def verdict(report: Mapping[str, Any]) -> tuple[str, str]:
    """Return the verdict in a word or two, and in a sentence."""
    known = report.get("verdict")
    return TITLES.get(known if isinstance(known, str) else "", ("No verdict", f"it is {shown(known)}"))


def machine_of(stages: list[dict[str, Any]]) -> str:
    """Return the name of the machine's processor."""
    found = (words(doctor(stage), "machine", "processor") for stage in stages)
    return next(filter(None, found), "a machine")


def doctor(stage: Mapping[str, Any]) -> dict[str, Any]:
    return mapping(stage, "details", "doctor")


def opening(report: Mapping[str, Any], stages: list[dict[str, Any]]) -> Html:
    """The verdict, on which machine and versions; and what did not pass."""
    word, sentence = verdict(report)
    seen = next(filter(None, map(doctor, stages)), {})
    devices = [name for row in mapping(seen, "probes").values() for name in sequence(row, "devices")]
    versions = {"mnist_mlp": words(report, "version"), "Python": words(seen, "software", "python")}
    for row in mapping(seen, "probes").values():
        versions |= {name: shown(version) for name, version in mapping(row, "versions").items()}
    request = {name: value for name, value in mapping(report, "device").items() if value not in (None, "", "auto")}
    request.pop("start_timeout", None)  # changes no result
    spent = number(report, "seconds")
    facts: dict[str, object] = {
        "machine": machine_of(stages),
        "device": shown(devices) if devices else NONE,
        "asked for": shown(request) if request else NONE,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version) or NONE,
        "tier": words(report, "tier") or NONE,
        "seed": verbatim(report, "seed") or NONE,
        "date": words(report, "date").replace("T", " ") or NONE,
        "took": NONE if spent is None else duration(spent),
    }
    failed = [stage for stage in stages if stage.get("status") in (REFUTED, ERROR)]
    return tag(
        "header",
        paragraph("mnist_mlp · verification", class_="over"),
        tag("h1", word, tag("span", sentence), class_=f"words status {kind_of(report.get('verdict'))}"),
        paragraph(counted(stages), class_="lead"),
        *(paragraph(f"{shown(each.get('name'))}: {reason_of(each)}", class_="remark") for each in failed),
        tag("div", definitions(facts), class_="about"),
    )


def counted(stages: list[dict[str, Any]]) -> str:
    """Return how many stages passed, and which did not."""
    parts = []
    for status, did in DID.items():
        names = [shown(stage.get("name")) for stage in stages if stage.get("status") == status]
        if names:
            parts.append(f"{len(names)} {did}" + ("" if status == PASSED else f" ({', '.join(names)})"))
    return f"Of {len(stages)} stages {', '.join(parts)}." if parts else "No stage was run."


def kind_of(status: Any) -> str | None:
    """Return the class of a status in the style sheet."""
    return status if isinstance(status, str) and status in MARKS else None


def reason_of(stage: Mapping[str, Any]) -> str:
    return words(stage, "reason") or "without a reason"


def overview(stages: list[dict[str, Any]], names: list[str]) -> Html:
    """The table of the stages."""
    body: list[list[object]] = []
    for stage, name in zip(stages, names, strict=True):
        spent = number(stage, "seconds")
        body.append(
            [
                tag("a", shown(stage.get("name")), href=f"#{name}"),
                outcome(stage),
                words(stage, "proves"),
                tag("td", words(stage, "figure") or None, *reason_below(stage)),
                NONE if spent is None else f"{spent:.1f}",
            ]
        )
    if not body:
        return section("stages", "Stages", paragraph("This report has no stages.", class_="absent"))
    head: list[object] = ["stage", "outcome", "what it proves", "figure, or the reason", "seconds"]
    return section("stages", "Stages", scrolling("Stages", table("In their order", head, body, class_="found checks")))


def reason_below(stage: Mapping[str, Any]) -> list[Html]:
    """Return the reason of a stage that did not pass, on lines of its own."""
    reason = words(stage, "reason")
    return [tag("div", reason, class_="small")] if reason else []


def outcome(stage: Mapping[str, Any]) -> Html:
    """Return a cell for the status of a stage."""
    status = stage.get("status")
    kind = kind_of(status)
    words_ = f"{MARKS[kind]} {DID[kind]}" if kind else shown(status)
    return tag("td", words_, class_=f"status {kind}" if kind else None)


def stage_section(stage: Mapping[str, Any], name: str) -> Html:
    """One stage: its outcome and reason, its details, and what is left of them."""
    details = mapping(stage, "details")
    kind, figure = kind_of(stage.get("status")), words(stage, "figure")
    did = DID[kind] if kind else shown(stage.get("status"))
    shows = page_sections.SECTIONS.get(words(stage, "name"), page_sections.unknown)
    ran = details or kind in (PASSED, REFUTED)
    parts, used = shows(details, name) if ran else ([], set())
    opening = [tag("span", f"{MARKS[kind] if kind else ''} {did}", class_=f"status {kind}" if kind else None)]
    opening += [Html(f": {html.text(figure)}")] if figure else []
    reason = words(stage, "reason")
    reasons = [paragraph(reason, class_="note" if kind == SKIPPED else "remark")] if reason else []
    printed = {key: words(details, key) for key in ("printed", "traceback") if words(details, key)}
    left = {key: value for key, value in details.items() if key not in used and key not in printed}
    return section(
        name,
        shown(stage.get("name")),
        paragraph(words(stage, "proves"), class_="note"),
        paragraph(*opening, class_="strong"),
        *reasons,
        *(
            folded(key.capitalize(), preformatted(f"{key} of {shown(stage.get('name'))}", printed[key]))
            for key in printed
        ),
        *parts,
        anything(left, name) if left else None,
    )


SHOWN = {"format", "verdict", "tier", "seed", "device", "version", "date", "stages", "seconds", "sha256"}


def rest_of(report: Mapping[str, Any]) -> Html | None:
    """What else a report has that another version wrote."""
    rest = {str(key): value for key, value in report.items() if str(key) not in SHOWN}
    return section("rest", "More", anything(rest, "more")) if rest else None
