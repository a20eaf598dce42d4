"""Draws the page of a finished run, report.html, once more; or holds several runs against each other.

Of one run directory it writes report.html there, as train does at its end. Of several it prints their results side by
side, tests each pair on the test images that they share (McNemar), and writes a page with all of it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.config import DATA, ONE_PROCESS, Config
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.devices import Plan
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.runs import checkpoint, directory, saved
from mnist_mlp.runs.result import Result

if TYPE_CHECKING:
    from mnist_mlp.report.content import Material

Run = tuple[Path, Config, Result]


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    runs: tuple[str, ...] = option(
        (), "directories of finished runs: of one the page, of several a comparison", positional=True
    )
    output: str = option(
        "",
        "file to write, replaced if it is there; not given: the run's report.html, or for several comparison.html here",
    )
    data_dir: str = option_of(Config, "data_dir")
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")

    def __post_init__(self) -> None:
        check(self)
        if not self.runs:
            raise UserError("expected the directory of a run, or several; type python -m mnist_mlp.report DIR")


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="report", about=__doc__ or "")
    report(options)


def report(options: Options, *, say: Callable[[str], None] = print) -> Path:
    """Writes the page that the options ask for, and says what is in it; the file. Raises `UserError`."""
    plan = devices.plan(options)
    found = [saved.read_run(run, run) for run in options.runs]
    paths = [path.resolve() for path, _, _ in found]
    twice = [str(path) for path in paths if paths.count(path) > 1]
    if twice:
        raise UserError(f"expected different runs, received {twice[0]} more than once; name each once")
    output = place_of(options, paths)
    load(plan)
    from mnist_mlp.report import compare_runs, comparison_page, comparison_text, run_page

    seen: dict[Config, data.Dataset] = {}
    read = [
        material_of(run, name, plan, options, seen) for run, name in zip(found, names_of(options.runs), strict=True)
    ]
    if len(read) == 1:
        atomic.write_text(output, run_page.render(read[0][0]))
        missing = [f"  !      {read[0][0].why_not}"] if read[0][0].why_not else []
        say("\n".join([*missing, f"report   {output}"]))
        return output
    comparison = compare_runs.compare([run for run, _ in read], [test for _, test in read])
    say(comparison_text.table(comparison))
    atomic.write_text(output, comparison_page.render(comparison))
    say(f"\nreport   {output}")
    return output


def place_of(options: Options, runs: Sequence[Path]) -> Path:
    """Where to write. Raises `UserError` for a place that cannot be, or that is another file of a run."""
    if not options.output:
        return path_of("runs", options.runs[0]) / "report.html" if len(runs) == 1 else Path("comparison.html")
    path = outputs.file_to_write("output", options.output)
    page = {run / "report.html" for run in runs} if len(runs) == 1 else set()
    if path.resolve() not in page and any(directory.owns(run, path) for run in runs):
        raise outputs.belongs_to_run("output", options.output)
    return path


def names_of(runs: Sequence[str]) -> list[str]:
    """What the runs are called: the ends of their paths, as short as tells them apart."""
    parts = [Path(os.path.abspath(path_of("runs", run))).parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names


def material_of(
    run: Run, name: str, plan: Plan, options: Options, known: dict[Config, data.Dataset]
) -> tuple[Material, str]:
    """What the page of a run is made of, and the hash of its test images in their order ("" where there are none).

    Without its images a run still has a page, with a sentence where they would be. `known`: data read already.
    """
    from mnist_mlp.report.content import Material, predict_test, weights_of
    from mnist_mlp.runs.saved import start_finished

    path, config, trained = run
    dataset, why_not = None, ""
    try:
        wanted = saved.data_of_run(config, trained, options.data_dir)
        wanted = dataclasses.replace(Config(), **{key: getattr(wanted, key) for key in DATA})
        dataset = known[wanted] = known.get(wanted) or data.load(wanted)
    except UserError as error:
        if options.data_dir:  # what was asked for is met or refused
            raise
        why_not = f"Not shown: the images of the run are not to be had ({error})."
    its_hash = in_order_hash(dataset.test) if dataset else ""
    if dataset and (len(dataset.test) != trained.dataset["test_examples"] or other_images(path, its_hash)):
        dataset, its_hash = None, ""
        why_not = "Not shown: the test images found now are not those that the run was scored on."
    engine = start_finished(plan, path, trained, {}, trained.batch_size, start_timeout=options.start_timeout)
    seen = predict_test(engine, dataset.test) if dataset else None
    return Material(name, config, trained.to_dict(), weights_of(engine), seen, why_not), its_hash


def other_images(path: Path, its_hash: str) -> bool:
    """Whether the run's newest checkpoint says that its test images were others, or in another order."""
    found, _, _ = checkpoint.newest(path)
    return found is not None and found.data.get("test images") not in (None, its_hash)
