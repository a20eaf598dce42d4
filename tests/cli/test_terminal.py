"""How a program shows that it works: a bar on a terminal, plain lines in a log, nothing with --quiet."""

import contextlib
import dataclasses
import io
import json
import os
import pty
import re
import sys

import pytest
from helpers.fork_server import run, run_code, start
from helpers.programs import Collector

from mnist_mlp.cli.terminal import Terminal
from mnist_mlp.config import Config
from mnist_mlp.train import train_and_evaluate
from mnist_mlp.training import progress
from mnist_mlp.training.progress import TrainingProgress

pytestmark = pytest.mark.xla(False)

HALF_WAY = TrainingProgress(
    epoch=2, epochs=3, step=50, steps_per_epoch=100, loss=0.25, accuracy=0.5, rate=12_345.6, seconds_left=75.4
)
WHOLE = re.compile(
    r"epoch +\d+/\d+( +([━─]+ )? *\d+%( +loss [\d.]+( +acc(uracy)? [\d.]+( +[\d,]+( images)?/s( +[\d:]+ left)?)?)?)?)?"
)


class FakeTerminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", FakeTerminal())
    monkeypatch.setenv("TERM", "xterm")
    return sys.stderr


# ---- the bar ----


def test_the_bar_tells_where_training_stands():
    line = HALF_WAY.render(120)
    assert line.split("   ") == [
        "epoch 2/3",
        f"{'━' * 15}{'─' * 15}  50%",
        *("loss 0.2500", "accuracy 0.5000", "12,346 images/s", "1:15 left"),
    ]
    assert HALF_WAY.render(120, ascii_only=True).isascii()


@pytest.mark.parametrize(
    "now",
    [
        HALF_WAY,
        dataclasses.replace(HALF_WAY, epoch=1, epochs=10_000, rate=1_234_567.0, seconds_left=40_000.0),
    ],
)
def test_the_bar_fits_its_terminal(now):
    for width in range(1, 200):
        line = now.render(width)
        assert len(line) <= width
        assert width < 20 or WHOLE.fullmatch(line), line  # what does not fit is left out whole
    assert "━" in HALF_WAY.render(79) and HALF_WAY.render(79).endswith("1:15 left")


@pytest.mark.parametrize("seconds, told", [(0.2, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")])
def test_clock(seconds, told):
    assert progress.clock(seconds) == told


# ---- the screen ----


def test_what_is_shown_is_written_over_and_leaves_no_trace(monkeypatch):
    terminal = a_terminal(monkeypatch)
    stream = io.StringIO()
    with Terminal(stream) as screen:
        screen.progress("one")
        screen.progress("two" * 100)
        screen.line("a line")
        screen.progress("three")
    assert stream.getvalue() == "a line\n"
    assert terminal.getvalue() == f"\rone\x1b[K\r{'two' * 26}t\x1b[K\r\x1b[K\rthree\x1b[K\r\x1b[K"


@pytest.mark.parametrize("case", ["a log", "a dumb terminal", "quiet"])
def test_where_nothing_is_shown(case, monkeypatch):
    terminal = a_terminal(monkeypatch)
    if case == "a log":
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    if case == "a dumb terminal":
        monkeypatch.setenv("TERM", "dumb")
    stream = io.StringIO()
    with Terminal(stream, quiet=case == "quiet") as screen:
        screen.progress("one")
        screen.line("a line")
    assert terminal.getvalue() == ""
    assert stream.getvalue() == ("" if case == "quiet" else "a line\n")


# ---- the program ----


TRAIN = ("--dataset=digits", "--strategy=cpu", "--model=softmax", "--batch_size=64")


def on_a_terminal(*flags):
    """What a run writes to a terminal of 120 columns, and its exit code."""
    ours, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    process = start("train", *TRAIN, *flags, backend="tensorflow", env=environment, **streams)
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError):  # so Linux says that the other end is closed
        while part := os.read(ours, 10_000):
            said += part
    os.close(ours)
    return said.decode(), process.wait()


@pytest.mark.slow
def test_a_bar_on_a_terminal_also_within_an_epoch(tmp_path):
    said, code = on_a_terminal("--epochs=2", "--checkpoint_every=5steps", f"--run_dir={tmp_path / 'run'}")
    assert code == 0
    shown = re.findall(r"\r(epoch [^\r]*)\x1b\[K", said)
    assert shown[0].startswith("epoch 1/2") and "left" in shown[0]
    assert len(shown) > 6 and all("━" in line or "─" in line for line in shown)
    stays = re.sub(r"\r[^\r\n]*\x1b\[K", "", said).replace("\r\n", "\n")
    assert len(re.findall(r"^epoch [12]/2   loss .* s$", stays, re.MULTILINE)) == 2
    assert "left" not in stays and "\x1b" not in stays


@pytest.mark.slow
@pytest.mark.parametrize("profile", [False, True])  # with it, an epoch is two calls of `fit`
def test_fit_tells_within_an_epoch_how_far_it_is(profile, monkeypatch, tmp_path):
    monkeypatch.setattr("mnist_mlp.engine.keras_fit.SECONDS_PER_CALL", 0.0)
    config = Config(dataset="digits", model="softmax", epochs=2, batch_size=64, engine="fit", strategy="cpu")
    config = dataclasses.replace(config, profile=profile)
    reporter = Collector()
    result = train_and_evaluate(config, tmp_path / "run", reporter=reporter)
    seen = reporter.progress_seen
    assert {(now.epoch, now.step) for now in seen} <= {(epoch, step) for epoch in (1, 2) for step in range(24)}
    assert [now.share for now in seen] == sorted(now.share for now in seen)
    assert len(seen) > 40 and all(now.rate > 0 and now.seconds_left >= 0 for now in seen)
    assert seen[-1].share == 1 and seen[-1].accuracy == pytest.approx(result.epochs[-1]["accuracy"])
    assert seen[-1].loss == pytest.approx(result.epochs[-1]["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_quiet_says_nothing_but_the_json(flags, tmp_path):
    flags = [*flags, "--quiet", "--epochs=1", f"--run_dir={tmp_path / 'run'}"]
    done = run("train", *TRAIN, *flags, backend="tensorflow")
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "run" / "model.keras").exists()
    assert done.stdout == "" if "--json" not in flags else json.loads(done.stdout)["test"]["total"] == 360


@pytest.mark.slow
def test_quiet_says_what_is_wrong_and_a_log_has_plain_lines(tmp_path):
    flags = ["--quiet", "--epochs=1", "--learning_rate=1e38", f"--run_dir={tmp_path / 'run'}"]
    done = run("train", *TRAIN, *flags, backend="tensorflow")
    assert done.returncode == 3 and done.stdout == "" and "training diverged" in done.stderr
    done = run("train", *TRAIN, "--epochs=2", f"--run_dir={tmp_path / 'log'}", backend="tensorflow")
    assert done.stderr == "" and not set(done.stdout) & set("\r\x1b")
    assert len(re.findall(r"^epoch [12]/2   loss .* s$", done.stdout, re.MULTILINE)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("closed", [("stderr",), ("stdin", "stderr"), ("stdin", "stdout", "stderr")])
def test_closed_streams_keep_the_json_clean(closed, tmp_path):
    """As `2>&-` leaves it: the descriptor is free, and Python has no such stream."""
    code = f"""
import os, runpy, sys
for name in {closed}:
    os.close(getattr(sys, name).fileno())
    setattr(sys, name, None)
    setattr(sys, f"__{{name}}__", None)
runpy.run_module("mnist_mlp.train", run_name="__main__", alter_sys=True)
"""
    flags = ["--epochs=1", "--json", f"--run_dir={tmp_path / 'run'}"]
    done = run_code(code, *TRAIN, *flags, backend="tensorflow")
    assert done.returncode == 0 and (tmp_path / "run" / "model.keras").exists()
    assert done.stdout == "" if "stdout" in closed else json.loads(done.stdout)["test"]["total"] == 360
