"""What is compared of each stage. What noise is, `compare.py` tells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from mnist_mlp.verify.comparison import (
    ABSENT,
    MAGNITUDE,
    Comparison,
    Noise,
    Values,
    below_a_magnitude,
    is_near,
    pairs,
    within,
    within_share,
)
from mnist_mlp.verify.reading import inside, mapping, number

BITS = math.log2(MAGNITUDE)
DEVIATIONS = 4.0
SPEED, UNKNOWN_SPREAD, SIZE = 0.1, 0.5, 0.01  # relative
DEGREES = 10.0
SHARE_FLOOR = 1e-3  # of a bound
PROBABILITY_FLOOR = 1e-8
FLOORS = {  # of the errors that operations have; what is smaller is as good as this
    **{"ulps": 0.1, "exp": 0.1, "log": 0.1},
    **{"share_of_allowed": 1e-3, "relative_error": 1e-8},
}
NO_NOISE = Noise(lambda one, other: False, "none: same seed, software and device")


@dataclasses.dataclass(frozen=True)
class Pair:
    """A stage of both reports. `repeatable`: the same program on the same kind of device, deterministic on both."""

    name: str
    one: Mapping[str, Any]
    other: Mapping[str, Any]
    repeatable: bool

    @property
    def details(self) -> Values:
        return mapping(self.one, "details"), mapping(self.other, "details")


def of_both(values: Values, *path: str) -> Values:
    return inside(values[0], *path), inside(values[1], *path)


def outcome_of(row: Mapping[str, Any], key: str) -> str:
    return ABSENT if not row else "passed" if row.get(key) is True else "failed"


def operations(found: Comparison, stage: Pair) -> None:
    for test, both in pairs(stage.details, ("operations",), "name").items():
        found.fact(stage.name, test, (outcome_of(both[0], "passed"), outcome_of(both[1], "passed")))
        if not all(both):
            continue
        found.fact(stage.name, f"{test}, expected", of_both(both, "expected"))
        for what in mapping(both[0], "figures"):
            values = of_both(both, "figures", what)
            if what == "bits" or what.startswith("["):
                found.figure(stage.name, f"{test}: {what}", values, within(BITS, f"±{BITS:.1f} bits"), "correct bits")
            elif what in FLOORS:
                found.figure(stage.name, f"{test}: {what}", values, below_a_magnitude(FLOORS[what]))


def quantities(found: Comparison, stage: Pair) -> None:
    found.facts(stage.name, *(mapping(each, "about") for each in stage.details))
    for quantity, both in pairs(stage.details, ("quantities",), "quantity").items():
        share = f"share of the bound, {quantity}"
        found.figure(stage.name, share, of_both(both, "share"), below_a_magnitude(SHARE_FLOOR))


def repeats(found: Comparison, stage: Pair) -> None:
    for key in ("resumed_at", "difference"):
        found.fact(stage.name, key.replace("_", " "), of_both(stage.details, key))


def training(found: Comparison, stage: Pair) -> None:
    found.fact(stage.name, "test images", of_both(stage.details, "test", "total"))
    observed(found, stage, "correct images", of_both(stage.details, "gate", "right"))
    for epoch, both in pairs(stage.details, ("gate", "losses"), "epoch").items():
        observed(found, stage, f"loss of epoch {epoch}", both)


def observed(found: Comparison, stage: Pair, what: str, both: Values) -> None:
    """Compare what was observed of two runs: by the spread of correct ones, unless they are to be equal."""
    deviation = max(number(each, "sd") or 0.0 for each in both)
    allowed = DEVIATIONS * math.sqrt(2) * deviation
    spread = within(allowed, f"±{allowed:.3g}, {DEVIATIONS:g} sd of two correct runs")
    found.figure(stage.name, what, of_both(both, "observed"), NO_NOISE if stage.repeatable else spread)


def exports(found: Comparison, stage: Pair) -> None:
    for kind, both in pairs(stage.details, ("formats",), "format").items():
        found.fact(stage.name, kind, (outcome_of(both[0], "agrees"), outcome_of(both[1], "agrees")))
        if not all(both):
            continue
        for key in ("runtime", "agreements", "total"):
            found.fact(stage.name, f"{kind}, {key}", of_both(both, key))
        found.figure(stage.name, f"{kind}, size", of_both(both, "bytes"), within_share(SIZE), "bytes")
        largest = of_both(both, "largest_difference")
        found.figure(stage.name, f"{kind}, largest difference", largest, below_a_magnitude(PROBABILITY_FLOOR))
        for batch in mapping(both[0], "milliseconds"):
            times = of_both(both, "milliseconds", batch)
            found.figure(stage.name, f"{kind}, image of {batch}", times, within_share(UNKNOWN_SPREAD), "ms")


def throughput(found: Comparison, stage: Pair) -> None:
    for where, both in {"": stage.details, "CPU beside it, ": of_both(stage.details, "cpu_beside")}.items():
        found.fact(stage.name, f"{where}device", of_both(both, "device"))
        if not all(both):
            continue
        for size, batches in pairs(both, ("batches",), "batch_size").items():
            step_time(found, stage.name, f"{where}step at batch size {size}", batches)
        rates = billions(both, "matrix_product", "flops_per_second")
        found.figure(stage.name, f"{where}matrix product", rates, within_share(SPEED), "GFLOP/s")
        rates = billions(both, "copy_to_device", "bytes_per_second")
        found.figure(stage.name, f"{where}copy to the device", rates, within_share(UNKNOWN_SPREAD), "GB/s")


def billions(both: Values, *path: str) -> Values:
    one, other = (None if value is None else value / 1e9 for value in (number(each, *path) for each in both))
    return one, other


def step_time(found: Comparison, name: str, what: str, both: Values) -> None:
    """Compare the medians of two sets of calls, each known from its fastest to its slowest."""
    least, most = ([number(row, f"step_seconds_{end}") for row in both] for end in ("min", "max"))
    fastest, slowest = [value for value in least if value is not None], [value for value in most if value is not None]
    overlap = len(fastest) == len(slowest) == 2 and max(fastest) <= min(slowest)
    noise = Noise(
        lambda one, other: overlap or is_near(one, other, SPEED), f"±{SPEED:.0%}, or as far as the calls spread"
    )
    medians = [number(row, "step_seconds") for row in both]
    one, other = (None if value is None else 1000 * value for value in medians)
    found.figure(name, what, (one, other), noise, "ms")


def soak(found: Comparison, stage: Pair) -> None:
    for device, both in pairs(stage.details, ("devices",), "name").items():
        for key in ("device", "differences", "wrong_operations"):
            found.fact(stage.name, f"{device}, {key.replace('_', ' ')}", of_both(both, key))
        hottest = of_both(both, "temperature_c", "high")
        found.figure(stage.name, f"{device}, hottest", hottest, within(DEGREES, f"±{DEGREES:g} °C"), "°C")
        found.figure(
            stage.name, f"{device}, lowest clock", of_both(both, "clock_mhz", "low"), within_share(SPEED), "MHz"
        )


STAGES: Mapping[str, Callable[[Comparison, Pair], None]] = {
    "operations": operations,
    "parity": quantities,
    "parity_cpu": quantities,
    "replicas": quantities,
    "determinism": repeats,
    "resume": repeats,
    "training": training,
    "mnist": training,
    "exports": exports,
    "throughput": throughput,
    "soak": soak,
}
