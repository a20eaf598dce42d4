"""Evaluate the saved model of a run: on the test images again, with its calibration (--calibrate repairs it); on
corrupted and adversarial test images (--corruptions, --fgsm); or on labelled pictures of your own (--images)."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from mnist_mlp import data, devices
from mnist_mlp.checks import gate
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.cli.terminal import PRINT, Reporter, Terminal
from mnist_mlp.config import ONE_PROCESS, Config, check_gate
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import calibrate, certainty, harder, pictures
from mnist_mlp.evaluate.calibrate import Logits
from mnist_mlp.files import outputs
from mnist_mlp.options import check, option, option_of
from mnist_mlp.runs import calibration, saved, summary
from mnist_mlp.runs.result import Result, dataset_block, device_block, scores, versions


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program. Data and model are the run's unless a flag changes them."""

    run_dir: str = option("", "directory of a finished run (required)")
    data_dir: str = option_of(Config, "data_dir")
    images: str = option(
        "",
        "score labelled pictures of your own instead: a folder with folders 0 to 9; a folder or pattern of files whose "
        "names begin or end with a label; or a CSV of file and label",
    )
    label_pattern: str = option(
        "", "regular expression for file names without suffix; its one group is the label: '(\\d)_.*'"
    )
    no_reframe: bool = option(False, "use pictures as they are, as in predict: 28×28 pixels, light on dark")
    output: str = option(
        "",
        "directory for a page and its JSON file: pictures.html, with mistakes and refusals, for --images; "
        "corruptions.html for --corruptions",
    )
    batch_size: int | None = option(
        None, "images per step (default: the run's; with --images, 32)", kind=int, low=1, high=2**31 - 1
    )
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    replicas: int | None = option_of(Config, "replicas")
    tpu: str = option_of(Config, "tpu")
    start_timeout: int = option_of(Config, "start_timeout")
    calibrate: bool = option(
        False,
        "fit a temperature on the validation images of the run and store it with the run: predict, serve and export "
        "then give calibrated probabilities",
    )
    gate: bool = option_of(Config, "gate")
    false_alarms: float = option_of(Config, "false_alarms")
    corruptions: tuple[str, ...] = option(
        (),
        "also score corrupted test images: all (the fifteen kinds of MNIST-C), building (ten others, to choose options "
        "on), or names of kinds",
    )
    severity: str = option(
        "1-5", "for --corruptions: severities, such as 3, 1-5 or 1,3,5; published: nearest to MNIST-C's for each kind"
    )
    corruption_seed: int = option(0, "for --corruptions: seed of their random numbers", low=0, high=2**32 - 1)
    fgsm: bool = option(
        False,
        "also score adversarial test images: the fast gradient sign method with ε from 0 to 0.3 of full ink",
    )
    reference: str = option("", "for --corruptions and --fgsm: directory of a finished run to compare with")
    json: bool = option_of(Config, "json")

    def __post_init__(self) -> None:
        check(self)
        check_gate(self)
        pictures.check_flags(self)
        harder.check(self)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was measured; None for what the options do not ask for. `to_dict` returns what --json prints."""

    result: Result | None = None  # on the test images; absent with `images`
    corruptions: dict[str, Any] | None = None  # on corrupted test images: what corruptions.json has under these keys
    fgsm: list[dict[str, Any]] | None = None  # on adversarial ones: a curve for the run, and one for the reference
    pictures: dict[str, Any] | None = None  # on labelled pictures: the content of pictures.json

    def to_dict(self) -> dict[str, Any]:
        if self.pictures is not None:
            return self.pictures
        more = {"corruptions": self.corruptions, "fgsm": self.fgsm}
        on_test_images = self.result.to_dict() if self.result else {}
        return on_test_images | {key: value for key, value in more.items() if value is not None}


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="evaluate", about=__doc__)
    with Terminal(sys.stderr if options.json else sys.stdout) as reporter:
        found = evaluate(options, reporter=reporter)
    if options.json:
        print(json.dumps(found.to_dict(), allow_nan=False), flush=True)
    if found.pictures is not None:
        pictures.refuse(found.pictures)
    if found.result is not None:
        gate.refuse(found.result, options.run_dir)


def evaluate(options: Options, *, dataset: data.Dataset | None = None, reporter: Reporter = PRINT) -> Evaluation:
    """Measure, report, store and write all that the options ask for; return it.

    `dataset` replaces the run's data set with your own. A result that fails the gate is returned, too, and so is one
    of pictures that are all refused: the program ends with an error then. Raise `UserError`.
    """
    if not options.images:
        return on_test_images(options, dataset, reporter)
    if dataset is not None:
        raise UserError("expected images or dataset, received both: the pictures are scored instead; omit one")
    return Evaluation(pictures=pictures.evaluate(options, reporter))


def on_test_images(options: Options, dataset: data.Dataset | None, reporter: Reporter) -> Evaluation:
    """Evaluate the test images as they are, and the harder ones that are asked for.

    The result is that of the run with `test`, `device`, `seconds`, `versions` and `peak_memory_mb` measured again.
    """
    stopwatch = Stopwatch()
    plan = devices.plan(options)
    asked = harder.prepare(options)
    path, config, trained = saved.read_run(options.run_dir)
    if options.calibrate:
        calibrate.check_has_validation(options.run_dir, trained)
        outputs.directory_to_write("run_dir", path)
    stored = None if options.calibrate else calibration.read(path, trained.model_sha256)
    dataset = data.checked_own(dataset, ["test"]) or data.load(saved.data_of_run(config, trained, options.data_dir))
    held_out = calibrate.held_out(path, config, trained, dataset)
    judge = gate.watch(dataclasses.replace(config, gate=options.gate, false_alarms=options.false_alarms), dataset)
    stopwatch.end("load")

    load(plan)
    from mnist_mlp.runs.saved import start_finished

    stopwatch.end("import")

    batch_size = options.batch_size or trained.batch_size
    splits = {"test": dataset.test}
    timeout = options.start_timeout
    engine = start_finished(plan, path, trained, splits, batch_size, start_timeout=timeout, calibrated=False)
    engine.compile()
    stopwatch.end("compile")
    test = scores(engine.evaluate("test"))
    logits = Logits.of(engine, dataset.test), Logits.of(engine, held_out) if held_out else None
    if options.calibrate:
        stored = calibrate.fit(trained, *logits, engine.backend)
        calibrate.store(path, stored)
    test |= calibrate.measured(*logits, stored)
    stopwatch.end("evaluate")

    result = dataclasses.replace(
        trained,
        dataset=dataset_block(dataset, trained.dataset["train_examples"], trained.dataset["validation_examples"]),
        batch_size=batch_size,
        evaluation_steps=math.ceil(len(dataset.test) / batch_size),
        test=test,
        device=device_block(plan, engine),
        backend=engine.backend,
        versions=versions(engine.backend),
        **stopwatch.measured(),
    )
    result.seconds["train"] = 0.0  # nothing was trained here; `epochs` keep the seconds of the run
    result = dataclasses.replace(result, gate=judge(result))
    reporter.line(summary.setting(result))
    reporter.line(summary.closing(result, options.run_dir))
    for line in certainty.lines(test):
        reporter.line(line)
    if options.calibrate:
        reporter.line(f"stored   {path / calibration.NAME}; python -m mnist_mlp.report {options.run_dir} shows it")
    if test["confusion"] != trained.test["confusion"]:
        before = trained.test["correct"]
        reporter.line(f"  !      the counts differ from those of the training run, which had {before:,} correct")
    more = harder.measure(asked, options, plan, dataset, reporter) if asked else {}
    return Evaluation(result, **more)
