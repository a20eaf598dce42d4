"""What a device is held against: the oracle, or a file of another device that agreed with the oracle.

A reference leads: each step begins at the state to which its own gradients have brought it, so that a device is asked
for one step at a time and no difference grows. A file holds the first state, and of each step the loss, the logits and
the gradients as its device had them; everything else follows from these by the oracle.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mnist_mlp.cli.child_process import Child
from mnist_mlp.errors import UserError
from mnist_mlp.files.archives import MAX_BYTES, checksum, read_arrays
from mnist_mlp.files.atomic import DAMAGED, write_file
from mnist_mlp.parity import rounding
from mnist_mlp.parity.oracle import Pass
from mnist_mlp.parity.problem import OPTIONS, Expected, Problem, State
from mnist_mlp.parity.rounding import Bounds, Precision

FORMAT = 1


class Reference(Protocol):
    @property
    def name(self) -> str:
        """For people."""

    @property
    def about(self) -> dict[str, Any]:
        """For the certificate."""

    def step(self, problem: Problem, state: State, step: int, found: Pass, bounds: Bounds) -> dict[str, Expected]:
        """The loss, the logits and the gradients of a step, from what the oracle found and its bounds."""


def gradients_of(problem: Problem, expected: Mapping[str, Expected]) -> list[Expected]:
    return [expected[f"gradient of {name}"] for name in problem.weights]


@dataclass(frozen=True)
class Oracle:
    """The reference that is computed here and now."""

    name: str = "NumPy in float64"
    about: dict[str, Any] = field(default_factory=lambda: {"kind": "numpy", "version": np.__version__})

    def step(self, problem: Problem, state: State, step: int, found: Pass, bounds: Bounds) -> dict[str, Expected]:
        expected = {
            "loss": Expected(np.asarray(found.losses.mean()), np.array(bounds.loss)),
            "logits": Expected(found.sums[-1], bounds.logits),
        }
        for name, value, bound in zip(problem.weights, found.gradients, bounds.gradients, strict=True):
            expected[f"gradient of {name}"] = Expected(value, bound)
        return expected


class Recorder:
    """The oracle as a reference, beside which a device's own numbers are kept for a file; these lead."""

    def __init__(self, problem: Problem, parameters: int):
        """Raises `UserError` for more steps, of a network of so many parameters, than a file may hold."""
        most = MAX_BYTES // (4 * parameters) * 9 // 10  # the rest for what is not a gradient
        if len(problem.order) > most:
            raise UserError(f"--write: expected at most {most:,} steps of this network; use --steps={most}")
        self.problem = problem
        self.arrays: dict[str, np.ndarray] = {"order": problem.order}

    def begin(self, state: State) -> None:
        parts = zip(self.problem.weights, state.weights, strict=True)
        self.arrays |= {f"weights/{name}": value.astype(np.float32) for name, value in parts}

    def keep(self, step: int, received: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Keeps a step; its gradients, as the file has them."""
        wanted = ("loss", "logits", *(f"gradient of {name}" for name in self.problem.weights))
        kept = {f"{step}/{name}": np.asarray(received[name], np.float32) for name in wanted}
        kept[f"{step}/loss"] = np.asarray(received["loss"], np.float64)
        self.arrays |= kept
        return [kept[f"{step}/gradient of {name}"].astype(np.float64) for name in self.problem.weights]

    def write(self, file: Path, about: Mapping[str, Any]) -> None:
        """Writes the file, an .npz that NumPy alone can read."""
        about = {"format": FORMAT, **about}
        about["sha256"] = checksum(about, self.arrays)
        packed = np.frombuffer(json.dumps(about).encode(), np.uint8)

        def save(temporary: Path) -> None:
            with open(temporary, "wb") as stream:  # a stream: savez would add a suffix to a name
                np.savez(stream, **{"about": packed, **self.arrays})  # type: ignore[arg-type]

        write_file(file, save)


class Recorded:
    """The reference in a file."""

    def __init__(self, file: Path, flag: str):
        """Raises `UserError`, which names `flag`, where the file is no whole reference."""
        self.file = file
        try:
            if not file.is_file():
                raise UserError(f"{flag}: expected cpu, numpy or a file that parity --write wrote, found no such file")
            self.arrays = read_arrays(file)
            self.about = json.loads(self.arrays.pop("about").tobytes())
            told = self.about.pop("sha256")
            if checksum(self.about, self.arrays) != told:
                raise ValueError("its content does not have its checksum")
            if self.about["format"] != FORMAT:
                raise UserError(f"{flag}: {file} was written by another version of mnist_mlp; write it anew")
            self.options = {name: self.about["options"][name] for name in OPTIONS}
            self.precision = Precision(**self.about["problem"]["precision"])
            self.name = f"{file}, written on {self.about['device']['actual']} ({self.about['backend']})"
        except OSError as error:
            raise UserError(f"{flag}: expected to read it, received: {error.strerror}") from None
        except DAMAGED as error:
            raise UserError(f"{flag}: expected a file that parity --write wrote, received another ({error})") from None

    def check(self, about: Mapping[str, Any], order: np.ndarray) -> None:
        """Raises `UserError` where the file is of another problem than `about`, as `problem.describe` has it."""
        for name, value in self.about["problem"].items():
            if name != "precision" and about.get(name) != value:
                raise UserError(
                    f"--against={self.file}: expected {name} {value}, with which it was written, received "
                    f"{about.get(name)}; leave the flags of the problem out, or name the place of the same data"
                )
        if not np.array_equal(self.arrays["order"], order):
            raise UserError(f"--against={self.file}: expected the order of the examples that it was written with")

    def initial(self, problem: Problem, like: State) -> State:
        """The first state. Raises `UserError` where an array is missing, not finite, or of other shapes than `like`."""
        shapes = {f"weights/{name}": w.shape for name, w in zip(problem.weights, like.weights, strict=True)}
        for step, row in enumerate(problem.order):
            shapes |= {f"{step}/loss": (), f"{step}/logits": (int((row >= 0).sum()), 10)}
            shapes |= {f"{step}/gradient of {n}": w.shape for n, w in zip(problem.weights, like.weights, strict=True)}
        for name, shape in shapes.items():
            if name not in self.arrays or self.arrays[name].shape != shape or not np.isfinite(self.arrays[name]).all():
                raise UserError(f"--against={self.file}: expected {name} as finite numbers {shape}; write it anew")
        weights = [self.arrays[f"weights/{name}"].astype(np.float64) for name in problem.weights]
        nothing = [np.zeros_like(weight) for weight in weights]
        return State(weights, nothing, nothing)

    def step(self, problem: Problem, state: State, step: int, found: Pass, bounds: Bounds) -> dict[str, Expected]:
        """Two devices may err in opposite directions: each by its own bounds."""
        theirs = rounding.bounds(found, state.weights, problem.activation, self.precision)
        expected = {
            "loss": Expected(self.arrays[f"{step}/loss"], np.array(bounds.loss + theirs.loss)),
            "logits": Expected(self.arrays[f"{step}/logits"].astype(np.float64), bounds.logits + theirs.logits),
        }
        for name, own, other in zip(problem.weights, bounds.gradients, theirs.gradients, strict=True):
            value = self.arrays[f"{step}/gradient of {name}"].astype(np.float64)
            expected[f"gradient of {name}"] = Expected(value, own + other)
        return expected


def written_on_cpu(backend: str, options: Mapping[str, Any]) -> Recorded:
    """The reference that the same backend writes on one CPU. Raises `UserError` where it does not agree with NumPy."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "reference.npz"
        own = {"strategy": "cpu", "backend": backend, "write": file, "certificate": Path(place) / "certificate.json"}
        flags = [f"--{name}={value}" for name, value in {**options, **own}.items()]
        with Child(["-m", "mnist_mlp.parity", *flags]) as child:
            if child.wait():
                raise UserError(f"--against=cpu: the process that writes the reference on the CPU {child.outcome}")
        recorded = Recorded(file, "--against=cpu")
        recorded.name = f"{recorded.about['device']['actual']} ({backend}), which agrees with NumPy"
        return recorded
