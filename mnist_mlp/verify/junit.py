"""The stages as JUnit XML, the format in which Jenkins, GitLab and GitHub's actions read tests.

A stage is a test case. Refuted is a failure; an error is an error; skipped is skipped, with its reason. Attributes and
the order of elements are those that both Jenkins' schema and Ant's allow, but for a test case's system-out, which Ant's
lacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from mnist_mlp.verify.findings import ERROR, REFUTED, SKIPPED
from mnist_mlp.verify.reading import mapping, number, rows, sequence, shown, verbatim, words

NAME = "mnist_mlp.verify"
ELEMENTS = {REFUTED: "failure", ERROR: "error", SKIPPED: "skipped"}
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no characters for
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def render(report: Mapping[str, Any]) -> str:
    """Return the content of the file for that of verify.json, whichever version wrote it."""
    stages = rows(report, "stages")
    counts = {"tests": len(stages)}
    for status, plural in ((REFUTED, "failures"), (ERROR, "errors"), (SKIPPED, "skipped")):
        counts[plural] = sum(kind_of(stage) == ELEMENTS[status] for stage in stages)
    totals = {name: str(count) for name, count in counts.items()} | {"time": seconds(report)}
    root = Element("testsuites", {"name": NAME} | {name: totals[name] for name in totals if name != "skipped"})
    begun = DATE.match(words(report, "date"))  # the schema has no time zone; the property "date" has
    when = {"timestamp": begun[0]} if begun else {}
    suite = SubElement(root, "testsuite", {"name": NAME, **totals, **when, "hostname": "localhost"})
    properties = SubElement(suite, "properties")
    for name, value in about(report, stages).items():
        SubElement(properties, "property", {"name": legal(name), "value": legal(value)})
    for stage in stages:
        case_of(suite, stage)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def case_of(suite: Element, stage: Mapping[str, Any]) -> None:
    """Add the test case of a stage."""
    name = legal(words(stage, "name") or "a stage without a name")
    case = SubElement(suite, "testcase", {"classname": NAME, "name": name, "time": seconds(stage)})
    kind, reason = kind_of(stage), words(stage, "reason")
    if kind:
        given = {"message": legal(" ".join(reason.split()))}
        if kind != "skipped":
            given["type"] = legal(words(stage, "status") or "without a status")
        SubElement(case, kind, given).text = legal(in_full(stage))
    if figure := words(stage, "figure"):
        SubElement(case, "system-out").text = legal(f"{words(stage, 'proves')}: {figure}")


def kind_of(stage: Mapping[str, Any]) -> str:
    """Return the element that says that a stage did not pass, or ""; a status that is not known counts as an error."""
    status = stage.get("status")
    return "" if status == "passed" else ELEMENTS.get(status if isinstance(status, str) else "", "error")


def in_full(stage: Mapping[str, Any]) -> str:
    """Return why a stage did not pass, and what its process printed."""
    parts = [words(stage, "reason"), *(words(stage, "details", key) for key in ("traceback", "printed"))]
    return "\n\n".join(filter(None, parts))


def about(report: Mapping[str, Any], stages: list[dict[str, Any]]) -> dict[str, str]:
    """Return machine, versions and options by name."""
    found = {name: verbatim(report, name) for name in ("verdict", "tier", "seed", "version", "date")}
    found |= {f"option.{name}": verbatim(value) for name, value in mapping(report, "device").items()}
    for stage in stages:
        doctor = mapping(stage, "details", "doctor")
        found |= {f"machine.{name}": words(doctor, "machine", name) for name in ("processor", "gpus", "tpu_chips")}
        found["python"] = words(doctor, "software", "python")
        for name, version in mapping(doctor, "software", "installed").items():
            found[f"version.{name}"] = words(version)
        for framework, row in mapping(doctor, "probes").items():
            devices = sequence(row, "devices")
            found[f"devices.{framework}"] = shown(devices) if devices else ""
        if doctor:
            break
    return {name: value for name, value in found.items() if name and value}


def seconds(of: Mapping[str, Any]) -> str:
    spent = number(of, "seconds") or 0.0
    return f"{max(0.0, spent):.3f}"


def legal(text: str) -> str:
    """Spell out the characters that XML does not have: "\\x1b"."""
    return NOT_XML.sub(lambda found: ascii(found[0])[1:-1], text)
