"""One training run from its data to its result. `train.train_and_evaluate` calls the steps in their order."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.checks import diagnosis, gate
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.stopwatch import Stopwatch
from mnist_mlp.cli.terminal import SILENT, Reporter
from mnist_mlp.config import RECIPE, Config
from mnist_mlp.data.batches import split_validation
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.devices import machine, rendezvous
from mnist_mlp.engine.batching import IMAGES_PER_CALL
from mnist_mlp.errors import Diverged, Stopped, UserError
from mnist_mlp.files.atomic import digest
from mnist_mlp.models import neighbours
from mnist_mlp.options import tagged
from mnist_mlp.runs import calibration, checkpoint, initial, summary
from mnist_mlp.runs.directory import MODEL, Run
from mnist_mlp.runs.result import Result, dataset_block, device_block, layer_rows, ran_on, scores, versions
from mnist_mlp.stats.calibration import measure, softmax
from mnist_mlp.training.observer import NOBODY, Observer

if TYPE_CHECKING:
    import keras

    from mnist_mlp.engine.base import Engine


class TrainingSession:
    """The state of one run while it trains: each step sets what the next ones need.

    `load_data` sets the splits, the numbers of steps and `gate`; `build_engine` sets `engine`, `diagnose`, and `result`
    as far as it is known; `train` and `evaluate_and_save` complete the result.
    """

    splits: dict[str, data.Split]
    gate: gate.Judge
    engine: Engine
    diagnose: diagnosis.Watch
    result: Result
    source: initial.Source | None = None  # the run to start from, if this one is not resumed
    training_images: neighbours.TrainingImages  # some, for the report: the engine has them all
    test_logits: np.ndarray  # float32 [n, 10], of the test images

    def __init__(self, config: Config, plan: devices.Plan, run: Run, reporter: Reporter, observer: Observer = NOBODY):
        self.config, self.plan, self.run, self.observer = config, plan, run, observer
        self.reporter = reporter if plan.chief else SILENT
        self.stopwatch = Stopwatch()

    def load_data(self, dataset: data.Dataset | None = None) -> None:
        """Load the data set, unless it is given, and agree with the other workers and with the run that is resumed.

        Raise `UserError` where the data are not those of the run, or where `--gate` has no reference for it.
        """
        self.dataset = data.checked_own(dataset) or data.load(self.config)
        self.gate = gate.watch(self.config, self.dataset)
        self.splits = split(self.dataset, self.config)
        self.training_images = neighbours.training_images(
            self.dataset, self.config.validation_fraction, self.config.seed, neighbours.SAMPLE
        )
        self.run.data_hashes = hashes(self.dataset)
        self.steps_per_epoch = math.ceil(len(self.splits["train"]) / self.config.batch_size)
        self.total_steps = self.config.epochs * self.steps_per_epoch
        self.plan = devices.acquainted(self.plan, self.config.start_timeout)
        meet_other_workers(self.plan, self.run)
        check_same_data(self.run)
        self.open_initial_run()
        self.stopwatch.end("load")

    def open_initial_run(self) -> None:
        """Find the run that --init_from names, and the test images of its data set, if that is another one.

        A run that is resumed has its weights from the checkpoint, which also holds the facts; its source may be gone.
        """
        if not self.config.init_from:
            return
        if self.run.resumed_from:
            self.run.initial = self.run.resumed_from.initial
        else:
            self.source = initial.source_of(self.config)
            self.run.initial = self.source.facts()
        test, why_not = initial.other_test_images(self.run.initial, self.dataset.name)
        if test:
            self.splits[initial.TEST] = test
        self.run.initial["notes"] = [why_not] * bool(why_not)

    def build_engine(self) -> None:
        """Import the framework, build the model on its device, report what is known, and compile."""
        config, run = self.config, self.run
        load(self.plan)
        from mnist_mlp.models import networks

        self.stopwatch.end("import")

        make_model = partial(networks.from_config, config)
        self.engine = make_engine(config, self.plan, make_model, self.splits)
        run.ran_on, run.resumptions = ran_on(self.engine), resumptions(run, self.engine, self.total_steps)
        self.result = self.result_before_training()
        self.diagnose = diagnosis.watch(config, self.engine, make_model, self.splits, self.reporter)
        self.reporter.line(summary.opening(self.result))
        self.engine.compile()
        self.stopwatch.end("compile")
        if self.source:
            self.source.copy_weights(self.engine)
            self.run.initial["before"] = initial.short(scores(self.engine.evaluate("test")))
            self.stopwatch.end("initial")
        self.write_augmentation_preview()
        self.test, self.validation = self.splits["test"], self.splits.get("validation")
        self.forgets = initial.TEST in self.splits
        del self.dataset, self.splits  # the engine holds them

    @contextlib.contextmanager
    def all_workers_to_the_end(self) -> Iterator[None]:
        """Let no worker leave before all have come to the end, or to what ends all of them after the same step."""
        try:
            yield
        except (Stopped, Diverged):
            self.engine.leave_workers()
            raise
        self.engine.leave_workers()

    def write_augmentation_preview(self) -> None:
        """Write distortions.png, which shows what training sees, if that is not the images themselves."""
        if self.config.augment == "none" or not self.run.chief:
            return
        from mnist_mlp.training import augmentation_preview

        picture = augmentation_preview.render(self.splits["train"], self.config.augment, self.config.seed)
        self.run.write("distortions.png", lambda file: file.write_bytes(picture))
        self.stopwatch.end("picture")

    def train(self, callbacks: Sequence[keras.callbacks.Callback] = ()) -> None:
        """Train what is left, write the history and the checkpoints, and add the epochs to the result."""
        from mnist_mlp.training.callbacks import Callbacks
        from mnist_mlp.training.loop import Training
        from mnist_mlp.training.profiler import Profiled

        config, run, engine, report = self.config, self.run, self.engine, self.reporter.line
        self.restore()
        run.write_history()
        run.write_config()  # only now is it sure that the run can be resumed with it
        driven = Callbacks(engine, run, callbacks, self.steps_per_epoch)
        if driven.missing:
            report(
                f"missing  {', '.join(driven.missing)}: the run had these callbacks before; "
                "pass them again to continue what they do"
            )
        if config.profile:
            engine = Profiled(engine, run.path / "profile", self.reporter)
        training = Training(engine, run, self.result.dataset["train_examples"], driven, self.reporter, self.observer)
        self.observer.begins(self)
        run.unsaved = True
        try:
            training.run()
        except Diverged:
            self.diagnose([], None)
            raise
        run.unsaved = False
        if config.profile and not engine.done:
            report("profile  nothing was traced: no step was left to train")
        if training.stop_early:
            report(f"stopped  early by a callback, after epoch {run.progress.epoch} of {config.epochs}")
        self.update(epochs=run.progress.history)
        if run.progress.rates:
            self.update(recipe={**self.result.recipe, "rates": run.progress.rates})
        self.stopwatch.end("train")

    def restore(self) -> None:
        """Put the engine and the run where the checkpoint is, if there is one. Raise `UserError` for a foreign one."""
        found = self.run.resumed_from
        if found is None:
            return
        self.engine.restore(found.state)
        step = found.progress.total_steps(self.steps_per_epoch)
        if step != found.total_steps or found.progress.step >= self.steps_per_epoch:
            raise UserError(
                f"--run_dir={self.run.path}: the checkpoint at step {step} does not belong to this run; remove it"
            )
        self.run.progress = found.progress

    def evaluate_and_save(self) -> None:
        """Score every test image once, diagnose and judge the run, and write model.keras and result.json."""
        from mnist_mlp.models import keras_file
        from mnist_mlp.training.optimizers import use_averaged_weights

        use_averaged_weights(self.engine)
        test = scores(self.engine.evaluate("test"))
        self.test_logits = self.engine.logits(self.test.images, IMAGES_PER_CALL)
        self.update(test=test | self.calibration())
        if self.run.initial:
            after = {"after": initial.short(scores(self.engine.evaluate(initial.TEST)))} if self.forgets else {}
            self.update(initial={**self.run.initial, **after})
        self.stopwatch.end("evaluate")
        found = self.diagnose(self.result.epochs, self.result.test["confusion"])
        self.update(diagnosis=found, gate=self.verdict())
        if self.config.diagnose:
            self.stopwatch.end("diagnose")
        model = self.run.write(MODEL, partial(keras_file.save, self.engine.model))
        sha256 = digest(model)
        if note := calibration.drop_stale(self.run.path, sha256):
            self.reporter.line(note)
        self.stopwatch.end("save")
        self.update(device=device_block(self.plan, self.engine), model_sha256=sha256, **self.stopwatch.measured())
        self.run.write_result(self.result)

    def verdict(self) -> dict[str, Any]:
        """Return the gate's verdict; {} without --gate, or with a note if the run is none that it knows."""
        if self.config.gate and self.run.progress.rates:
            self.reporter.line("gate     not judged: the learning rate was changed while the run trained")
            return {}
        return self.gate(self.result)

    def calibration(self) -> dict[str, Any]:
        """Return the key `calibration` of the test result; {} where logits are not finite."""
        probabilities, validation = softmax(self.test_logits), None
        if self.validation is not None:
            logits = self.engine.logits(self.validation.images, IMAGES_PER_CALL)
            validation = softmax(logits), self.validation.labels
        found = measure(probabilities, self.test.labels, validation)
        return {"calibration": found} if found else {}

    def update(self, **fields: Any) -> None:
        """Replace fields of the result."""
        self.result = dataclasses.replace(self.result, **fields)

    def result_before_training(self) -> Result:
        """Return the result as far as it is known before training."""
        from mnist_mlp.training import optimizers

        config, engine = self.config, self.engine
        sizes = {name: len(part) for name, part in self.splits.items()}
        weight_decay = engine.optimizer.weight_decay or 0.0  # an optimizer may have one of its own
        recipe = {name: getattr(config, name) for name in RECIPE}
        return Result(
            model=config.model,
            pixels=config.pixels,
            parameters=engine.model.count_params(),
            layers=layer_rows(engine.model),
            dataset=dataset_block(self.dataset, sizes["train"], sizes.get("validation", 0)),
            batch_size=config.batch_size,
            steps_per_epoch=self.steps_per_epoch,
            evaluation_steps=math.ceil(sizes["test"] / config.batch_size),
            optimizer=config.optimizer,
            learning_rate=optimizers.peak_rate(engine.optimizer),
            epochs=[],
            test={},
            device=device_block(self.plan, engine),
            precision=config.precision,
            backend=engine.backend,
            engine=config.engine,
            seed=config.seed,
            preset=config.preset,
            resumed=self.run.resumptions,
            model_sha256="",
            versions=versions(engine.backend),
            seconds={},
            peak_memory_mb=0.0,
            recipe={**recipe, "weight_decay": weight_decay, "steps": self.total_steps},
            initial=self.run.initial,
        )


def split(dataset: data.Dataset, config: Config) -> dict[str, data.Split]:
    """Return the engine's splits: train, test, and validation if the config keeps images for it."""
    train, validation = split_validation(dataset.train, config.validation_fraction, config.seed)
    return {"train": train, "test": dataset.test} | ({"validation": validation} if validation else {})


def hashes(dataset: data.Dataset) -> dict[str, str]:
    """Return what must be equal for all workers, and when a run is resumed: the name, and each image in its order."""
    splits = {"training": dataset.train, "test": dataset.test}
    return {"name": dataset.name, **{f"{name} images": in_order_hash(part) for name, part in splits.items()}}


def meet_other_workers(plan: devices.Plan, run: Run) -> None:
    """Wait for the other workers, if there are any; they must have the same flags, data and versions.

    All of them resume from the chief's checkpoint.
    """
    if not plan.workers:
        return
    own = tagged(Config, may_differ="workers")
    flags = {f"--{name}": str(value) for name, value in run.config.to_dict().items() if name not in own}
    chosen = {"backend": plan.backend, "device": plan.device, "versions": str(machine.installed_software())}
    chosen["initial weights"] = initial.digest_of(run.config)
    packed = io.BytesIO()
    if run.resumed_from:
        np.savez(packed, **run.resumed_from.to_arrays())
    has, timeout = {**flags, **run.data_hashes, **chosen}, run.config.start_timeout
    handed_out = rendezvous.meet(plan.workers, plan.worker_index, timeout, has, hand_out=packed.getvalue())
    if handed_out and not plan.chief:
        file = run.path / "handed-out.npz"
        file.write_bytes(handed_out)
        run.resumed_from = checkpoint.read(file)


def check_same_data(run: Run) -> None:
    """Raise `UserError` if the run would be resumed with other images, or the same in another order."""
    found, now = run.resumed_from, run.data_hashes
    if found and (other := [name for name, value in now.items() if found.data.get(name) != value]):
        raise UserError(
            f"--resume: expected the {found.data['name']} images that the run in {run.path} was started with, "
            f"received {now['name']} whose {' and '.join(other)} differ; "
            "use --data_dir=DIR with the directory of the former"
        )


def make_engine(config: Config, plan: devices.Plan, make_model: Any, splits: Mapping[str, data.Split]) -> Engine:
    """Return the engine of a run, with its data, on the planned device."""
    from mnist_mlp.engine.base import Recipe
    from mnist_mlp.engine.create import EngineSpec, create_engine
    from mnist_mlp.training import optimizers

    make_optimizer = partial(optimizers.from_config, config, math.ceil(len(splits["train"]) / config.batch_size))
    recipe = Recipe(config.augment, config.label_smoothing, config.seed)
    spec = EngineSpec(make_model, splits, config.batch_size, make_optimizer, recipe, config.engine)
    return create_engine(plan, spec, start_timeout=config.start_timeout)


def resumptions(run: Run, engine: Engine, total_steps: int) -> list[dict[str, Any]]:
    """Return the `resumed` part of a result: one entry per resume."""
    found = run.resumed_from
    if not found and not run.skipped:
        return []
    entry = {
        "step": found.total_steps if found else 0,
        "of": total_steps,
        "before": {**found.ran_on} if found else {},
        "now": ran_on(engine),
        "passed_over": list(run.skipped.values()),
    }
    return [*(found.resumed if found else []), entry]
