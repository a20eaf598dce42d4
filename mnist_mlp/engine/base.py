"""The contract of an engine: a model, an optimizer and the data set, resident on a device.

An *order* is int32 [steps, batch]: the examples of each step by index, -1 where there is none (weight 0).
The loss of a step is Σ wᵢlᵢ / Σ wᵢ over the global batch, plus the model's penalties; l is the cross-entropy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from mnist_mlp.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sums:
    """What training saw: the network scored on each example in the step that learned from it, before the update."""

    losses: np.ndarray  # float64 [steps], Σ cross-entropy over the examples of a step, in nats, without penalties
    correct: int
    seen: int

    @property
    def loss_sum(self) -> float:
        return float(self.losses.sum())


@dataclasses.dataclass(frozen=True)
class Counts:
    """What evaluation found; every example counts once."""

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
    """The devices that a framework really has for a plan. A batch is shared out over `replicas` of them."""

    device: str  # what computes: "GPU: NVIDIA L4"; its first three letters are CPU, GPU or TPU
    notes: tuple[str, ...] = ()  # what must be said of it
    replicas: int = 1
    where: Any = None  # the framework's own: JAX's devices, or a strategy of tf.distribute
    xla: bool | None = None  # True or False where the engine has no choice
    workers: int = 1  # processes
    lost: tuple[type[Exception], ...] = ()  # what the framework raises where another worker is gone

    @property
    def kind(self) -> str:
        return self.device[:3]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What training does with a batch beyond the plain step."""

    augment: str = "none"  # of distortions.KINDS
    label_smoothing: float = 0.0  # 0 to 1; of the loss that is trained on and told, not of an evaluation's
    seed: int = 0  # of the distortions


PLAIN = Recipe()


class Engine(Protocol):
    """What a device offers to the programs."""

    model: keras.Model
    optimizer: keras.Optimizer | None
    attached: DeviceSet
    backend: str
    xla: bool
    weights_on: list[str]  # the devices that hold the weights, read back from the framework: ["GPU:0"]
    step_on: list[str]  # those that the last compiled step ended on, read back likewise; [] where it is not known
    seed: int  # of the distortions; a program need not be compiled again for another one
    whole_epochs: bool  # whether `train` takes whole orders alone, and its `losses` are then one sum

    def compile(self) -> None:
        """Makes ready what `train` and `evaluate` run; changes no weight."""

    def train(self, order: np.ndarray, start: int = 0, stop: int | None = None) -> Sums:
        """Runs those steps of the order on the training images, in one call: nothing is heard until it ends."""

    def evaluate(self, split: str) -> Counts:
        """Scores a split ("test" or "validation"), every example once, for any batch size."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """float32 [n, 10], probabilities of uint8 images [n, 28, 28]."""

    def logits(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        """float32 [n, 10], what `predict` takes the softmax of; of so many images per call, if given."""

    def layers(self, images: np.ndarray) -> list[np.ndarray]:
        """What each hidden layer gives, and last the probabilities (see `models.with_hidden`), of uint8 images
        [n, 28, 28] in one call, which is compiled anew for another n."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything needed to go on, by name: weights, optimizer, random state, counters."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of `state`. Raises `UserError` for the state of another model."""

    def step_flops(self) -> float:
        """Floating-point operations of a training step over the global batch, as the framework counts them."""

    def mean_over_workers(self, values: Sequence[float]) -> list[float]:
        """The mean of each number over all worker processes, which must all call this: how they decide together."""


LOST = (
    "(?i)aborted|unhealthy|peer|gloo|socket closed|unavailable|timed out|deadline|coordination"  # said of a lost worker
)


@contextlib.contextmanager
def with_others(attached: DeviceSet) -> Iterator[None]:
    """Turns what a framework raises where another worker is gone into `UserError`."""
    try:
        yield
    except attached.lost as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        told = next((line for line in lines if re.search(LOST, line)), None)
        if told is None:  # out of memory, say: of this worker alone
            raise
        raise UserError(
            f"--strategy=multiworker: another worker ended or cannot be reached ({told[:200]}); start all of them again"
        ) from None


def check_places(engine: Engine) -> None:
    """Raises `UserError` if the weights or the last compiled step are elsewhere than on the devices of the plan."""
    attached = engine.attached
    here = attached.replicas if attached.workers == 1 else 1  # of several workers each sees its own, at least
    for what, places in (("weights", engine.weights_on), ("compiled step", engine.step_on)):
        if len(places) < here or any(not place.startswith(attached.kind) for place in places):
            raise UserError(
                f"expected the {what} on {attached.device} ({attached.replicas} replicas), found {', '.join(places)}; "
                "type python -m mnist_mlp.doctor"
            )


def named_variables(model: keras.Model, optimizer: keras.Optimizer | None) -> dict[str, keras.Variable]:
    """All variables of a run under names that depend on neither the backend nor what else the process has built."""
    named = {f"model/{layer.name}/{v.name}": v for layer in model.layers for v in layer.variables}
    if optimizer is not None:
        named |= {f"optimizer/{index}/{own_name(v)}": v for index, v in enumerate(optimizer.variables)}
    return named


def own_name(variable: keras.Variable) -> str:
    """Its name; without a number where Keras counts the process's unnamed variables, such as one of Nadam's."""
    return re.sub(r"^variable_\d+$", "variable", variable.name)


def read_state(model: keras.Model, optimizer: keras.Optimizer | None) -> dict[str, np.ndarray]:
    """The values of all variables of a run, by name."""
    return {name: keras.ops.convert_to_numpy(v) for name, v in named_variables(model, optimizer).items()}


def write_state(model: keras.Model, optimizer: keras.Optimizer | None, state: Mapping[str, np.ndarray]) -> None:
    """The inverse of `read_state`. Raises `UserError` for a state of other variables."""
    variables = named_variables(model, optimizer)
    strangers = sorted(state.keys() ^ variables.keys())
    strangers += [name for name, v in variables.items() if name in state and kind_of(state[name]) != kind_of(v)]
    if strangers:
        raise UserError(
            f"expected a checkpoint of this model, received one with another {strangers[0]} "
            f"(Keras {keras.__version__} is here; was it another one that wrote it?)"
        )
    for name, variable in variables.items():
        variable.assign(state[name])


def kind_of(values: np.ndarray | keras.Variable) -> tuple[tuple[int, ...], bool]:
    """Shape, and whether they are floats; which integers a counter has is each backend's affair."""
    return tuple(values.shape), "float" in str(values.dtype)
