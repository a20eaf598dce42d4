"""The process of a soak, without a framework and with faults: `python -m helpers.soak_worker DESCRIPTOR REQUEST`.

SOAK_FAULTS says which device has which fault, as JSON: {"1": ["flip", 5]}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import numpy as np

from helpers import soaking
from mnist_mlp.cli import program
from mnist_mlp.verify.soak import worker

STEPS = 4
FLIP = soaking.Flip(0, 2, "hidden_1/kernel", (3, 1), 22, False)
FAULTS = {
    "flip": lambda at: (
        lambda engine: soaking.with_flip(
            engine, soaking.Flip(at, FLIP.call, FLIP.weight, FLIP.element, FLIP.bit, False), STEPS
        )
    ),
    "constant": lambda: lambda engine: soaking.Faulty(engine, constantly_wrong),
    "noise": lambda: lambda engine: soaking.Faulty(engine, noise),
    "kill": lambda at: lambda engine: soaking.Faulty(engine, once(at, lambda: os.kill(os.getpid(), signal.SIGKILL))),
    "hang": lambda at: lambda engine: soaking.Faulty(engine, once(at, lambda: time.sleep(600))),
    "refuse": lambda: refuse,
}


def constantly_wrong(engine, call):
    """After each second step of a repetition the same bit is wrong."""
    if call % (STEPS + 1) == 2:
        state = {name: np.array(value) for name, value in engine.state().items()}
        soaking.flip_bit(state, f"model/{FLIP.weight}", FLIP)
        engine.restore(state)


def noise(engine, call):
    state = {name: np.array(value) for name, value in engine.state().items()}
    state["model/logits/bias"] += np.float32(1e-3 * call)  # another one each time
    engine.restore(state)


def once(at, do):
    """Do it in that repetition of the first process of a device."""
    first = os.path.join(os.environ["SOAK_ONCE"], "done")

    def fault(engine, call):
        if call == at * (STEPS + 1) and not os.path.exists(first):
            open(first, "w").close()
            do()

    return fault


def refuse(engine):
    from mnist_mlp.errors import UserError

    raise UserError("there is no such device")


def prepare(slot, seed):
    kind, *values = json.loads(os.environ.get("SOAK_FAULTS", "{}")).get(str(slot.index), [""])
    engine = soaking.NumPyEngine(seed)
    if kind:
        engine = FAULTS[kind](*values)(engine)

    def tests():
        time.sleep(0.005)
        return []

    return Slowly(engine), soaking.work(STEPS), tests


class Slowly(soaking.Faulty):
    """Some 50 repetitions a second, as from a real device, not a thousand."""

    def __init__(self, engine):
        super().__init__(engine, lambda engine, call: time.sleep(0.004))


if __name__ == "__main__":
    worker.prepare = prepare
    worker.FIRST_TEST = 0.0
    sys.stdout.flush()
    program.run(worker.main)
