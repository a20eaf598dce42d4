"""A process that soaks one device until SIGTERM, and writes what happens as lines of JSON to a pipe.

    python -m mnist_mlp.verify.soak.worker DESCRIPTOR REQUEST

It ends by itself when nobody reads the pipe any more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.cli import program, signals
from mnist_mlp.runs.result import finite
from mnist_mlp.verify.soak import placement, sensors
from mnist_mlp.verify.soak.placement import Slot
from mnist_mlp.verify.soak.repetition import Found, Soak, Varies, Work

if TYPE_CHECKING:
    from mnist_mlp.engine.base import Engine

BATCH_SIZE = 128  # 12 steps are an epoch of the embedded digits, the last of them with 29 images
EPOCHS = {"CPU": 50, "GPU": 400, "TPU": 400}  # that one call makes: about a second of a core, less of an accelerator
MOST_ON_TESTS = 0.05  # of the time goes to the tests of operations
FIRST_TEST = 10.0  # seconds after which the first one is made, which compiles them
BETWEEN_READINGS = {"CPU": 2.0, "GPU": 15.0}  # seconds: nvidia-smi takes up to one itself
Send = Callable[[Mapping[str, Any]], None]
Tests = Callable[[], list[dict[str, str]]]  # returns those operations whose results are wrong


def main(argv: Sequence[str]) -> None:
    descriptor, request = int(argv[0]), json.loads(argv[1])
    slot, seed = Slot(**request["slot"]), request["seed"]
    # A broken pipe: whoever started this process is gone.
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "w") as pipe, signals.requests() as stop:

        def send(event: Mapping[str, Any]) -> None:
            pipe.write(json.dumps(finite(dict(event))) + "\n")
            pipe.flush()

        placement.pin(placement.cores_of(slot, 1))  # before a framework starts as many threads as there are cores
        began = time.perf_counter()
        engine, work, tests = prepare(slot, seed)
        send({"event": "start", "device": engine.devices.name, "seconds": time.perf_counter() - began})
        Device(slot, engine, work, tests, send, Path(request["references"])).soak(lambda: bool(stop))


def prepare(slot: Slot, seed: int) -> tuple[Engine, Work, Tests]:
    """Return the engine of the lecture's network on the device, what to repeat, and the tests of operations."""
    from mnist_mlp.cli.load_framework import load as load_framework
    from mnist_mlp.config import Config
    from mnist_mlp.data import load
    from mnist_mlp.devices.machine import detect
    from mnist_mlp.devices.strategy import Request, choose
    from mnist_mlp.parity import operations
    from mnist_mlp.parity.command import Options, promised_products, start_engine
    from mnist_mlp.parity.problem import order_of

    plan = choose(Request.of(options := Options(**slot.options, seed=seed, batch_size=BATCH_SIZE)), detect())
    load_framework(plan)
    dataset = load(Config(dataset="digits"))
    engine = start_engine(plan, options, dataset)
    examples = len(dataset.train)
    epoch = -(-examples // BATCH_SIZE)
    order = order_of(seed, examples, BATCH_SIZE, epoch * EPOCHS[slot.kind])
    of_device = operations.OperationTests(engine.devices, engine.backend, promised_products(engine), engine.xla)

    def tests() -> list[dict[str, str]]:
        wrong = [test for test in of_device.run() if not test.passed]
        return [{"name": test.name, "expected": test.expected, "found": test.found} for test in wrong]

    return engine, Work(order[:epoch], order), tests


class Device:
    """The soak of one device: `send` gets an event for whatever happens."""

    def __init__(self, slot: Slot, engine: Engine, work: Work, tests: Tests, send: Send, references: Path):
        self.slot, self.tests, self.send, self.references = slot, tests, send, references
        self.work = Soak(engine, work, self.report, self.observe)
        self.cores: list[int] = []
        self.read_at = float("-inf")
        self.on_tests: float | None = None  # seconds, without the first one; None before it
        self.different = 0  # differences so far
        self.told_references = False

    def soak(self, stop: Callable[[], bool]) -> None:
        """Repeat until `stop()`, or until it turns out that no two repetitions are alike."""
        began = time.perf_counter()
        while not stop():
            before = self.different
            try:
                self.repeat()
            except Varies as varies:
                self.send({"event": "varies", "difference": varies.found.as_json()})
                return
            if not self.told_references and self.work.known:
                self.told_references = True
                self.send({"event": "reference", "digests": self.work.digests()})
            if self.references.with_suffix(".wanted").exists() and self.work.known:
                self.write_references()
            # On a TPU it is the tests that tell which of its cores is wrong.
            names_core = self.slot.kind == "TPU" and self.different > before
            if names_core or self.test_is_due(time.perf_counter() - began):
                self.test()

    def repeat(self) -> None:
        self.cores = placement.cores_of(self.slot, self.work.repetitions + 1)
        placement.pin(self.cores)
        began, trained, compared = time.perf_counter(), self.work.trained, self.work.compared
        self.work.repeat()
        event = {
            "event": "repetition",
            "repetition": self.work.repetitions,
            "cores": self.cores,
            "steps": self.work.work.steps,
            "seconds": time.perf_counter() - began,
            "trained": self.work.trained - trained,
            "bytes": self.work.compared - compared,
        }
        if time.monotonic() - self.read_at >= BETWEEN_READINGS.get(self.slot.kind, 2.0):
            event["sensors"] = self.reading().as_json()
            self.read_at = time.monotonic()
        self.send(event)

    def test_is_due(self, seconds: float) -> bool:
        return seconds >= FIRST_TEST if self.on_tests is None else self.on_tests <= MOST_ON_TESTS * seconds

    def test(self) -> None:
        began = time.perf_counter()
        wrong = self.tests()
        self.on_tests = 0.0 if self.on_tests is None else self.on_tests + time.perf_counter() - began
        self.send({"event": "operations", "wrong": wrong, **(self.observe() if wrong else {})})

    def report(self, found: Found) -> None:
        self.different += 1
        self.send({"event": "difference", **found.as_json()})

    def observe(self) -> dict[str, Any]:
        """Return when and where something is seen: the time, the cores, and what the system shows of the device."""
        reading = self.reading()
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        return {"time": now, "cores": self.cores, "sensors": reading.as_json(), "shown": str(reading)}

    def reading(self) -> sensors.Reading:
        if self.slot.kind == "TPU":
            return sensors.Reading()
        return sensors.gpu(self.slot.gpu) if self.slot.gpu else sensors.cpu(self.cores)

    def write_references(self) -> None:
        """Write what is right at each point, for a comparison with another device that has other results."""
        self.references.with_suffix(".wanted").unlink(missing_ok=True)
        incomplete = self.references.with_suffix(".incomplete")
        with incomplete.open("wb") as file:
            np.savez(file, **self.work.references())  # type: ignore[arg-type]  # NumPy's stubs: allow_pickle
        incomplete.replace(self.references)
        self.send({"event": "references"})


def request_of(slot: Slot, seed: int, references: Path) -> str:
    """Return the second argument of this program."""
    return json.dumps({"slot": dataclasses.asdict(slot), "seed": seed, "references": str(references)})


if __name__ == "__main__":
    program.run(main)
