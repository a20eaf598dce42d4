"""The report that parity prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnist_mlp.parity.comparison import Comparison, Difference
from mnist_mlp.parity.operations import OperationTest
from mnist_mlp.text import remarks

if TYPE_CHECKING:
    from mnist_mlp.data import Dataset
    from mnist_mlp.engine.base import Engine

MARKS = {True: "✓", False: "✗"}


def opening(options: Any, engine: Engine, dataset: Dataset, against: str) -> str:
    """Return what is compared, where, and with what."""
    devices = engine.devices
    xla = "on" if engine.xla else "off"
    replicas = f"{devices.replicas} replica{'s' if devices.replicas > 1 else ''}"
    return "\n".join(
        [
            f"parity   {options.model} on {dataset.name}, {options.steps} steps of {options.batch_size}, Adam, seed "
            f"{options.seed}, {options.precision}",
            *remarks(list(dataset.notes)),
            f"device   {devices.name}, {replicas}, XLA {xla}, {engine.backend}",
            *remarks(list(devices.notes)),
            f"against  {against}",
        ]
    )


def operations(tests: Sequence[OperationTest]) -> str:
    """Return a line for each operation."""
    width = max((len(test.name) for test in tests), default=0)
    return "\n".join(["", *(f"{MARKS[test.passed]} {test.name:<{width}}  {test.found}" for test in tests)])


def quantities(comparisons: Sequence[Comparison]) -> str:
    """Return the table of quantities. Steps are counted from 1."""
    rows = [
        f"  {'':34}{'largest relative':>17}{'share of':>10}{'':>6}",
        f"  {'quantity':34}{'difference':>17}{'its bound':>10}{'step':>6}  element",
    ]
    for comparison in comparisons:
        for each in comparison.worst.values():
            step = "" if each.step is None else str(each.step + 1)
            mark = "✓" if each.agrees else "✗"
            element = ", ".join(map(str, each.element))
            relative = comparison.relative[each.quantity]
            rows.append(f"{mark} {each.quantity:34}{relative:17.1e}{each.share:10.2g}{step:>6}  {element}")
    return "\n".join(["", *(row.rstrip() for row in rows)])


def located(each: Difference) -> str:
    """Return a sentence about a difference that is too large."""
    where = "" if each.step is None else f" at step {each.step + 1}"
    element = f"[{', '.join(map(str, each.element))}]" if each.element else ""
    return (
        f"first difference{where}: {each.quantity}{element}, expected {each.expected:.7g} within {each.bound:.1g}, "
        f"received {each.received:.7g}"
    )


def closing(certificate: Mapping[str, Any], file: str) -> str:
    """Return the verdict."""
    steps, seconds = certificate["problem"]["steps"], certificate["seconds"]["total"]
    tests, rows = certificate["probes"], certificate["quantities"]
    if certificate["verdict"] == "agrees":
        largest = max(row["share"] for row in rows)
        verdict = (
            f"agrees: {len(tests)} operations and {len(rows)} quantities of {steps} steps, each number within "
            f"its bound (at most {largest:.2g} of it)"
        )
    else:
        verdict = f"diverges: {certificate['told']}"
    return f"\nverdict  {verdict}\n         {file}, {seconds:.1f} s"
