"""The sections of verify.html, one for each stage.

A section takes the details of a stage and returns its parts, and the keys of the details that they show: what is left
is shown in the end, since nothing of verify.json is to be lost for a stage or a version that this page does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mnist_mlp.report.formatting import percent, several
from mnist_mlp.report.formatting import seconds as duration
from mnist_mlp.report.html import Html, definitions, paragraph, scrolling, table, tag
from mnist_mlp.report.svg_charts import Line, legend
from mnist_mlp.verify.page_charts import log_chart, range_strip, share_bar
from mnist_mlp.verify.reading import NONE, inside, mapping, number, rows, sequence, shown, words

Parts = tuple[list[Html], set[str]]
MOST = 200  # rows of a table
BRIEF = 16  # characters
FOLDED = 12  # rows of a table that is folded behind its summary
DEEPEST = 3  # levels of nested details with a heading each


def machine(details: Mapping[str, Any], name: str) -> Parts:
    """What doctor found."""
    found = mapping(details, "doctor")
    if not found:
        return [], set()
    seen, software = mapping(found, "machine"), mapping(found, "software")
    variables = mapping(seen, "environment")
    facts: dict[str, object] = {
        "processor": words(seen, "processor") or NONE,
        "GPUs": words(seen, "gpus") or NONE,
        "CUDA libraries": words(seen, "cuda_libraries") or NONE,
        "TPU chips": shown([each for key in ("tpu_chips", "tpu_kind") if (each := inside(seen, key))]) or NONE,
        "Python": words(software, "python") or NONE,
        "mnist_mlp": words(software, "mnist_mlp") or NONE,
        "command": words(found, "asked", "command") or NONE,
    }
    parts = [definitions(facts)]
    parts += [paragraph(remark, class_="remark") for remark in map(problem, rows(found, "problems"))]
    tried = [
        [framework, shown(inside(row, "devices")), shown(inside(row, "versions")), *durations(row)]
        for framework, row in mapping(found, "probes").items()
    ]
    if tried:
        head = ["framework", "devices", "versions", "import, s", "first computation, s"]
        parts.append(listed("Frameworks that were tried", head, tried))
    if variables:
        parts.append(listed("Environment variables that change a run", ["variable", "value"], items(variables)))
    else:
        parts.append(paragraph("No environment variable is set that changes a run.", class_="note"))
    if ignored := mapping(seen, "ignored"):
        parts.append(listed("Environment variables that were ignored", ["variable", "value"], items(ignored)))
    if packages := items(mapping(software, "installed")):
        parts.append(folded("Packages", listed("Installed packages", ["package", "version"], packages)))
    if missing := sequence(software, "missing"):
        parts.append(paragraph(f"Not installed: {shown(missing)}", class_="remark"))
    strategies = [
        [strategy, shown(inside(row, "accepted")), shown(inside(row, "refusal") or inside(row, "device"))]
        for strategy, row in mapping(found, "strategies").items()
    ]
    if strategies:
        rows_of = listed("What each --strategy would do", ["strategy", "accepted", "device, or why not"], strategies)
        parts.append(folded("Strategies", rows_of))
    for framework, row in mapping(found, "probes").items():
        if printed := words(row, "printed"):
            parts.append(folded(f"What {framework} printed", preformatted(f"Output of {framework}", printed)))
    return parts, {"doctor"}


def problem(row: Mapping[str, Any]) -> str:
    """A known problem of doctor's, on one line."""
    told = "; ".join(filter(None, (words(row, key) for key in ("meaning", "fix"))))
    source = words(row, "source")
    return f"{words(row, 'name')}: {told}" + (f" ({source})" if source else "")


def durations(row: Any) -> list[str]:
    return [shown(number(row, "seconds", key)) for key in ("import", "compute")]


def operations(details: Mapping[str, Any], name: str) -> Parts:
    """Each operation: expected, found."""
    tests = rows(details, "operations")
    if not tests:
        return [], set()
    failed_first = sorted(tests, key=lambda row: inside(row, "passed") is not False)
    body = [[shown(row.get("name")), mark(row.get("passed")), *texts(row, "expected", "found")] for row in failed_first]
    figures = [
        [f"{shown(row.get('name'))}: {what}", shown(value)]
        for row in tests
        for what, value in mapping(row, "figures").items()
    ]
    parts = [listed("Operations with known results", ["operation", "", "expected", "found"], body)]
    if figures:
        parts.append(folded("All figures", listed("Figures of the operations", ["figure", "value"], figures)))
    return parts, {"operations"}


def quantities(details: Mapping[str, Any], name: str) -> Parts:
    """The worst element of each quantity, with its share of the bound; and the first differences."""
    found = sorted(rows(details, "quantities"), key=lambda row: -(number(row, "share") or 0.0))
    parts: list[Html] = []
    if about := mapping(details, "about"):
        parts.append(definitions({key.replace("_", " "): shown(value) for key, value in about.items()}))
    if differences := rows(details, "first_differences"):
        parts.append(listed("First differences", WORST, [worst(row) for row in differences]))
    if found:
        words_ = "A share of 1 is the most that rounding explains. Of each quantity the worst element is shown."
        parts.append(paragraph(words_, class_="note"))
        first = listed("Quantities, worst first", WORST, [worst(row) for row in found[:FOLDED]])
        parts.append(first)
        if rest := found[FOLDED:]:
            others = listed("The other quantities", WORST, [worst(row) for row in rest])
            parts.append(folded(f"{len(rest)} more, with smaller shares", others))
    return parts, {"about", "quantities", "first_differences"}


WORST = ["quantity", "share of its bound", "", "step", "element", "expected", "received", "bound"]


def worst(row: Mapping[str, Any]) -> list[object]:
    share = number(row, "share")
    bar = tag("td", share_bar(share) if share is not None else None)
    element = ", ".join(map(shown, sequence(row, "element"))) or NONE
    values = [precise(inside(row, key)) for key in ("expected", "received")]
    return [
        shown(row.get("quantity")),
        bar,
        shown(share),
        shown(row.get("step")),
        element,
        *values,
        shown(row.get("bound")),
    ]


def precise(value: Any) -> str:
    """Two numbers that differ in the seventh digit must not look the same."""
    exact = number(value)
    return shown(value) if exact is None else f"{exact:.9g}"


def repeats(details: Mapping[str, Any], name: str) -> Parts:
    """What was compared bit by bit, and the first difference."""
    compared = "Compared bit by bit: all variables that a checkpoint holds, and the losses of the epochs."
    parts = [paragraph(compared, class_="note")]
    if (at := inside(details, "resumed_at")) is not None:
        parts.append(paragraph(f"Stopped and resumed at step {shown(at)}.", class_="note"))
    if difference := mapping(details, "difference"):
        parts.append(first_difference(difference))
    return parts, {"resumed_at", "difference"}


def first_difference(difference: Mapping[str, Any]) -> Html:
    """Tensor, element and bits of a difference."""
    tensors = sequence(difference, "tensors")
    facts: dict[str, object] = {
        "tensor": shown(difference.get("tensor")),
        "element": f"[{', '.join(map(shown, sequence(difference, 'element')))}]",
        "expected": shown(difference.get("expected")),
        "received": shown(difference.get("received")),
        "bits that differ (0: the least significant)": shown(difference.get("flipped")),
        "elements of this tensor that differ": shown(difference.get("elements")),
        "tensors that differ": f"{len(tensors):,}: {shown(tensors)}" if tensors else NONE,
    }
    return join_under("First difference", definitions(facts))


def gate(details: Mapping[str, Any], name: str) -> Parts:
    """The gate: what was observed, what correct runs have, what passes."""
    verdict, test = mapping(details, "gate"), mapping(details, "test")
    reference = mapping(verdict, "reference")
    facts: dict[str, object] = {}
    if test:
        facts["correct"] = f"{shown(test.get('correct'))} of {shown(test.get('total'))}"
        facts["test loss"] = shown(test.get("loss"))
    if verdict:
        facts["p"] = shown(verdict.get("p"))
        facts["correct runs that fail"] = shown(verdict.get("false_alarms"))
        facts["compared with"] = f"{shown(reference.get('seeds'))} seeds"
    parts = [definitions(facts)] if facts else []
    parts += [
        paragraph(f"{kind}: {shown(means)}", class_="remark") for kind, means in mapping(verdict, "found").items()
    ]
    body = [judged("correct images", row) for row in rows([verdict.get("right")])]
    body += [judged(f"loss of epoch {shown(row.get('epoch'))}", row) for row in rows(verdict, "losses")]
    if body:
        head = ["figure", "where it lies", "observed", "expected", "sd", "accepted", "p", ""]
        parts.append(listed("Against correct runs", head, body))
        noticed = [
            f"{percent(number(loss))} with probability {power}" for power, loss in mapping(verdict, "noticed").items()
        ]
        if noticed:
            parts.append(paragraph(f"The count notices a loss of accuracy of {'; '.join(noticed)}.", class_="note"))
    if reference:
        parts.append(folded("The reference", anything(reference, name, 1)))
    if seconds := mapping(details, "seconds"):
        parts.append(folded("Seconds of the run", listed("Seconds of each part", ["part", "seconds"], items(seconds))))
    return parts, {"gate", "test", "seconds"}


def judged(what: str, row: Mapping[str, Any]) -> list[object]:
    low, high = [number(end) for end in [*sequence(row, "accepted"), None, None][:2]]
    observed = number(row, "observed")
    strip = range_strip(low, high, observed) if low is not None and high is not None and observed is not None else None
    accepted = f"{shown(low)} to {shown(high)}" if low is not None else NONE
    values = [shown(row.get(key)) for key in ("observed", "expected", "sd")]
    return [what, tag("td", strip), *values, accepted, shown(row.get("p")), words(row, "out")]


def exports(details: Mapping[str, Any], name: str) -> Parts:
    """Each format: whether its own runtime predicts what the model predicts."""
    parts: list[Html] = []
    body = []
    for row in rows(details, "formats"):
        size = number(row, "bytes")
        times = [shown(number(row, "milliseconds", batch)) for batch in ("1", "256")]
        agreeing = f"{shown(row.get('agreements'))} of {shown(row.get('total'))}"
        differing = [shown(row.get(key)) for key in ("largest_difference", "tolerance")]
        kind = shown(row.get("format"))
        body.append(
            [kind, mark(row.get("agrees")), agreeing, *differing, *texts(row, "runtime", "file")]
            + [NONE if size is None else f"{size / 1000:,.0f} kB", *times]
        )
        if difference := inside(row, "first_difference"):
            parts.append(paragraph(f"{kind}: {shown(difference)}", class_="remark"))
    if body:
        head = ["format", "", "same class", "largest difference", "tolerance", "runtime", "file", "size"]
        head += ["ms, 1 image", "ms per image of 256"]
        parts.append(listed("Exported files, read by their own runtimes", head, body))
    for kind, why in mapping(details, "missing").items():
        parts.append(paragraph(f"{kind}, not tried: {shown(why)}", class_="note"))
    return parts, {"formats", "missing"}


def throughput(details: Mapping[str, Any], name: str) -> Parts:
    """Step time over batch size for the device and the CPU beside it, and what was measured besides."""
    beside = mapping(details, "cpu_beside")
    measured = {words(details, "device") or "the device": rows(details, "batches")}
    if beside:
        measured[f"{words(beside, 'device') or 'CPU'}, beside it"] = rows(beside, "batches")
    parts = [paragraph(told, class_="lead") for told in [words(details, "worth_it")] if told]
    if drawing := step_times(f"{name}-chart", measured):
        parts.append(drawing)
    parts += [batch_table(device, found) for device, found in measured.items() if found]
    for size, why in mapping(details, "left_out").items():
        parts.append(paragraph(f"Batch size {size} was left out: {shown(why)}", class_="note"))
    if why := words(details, "cpu_beside_missing"):
        parts.append(paragraph(f"No figures of a CPU beside it: {why}.", class_="note"))
    for key, title in (("matrix_product", "Matrix product"), ("copy_to_device", "Copy to the device")):
        if found := mapping(details, key):
            facts = {what.replace("_", " "): rate(what, value) for what, value in found.items()}
            parts.append(join_under(title, definitions(dict(facts))))
    clocks = {"this device": mapping(details, "clocks"), "the CPU beside it": mapping(beside, "clocks")}
    body = [
        [f"{what.replace('_', ' ')}, {where}", shown(value)]
        for where, row in clocks.items()
        for what, value in row.items()
    ]
    if body:
        parts.append(folded("Clocks", listed("What the clocks counted", ["clock", "value"], body)))
    used = {"device", "batches", "cpu_beside", "left_out", "matrix_product", "copy_to_device", "clocks", "worth_it"}
    return parts, used | {"cpu_beside_missing", "worth_it_from_batch_size"}


def step_times(name: str, measured: Mapping[str, list[dict[str, Any]]]) -> Html | None:
    """Return the chart of the step time over the batch size, with a line for each device."""
    lines = []
    for index, (device, found) in enumerate(measured.items(), 1):
        points = []
        for row in found:
            x, y = number(row, "batch_size"), number(row, "step_seconds")
            if x is not None and y is not None and x > 0 and y > 0:
                points.append((x, 1000 * y))
        if points:
            lines.append(Line(device, f"run-{index}", sorted(points)))
    if not lines:
        return None
    ends = [f"{line.name}, from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g} ms" for line in lines]
    about = f"Time of a step by batch size: {'; '.join(ends)}."
    drawing = log_chart(name, "Time of a step", about, lines, "batch size", "ms")
    caption = tag("figcaption", "Time of a step by batch size, ms")
    return tag("figure", caption, drawing, legend(lines), class_="drawing")


def batch_table(device: str, found: list[dict[str, Any]]) -> Html:
    head = ["batch size", "step, ms", "fastest to slowest call, ms", "calls", "images per second"]
    head += ["of the matrix product", "compile, s"]
    body = []
    for row in found:
        median, least, most = (thousandfold(number(row, f"step_seconds{end}")) for end in ("", "_min", "_max"))
        body.append(
            [
                *(shown(row.get("batch_size")), median, f"{least} to {most}", shown(row.get("calls"))),
                *(shown(number(row, "images_per_second")), percent(number(row, "share_of_matrix_product"))),
                shown(number(row, "compile_seconds")),
            ]
        )
    return listed(f"Steps on {device}", head, body)


def span(ends: Mapping[str, Any]) -> str:
    """Return a range: "41 to 62"."""
    low, high = number(ends, "low"), number(ends, "high")
    return NONE if low is None or high is None else f"{low:,.0f} to {high:,.0f}"


def rate(what: str, value: Any) -> str:
    """Return a figure; one per second with a prefix: "51 TFLOP/s", "22 GB/s"."""
    exact = number(value)
    unit = next(
        (unit for key, unit in (("flops_per_second", "FLOP/s"), ("bytes_per_second", "B/s")) if key in what), ""
    )
    if exact is None or not unit:
        return shown(value)
    power = next((power for power in (12, 9, 6, 3) if abs(exact) >= 10**power), 0)
    return f"{exact / 10**power:.3g} {' kMGT'[power // 3].strip()}{unit}"


def thousandfold(value: float | None) -> str:
    return NONE if value is None else shown(1000 * value)


def soak(details: Mapping[str, Any], name: str) -> Parts:
    """The devices with their repetitions, differences and temperatures; and each difference that was kept."""
    parts: list[Html] = []
    asked, spent = number(details, "seconds_asked"), number(details, "seconds")
    if spent is not None:
        of = "" if asked is None else f" of {duration(asked)}"
        early = ", interrupted" if inside(details, "interrupted") else ""
        parts.append(paragraph(f"Trained again and again for {duration(spent)}{of}{early}.", class_="note"))
    devices = rows(details, "devices")
    body = [
        [
            *texts(row, "name", "device", "repetitions", "steps", "differences", "operation_tests", "wrong_operations"),
            *(span(mapping(row, key)) for key in ("temperature_c", "clock_mhz")),
            percent(number(row, "training_share")),
        ]
        for row in devices
    ]
    if body:
        head = ["device", "kind", "repetitions", "steps", "differences", "tests of operations", "wrong ones"]
        parts.append(listed("Devices", [*head, "temperature, °C", "clock, MHz", "time in training"], body))
    for row in devices:
        for what in [*sequence(row, "ends"), *filter(None, [row.get("given_up")])]:
            parts.append(paragraph(f"{shown(row.get('name'))}: {shown(what)}", class_="remark"))
    parts += [paragraph(shown(each), class_="remark") for each in sequence(details, "disagreements")]
    for index, row in enumerate(rows(details, "differences"), 1):
        facts: dict[str, object] = {key: shown(value) for key, value in row.items() if key != "difference"}
        lists = definitions({key.replace("_", " "): value for key, value in facts.items()})
        below = [first_difference(mapping(row, "difference"))] if mapping(row, "difference") else []
        parts.append(folded(f"Difference {index}: {words(row, 'told')}", lists, *below))
    if devices:
        parts.append(folded("All of each device", anything(devices, "devices", 1)))
    used = {"seconds_asked", "seconds", "interrupted", "devices", "difference_count", "differences", "disagreements"}
    return parts, used


def unknown(details: Mapping[str, Any], name: str) -> Parts:
    return [], set()


SECTIONS: Mapping[str, Callable[[Mapping[str, Any], str], Parts]] = {
    "machine": machine,
    "operations": operations,
    "parity": quantities,
    "parity_cpu": quantities,
    "replicas": quantities,
    "determinism": repeats,
    "resume": repeats,
    "training": gate,
    "mnist": gate,
    "exports": exports,
    "throughput": throughput,
    "soak": soak,
}


# Parts of sections


def mark(passed: Any) -> Html:
    """Return a cell for whether something passed."""
    if not isinstance(passed, bool):
        return tag("td", NONE)
    return tag("td", "✓ passed" if passed else "✗ failed", class_="status passed" if passed else "status refuted")


def texts(row: Mapping[str, Any], *keys: str) -> list[str]:
    return [shown(row.get(key)) for key in keys]


def items(values: Mapping[str, Any]) -> list[list[Any]]:
    return [[key, shown(value)] for key, value in values.items()]


def listed(caption: str, head: list[Any], body: list[list[Any]]) -> Html:
    """Return a table in a box that scrolls, with at most `MOST` rows."""
    more = len(body) - MOST
    caption += f" ({more:,} more rows are in verify.json)" if more > 0 else ""
    cells = [[row[0], *(map(cell, row[1:]))] for row in body[:MOST]]
    return scrolling(caption, table(caption, head, cells, class_="found"))


def cell(value: Any) -> Any:
    """Return a cell; a number or a few words stay on one line."""
    brief = isinstance(value, str) and not isinstance(value, Html) and len(value) <= BRIEF
    return tag("td", value, class_="brief") if brief else value


def folded(summary: str, *children: Html) -> Html:
    return tag("details", tag("summary", summary), *children)


def preformatted(label: str, text: str) -> Html:
    lines = tag("code", tag("span", text))
    return tag("pre", lines, tabindex="0", role="region", aria_label=label)


def join_under(title: str, *children: Html) -> Html:
    return tag("div", tag("h3", title), *children, class_="part-of")


def anything(value: Any, name: str, depth: int = 0) -> Html:
    """Return any JSON value: rows as a table, facts as a list, parts under headings."""
    found = rows(value)
    columns = list(dict.fromkeys(key for row in found for key in row))[:20]
    if columns and len(found) == len(value):
        body = [[shown(row.get(column)) for column in columns] for row in found]
        return listed(f"{name}, {several(len(found), 'row')}", columns, body)
    if not isinstance(value, Mapping):
        return paragraph(shown(value), class_="break")
    if depth == DEEPEST:
        return definitions({str(key): shown(each) for key, each in value.items()})
    parts = {str(key): each for key, each in value.items() if each and (isinstance(each, Mapping) or rows(each))}
    facts: dict[str, object] = {
        str(key).replace("_", " "): shown(each) for key, each in value.items() if str(key) not in parts
    }
    below = [join_under(key.replace("_", " "), anything(each, key, depth + 1)) for key, each in parts.items()]
    return tag("div", definitions(facts) if facts else None, *below)
