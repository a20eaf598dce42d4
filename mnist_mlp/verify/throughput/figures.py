"""What to measure of a device, and what was measured: raw figures, from which everything else follows."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_mlp.verify.throughput import clocks
from mnist_mlp.verify.throughput.clocks import JUDGED, Interval


@dataclasses.dataclass(frozen=True)
class Effort:
    """What to measure. The first rounds are made in any case, the others as far as the time allows."""

    batch_sizes: Sequence[int]  # in their order, the largest last
    rounds: int
    call_seconds: float  # which a call lasts about, if it has enough steps
    seconds: float  # in all


@dataclasses.dataclass(frozen=True)
class BatchTiming:
    """Calls of `engine.train` with one batch size. Intervals are of whole calls, each until its results are there."""

    batch_size: int
    compile_seconds: float  # of a call without a step: tracing and compiling
    steps_per_call: int
    calls: Sequence[Interval]
    step_flops: float  # as the framework counts them
    steps_per_short_call: int = 0
    short_calls: Sequence[Interval] = ()  # of fewer steps, made in turn with the others; none if a step is long
    steps_asked: int = 0  # in all calls, those not timed included
    steps_made: int = 0  # by the optimizer's own counter
    finite: bool = True  # all losses and weights
    unchanged: Sequence[str] = ()  # weights that no step has changed

    @property
    def seconds(self) -> list[float]:
        """The seconds of a step, one value for each call."""
        return [call[JUDGED] / self.steps_per_call for call in self.calls]

    @property
    def step_seconds(self) -> float:
        return statistics.median(self.seconds)

    @property
    def images_per_second(self) -> float:
        return self.batch_size / self.step_seconds if self.step_seconds > 0 else 0.0

    @property
    def flops_per_second(self) -> float:
        return self.step_flops / self.step_seconds if self.step_seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "step_seconds": self.step_seconds,
            "step_seconds_min": min(self.seconds),
            "step_seconds_max": max(self.seconds),
            "calls": len(self.calls),
            "steps_per_call": self.steps_per_call,
            "images_per_second": self.images_per_second,
            "step_flops": self.step_flops,
            "flops_per_second": self.flops_per_second,
            "compile_seconds": self.compile_seconds,
        }


@dataclasses.dataclass(frozen=True)
class ProductTiming:
    """Calls of n products of float32 matrices [size, size] in a row, on each replica."""

    size: int
    replicas: int
    products_per_call: int
    calls: Sequence[Interval]
    error: float  # of the last row of some products, relative to its norm; each is known

    @property
    def rates(self) -> list[float]:
        """Operations per second of all replicas together, one value for each call."""
        flops = 2.0 * self.size**3 * self.products_per_call * self.replicas
        return [flops / call[JUDGED] if call[JUDGED] > 0 else 0.0 for call in self.calls]

    @property
    def flops_per_second(self) -> float:
        """What the device reaches: the best call, since whatever disturbs one makes it slower."""
        return max(self.rates)

    def as_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "flops_per_second": self.flops_per_second,
            "flops_per_second_median": statistics.median(self.rates),
            "calls": len(self.calls),
            "products_per_call": self.products_per_call,
            "relative_error": self.error,
        }


@dataclasses.dataclass(frozen=True)
class CopyTiming:
    """Copies from NumPy's memory to each replica's device, each until all of it is there."""

    bytes: int
    calls: Sequence[Interval]
    complete: bool  # the last image came back as it was

    @property
    def seconds(self) -> float:
        return statistics.median(call[JUDGED] for call in self.calls)

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "bytes": self.bytes,
            "seconds": self.seconds,
            "bytes_per_second": self.bytes_per_second,
            "calls": len(self.calls),
        }


@dataclasses.dataclass(frozen=True)
class Figures:
    """All that was measured of a device."""

    device: str  # "GPU: NVIDIA L4"
    kind: str  # "GPU"
    cores: int  # processors of the machine
    batches: Sequence[BatchTiming]  # by size
    product: ProductTiming
    copy: CopyTiming
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)  # batch size: why it was not measured

    @property
    def intervals(self) -> list[Interval]:
        """Everything that was timed."""
        found: list[Interval] = [*self.product.calls, *self.copy.calls]
        for batch in self.batches:
            found += [*batch.calls, *batch.short_calls]
        return found

    def share(self, batch: BatchTiming) -> float:
        """Return the operations per second of a batch's step, relative to those of the matrix product."""
        return batch.flops_per_second / self.product.flops_per_second if self.product.flops_per_second > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the figures for verify.json."""
        return {
            "device": self.device,
            "batches": [{**batch.as_json(), "share_of_matrix_product": self.share(batch)} for batch in self.batches],
            "left_out": dict(self.left_out),
            "matrix_product": self.product.as_json(),
            "copy_to_device": self.copy.as_json(),
            "clocks": clocks.as_json(self.intervals),
        }

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> Figures:
        """Return the figures of which `raw` is `dataclasses.asdict`, perhaps read from a JSON file."""
        parts = {
            "batches": tuple(BatchTiming(**batch) for batch in raw["batches"]),
            "product": ProductTiming(**raw["product"]),
            "copy": CopyTiming(**raw["copy"]),
        }
        return cls(**{**raw, **parts})
