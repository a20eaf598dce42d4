"""Export the model of a run to other runtimes, and verify that each file predicts what the model predicts.

Formats: saved_model (TensorFlow), onnx (ONNX Runtime), litert (LiteRT, formerly TensorFlow Lite), keras, and weights
(NumPy). Each file takes images uint8 [n, 28, 28], 0-255, for any n, scales them itself, and returns probabilities
float32 [n, 10]. To verify it, its own runtime loads it in a new process and predicts all test images of the run. If the
predictions differ from the trained model's, the file is removed and the exit code is 4.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.cli import child_process, flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.terminal import PRINT, Reporter, Terminal
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.export import agreement, formats, output_dir, table
from mnist_mlp.export.formats import FORMATS, NAMES, check_packages, chosen
from mnist_mlp.export.verify_worker import TIMED
from mnist_mlp.files import atomic
from mnist_mlp.models import portable
from mnist_mlp.options import check, option, option_of, path_of
from mnist_mlp.runs import calibration, saved
from mnist_mlp.runs.directory import check_output
from mnist_mlp.runs.result import Result, finite, versions

if TYPE_CHECKING:
    import keras

    from mnist_mlp.engine.base import Engine

BATCH = 1000  # images per call of the trained model
CALIBRATION = 500  # training images that determine the ranges of int8 activations


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    run_dir: str = option("", "directory of a finished run (required)")
    format: tuple[str, ...] = option((), f"formats to write: {', '.join(NAMES)} (default: all)", kind=tuple)
    int8: bool = option(False, "also write onnx and litert in int8, calibrated on training images")
    output: str = option(
        "", "directory for the files; other formats already in it are kept (default: export in the run directory)"
    )
    data_dir: str = option_of(Config, "data_dir")
    strategy: str = option("auto", "device for the trained model, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")
    json: bool = option(False, "print export.json; the table goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        chosen(self.format, self.int8)


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="export", about=__doc__)
    with Terminal(sys.stderr if options.json else sys.stdout) as reporter:
        exported = export(options, reporter=reporter)
    if options.json:
        print(json.dumps(exported, allow_nan=False))
    if differing := [row for row in exported["formats"] if not row["agrees"]]:
        raise Refuted(table.refuted(differing))


def export(options: Options, *, dataset: data.Dataset | None = None, reporter: Reporter = PRINT) -> dict[str, Any]:
    """Write and verify the files; return the content of export.json, with a row for each format.

    A row has the keys format, file, outputs, bytes, sha256, runtime, agreements, total, correct, largest_difference,
    tolerance, agrees, first_difference, milliseconds and calls. A file that does not agree with the trained model is
    removed. `dataset` replaces the run's data set with your own. Raise `UserError`.
    """
    names = chosen(options.format, options.int8)
    plan = devices.plan(options)
    check_packages(names)
    path, config, trained = saved.read_run(options.run_dir)
    output = path_of("output", options.output).resolve() if options.output else path / "export"
    if options.output:
        check_output("output", options.output, [output], path)
    before = output_dir.earlier(output)
    dataset = data.checked_own(dataset, ["test"]) or data.load(saved.data_of_run(config, trained, options.data_dir))

    load(plan)
    from mnist_mlp.runs.saved import start_finished

    engine = start_finished(plan, path, trained, {}, BATCH, start_timeout=options.start_timeout)
    calibrated = calibration.read(path, trained.model_sha256)
    reference = reference_of(engine, dataset, trained)
    reference = dataclasses.replace(reference, temperature=calibrated.temperature if calibrated else None)
    device, total = engine.devices.name, len(dataset.test)
    opening = table.opening(trained, reference.correct, total, f"{device}, {engine.backend}", reference.temperature)
    reporter.line(opening)
    with output_dir.replaced(output) as (directory, work):
        rows = []
        if (before.get("model_sha256"), before.get("temperature")) == (trained.model_sha256, reference.temperature):
            rows = kept_rows(before, names, output, directory)
        if rows:
            reporter.line(table.kept(rows))
        reporter.line(table.head())
        write(names, reference, directory, work)
        for name in names:
            rows.append(verify(name, reference, directory, work))
            reporter.line(table.row(rows[-1]))
        exported = {
            "model": trained.model,
            "model_sha256": trained.model_sha256,
            "precision": trained.precision,
            "temperature": reference.temperature,
            "dataset": dataset.name,
            "classes": list(dataset.class_names),
            "test": {"correct": reference.correct, "total": total},
            "device": device,
            "tolerance": reference.tolerance,
            "formats": sorted(rows, key=lambda row: list(FORMATS).index(row["format"])),
            "versions": {**versions(engine.backend), **formats.versions(names)},
        }
        atomic.write_json(directory / output_dir.REPORT, exported)
    reporter.line(table.closing(exported, str(output)))
    return exported


@dataclasses.dataclass(frozen=True)
class Reference:
    """The trained model and its predictions, which every export must reproduce."""

    model: keras.Model
    layers: list[portable.Layer]
    images: portable.Array  # uint8 [n, 28, 28], of the test split
    labels: portable.Array  # uint8 [n]
    probabilities: portable.Array  # float32 [n, 10], as the run's engine computes them
    tolerance: float | None  # of float32 formats; None if the model itself computes in bfloat16
    calibration: portable.Array  # uint8 [m, 28, 28], training images for int8
    temperature: float | None = None  # of the probabilities, if the run is calibrated; the model contains it

    @property
    def correct(self) -> int:
        return int((self.probabilities.argmax(axis=1) == self.labels).sum())


def reference_of(engine: Engine, dataset: data.Dataset, trained: Result) -> Reference:
    """Predict the test images with the trained model. Raise `UserError` if the predictions are not finite."""
    images, labels = dataset.test.images, dataset.test.labels
    probabilities = engine.predict(images)
    if not np.isfinite(probabilities).all():
        raise UserError("the trained model predicts nan: its training diverged; train a new run")
    layers = portable.layers_of(engine.model)
    tolerance = agreement.tolerance_of(layers, images) if trained.precision == "float32" else None
    calibration = dataset.train.images[:CALIBRATION]
    return Reference(engine.model, layers, images, labels, probabilities, tolerance, calibration)


def kept_rows(before: Mapping[str, Any], names: Sequence[str], output: Path, directory: Path) -> list[dict[str, Any]]:
    """Copy the files of an earlier export that are not written again; return the rows of those that are intact."""
    return [
        row
        for row in before.get("formats", ())
        if row.get("format") in FORMATS and row["format"] not in names and output_dir.keep(row, output, directory)
    ]


def write(names: Sequence[str], reference: Reference, directory: Path, work: Path) -> None:
    """Write the formats into the directory: `keras` in this process, those made from plain layers in a new one."""
    from mnist_mlp.export import keras_file

    weights = work / "weights.npz"
    portable.write(reference.layers, weights)
    save(work / "calibration.npz", reference.calibration)
    save(work / "images.npz", reference.images)
    if "keras" in names:
        keras_file.write(reference.model, directory / FORMATS["keras"].file)
    if "weights" in names:
        shutil.copyfile(weights, directory / FORMATS["weights"].file)
    others = [name for name in names if name not in ("keras", "weights")]
    if others:
        files = (weights, work / "calibration.npz", directory)
        child_process.run("export.write_worker", *files, *others, doing=f"writes {', '.join(others)}")


def save(file: Path, images: portable.Array) -> None:
    """Save images for another process. (As .npz, since np.savez reports why a full disk cannot be written.)"""
    np.savez(file, images=images)


def verify(name: str, reference: Reference, directory: Path, work: Path) -> dict[str, Any]:
    """Return the row of a format: its own runtime's predictions in a new process, compared with the trained model's.

    Remove the file if they do not agree.
    """
    kind, answers = FORMATS[name], work / f"{name}.npz"
    file = directory / kind.file
    child_process.run("export.verify_worker", name, file, work / "images.npz", answers, doing=f"reads {kind.file}")
    size, sha256 = output_dir.measure(file)
    with np.load(answers) as answer:
        tolerance = None if kind.int8 else reference.tolerance
        predicted = answer["probabilities"], answer["classes"]
        comparison = agreement.compare(reference.labels, reference.probabilities, *predicted, tolerance)
        calls = {str(n): answer["seconds"][answer["sizes"] == n] / n for n in TIMED}
        runtime = str(answer["runtime"])
    if not comparison.agrees:
        output_dir.remove(file, directory)
    return {
        "format": name,
        "file": kind.file,
        "outputs": list(kind.outputs),
        "bytes": size,
        "sha256": sha256,
        "runtime": runtime,
        **finite(dataclasses.asdict(comparison)),
        "milliseconds": {n: round(1000 * float(np.median(each)), 6) for n, each in calls.items() if len(each)},
        "calls": {n: len(each) for n, each in calls.items()},
    }
