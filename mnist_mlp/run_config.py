"""The config of a run, from the command line, a file of options, a preset, or the run that is to go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mnist_mlp.config import DEVICE, PRESETS, Config, with_file, with_preset
from mnist_mlp.errors import UserError
from mnist_mlp.options import path_of
from mnist_mlp.runs import directory


def config_of(given: Mapping[str, Any]) -> Config:
    """The config that the flags on the command line make. What they leave out comes from the preset, or from the run
    that is to be resumed; one that goes on elsewhere (`--strategy`) takes nothing of its old place along."""
    given = with_file(given)
    if given.get("resume") and not given.get("run_dir"):
        raise UserError("--resume: expected the run to go on with, received none; type --run_dir=DIR --resume")
    begun = directory.config_of_run(path_of("run_dir", given["run_dir"])) if given.get("resume") else None
    if begun is None:
        return with_preset(PRESETS, given)
    if "strategy" in given:
        begun = dataclasses.replace(begun, **{name: getattr(Config, name) for name in DEVICE})
    return dataclasses.replace(begun, **given)
