"""Every option of a training run, declared once.

A field of `Config` is the flag on the command line, the key in the run directory's `config.json` and the
check at construction. No framework is imported here: a wrong flag must be answered at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.options import check, option
from mnist_mlp.text import nearest, quoted

MODELS = (
    *("softmax", "mlp", "wide", "deep", "mlp_sigmoid", "mlp_tanh"),
    *("mlp_dropout", "mlp_l2", "mlp_zeros", "cnn"),
)
OPTIMIZERS = (  # by their Keras names
    *("sgd", "rmsprop", "adam", "adamw", "adadelta", "adagrad", "adamax"),
    *("adafactor", "nadam", "ftrl", "lion", "lamb", "muon", "schedulefreeadamw"),
)
SCHEDULES = ("constant", "linear", "cosine")
AUGMENT = ("none", "shift", "affine", "elastic")
STRATEGIES = ("auto", "cpu", "gpu", "tpu", "mirrored", "multiworker")
ONE_PROCESS = tuple(name for name in STRATEGIES if name != "multiworker")
BACKENDS = ("auto", "tensorflow", "jax")
FALSE_ALARMS = 1e-4
RECIPE = ("schedule", "warmup", "weight_decay", "label_smoothing", "ema", "augment")  # beyond plain training
FREE = (  # may change when a run is resumed; every other option decides what is computed
    *("dataset", "data_dir", "data_source", "epochs", "strategy", "backend", "replicas", "tpu", "workers"),
    *("worker_index", "start_timeout", "checkpoint_every", "keep", "resume", "early_stopping", "csv", "tensorboard"),
    *("profile", "diagnose", "gate", "false_alarms", "config", "run_dir", "json", "quiet"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """One training run. Raises `UserError` for a value that no run could have."""

    preset: str = option(
        "default",
        "values to start from; flags override them",
        choices=("default", "lecture", "smoke", "speedrun", "best"),
    )
    config: str = option(
        "", "JSON file of options to start from instead, such as tune writes, or the config.json of a run"
    )
    model: str = option("mlp", "the network", choices=MODELS)
    dataset: str = option(
        "auto",
        "auto: MNIST, else the embedded digits; mnist: never anything else; digits: 1,797 real ones, no download",
        choices=("auto", "mnist", "fashion_mnist", "digits"),
    )
    data_dir: str = option("", "directory with IDX files (.gz or not), mnist.npz or a prepared TFDS data set")
    data_source: str = option(
        "auto",
        "take the data from this source alone",
        choices=("auto", "idx", "npz", "keras", "tfds", "download"),
    )
    pixels: str = option(
        "unit", "what the network sees: unit: 0 to 1; raw: 0 to 255, as in the lecture", choices=("unit", "raw")
    )
    validation_fraction: float = option(0.0, "share of the training images kept for validation", low=0.0, high=0.9)
    epochs: int = option(5, "passes over the training images", low=0, high=1_000_000)
    batch_size: int = option(32, "images per step (the global batch)", low=1, high=2**31 - 1)
    optimizer: str = option("adam", "a Keras optimizer by name", choices=OPTIMIZERS)
    learning_rate: float | None = option(
        None, "step size; not given: the optimizer's own (Adam 0.001)", kind=float, low=1.2e-38, high=3.4e38
    )
    schedule: str = option(
        "constant",
        "the learning rate after the warm-up: constant, or falling to 0 at the end: linear, or cosine (half a wave)",
        choices=SCHEDULES,
    )
    warmup: float = option(0.0, "share of the steps in which the learning rate rises evenly", low=0.0, high=1.0)
    weight_decay: float | None = option(
        None,
        "each step takes this share, times the learning rate, off every weight; not given: the optimizer's own",
        kind=float,
        low=0.0,
        high=1e6,
    )
    label_smoothing: float = option(
        0.0, "share of each training label that is spread evenly over the classes", low=0.0, high=0.99
    )
    ema: float = option(
        0.0,
        "decay, say 0.999, of a moving average of the weights, which is then what is scored and kept; 0: none",
        low=0.0,
        high=0.999999,
    )
    augment: str = option(
        "none",
        "distort each training image anew in each epoch: shift (by whole pixels), affine (turned, scaled, sheared, "
        "shifted), elastic (affine and bent)",
        choices=AUGMENT,
    )
    seed: int = option(
        0, "draws the initial weights, the order, the dropout and the distortions", low=0, high=2**32 - 1
    )
    strategy: str = option(
        "auto",
        "device: auto takes the best one that is there; mirrored: all GPUs; multiworker: several processes",
        choices=STRATEGIES,
    )
    backend: str = option(
        "auto", "framework below Keras; auto: TensorFlow where it can be used, else JAX", choices=BACKENDS
    )
    replicas: int | None = option(
        None, "devices that share each batch: GPUs, TPU cores, or parts of the CPU", kind=int, low=1, high=1024
    )
    tpu: str = option("", "address or name of a TPU elsewhere, such as grpc://10.0.0.2:8470")
    workers: str = option("", "for multiworker, unless TF_CONFIG says it: HOST:PORT of each process, by commas")
    worker_index: int | None = option(
        None, "place of this process among the workers; 0, the chief, reports and writes", kind=int, low=0, high=9999
    )
    start_timeout: int = option(300, "seconds to wait for a TPU, and for the other workers", low=1, high=86_400)
    engine: str = option(
        "compiled", "compiled: an epoch is one program; fit: plain Model.fit", choices=("compiled", "fit")
    )
    precision: str = option("float32", "arithmetic of the layers", choices=("float32", "bfloat16"))
    checkpoint_every: str = option("1", "epochs between checkpoints, or steps: 500steps; 0: only at the end or a stop")
    keep: int = option(3, "how many checkpoints are kept, the newest ones", low=1, high=1_000_000)
    resume: bool = option(False, "go on with the run in --run_dir, if one is there; its flags need not be given again")
    early_stopping: int | None = option(
        None,
        "stop after so many epochs without a lower validation loss (training loss where no images are kept for it); "
        "the last weights stay",
        kind=int,
        low=1,
        high=1_000_000,
    )
    csv: bool = option(False, "also write history.csv, by Keras' CSVLogger")
    tensorboard: bool = option(
        False, "also write curves, weights, options and the network for TensorBoard, into the folder tensorboard"
    )
    profile: bool = option(False, "trace a hundred steps, for TensorBoard and Perfetto, into the folder profile")
    diagnose: bool = option(False, "look for classic mistakes at the end; what is found is told, with its remedy")
    gate: bool = option(
        False,
        "hold the result against those of right runs (hundreds of seeds, shipped); exit code 4 where it is not one",
    )
    false_alarms: float = option(
        FALSE_ALARMS, "of --gate: the share of right runs that may fail, from 0.000001 to 0.5", low=1e-6, high=0.5
    )
    run_dir: str = option("", "where the run is written; not given: a new directory below runs/")
    json: bool = option(False, "print the result as one JSON object; the rest goes to standard error")
    quiet: bool = option(False, "say nothing but errors, and the result of --json")

    def __post_init__(self) -> None:
        check(self)
        if self.engine == "fit" and self.strategy == "multiworker":
            raise UserError("--engine=fit does not go with --strategy=multiworker; type --engine=compiled")
        if self.engine == "fit" and self.ema:
            raise UserError(
                "--engine=fit does not go with --ema: fit puts the average in at the end of "
                "each epoch; type --engine=compiled, or leave --ema out"
            )
        self.steps_between_checkpoints(1)  # refuses what it cannot read
        if self.engine == "fit" and "step" in self.checkpoint_every:
            raise UserError("--engine=fit trains whole epochs: expected --checkpoint_every in epochs; type a number")
        check_gate(self)

    def steps_between_checkpoints(self, steps_per_epoch: int) -> int:
        """What `checkpoint_every` says, in steps; 0: none on the way."""
        said = re.fullmatch(r"(\d{1,9}) ?(?:epochs?|(steps?))?", self.checkpoint_every)
        if said is None:
            raise UserError(
                "--checkpoint_every: expected a number of epochs, such as 1, or of steps, such as 500steps; "
                f"received {quoted(self.checkpoint_every)}"
            )
        return int(said[1]) * (1 if said[2] else steps_per_epoch)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The inverse of `to_dict`. Raises `UserError` for an unknown key or a bad value."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"unknown option {quoted(name)}{nearest(name, names)}")
        return cls(**values)


def check_gate(options: Any) -> None:
    """Raises `UserError` for a rate of false alarms where nothing is gated: a job would pass for ever."""
    if options.false_alarms != FALSE_ALARMS and not options.gate:
        raise UserError(
            f"--false_alarms={options.false_alarms:g}: expected --gate beside it, received none; type --gate"
        )


def differing(one: Config, other: Config) -> list[str]:
    """The names of the options that decide what is computed and are not the same in both."""
    free = FREE if other.schedule == "constant" and not other.warmup else set(FREE) - {"epochs"}  # it fits its steps
    values = other.to_dict()
    return [name for name, value in one.to_dict().items() if name not in free and value != values[name]]


PRESETS: dict[str, Config] = {
    # The lecture's network on pixels from 0 to 1: `python -m mnist_mlp.train`. 97.62% ± 0.19 (10 seeds, CPU).
    "default": Config(),
    # The lecture's program to the letter, raw pixels: `python -m mnist_mlp.train --preset lecture`.
    # 95.76% ± 0.44 (10 seeds, CPU).
    "lecture": Config(preset="lecture", pixels="raw"),
    # Does this installation train at all? Seconds, no download: `python -m mnist_mlp.train --preset smoke`.
    # 97.08% ± 0.80 of 360 digits (20 seeds, CPU).
    "smoke": Config(preset="smoke", dataset="digits", epochs=10),
    # 98% of MNIST's test images as soon as can be: `python -m mnist_mlp.train --preset speedrun`.
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
    # The most that this network reaches in minutes: `python -m mnist_mlp.train --preset best`.
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
}
