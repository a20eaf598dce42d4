"""An observer of a run: when it is called, that it changes no number, and the learning rate that it may change."""

import dataclasses
import json
import signal

import numpy as np
import pytest
from conftest import ROOT
from helpers.fork_server import run_code
from helpers.programs import Collector

from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import Config
from mnist_mlp.errors import Stopped, UserError
from mnist_mlp.runs import checkpoint
from mnist_mlp.train import train_and_evaluate
from mnist_mlp.training.observer import Observer

pytestmark = [pytest.mark.xla(False), pytest.mark.slow]

SMALL = Config(dataset="digits", model="softmax", epochs=3, strategy="cpu", optimizer="sgd")
STEPS = 45  # of an epoch


class Recorder(Observer):
    """Notes each call; `at(step, training)` may act between calls."""

    seconds_per_call = 0.0  # one step a call, after the first

    def __init__(self, at=lambda step, training: None):
        self.at, self.calls, self.losses, self.seen = at, [], [], 0

    def begins(self, session):
        self.calls.append(("begins", session.run.progress.epoch))

    def called(self, training, losses, correct, seen, seconds):
        self.calls.append(("called", training.done))
        self.losses.append(losses)
        self.seen += seen
        assert 0 <= correct <= seen and seconds > 0

    def epoch_ended(self, training):
        self.calls.append(("epoch_ended", training.done))
        self.row = training.progress.history[-1]

    def between_calls(self, training, request):
        self.at(training.done, training)


def test_it_sees_every_call_and_changes_no_number(tmp_path):
    plain = train_and_evaluate(SMALL, tmp_path / "plain", reporter=SILENT)
    observer = Recorder()
    watched = train_and_evaluate(SMALL, tmp_path / "watched", reporter=SILENT, observer=observer)
    assert observer.calls[0] == ("begins", 0)
    called = [step for name, step in observer.calls if name == "called"]
    assert called == [8, *range(9, 3 * STEPS + 1)] and observer.seen == 3 * 1437
    assert [step for name, step in observer.calls if name == "epoch_ended"] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert sum(observer.losses) == pytest.approx(1437 * sum(row["loss"] for row in watched.epochs), rel=1e-9)
    assert watched.model_sha256 == plain.model_sha256 and watched.test == plain.test
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.epochs] for run in (plain, watched)]
    assert rows[0] == rows[1] and "rates" not in watched.recipe


def change_at(where, rate):
    """An observer that changes the rate once, and keeps the weights that the network then had."""
    kept = {}

    def at(step, training):
        if step == where and not kept:
            kept.update(training.engine.state())
            training.change_rate(rate)

    return Recorder(at), kept


def test_the_rate_can_be_changed_on_the_way_and_the_run_says_so(tmp_path):
    observer, kept = change_at(60, 1e-37)  # no float32 weight changes by as little
    reporter = Collector()
    result = train_and_evaluate(SMALL, tmp_path / "run", reporter=reporter, observer=observer)
    assert result.recipe["rates"] == [{"step": 60, "from": 0.01, "to": 1e-37}] and result.learning_rate == 0.01
    assert ["learning_rate" in row for row in result.epochs] == [False, True, True]
    assert result.epochs[1]["learning_rate"] == 1e-37
    assert any("rate     0.01 → 1e-37 after step 60" in line for line in reporter.lines)
    found = checkpoint.read(max((tmp_path / "run" / "checkpoints").iterdir()))
    assert found.progress.rates == result.recipe["rates"]
    for name in ("model/logits/kernel", "model/logits/bias"):
        np.testing.assert_array_equal(found.state[name], kept[name])
        assert np.abs(kept[name]).max() > 0
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert stored["recipe"]["rates"] == result.recipe["rates"]


def test_a_changed_rate_survives_a_stop(tmp_path):
    def at(step, training):
        if step == 60:
            training.change_rate(1e-37)
        if step == 70:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match="after step 70"):
        train_and_evaluate(SMALL, tmp_path / "run", reporter=SILENT, observer=Recorder(at))
    stopped = checkpoint.read(max((tmp_path / "run" / "checkpoints").iterdir()))
    result = train_and_evaluate(dataclasses.replace(SMALL, resume=True), tmp_path / "run", reporter=SILENT)
    ended = checkpoint.read(max((tmp_path / "run" / "checkpoints").iterdir()))
    assert result.recipe["rates"] == [{"step": 60, "from": 0.01, "to": 1e-37}]
    np.testing.assert_array_equal(ended.state["model/logits/kernel"], stopped.state["model/logits/kernel"])


def test_a_run_with_another_rate_is_not_judged_by_the_gate(tmp_path):
    config = Config(preset="smoke", dataset="digits", epochs=10, strategy="cpu", gate=True)
    observer, _ = change_at(60, 0.0005)
    reporter = Collector()
    result = train_and_evaluate(config, tmp_path / "run", reporter=reporter, observer=observer)
    assert result.gate == {} and any("gate     not judged" in line for line in reporter.lines)


def test_the_rate_of_a_schedule_cannot_be_changed(tmp_path):
    config = dataclasses.replace(SMALL, schedule="cosine")
    observer, _ = change_at(8, 0.1)
    with pytest.raises(UserError, match="expected a run with a constant learning rate"):
        train_and_evaluate(config, tmp_path / "run", reporter=SILENT, observer=observer)


def test_a_checkpoint_without_a_changed_rate_is_as_before(tmp_path):
    train_and_evaluate(dataclasses.replace(SMALL, epochs=1), tmp_path / "run", reporter=SILENT)
    with np.load(max((tmp_path / "run" / "checkpoints").iterdir())) as arrays:
        assert "rates" not in json.loads(arrays["about"].tobytes())["progress"]


ON_JAX = """
import dataclasses, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from pathlib import Path
from training.test_observer import SMALL, change_at
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.runs import checkpoint
from mnist_mlp.train import train_and_evaluate
observer, kept = change_at(60, 1e-37)
path = Path(sys.argv[1])
config = dataclasses.replace(SMALL, backend="jax")
result = train_and_evaluate(config, path, reporter=SILENT, observer=observer)
found = checkpoint.read(max((path / "checkpoints").iterdir()))
assert result.backend == "jax" and result.recipe["rates"] == [{"step": 60, "from": 0.01, "to": 1e-37}], result.recipe
np.testing.assert_array_equal(found.state["model/logits/kernel"], kept["model/logits/kernel"])
print("unchanged from step 60 on")
"""


def test_on_jax_the_device_learns_of_the_new_rate(tmp_path):
    done = run_code(ON_JAX, tmp_path / "run", ROOT / "tests", backend="jax")
    assert done.stdout == "unchanged from step 60 on\n", done.stderr
