"""The import layers, and that every preset and model builds."""

import ast
import functools
from pathlib import Path

import pytest
from helpers.fork_server import run_code

from mnist_mlp import config, models, optimizers
from mnist_mlp.config import PRESETS
from mnist_mlp.lean_keras import importing

PACKAGE = Path(config.__file__).parent

LAYERS = [  # lowest first; a module imports from its own line only what stands to its left
    [
        "errors",
        "options",
        "config",
        "machine",
        "software",
        "symptoms",
        "workers",
        "devices",
        "probes",
        "waiting",
        "meeting",
        "interruption",
        "atomic",
        "lock",
        "screen",
    ],
    ["archives", "digits", "sources", "libraries", "data", "class_names", "checkpoint"],
    ["pictures", "pictures.reading", "pictures.segments", "pictures.ruling", "pictures.ink"],
    ["pictures.framing", "pictures.inputs"],
    ["pictures.terminal"],
    ["student", "metrics", "model_file", "models", "distortions"],
    [
        "engine",
        "optimizers",
        "engine.calls",
        "engine.fit",
        "engine.tensorflow_programs",
        "engine.tensorflow",
        "engine.tensorflow_devices",
        "engine.tensorflow_trace",
    ],
    ["engine.jax_programs", "engine.jax", "engine.jax_devices", "engine.jax_trace", "engine.topology", "engine.start"],
    ["board", "callbacks", "training", "profiling", "learner"],
    ["evidence", "diagnosis"],
    ["spread", "reference", "result", "gate", "console", "finished", "finished_model", "rundir", "run_data"],
    ["figures", "specimens"],
    ["chatter", "lean_keras", "kept_programs", "command", "run_config"],
    ["export", "export.network", "export.numpy_forward"],
    ["pages", "pages.html", "pages.numbers", "pages.images", "pages.charts", "pages.material"],
    ["pages.outcome", "pages.inside", "pages.conditions", "pages.run_page", "pages.stage"],
    ["pages.comparing", "pages.comparison_page", "pages.comparison_text"],
    ["train"],
    ["evaluate"],
    ["predict"],
    ["report"],
    ["doctor"],
    ["tpu_compile"],
    ["export.formats", "export.onnx_file", "export.tensorflow_files"],
    ["export.keras_file", "export.writing", "export.reading", "export.child", "export.comparing", "export.place"],
    ["export.table", "export.__main__"],
    ["server", "server.limits", "server.images", "server.answers", "server.batches", "server.metrics"],
    ["server.bodies", "server.examples", "server.network", "server.schema", "server.front", "server.connections"],
    ["server.listening", "server.app"],
    ["serve"],
    ["parity", "parity.oracle", "parity.rounding", "parity.generators", "parity.questions", "parity.matrix_products"],
    ["parity.operations_jax", "parity.operations_tensorflow", "parity.operations"],
    ["parity.problem", "parity.comparison", "parity.reference", "parity.subject", "parity.trial"],
    ["parity.cpu", "parity.report", "parity.__main__"],
    ["lab"],
    ["lab.lesson", "lab.claims", "lab.outcomes", "lab.explain"],
    ["lab.rungs", "lab.trials", "lab.approximation", "lab.ladder_report", "lab.ladder_figure", "lab.ladder"],
    ["lab.broken", "lab.mistakes_figure", "lab.mistakes"],
    ["lab.playground.fdlibm", "lab.playground.exact", "lab.playground.stream"],
    ["lab.playground.state", "lab.playground.points", "lab.playground.network", "lab.playground.history"],
    ["lab.playground", "lab.playground.sweep", "lab.playground.report"],
    ["lab.playground.picture_colours", "lab.playground.picture_network", "lab.playground.picture"],
    ["lab.playground.exercises.parts", "lab.playground.exercises.measures", "lab.playground.exercises.answers"],
    ["lab.playground.exercises.answers_deep", "lab.playground.exercises.drawings", "lab.playground.exercises"],
    ["lab.playground.__main__"],
    ["tuning", "tuning.methods", "tuning.space", "tuning.space_file", "tuning.folds", "tuning.fitting"],
    ["tuning.messages", "tuning.pool", "tuning.worker", "tuning.place", "tuning.proposals", "tuning.study"],
    ["tuning.choice", "tuning.table", "tuning.search", "tuning.picture", "tuning.outcome"],
    ["tune"],
]
ORDER = [name for layer in LAYERS for name in layer]
DRIVERS = {
    *("train", "evaluate", "predict", "report", "serve", "doctor", "tpu_compile", "tune"),
    *("export.__main__", "parity.__main__"),
    *("lab.explain", "lab.ladder", "lab.mistakes", "lab.playground.__main__"),
}
WEB = {"fastapi", "starlette", "uvicorn", "orjson", "prometheus_client"}  # of the server, and imported by it alone
FRAMEWORKS = {
    *("keras", "tensorflow", "tensorflow_datasets", "jax", "torch", "sklearn", "matplotlib", "optuna", "h5py", *WEB),
}
MAY_IMPORT = {
    "model_file": {"h5py"},  # inside functions, see below
    "models": {"keras"},
    "distortions": {"keras"},
    "specimens": {"keras"},
    "optimizers": {"keras"},
    "board": {"keras"},
    "callbacks": {"keras"},
    "training": {"keras"},
    "engine": {"keras"},
    "engine.fit": {"keras"},
    "engine.start": {"keras"},
    "engine.tensorflow": {"keras", "tensorflow"},
    "engine.tensorflow_programs": {"tensorflow"},
    "engine.tensorflow_devices": {"tensorflow"},
    "engine.jax": {"keras", "jax"},
    "engine.jax_programs": {"keras", "jax"},
    "engine.jax_devices": {"jax"},
    "engine.jax_trace": {"jax"},
    "engine.tensorflow_trace": {"tensorflow"},
    "engine.topology": {"keras", "jax"},
    "libraries": {"keras", "tensorflow_datasets"},  # inside functions, see below
    "figures": {"matplotlib"},  # the same
    "lab.playground.picture": {"matplotlib"},
    "lab.playground.picture_network": {"matplotlib"},
    "lab.playground.exercises.drawings": {"matplotlib"},
    "learner": {"keras"},
    "finished_model": {"keras"},  # for type checkers alone
    "tuning.fitting": {"sklearn"},  # inside functions, like the following
    "tuning.proposals": {"optuna"},
    "tuning.study": {"optuna"},  # for type checkers alone
    "tuning.picture": {"matplotlib"},  # the same
    "export.network": {"keras"},  # the same
    "export.keras_file": {"keras"},
    "export.tensorflow_files": {"tensorflow"},  # inside functions, like the following
    "export.reading": {"keras", "tensorflow"},
    "export.__main__": {"keras"},  # for type checkers alone
    "lab.rungs": {"keras"},  # inside functions, see below
    "lab.ladder_figure": {"matplotlib"},  # for type checkers alone
    "evidence": {"keras"},  # the same, and the next three
    "diagnosis": {"keras"},
    "lab.broken": {"keras"},
    "lab.mistakes_figure": {"matplotlib"},
    "lab.lesson": {"keras"},
    "lab.claims": {"keras"},
    "server.images": {"orjson"},
    "server.answers": {"orjson", "starlette"},
    "server.metrics": {"prometheus_client"},
    "server.bodies": {"starlette"},
    "server.front": {"starlette"},
    "server.connections": {"uvicorn", "orjson"},
    "server.listening": {"uvicorn", "starlette", "prometheus_client"},
    "server.app": {"fastapi", "starlette"},
    "parity.operations_jax": {"keras", "jax"},
    "parity.operations_tensorflow": {"keras", "tensorflow"},
}


@functools.cache
def modules():
    """Of each module, by its name, the top of its tree and the imports and functions anywhere in it."""
    found = {}
    with importing():
        for path in sorted(PACKAGE.rglob("*.py")):
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
            tree = ast.parse(path.read_text())
            kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)
            found[name] = tree.body, [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return found


def imports(name, *, top_only=False):
    """Dotted names that a module imports, those for type checkers alone left out if `top_only`."""
    top, anywhere = modules()[name]
    return [target for node in (top if top_only else anywhere) for target in imported(node)]


def imported(node):
    """Dotted names that this node of a tree imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        if any(name.removeprefix("mnist_mlp.") not in ORDER for name in names):  # not only modules of a package
            yield node.module
        yield from names


def packages(targets):
    return {target.split(".")[0] for target in targets}


def test_every_module_has_its_layer():
    assert modules().keys() - {"__init__"} == set(ORDER) and len(ORDER) == len(set(ORDER))


def test_imports_go_downward():
    upward = []
    for place, name in enumerate(ORDER):
        below = set(ORDER[:place])
        for target in (target.removeprefix("mnist_mlp.") for target in imports(name)):
            if target in ORDER and (target not in below or (name in DRIVERS and target in DRIVERS)):
                upward.append(f"{name} imports {target}")
    assert upward == []


def test_frameworks_stay_where_they_belong():
    strangers, at_top = {}, {}
    for name in ORDER:
        typing_only = {"result": {"keras"}, "train": {"keras"}}.get(name, set())
        strangers[name] = packages(imports(name)) & FRAMEWORKS - typing_only - MAY_IMPORT.get(name, set())
        lab = ("lab.lesson", "lab.claims")
        parity = ("parity.operations_jax", "parity.operations_tensorflow")
        model = ("models", "distortions", "optimizers", "specimens")
        beside = ("board", "callbacks", "training", "learner", *lab, *parity, *model)
        if name not in beside and not name.startswith(("engine", "server.")):
            at_top[name] = packages(imports(name, top_only=True)) & FRAMEWORKS
    assert {name: found for name, found in strangers.items() if found} == {}
    assert {name: found for name, found in at_top.items() if found} == {}


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


def test_modules_and_functions_stay_short():
    for path in PACKAGE.rglob("*.py"):
        assert path.read_text().count("\n") <= 300, path.name
    for name, (_, nodes) in modules().items():
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno - node.lineno < 60, f"{name}: {node.name}"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name):
    preset = PRESETS[name]
    assert preset.preset == name
    model = models.build(preset.model, pixels=preset.pixels, precision=preset.precision, seed=preset.seed)
    assert model.count_params() == 109_386
    assert optimizers.make_optimizer(preset.optimizer, preset.learning_rate)
