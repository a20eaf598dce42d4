"""Measure a device: the steps of the engine as a run makes them, a large matrix product, and copies of images.

What is measured is measured in turn, round after round, so that a busy moment of the machine falls on all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import devices
from mnist_mlp.data import Dataset, Split
from mnist_mlp.data.batches import batch_indices
from mnist_mlp.verify.throughput import clocks, memory
from mnist_mlp.verify.throughput.clocks import Interval, longest, timed
from mnist_mlp.verify.throughput.figures import BatchTiming, CopyTiming, Effort, Figures, ProductTiming

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine

# Rows of a matrix. With fewer, threads wait for one another, the more the busier a machine is.
SMALLEST_PRODUCT, LARGEST_PRODUCT = 1_024, 8_192
PRODUCT_SECONDS = 0.005  # which one product takes at least: a hundred times what a call costs
TRIES = 2  # of which the quicker one counts, when the length of a call is chosen
GROWTH = 8  # times as many steps are tried as were too few
CHECKED = 3  # products, an odd number, whose result is compared with the known one
SHORT = 4  # a short call has a fourth of the steps of a long one
SEVERAL = 2  # steps, or products, that a call makes at least, unless a step is long
LONG = 2  # times what a call should last: a step that lasts longer is timed alone
BYTES_PER_IMAGE = 12_000  # of a batch on a CPU, at the peak of a step: its pixels as float32 three times, and the rest
# Steps of which an order has the indices, at least. An accelerator makes a step on the largest batch in under a
# millisecond, so a call needs many. All indices are copied in each call: a CPU, which is slower, has to have few.
STEPS_ON_CPU, INDICES, MOST_STEPS = 8, 2**22, 2_048
FEWEST = 3  # rounds, so that one disturbed call is outvoted


def measure(plan: devices.Plan, effort: Effort, dataset: Dataset, *, seed: int, start_timeout: float) -> Figures:
    """Measure the device of a plan, whose framework is loaded. The images are those of `dataset`, repeated.

    Raise `MemoryError` if no batch size fits into memory.
    """
    began, split = clocks.read(), repeated(dataset.train, max(effort.batch_sizes))
    trials: list[BatchTrial] = []
    left_out: dict[str, str] = {}
    for size in effort.batch_sizes:
        if left_out:  # a smaller one has not fitted
            left_out[str(size)] = "too little memory for a smaller one"
        elif reason := too_large_for_cpu(plan, size):
            left_out[str(size)] = reason
        else:
            trial = attempt(lambda size=size: BatchTrial(plan, split, size, effort, seed, start_timeout))  # type: ignore[misc]
            if isinstance(trial, BatchTrial):
                trials.append(trial)
            else:
                left_out[str(size)] = trial
    if not trials:
        raise none_fits(left_out)
    engine = trials[0].engine
    product, copy = ProductTrial(engine, effort.call_seconds), CopyTrial(engine, split.images)
    for number in range(effort.rounds):
        for trial in list(trials):
            if why := attempt(trial.measure):
                trials.remove(trial)
                left_out[str(trial.batch_size)] = why
        if not trials:
            raise none_fits(left_out)
        product.measure()
        copy.measure()
        if number + 1 >= FEWEST and longest(clocks.since(began)) > effort.seconds * (number + 1) / (number + 2):
            break  # another round would take too long
    return Figures(
        device=engine.devices.name,
        kind=engine.devices.kind,
        cores=clocks.cores(),
        batches=tuple(trial.timing() for trial in trials),
        product=product.timing(),
        copy=copy.timing(),
        left_out=left_out,
    )


def none_fits(left_out: Mapping[str, str]) -> MemoryError:
    return MemoryError("; ".join(f"batch size {int(size):,}: {why}" for size, why in left_out.items()))


def repeated(split: Split, count: int) -> Split:
    """Return `count` examples: those of the split, again and again."""
    indices = np.arange(count) % len(split)
    return Split(split.images[indices], split.labels[indices])


def order_of(count: int, batch_size: int, seed: int, *, on_cpu: bool) -> np.ndarray:
    """Return the batch indices of an epoch, of several where that has too few steps."""
    order = batch_indices(seed, 0, count, batch_size)
    steps = STEPS_ON_CPU if on_cpu else min(MOST_STEPS, INDICES // batch_size)
    return np.tile(order, (max(1, -(-steps // len(order))), 1))


def attempt(function: Callable[[], Any]) -> Any:
    """Return what a function returns, or in words that memory is short."""
    try:
        return function()
    except Exception as error:
        if not memory.is_too_little(error):
            raise
        return " ".join(f"too little memory: {error}".split())[:200]


def too_large_for_cpu(plan: devices.Plan, batch_size: int) -> str:
    """Return why a batch would not fit into the memory of a machine whose CPU is the device, or ""."""
    free, needed = memory.available(), BYTES_PER_IMAGE * batch_size
    if plan.device != "cpu" or free is None or needed < free:
        return ""
    return f"too little memory: a step needs about {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free"


class BatchTrial:
    """An engine with one batch size, and what its calls took."""

    def __init__(
        self, plan: devices.Plan, split: Split, batch_size: int, effort: Effort, seed: int, start_timeout: float
    ):
        from mnist_mlp.engine.create import EngineSpec, create_engine
        from mnist_mlp.models import networks
        from mnist_mlp.training import optimizers

        spec = EngineSpec(
            lambda: networks.build("mlp", seed=seed),
            {"train": split},
            batch_size,
            lambda: optimizers.make_optimizer("adam", None),
        )
        self.batch_size = batch_size
        self.engine: Engine = create_engine(plan, spec, start_timeout=start_timeout)
        self.order = order_of(len(split), batch_size, seed, on_cpu=self.engine.devices.kind == "CPU")
        self.calls: list[Interval] = []
        self.short_calls: list[Interval] = []
        self.steps_asked, self.finite = 0, True
        self.before = self.engine.state()
        self.compile_seconds = timed(lambda: self.train(0))[clocks.JUDGED]
        self.step_flops = self.engine.step_flops()
        self.steps, self.short = self.choose_steps(effort.call_seconds)

    def train(self, steps: int) -> None:
        """Train `steps` steps in one call, from the first batch on. Their losses come back, so all are done."""
        sums = self.engine.train(self.order, 0, steps)
        self.steps_asked += steps
        self.finite &= bool(np.isfinite(sums.losses).all())

    def choose_steps(self, seconds: float) -> tuple[int, int]:
        """Return how many steps last about so long, and how many of them a short call has (0: none).

        The clock that counts most decides, so that one that stands still does not make this endless.
        """
        steps, took, goal = 1, self.seconds_of(1), seconds / 4
        if took < LONG * seconds:  # else a step is long, whatever the first call does besides
            took = self.seconds_of(1, tries=TRIES)
        while took < goal and steps < len(self.order):
            steps = min(len(self.order), steps * max(2, min(GROWTH, round(goal / took))))
            took = self.seconds_of(steps, tries=TRIES)
        wanted = round(seconds * steps / took)
        wanted = min(len(self.order), max(1 if took > LONG * seconds * steps else SEVERAL, wanted))
        return wanted, wanted // SHORT

    def seconds_of(self, steps: int, tries: int = 1) -> float:
        return max(min(longest(timed(lambda: self.train(steps))) for _ in range(tries)), 1e-9)

    def measure(self) -> None:
        """Time a short call and a long one."""
        if self.short:
            self.short_calls.append(timed(lambda: self.train(self.short)))
        self.calls.append(timed(lambda: self.train(self.steps)))

    def timing(self) -> BatchTiming:
        after = self.engine.state()
        weights = [
            name for name in after if name.startswith("model/") and np.issubdtype(after[name].dtype, np.floating)
        ]
        return BatchTiming(
            batch_size=self.batch_size,
            compile_seconds=self.compile_seconds,
            steps_per_call=self.steps,
            calls=tuple(self.calls),
            step_flops=self.step_flops,
            steps_per_short_call=self.short,
            short_calls=tuple(self.short_calls),
            steps_asked=self.steps_asked,
            steps_made=steps_in(after) - steps_in(self.before),
            finite=self.finite and all(bool(np.isfinite(after[name]).all()) for name in weights),
            unchanged=tuple(name for name in weights if np.array_equal(self.before[name], after[name])),
        )


def steps_in(state: dict[str, np.ndarray]) -> int:
    """Return how many steps an optimizer has counted."""
    return int(next(value for name, value in state.items() if name.endswith("/iteration")))


class ProductTrial:
    """A product of matrices so large that a device is busy with nothing else.

    The right one is a reflection, I − 2vvᵀ with |v| = 1: the products stay as large as the left one, every product
    of an odd number is the same, and it is known without multiplying matrices. All elements are random, as those of
    weights are: some processors multiply zeros faster.
    """

    def __init__(self, engine: Engine, call_seconds: float):
        self.engine, self.calls = engine, list[Interval]()
        self.size, seconds = SMALLEST_PRODUCT, self.use(SMALLEST_PRODUCT)
        while seconds < PRODUCT_SECONDS and self.size < LARGEST_PRODUCT:
            growth = 2 ** math.ceil(math.log2(PRODUCT_SECONDS / seconds) / 3)
            larger = min(LARGEST_PRODUCT, self.size * growth)
            found = attempt(lambda: self.use(larger))  # noqa: B023 (called at once)
            if isinstance(found, str):  # it does not fit into memory
                self.use(self.size)
                break
            self.size, seconds = larger, found
        self.products = max(SEVERAL, round(call_seconds / seconds))

    def use(self, size: int) -> float:
        """Prepare matrices of that size, and return how long a product of them takes, in seconds."""
        self.multiply = self.prepared(size)
        self.multiply(1)  # compiles
        return max(min(longest(timed(lambda: self.multiply(1))) for _ in range(TRIES)), 1e-9)

    def prepared(self, size: int) -> Callable[[int], np.ndarray]:
        random = np.random.default_rng(size)
        left = random.standard_normal((size, size), np.float32)
        v = random.standard_normal(size)
        v /= np.linalg.norm(v)
        right = (np.eye(size) - 2 * np.outer(v, v)).astype(np.float32)
        last = left[-1].astype(np.float64)
        self.expected = last - 2 * (last @ v) * v
        return self.engine.matrix_product(left, right)

    def measure(self) -> None:
        self.calls.append(timed(lambda: self.multiply(self.products)))

    def timing(self) -> ProductTiming:
        error = np.linalg.norm(self.multiply(CHECKED) - self.expected) / np.linalg.norm(self.expected)
        return ProductTiming(self.size, self.engine.devices.replicas, self.products, tuple(self.calls), float(error))


class CopyTrial:
    """Copies of images to the device."""

    def __init__(self, engine: Engine, images: np.ndarray):
        self.engine, self.images, self.complete, self.calls = engine, images, True, list[Interval]()
        self.copy()  # reading back compiles

    def copy(self) -> None:
        self.complete &= np.array_equal(self.engine.copy(self.images), self.images[-1])

    def measure(self) -> None:
        self.calls.append(timed(self.copy))

    def timing(self) -> CopyTiming:
        return CopyTiming(self.images.nbytes * self.engine.devices.replicas, tuple(self.calls), self.complete)
