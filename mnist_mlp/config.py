"""Every option of a training run, declared once, and the presets.

A field of `Config` is a command-line flag, a key of `config.json` in the run directory, and a check on construction.
Nothing here imports a framework: a wrong flag is answered at once.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
from mnist_mlp.files.atomic import LARGEST
from mnist_mlp.options import check, option, path_of, tagged
from mnist_mlp.text import nearest, quoted

MODELS = (
    *("softmax", "mlp", "wide", "deep", "mlp_sigmoid", "mlp_tanh"),
    *("mlp_dropout", "mlp_l2", "mlp_zeros", "cnn"),
)
UNITS = {  # of the models with dense hidden layers: their widths, unless --units replaces them
    **dict.fromkeys(("mlp", "mlp_sigmoid", "mlp_tanh", "mlp_dropout", "mlp_l2", "mlp_zeros"), (128, 64)),
    "wide": (512, 512),
    "deep": (128, 128, 64, 64, 32),
}
MOST_LAYERS, MOST_UNITS = 32, 65_536
MOST_PARAMETERS = 100_000_000  # 0.4 GB; a larger file of weights would be refused when it is read
DATASETS = (  # `data.sets` knows more about each
    *("mnist", "fashion_mnist", "kmnist", "emnist_digits", "emnist_mnist", "qmnist"),
    *("kaggle", "custom", "digits"),
)
OPTIMIZERS = (  # by their Keras names
    *("sgd", "rmsprop", "adam", "adamw", "adadelta", "adagrad", "adamax"),
    *("adafactor", "nadam", "ftrl", "lion", "lamb", "muon", "schedulefreeadamw"),
)
SCHEDULES = ("constant", "linear", "cosine")
AUGMENT = ("none", "shift", "affine", "elastic", "robust")
STRATEGIES = ("auto", "cpu", "gpu", "tpu", "mirrored", "multiworker")
ONE_PROCESS = tuple(name for name in STRATEGIES if name != "multiworker")
BACKENDS = ("auto", "tensorflow", "jax")
FALSE_ALARMS = 1e-4
AnyConfig = TypeVar("AnyConfig", bound="Config")


@dataclasses.dataclass(frozen=True)
class Config:
    """The options of one training run. Raises `UserError` for a value that no run can have."""

    preset: str = option(
        "default",
        "start from the values of this preset; flags override them",
        choices=("default", "lecture", "smoke", "speedrun", "best", "robust"),
        group="start",
        affects="sample",  # through the other options only; but a run keeps the name of its preset
    )
    config: str = option(
        "",
        "start from the options in this JSON file instead, such as best.json of tune or config.json of a run",
        group="start",
        affects="process",
    )
    init_from: str = option(
        "",
        "start from the weights of the finished run in this directory, with its network, instead of drawing them",
        group="start",
        affects="result",
    )
    model: str = option("mlp", "network architecture", choices=MODELS, group="model", affects="result")
    units: str | None = option(
        None,
        "widths of the hidden layers, first to last, such as 256,128, of a model that has dense ones (default: the "
        "model's own; 128,64 for mlp)",
        kind=str,
        alternatives="|",
        group="model",
        affects="result",
    )
    dataset: str = option(
        "auto",
        "auto: MNIST, or the embedded digits if MNIST cannot be found; mnist: MNIST or an error; kaggle: the labelled "
        "images of Kaggle's Digit Recognizer; custom: your own ten classes in --data_dir; digits: 1,797 "
        "real handwritten digits, no download",
        choices=("auto", *DATASETS),
        group="data",
        affects="result",
        may_differ=("resume",),  # names alone: a run resumes with the same images only, whatever they are called
    )
    data_dir: str = option(
        "",
        "directory of the data, or one above it, or a file: IDX files (.gz or not), .npz, CSV or Parquet tables, a zip "
        "or tar archive of these, a prepared TFDS data set, or pictures in folders 0 to 9 (--dataset=custom)",
        group="data",
        affects="machine",
        may_differ=("workers",),
    )
    data_source: str = option(
        "auto",
        "read the data from this source only",
        choices=("auto", "idx", "npz", "csv", "parquet", "pictures", "keras", "tfds", "download"),
        group="data",
        affects="machine",
        may_differ=("workers",),
    )
    pixels: str = option(
        "unit",
        "input range; unit: 0 to 1; raw: 0 to 255, as in the lecture",
        choices=("unit", "raw"),
        group="model",
        affects="result",
    )
    validation_fraction: float = option(
        0.0,
        "fraction of the training images held out for validation",
        low=0.0,
        high=0.9,
        group="training",
        affects="result",
    )
    epochs: int = option(
        5,
        "passes over the training images",
        low=0,
        high=1_000_000,
        group="training",
        affects="result",
        may_differ=("resume",),  # unless the schedule depends on it: see `differing`
    )
    batch_size: int = option(
        32, "images per step, over all devices", low=1, high=2**31 - 1, group="training", affects="result"
    )
    optimizer: str = option("adam", "Keras optimizer", choices=OPTIMIZERS, group="training", affects="result")
    learning_rate: float | None = option(
        None,
        "learning rate (default: the optimizer's own; 0.001 for Adam)",
        kind=float,
        low=1.2e-38,
        high=3.4e38,
        group="training",
        affects="result",
    )
    schedule: str = option(
        "constant",
        "learning rate after the warm-up: constant, or decayed to 0, linearly or along half a cosine",
        choices=SCHEDULES,
        group="recipe",
        affects="result",
    )
    warmup: float = option(
        0.0,
        "fraction of the steps over which the learning rate rises linearly",
        low=0.0,
        high=1.0,
        group="recipe",
        affects="result",
    )
    weight_decay: float | None = option(
        None,
        "decoupled weight decay: each step shrinks every weight by this fraction times the learning rate (default: the "
        "optimizer's own)",
        kind=float,
        low=0.0,
        high=1e6,
        group="recipe",
        affects="result",
    )
    label_smoothing: float = option(
        0.0,
        "fraction of each training label spread evenly over the classes",
        low=0.0,
        high=0.99,
        group="recipe",
        affects="result",
    )
    ema: float = option(
        0.0,
        "decay of a moving average of the weights, such as 0.999; the average is evaluated and saved; 0: off",
        low=0.0,
        high=0.999999,
        group="recipe",
        affects="result",
    )
    augment: str = option(
        "none",
        "distort each training image anew in each epoch; shift: by whole pixels; affine: rotate, scale, shear and "
        "shift; elastic: affine, and bend; robust: more of it, and blur, strokes, covered parts, grey paper and noise",
        choices=AUGMENT,
        group="recipe",
        affects="result",
    )
    seed: int = option(
        0,
        "seed of the initial weights, the order of the images, dropout and distortions",
        low=0,
        high=2**32 - 1,
        group="training",
        affects="sample",
    )
    strategy: str = option(
        "auto",
        "device; auto: the best one available; mirrored: all GPUs of this machine; multiworker: several processes",
        choices=STRATEGIES,
        group="device",
        affects="machine",
    )
    backend: str = option(
        "auto",
        "Keras backend; auto: TensorFlow if usable, else JAX",
        choices=BACKENDS,
        group="device",
        affects="machine",
    )
    replicas: int | None = option(
        None,
        "number of devices that each batch is split across: GPUs, TPU cores or logical CPU devices",
        kind=int,
        low=1,
        high=1024,
        group="device",
        affects="machine",
    )
    tpu: str = option(
        "", "address or name of a remote TPU, such as grpc://10.0.0.2:8470", group="device", affects="machine"
    )
    workers: str = option(
        "",
        "for multiworker: HOST:PORT of each process, separated by commas (default: what TF_CONFIG, JAX's variables, "
        "Open MPI, Slurm or a Cloud TPU slice say; none: ignore these)",
        group="device",
        affects="machine",
        may_differ=("workers",),
    )
    worker_index: int | None = option(
        None,
        "for multiworker: index of this process among the workers; 0 is the chief, which reports and writes the run",
        kind=int,
        low=0,
        high=9999,
        group="device",
        affects="process",
    )
    start_timeout: int = option(
        300,
        "seconds to wait for a TPU and for the other workers",
        low=1,
        high=86_400,
        group="device",
        affects="machine",
        may_differ=("workers",),
    )
    engine: str = option(
        "compiled",
        "compiled: each epoch is one compiled program; fit: Keras' Model.fit",
        choices=("compiled", "fit"),
        group="training",
        affects="sample",
    )
    precision: str = option(
        "float32", "arithmetic of the layers", choices=("float32", "bfloat16"), group="model", affects="result"
    )
    checkpoint_every: str = option(
        "1",
        "epochs between checkpoints, or steps, as in 500steps; 0: only at the end or when stopped",
        group="checkpoints",
        affects="output",
    )
    keep: int = option(
        3,
        "how many of the newest checkpoints to keep",
        low=1,
        high=1_000_000,
        group="checkpoints",
        affects="output",
        may_differ=("workers",),
    )
    resume: bool = option(
        False,
        "resume the run in --run_dir, if there is one; its options need not be repeated",
        group="checkpoints",
        affects="process",
    )
    early_stopping: int | None = option(
        None,
        "early-stopping patience in epochs without a lower validation loss (training loss if no images are held out); "
        "keeps the last weights, not the best",
        kind=int,
        low=1,
        high=1_000_000,
        group="training",
        affects="result",
        may_differ=("resume",),
    )
    csv: bool = option(
        False,
        "also write history.csv, with Keras' CSVLogger",
        group="output",
        affects="output",
        may_differ=("workers",),
    )
    tensorboard: bool = option(
        False,
        "also write TensorBoard logs: curves, weight histograms, options and the graph",
        group="output",
        affects="output",
        may_differ=("workers",),
    )
    profile: bool = option(
        False,
        "trace 100 training steps, for TensorBoard and Perfetto",
        group="output",
        affects="output",
    )
    diagnose: bool = option(False, "report common training mistakes and their fixes", group="checks", affects="output")
    gate: bool = option(
        False,
        "compare the result with shipped results of hundreds of correct runs; exit with code 4 if it is out of range",
        group="checks",
        affects="output",
    )
    false_alarms: float = option(
        FALSE_ALARMS,
        "for --gate: fraction of correct runs that may fail, from 0.000001 to 0.5",
        low=1e-6,
        high=0.5,
        group="checks",
        affects="output",
    )
    run_dir: str = option(
        "", "directory to write the run to (default: a new one in runs/)", group="output", affects="process"
    )
    json: bool = option(
        False,
        "print the result as one JSON object; everything else goes to standard error",
        group="output",
        affects="process",
    )
    quiet: bool = option(False, "print only errors and, with --json, the result", group="output", affects="process")

    def __post_init__(self) -> None:
        check(self)
        if self.units is not None:
            object.__setattr__(self, "units", checked_units(self.units, self.model))
        if self.engine == "fit" and self.strategy == "multiworker":
            raise UserError("--engine=fit does not support --strategy=multiworker; use --engine=compiled")
        if self.engine == "fit" and self.ema:
            raise UserError(
                "--engine=fit does not support --ema: Model.fit overwrites the weights with their average after each "
                "epoch; use --engine=compiled, or --ema=0, which overrides a preset"
            )
        self.steps_between_checkpoints(1)  # raises for a text that it cannot read
        if self.engine == "fit" and "step" in self.checkpoint_every:
            raise UserError(
                f"--checkpoint_every={self.checkpoint_every}: --engine=fit saves checkpoints after whole epochs only; "
                "use a number of epochs"
            )
        check_gate(self)

    @property
    def layer_units(self) -> tuple[int, ...] | None:
        """The widths of the dense hidden layers, first to last; None for a model without any."""
        return widths(self.units) if self.units else UNITS.get(self.model)

    def steps_between_checkpoints(self, steps_per_epoch: int) -> int:
        """Return `checkpoint_every` in steps; 0: no checkpoints before the end."""
        match = re.fullmatch(r"(\d{1,9}) ?(?:epochs?|(steps?))?", self.checkpoint_every)
        if match is None:
            raise UserError(
                "--checkpoint_every: expected a number of epochs, such as 1, or of steps, such as 500steps; "
                f"received {quoted(self.checkpoint_every)}"
            )
        return int(match[1]) * (1 if match[2] else steps_per_epoch)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Return the inverse of `to_dict`. Raises `UserError` for an unknown key or a wrong value."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"unknown option {quoted(name)}{nearest(name, names)}")
        return cls(**values)


FREE = tagged(Config, may_differ="resume")  # may change when a run is resumed
RECIPE = tagged(Config, group="recipe")
DATA = tagged(Config, group="data")  # all that `data.load` reads
DEVICE = tagged(Config, group="device")


def widths(text: str) -> tuple[int, ...]:
    """Return the widths that a text such as "256,128" names. Raises `UserError`."""
    parts = [part.strip() for part in text.split(",")]
    found = tuple(int(part) for part in parts if re.fullmatch("[0-9]{1,9}", part))
    if len(found) < len(parts) or len(found) > MOST_LAYERS or not all(1 <= width <= MOST_UNITS for width in found):
        raise UserError(
            f"--units: expected 1 to {MOST_LAYERS} widths of hidden layers separated by commas, each a whole number "
            f"from 1 to {MOST_UNITS:,}, such as 256,128; received {quoted(text)}"
        )
    return found


def checked_units(text: str, model: str) -> str | None:
    """Return --units in its canonical form; None if the model has these widths anyway: it is the same network.

    Raises `UserError` for widths that no network can have, and for a model without dense hidden layers.
    """
    units = widths(text)
    if model not in UNITS:
        raise UserError(
            f"--units: expected one of the models with dense hidden layers ({', '.join(UNITS)}), received "
            f"--model={model}; omit --units, or try --model=mlp"
        )
    parameters = sum((before + 1) * width for before, width in itertools.pairwise((784, *units, 10)))
    if parameters > MOST_PARAMETERS:
        raise UserError(
            f"--units: expected a network of at most {MOST_PARAMETERS:,} parameters, received {text}, which has "
            f"{parameters:,}; try smaller widths"
        )
    return None if units == UNITS[model] else ",".join(map(str, units))


def check_gate(options: Any) -> None:
    """Raise `UserError` for a rate of false alarms without --gate: a CI job would pass forever."""
    if options.false_alarms != FALSE_ALARMS and not options.gate:
        raise UserError(f"--false_alarms={options.false_alarms:g} has no effect without --gate; add --gate")


def differing(one: Config, other: Config) -> list[str]:
    """Return the names of the options that must not change when a run is resumed, and are not equal."""
    depends_on_epochs = other.schedule != "constant" or other.warmup  # the learning rate follows the number of steps
    free = set(FREE) - ({"epochs"} if depends_on_epochs else set())
    values = other.to_dict()
    return [name for name, value in one.to_dict().items() if name not in free and value != values[name]]


def with_preset(presets: Mapping[str, AnyConfig], given: Mapping[str, Any]) -> AnyConfig:
    """Return the preset that `given` names (default: "default") with the other given options.

    `given` are options from the command line; those of the file that `--config` names come under them.
    """
    given = with_file(given)
    name = given.get("preset", "default")
    if name not in presets:
        raise UserError(
            f"--preset: expected one of {', '.join(presets)}; received {name!r}{nearest(name, list(presets))}"
        )
    return dataclasses.replace(presets[name], **given)


def with_file(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the file that `--config` names, overridden by those that are given themselves."""
    if not given.get("config"):
        return dict(given)
    path = path_of("config", given["config"])
    expected_file = f"--config={path}: expected a JSON file of options, such as tune writes or the config.json of a run"
    try:
        if path.is_fifo() and path.parent.name != "fd":  # may never get a writer; a shell's <(…) is in /dev/fd
            raise ValueError("a pipe")
        with open(path, encoding="utf-8-sig") as file:
            values = json.loads(file.read(LARGEST))
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        kind = kinds.recognize_path(path)
        received = kind.name if kind else getattr(error, "strerror", None) or error
        hint = f"; try --config={path / 'config.json'}" if (path / "config.json").is_file() else ""
        raise UserError(f"{expected_file}; received: {received}{hint}") from None
    try:
        Config.from_dict({name: value for name, value in values.items() if name != "sha256"})
    except UserError as error:
        raise UserError(f"--config={path}: {error}") from None
    not_reused = {"sha256", *tagged(Config, affects="process")}  # they belong to the process that wrote the file
    kept = {name: value for name, value in values.items() if name not in not_reused}
    return {**kept, **given, "config": ""}


PRESETS: dict[str, Config] = {
    # The lecture's network on pixels from 0 to 1: `python -m mnist_mlp.train`. 97.62% ± 0.19 (10 seeds, CPU).
    "default": Config(),
    # Exactly the lecture's program, raw pixels: `python -m mnist_mlp.train --preset lecture`.
    # 95.76% ± 0.44 (10 seeds, CPU).
    "lecture": Config(preset="lecture", pixels="raw"),
    # Does this installation train at all? Seconds, no download: `python -m mnist_mlp.train --preset smoke`.
    # 97.08% ± 0.80 of 360 digits (20 seeds, CPU).
    "smoke": Config(preset="smoke", dataset="digits", epochs=10),
    # 98% test accuracy on MNIST in the least time: `python -m mnist_mlp.train --preset speedrun`.
    # 98.17% ± 0.09 (100 seeds, CPU).
    "speedrun": Config(
        preset="speedrun",
        epochs=3,
        batch_size=96,
        learning_rate=0.008,
        schedule="linear",
        warmup=0.15,
        label_smoothing=0.05,
        checkpoint_every="0",
    ),
    # The best accuracy of this network within minutes: `python -m mnist_mlp.train --preset best`.
    # 99.38% ± 0.06 (10 seeds, 140 s each on one core).
    "best": Config(
        preset="best",
        epochs=150,
        batch_size=64,
        learning_rate=0.002,
        schedule="cosine",
        warmup=0.05,
        weight_decay=0.03,
        ema=0.999,
        augment="elastic",
        checkpoint_every="10",
    ),
    # For images unlike the training images: `python -m mnist_mlp.train --preset robust`. 98.85% ± 0.01 (3 seeds, 218 s
    # of CPU each); 14.5% errors on corrupted images, where `default` has 36.8% (evaluate/README.md).
    "robust": Config(
        preset="robust",
        epochs=60,
        batch_size=64,
        learning_rate=0.002,
        schedule="cosine",
        warmup=0.05,
        weight_decay=0.01,
        ema=0.999,
        augment="robust",
        checkpoint_every="10",
    ),
}
