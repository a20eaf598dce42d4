"""The contract of an engine: a model, an optimizer and the data, resident on a device.

*Batch indices* are int32 [steps, batch]: the examples of each step by index; -1 is padding and has weight 0.
The loss of a step is Σ wᵢlᵢ / Σ wᵢ over the global batch, plus the model's penalties; l is the cross-entropy in nats.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from mnist_mlp.errors import UserError

# Receives how far an epoch is: its steps so far, their mean loss and accuracy, and the seconds for each step.
OnProgress = Callable[[int, float, float, float], None]

# Receives the name of one of Keras' hooks of batches, the index of the batch in its epoch, and its logs ("loss",
# "accuracy"); returns whether the epoch is to end.
OnBatch = Callable[[str, int, Mapping[str, float]], bool]


@dataclasses.dataclass(frozen=True)
class Sums:
    """Sums over the examples of a call of `train`, each scored in the step that learns from it, before the update."""

    losses: np.ndarray  # float64 [steps], Σ cross-entropy over the examples of a step, in nats, without penalties
    correct: int
    seen: int

    @property
    def loss_sum(self) -> float:
        return float(self.losses.sum())


@dataclasses.dataclass(frozen=True)
class Counts:
    """Result of an evaluation; every example counts once."""

    confusion: np.ndarray  # int64 [10, 10], rows are the truth
    loss_sum: float

    @property
    def correct(self) -> int:
        return int(np.trace(self.confusion))

    @property
    def total(self) -> int:
        return int(self.confusion.sum())


@dataclasses.dataclass(frozen=True)
class DeviceSet:
    """The devices that a framework really provides for a plan. Each batch is split across the replicas."""

    name: str  # "GPU: NVIDIA L4"; the first three letters are CPU, GPU or TPU
    notes: tuple[str, ...] = ()  # what the user should know about them
    replicas: int = 1
    where: Any = None  # the framework's own object: JAX's devices, or a strategy of tf.distribute
    xla: bool | None = None  # whether to compile with XLA; None lets the engine choose
    workers: int = 1  # processes
    lost: tuple[type[Exception], ...] = ()  # what the framework raises if another worker is lost
    leave: Callable[[], None] = lambda: None  # ends the connection to the other workers, which do so at the same time

    @property
    def kind(self) -> str:
        return self.name[:3]

    def scope(self) -> AbstractContextManager[Any]:
        """Return a context in which Keras builds variables on all replicas."""
        return self.where.scope() if hasattr(self.where, "scope") else contextlib.nullcontext()


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What training does with a batch beyond the plain step."""

    augment: str = "none"  # one of augmentation.KINDS
    label_smoothing: float = 0.0  # 0 to 1; affects the training loss, not that of an evaluation
    seed: int = 0  # of the distortions


PLAIN = Recipe()


class Engine(Protocol):
    """A model, an optimizer and the data on a device. The three attributes may be set; properties are read-only."""

    seed: int  # of the distortions; another seed does not compile again
    on_progress: OnProgress | None  # called about once a second within a `train` that lasts a whole epoch
    on_batch: OnBatch | None  # called for each batch of a `train` that lasts a whole epoch, and of a validation

    @property
    def model(self) -> keras.Model: ...

    @property
    def optimizer(self) -> keras.Optimizer | None: ...

    @property
    def devices(self) -> DeviceSet: ...

    @property
    def backend(self) -> str:
        """ "tensorflow" or "jax"."""

    @property
    def xla(self) -> bool:
        """Whether XLA compiles the steps."""

    @property
    def weights_on(self) -> list[str]:
        """The devices that hold the weights, read back from the framework: ["GPU:0"]."""

    @property
    def step_on(self) -> list[str]:
        """The devices that ran the last compiled step, read back from the framework; [] if unknown."""

    @property
    def whole_epochs(self) -> bool:
        """Whether `train` takes all steps of an epoch in one call only, and returns a single loss sum."""

    def compile(self) -> None:
        """Compile what `train` and `evaluate` run. Change no weight."""

    def train(self, batch_indices: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        """Train on the rows `start` to `stop` of the batch indices. Blocks: signals are handled after it returns."""

    def evaluate(self, split: str) -> Counts:
        """Score every example of a split ("test" or "validation") once, for any batch size."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities, float32 [n, 10], of uint8 images [n, 28, 28]."""

    def logits(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        """Return the logits, float32 [n, 10], whose softmax `predict` returns."""

    def layers(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of the hidden layers and the probabilities (see `networks.with_hidden`) of uint8 images
        [n, 28, 28], in one call, which compiles again for each new n."""

    def pixel_gradients(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the derivative of each image's cross-entropy by its pixels, float32 [n, 28, 28], nats per grey level.

        `images` are uint8 [n, 28, 28], `labels` integers [n]. Nothing is trained.
        """

    def state(self) -> dict[str, np.ndarray]:
        """Return all that a resumed run needs, by name: weights, optimizer slots, random state, counters."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what `state` returned. Raise `UserError` for the state of another model."""

    def step_flops(self) -> float:
        """Return the floating-point operations of a training step over the global batch, as the framework counts."""

    def copy(self, array: np.ndarray) -> np.ndarray:
        """Copy an array to each replica's device, and wait until all of it is there. Return its last row, read back."""

    def matrix_product(self, left: np.ndarray, right: np.ndarray) -> Callable[[int], np.ndarray]:
        """Return a function that multiplies on each replica, compiled and in the precision of a training step.

        It takes a number n, computes left · right · right …, of n products, waits for it, and returns the last row.
        Both are float32 [size, size].
        """

    def mean_over_workers(self, values: Sequence[float]) -> list[float]:
        """Return the mean of each value over all workers, which must all call this: how they decide together."""

    def leave_workers(self) -> None:
        """Wait until the other workers have come to the end, too: one that leaves before looks like one that died."""

    def trace(self, directory: Path) -> AbstractContextManager[None]:
        """Write a trace of a block with the framework's profiler: plugins/profile/TIME/ below the directory."""


LOST = "(?i)aborted|unhealthy|peer|gloo|socket closed|unavailable|timed out|deadline|coordination"  # of a lost worker


@contextlib.contextmanager
def report_lost_workers(devices: DeviceSet) -> Iterator[None]:
    """Raise `UserError` instead of what a framework raises if another worker is lost."""
    try:
        yield
    except devices.lost as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = next((line for line in lines if re.search(LOST, line)), None)
        if reason is None:  # a failure of this worker: out of memory, for example
            raise
        raise UserError(
            f"--strategy=multiworker: lost the connection to another worker ({reason[:200]}); restart all workers"
        ) from None


def check_placement(engine: Engine) -> None:
    """Raise `UserError` if the weights or the last compiled step are on other devices than planned."""
    devices = engine.devices
    expected = devices.replicas if devices.workers == 1 else 1  # each of several workers sees at least its own
    for what, names in (("weights are", engine.weights_on), ("compiled step ran", engine.step_on)):
        if len(names) < expected or any(not name.startswith(devices.kind) for name in names):
            raise UserError(
                f"the {what} on {', '.join(names) or 'no known device'} instead of {devices.name} "
                f"(replicas: {devices.replicas}); run python -m mnist_mlp.doctor"
            )


def named_variables(model: keras.Model, optimizer: keras.Optimizer | None) -> dict[str, keras.Variable]:
    """Return all variables of a run. Their names depend on neither the backend nor what else the process has built."""
    named = {f"model/{layer.name}/{v.name}": v for layer in model.layers for v in layer.variables}
    if optimizer is not None:
        named |= {f"optimizer/{index}/{own_name(v)}": v for index, v in enumerate(optimizer.variables)}
    return named


def own_name(variable: keras.Variable) -> str:
    """Return a variable's name without the number that Keras gives to unnamed ones, such as one of Nadam's."""
    return re.sub(r"^variable_\d+$", "variable", variable.name)


def read_state(model: keras.Model, optimizer: keras.Optimizer | None) -> dict[str, np.ndarray]:
    """Return the values of all variables of a run, by name."""
    return {name: keras.ops.convert_to_numpy(v) for name, v in named_variables(model, optimizer).items()}


def write_state(model: keras.Model, optimizer: keras.Optimizer | None, state: Mapping[str, np.ndarray]) -> None:
    """Assign what `read_state` returned. Raise `UserError` if the state has other variables."""
    variables = named_variables(model, optimizer)
    different = sorted(state.keys() ^ variables.keys())
    different += [name for name, v in variables.items() if name in state and kind_of(state[name]) != kind_of(v)]
    if different:
        raise UserError(
            f"the checkpoint does not fit this model: {different[0]} differs (Keras {keras.__version__} is installed; "
            "another version may have written the checkpoint)"
        )
    for name, variable in variables.items():
        variable.assign(state[name])


def kind_of(values: np.ndarray | keras.Variable) -> tuple[tuple[int, ...], bool]:
    """Return the shape, and whether the values are floats. The integer type of a counter depends on the backend."""
    return tuple(values.shape), "float" in str(values.dtype)
