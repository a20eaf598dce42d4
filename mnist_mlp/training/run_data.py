"""The data that a run gets: the same for all its workers, and for whoever goes on with it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.config import Config
from mnist_mlp.data.batches import split_validation
from mnist_mlp.data.dataset import in_order_hash
from mnist_mlp.devices import machine, rendezvous
from mnist_mlp.errors import UserError
from mnist_mlp.options import tagged
from mnist_mlp.runs import checkpoint, directory


def split(dataset: data.Dataset, config: Config) -> dict[str, data.Split]:
    """What the engine gets: train, test, and validation if images are kept for it."""
    train, validation = split_validation(dataset.train, config.validation_fraction, config.seed)
    return {"train": train, "test": dataset.test} | ({"validation": validation} if validation else {})


def hashes(dataset: data.Dataset) -> dict[str, str]:
    """What must be the same data for all workers, and when a run is resumed, image by image."""
    splits = {"training": dataset.train, "test": dataset.test}
    return {"name": dataset.name, **{f"{name} images": in_order_hash(part) for name, part in splits.items()}}


def meet_other_workers(plan: devices.Plan, run: directory.Run, hashes: Mapping[str, str]) -> None:
    """Of several workers: waits for the others, which must have the same flags, data and versions; they get the
    checkpoint from which the chief goes on."""
    if not plan.workers:
        return
    own = tagged(Config, may_differ="workers")
    flags = {f"--{name}": str(value) for name, value in run.config.to_dict().items() if name not in own}
    decided = {"backend": plan.backend, "device": plan.device, "versions": str(machine.installed_software())}
    packed = io.BytesIO()
    if run.found:
        np.savez(packed, **run.found.to_arrays())
    has, timeout = {**flags, **hashes, **decided}, run.config.start_timeout
    handed_out = rendezvous.meet(plan.workers, plan.worker_index, timeout, has, hand_out=packed.getvalue())
    if handed_out and not plan.chief:
        file = run.path / "handed-out.npz"
        file.write_bytes(handed_out)
        run.found = checkpoint.read(file)


def check(run: directory.Run, hashes: Mapping[str, str]) -> None:
    """Raises `UserError` where a run would go on with other images, or the same in another order."""
    if run.found and (other := [name for name, value in hashes.items() if run.found.data.get(name) != value]):
        raise UserError(
            f"--resume: expected the {run.found.data['name']} images that the run in {run.path} was begun with, "
            f"received {hashes['name']} whose {' and '.join(other)} differ; name their place with --data_dir=DIR"
        )
