"""Environment variables that would change numbers: each is ignored or recorded, also those of newer versions."""

import functools
import json
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from helpers.fork_server import run, run_code

from mnist_mlp.cli import variables
from mnist_mlp.runs import result, summary

NAMED = {  # values that end or change a run where they are read
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "3",
    "KERAS_NNX_ENABLED": "true",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_ENABLE_X64": "1",
    "JAX_DEBUG_NANS": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "TF2_BEHAVIOR": "0",
    "TF_ENABLE_CONTROL_FLOW_V2": "0",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_FUNCTION_JIT_COMPILE_DEFAULT": "true",
    "TF_ENABLE_AUTO_MIXED_PRECISION": "1",
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "NVIDIA_TF32_OVERRIDE": "1",
    "NPY_PROMOTION_STATE": "legacy",
}
RECORDED = {"KMP_BLOCKTIME": "1"}  # of Intel's OpenMP, which nothing here uses


@pytest.fixture(autouse=True)
def nothing_ignored(monkeypatch):
    monkeypatch.setattr(variables, "ignored", {})


def what_happens(name, value="1"):
    """ "ignored", "recorded" or "kept"."""
    environment = {name: value}
    variables.remove_ignored(environment)
    if not environment:
        return "ignored"
    return "recorded" if name in variables.recorded("", environment) else "kept"


@functools.cache
def jax_options():
    """From JAX's source: its options, each with whether what it compiles depends on it."""
    (folder,) = find_spec("jax").submodule_search_locations
    declared = re.compile(
        r"_(?:state|flag)\(\s*(?:name\s*=\s*)?['\"](\w+)['\"](.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL
    )
    files = [path for path in Path(folder, "_src").glob("*.py") if "test" not in path.name]
    found = dict(pair for path in files for pair in declared.findall(path.read_text()))
    return {name: bool(re.search("include_in_(jit_key|trace_context)=True", text)) for name, text in found.items()}


@pytest.mark.slow
def test_no_option_of_jax_changes_its_programs_unnoticed():
    pytest.importorskip("jax")
    options = jax_options()
    assert len(options) > 60 and {"jax_enable_x64", "jax_platforms"} <= options.keys()
    kept = [name for name, changes in options.items() if changes and what_happens(name.upper()) == "kept"]
    assert kept == []
    assert sum(options.values()) > 10  # else the source marks them in another way


def test_no_variable_of_keras_is_kept_but_those_of_places():
    (folder,) = find_spec("keras").submodule_search_locations
    texts = [path.read_text() for path in Path(folder).rglob("*.py")]
    read = {name for text in texts for name in re.findall(r"['\"](KERAS_[A-Z0-9_]+)['\"]", text)}
    assert {"KERAS_HOME", "KERAS_BACKEND", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"} <= read | set(NAMED)
    kept = {name for name in read if what_happens(name) != "ignored"}
    distribution = {f"KERAS_DISTRIBUTION_{what}" for what in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")}
    assert kept <= {"KERAS_HOME", "KERAS_BACKEND", "KERAS_TORCH_DEVICE", *distribution}, "decide on the new ones"


def table():
    """Of each variable in the table of the page: what happens to it."""
    page = (ROOT / "mnist_mlp/devices/README.md").read_text()
    rows = re.findall(r"^\| (ignored|recorded|kept) \|(.*)\|.*\|$", page, re.MULTILINE)
    return {name: kind for kind, names in rows for name in re.findall(r"`([A-Z0-9_]+)`", names)}


def test_the_table_of_the_page_is_true_and_whole():
    told = table()
    assert {name: what_happens(name) for name in told} == told
    assert {name: told.get(name) for name in NAMED} == dict.fromkeys(NAMED, "ignored")
    assert told["XLA_FLAGS"] == "recorded"


def test_what_is_no_setting_of_the_numbers_is_not_recorded():
    """Passwords of Terraform, which has the same prefix; the caches that a run sets up itself."""
    for name in ("TF_VAR_password", "TF_TOKEN_app_terraform_io", "TF_CLI_CONFIG_FILE", "TF_CPP_MIN_LOG_LEVEL", "PATH"):
        assert what_happens(name) == "kept"
    inherited = {"TF2_BEHAVIOR": "1"}  # as TensorFlow sets it in a notebook that imports it
    variables.remove_ignored(inherited)
    assert not inherited and "TF2_BEHAVIOR" not in variables.ignored
    cache = "--tf_xla_persistent_cache_directory=/tmp/x"
    assert what_happens("TF_XLA_FLAGS", cache) == "kept"
    assert variables.recorded("", {"TF_XLA_FLAGS": f"--tf_xla_auto_jit=2 {cache}"}) == {
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2"
    }


def test_a_note_is_about_the_backend_that_runs(monkeypatch):
    for name in variables.recorded(""):  # of this machine
        monkeypatch.delenv(name)
    variables.remove_ignored({"JAX_ENABLE_X64": "1", "KERAS_MAX_EPOCHS": "2"})
    (note,) = variables.notes("tensorflow")
    assert note == "ignored, since options alone decide the numbers: KERAS_MAX_EPOCHS=2"
    assert variables.notes("jax")[0].endswith(": JAX_ENABLE_X64=1, KERAS_MAX_EPOCHS=2")
    environment = {"OMP_NUM_THREADS": "1", "TF_ENABLE_ONEDNN_OPTS": "0", "JAX_DISABLE_JIT": "1"}
    assert list(variables.recorded("jax", environment)) == ["JAX_DISABLE_JIT", "OMP_NUM_THREADS"]
    assert list(variables.recorded("tensorflow", environment)) == ["OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS"]


@pytest.mark.slow
@pytest.mark.parametrize("framework", [pytest.param("tensorflow", marks=pytest.mark.full), "jax"])  # sooner imported
def test_what_a_framework_sets_at_its_import_is_no_setting_of_the_user(framework):
    """A notebook that has imported one starts the programs with it."""
    pytest.importorskip(framework)
    code = f"""
import os
before = set(os.environ)
import {framework}
print(sorted(set(os.environ) - before))
from mnist_mlp.cli import variables
print(variables.notes("{framework}"))
variables.remove_ignored()
print(variables.notes("{framework}"))
"""
    names, before, after = run_code(code, backend=None).stdout.splitlines()
    assert before == after and "ignored" not in after, names


@pytest.mark.slow
def test_what_scikit_learn_sets_at_its_import_is_no_setting_of_the_user():
    pytest.importorskip("sklearn")
    code = """
import os
from mnist_mlp.cli import variables
before = variables.notes("tensorflow")
import sklearn.tree
print("KMP_INIT_AT_FORK" in os.environ, variables.notes("tensorflow") == before)
"""
    assert run_code(code, backend=None).stdout == "True True\n"


def test_what_a_program_has_set_in_its_own_jax_is_recorded(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(config=SimpleNamespace(jax_enable_x64=True)))
    assert variables.recorded("jax", {}) == {"JAX_ENABLE_X64": "True"}
    assert variables.recorded("tensorflow", {}) == {}


@pytest.mark.slow
def test_the_defaults_of_jax():
    pytest.importorskip("jax")
    code = "import jax; from mnist_mlp.cli import variables\nprint(variables.recorded('jax', {}))\n"
    code += "print([name for name in variables.JAX_OPTIONS if not hasattr(jax.config, name)])"
    assert run_code(code, backend="jax").stdout == "{}\n[]\n"


def test_a_resumed_run_tells_that_its_environment_has_changed(monkeypatch):
    """By what a checkpoint keeps of where it was written; one of version 0.1 keeps nothing of it."""
    monkeypatch.setattr(result, "versions", lambda backend: {})
    engine = SimpleNamespace(backend="tensorflow", xla=True, devices=SimpleNamespace(name="CPU", replicas=1))
    for name in [name for name in os.environ if variables.RECORDED.fullmatch(name)]:
        monkeypatch.delenv(name)
    before = result.ran_on(engine)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    once = {"step": 1, "of": 2, "before": before, "now": result.ran_on(engine), "passed_over": []}
    said = "\n".join(summary.continuations(SimpleNamespace(resumed=[once])))
    assert "now on environment OMP_NUM_THREADS=1 (before: default): equal up to rounding" in said
    engine.devices.replicas = 2
    said = "\n".join(summary.continuations(SimpleNamespace(resumed=[once | {"now": result.ran_on(engine)}])))
    assert "now on replicas 2 (before: 1), environment OMP_NUM_THREADS=1 (before: default): equal up to" in said
    del before["environment"]
    assert "now on" not in "\n".join(summary.continuations(SimpleNamespace(resumed=[once])))


def trained(folder, backend, engine, **environment):
    """The result of a run with dropout, in a folder, with more variables than the tests have."""
    flags = ["--dataset=digits", "--model=mlp_dropout", "--units=16", "--epochs=1", "--strategy=cpu"]
    folder.mkdir()
    flags += [f"--backend={backend}", f"--engine={engine}", "--json", "--run_dir=run"]
    done = run("train", *flags, backend=backend, env={**os.environ, **environment}, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert os.listdir(folder) == ["run"]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "engine"),
    [("jax", "fit")]
    + [pytest.param("jax", "compiled", marks=pytest.mark.full)]
    + [pytest.param("tensorflow", engine, marks=pytest.mark.full) for engine in ("fit", "compiled")],
)
def test_a_run_has_the_same_bits_whatever_is_set(tmp_path, backend, engine):
    """All variables that are ignored, in one process: all options of JAX, and those of the table; and a keras.json.

    Nothing is left where the run was started, either, though the home directory has a relative name.
    """
    pytest.importorskip(backend)
    names = [name.upper() for name in jax_options()] if find_spec("jax") else []
    names += [name for name, kind in table().items() if kind == "ignored"]
    hostile = {name: "1" for name in names if what_happens(name) == "ignored"} | NAMED
    usual = trained(tmp_path / "usual", backend, engine)
    (tmp_path / "keras.json").write_text('{"floatx": "float8", "epsilon": 1, "nnx_enabled": true}')
    places = {"HOME": "home", "XDG_CACHE_HOME": "cache", "KERAS_HOME": str(tmp_path), "MNIST_MLP_CACHE": ""}
    changed = trained(tmp_path / "changed", backend, engine, **hostile, **RECORDED, **places)
    for key in ("model_sha256", "test"):
        assert changed[key] == usual[key]
    assert [row["loss"] for row in changed["epochs"]] == [row["loss"] for row in usual["epochs"]]
    assert changed["device"]["environment"].items() >= RECORDED.items()
    notes = "\n".join(changed["device"]["notes"])
    assert "KERAS_MAX_STEPS_PER_EPOCH=3" in notes and "KMP_BLOCKTIME=1" in notes
