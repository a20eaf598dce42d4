"""The import layers, and that every preset and model builds."""

import ast
import functools
from pathlib import Path

import pytest
from helpers.fork_server import run_code

from mnist_mlp import config
from mnist_mlp.cli.load_framework import importing
from mnist_mlp.config import PRESETS
from mnist_mlp.models import networks
from mnist_mlp.training import optimizers

PACKAGE = Path(config.__file__).parent

DRIVERS = {
    *("train", "evaluate", "predict"),
    *(f"{name}.command" for name in ("report", "serve", "doctor", "tpu_compile", "tune", "export", "parity")),
    *(f"lab.{name}.command" for name in ("explain", "ladder", "mistakes", "playground")),
}
WEB = {"fastapi", "starlette", "uvicorn", "orjson", "prometheus_client"}  # of the server, and imported by it alone
FRAMEWORKS = {
    *("keras", "tensorflow", "tensorflow_datasets", "jax", "torch", "sklearn", "matplotlib", "optuna", "h5py", *WEB),
}


@functools.cache
def modules():
    """Of each module, by its name, the import statements anywhere in it."""
    found = {}
    with importing():
        for path in sorted(PACKAGE.rglob("*.py")):
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
            tree = ast.parse(path.read_text())
            found[name] = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return found


def imports(name):
    """Dotted names that a module imports, anywhere in it."""
    return [target for node in modules()[name] for target in imported(node)]


def imported(node):
    """Dotted names that this node of a tree imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        if any(name.removeprefix("mnist_mlp.") not in modules() for name in names):  # not only modules of a package
            yield node.module
        yield from names


def test_no_module_imports_itself_through_others():
    below = {
        name: {target.removeprefix("mnist_mlp.") for target in imports(name)} & modules().keys() for name in modules()
    }
    while leaves := [name for name, targets in below.items() if not targets & below.keys() - {name}]:
        for name in leaves:
            del below[name]
    assert below == {}


def test_programs_import_without_any_framework():
    """Each alone: of the package's own modules nothing stays from one to the next."""
    code = f"""
import importlib, sys
found = {{}}
for program in {sorted(DRIVERS)}:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mnist_mlp"]:
        del sys.modules[name]
    importlib.import_module(f"mnist_mlp.{{program}}")
    found[program] = sorted({FRAMEWORKS!r} & set(sys.modules))
print(found)
"""
    done = run_code(code, backend=None)
    assert done.stdout == f"{ {program: [] for program in sorted(DRIVERS)} }\n", done.stderr


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name):
    preset = PRESETS[name]
    assert preset.preset == name
    model = networks.build(preset.model, pixels=preset.pixels, precision=preset.precision, seed=preset.seed)
    assert model.count_params() == 109_386
    assert optimizers.make_optimizer(preset.optimizer, preset.learning_rate)
