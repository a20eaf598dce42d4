"""Score a run on harder images than it was trained on: corrupted (`--corruptions`) and adversarial ones (`--fgsm`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.config import Config
from mnist_mlp.data import downloads
from mnist_mlp.data.corruptions import published
from mnist_mlp.data.corruptions.kinds import KINDS
from mnist_mlp.devices import Plan
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import corruptions, corruptions_text, fgsm
from mnist_mlp.evaluate.corruptions import Network
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import path_of
from mnist_mlp.runs import directory, saved
from mnist_mlp.runs.result import Result

if TYPE_CHECKING:
    from mnist_mlp.evaluate.command import Options

FORMAT = 1  # of corruptions.json
JSON, PAGE = "corruptions.json", "corruptions.html"
BATCH = 1000  # images of a prediction
Run = tuple[Path, Config, Result]


@dataclasses.dataclass(frozen=True)
class Harder:
    """What is to be measured, checked before anything is."""

    run: Run
    cells: dict[str, tuple[int, ...]]  # severities of each kind
    reference: Run | None
    files: dict[str, Path]  # to write, by their names


def check(options: Options) -> None:
    """Raise `UserError` for wrong names or severities, and for flags that nothing would read."""
    if options.corruptions:
        corruptions.severities_of(options.severity, corruptions.kinds_of(options.corruptions))
        return
    given: dict[str, object] = {"severity": options.severity != "1-5", "corruption_seed": options.corruption_seed != 0}
    given |= {
        "reference": options.reference and not options.fgsm,
    }
    if options.output and not options.images:
        raise UserError("--output writes a page and has no effect without --images or --corruptions; add one of them")
    for name, value in given.items():
        if value:
            raise UserError(f"--{name} has no effect without --corruptions; add --corruptions=all")


def prepare(options: Options) -> Harder | None:
    """Return what the flags ask for; None if it is nothing. Raise `UserError` before any work is done."""
    if not options.corruptions and not options.fgsm:
        return None
    run = saved.read_run(options.run_dir)
    cells = corruptions.severities_of(options.severity, corruptions.kinds_of(options.corruptions))
    reference = None
    if options.reference:
        reference = saved.read_run(options.reference, f"--reference={options.reference}")
        mine, other = (each[2].dataset["name"] for each in (run, reference))
        if mine != other:
            raise UserError(
                f"--reference={options.reference}: expected a run on {mine}, received one on {other}; name another run"
            )
    files = outputs.files_to_write("output", options.output, (JSON, PAGE))
    read = [each[0] for each in (run, reference) if each]
    directory.check_output("output", options.output, files.values(), *read)
    return Harder(run, cells, reference, files)


def measure(harder: Harder, options: Options, plan: Plan, dataset: data.Dataset, reporter: Reporter) -> dict[str, Any]:
    """Return the keys that JSON gets: `corruptions`, what corruptions.json holds, and `fgsm`; after reporting them as
    tables and writing what --output asks for. Keras is imported by now."""
    runs = [(options.run_dir, harder.run), *([(options.reference, harder.reference)] if harder.reference else [])]
    networks = [network(name, each, plan, options.start_timeout) for name, each in runs]
    found: dict[str, Any] = {}
    if options.fgsm:
        reporter.progress("attack   with FGSM")
        found["fgsm"] = [
            {"run": each.run, "errors": fgsm.curve(dataset.test, each.classify, each.gradients)} for each in networks
        ]
        reporter.line(corruptions_text.attacks(found["fgsm"]))
    if harder.cells:
        found["corruptions"] = on_corrupted(harder, networks, options, dataset, reporter)
    if harder.files:
        report = found["corruptions"] | {"fgsm": found.get("fgsm")}
        examples = corruptions.examples_of(dataset.test, harder.cells, networks[0], options.corruption_seed)
        write(harder.files, report, examples, reporter)
    return found


def on_corrupted(
    harder: Harder, networks: Sequence[Network], options: Options, dataset: data.Dataset, reporter: Reporter
) -> dict[str, Any]:
    """Return the errors on corrupted images, and report them as a table."""
    test, seed = dataset.test, options.corruption_seed
    clean = [each.classify(test.images) != test.labels for each in networks]
    errors = corruptions.errors_of(networks, test, harder.cells, seed, reporter)
    summaries = [corruptions.summary(*each) for each in zip(networks, clean, errors, strict=True)]
    report: dict[str, Any] = {
        "format": FORMAT,
        "dataset": dataset.name,
        "classes": list(dataset.class_names),
        "images": len(test),
        "seed": seed,
        "severity": options.severity,
        **summaries[0],
        "reference": None,
        "mnist_corrupted": of_tfds(networks[0], harder.cells, options, dataset, reporter),
    }
    if len(summaries) > 1:
        other = summaries[1]
        beside = {"run": other["run"], "clean": other["clean"], "errors": other["kinds"], "mean": other["mean"]}
        report["reference"] = beside | corruptions.against(summaries[0], other, errors[0], errors[1])
    reporter.line(corruptions_text.table(report))
    return report


def network(name: str, run: Run, plan: Plan, start_timeout: float) -> Network:
    """Return what classifies images as a finished run does."""
    path, _, trained = run
    compiled = dataclasses.replace(trained, engine="compiled")  # the same weights, and it has gradients
    engine = saved.start_finished(plan, path, compiled, {}, BATCH, start_timeout=start_timeout)
    return Network(name, lambda images: engine.predict(images).argmax(1), engine.pixel_gradients)


def of_tfds(
    network: Network, cells: dict[str, tuple[int, ...]], options: Options, dataset: data.Dataset, reporter: Reporter
) -> dict[str, Any] | None:
    """Return the errors on MNIST-C's own images, where TFDS has prepared them, beside those on ours of the same kinds,
    each at the severity that comes closest; None if they are not there."""
    kinds = [kind for kind in cells if KINDS[kind].published]
    homes = [path_of("data_dir", options.data_dir)] if options.data_dir else []
    prepared = published.find([*homes, downloads.tfds_home()], kinds) if dataset.name == "mnist" else {}
    if not prepared:
        return None
    reporter.progress("reading  mnist_corrupted of TFDS")
    theirs = published.read(prepared)
    levels = corruptions.severities_of(corruptions.PUBLISHED, list(theirs))
    (ours,) = corruptions.errors_of([network], dataset.test, levels, options.corruption_seed, reporter)
    rows, wrong = [], []
    for kind, split in theirs.items():
        wrong.append(network.classify(split.images) != split.labels)
        (severity,) = levels[kind]
        mine = corruptions.share_of(ours[kind, severity])
        rows.append({"kind": kind, **corruptions.share_of(wrong[-1]), "ours": mine, "severity": severity})
    return {
        "directory": str(next(iter(prepared.values())).parents[1]),
        "kinds": rows,
        "mean": float(np.mean([row["error"] for row in rows])),
        "ours": float(np.mean([row["ours"]["error"] for row in rows])),
    }


def write(files: dict[str, Path], report: dict[str, Any], examples: Sequence[Any], reporter: Reporter) -> None:
    """Write corruptions.json and the page, each whole or not at all."""
    from mnist_mlp.evaluate import corruptions_page  # with Pillow, which --help does without

    page = corruptions_page.render(report, examples)
    outputs.make_directory(files[JSON].parent)
    atomic.write_json(files[JSON], report)
    atomic.write_text(files[PAGE], page)
    reporter.line(f"written  {files[JSON]}, {files[PAGE]}")
