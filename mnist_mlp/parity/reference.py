"""What a device is compared with: the oracle, or a file from another device that agreed with the oracle.

The reference leads: each step starts from the state to which the reference's own gradients have led, so that
differences do not accumulate. A file holds the initial state and, for each step, the loss, logits and gradients of its
device; the oracle computes everything else from these.
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
        """As the report shows it."""

    @property
    def about(self) -> dict[str, Any]:
        """As the certificate stores it."""

    def check(self, about: Mapping[str, Any], order: np.ndarray) -> None:
        """Raise `UserError` if the reference belongs to another problem than `about` (see `problem.describe`)."""

    def initial(self, problem: Problem, like: State) -> State:
        """Return the initial state. `like` is the device's own."""

    def step(self, problem: Problem, state: State, step: int, found: Pass, bounds: Bounds) -> dict[str, Expected]:
        """Return the loss, logits and gradients of a step. `found` is the oracle's pass, `bounds` are its bounds."""


def gradients_of(problem: Problem, expected: Mapping[str, Expected]) -> list[Expected]:
    return [expected[f"gradient of {name}"] for name in problem.weights]


@dataclass(frozen=True)
class Oracle:
    """The reference computed by NumPy."""

    name: str = "NumPy in float64"
    about: dict[str, Any] = field(default_factory=lambda: {"kind": "numpy", "version": np.__version__})

    def check(self, about: Mapping[str, Any], order: np.ndarray) -> None:
        pass

    def initial(self, problem: Problem, like: State) -> State:
        return like

    def step(self, problem: Problem, state: State, step: int, found: Pass, bounds: Bounds) -> dict[str, Expected]:
        expected = {
            "loss": Expected(np.asarray(found.losses.mean()), np.array(bounds.loss)),
            "logits": Expected(found.sums[-1], bounds.logits),
        }
        for name, value, bound in zip(problem.weights, found.gradients, bounds.gradients, strict=True):
            expected[f"gradient of {name}"] = Expected(value, bound)
        return expected


class Recorder:
    """Keeps a device's own numbers for a file; they lead the steps."""

    def __init__(self, problem: Problem, parameters: int):
        """Raises `UserError` if a file cannot hold the steps of a network with that many parameters."""
        most = MAX_BYTES // (4 * parameters) * 9 // 10  # the rest is for everything but gradients
        if len(problem.order) > most:
            raise UserError(f"--write: expected at most {most:,} steps for this network; use --steps={most}")
        self.problem = problem
        self.arrays: dict[str, np.ndarray] = {"order": problem.order}

    def begin(self, state: State) -> None:
        parts = zip(self.problem.weights, state.weights, strict=True)
        self.arrays |= {f"weights/{name}": value.astype(np.float32) for name, value in parts}

    def keep(self, step: int, received: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Keep a step; return its gradients as the file stores them."""
        names = ("loss", "logits", *(f"gradient of {name}" for name in self.problem.weights))
        kept = {f"{step}/{name}": np.asarray(received[name], np.float32) for name in names}
        kept[f"{step}/loss"] = np.asarray(received["loss"], np.float64)
        self.arrays |= kept
        return [kept[f"{step}/gradient of {name}"].astype(np.float64) for name in self.problem.weights]

    def write(self, file: Path, about: Mapping[str, Any]) -> None:
        """Write the file, an .npz for NumPy."""
        about = {"format": FORMAT, **about}
        about["sha256"] = checksum(about, self.arrays)
        packed = np.frombuffer(json.dumps(about).encode(), np.uint8)

        def save(temporary: Path) -> None:
            with open(temporary, "wb") as stream:  # savez would append a suffix to a file name
                np.savez(stream, **{"about": packed, **self.arrays})  # type: ignore[arg-type]

        write_file(file, save)


class Recorded:
    """A reference in a file."""

    def __init__(self, file: Path, flag: str):
        """Raises `UserError`, which names `flag`, if the file is not a complete reference."""
        self.file = file
        try:
            if not file.is_file():
                raise UserError(f"{flag}: expected cpu, numpy or a file written by parity --write, found no such file")
            self.arrays = read_arrays(file)
            self.about = json.loads(self.arrays.pop("about").tobytes())
            sha256 = self.about.pop("sha256")
            if checksum(self.about, self.arrays) != sha256:
                raise ValueError("its checksum does not match")
            if self.about["format"] != FORMAT:
                raise UserError(f"{flag}: {file} was written by another version of mnist_mlp; write it again")
            self.options = {name: self.about["options"][name] for name in OPTIONS}
            self.precision = Precision(**self.about["problem"]["precision"])
            self.name = f"{file}, written on {self.about['device']['actual']} ({self.about['backend']})"
        except OSError as error:
            raise UserError(f"{flag}: cannot be read: {error.strerror}") from None
        except DAMAGED as error:
            raise UserError(
                f"{flag}: expected a file written by parity --write, received another file ({error})"
            ) from None

    def check(self, about: Mapping[str, Any], order: np.ndarray) -> None:
        """Raise `UserError` if the file belongs to another problem."""
        for name, value in self.about["problem"].items():
            if name != "precision" and about.get(name) != value:
                raise UserError(
                    f"--against={self.file}: the file was written with {name} {value}, received "
                    f"{about.get(name)}; omit the flags of the problem, or use --data_dir with the same data"
                )
        if not np.array_equal(self.arrays["order"], order):
            raise UserError(f"--against={self.file}: the file was written with other batches; write it again")

    def initial(self, problem: Problem, like: State) -> State:
        """Return the initial state. Raises `UserError` if an array is missing, not finite, or of a wrong shape."""
        shapes = {f"weights/{name}": w.shape for name, w in zip(problem.weights, like.weights, strict=True)}
        for step, row in enumerate(problem.order):
            shapes |= {f"{step}/loss": (), f"{step}/logits": (int((row >= 0).sum()), 10)}
            shapes |= {f"{step}/gradient of {n}": w.shape for n, w in zip(problem.weights, like.weights, strict=True)}
        for name, shape in shapes.items():
            if name not in self.arrays or self.arrays[name].shape != shape or not np.isfinite(self.arrays[name]).all():
                raise UserError(f"--against={self.file}: expected {name} as finite numbers {shape}; write it again")
        weights = [self.arrays[f"weights/{name}"].astype(np.float64) for name in problem.weights]
        zeros = [np.zeros_like(weight) for weight in weights]
        return State(weights, zeros, zeros)

    def step(self, problem: Problem, state: State, step: int, found: Pass, bounds: Bounds) -> dict[str, Expected]:
        """Return the file's numbers. The bounds add up, since the two devices may err in opposite directions."""
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
    """Return the reference that the same backend writes on one CPU. Raises `UserError` if it disagrees with NumPy."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "reference.npz"
        own = {
            "strategy": "cpu",
            "backend": backend,
            "write": file,
            "certificate": Path(directory) / "certificate.json",
        }
        flags = [f"--{name}={value}" for name, value in {**options, **own}.items()]
        with Child(["-m", "mnist_mlp.parity", *flags]) as child:
            if child.wait():
                raise UserError(f"--against=cpu: the process that writes the reference on the CPU {child.outcome}")
        recorded = Recorded(file, "--against=cpu")
        recorded.name = f"{recorded.about['device']['actual']} ({backend}), which agrees with NumPy"
        return recorded
