"""The result of a run: one dataclass for the console, for result.json and for the page."""

from __future__ import annotations

import dataclasses
import math
import platform
import sys
import typing
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import __version__
from mnist_mlp.cli import variables
from mnist_mlp.config import UNITS
from mnist_mlp.stats.metrics import per_class, wilson_interval

if TYPE_CHECKING:
    import keras

    from mnist_mlp.data import Dataset
    from mnist_mlp.devices import Plan
    from mnist_mlp.engine.base import Counts, Engine


@dataclasses.dataclass(frozen=True)
class Result:
    """All that is known of a run. Its fields are the keys of result.json; seconds are wall-clock seconds."""

    model: str
    pixels: str
    parameters: int
    layers: list[dict[str, Any]]  # name, kind, output, parameters, arithmetic
    dataset: dict[str, Any]  # name, source, verified, notes, train_examples, validation_examples, test_examples
    batch_size: int
    steps_per_epoch: int
    evaluation_steps: int
    optimizer: str
    learning_rate: float
    epochs: list[dict[str, Any]]  # epoch, loss, accuracy, seconds, and validation_* if images were kept for it
    test: dict[str, Any]  # correct, total, accuracy, interval, loss, confusion, per_class
    device: dict[
        str, Any
    ]  # requested, strategy, actual, weights_on, step_on, replicas, workers, worker_index, xla, environment, notes
    precision: str
    backend: str
    engine: str
    seed: int
    preset: str
    resumed: list[
        dict[str, Any]
    ]  # one entry per resume: step, of, before and now (backend, device, versions, …), passed_over
    model_sha256: str  # of model.keras
    versions: dict[str, str]
    # Of the last process: import, load, compile (and build), train, evaluate, save, report, total.
    seconds: dict[str, float]
    peak_memory_mb: float
    diagnosis: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # of `--diagnose`: name, seen, remedy, …
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)  # schedule, warmup, …: config.RECIPE; steps
    gate: dict[str, Any] = dataclasses.field(default_factory=dict)  # of `--gate`: passed, p, found, right, losses, …
    # Of `--init_from`: run, model_sha256, dataset, data, test, before, and after for another data set; notes
    initial: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def network(self) -> str:
        """The model, with the widths of its hidden layers if they are not its own: "mlp 256,128"."""
        return network_of(self.model, self.layers)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Result:
        """Return the result that `to_dict` wrote. Raise TypeError or KeyError for what is none."""
        result = cls(**values)
        for name, annotation in typing.get_type_hints(cls).items():
            kind = typing.get_origin(annotation) or annotation
            if not isinstance(getattr(result, name), (int, float) if kind is float else kind):
                raise TypeError(f"expected {name} as {kind.__name__}")
        for key in ("name", "train_examples", "validation_examples", "test_examples"):
            result.dataset[key]
        for key in ("correct", "confusion"):
            result.test[key]
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; a loss that is not finite becomes null."""
        return finite(dataclasses.asdict(self))

    def _repr_html_(self) -> str:
        from mnist_mlp.runs import notebook

        return notebook.render(self)


def network_of(model: str, layers: list[dict[str, Any]]) -> str:
    """Return `Result.network` from the model and the layers of a result."""
    hidden = tuple(row["output"][-1] for row in layers if row["kind"] == "Dense" and row["name"] != "logits")
    own = not hidden or hidden == UNITS.get(model)
    return model if own else f"{model} {','.join(map(str, hidden))}"


def finite(value: Any) -> Any:
    """Return the value with None for each float that JSON does not have (nan, inf)."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def layer_rows(model: keras.Model) -> list[dict[str, Any]]:
    """Return a row per layer, with the arithmetic of its parameters: "(784 + 1) · 128"."""
    rows = []
    for layer in model.layers[1:]:  # without the input, which is no layer of the network
        shapes = [tuple(variable.shape) for variable in layer.trainable_variables]
        arithmetic = ""
        if shapes:
            *fan_in, units = shapes[0]  # the kernel; each unit has one bias more
            arithmetic = f"({'·'.join(map(str, fan_in))} + 1) · {units}"
        rows.append(
            {
                "name": layer.name,
                "kind": type(layer).__name__,
                "output": list(layer.output.shape[1:]),
                "parameters": sum(math.prod(shape) for shape in shapes),
                "arithmetic": arithmetic,
            }
        )
    return rows


def dataset_block(dataset: Dataset, train: int, validation: int) -> dict[str, Any]:
    """Return the `dataset` part of a result; `train` and `validation` are numbers of examples."""
    return {
        "name": dataset.name,
        "source": dataset.source,
        "verified": dataset.verified,
        "notes": list(dataset.notes),
        "train_examples": train,
        "validation_examples": validation,
        "test_examples": len(dataset.test),
        **({"classes": list(dataset.classes)} if dataset.classes else {}),
    }


def device_block(plan: Plan, engine: Engine) -> dict[str, Any]:
    """Return the `device` part of a result: what was requested, and what the framework reports it ran on."""
    devices = engine.devices
    return {
        "requested": plan.requested,
        "strategy": plan.strategy,
        "actual": devices.name,
        "weights_on": engine.weights_on,
        "step_on": engine.step_on,
        "replicas": devices.replicas,
        "workers": max(1, len(plan.workers)),
        "worker_index": plan.worker_index,
        "xla": engine.xla,
        "environment": variables.recorded(engine.backend),
        "notes": list(devices.notes),
    }


def ran_on(engine: Engine) -> dict[str, Any]:
    """Return what computes. If it is the same before and after a stop, every bit is the same too."""
    devices = engine.devices
    return {
        "backend": engine.backend,
        "device": devices.name,
        "replicas": devices.replicas,
        "xla": engine.xla,
        **versions(engine.backend),
        "environment": variables.listed(variables.recorded(engine.backend)) or "default",
    }


def scores(counts: Counts) -> dict[str, Any]:
    """Return the `test` part of a result."""
    return {
        "correct": counts.correct,
        "total": counts.total,
        "accuracy": counts.correct / counts.total,
        "interval": list(wilson_interval(counts.correct, counts.total)),
        "loss": counts.loss_sum / counts.total,
        "confusion": counts.confusion.tolist(),
        "per_class": per_class(counts.confusion),
    }


def versions(backend: str) -> dict[str, str]:
    """Return the versions of what computes the numbers on a backend."""
    found = {"mnist_mlp": __version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in ("keras", *({"jax": ("jax", "jaxlib")}.get(backend, (backend,)))):
        found[name] = sys.modules[name].__version__
    return found
