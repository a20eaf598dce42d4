"""The rules of the house: which folder may import which, and where frameworks may be imported.

The rules hold for folders, so a new module needs no entry anywhere. They cover what is imported when the program runs;
imports for type checkers alone are free.
"""

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
ORDER = (  # lowest first: a part imports only from itself and from those before it
    *("errors", "text", "options", "stats", "files", "config", "cli", "data", "devices"),
    *("models", "engine", "runs", "checks", "training"),
)
# All other parts are programs: they import from ORDER and not from one another, but that train ends with a report, that
# evaluate writes pages in the style of one, that verify runs what others check, and that the lab is served as serve is,
# shows what lab.playground has measured, and starts what train trains.
BESIDE = {
    ("train", "report"),
    ("evaluate", "report"),
    ("lab.command", "lab.live"),
    ("lab.command", "serve"),
    ("lab.live", "serve"),
    ("lab.live", "lab.playground"),
    ("lab.live", "train"),
    *(("verify", other) for other in ("doctor", "parity", "train", "export", "report")),
}
FACE = {"", "__main__"}  # the package itself, and `python -m mnist_mlp`: they load each program by its name
FRAMEWORKS = {
    *("keras", "tensorflow", "tensorflow_datasets", "jax", "torch", "sklearn", "matplotlib", "optuna", "h5py", "scipy"),
    "pyarrow",
    *("fastapi", "starlette", "uvicorn", "orjson", "prometheus_client"),
}
AT_THE_TOP = {  # what a folder's modules may import when they are imported themselves; elsewhere, only in functions
    "models": {"keras"},
    "engine": {"keras"},
    "engine.jax": {"keras", "jax"},
    "engine.tensorflow": {"keras", "tensorflow"},
    "training": {"keras"},
    "lab.explain": {"keras"},
    "lab.live": {"starlette"},
    "parity": {"keras", "jax", "tensorflow"},
    "tpu_compile": {"keras", "jax"},
    "serve": {"fastapi", "starlette", "uvicorn", "orjson", "prometheus_client"},
}
ONLY_IN = {  # whose names may stand nowhere else, not in functions either
    "jax": {"engine.jax", "parity", "tpu_compile"},
    "tensorflow": {"engine.tensorflow", "parity", "export"},
    "matplotlib": {"files", "lab.playground"},
    "optuna": {"tune"},
    "sklearn": {"tune"},
    "pyarrow": {"data"},
}


@functools.cache
def modules():
    """Of each module, by its name: its imports (dotted names), those at its top apart from those in functions."""
    found = {}
    with importing():
        paths = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in sorted(PACKAGE.rglob("*.py"))}
        names = {".".join(parts).removesuffix("__init__").removesuffix(".") for parts in paths}
        for parts, path in paths.items():
            top, inside = [], []
            collect(ast.parse(path.read_text()), names, top, inside, in_function=False)
            found[".".join(parts).removesuffix("__init__").removesuffix(".")] = top, inside
    return found


def collect(tree, names, top, inside, *, in_function):
    """Add the imports below a node of a tree to `top` or `inside`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        here = inside if in_function else top
        if isinstance(node, ast.Import):
            here += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:  # a module, or something in one
                name = f"{node.module}.{alias.name}"
                here.append(name if name.removeprefix("mnist_mlp.") in names else node.module)
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        collect(node, names, top, inside, in_function=in_function or is_function)


def part(module):
    """The folder or file on the first level that a module belongs to; of the lab and the engine, one level down."""
    first, *rest = module.split(".")
    return f"{first}.{rest[0]}" if first == "lab" and rest else first


def folder(module):
    """The most special folder that the rules about frameworks name for a module."""
    parts = module.split(".")
    special = {*AT_THE_TOP, *(name for names in ONLY_IN.values() for name in names)}
    return next((name for k in (2, 1) if (name := ".".join(parts[:k])) in special), parts[0])


def test_imports_between_folders_go_one_way():
    upward = []
    for name, (top, inside) in modules().items():
        if part(name) in FACE:
            continue
        for target in (
            target.removeprefix("mnist_mlp.") for target in (*top, *inside) if target.startswith("mnist_mlp.")
        ):
            mine, other = part(name), part(target)
            below = ORDER[: ORDER.index(mine)] if mine in ORDER else ORDER
            if mine != other and other not in below and (mine, other) not in BESIDE:
                upward.append(f"{name} imports {target}")
    assert upward == []
    assert set(ORDER) <= {part(name) for name in modules()}, "a part in ORDER is no longer there"


def test_no_module_imports_itself_through_others():
    below = {
        name: {target.removeprefix("mnist_mlp.") for target in top} & modules().keys() - {name}
        for name, (top, _) in modules().items()
    }
    while leaves := [name for name, targets in below.items() if not targets & below.keys()]:
        for name in leaves:
            del below[name]
    assert below == {}


def test_frameworks_stay_where_they_belong():
    strangers = []
    for name, (top, inside) in modules().items():
        for target in {target.split(".")[0] for target in top} & FRAMEWORKS:
            if target not in AT_THE_TOP.get(folder(name), ()):
                strangers.append(f"{name} imports {target} when it is imported")
        for target in {target.split(".")[0] for target in (*top, *inside)} & ONLY_IN.keys():
            if folder(name) not in ONLY_IN[target]:
                strangers.append(f"{name} imports {target}")
    assert strangers == []


def programs():
    """The modules that hold a `main(argv)`: files on the first level, and each command.py."""
    files = [name for name in modules() if "." not in name and name not in ORDER and name not in FACE]
    files = [name for name in files if (PACKAGE / f"{name}.py").is_file()]
    return sorted([*files, *(name for name in modules() if name.endswith(".command"))])


def test_programs_import_without_any_framework():
    """Each alone: of the package's own modules nothing stays from one to the next."""
    assert len(programs()) >= 14
    code = f"""
import importlib, sys
found = {{}}
for program in {programs()}:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mnist_mlp"]:
        del sys.modules[name]
    importlib.import_module(f"mnist_mlp.{{program}}")
    found[program] = sorted({FRAMEWORKS!r} & set(sys.modules))
print(found)
"""
    done = run_code(code, backend=None)
    assert done.stdout == f"{ {program: [] for program in programs()} }\n", done.stderr


def test_every_program_can_be_called_by_its_name():
    for program in programs():
        folder_of = PACKAGE.joinpath(*program.split(".")[:-1])
        assert program.count(".") == 0 or (folder_of / "__main__.py").is_file(), program


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name):
    preset = PRESETS[name]
    assert preset.preset == name
    model = networks.build(preset.model, pixels=preset.pixels, precision=preset.precision, seed=preset.seed)
    assert model.count_params() == 109_386
    assert optimizers.make_optimizer(preset.optimizer, preset.learning_rate)
