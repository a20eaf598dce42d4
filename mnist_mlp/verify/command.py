"""Does this machine train correctly? Run every check of this package, one after the other, and give one verdict.

Stages: machine and packages, single operations, parity with NumPy in float64 (and with the CPU), determinism, exact
resume, training judged by the gate, exports, replicas, throughput; with --soak then the same training again and again
on every device, compared bit by bit. A failed stage hides no other; what it makes pointless is skipped by name.
Exit code: 0 all that could run passed, 4 something was refuted, 2 something must be mended first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp import __version__
from mnist_mlp.cli import flags
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.cli.terminal import SILENT, Reporter, Terminal
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import check, option, option_of
from mnist_mlp.verify import findings, junit, page, stages, table
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding
from mnist_mlp.verify.processes import run_stages
from mnist_mlp.verify.stages import Stage


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
        if self.compare and (others := self.beside_compare()):
            raise UserError(f"--compare verifies nothing, but reads two files; omit --{', --'.join(others)}")

    def beside_compare(self) -> list[str]:
        """The flags that --compare would ignore."""
        fields = [field for field in dataclasses.fields(self) if field.name not in ("compare", "json")]
        return [field.name for field in fields if getattr(self, field.name) != field.default]

    @property
    def tier(self) -> str:
        return "quick" if self.quick else "full" if self.full else "usual"

    @property
    def device(self) -> dict[str, Any]:
        """The options that choose the device, by name."""
        return {name: getattr(self, name) for name in ("strategy", "backend", "replicas", "tpu", "start_timeout")}


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="verify", about=__doc__ or "")
    if options.compare:
        compare_files(options)
        return
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
    files = files_to_write(options)
    stopwatch, rows = Stopwatch(), []
    with tempfile.TemporaryDirectory(prefix="mnist_mlp-verify-") as work:
        context = Context(options.tier, options.seed, options.device, options.data_dir, Path(work))
        reporter.line(table.head())
        # Closed by us: an exception here, such as of a closed pipe, would keep the generator and its processes alive.
        with contextlib.closing(findings_of(options, context, reporter)) as found:
            for stage, finding, seconds in found:
                row = {"name": stage.name, "proves": stage.proves, "seconds": seconds, **dataclasses.asdict(finding)}
                rows.append(row)
                reporter.line(table.row(row))
    report = {
        "format": 1,
        "verdict": findings.verdict([row["status"] for row in rows]),
        "tier": options.tier,
        "seed": options.seed,
        "device": options.device,
        "version": __version__,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "stages": rows,
        "seconds": stopwatch.measured()["seconds"]["total"],
    }
    reporter.line(table.closing(report))
    write(report, files, reporter)
    return report


def findings_of(options: Options, context: Context, reporter: Reporter) -> Generator[tuple[Stage, Finding, float]]:
    """Yield each stage with its finding and its seconds: those of the tier, then the soak."""
    machine = ""
    with contextlib.closing(run_stages(stages.of_tier(options.tier), context, reporter)) as found:
        for stage, finding, seconds in found:
            yield stage, finding, seconds
            if stage.name == "machine":
                machine = finding.status
    if options.soak:
        began = time.perf_counter()
        if machine == findings.PASSED:
            from mnist_mlp.verify.soak.run import soak

            finding = soak(context, soak_seconds(options.soak), reporter)
        else:
            finding = Finding.skipped(f"{stages.NO_FRAMEWORK['machine']} (stage machine)")
        yield stages.SOAK, finding, time.perf_counter() - began


def files_to_write(options: Options) -> dict[str, Path]:
    """Return the files that the options ask for, by kind. Raise `UserError` if one could not be written."""
    found = outputs.files_to_write("output", options.output, ("verify.json", "verify.html"))
    files = {file.suffix[1:]: file for file in found.values()}
    directory = files["json"].parent if files else None
    if options.junit:
        junit_file = outputs.file_to_write("junit", options.junit, will_exist=directory)
        for file in files.values():
            outputs.check_distinct({"output": file, "junit": junit_file})
        files["junit"] = junit_file
    return files


def write(report: dict[str, Any], files: dict[str, Path], reporter: Reporter) -> None:
    """Write the report in each of its forms; then raise `UserError` for the first of them that could not be written."""
    written, problems = [], []
    created = {file.parent for file in files.values() if not file.parent.exists()}
    for kind, file in files.items():
        try:
            outputs.make_directory(file.parent)
            if kind == "json":
                atomic.write_json(file, report)
            else:
                atomic.write_text(file, page.render(report) if kind == "html" else junit.render(report))
            written.append(str(file))
        except UserError as error:
            problems.append(error)
    for directory in created:
        with contextlib.suppress(OSError):  # it holds what was written
            directory.rmdir()
    if written:
        reporter.line(f"         {', '.join(written)}")
    if problems:
        raise problems[0]


def compare_files(options: Options) -> None:
    """Print what differs between two files verify.json. Raise `UserError` if they cannot be read, `Refuted` if one
    refutes what the other passed."""
    from mnist_mlp.verify import compare

    if len(options.compare) != 2:
        raise UserError(f"--compare: expected two files verify.json, received {len(options.compare)}")
    one, other = (compare.read(path) for path in options.compare)
    found = compare.compare(one, other)
    print(json.dumps(found, allow_nan=False) if options.json else compare.text(found, *options.compare), flush=True)
    if found["verdict"] == findings.REFUTED:
        raise Refuted(found["summary"])


def soak_seconds(text: str) -> float:
    """Return the seconds that a time such as 30s, 10m or 8h means; 0 for "". Raise `UserError`."""
    if not text:
        return 0.0
    units = {"s": 1, "m": 60, "h": 3600}
    found = re.fullmatch(r"(\d+|\d*\.\d+)([smh])", text, re.ASCII)
    seconds = float(found[1]) * units[found[2]] if found else 0.0
    if not 0 < seconds <= 30 * 24 * 3600:
        raise UserError(f"--soak: expected a time such as 30s, 10m or 8h, at most 720h; received {text!r}")
    return seconds
