"""The finished run whose weights a new one starts from: --init_from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.files.atomic import digest
from mnist_mlp.options import path_of
from mnist_mlp.runs.directory import MODEL, as_flag
from mnist_mlp.runs.result import Result
from mnist_mlp.runs.saved import data_of_run, read_run

if TYPE_CHECKING:
    from mnist_mlp.data import Split
    from mnist_mlp.engine.base import Engine

TEST = "initial_test"  # the engine's name for the test images of the other data set
NETWORK = ("model", "units", "pixels")  # the options that decide which weights a network has, and what they mean


@dataclasses.dataclass(frozen=True)
class Source:
    """The run to start from."""

    path: Path
    config: Config
    result: Result

    def facts(self) -> dict[str, Any]:
        """Return what a result and its checkpoints say of this run, as JSON values."""
        data = data_of_run(self.config, self.result)
        return {
            "run": str(self.path),
            "model_sha256": self.result.model_sha256,
            "dataset": self.result.dataset["name"],
            "data": {name: getattr(data, name) for name in ("dataset", "data_dir", "data_source")},
            "test": short(self.result.test),
        }

    def copy_weights(self, engine: Engine) -> None:
        """Put the weights of this run into a model of the same network. Raise `UserError` if they were replaced."""
        from mnist_mlp.models import keras_file

        saved = keras_file.load(self.path / MODEL)
        if digest(self.path / MODEL) != self.result.model_sha256:
            raise UserError(f"--init_from={self.path}: {MODEL} was replaced while it was read; run the command again")
        weights = {f"model/{layer.name}/{each.name}": each for layer in saved.layers for each in layer.weights}
        engine.restore({**engine.state(), **{name: each.numpy() for name, each in weights.items()}})


def source_of(config: Config) -> Source:
    """Return the run that --init_from names. Raise `UserError` if it is none, or of another network than `config`."""
    flag = f"--init_from={config.init_from}"
    source = Source(*read_run(config.init_from, flag))
    wanted = network_of(source.config)
    if differing := [name for name in NETWORK if getattr(config, name) != wanted[name]]:
        has, given = (
            ", ".join(as_flag(name, values[name]) for name in differing) for values in (wanted, config.to_dict())
        )
        raise UserError(f"{flag}: expected the network of that run, {has}, received {given}; omit it")
    return source


def digest_of(config: Config) -> str:
    """Return the SHA-256 of the model that --init_from names, by which workers know that theirs are the same; "" if it
    is gone, as it may be when the run is resumed."""
    file = path_of("init_from", config.init_from) / MODEL
    return digest(file) if config.init_from and file.is_file() else ""


def network_of(config: Config) -> dict[str, Any]:
    """Return the options of the network, as a run that starts from one with this config must have them."""
    return {name: getattr(config, name) for name in NETWORK}


def other_test_images(facts: dict[str, Any], dataset: str) -> tuple[Split | None, str]:
    """Return the test images of the run to start from, or why there are none.

    There are none, without a reason, if `dataset`, the one of the new run, is the same: they are scored anyway.
    """
    from mnist_mlp import data

    if facts["dataset"] == dataset:
        return None, ""
    try:
        return data.load(Config(**facts["data"])).test, ""
    except UserError as error:
        return None, f"what was forgotten cannot be measured: {error}"


def short(test: dict[str, Any]) -> dict[str, Any]:
    """Return the score alone of the `test` part of a result."""
    return {key: test[key] for key in ("correct", "total", "accuracy", "interval", "loss")}
