"""The first stage: would `train` run here with the same flags, and does the framework compute on the device?"""

from __future__ import annotations

from typing import Any

from mnist_mlp.devices.machine import detect, installed_software
from mnist_mlp.devices.strategy import Request
from mnist_mlp.doctor import framework_check
from mnist_mlp.doctor.command import OTHERS, diagnose
from mnist_mlp.verify.context import REQUEST, Context
from mnist_mlp.verify.findings import Finding


def check(context: Context) -> Finding:
    """Return what `doctor` finds about the requested device."""
    request = Request(**{name: context.device[name] for name in REQUEST})
    found = diagnose(request, detect(), installed_software(OTHERS), check=asked_only(request))
    details = {"doctor": found}
    if not found["works"]:
        return Finding.error(found["asked"]["refusal"], **details)
    chosen = found["strategies"][request.strategy]
    answer = found["probes"].get(chosen["backend"])
    if answer is None:  # a remote TPU: only its run itself can tell
        return Finding.judged(f"{chosen['backend']}, {chosen['device']} (not tried)", "", **details)
    device = ", ".join(name for name in answer["devices"] if name.lower().startswith(chosen["device"]))
    versions = ", ".join(f"{name} {version}" for name, version in answer["versions"].items())
    return Finding.judged(f"{device}; {versions}", "", **details)


def asked_only(request: Request) -> Any:
    """Return a check of the one framework that the request would use: others are not what is verified."""

    def check(questions: Any) -> Any:
        first = next(iter(questions))  # of the requested strategy's plan
        return framework_check.ask({first: questions[first]})

    return check
