"""The table of injected faults: what accuracy, the gate and parity each say of them, over several seeds.

It prints Markdown. JAX (the extra jax), two replicas on the CPU.
"""

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("seeds", type=int, help="of each fault, from 2 on; 20 take about five minutes on two cores")
parser.add_argument("mnist", nargs="?", help="directory of MNIST: the preset default on it, too")
arguments = parser.parse_args()
if arguments.seeds < 2:
    parser.error(f"expected 2 seeds or more, received {arguments.seeds}")
os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np

from mnist_mlp.cli import stderr_filter

stderr_filter.silence()

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `helpers`, also where this file is a program

from helpers import faults
from mnist_mlp import data
from mnist_mlp.checks import gate, references
from mnist_mlp.config import PRESETS, Config
from mnist_mlp.devices import Plan
from mnist_mlp.models import networks
from mnist_mlp.training import optimizers
from mnist_mlp.training.multi_seed import MultiSeedTrainer

FIRST = 9000  # seeds that no reference has
CERTIFICATES = 5  # of each fault


def trained(config: Config, dataset: data.Dataset, fault: str) -> list[dict]:
    """The gate's verdicts on runs with the fault, one for each seed."""
    judge = gate.Gate(references.find(config, dataset.name), 1e-4)
    with faults.injected(fault, "jax"):
        plan = Plan("jax", "cpu", "cpu", {}, replicas=faults.REPLICAS)
        trainer = MultiSeedTrainer(
            plan, lambda: networks.build("mlp"), lambda: optimizers.make_optimizer("adam", None), dataset
        )
        found = []
        for seed in range(FIRST, FIRST + arguments.seeds):
            curve = trainer.fit(seed, config.epochs)
            found.append(judge.verdict(trainer.test().correct, list(curve.losses), len(dataset.train)))
        return found


def row(config: Config, dataset: data.Dataset, fault: str) -> str:
    verdicts = trained(config, dataset, fault)
    right = np.array([each["right"]["observed"] for each in verdicts])
    by_count = sum(each["right"]["out"] != "" for each in verdicts)
    failed = sum(not each["passed"] for each in verdicts)
    mean, sd = (100 * value / len(dataset.test) for value in (right.mean(), right.std(ddof=1)))
    return f"{mean:.2f} ± {sd:.2f} | {by_count} of {len(verdicts)} | {failed} of {len(verdicts)}"


def by_parity(fault: str) -> str:
    """How many certificates, each of another seed, say so, and what the first names."""
    told = []
    for seed in range(FIRST, FIRST + CERTIFICATES):
        ((_, found),) = faults.certificates("jax", faults.REPLICAS, 13, 128, [fault], seed)
        told.append(found["first_differences"][:1])
    count = sum(map(bool, told))
    first = f": {told[0][0]['quantity']}, step {told[0][0]['step'] + 1}" if count else ""
    return f"{count} of {CERTIFICATES}{first}"


runs = [(PRESETS["smoke"], data.load(PRESETS["smoke"]))]
if arguments.mnist:
    config = Config(dataset="mnist", data_dir=arguments.mnist)
    runs.append((config, data.load(config)))
names = " | ".join(f"{d.name}: test accuracy, % | told by the count | by the gate" for _, d in runs)
print(f"| fault | {names} | by parity |\n|{'---|' * (3 * len(runs) + 2)}")
for fault in ("", *faults.NAMES):
    columns = " | ".join(row(*run, fault) for run in runs)
    print(f"| {fault or 'none'} | {columns} | {by_parity(fault)} |", flush=True)
