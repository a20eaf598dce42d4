"""What a run writes for TensorBoard (read back with TensorBoard's own reader), and the trace of --profile."""

import contextlib
import gzip
import json
import re
import shutil

import numpy as np
import pytest
from helpers.fork_server import run_code
from helpers.once import once

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.engine.base import Sums
from mnist_mlp.errors import UserError
from mnist_mlp.training import profiler

pytestmark = pytest.mark.xla(False)

SMALL = "--dataset=digits --epochs=1 --strategy=cpu"


def train(runs, backend):
    """`train` with each of those flags, one after the other in one process; what it prints."""
    code = """
from mnist_mlp.cli import program; from mnist_mlp import train
program.run(lambda runs: [train.main(flags.split()) for flags in runs])
"""
    done = run_code(code, *runs, backend=backend)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def written(path):
    """All values in the event files: (folder, tag) -> [(step, value)], in the order of time."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = {}
    for file in sorted((path / "tensorboard").rglob("events*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found.setdefault((file.parent.name, value.tag), []).append((event.step, value))
    return found


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A run of one epoch, and then of one more: its directory, its result, and the histograms of the first epoch."""

    def make(place):
        flags = f"{SMALL} --batch_size=64 --validation_fraction=0.1 --tensorboard --backend=tensorflow"
        train([f"{flags} --run_dir={place}/run"], "tensorflow")
        shutil.copytree(place / "run", place / "first")
        train([f"{flags} --run_dir={place}/run --epochs=2 --resume"], "tensorflow")

    place = once(tmp_path_factory, "board", make)
    return place / "run", json.loads((place / "run" / "result.json").read_text()), written(place / "first")


@pytest.mark.slow
def test_curves(resumed):
    path, result, _ = resumed
    found = {key: points for key, points in written(path).items() if key[0] in ("train", "validation")}
    assert set(found) == {(part, f"epoch_{name}") for part in ("train", "validation") for name in ("loss", "accuracy")}
    for (part, tag), points in found.items():
        key = tag.removeprefix("epoch_") if part == "train" else tag.replace("epoch", "validation")
        told = [(step, value.tensor.float_val[0]) for step, value in points]
        assert told == [(epoch, pytest.approx(result["epochs"][epoch][key])) for epoch in (0, 1)]


@pytest.mark.slow
def test_histograms_of_the_weights_of_each_epoch(resumed):
    from tensorboard.util.tensor_util import make_ndarray

    from mnist_mlp.models.keras_file import load

    path, _, first = resumed
    found = {tag: points for (folder, tag), points in written(path).items() if folder == "weights"}
    layers = load(path / "model.keras").layers
    trained = {f"{layer.name}/{weight.name}": weight for layer in layers for weight in layer.trainable_variables}
    assert set(found) == set(trained) and len(found) == 6
    for tag, points in found.items():
        assert [step for step, _ in points] == [0, 1]
        assert points[0][1] == first["weights", tag][0][1]  # resuming has left it as it was
        buckets = make_ndarray(points[1][1].tensor)  # left edge, right edge, count
        values = np.array(trained[tag])
        assert buckets[:, 2].sum() == values.size
        assert (buckets[0, 0], buckets[-1, 1]) == pytest.approx((values.min(), values.max()), rel=1e-6)


@pytest.mark.slow
def test_the_network_as_text_and_the_options(resumed):
    from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG, SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    path, _, _ = resumed
    found = {tag: points for (folder, tag), points in written(path).items() if folder == "tensorboard"}
    assert set(found) == {"network", EXPERIMENT_TAG, SESSION_START_INFO_TAG}
    assert all(len(points) == 1 for points in found.values())  # those of the first process are replaced
    table, options = (text.decode() for text in found["network"][0][1].tensor.string_val)
    for words in ("hidden_1 (Dense)", "(None, 128)", "100,480", "Param #", "109,386"):
        assert words in table
    assert json.loads(options)["config"]["layers"][3]["config"]["units"] == 128

    def about(tag):
        return HParamsPluginData.FromString(found[tag][0][1].metadata.plugin_data.content)

    told = about(SESSION_START_INFO_TAG).session_start_info.hparams
    assert told["batch_size"].number_value == 64 and told["epochs"].number_value == 2
    assert told["optimizer"].string_value == "adam" and told["learning_rate"].string_value == "not given"
    assert "run_dir" not in told and "keep" not in told
    metrics = {(each.name.group, each.name.tag) for each in about(EXPERIMENT_TAG).experiment.metric_infos}
    assert metrics == {(part, f"epoch_{name}") for part in ("train", "validation") for name in ("loss", "accuracy")}


# ---- the trace ----


class Counting:
    """An engine that remembers its calls."""

    on_progress = None

    def __init__(self):
        self.calls = []

    def train(self, rows, start, stop):
        self.calls.append((start, stop))
        return Sums(np.arange(start, stop, dtype=float), stop - start, 2 * (stop - start))


@pytest.mark.parametrize(
    "calls, made, traced",
    [
        ([(0, 8), (8, 500)], [(0, 8), (8, 108), (108, 500)], (8, 108)),
        ([(0, 8), (8, 41)], [(0, 8), (8, 41)], (8, 41)),
        ([(0, 500)], [(0, 10), (10, 110), (110, 500)], (10, 110)),  # fit
        ([(0, 5)], [(0, 2), (2, 5)], (2, 5)),
        ([(0, 1), (0, 1)], [(0, 1), (0, 1)], (0, 1)),
        ([(497, 500), (0, 500)], [(497, 498), (498, 500), (0, 500)], (498, 500)),  # the rest of an epoch, resumed
    ],
)
def test_which_steps_are_traced(calls, made, traced, monkeypatch, tmp_path):
    counting = Counting()
    engine = profiler.Profiled(counting, tmp_path, SILENT)
    seen = []

    class Block:
        def __enter__(self):
            seen.append(len(counting.calls))

        def __exit__(self, *error):
            seen.append(counting.calls[-1])

    monkeypatch.setattr(counting, "trace", lambda directory: Block(), raising=False)
    monkeypatch.setitem(vars(engine), "report", seen.append)
    rows = np.zeros((max(stop for _, stop in calls), 2), np.int32)
    for start, stop in calls:
        sums = engine.train(rows, start, stop)
        assert sums.losses.tolist() == list(range(start, stop))
        assert (sums.correct, sums.seen) == (stop - start, 2 * (stop - start))
    assert counting.calls == made
    assert seen == [made.index(traced), traced, traced[1] - traced[0]]


def test_what_is_set_on_the_wrapper_reaches_the_engine(monkeypatch, tmp_path):
    """And progress counts on from call to call, of which the wrapper makes three."""
    counting, heard = Counting(), []
    monkeypatch.setattr(counting, "trace", lambda directory: contextlib.nullcontext(), raising=False)
    engine = profiler.Profiled(counting, tmp_path, SILENT)
    engine.on_progress = lambda steps, *figures: heard.append((steps, *figures))
    engine.seed = 5
    assert counting.seed == 5 and "on_progress" not in vars(engine)

    def train(batch_indices, start, stop):
        counting.on_progress(stop - start, 0.5, 0.9, 0.01)
        return Sums(np.zeros(stop - start), 0, 0)

    monkeypatch.setattr(counting, "train", train)
    set_by_user = counting.on_progress
    engine.train(np.zeros((200, 2), np.int32))
    assert heard == [(steps, 0.5, 0.9, 0.01) for steps in (10, 110, 200)]
    assert counting.on_progress is set_by_user


def test_what_is_in_the_way_of_a_trace(tmp_path):
    (tmp_path / "profile").touch()
    with pytest.raises(UserError, match=f"--profile: {tmp_path}/profile exists and is not a directory; remove it"):
        profiler.Profiled(Counting(), tmp_path / "profile", SILENT)


TRACED = """
import os
from functools import partial
from pathlib import Path
import numpy as np
from mnist_mlp import data, devices, train
from mnist_mlp.cli import program
from mnist_mlp.cli.terminal import PRINT
from mnist_mlp.data import batches
from mnist_mlp.training import session
from mnist_mlp.config import Config
from mnist_mlp.training.profiler import Profiled

def main(flags):
    train.main([*flags, "--run_dir=run", "--profile"])
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tensorflow":  # the other one has nothing of its own here
        train.main([*flags, "--run_dir=none", "--profile", "--epochs=0"])
    from mnist_mlp.models import networks
    for kind in ("compiled", "fit"):
        config = Config(dataset="digits", model="softmax", strategy="cpu", backend=backend, engine=kind)
        splits = {"train": data.load(config).train}
        engine = session.make_engine(config, devices.plan(config), partial(networks.build, config.model), splits)
        engine.compile()
        rows, begun, ends = batches.batch_indices(0, 0, len(splits["train"]), 32), engine.state(), []
        for one in (engine, Profiled(engine, Path(kind), PRINT)):
            engine.restore(begun)
            sums = one.train(rows)
            ends.append({"correct": sums.correct, "seen": sums.seen, **engine.state()})
        assert all((ends[1][name] == end).all() for name, end in ends[0].items() if isinstance(end, np.ndarray))
        assert [ends[1][name] for name in ("correct", "seen")] == [ends[0][name] for name in ("correct", "seen")]
        assert any((ends[0][name] != value).any() for name, value in begun.items())  # it has trained

program.run(main)
"""


JAX_ALONE = """
import sys
from pathlib import Path
import jax
from mnist_mlp.engine.jax.trace import traced
with traced(Path(sys.argv[1])):
    jax.jit(lambda x: x @ x)(jax.numpy.ones((64, 64))).block_until_ready()
"""


@pytest.mark.slow
def test_jax_traces_a_block(tmp_path):
    done = run_code(JAX_ALONE, tmp_path, backend="jax")
    assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "plugins" / "profile").iterdir()
    assert any(file.name.endswith(".xplane.pb") for file in found.iterdir())
    assert json.loads(gzip.decompress((found / "perfetto_trace.json.gz").read_bytes()))["traceEvents"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.full)])
def test_a_trace_of_either_framework_changes_no_number(backend, tmp_path):
    done = run_code(TRACED, f"--backend={backend}", *SMALL.split(), backend=backend, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for place in ("run/profile", "compiled", "fit"):
        (found,) = (tmp_path / place / "plugins" / "profile").iterdir()
        file = found / "perfetto_trace.json.gz"
        assert re.search(rf"profile  \d+ steps: (.*/)?{re.escape(str(file.relative_to(tmp_path)))}, for ", done.stdout)
        assert any(file.name.endswith(".xplane.pb") for file in found.iterdir())
        events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
        spans = [event for event in events if event.get("ph") == "X"]
        named = {(event["pid"], event.get("tid")) for event in events if event.get("ph") == "M"}
        assert len(spans) > 100 and all(event["dur"] >= 0 and event["ts"] >= 0 for event in spans)
        assert all((event["pid"], event["tid"]) in named for event in spans)
    assert backend == "jax" or "profile  nothing was traced: no step was left to train" in done.stdout
    assert done.stdout.count("profile  ") == {"tensorflow": 4, "jax": 3}[backend]
