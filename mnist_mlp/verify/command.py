"""Does this machine train correctly? Run every check of the house, one after the other, and give one verdict.

Stages: machine and packages, single operations, parity with NumPy in float64 (and with the CPU), determinism, exact
resume, training judged by the gate, exports, replicas, throughput; with --soak then the same training again and again
on every device, compared bit by bit. A failed stage hides no other; what it makes pointless is skipped by name.
Exit code: 0 all that could run passed, 4 something was refuted, 2 something must be mended first.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_mlp import __version__
from mnist_mlp.cli import flags
from mnist_mlp.cli.terminal import SILENT, Reporter, Terminal
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.files import outputs
from mnist_mlp.options import check, option, option_of
from mnist_mlp.verify import findings, stages, table
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding
from mnist_mlp.verify.processes import run_stages


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program: those of `train` that choose the device, and a few more."""

    quick: bool = option(False, "the shortest verification: fewer steps, sizes and formats, without MNIST")
    full: bool = option(False, "the longest one: more steps, epochs and formats")
    soak: str = option("", "then train again and again for this long, such as 30s, 10m or 8h, and compare every bit")
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    replicas: int | None = option_of(Config, "replicas")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")
    data_dir: str = option_of(Config, "data_dir")
    seed: int = option_of(Config, "seed")
    output: str = option("", "directory for verify.json and verify.html (default: nothing is written)")
    junit: str = option("", "file for the stages as JUnit XML")
    compare: tuple[str, ...] = option(
        (), "compare two files verify.json instead: what differs beyond noise", kind=tuple
    )
    json: bool = option(False, "print verify.json; the table goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        if self.quick and self.full:
            raise UserError("--quick and --full: expected one of them, received both; omit one")
        soak_seconds(self.soak)

    @property
    def tier(self) -> str:
        return "quick" if self.quick else "full" if self.full else "usual"

    @property
    def device(self) -> dict[str, Any]:
        """The options that choose the device, by name."""
        return {name: getattr(self, name) for name in ("strategy", "backend", "replicas", "tpu", "start_timeout")}


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="verify", about=__doc__ or "")
    with Terminal(sys.stderr if options.json else sys.stdout) as reporter:
        report = verify(options, reporter=reporter)
    if options.json:
        print(json.dumps(report, allow_nan=False))
    if report["verdict"] == findings.REFUTED:
        raise Refuted(f"✗ refuted: {', '.join(names(report, findings.REFUTED))}")
    if report["verdict"] == findings.ERROR:
        raise UserError(f"could not be verified: {', '.join(names(report, findings.ERROR))}; see the reasons above")


def names(report: dict[str, Any], status: str) -> list[str]:
    return [stage["name"] for stage in report["stages"] if stage["status"] == status]


def verify(options: Options, *, reporter: Reporter = SILENT) -> dict[str, Any]:
    """Run the stages; return the content of verify.json, and write what the options ask for. Raise `UserError`."""
    check_outputs(options)
    began, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory(prefix="mnist_mlp-verify-") as work:
        context = Context(options.tier, options.seed, options.device, options.data_dir, Path(work))
        reporter.line(table.head(options))
        for stage, finding, seconds in run_stages(stages.of_tier(options.tier), context, reporter):
            rows.append(row_of(stage, finding, seconds))
            reporter.line(table.row(rows[-1]))
    report = {
        "format": 1,
        "verdict": findings.verdict([row["status"] for row in rows]),
        "tier": options.tier,
        "seed": options.seed,
        "device": options.device,
        "version": __version__,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "stages": rows,
        "seconds": time.perf_counter() - began,
    }
    reporter.line(table.closing(report))
    return report


def row_of(stage: stages.Stage, finding: Finding, seconds: float) -> dict[str, Any]:
    """Return a stage's entry in verify.json."""
    return {"name": stage.name, "proves": stage.proves, "seconds": seconds, **dataclasses.asdict(finding)}


def check_outputs(options: Options) -> None:
    """Raise `UserError` if something that the options ask for could not be written."""
    if options.output:
        outputs.directory_to_write("output", Path(options.output).expanduser())
    if options.junit:
        outputs.file_to_write("junit", options.junit)


def soak_seconds(text: str) -> float:
    """Return the seconds that a time such as 30s, 10m or 8h means; 0 for "". Raise `UserError`."""
    if not text:
        return 0.0
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = text[:-1], text[-1]
    try:
        seconds = float(number) * units[unit]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 < seconds <= 30 * 24 * 3600:
        raise UserError(f"--soak: expected a time such as 30s, 10m or 8h, at most 720h; received {text!r}")
    return seconds
