"""Compare two reports of verify: two machines, or one machine on two dates. What differs beyond noise?

What noise is depends on the figure:

- outcomes of stages, options, versions, devices, environment variables, known problems: nothing. They are equal or not.
- shares of the bounds of parity, errors of operations and exports: less than an order of magnitude (3.3 bits). Whatever
  lies within the bounds is rounding, but where one device rounds ten times as much there is a reason.
- images correct and losses in training: nothing, if seed, software, device and environment are the same and both are
  deterministic; else 4 standard deviations of the difference of two correct runs (√2 times that of the reference).
- step times: ±10%, or as far as the fastest to slowest calls of one reach into those of the other; matrix products,
  which are the best of their calls: ±10%. Times of which no spread is recorded: ±50%. Temperatures: ±10 °C.
- seconds of stages and of compilation: anything. They depend on what the caches hold.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import DAMAGED, read_json
from mnist_mlp.options import path_of
from mnist_mlp.text import spelled_out
from mnist_mlp.verify import compare_stages
from mnist_mlp.verify.compare_stages import Pair
from mnist_mlp.verify.comparison import ABSENT, Comparison
from mnist_mlp.verify.findings import ERROR, PASSED, REFUTED
from mnist_mlp.verify.reading import inside, mapping, number, rows, sequence, shown, verbatim, words

FORMAT = 1  # of verify.json
NAME = "verify.json"
SAME, DIFFERS = "same", "differs"
ONE = {PASSED: "passed", REFUTED: "is refuted", ERROR: "has no verdict"}
BOTH = {PASSED: "both passed", REFUTED: "both are refuted", ERROR: "neither has a verdict"}
WIDTH, WHAT, VALUE = 110, 48, 28  # characters
FEW = 4  # figures of a stage that one report lacks are named one by one


def read(file: str | Path) -> dict[str, Any]:
    """Return the content of a verify.json, or of the one in a directory. Raise `UserError`."""
    path = path_of("compare", str(file))
    wanted = f"--compare={file}: expected the {NAME} that verify --output wrote"
    try:
        path = path / NAME if path.is_dir() else path
        if path.exists() and not path.is_file():
            received = "a directory" if path.is_dir() else "a device or a pipe"
            raise UserError(f"{wanted}, {path} is {received}; name a file, or its directory")
        report = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{wanted}, there is no file {path}; name that file or its directory") from None
    except OSError as error:
        raise UserError(f"{wanted}, {path} cannot be read: {error.strerror or error}; name another file") from None
    except DAMAGED as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{wanted}, received a damaged or another file ({why}); run verify --output again") from None
    if not isinstance(report.get("stages"), list) or "verdict" not in report:
        raise UserError(f"{wanted}, received another file of mnist_mlp; name that of a verification")
    if report.get("format") != FORMAT:
        received = f"{shown(report.get('format'))}, written by mnist_mlp {words(report, 'version') or 'of no version'}"
        raise UserError(
            f"--compare={file}: expected format {FORMAT} of {NAME}, received {received}; compare files of one version"
        )
    return report


def compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs beyond noise, as JSON values.

    "verdict": "refuted" if a stage that one passed is refuted by the other, else "differs" or "same"; "summary": that
    in a sentence; "refuted": those stages; "one", "other": what was compared; "differences": rows of stage, what, one,
    other, unit, noise (what would be noise) and, of figures, ratio; "reasons": why stages did not pass whose outcome
    differs; "equal", "within_noise": how many facts and figures of each stage are.
    """
    found, refuted = Comparison(), []
    setup(found, one, other)
    first, second = by_name(one), by_name(other)
    same_program = not found.differences
    repeatable = same_program and all(words(each.get("determinism"), "status") == PASSED for each in (first, second))
    for name in dict.fromkeys([*first, *second]):
        statuses = words(first.get(name), "status") or ABSENT, words(second.get(name), "status") or ABSENT
        found.fact(name, "outcome", statuses)
        if {*statuses} == {PASSED, REFUTED}:
            refuted.append(name)
        if name in compare_stages.STAGES and {*statuses} <= {PASSED, REFUTED}:
            compare_stages.STAGES[name](found, Pair(name, first[name], second[name], repeatable))
    return {
        "format": FORMAT,
        "verdict": REFUTED if refuted else DIFFERS if found.differences else SAME,
        "summary": summary(one, other, found, refuted),
        "refuted": refuted,
        "one": about(one),
        "other": about(other),
        **dataclasses.asdict(found),
        "reasons": [*reasons("one", first, second), *reasons("other", second, first)],
    }


def by_name(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the stages by name."""
    return {words(stage, "name"): stage for stage in rows(report, "stages")}


def about(report: Mapping[str, Any]) -> dict[str, str]:
    """Return which report this is."""
    found = {name: verbatim(report, name) for name in ("date", "version", "tier", "seed", "verdict")}
    return {**found, "machine": words(by_name(report).get("machine"), "details", "doctor", "machine", "processor")}


def reasons(which: str, stages: Mapping[str, Any], others: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return why stages did not pass whose outcome differs."""
    return [
        {"report": which, "stage": name, "reason": words(stage, "reason")}
        for name, stage in stages.items()
        if words(stage, "reason") and words(stage, "status") != words(others.get(name), "status")
    ]


def setup(found: Comparison, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Compare options, machine, versions, environment and known problems."""
    for name in ("version", "tier", "seed"):
        found.fact("setup", name, (one.get(name), other.get(name)))
    options = [{f"--{key}": value for key, value in mapping(each, "device").items()} for each in (one, other)]
    for each in options:
        each.pop("--start_timeout", None)  # changes no result
    found.facts("setup", *options)
    found.facts("machine", machine(one), machine(other))


def machine(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what doctor found that can change a result, by name."""
    doctor = mapping(by_name(report).get("machine"), "details", "doctor")
    seen = mapping(doctor, "machine")
    facts = {key: seen.get(key) for key in ("processor", "gpus", "cuda_libraries", "tpu_chips", "tpu_kind", "host")}
    facts["python"] = inside(doctor, "software", "python")
    facts |= {f"package {name}": version for name, version in mapping(doctor, "software", "installed").items()}
    for kind in ("environment", "ignored"):
        facts |= {f"{kind} {name}": value for name, value in mapping(seen, kind).items()}
    for framework, row in mapping(doctor, "probes").items():
        facts[f"devices of {framework}"] = sequence(row, "devices")
    for row in rows(doctor, "problems"):
        facts[f"known problem {words(row, 'name')}"] = "found"
    return {key: value for key, value in facts.items() if value not in (None, "")}


def summary(one: Mapping[str, Any], other: Mapping[str, Any], found: Comparison, refuted: list[str]) -> str:
    """Return the verdict on the two reports in a sentence."""
    if refuted:
        wrong = {name for name, stage in by_name(one).items() if stage.get("status") == REFUTED}
        told = {
            "the second refutes what the first passed": [name for name in refuted if name not in wrong],
            "the first refutes what the second passed": [name for name in refuted if name in wrong],
        }
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in told.items() if names)
    first, second = (words(report, "verdict") for report in (one, other))
    verdicts = f"the first {ONE.get(first, 'has no verdict')}, the second {ONE.get(second, 'has no verdict')}"
    if first == second:
        verdicts = BOTH.get(first, BOTH[ERROR])
    count = len(found.differences)
    if not count:
        return f"the same: {verdicts}, and nothing differs beyond noise"
    return f"{verdicts}; {count:,} difference{'s' * (count > 1)} beyond noise"


def text(found: Mapping[str, Any], one: str = "", other: str = "") -> str:
    """Return a comparison as text: the verdict, then what differs, then a line on what does not.

    `one` and `other` name the files.
    """
    files = {"first": one, "second": other}
    names = [f"{which}: {end_of(file, VALUE - len(which) - 2)}" if file else which for which, file in files.items()]
    lines, differences = [spelled_out(words(found, "summary"))], rows(found, "differences")
    if differences:
        table = [("stage", "what", *names, "")]
        table += [(*cells(row), remark(row)) for row in gathered(differences)]
        widths = [max(len(cells_[column]) for cells_ in table) for column in range(len(table[0]))]
        lines.append("")
        for row in table:
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for reason in rows(found, "reasons"):
        which = "first" if reason.get("report") == "one" else "second"
        told = f"{words(reason, 'stage')}, {which}: {words(reason, 'reason')}"
        lines += ["", *textwrap.wrap(spelled_out(told), WIDTH, subsequent_indent="    ")]
    return "\n".join([*lines, "", closing(found)])


def end_of(text: str, length: int) -> str:
    """Return the end of a path, which says more than its beginning."""
    text = spelled_out(text)
    return text if len(text) <= length else f"…{text[1 - length :]}"


def gathered(differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the differences with one row in place of many figures of a stage that one report lacks."""
    lacking: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in differences:
        for key in ("one", "other"):
            if row.get(key) == ABSENT and words(row, "stage") not in ("setup", "machine"):
                lacking.setdefault((words(row, "stage"), key), []).append(row)
    shortened = []
    for row in differences:
        keys = ((words(row, "stage"), key) for key in ("one", "other") if row.get(key) == ABSENT)
        same = next((lacking[key] for key in keys if key in lacking), [])
        if len(same) <= FEW:
            shortened.append(row)
        elif row is same[0]:
            there = {key: ABSENT if row.get(key) == ABSENT else "there" for key in ("one", "other")}
            shortened.append({**row, **there, "what": f"{len(same)} facts and figures", "unit": "", "noise": ""})
    return shortened


def cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    unit = f" {words(row, 'unit')}".rstrip()
    values = [f"{shown(row.get(key))}{'' if number(row, key) is None else unit}" for key in ("one", "other")]
    first, second = (cut(value, VALUE) for value in values)
    return cut(words(row, "stage"), VALUE), cut(words(row, "what"), WHAT), first, second


def cut(text: str, length: int) -> str:
    """Return text on one line, without control characters, of at most `length` characters."""
    line = spelled_out(text)
    return line if len(line) <= length else f"{line[: length - 1]}…"


def remark(row: Mapping[str, Any]) -> str:
    """Return how the second relates to the first, and what would have been noise."""
    ratio, noise = number(row, "ratio"), words(row, "noise")
    return "; ".join(filter(None, [f"{ratio:.3g} times" if ratio else "", f"noise: {noise}" if noise else ""]))


def closing(found: Mapping[str, Any]) -> str:
    """Return the line on what is equal, and what is within noise."""
    equal, noise = (
        {stage: int(number(count) or 0) for stage, count in mapping(found, key).items()}
        for key in ("equal", "within_noise")
    )
    line = f"equal: {several(sum(equal.values()), 'fact or figure', 'facts and figures')}"
    if noise:
        each = ", ".join(f"{stage} {count:,}" for stage, count in noise.items())
        line += f"; within noise: {several(sum(noise.values()), 'figure', 'figures')} ({spelled_out(each)})"
    return line


def several(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"
