"""Keras' optimizers, with schedules of the learning rate, weight decay and averaged weights."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from mnist_mlp.config import SCHEDULES
from mnist_mlp.errors import UserError

if TYPE_CHECKING:
    from mnist_mlp.config import Config
    from mnist_mlp.engine.base import Engine

WRONG = {  # Keras' optimizers (seen in 3.13 and 3.15) that compute something else on one of its backends
    ("schedulefreeadamw", "tensorflow"): "Keras reads its old momentum after the update there; use --backend=jax",
    ("adafactor", "jax"): "it gives nan where a pixel is always 0; use --optimizer=adamw",
    ("adafactor", "tensorflow"): "it gives nan where a pixel is always 0; use --optimizer=adamw",
}


def make_optimizer(name: str, learning_rate: Any, **more: Any) -> keras.Optimizer:
    """Return the Keras optimizer of that name, with its default learning rate if `learning_rate` is None.

    The rate is a number or a schedule; `more` are other arguments. Raise `UserError` if this Keras does not have the
    optimizer, or computes it wrongly on this backend.
    """
    kind = kind_of(name)
    return kind(**more) if learning_rate is None else kind(learning_rate, **more)


def kind_of(name: str) -> type[keras.Optimizer]:
    """Return the class of that name. Raise `UserError` as `make_optimizer` does."""
    if reason := WRONG.get((name, keras.backend.backend())):
        raise UserError(f"--optimizer={name}: {reason}")
    classes = {key.lower(): value for key, value in vars(keras.optimizers).items()}
    if name not in classes:
        raise UserError(f"--optimizer={name}: Keras {keras.__version__} does not have it; run pip install -U keras")
    return classes[name]


def from_config(config: Config, steps_per_epoch: int) -> keras.Optimizer:
    """Return the optimizer of a run."""
    more: dict[str, Any] = {}
    if config.weight_decay is not None:
        more["weight_decay"] = config.weight_decay
        if "adam_weight_decay" in inspect.signature(kind_of(config.optimizer)).parameters:
            more["adam_weight_decay"] = config.weight_decay  # muon's for what is no matrix; Keras 3.12 has one for all
    if config.ema:
        more |= {"use_ema": True, "ema_momentum": config.ema}
    rate: Any = config.learning_rate
    if config.schedule != "constant" or config.warmup:
        own = inspect.signature(kind_of(config.optimizer)).parameters["learning_rate"].default
        rate = Schedule(rate or own, config.schedule, config.epochs * steps_per_epoch, config.warmup)
    return make_optimizer(config.optimizer, rate, **more)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly to its peak, and then stays there, or decays to 0 at the end of the run.

    `kind`: "constant", "linear" or "cosine" (half a wave). `warmup` is the share of the steps in which it rises. The
    first step after these has the peak; the last one is one step short of 0.
    """

    def __init__(self, peak: float, kind: str, steps: int, warmup: float):
        if kind not in SCHEDULES:
            raise ValueError(f"Expected one of {', '.join(SCHEDULES)}. Received {kind!r}.")
        self.peak, self.kind, self.steps, self.warmup = peak, kind, steps, warmup
        self.rising = math.ceil(round(warmup * steps, 6))  # steps; 0.07 · 100 is 7.000000000000001

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rise = ops.minimum(1.0, (step + 1) / (self.rising + 1))
        gone = ops.clip((step - self.rising) / max(1, self.steps - self.rising), 0.0, 1.0)
        falls = {"constant": 1.0, "linear": 1 - gone, "cosine": (1 + ops.cos(math.pi * gone)) / 2}
        return self.peak * rise * falls[self.kind]

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "kind": self.kind, "steps": self.steps, "warmup": self.warmup}


def peak_rate(optimizer: keras.Optimizer) -> float:
    """Return the learning rate of an optimizer; of a schedule, its peak."""
    schedule = optimizer._learning_rate  # private: `learning_rate` is that of the next step
    if isinstance(schedule, Schedule):
        return schedule.peak
    return float(f"{float(ops.convert_to_numpy(optimizer.learning_rate)):.7g}")  # float32: 0.001, not 0.00100000004749


def set_rate(engine: Engine, rate: float) -> None:
    """Set the learning rate from the next step on. Raise `UserError` for a run whose rate follows a schedule."""
    optimizer = engine.optimizer
    if optimizer is None or isinstance(optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        raise UserError(
            "--learning_rate: expected a run with a constant learning rate, this one follows a schedule; "
            "start another run with --schedule=constant --warmup=0"
        )
    optimizer.learning_rate = rate
    engine.restore(engine.state())  # JAX's arrays on the device do not see what Keras assigned


@contextlib.contextmanager
def averaged(engine: Engine) -> Iterator[None]:
    """Give the network its averaged weights within the block, if its optimizer averages them."""
    before = engine.state() if averaging_optimizer(engine) is not None else None
    use_averaged_weights(engine)
    try:
        yield
    finally:
        if before is not None:
            engine.restore(before)


def use_averaged_weights(engine: Engine) -> None:
    """Give the network its averaged weights, if its optimizer averages them. It is not to be trained afterwards."""
    if (optimizer := averaging_optimizer(engine)) is not None:
        optimizer.finalize_variable_values(engine.model.trainable_variables)
        engine.restore(engine.state())  # JAX's arrays on the device do not see what Keras assigned


def averaging_optimizer(engine: Engine) -> keras.Optimizer | None:
    """Return the engine's optimizer if it keeps an average of the weights and has made a step."""
    optimizer = engine.optimizer
    has_average = optimizer is not None and optimizer.use_ema and ops.convert_to_numpy(optimizer.iterations)
    return optimizer if has_average else None
