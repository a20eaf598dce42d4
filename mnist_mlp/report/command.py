"""Write the page of a finished run, report.html, or compare several runs.

For one run directory it writes report.html there, as train does when it ends. For several it prints a table of their
results, tests each pair on the same test images (McNemar's test), and writes a page with all of it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_mlp import data, devices
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.terminal import PRINT, Reporter
from mnist_mlp.config import DATA, ONE_PROCESS, Config
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.devices import Plan
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.runs import calibration, checkpoint, directory, saved
from mnist_mlp.runs.result import Result

if TYPE_CHECKING:
    from mnist_mlp.report.content import RunContent

Run = tuple[Path, Config, Result]


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    runs: tuple[str, ...] = option(
        (), "directories of finished runs: one for its page, several for a comparison", positional=True
    )
    output: str = option(
        "",
        "file to write; an existing one is replaced (default: the run's report.html, or comparison.html for several)",
    )
    data_dir: str = option_of(Config, "data_dir")
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")

    def __post_init__(self) -> None:
        check(self)
        if not self.runs:
            raise UserError("expected one or more run directories, received none; try python -m mnist_mlp.report DIR")


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="report", about=__doc__ or "")
    report(options)


def report(options: Options, *, reporter: Reporter = PRINT) -> Path:
    """Write the page of one run, or of a comparison, and report what is in it. Return the file. Raise `UserError`."""
    plan = devices.plan(options)
    runs = [saved.read_run(run, run) for run in options.runs]
    paths = [path.resolve() for path, _, _ in runs]
    if duplicates := [str(path) for path in paths if paths.count(path) > 1]:
        raise UserError(f"expected different runs, received {duplicates[0]} more than once; name each run once")
    output = output_file(options, paths)
    load(plan)
    from mnist_mlp.report import compare_runs, comparison_page, comparison_text, run_page

    datasets: dict[Config, data.Dataset] = {}
    contents, hashes = [], []
    for run, name in zip(runs, names_of(options.runs), strict=True):
        content, images_hash = content_of(run, name, plan, options, datasets)
        contents.append(content)
        hashes.append(images_hash)
    if len(contents) == 1:
        atomic.write_text(output, run_page.render(contents[0]))
        missing = [f"  !      {contents[0].why_not}"] if contents[0].why_not else []
        reporter.line("\n".join([*missing, f"report   {output}"]))
        return output
    comparison = compare_runs.compare(contents, hashes)
    reporter.line(comparison_text.table(comparison))
    atomic.write_text(output, comparison_page.render(comparison))
    reporter.line(f"\nreport   {output}")
    return output


def output_file(options: Options, runs: Sequence[Path]) -> Path:
    """Return where to write. Raise `UserError` for a file of a run, or a path where no file can be written."""
    if not options.output:
        default = path_of("runs", options.runs[0]) / "report.html" if len(runs) == 1 else Path("comparison.html")
        return outputs.file_to_write("output", str(default))
    path = outputs.file_to_write("output", options.output)
    page = {run / "report.html" for run in runs} if len(runs) == 1 else set()
    if path.resolve() not in page:
        directory.check_output("output", options.output, [path], *runs)
    return path


def names_of(runs: Sequence[str]) -> list[str]:
    """Return short names of the runs: the last parts of their paths, as many as are needed to tell them apart."""
    parts = [Path(os.path.abspath(path_of("runs", run))).parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names


def content_of(
    run: Run, name: str, plan: Plan, options: Options, datasets: dict[Config, data.Dataset]
) -> tuple[RunContent, str]:
    """Return the content of a run's page and the hash of its test images in order, "" if they are not available.

    Without its images the page has a sentence in their place. `datasets` holds those that were already read.
    """
    from mnist_mlp.models.neighbours import SAMPLE, training_images
    from mnist_mlp.report.content import RunContent, predict_test, weights_of
    from mnist_mlp.runs.saved import start_finished

    path, config, trained = run
    dataset, why_not = None, ""
    try:
        wanted = saved.data_of_run(config, trained, options.data_dir)
        wanted = dataclasses.replace(Config(), **{key: getattr(wanted, key) for key in DATA})
        dataset = datasets[wanted] = datasets.get(wanted) or data.load(wanted)
    except UserError as error:
        if options.data_dir:  # the user named it, so it must work
            raise
        why_not = f"Not shown: the images of the run are not available ({error})."
    images_hash = in_order_hash(dataset.test) if dataset else ""
    if dataset and (len(dataset.test) != trained.dataset["test_examples"] or images_differ(path, images_hash)):
        dataset, images_hash = None, ""
        why_not = "Not shown: the test images found now are not the ones that the run was evaluated on."
    training = None
    if dataset and not saved.trained_on_others(path, trained, dataset.train):
        training = training_images(dataset, config.validation_fraction, config.seed, SAMPLE)
    engine = start_finished(plan, path, trained, {}, trained.batch_size, start_timeout=options.start_timeout)
    predictions = predict_test(engine, dataset.test) if dataset else None
    result = calibration.shown(path, trained)
    return RunContent(name, config, result, weights_of(engine), predictions, why_not, training), images_hash


def images_differ(path: Path, images_hash: str) -> bool:
    """Return whether the run's newest checkpoint records other test images, or another order."""
    newest, _, _ = checkpoint.newest(path)
    return newest is not None and newest.data.get("test images") not in (None, images_hash)
