"""The program in plain Keras that the options of a run stand for, as the lecture would write it.

It trains the same network in the same way. It does not draw the same random numbers: this package draws initial
weights, the order of the images and distortions itself, equal on every backend (`models/initialization.py`).
"""

from __future__ import annotations

import math
from typing import Any

from mnist_mlp.config import Config

CLASSES = {  # the optimizers of `config.OPTIMIZERS` in Keras
    **{"sgd": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW", "adadelta": "Adadelta"},
    **{"adagrad": "Adagrad", "adamax": "Adamax", "adafactor": "Adafactor", "nadam": "Nadam", "ftrl": "Ftrl"},
    **{"lion": "Lion", "lamb": "Lamb", "muon": "Muon", "schedulefreeadamw": "ScheduleFreeAdamW"},
}
RATES = {  # their own learning rates, where a schedule needs the number
    **dict.fromkeys(CLASSES, 0.001),
    **{"sgd": 0.01, "schedulefreeadamw": 0.0025},
}
IN_KERAS = {"mnist": "mnist", "fashion_mnist": "fashion_mnist"}  # of keras.datasets
ACTIVATIONS = {"mlp_sigmoid": "sigmoid", "mlp_tanh": "tanh"}
SCHEDULE = """

class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rise = keras.ops.minimum(1.0, (step + 1) / ({rising} + 1))
        gone = keras.ops.clip((step - {rising}) / max(1, {steps} - {rising}), 0.0, 1.0)
        return {peak!r} * rise * {falls}

    def get_config(self):
        return {{}}
"""
FALLS = {"constant": "1.0", "linear": "(1 - gone)", "cosine": "(1 + keras.ops.cos(3.141592653589793 * gone)) / 2"}


def program(config: Config, dataset: str, steps_per_epoch: int) -> str:
    """Return the text of the program; `dataset` is the name of the images that were found for `--dataset`."""
    parts = ["import keras", "from keras import layers", *load_lines(config, dataset), ""]
    parts += [f"keras.utils.set_random_seed({config.seed})"]
    if config.precision == "bfloat16":
        parts.append('keras.mixed_precision.set_global_policy("mixed_bfloat16")')
    parts += [*schedule_lines(config, steps_per_epoch), "", "model = keras.Sequential([", "    keras.Input((28, 28)),"]
    parts += [f"    {line}," for line in layer_lines(config)]
    parts += ["])", f"optimizer = keras.optimizers.{CLASSES[config.optimizer]}({optimizer_arguments(config)})"]
    parts += [f"model.compile(optimizer=optimizer, loss={loss_of(config)}, metrics=[{metric_of(config)}])"]
    parts += ["model.summary()", *fit_lines(config), "model.evaluate(x_test, y_test)"]
    parts += ["probabilities = model.predict(x_test)"]
    return "\n".join(parts) + "\n"


def load_lines(config: Config, dataset: str) -> list[str]:
    """Return the lines that load the images, and turn the labels into what the loss takes."""
    if dataset in IN_KERAS:
        lines = ["", f"(x_train, y_train), (x_test, y_test) = keras.datasets.{IN_KERAS[dataset]}.load_data()"]
    else:
        where = ', data_dir="…"' if dataset != "digits" else ""  # the server's directory is nobody's business
        lines = ["from mnist_mlp import data", "from mnist_mlp.config import Config", ""]
        lines += [f'images = data.load(Config(dataset="{dataset}"{where}))']
        lines += ["x_train, y_train = images.train.images, images.train.labels"]
        lines += ["x_test, y_test = images.test.images, images.test.labels"]
    if config.label_smoothing:
        lines.append("y_train, y_test = (keras.utils.to_categorical(y, 10) for y in (y_train, y_test))")
    return lines


def layer_lines(config: Config) -> list[str]:
    """Return a line per layer."""
    lines = ["layers.Rescaling(1 / 255)"] if config.pixels == "unit" else []
    zeros = ', kernel_initializer="zeros"' if config.model == "mlp_zeros" else ""
    if config.model == "cnn":
        lines += ["layers.Reshape((28, 28, 1))"]
        for filters in (32, 64):
            lines += [f'layers.Conv2D({filters}, 3, activation="relu")', "layers.MaxPooling2D(2)"]
    lines.append("layers.Flatten()")
    activation = ACTIVATIONS.get(config.model, "relu")
    penalty = ", kernel_regularizer=keras.regularizers.L2(1e-4)" if config.model == "mlp_l2" else ""
    for units in config.layer_units or ():
        lines.append(f'layers.Dense({units}, activation="{activation}"{zeros}{penalty})')
        if config.model == "mlp_dropout":
            lines.append("layers.Dropout(0.2)")
    exact = ', dtype="float32"' if config.precision == "bfloat16" else ""
    return [*lines, f'layers.Dense(10, activation="softmax"{zeros}{exact})']


def optimizer_arguments(config: Config) -> str:
    """Return the arguments of the optimizer; those that are its own are left out."""
    arguments: dict[str, Any] = {}
    if is_scheduled(config):
        arguments["learning_rate"] = "Schedule()"
    elif config.learning_rate is not None:
        arguments["learning_rate"] = repr(config.learning_rate)
    if config.weight_decay is not None:
        arguments["weight_decay"] = repr(config.weight_decay)
        if config.optimizer == "muon":
            arguments["adam_weight_decay"] = repr(config.weight_decay)
    if config.ema:
        arguments |= {"use_ema": "True", "ema_momentum": repr(config.ema)}
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def is_scheduled(config: Config) -> bool:
    return config.schedule != "constant" or bool(config.warmup)


def schedule_lines(config: Config, steps_per_epoch: int) -> list[str]:
    """Return the class of the learning rate, as `training.optimizers.Schedule` computes it."""
    if not is_scheduled(config):
        return []
    steps = config.epochs * steps_per_epoch
    rising = math.ceil(round(config.warmup * steps, 6))
    peak = config.learning_rate or RATES[config.optimizer]
    return SCHEDULE.format(rising=rising, steps=steps, peak=peak, falls=FALLS[config.schedule]).splitlines()


def loss_of(config: Config) -> str:
    if config.label_smoothing:
        return f"keras.losses.CategoricalCrossentropy(label_smoothing={config.label_smoothing!r})"
    return '"sparse_categorical_crossentropy"'


def metric_of(config: Config) -> str:
    return '"categorical_accuracy"' if config.label_smoothing else '"accuracy"'


def fit_lines(config: Config) -> list[str]:
    """Return the call of `fit`, after comments about what it does not do."""
    lines = []
    if config.augment != "none":
        lines.append(
            f"# not here: --augment={config.augment}, which distorts every image anew (engine/augmentation.py)"
        )
    arguments = [f"epochs={config.epochs}", f"batch_size={config.batch_size}"]
    if config.validation_fraction:
        lines.append("# Keras takes the last images for validation, mnist_mlp takes them at random")
        arguments.append(f"validation_split={config.validation_fraction!r}")
    callbacks = []
    if config.ema:
        callbacks.append("keras.callbacks.SwapEMAWeights()")
    if config.early_stopping:
        monitor = "val_loss" if config.validation_fraction else "loss"
        callbacks.append(f'keras.callbacks.EarlyStopping("{monitor}", patience={config.early_stopping})')
    if callbacks:
        arguments.append(f"callbacks=[{', '.join(callbacks)}]")
    return [*lines, f"model.fit(x_train, y_train, {', '.join(arguments)})"]
