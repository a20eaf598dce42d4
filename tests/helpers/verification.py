"""A report of verify as verify.json holds it, made up: small, and with every detail that a stage gives."""

import copy

NAMES = (
    *("machine", "operations", "parity", "parity_cpu", "determinism", "resume", "training", "mnist", "exports"),
    *("replicas", "throughput", "soak"),
)


def quantity(name, share, **changes):
    row = {"quantity": name, "step": 3, "element": [1, 2], "expected": 0.123456789, "received": 0.123456799}
    return {**row, "bound": 1e-8 / (share or 1), "share": share, "relative": 8e-8, **changes}


def gate(correct, losses, sd=2.5):
    figures = {"sd": sd, "p": 0.5, "out": ""}
    return {
        "passed": True,
        "p": 0.46,
        "false_alarms": 0.0001,
        "found": {},
        "right": {"observed": correct, "expected": 349.7, "accepted": [334, 359], **figures},
        "losses": [
            {"epoch": epoch, "observed": loss, "expected": 1.36, "accepted": [1.0, 1.9], **figures, "sd": 0.06}
            for epoch, loss in enumerate(losses, 1)
        ],
        "noticed": {"0.5": 0.047},
        "reference": {"seeds": 600, "options": {"model": "mlp"}},
    }


def doctor():
    return {
        "machine": {"processor": "Example 9000, 16 cores", "gpus": 1, "environment": {"CUDA_VISIBLE_DEVICES": "0"}},
        "software": {"python": "3.12.1", "installed": {"tensorflow": "2.21.0", "keras": "3.15.1"}, "missing": []},
        "strategies": {
            "gpu": {"accepted": True, "device": "gpu"},
            "tpu": {"accepted": False, "refusal": "no TPU is attached"},
        },
        "probes": {
            "tensorflow": {
                "devices": ["GPU:0", "CPU:0"],
                "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
                "seconds": {"import": 3.25, "compute": 0.5},
                "printed": "a line of the driver\n",
            }
        },
        "problems": [{"name": "no ptxas", "meaning": "slow compilation", "fix": "install it", "source": "a tracker#1"}],
        "asked": {"command": "train --strategy=gpu"},
        "works": True,
    }


def batches(milliseconds):
    return [
        {
            "batch_size": size,
            "step_seconds": seconds / 1000,
            "step_seconds_min": 0.97 * seconds / 1000,
            "step_seconds_max": 1.02 * seconds / 1000,
            "calls": 5,
            "images_per_second": 1000 * size / seconds,
            "compile_seconds": 1.5,
            "share_of_matrix_product": 0.25,
        }
        for size, seconds in milliseconds.items()
    ]


def formats():
    row = {"bytes": 440_000, "agreements": 360, "total": 360, "largest_difference": 8e-7, "tolerance": 1e-5}
    row |= {"agrees": True, "first_difference": None, "milliseconds": {"1": 0.057, "256": 0.02}}
    return [
        {"format": "onnx", "file": "model.onnx", "runtime": "onnxruntime 1.32.0", **row},
        {"format": "keras", "file": "model.keras", "runtime": "keras 3.15.1", **row},
    ]


DETAILS = {
    "machine": {"doctor": doctor()},
    "operations": {
        "operations": [
            {"name": "integer sum", "expected": "2147483547", "found": "2147483547", "passed": True, "figures": {}},
            {
                "name": "products",
                "expected": "16 bits",
                "found": "20 bits",
                "passed": True,
                "figures": {"[1, 2]": 20.3},
            },
        ]
    },
    "parity": {
        "about": {"model": "mlp", "steps": 20},
        "quantities": [quantity("loss", 0.03), quantity("logits", 0.12)],
        "first_differences": [],
    },
    "resume": {"resumed_at": 15},
    "training": {
        "gate": gate(351, [1.3627, 0.42]),
        "test": {"correct": 351, "total": 360, "loss": 0.078},
        "seconds": {"train": 1.25},
    },
    "exports": {"formats": formats(), "missing": {"litert": "not installed"}},
    "replicas": {"about": {}, "quantities": [quantity("loss", 0.01)], "first_differences": []},
    "throughput": {
        "device": "GPU: Example",
        "batches": batches({32: 0.06, 2048: 0.12, 65536: 1.9}),
        "left_out": {"131072": "it does not fit into the memory"},
        "matrix_product": {"size": 8192, "flops_per_second": 5.1e13},
        "copy_to_device": {"bytes_per_second": 2.2e10},
        "clocks": {"perf_counter_seconds": 3.2},
        "cpu_beside": {"device": "CPU: Example 9000", "batches": batches({32: 0.2, 2048: 4.1, 65536: 120.0})},
        "cpu_beside_missing": None,
        "worth_it": "the GPU is worth it at every batch size that was tried",
        "worth_it_from_batch_size": 32,
    },
    "soak": {
        "seconds_asked": 600.0,
        "seconds": 601.5,
        "interrupted": False,
        "devices": [
            {"name": "GPU 0", "device": "GPU: Example", "repetitions": 1234, "steps": 98_720, "differences": 0}
            | {"temperature_c": {"low": 41.0, "high": 66.0}, "clock_mhz": {"low": 1755.0, "high": 1980.0}}
        ],
        "difference_count": 0,
        "differences": [],
        "disagreements": [],
    },
}
FIGURES = {name: f"the figure of {name}" for name in NAMES} | {"training": "351 of 360 correct, p = 0.46"}
REASONS = {"parity_cpu": "the device is the CPU itself", "mnist": "MNIST is not on this machine"}


def report(**changes):
    """A report in which all stages passed but two, which were skipped.

    A change is an entry of the report, or some of a stage: `training={"status": "refuted"}`.
    """
    stages = []
    for name in NAMES:
        passed = name not in REASONS
        stage = {"name": name, "proves": f"the claim of {name}", "seconds": 1.25, "status": "passed"}
        stage |= {"figure": FIGURES[name] if passed else "", "reason": REASONS.get(name, "")}
        stage |= {"status": "passed" if passed else "skipped", "details": copy.deepcopy(DETAILS.get(name, {}))}
        stages.append({**stage, **changes.pop(name, {})})
    made = {"format": 1, "verdict": "passed", "tier": "usual", "seed": 0, "version": "0.2.0"}
    made |= {"device": {"strategy": "gpu", "backend": "auto", "replicas": None, "tpu": "", "start_timeout": 300}}
    return {**made, "date": "2026-11-30T11:54:39+0000", "stages": stages, "seconds": 75.5, **changes}


def stage(made, name):
    """The entry of a stage in a report."""
    return next(row for row in made["stages"] if row["name"] == name)
