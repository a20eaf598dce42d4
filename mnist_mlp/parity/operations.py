"""Tests of the operations that a network consists of, one by one, with known results.

Released software has got some of them wrong, such as float32 products of truncated factors, or the mean of booleans.
Every replica computes all of them in one compiled program, and every result is judged.
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
class OperationTest:
    """An operation and the verdict on its results."""

    name: str
    expected: str
    found: str  # on the first replica that is wrong, else on the first one
    passed: bool
    figures: dict[str, float]  # measurements there; nan where the result was nan


class OperationTests:
    """All tests on each replica of the devices, as often as wanted: their program is compiled once.

    `promised` is the precision of float32 matrix products: "float32", or factors rounded to "tf32" or "bfloat16".
    `xla` selects the compiler on a single device of TensorFlow.
    """

    def __init__(self, devices: DeviceSet, backend: str, promised: str = "float32", xla: bool = True):
        products = list(matrix_products.products())
        self.devices = devices
        self.asked = {"products": matrix_products.asked(products), **questions.asked(devices.replicas)}
        self.questions = matrix_products.questions(products, promised) + questions.questions(self.asked, backend)
        if backend == "jax":  # the other framework may not be installed
            from mnist_mlp.parity import operations_jax

            self.answer = operations_jax.answerer(devices)
        else:
            from mnist_mlp.parity import operations_tensorflow

            self.answer = operations_tensorflow.answerer(devices, xla)

    def run(self) -> list[OperationTest]:
        answers = self.answer(self.asked)
        tests = [location(self.devices, [name for name, _ in answers.values()])]
        for question in self.questions:
            judged = {replica: question.judge(answer) for replica, (_, answer) in answers.items()}
            tests.append(verdict(question, judged, self.devices.replicas))
        return tests


def test(devices: DeviceSet, backend: str, promised: str = "float32", xla: bool = True) -> list[OperationTest]:
    """Test all operations once: see `OperationTests`."""
    return OperationTests(devices, backend, promised, xla).run()


def location(devices: DeviceSet, names: Sequence[str]) -> OperationTest:
    """Test whether the results come from the planned devices. `names` are those that the framework reports."""
    count = devices.replicas if devices.workers == 1 else len(names)
    passed = len(set(names)) == count and all(name.startswith(devices.kind) for name in names)
    return OperationTest("devices", f"{count} × {devices.kind}", ", ".join(names), passed, {"replicas": len(names)})


def verdict(question: Question, judged: Mapping[int, Finding], replicas: int) -> OperationTest:
    """Return one verdict on all replicas; it names those that are wrong."""
    wrong = [replica for replica, each in judged.items() if not each.passed]
    finding = judged[wrong[0]] if wrong else next(iter(judged.values()))
    names = ("replica " if len(wrong) == 1 else "replicas ") + ", ".join(map(str, wrong))
    found = f"{names}: {finding.found}" if wrong and replicas > 1 else finding.found
    return OperationTest(question.name, question.expected, found, not wrong, finding.figures)
