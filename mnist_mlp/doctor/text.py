"""What `doctor` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


def report(found: Mapping[str, Any]) -> str:
    """What `diagnose` found, as text for the console."""
    here, asked = found["machine"], found["asked"]
    there = found["software"]["installed"]
    packages = ", ".join(f"{name} {version}" for name, version in there.items()) or "none of the packages of a run"
    missing = ", ".join(found["software"]["missing"])
    strategies, notes = [], []
    for name, plan in found["strategies"].items():
        refusal = plan.get("refusal", "").removeprefix(f"--strategy={name}: ")
        strategies.append(f"{name:<12} {'✓' if plan['accepted'] else '✗'} {refusal or place(plan, here)}")
        notes += [note for note in plan.get("notes", []) if note not in notes]
    failed = any(told["error"] for told in found["probes"].values())
    more = "; --json has the end of what the framework printed" if failed else ""
    verdict = f"would not run: {asked['refusal'].removeprefix('--strategy=' + asked['strategy'] + ': ')}"
    if found["works"]:
        verdict = f"would run on {place(found['strategies'][asked['strategy']], here)}"
    lines = [
        *block("machine", attached(here)),
        *block("software", [f"python {found['software']['python']}, {packages}"]),
        *(block("  !", [f"not installed, though a run needs it: {missing}"]) if missing else ()),
        *block("strategy", strategies, hang=15),
        *(line for note in notes for line in block("  !", [note])),
        *block("probes", asked_of(found), hang=15),
        *block("problems", ["known:" if found["problems"] else f"none known{more}"]),
        *(line for row in found["problems"] for line in problem_lines(row)),
        *block("verdict", [f"{asked['command']} {verdict}"]),
    ]
    return "\n".join(lines)


def attached(here: Mapping[str, Any]) -> list[str]:
    """The devices, and the variables of the environment that change a run."""
    chips, gpus = here["tpu_chips"], here["gpus"]
    tpu = f"TPU {here['tpu_kind']}, {chips} chip{'s' if chips > 1 else ''}" if chips else "no TPU"
    gpu = f"{gpus} NVIDIA GPU{'s' if gpus > 1 else ''}" if gpus else "no NVIDIA GPU"
    rows = [here["processor"], f"{gpu}, {tpu}" + (f", on {here['host'].capitalize()}" if here["host"] else "")]
    if here["tpu_holder"]:
        rows.append(f"process {here['tpu_holder']} holds the TPU")
    return rows + [f"{name}={value[:300]}" for name, value in here["environment"].items()]


def place(plan: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Where an accepted plan runs: "4 GPUs, tensorflow, 4 replicas"."""
    count, kind = plan["replicas"], plan["device"]
    replicas = f"{count} replica{'' if count == 1 else 's'}" if count else "a replica on each"
    where = {"cpu": "the CPU", "gpu": f"{count or 'all'} GPU{'' if count == 1 else 's'}"}.get(kind, "")
    if kind == "tpu":
        elsewhere = plan["tpu"] not in ("", "local")
        where = (
            f"the TPU {plan['tpu']}, which was not asked" if elsewhere else f"the cores of the TPU {here['tpu_kind']}"
        )
    if plan["workers"]:
        where += f", worker {plan['worker_index']} of {len(plan['workers'])}"
    return f"{where}, {plan['backend']}, {replicas}{'' if plan['xla'] else ', without XLA'}"


def asked_of(found: Mapping[str, Any]) -> list[str]:
    """What the frameworks answered."""
    rows = []
    for name, told in found["probes"].items():
        if told["error"]:
            rows.append(f"{name:<12} ✗ {told['error'].removeprefix(name + ' ')}")
            continue
        spent = " + ".join(f"{stage} {value:.2f}" for stage, value in told["seconds"].items())
        packages = ", ".join(f"{package} {version}" for package, version in told["versions"].items())
        rows.append(f"{name:<12} ✓ {', '.join(told['devices'])}; a matrix product there is right; seconds: {spent}")
        rows.append(f"{'':<12}   {packages}")
    return rows or ["none: --noprobe" if not found["asked"]["probe"] else "none: there is no framework to ask"]


def problem_lines(row: Mapping[str, Any]) -> list[str]:
    """A known failure as text: what it is, what it means, what to do."""
    where = {"": "", "installed": ", by what is installed"}.get(row["where"], f", by what {row['where']} printed")
    mark, hint = ("", " (a hint)") if row["hint"] else ("  !", "")
    rows = [f"means   {row['meaning']}", f"do      {row['fix']}", f"source  {row['source']}"]
    return [*block(mark, [f"{row['name']}{hint}{where}"]), *block("", rows, hang=8)]


def block(label: str, rows: Sequence[str], hang: int = 0) -> list[str]:
    """Rows below each other, wrapped; the label stands before the first."""
    lines: list[str] = []
    for index, row in enumerate(rows):
        first, rest = f"{'' if index else label:<9}", " " * (9 + hang)
        wrapper = textwrap.TextWrapper(110, first, rest, break_long_words=False, break_on_hyphens=False)
        lines += wrapper.wrap(row)
    return lines


def printable(text: str) -> str:
    """A text without the characters that would steer a terminal: they are shown as escapes."""
    shown = (c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)
