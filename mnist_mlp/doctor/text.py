"""The report that `doctor` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


def report(diagnosis: Mapping[str, Any]) -> str:
    """Return the findings of `diagnose` as text for the console."""
    here, asked = diagnosis["machine"], diagnosis["asked"]
    installed = diagnosis["software"]["installed"]
    packages = (
        ", ".join(f"{name} {version}" for name, version in installed.items()) or "none of the packages that a run needs"
    )
    missing = ", ".join(diagnosis["software"]["missing"])
    strategies, notes = [], []
    for name, plan in diagnosis["strategies"].items():
        refusal = plan.get("refusal", "").removeprefix(f"--strategy={name}: ")
        strategies.append(f"{name:<12} {'✓' if plan['accepted'] else '✗'} {refusal or location(plan, here)}")
        notes += [note for note in plan.get("notes", []) if note not in notes]
    failed = any(answer["error"] for answer in diagnosis["probes"].values())
    more = "; --json shows the end of the framework's output" if failed else ""
    verdict = f"would not run: {asked['refusal'].removeprefix('--strategy=' + asked['strategy'] + ': ')}"
    if diagnosis["works"]:
        verdict = f"would run on {location(diagnosis['strategies'][asked['strategy']], here)}"
    lines = [
        *block("machine", attached(here)),
        *block("software", [f"python {diagnosis['software']['python']}, {packages}"]),
        *(block("  !", [f"not installed, but needed by a run: {missing}"]) if missing else ()),
        *block("strategy", strategies, hang=15),
        *(line for note in notes for line in block("  !", [note])),
        *block("probes", checks(diagnosis), hang=15),
        *block("problems", ["known:" if diagnosis["problems"] else f"none known{more}"]),
        *(line for row in diagnosis["problems"] for line in problem_lines(row)),
        *block("verdict", [f"{asked['command']} {verdict}"]),
    ]
    return "\n".join(lines)


def attached(here: Mapping[str, Any]) -> list[str]:
    """Return the devices and the environment variables that change a run."""
    chips, gpus = here["tpu_chips"], here["gpus"]
    tpu = f"TPU {here['tpu_kind']}, {chips} chip{'s' if chips > 1 else ''}" if chips else "no TPU"
    gpu = f"{gpus} NVIDIA GPU{'s' if gpus > 1 else ''}" if gpus else "no NVIDIA GPU"
    rows = [here["processor"], f"{gpu}, {tpu}" + (f", on {here['host'].capitalize()}" if here["host"] else "")]
    if here["tpu_holder"]:
        rows.append(f"process {here['tpu_holder']} is using the TPU")
    ignored = [f"{name}={value[:300]} is ignored" for name, value in here["ignored"].items()]
    return rows + [f"{name}={value[:300]}" for name, value in here["environment"].items()] + ignored


def location(plan: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Return where an accepted plan runs: "4 GPUs, tensorflow, 4 replicas"."""
    count, kind = plan["replicas"], plan["device"]
    replicas = f"{count} replica{'' if count == 1 else 's'}" if count else "a replica on each"
    where = {"cpu": "the CPU", "gpu": f"{count or 'all'} GPU{'' if count == 1 else 's'}"}.get(kind, "")
    if kind == "tpu":
        remote = plan["tpu"] not in ("", "local")
        where = f"the TPU {plan['tpu']}, which was not tried" if remote else f"the cores of the TPU {here['tpu_kind']}"
    if plan["workers"]:
        where += f", worker {plan['worker_index']} of {len(plan['workers'])}"
    return f"{where}, {plan['backend']}, {replicas}{'' if plan['xla'] else ', without XLA'}"


def checks(diagnosis: Mapping[str, Any]) -> list[str]:
    """Return what the frameworks answered."""
    rows = []
    for name, answer in diagnosis["probes"].items():
        if answer["error"]:
            rows.append(f"{name:<12} ✗ {answer['error'].removeprefix(name + ' ')}")
            continue
        spent = " + ".join(f"{stage} {value:.2f}" for stage, value in answer["seconds"].items())
        packages = ", ".join(f"{package} {version}" for package, version in answer["versions"].items())
        rows.append(f"{name:<12} ✓ {', '.join(answer['devices'])}; a matrix product is correct; seconds: {spent}")
        rows.append(f"{'':<12}   {packages}")
    return rows or ["none: --noprobe" if not diagnosis["asked"]["probe"] else "none: no framework can be tried"]


def problem_lines(row: Mapping[str, Any]) -> list[str]:
    """Return a known failure as text: what it is, what it means, what to do."""
    where = {"": f" ({row['group']})", "installed": ", from the installed packages"}.get(
        row["where"], f", in the output of {row['where']}"
    )
    rows = [f"means   {row['meaning']}", f"do      {row['fix']}", f"source  {row['source']}"]
    label = {"error": "  !", "warning": "warning"}.get(row["level"], "harmless")
    return [*block(label, [f"{row['name']}{where}"]), *block("", rows, hang=8)]


def similar_lines(row: Mapping[str, Any]) -> list[str]:
    """Return a known failure that is perhaps the one asked for, in short."""
    rows = [f"would mean  {row['meaning']}", f"and to do   {row['fix']}"]
    return [*block("  ?", [f"{row['name']} ({row['group']})"]), *block("", rows, hang=12)]


def block(label: str, rows: Sequence[str], hang: int = 0) -> list[str]:
    """Return rows below each other, wrapped, with the label before the first."""
    lines: list[str] = []
    for index, row in enumerate(rows):
        first, rest = f"{'' if index else label:<9}", " " * (9 + hang)
        wrapper = textwrap.TextWrapper(110, first, rest, break_long_words=False, break_on_hyphens=False)
        lines += wrapper.wrap(row)
    return lines


def printable(text: str) -> str:
    """Return a text with control characters, which would steer the terminal, as escapes."""
    shown = (c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)
