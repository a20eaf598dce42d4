"""Small questions to a device, whose answers are known: the operations that a network is made of, one by one.

Released software has got some of them wrong, such as float32 products of cut-off factors, or the mean of booleans.
Every replica answers all of them, in one compiled program, and every answer is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_mlp.parity import matrix_products, questions
from mnist_mlp.parity.questions import Finding, Question

if TYPE_CHECKING:
    from mnist_mlp.engine.base import DeviceSet


@dataclass(frozen=True)
class Probe:
    """A question, and what came of it."""

    name: str
    expected: str
    found: str  # by the first replica that is wrong, else by the first one
    passed: bool
    figures: dict[str, float]  # what was measured there; nan where nan was found


def probe(attached: DeviceSet, backend: str, promised: str = "float32", xla: bool = True) -> list[Probe]:
    """Puts all questions to each replica of the devices that are attached.

    `promised` is what float32 matrix products are computed with: "float32", or factors rounded to "tf32" or
    "bfloat16". `xla` chooses the compiler on a single device of TensorFlow.
    """
    products = list(matrix_products.products())
    asked = {"products": matrix_products.asked(products), **questions.asked(attached.replicas)}
    if backend == "jax":  # the other framework may not be installed
        from mnist_mlp.parity import operations_jax

        answers = operations_jax.answer(attached, asked)
    else:
        from mnist_mlp.parity import operations_tensorflow

        answers = operations_tensorflow.answer(attached, asked, xla)
    all_questions = matrix_products.questions(products, promised)
    all_questions += questions.questions(asked, backend)
    probes = [place(attached, [device for device, _ in answers.values()])]
    for question in all_questions:
        judged = {replica: question.judge(answer) for replica, (_, answer) in answers.items()}
        probes.append(verdict(question, judged, attached.replicas))
    return probes


def place(attached: DeviceSet, devices: Sequence[str]) -> Probe:
    """Where the answers come from, as the framework tells."""
    count = attached.replicas if attached.workers == 1 else len(devices)
    right = len(set(devices)) == count and all(device.startswith(attached.kind) for device in devices)
    return Probe("place", f"{count} × {attached.kind}", ", ".join(devices), right, {"replicas": len(devices)})


def verdict(question: Question, judged: Mapping[int, Finding], replicas: int) -> Probe:
    """One verdict on all replicas; those that are wrong are named."""
    wrong = [replica for replica, finding in judged.items() if not finding.passed]
    shown = judged[wrong[0]] if wrong else next(iter(judged.values()))
    names = ("replica " if len(wrong) == 1 else "replicas ") + ", ".join(map(str, wrong))
    found = f"{names}: {shown.found}" if wrong and replicas > 1 else shown.found
    return Probe(question.name, question.expected, found, not wrong, shown.figures)
