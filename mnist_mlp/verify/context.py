"""What a stage knows: what was asked for, and the device with its engine, which several stages share."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp import devices
from mnist_mlp.cli import load_framework
from mnist_mlp.devices.machine import detect
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.engine import compilation_cache

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine
    from mnist_mlp.parity.command import Options as ParityOptions


@dataclasses.dataclass(frozen=True)
class Context:
    """A verification as its stages see it. `device` are the device options of `train` by name."""

    tier: str  # one of stages.TIERS
    seed: int
    device: dict[str, Any]  # strategy, backend, replicas, tpu, start_timeout
    data_dir: str  # of MNIST, or ""
    work: Path  # a directory that all stages of a verification share, and that is removed with it

    def for_tier(self, quick: Any, usual: Any, full: Any) -> Any:
        """Return the value for this verification's tier."""
        return {"quick": quick, "usual": usual, "full": full}[self.tier]

    @functools.cached_property
    def plan(self) -> devices.Plan:
        """The device. Raises `UserError`."""
        return choose(Request(**{name: self.device[name] for name in REQUEST}), detect())

    def load_framework(self) -> None:
        """Import the framework of the plan. In a quick verification on a CPU no program is compiled twice."""
        if self.tier == "quick" and self.plan.device == "cpu" and "keras" not in sys.modules:
            cache = self.work / "programs"
            cache.mkdir(exist_ok=True)
            os.environ.update(compilation_cache.settings(self.plan.backend, str(cache)))
        load_framework.load(self.plan)

    @functools.cached_property
    def parity_options(self) -> ParityOptions:
        """The problem that operations and parity are about: the lecture's network on the digits."""
        from mnist_mlp.parity.command import Options

        # An epoch has 45 steps of 32, or 6 of 256: either way its last batch, which is not full, is among them.
        steps, batch_size = self.for_tier((8, 256), (100, 32), (100, 32))
        return Options(**self.device, seed=self.seed, steps=steps, batch_size=batch_size)

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine of the parity problem on the device."""
        from mnist_mlp.config import Config
        from mnist_mlp.data import load as load_data
        from mnist_mlp.parity.command import start_engine

        self.load_framework()
        return start_engine(self.plan, self.parity_options, load_data(Config(dataset="digits")))


REQUEST = ("strategy", "backend", "replicas", "tpu")
