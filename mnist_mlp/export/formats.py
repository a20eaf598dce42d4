"""The formats: what each file is called, and what must be installed to write it and to read it back."""

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


@dataclasses.dataclass(frozen=True)
class Format:
    """One kind of file. It takes images uint8 [n, 28, 28], 0–255, for any n, under the name `images`."""

    file: str  # in the directory of an export
    packages: tuple[str, ...] = ()  # beyond what the package itself needs, as they are called where they are installed
    tensorflow: bool = False  # whether it takes TensorFlow
    int8: bool = False


FORMATS = {
    "saved_model": Format("saved_model", tensorflow=True),
    "onnx": Format("model.onnx", ("onnx", "onnxruntime")),
    "litert": Format("model.tflite", ("ai-edge-litert",), tensorflow=True),
    "keras": Format("model.keras"),
    "weights": Format("weights.npz"),
    "onnx_int8": Format("model.int8.onnx", ("onnx", "onnxruntime"), int8=True),
    "litert_int8": Format("model.int8.tflite", ("ai-edge-litert",), tensorflow=True, int8=True),
}
NAMES = tuple(name for name, kind in FORMATS.items() if not kind.int8)


def chosen(words: Sequence[str], int8: bool) -> list[str]:
    """The formats that the words of --format name, with their int8 kinds if asked for. Raises `UserError`."""
    names = [name for word in words for name in word.lower().split(",") if name] or ["all"]
    for name in names:
        if name not in (*NAMES, "all"):
            raise UserError(
                f"--format: expected some of {', '.join(NAMES)}, all; received {name!r}{nearest(name, [*NAMES, 'all'])}"
            )
    wanted = NAMES if "all" in names else names
    quantised = [f"{name}_int8" for name in wanted if int8 and f"{name}_int8" in FORMATS]
    if int8 and not quantised:
        raise UserError(f"--int8: expected --format=onnx or litert, received {', '.join(names)}; add one of them")
    return [name for name in FORMATS if name in wanted or name in quantised]


def check_packages(names: Sequence[str]) -> None:
    """Raises `UserError` where a format needs what is not installed; imports nothing."""
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
        one = "package" if len(packages) == 1 else "packages"
        raise UserError(
            f"--format={','.join(needing)}: expected the {one} {' and '.join(packages)}, found none; type "
            f"{sys.executable} -m pip install {' '.join(packages)} (in a clone: pip install -e '.[export]')"
        )


def versions(names: Sequence[str]) -> dict[str, str]:
    """The versions of the packages, beyond what every run has, that those formats are written and read with."""
    packages = sorted({package for name in names for package in FORMATS[name].packages})
    return {package: importlib.metadata.version(package) for package in packages}
