"""Programs that are kept from run to run: the same numbers sooner, and never a reason to fail."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.fork_server import run

from mnist_mlp import devices
from mnist_mlp.engine import compilation_cache
from mnist_mlp.engine.compilation_cache import DIGEST, put_in, store_for, take_out, trim

PLAN = devices.Plan("jax", "cpu", "cpu", {})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache; as if no framework had been imported yet."""
    monkeypatch.setenv("MNIST_MLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    for name in [name for name in os.environ if name.startswith(compilation_cache.READ_BY_XLA)]:
        monkeypatch.delenv(name)  # the tests have a cache of their own
    return tmp_path / "cache"


def folder(path, **files):
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_what_is_stored_is_found(tmp_path, place):
    put_in(store_for(PLAN), folder(tmp_path / "first", a=b"program", b=b""), set())
    assert take_out(store_for(PLAN), folder(tmp_path / "second")) == {"a", "b"}
    assert contents(tmp_path / "second") == {"a": b"program", "b": b""}


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: b"", lambda c: c[:DIGEST], lambda c: c[:-1] + b"?"])
def test_what_is_damaged_is_removed(tmp_path, place, damage):
    store = store_for(PLAN)
    put_in(store, folder(tmp_path / "first", a=b"program"), set())
    (store / "a").write_bytes(damage((store / "a").read_bytes()))
    assert take_out(store, folder(tmp_path / "second")) == set() and contents(tmp_path / "second") == {}
    assert not (store / "a").exists()


def test_others_of_the_group_who_may_write_elsewhere_do_not_matter(place):
    before = os.umask(0o002)
    try:
        assert store_for(PLAN) is not None
    finally:
        os.umask(before)


def test_what_was_interrupted_is_not_stored(place, monkeypatch):
    """A framework may have been in the middle of writing it."""
    store, environment = store_for(PLAN), dict(os.environ)
    monkeypatch.setattr(os, "environ", environment)
    with pytest.raises(KeyboardInterrupt), compilation_cache.compilation_cache(PLAN, wanted=True):
        Path(environment["JAX_COMPILATION_CACHE_DIR"], "half").write_bytes(b"prog")
        raise KeyboardInterrupt
    assert contents(store) == {}


def test_without_room_nothing_is_kept(place, monkeypatch):
    monkeypatch.setattr(compilation_cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    before = dict(os.environ)
    with compilation_cache.compilation_cache(PLAN, wanted=True):
        assert dict(os.environ) == before


def test_the_store_stays_small(tmp_path, place, monkeypatch):
    """What was used longest ago goes first."""
    store = store_for(PLAN)
    put_in(store, folder(tmp_path / "work", a=b"1" * 100, b=b"2" * 100, c=b"3" * 100), set())
    for age, name in enumerate("bca"):
        os.utime(store / name, (1000 - age, 1000 - age))
    monkeypatch.setattr(compilation_cache, "MAX_BYTES", 2 * (100 + DIGEST))
    trim(store.parent)
    assert sorted(contents(store)) == ["b", "c"]


def test_each_processor_version_and_setting_has_its_own(tmp_path, place, monkeypatch):
    stores = {store_for(PLAN), store_for(PLAN)}
    assert len(stores) == 1
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    stores.add(store_for(PLAN))
    monkeypatch.setattr(compilation_cache, "installed_software", lambda: {"jax": "0.0"})
    stores.add(store_for(PLAN))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(77))
    stores.add(store_for(PLAN))
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: read(path).replace("flags\t", "flags\tamx_tile"))
    stores.add(store_for(PLAN))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.delitem(sys.modules, "tensorflow")
    stores.add(store_for(dataclasses.replace(PLAN, backend="tensorflow")))
    assert None not in stores and len(stores) == 6


@pytest.mark.parametrize(
    "changes",
    [{"device": "gpu"}, {"device": "tpu"}, {"replicas": 2}, {"workers": ("a:1", "b:1")}, {"xla": False}],
)
def test_only_one_cpu_keeps_programs(place, changes):
    assert store_for(dataclasses.replace(PLAN, **changes)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MNIST_MLP_CACHE", "off"),
        ("JAX_COMPILATION_CACHE_DIR", "/x"),
        ("TF_XLA_FLAGS", "--tf_xla_persistent_cache_x=1"),
    ],
)
def test_what_the_user_has_set_holds(place, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert store_for(PLAN) is None


def test_a_store_that_others_may_write_to_is_not_used(place):
    store_for(PLAN).chmod(0o777)
    assert store_for(PLAN) is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, place):
    place.write_text("in the way")
    assert store_for(PLAN) is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", [pytest.param("tensorflow", marks=pytest.mark.full), "jax"])  # sooner imported
def test_a_run_is_the_same_with_kept_programs(tmp_path, backend):
    """And a later one compiles nothing, and says nothing that the first one did not."""
    flags = ["--dataset=digits", "--model=softmax", "--epochs=1", f"--backend={backend}", "--strategy=cpu"]
    settings = {name: value for name, value in os.environ.items() if not name.startswith(compilation_cache.READ_BY_XLA)}
    done = run("train", *flags, f"--run_dir={tmp_path / 'off'}", backend=backend)
    assert (done.returncode, done.stderr) == (0, "")
    stores = []
    for name in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-m", "mnist_mlp.train", *flags, f"--run_dir={tmp_path / name}"],
            env={**settings, "MNIST_MLP_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        stores.append({file: file.read_bytes() for file in (tmp_path / "cache").glob("xla/*/*")})
    assert stores[0] and stores[1] == stores[0]
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("off", "first", "second")]
    off, first, second = [(result["model_sha256"], result["test"]) for result in results]
    assert off == first == second
    assert not list(tmp_path.glob("mnist_mlp-*"))


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_where_nothing_is_to_be_kept_nothing_is(place, monkeypatch, backend):
    """For the tests and for whoever has no room."""
    monkeypatch.setenv("MNIST_MLP_CACHE", "off")
    before = dict(os.environ)
    with compilation_cache.compilation_cache(dataclasses.replace(PLAN, backend=backend), wanted=True):
        assert dict(os.environ) == before
    assert not place.exists()
