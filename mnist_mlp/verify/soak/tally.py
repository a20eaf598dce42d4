"""What the processes of a soak have told, summed up, and the finding that it amounts to. Nothing is started here."""

from __future__ import annotations

import collections
import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_mlp.verify.findings import ERROR, REFUTED, Finding

KEPT = 100  # differences, and ends of processes, whose details are kept; all are counted
PRINTED = 50  # differences of a device that are printed at once
Event = Mapping[str, Any]


@dataclasses.dataclass
class Range:
    """The lowest and the highest of what was measured."""

    low: float | None = None
    high: float | None = None

    def add(self, value: float | None) -> None:
        if value is not None:
            self.low = value if self.low is None else min(self.low, value)
            self.high = value if self.high is None else max(self.high, value)


@dataclasses.dataclass
class Account:
    """A device, or a process that moves over the cores of a CPU."""

    name: str  # "GPU 1"
    kind: str  # "GPU"
    device: str = ""  # "GPU: NVIDIA H200", once it has started
    starts: int = 0
    repetitions: int = 0  # of all starts
    in_start: int = 0  # of this start
    steps: int = 0
    operation_tests: int = 0
    seconds: float = 0.0  # of repetitions
    alive: float = 0.0  # since the start of the first repetition of each start
    trained: float = 0.0  # seconds within calls of the training program
    compared: int = 0  # bytes
    differences: int = 0
    different: set[int] = dataclasses.field(default_factory=set)  # repetitions with a difference, the first ones
    wrong_operations: int = 0
    digests: list[str] = dataclasses.field(default_factory=list)  # of the last start
    varies: Event | None = None
    ends: list[dict[str, str]] = dataclasses.field(default_factory=list)  # of its processes, the first ones
    end_count: int = 0
    given_up: str = ""
    cores: dict[int, list[int]] = dataclasses.field(default_factory=dict)  # core: repetitions there, differences there
    temperature: Range = dataclasses.field(default_factory=Range)
    clock: Range = dataclasses.field(default_factory=Range)

    @property
    def unsteady(self) -> bool:
        """Whether its repetitions differ as often as they agree."""
        return bool(self.varies) or (
            self.repetitions > 2 and 2 * len(self.different) >= min(self.repetitions, KEPT) - 1
        )

    @property
    def training_share(self) -> float | None:
        return self.trained / self.alive if self.alive else None

    def at(self, event: Event) -> str:
        """Return the device that an event is about: "GPU 1", "CPU core 3"."""
        cores = event.get("cores") or []
        return f"CPU core{'s' * (len(cores) > 1)} {ranges(cores)}" if cores else self.name

    def as_json(self) -> dict[str, Any]:
        names = (
            *("name", "device", "starts", "repetitions", "steps", "operation_tests", "seconds", "differences"),
            *("wrong_operations", "end_count", "given_up"),
        )
        return {
            **{name: getattr(self, name) for name in names},
            "ends": [f"{end['time']} {end['told']}" for end in self.ends],
            "training_share": self.training_share,
            "bytes_compared": self.compared,
            "reference": self.digests[-1] if self.digests else "",
            "varies": self.varies,
            "cores": {
                str(core): dict(zip(("repetitions", "differences"), n, strict=True)) for core, n in self.cores.items()
            },
            "temperature_c": dataclasses.asdict(self.temperature),
            "clock_mhz": dataclasses.asdict(self.clock),
        }


@dataclasses.dataclass
class Disagreement:
    """A device that repeats itself, with other results than those beside it."""

    wrong: Account
    right: Account
    majority: int  # devices with the results of `right`
    others: int  # devices with those of `wrong`
    point: str  # the first at which they differ
    difference: str = ""  # there, once both have told

    @property
    def pair(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return tuple(self.right.digests), tuple(self.wrong.digests)

    def __str__(self) -> str:
        beside = self.right.name if self.majority == 1 else f"{self.majority} others of its kind"
        text = f"{self.wrong.name} repeats itself, but {self.point} its results are not those of {beside}"
        if self.majority <= self.others:
            text += ": one of them is wrong each time"
        return f"{text}: {self.difference}" if self.difference else text


class Tally:
    """All devices of a soak. `add` takes what a process tells, and returns lines to print."""

    def __init__(self, accounts: Sequence[Account]):
        self.accounts = list(accounts)
        self.kept: list[dict[str, Any]] = []  # differences, the first ones
        self.first = ""  # the first difference, in a line
        self.changed: list[str] = []  # devices that have other results since they were started again
        self.located: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}  # digests of two devices: what differs
        self.told: set[tuple[str, bool, str]] = set()
        self.interrupted = ""  # "interrupted" or "terminated"

    def add(self, account: Account, event: Event) -> list[str]:
        self.measure(account, event.get("sensors") or {})
        return list(getattr(self, f"on_{event['event']}")(account, event))

    def measure(self, account: Account, sensors: Mapping[str, float | None]) -> None:
        account.temperature.add(sensors.get("temperature"))
        account.clock.add(sensors.get("clock"))

    # What happens to a device: on_ and the name of the event.

    def on_start(self, account: Account, event: Event) -> list[str]:
        account.device = event["device"]
        return []

    def on_repetition(self, account: Account, event: Event) -> list[str]:
        account.repetitions += 1
        account.in_start += 1
        account.steps += event["steps"]
        account.seconds += event["seconds"]
        account.trained += event["trained"]
        account.compared += event["bytes"]
        for core in event["cores"]:
            account.cores.setdefault(core, [0, 0])[0] += 1
        return []

    def on_difference(self, account: Account, event: Event) -> list[str]:
        account.differences += 1
        if len(account.different) < KEPT and account.repetitions < KEPT:
            account.different.add(account.repetitions)
        for core in event.get("cores") or []:
            account.cores.setdefault(core, [0, 0])[1] += 1
        return self.wrong(account, event, f"{account.at(event)}: {event['told']}", account.differences)

    def on_operations(self, account: Account, event: Event) -> list[str]:
        account.operation_tests += 1
        lines = []
        for each in event["wrong"]:
            account.wrong_operations += 1
            told = f"{account.at(event)}: operation {each['name']}: expected {each['expected']}, found {each['found']}"
            lines += self.wrong(account, {**event, **each, "told": told}, told, account.wrong_operations)
        return lines

    def wrong(self, account: Account, event: Event, told: str, number: int) -> list[str]:
        """Note something that is wrong; return lines to print."""
        line = f"{told}; {event['shown']}" if event.get("shown") else told
        self.first = self.first or line
        if len(self.kept) < KEPT:
            values = {key: value for key, value in event.items() if key not in ("event", "shown", "wrong")}
            self.kept.append({"device": account.name, **values})
        if number > PRINTED:
            return []
        more = [f"  {account.name}: more of these are counted, not printed"] if number == PRINTED else []
        return [f"✗ {event.get('time', '')[11:19]}  {line}", *more]

    def on_reference(self, account: Account, event: Event) -> list[str]:
        before, account.digests = account.digests, event["digests"]
        if before and before != account.digests:
            point = point_of(before, account.digests)
            self.changed.append(f"{account.name} was started again, and {point} its results are not those of before")
            return [f"✗ {time.strftime('%H:%M:%S')}  {self.changed[-1]}"]
        return self.news()

    def news(self) -> list[str]:
        """Return lines about devices that disagree, where something has not been told."""
        lines = []
        for each in self.disagreements():
            news = (each.wrong.name, each.majority > each.others, each.difference)
            if news not in self.told:
                self.told.add(news)
                lines.append(f"✗ {time.strftime('%H:%M:%S')}  {each}")
        return lines

    def disagreements(self) -> list[Disagreement]:
        """Return the devices whose results are not those of most others of their kind."""
        found = []
        for device in dict.fromkeys(account.device for account in self.accounts):
            known = [account for account in self.accounts if account.digests and account.device == device]
            counts = collections.Counter(tuple(account.digests) for account in known)
            (right, majority), *others = counts.most_common() or [((), 0)]
            one = next((account for account in known if tuple(account.digests) == right), None)
            for digests, count in others:
                for wrong in (account for account in known if tuple(account.digests) == digests):
                    assert one is not None
                    difference = self.located.get((right, digests), "")
                    found.append(Disagreement(wrong, one, majority, count, point_of(right, digests), difference))
        return found

    def on_references(self, account: Account, event: Event) -> list[str]:
        return []

    def on_varies(self, account: Account, event: Event) -> list[str]:
        account.varies = event["difference"]
        return [f"! {time.strftime('%H:%M:%S')}  {account.name}: no two of its first repetitions are alike"]

    def end(self, account: Account, outcome: str) -> list[str]:
        """Note that a process ended; return lines to print."""
        during = f"in repetition {account.in_start + 1:,}" if account.in_start or account.device else "at its start"
        told = f"its process {outcome} {during}"
        account.end_count += 1
        if len(account.ends) < KEPT:
            account.ends.append({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "told": told})
        return [f"✗ {time.strftime('%H:%M:%S')}  {account.name}: {told}"]

    # What all of it amounts to.

    @property
    def differences(self) -> int:
        return sum(account.differences + account.wrong_operations for account in self.accounts)

    @property
    def repetitions(self) -> int:
        return sum(account.repetitions for account in self.accounts)

    @property
    def compared(self) -> int:
        return sum(account.compared for account in self.accounts)

    @property
    def ends(self) -> int:
        return sum(account.end_count for account in self.accounts)

    def devices(self) -> str:
        """Return what was soaked: "8 GPUs", "4 processes on 64 CPU cores"."""
        count, kind = len(self.accounts), self.accounts[0].kind
        if kind == "TPU":
            return self.accounts[0].device or "TPU"
        if kind == "GPU":
            return f"{count} GPU{'s' * (count > 1)}"
        cores = {core for account in self.accounts for core in account.cores}
        where = f" on {len(cores)} CPU core{'s' * (len(cores) > 1)}" if cores else " on the CPU"
        return f"{count} process{'es' * (count > 1)}{where}"

    def figure(self, seconds: float) -> str:
        parts = [
            self.devices(),
            f"{self.repetitions:,} repetitions",
            f"{in_bytes(self.compared)} compared",
            f"{self.differences:,} difference{'s' * (self.differences != 1)} in {duration(seconds)}",
        ]
        return ", ".join(parts)

    def details(self, asked: float, seconds: float) -> dict[str, Any]:
        return {
            "seconds_asked": asked,
            "seconds": seconds,
            "interrupted": self.interrupted,
            "devices": [account.as_json() for account in self.accounts],
            "difference_count": self.differences,
            "differences": self.kept,
            "disagreements": [*self.changed, *map(str, self.disagreements())],
        }

    def finding(self, asked: float, seconds: float, missing_flags: Sequence[str]) -> Finding:
        """Return what the soak found. `missing_flags` would make the platform deterministic, if it is not."""
        figure, details = self.figure(seconds), self.details(asked, seconds)
        if self.interrupted:
            figure += f", {self.interrupted} before {duration(asked)}"
        set_them = f"set {' '.join(missing_flags)} and soak again"
        on_gpus = self.accounts[0].kind == "GPU"
        varying = [account for account in self.accounts if account.varies]
        steady = [account for account in self.accounts if account.digests and not account.varies]
        ended = [f"{account.name}: {account.ends[0]['told']}" for account in self.accounts if account.ends]
        ended += [f"{account.name}: {account.given_up}" for account in self.accounts if account.given_up]
        several = f"; {self.ends:,} ends of processes in all" if self.ends > 1 else ""
        if missing_flags and on_gpus and self.differences and all(account.unsteady for account in self.accounts):
            reason = f"this platform is not deterministic: most repetitions differ; {set_them}; {self.first}"
            return Finding(ERROR, figure, reason, details)
        if self.differences:
            reason = self.first
            if self.differences > 1:
                reason += f"; {self.differences:,} differences in all"
            if missing_flags and on_gpus:
                reason += f"; to be sure that this is no choice of the compiler's, {set_them}"
            return Finding(REFUTED, figure, reason, details)
        if varying and not (steady or missing_flags) or varying and steady:
            names = ", ".join(account.name for account in varying)
            told = varying[0].varies["told"] if varying[0].varies else ""
            beside = f", while {steady[0].name} repeats itself" if steady else ""
            return Finding(REFUTED, figure, f"{names}: no two repetitions are alike{beside}: {told}", details)
        if varying:
            reason = f"this platform is not deterministic: no two of three repetitions are alike; {set_them}"
            return Finding(ERROR, figure, reason, details)
        if disagreements := details["disagreements"]:
            reason = disagreements[0]
            if missing_flags and on_gpus:  # the compiler may have timed kernels, and chosen others for each device
                reason += f"; or the compiler chose other kernels there: {set_them}"
                return Finding(ERROR, figure, reason, details)
            return Finding(REFUTED, figure, reason, details)
        if ended:
            return Finding(ERROR, figure, "; ".join(ended[:3]) + several, details)
        if not self.compared:
            why = self.interrupted or f"ended after {duration(seconds)}"
            return Finding.skipped(f"{why}, before two repetitions could be compared")
        return Finding.judged(figure, "", **details)


def point_of(right: Sequence[str], wrong: Sequence[str]) -> str:
    """Return the first point at which two lists of digests differ: of the start, of each step, of the long call."""
    index = next(i for i, (one, other) in enumerate(zip(right, wrong, strict=True)) if one != other)
    if index == 0:
        return "from the start"
    return f"from step {index} on" if index < len(right) - 1 else "after many steps in one call"


def missing_flags(backend: str, kind: str, environ: Mapping[str, str]) -> list[str]:
    """Return what to set in the environment to make a framework deterministic on a kind of device; [] if all is set,
    or if there is nothing to set."""
    found = []
    if kind == "GPU" and not re.search(r"--xla_gpu_deterministic_ops(?!=(false|0))", environ.get("XLA_FLAGS", "")):
        found.append("XLA_FLAGS=--xla_gpu_deterministic_ops=true")
    # tf.config.experimental.enable_op_determinism() sets the same as this variable.
    on = environ.get("TF_DETERMINISTIC_OPS", "").lower() in ("1", "true")
    if backend == "tensorflow" and kind != "TPU" and not on:
        found.append("TF_DETERMINISTIC_OPS=1")
    return found


def ranges(numbers: Sequence[int]) -> str:
    """Return "0–3, 8" for 0, 1, 2, 3, 8."""
    groups: list[list[int]] = []
    for number in sorted(numbers):
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(f"{group[0]}–{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)


def in_bytes(count: float) -> str:
    """Return "3.1 TB"."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.3g} {unit}"
        count /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Return "45 s", "10 m" or "8 h 30 m"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} m" if minutes_left else f"{hours} h"
    return f"{minutes} m {rest} s" if rest else f"{minutes} m"
