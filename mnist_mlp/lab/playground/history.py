"""Run the Playground without a browser: `run` trains one seed, `run_seeds` several at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mnist_mlp.errors import UserError
from mnist_mlp.lab.playground.network import (
    EXACT,
    Array,
    Network,
    Schedule,
    Work,
    activations_of,
    features,
    initial_parameters,
    layers_of,
    rows_of,
    with_ones,
)
from mnist_mlp.lab.playground.points import Point, split_points, with_signs
from mnist_mlp.lab.playground.random_stream import Stream
from mnist_mlp.lab.playground.url_state import State, parameter_count
from mnist_mlp.text import quoted

EPOCHS = 1_000_000  # at most
RECORDS = 2_000_000  # recorded epochs of all seeds together, at most
NUMBERS = 150_000_000  # float64 numbers in the buffers of all seeds together, at most: 1.2 GB
Losses = list[dict[str, float]]
Progress = Callable[[int], object]


@dataclasses.dataclass(frozen=True)
class History:
    """The result of a run.

    Attributes:
        losses: For each epoch from 0 (before training), the mean of ½(o − t)² over the training and the test points;
            nan if there are none.
        accuracy: The fraction of points classified correctly at the end; None for regression.
        initial_parameters, parameters: Layer by layer, node by node, the bias and then the weights of the node.
        dead_weights: The number of weights that L1 has set to 0 for good.
        train_points, test_points: [x, y, label] of each point.
        own_points: Whether the points were passed in, instead of drawn for the dataset and noise of the state.
    """

    state: State
    losses: Losses
    accuracy: dict[str, float] | None
    initial_parameters: list[float]
    parameters: list[float]
    dead_weights: int
    train_points: list[list[float]]
    test_points: list[list[float]]
    own_points: bool = False

    @property
    def epochs(self) -> int:
        return len(self.losses) - 1

    @property
    def finite(self) -> bool:
        """Whether all parameters are finite."""
        return all(map(math.isfinite, self.parameters))

    def layers(self, parameters: Sequence[float] | None = None) -> list[Array]:
        """Return the weights of each layer, float64 [units, 1 + inputs], biases in column 0 (default: at the end)."""
        return layers_of(np.array(self.parameters if parameters is None else parameters, float), self.state.sizes)

    def activations(self, xy: Any, parameters: Sequence[float] | None = None) -> list[Array]:
        """Return the values of the nodes at xy, float64 [n, 2]: arrays [nodes, n], features first, output last."""
        xy = np.asarray(xy, float).reshape(-1, 2)
        values = [rows_of(self.state, xy[:, 0], xy[:, 1])]
        with np.errstate(all="ignore"):
            for layer, activation in zip(self.layers(parameters), activations_of(self.state), strict=True):
                outputs = layer @ with_ones(values[-1])
                activation.apply(outputs)
                values.append(outputs)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return everything as one JSON object; numbers that are not finite become None."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        head = {"url": self.state.to_url(), "seed": self.state.seed, "epochs": self.epochs}
        return json_ready({**head, **values, "state": self.state.to_dict()})


def json_ready(value: Any) -> Any:
    """Replace numbers that are not finite by None: JSON has no nan."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run(
    state: State | str,
    epochs: int,
    *,
    points: Sequence[Sequence[float]] | None = None,
    progress: Progress | None = None,
) -> History:
    """Train the network of a state or URL for `epochs` epochs, like a freshly loaded page.

    `points`: your own [x, y, label] (labels −1 and 1, or 0 and 1; any for regression) instead of the state's data.
    `progress` is called with the number of each epoch. Raise `UserError` for what cannot be computed.
    """
    state = state_of(state)
    return run_seeds(state, epochs, [state.seed], points=points, progress=progress)[0]


def run_seeds(
    state: State | str,
    epochs: int,
    seeds: Sequence[str],
    *,
    points: Sequence[Sequence[float]] | None = None,
    progress: Progress | None = None,
) -> list[History]:
    """Like `run`, for several seeds trained side by side."""
    state, seeds = state_of(state), seed_list(seeds)
    epochs = check_amount(epochs, len(seeds))
    if not seeds:
        return []
    own = None if points is None else checked_points(points, state.problem)
    states = [dataclasses.replace(state, seed=seed) for seed in seeds]
    check_memory(state, len(seeds), len(own) if own else 1200)

    splits, starts = [], []
    for each in states:
        stream = Stream(each.seed)
        splits.append(split_points(each, stream, own))
        starts.append(initial_parameters(each, stream))
    single = len(seeds) == 1
    parameters = starts[0].copy() if single else np.array(starts)
    network = Network(state, parameters)
    inputs = [features(state, [*train, *test]) for train, test in splits]
    labels = [np.array([[point[2] for point in (*train, *test)]], float) for train, test in splits]
    samples = Samples(
        with_ones(inputs[0] if single else np.array(inputs)),
        labels[0] if single else np.array(labels),
        len(splits[0][0]),
    )
    with np.errstate(all="ignore"):  # numbers that are not finite are reported at the end
        losses, outputs = train(network, samples, epochs, progress)
    ends, dead = parameters.reshape(len(seeds), -1), network.dead.reshape(len(seeds), -1)
    return [
        History(
            state=each,
            losses=[{"train": a, "test": b} for a, b in losses[:, k].tolist()],
            accuracy=accuracy(state, outputs[k], labels[k], len(splits[k][0])),
            initial_parameters=starts[k].tolist(),
            parameters=ends[k].tolist(),
            dead_weights=int(dead[k].sum()),
            train_points=[list(map(float, point)) for point in splits[k][0]],
            test_points=[list(map(float, point)) for point in splits[k][1]],
            own_points=own is not None,
        )
        for k, each in enumerate(states)
    ]


class Samples(NamedTuple):
    """The points of K networks, training points first; a single network has arrays without the first axis."""

    inputs: Array  # [K, 1 + F, n]
    labels: Array  # [K, 1, n]
    n_train: int


def train(network: Network, samples: Samples, epochs: int, progress: Progress | None) -> tuple[Array, Array]:
    """Train on the training points. Return the losses [1 + epochs, K, 2] and the final outputs [K, 1, n]."""
    inputs, labels, n_train = samples
    schedule = Schedule(network.state, network.lead, inputs[..., :n_train], labels[..., :n_train])
    n = inputs.shape[-1]
    work = Work(network.sizes, network.lead, n)
    square = np.empty_like(labels)
    losses = np.empty((1 + epochs, math.prod(network.lead), 2))

    def record(epoch: int) -> Array:
        outputs = network.forward(inputs, work)
        np.subtract(outputs, labels, out=square)
        np.multiply(square, square, out=square)
        for side, part in enumerate((square[..., :n_train], square[..., n_train:])):
            losses[epoch, :, side] = 0.5 * part.sum(axis=-1).reshape(-1) / part.shape[-1]  # 0 / 0 is nan, as there
        return outputs

    outputs = record(0)
    for epoch in range(1, epochs + 1):
        # Identical neurons stay identical on the page, which sums in order; with BLAS they would drift apart.
        network.exact = epoch <= EXACT or network.state.initZero
        for batch in schedule.first if epoch == 1 else schedule.later:
            network.step(batch)
        outputs = record(epoch)
        if progress:
            progress(epoch)
    return losses, outputs.reshape(-1, 1, n)


def accuracy(state: State, outputs: Array, labels: Array, n_train: int) -> dict[str, float] | None:
    """Return the fraction of points whose output has the sign of their label; 0 counts as +1; nan without points."""
    if state.problem == "regression":
        return None
    correct = (np.where(outputs >= 0, 1.0, -1.0) == labels) & ~np.isnan(outputs)
    parts = {"train": correct[..., :n_train], "test": correct[..., n_train:]}
    return {name: float(part.mean()) if part.size else math.nan for name, part in parts.items()}


def state_of(state: Any) -> State:
    """Return the state itself, or that of a URL."""
    if isinstance(state, State):
        return state
    if isinstance(state, str):
        return State.from_url(state)
    raise UserError(
        f"state: expected a Playground URL or a State, received {quoted(state)}; try State() for the page's defaults"
    )


def seed_list(seeds: Any) -> list[str]:
    """Return seeds as a list; a single string is not a list of its characters."""
    if isinstance(seeds, str | bytes) or not hasattr(seeds, "__iter__"):
        raise UserError(f'seeds: expected a list of strings, received {quoted(seeds)}; try ["1", "2"]')
    return list(seeds)


def check_amount(epochs: Any, seeds: int) -> int:
    """Return the epochs as an int. Raise `UserError` for more than can be recorded."""
    if isinstance(epochs, np.integer):
        epochs = int(epochs)
    if isinstance(epochs, bool) or not isinstance(epochs, int) or not 0 <= epochs <= EPOCHS:
        raise UserError(
            f"--epochs: expected a whole number from 0 to {EPOCHS:,}, received {epochs!r}; try --epochs=100"
        )
    if (1 + epochs) * seeds > RECORDS:
        raise UserError(
            f"--epochs={epochs} --seeds={seeds}: expected at most {RECORDS:,} epochs in total, received "
            f"{(1 + epochs) * seeds:,}; try fewer of either"
        )
    return epochs


def check_memory(state: State, seeds: int, n: int) -> None:
    """Raise `UserError` if a network with its points and seeds would take too much memory."""
    needed = seeds * (4 * parameter_count(state.sizes) + 4 * n * sum(1 + size for size in state.sizes))
    if needed > NUMBERS:
        raise UserError(
            f"expected at most {NUMBERS:,} numbers in memory, received a network of {parameter_count(state.sizes):,} "
            f"weights and biases on {n:,} points with --seeds={seeds}, which needs {needed:,}; try fewer of any"
        )


def checked_points(points: Sequence[Sequence[float]], problem: str) -> list[Point]:
    """Return your own points as tuples, with labels −1 and 1 for classification."""
    try:
        array = np.array(points, float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or not np.isfinite(array).all():
        raise UserError("points: expected [x, y, label] of finite numbers for each point, received something else")
    rows = [(x, y, label) for x, y, label in array.tolist()]
    return rows if problem == "regression" else with_signs("points", list(enumerate(rows, start=1)))
