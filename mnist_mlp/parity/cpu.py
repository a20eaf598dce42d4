"""The CPU's own answers as a reference: a process of its own writes them, since this one's framework is on a device."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_mlp.errors import UserError
from mnist_mlp.parity.reference import Recorded


def written_on_cpu(backend: str, options: Mapping[str, Any]) -> Recorded:
    """The reference that the same backend writes on one CPU. Raises `UserError` where it does not agree with NumPy."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "reference.npz"
        own = {"strategy": "cpu", "backend": backend, "write": file, "certificate": Path(place) / "certificate.json"}
        flags = [f"--{name}={value}" for name, value in {**options, **own}.items()]
        command = [sys.executable, "-m", "mnist_mlp.parity", *flags]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip() or "nothing").splitlines()[-1]
            raise UserError(f"--against=cpu: expected {backend} on the CPU to write a reference; it said: {said}")
        recorded = Recorded(file, "--against=cpu")
        recorded.name = f"{recorded.about['device']['actual']} ({backend}), which agrees with NumPy"
        return recorded
