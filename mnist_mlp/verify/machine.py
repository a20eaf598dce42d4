"""The first stage: would `train` run here with the same flags, and does the framework compute on the device?"""

from __future__ import annotations

from collections.abc import Mapping

from mnist_mlp.devices.machine import detect, installed_software
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.doctor import framework_check
from mnist_mlp.doctor.command import OTHERS, diagnose
from mnist_mlp.doctor.framework_check import Answer, Question
from mnist_mlp.errors import UserError
from mnist_mlp.verify.context import REQUEST, Context
from mnist_mlp.verify.findings import Finding

START = 60.0  # seconds in which a framework must answer: a busy machine, too, is to be verified


def check(context: Context) -> Finding:
    """Return what `doctor` finds about the requested device. Of the frameworks, only that of the request is tried."""
    request = Request(**{name: context.device[name] for name in REQUEST})
    try:
        backend = choose(request, detect()).backend
    except UserError:
        backend = ""

    def ask(questions: Mapping[str, Question]) -> Mapping[str, Answer]:
        asked = {name: question for name, question in questions.items() if name == backend}
        limit = context.device["start_timeout"] if request.strategy == "tpu" else START
        return framework_check.ask(asked, max(START, limit)) if asked else {}

    found = diagnose(request, detect(), installed_software(OTHERS), check=ask)
    if not found["works"]:
        return Finding.error(found["asked"]["refusal"], doctor=found)
    chosen, answer = found["strategies"][request.strategy], found["probes"].get(backend)
    if answer is None:  # a remote TPU: only its run itself can tell
        return Finding.judged(f"{backend}, a remote {chosen['device'].upper()}, not tried", "", doctor=found)
    device = ", ".join(name for name in answer["devices"] if name.lower().startswith(chosen["device"]))
    if chosen["device"] == "cpu":
        device = found["machine"]["processor"]
    versions = ", ".join(f"{name} {version}" for name, version in answer["versions"].items())
    return Finding.judged(f"{device}; {versions}", "", doctor=found)
