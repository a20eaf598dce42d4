"""Writes the model of a run in the formats of other runtimes, and checks that each file predicts what the model does.

saved_model (TensorFlow), onnx (ONNX Runtime), litert (LiteRT, once TensorFlow Lite), keras, and weights (NumPy). Every
file takes images uint8 [n, 28, 28], 0-255, for any n, scales them itself, and gives probabilities float32 [n, 10].
Each is loaded in a new process by its own runtime, which predicts all test images of the run. The exit code is 4 if
they are not those of the trained model.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli import child_process, flags
from mnist_mlp.cli.load_framework import importing
from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.export import agreement, formats, output_dir, table
from mnist_mlp.export.formats import FORMATS, NAMES, check_packages, chosen
from mnist_mlp.export.verify_worker import TIMED
from mnist_mlp.files import atomic
from mnist_mlp.models import portable
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.runs import saved
from mnist_mlp.runs.result import Result, finite, versions

if TYPE_CHECKING:
    import keras

    from mnist_mlp.engine.base import Engine

BATCH = 1000  # images per call of the trained model
CALIBRATION = 500  # training images from which the ranges of int8 activations are taken


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    run_dir: str = option("", "the directory of a finished run (needed)")
    format: tuple[str, ...] = option((), f"what to write: {', '.join(NAMES)}; not given: all", kind=tuple)
    int8: bool = option(False, "onnx and litert in int8, too; calibrated on training images")
    output: str = option("", "directory for the files; not given: export in the run's. Other formats in it are kept")
    data_dir: str = option_of(Config, "data_dir")
    strategy: str = option("auto", "device of the trained model, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")
    json: bool = option(False, "print export.json; the table goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        chosen(self.format, self.int8)


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="export", about=__doc__)
    stream = sys.stderr if options.json else sys.stdout
    exported = export(options, say=lambda text: print(text, file=stream, flush=True))
    if options.json:
        print(json.dumps(exported, allow_nan=False))
    wrong = [row for row in exported["formats"] if not row["agrees"]]
    if wrong:
        raise Refuted(table.refuted(wrong))


def export(
    options: Options, *, dataset: data.Dataset | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Writes and checks the files: the content of export.json, with a row for each format.

    A row has the keys format, file, bytes, sha256, runtime, agreements, total, correct, largest_difference, tolerance,
    agrees, first_difference, milliseconds and calls. The file of a format that does not agree is not kept. `dataset`
    replaces the run's own with images of yours. Raises `UserError`.
    """
    names = chosen(options.format, options.int8)
    plan = devices.plan(options)
    check_packages(names)
    path, config, trained = saved.read_run(options.run_dir)
    output = path_of("output", options.output).resolve() if options.output else path / "export"
    before = output_dir.earlier(output)
    dataset = dataset or data.load(saved.data_of_run(config, trained, options.data_dir))

    os.environ.update(plan.environment)
    with defer_signals(), importing():
        from mnist_mlp.runs.saved_model import start_finished

    engine = start_finished(plan, path, trained, {}, BATCH, start_timeout=options.start_timeout)
    original = original_of(engine, dataset, trained)
    say(table.opening(trained, original.correct, len(original.labels), engine.devices.name, engine.backend))
    with output_dir.replaced(output) as (directory, work):
        rows = [row for row in before.get("formats", ()) if stays(row, before, trained, names, output, directory)]
        if rows:
            say(f"kept     {', '.join(row['format'] for row in rows)}: exported before from the same model")
        say(table.head())
        write(names, engine.model, original, dataset, directory, work)
        for name in names:
            rows.append(checked(name, original, directory, work))
            say(table.row(rows[-1]))
        exported = {
            "model": trained.model,
            "model_sha256": trained.model_sha256,
            "precision": trained.precision,
            "dataset": dataset.name,
            "test": {"correct": original.correct, "total": len(dataset.test)},
            "device": engine.devices.name,
            "tolerance": original.tolerance,
            "formats": sorted(rows, key=lambda row: list(FORMATS).index(row["format"])),
            "versions": {**versions(engine.backend), **formats.versions(names)},
        }
        atomic.write_json(directory / output_dir.REPORT, exported)
    say(table.closing(exported, str(output)))
    return exported


@dataclasses.dataclass(frozen=True)
class Original:
    """What an export is held against."""

    layers: list[portable.Layer]
    images: portable.Array  # uint8 [n, 28, 28]
    labels: portable.Array  # uint8 [n]
    probabilities: portable.Array  # float32 [n, 10], of the trained model by its engine
    tolerance: float | None  # of float32 formats; None where the model itself computes in bfloat16

    @property
    def correct(self) -> int:
        return int((self.probabilities.argmax(axis=1) == self.labels).sum())


def original_of(engine: Engine, dataset: data.Dataset, trained: Result) -> Original:
    """The trained model's own predictions for the test images. Raises `UserError` where they are no numbers."""
    images, labels = dataset.test.images, dataset.test.labels
    probabilities = engine.predict(images)
    if not np.isfinite(probabilities).all():
        raise UserError("expected probabilities of the trained model, received nan: its training diverged; train again")
    layers = portable.layers_of(engine.model)
    tolerance = agreement.tolerance_of(layers, images) if trained.precision == "float32" else None
    return Original(layers, images, labels, probabilities, tolerance)


def stays(
    row: dict[str, Any],
    before: dict[str, Any],
    trained: Result,
    names: Sequence[str],
    output: Path,
    directory: Path,
) -> bool:
    """Whether a format of the earlier export is kept: it is of the same model, whole, and not written anew."""
    same = before.get("model_sha256") == trained.model_sha256 and row.get("format") in FORMATS
    return same and row["format"] not in names and output_dir.keep(row, output, directory)


def write(
    names: Sequence[str],
    model: keras.Model,
    original: Original,
    dataset: data.Dataset,
    directory: Path,
    work: Path,
) -> None:
    """Writes those formats into the directory; keras here, what is made from the plain layers in a new process."""
    from mnist_mlp.export import keras_file

    weights = work / "weights.npz"
    portable.write(original.layers, weights)
    save(work / "calibration.npz", dataset.train.images[:CALIBRATION])
    save(work / "images.npz", original.images)
    if "keras" in names:
        keras_file.write(model, directory / FORMATS["keras"].file)
    if "weights" in names:
        shutil.copyfile(weights, directory / FORMATS["weights"].file)
    others = [name for name in names if name not in ("keras", "weights")]
    if others:
        files = (weights, work / "calibration.npz", directory)
        child_process.run("write_worker", *files, *others, doing=f"writes {', '.join(others)}")


def save(file: Path, images: portable.Array) -> None:
    """Hands images over to a process. (As .npz: NumPy tells of a full disk there why it could not write.)"""
    np.savez(file, images=images)


def checked(name: str, original: Original, directory: Path, work: Path) -> dict[str, Any]:
    """The row of a format: what its own runtime predicts, in a new process, beside the trained model."""
    kind, answers = FORMATS[name], work / f"{name}.npz"
    file = directory / kind.file
    child_process.run("verify_worker", name, file, work / "images.npz", answers, doing=f"reads {kind.file}")
    size, sha256 = output_dir.measure(file)
    with np.load(answers) as found:
        tolerance = None if kind.int8 else original.tolerance
        predicted = found["probabilities"], found["classes"]
        comparison = agreement.compare(original.labels, original.probabilities, *predicted, tolerance)
        calls = {str(n): found["seconds"][found["sizes"] == n] / n for n in TIMED}
        runtime = str(found["runtime"])
    if not comparison.agrees:
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    return {
        "format": name,
        "file": kind.file,
        "bytes": size,
        "sha256": sha256,
        "runtime": runtime,
        **finite(dataclasses.asdict(comparison)),
        "milliseconds": {n: round(1000 * float(np.median(each)), 6) for n, each in calls.items() if len(each)},
        "calls": {n: len(each) for n, each in calls.items()},
    }
