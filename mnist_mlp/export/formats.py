"""The export formats: their files and the packages that they need."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import sys
from collections.abc import Sequence

from mnist_mlp.devices.frameworks import tensorflow_problem
from mnist_mlp.devices.machine import detect
from mnist_mlp.errors import UserError
from mnist_mlp.text import nearest

OUTPUTS = ("probabilities", "class")  # float32 [n, 10], and int [n]; in this order wherever outputs have one


@dataclasses.dataclass(frozen=True)
class Format:
    """One format. Its input `images` is uint8 [n, 28, 28], 0–255, for any n."""

    file: str  # below the export directory
    packages: tuple[str, ...] = ()  # besides those that mnist_mlp needs, by their names for pip
    tensorflow: bool = False  # needs TensorFlow
    int8: bool = False
    outputs: tuple[str, ...] = OUTPUTS


FORMATS = {  # TensorFlow Serving serves the folder saved_model, and looks for a version number in it
    "saved_model": Format("saved_model/1", tensorflow=True),
    "onnx": Format("model.onnx", ("onnx", "onnxruntime")),
    "litert": Format("model.tflite", ("ai-edge-litert",), tensorflow=True),
    "keras": Format("model.keras", outputs=OUTPUTS[:1]),
    "weights": Format("weights.npz", outputs=OUTPUTS[:1]),
    "onnx_int8": Format("model.int8.onnx", ("onnx", "onnxruntime"), int8=True),
    "litert_int8": Format("model.int8.tflite", ("ai-edge-litert",), tensorflow=True, int8=True),
}
NAMES = tuple(name for name, kind in FORMATS.items() if not kind.int8)


def chosen(words: Sequence[str], int8: bool) -> list[str]:
    """Return the formats that --format names, with their int8 variants if `int8`. Raise `UserError`."""
    names = [name for word in words for name in word.lower().split(",") if name] or ["all"]
    for name in names:
        if name not in (*NAMES, "all"):
            raise UserError(
                f"--format: expected one or more of {', '.join(NAMES)}, all; "
                f"received {name!r}{nearest(name, [*NAMES, 'all'])}"
            )
    wanted = NAMES if "all" in names else names
    quantised = [f"{name}_int8" for name in wanted if int8 and f"{name}_int8" in FORMATS]
    if int8 and not quantised:
        raise UserError(f"--int8: expected --format=onnx or litert, received {', '.join(names)}; try --format=onnx")
    return [name for name in FORMATS if name in wanted or name in quantised]


def check_packages(names: Sequence[str]) -> None:
    """Raise `UserError` if a format needs a package that is not installed. Imports nothing."""
    needing = [name for name in names if FORMATS[name].tensorflow]
    if needing and (problem := tensorflow_problem(detect())):
        others = ",".join(name for name in NAMES if not FORMATS[name].tensorflow)
        raise UserError(f"--format={needing[0]}: {problem} (without it: --format={others})")
    missing = {
        package: name.removesuffix("_int8")
        for name in reversed(names)
        for package in FORMATS[name].packages
        if importlib.util.find_spec(package.replace("-", "_")) is None
    }
    if missing:
        packages, needing = sorted(missing), sorted(set(missing.values()))
        one, are = ("package", "is") if len(packages) == 1 else ("packages", "are")
        raise UserError(
            f"--format={','.join(needing)} needs the {one} {' and '.join(packages)}, which {are} not installed; run "
            f"{sys.executable} -m pip install {' '.join(packages)} (in a clone: pip install -e '.[export]')"
        )


def versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages that these formats need besides those of every run."""
    packages = sorted({package for name in names for package in FORMATS[name].packages})
    return {package: importlib.metadata.version(package) for package in packages}
