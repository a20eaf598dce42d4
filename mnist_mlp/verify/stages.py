"""The stages of a verification, in their order, and how one is run."""

from __future__ import annotations

import dataclasses
import importlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from mnist_mlp.errors import Diverged, Refuted, UserError
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding

# Where a stage runs: in this process, which imports no framework; in a process on the devices of the request, which
# runs several stages one after the other; or in one on several replicas, since a process divides its CPU once.
HERE, DEVICE, REPLICAS = "here", "device", "replicas"
TIERS = ("quick", "usual", "full")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One claim about a machine, and the function that tries it."""

    name: str
    proves: str
    where: str
    function: str  # "module:name" below mnist_mlp.verify; it takes a `Context` and returns a `Finding`
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)  # stage: why this one is pointless without it
    tiers: tuple[str, ...] = TIERS


NO_FRAMEWORK = {"machine": "the framework does not work here"}
STAGES = (
    Stage("machine", "devices and packages are there and compute", HERE, "machine:check"),
    Stage("operations", "single operations have known results", DEVICE, "numbers:operations", NO_FRAMEWORK),
    Stage("parity", "each number of each step is that of the formulas", DEVICE, "numbers:parity", NO_FRAMEWORK),
    Stage("parity_cpu", "… and that of the CPU beside it", DEVICE, "numbers:parity_with_cpu", NO_FRAMEWORK),
    Stage("determinism", "the same run twice has the same bits", DEVICE, "repeats:determinism", NO_FRAMEWORK),
    Stage(
        "resume",
        "a stopped run that is resumed has the same bits",
        DEVICE,
        "repeats:resume",
        NO_FRAMEWORK | {"determinism": "there are no two equal whole runs"},
    ),
    Stage("training", "digits are learned as by correct runs", DEVICE, "training:digits", NO_FRAMEWORK),
    Stage("mnist", "MNIST is learned as by correct runs", DEVICE, "training:mnist", NO_FRAMEWORK, ("usual", "full")),
    Stage("exports", "exported files predict what the model predicts", DEVICE, "exports:agree", NO_FRAMEWORK),
    Stage("replicas", "a split batch gives the step of a whole one", REPLICAS, "numbers:replicas", NO_FRAMEWORK),
    Stage("throughput", "how fast, and how much of what is possible", DEVICE, "throughput:measure", NO_FRAMEWORK),
)
SOAK = Stage("soak", "… again and again, on every device, bit by bit", HERE, "soak.run:soak", NO_FRAMEWORK)


def of_tier(tier: str) -> list[Stage]:
    return [stage for stage in STAGES if tier in stage.tiers]


def attempt(function: Callable[[Context], Finding], context: Context) -> Finding:
    """Return what a stage finds; an exception becomes a finding, too."""
    try:
        return function(context)
    except (Refuted, Diverged) as error:  # what the stages train does not diverge on a sound machine
        return Finding.judged("", str(error))
    except UserError as error:
        return Finding.error(str(error))
    except Exception as error:  # of a framework, or a bug: it is shown, and the other stages are tried
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Finding.error(reason, traceback=traceback.format_exc()[-4000:])


def function_of(stage: Stage) -> Any:
    module, _, name = stage.function.partition(":")
    return getattr(importlib.import_module(f"mnist_mlp.verify.{module}"), name)
