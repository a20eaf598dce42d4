"""A checkpoint is taken whole or not at all, whoever damaged it; and one process writes a run."""

import dataclasses
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from helpers.fork_server import start_code

from mnist_mlp.config import FREE, PRESETS, Config, differing
from mnist_mlp.errors import UserError
from mnist_mlp.files import archives, lock
from mnist_mlp.runs import checkpoint, directory
from mnist_mlp.runs import saved as finished
from mnist_mlp.runs.checkpoint import Checkpoint, Progress

ROW = {"epoch": 1, "loss": 0.1 + 0.2, "accuracy": 0.5, "seconds": 1.25}


def example(steps=45 + 7, **options):
    """A checkpoint after an epoch of 45 steps and some of the next, small."""
    rng = np.random.default_rng(steps)
    state = {
        "model/hidden_1/kernel": rng.normal(size=(5, 4)).astype(np.float32),
        "model/dropout_1/seed_generator_state": np.array([1, 2**32 - 1], np.uint32),
        "optimizer/0/iteration": np.array(steps, np.int64),
    }
    progress = Progress(1, steps - 45, rng.normal(size=steps - 45), 100, 224, 0.75, [ROW])
    ran_on = {"backend": "tensorflow", "device": "CPU: an example", "replicas": 1, "keras": "3.15.1"}
    return Checkpoint(progress, steps, state, Config(dataset="digits", **options), {"name": "digits"}, ran_on, [])


def run_dir(path, *found, config=None):
    """A run directory with those checkpoints."""
    run = directory.Run(path, config or Config(dataset="digits", keep=10))
    path.mkdir(exist_ok=True)
    run.write_config()
    for one in found:
        run.write_checkpoint(one)
    return path


def same(one, other):
    assert dataclasses.replace(one, progress=None, state=None) == dataclasses.replace(other, progress=None, state=None)
    for name in ("epoch", "step", "correct", "seen", "seconds", "history"):
        assert getattr(one.progress, name) == getattr(other.progress, name)
    for a, b in [(one.progress.losses, other.progress.losses), *((one.state[k], other.state[k]) for k in one.state)]:
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    assert one.state.keys() == other.state.keys()


def test_what_is_written_is_read_and_numpy_reads_it_too(tmp_path):
    run_dir(tmp_path, example())
    file = tmp_path / "checkpoints" / "step-000000052.npz"
    same(checkpoint.read(file), example())
    with np.load(file, allow_pickle=False) as arrays:
        assert {"about", "losses", "model/hidden_1/kernel", "optimizer/0/iteration"} <= set(arrays)
        about = json.loads(arrays["about"].tobytes())
    assert about["progress"]["history"] == [ROW] and about["config"]["model"] == "mlp"
    assert about["total_steps"] == 52 and about["progress"]["step"] == 7


def test_the_newest_is_that_of_the_most_steps_whatever_the_clock_says(tmp_path):
    run_dir(tmp_path, *(example(steps) for steps in (50, 52, 60)))
    for steps, modified in ((50, 3e9), (52, 2e9), (60, 1e9)):
        os.utime(tmp_path / "checkpoints" / f"step-{steps:09}.npz", (modified, modified))
    found, file, passed_over = checkpoint.newest(tmp_path)
    assert found.total_steps == 60 and passed_over == {} and file.name == "step-000000060.npz"


def test_the_newest_are_kept(tmp_path):
    config = Config(dataset="digits", keep=2)
    run_dir(tmp_path, *(example(steps) for steps in (46, 47, 48, 49)), config=config)
    assert list(checkpoint.files(tmp_path)) == [49, 48]
    # Of a run that went on from 48, since 49 was damaged: what is newer is not counted among those kept.
    directory.Run(tmp_path, dataclasses.replace(config, keep=1)).write_checkpoint(example(48))
    assert list(checkpoint.files(tmp_path)) == [49, 48]


def damaged(whole, rng, times):
    """The bytes of a file truncated at so many places, and with ten times as many random bits flipped, one by one."""
    for length in [0, 1, len(whole) - 1, *rng.integers(0, len(whole), times - 3)]:
        yield f"truncated to {length}", whole[:length]
    for place in rng.integers(0, 8 * len(whole), 10 * times):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        yield f"bit {place} flipped", bytes(flipped)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path, full):
    run_dir(tmp_path, example(50), example(60))
    file = tmp_path / "checkpoints" / "step-000000060.npz"
    whole, passed_over, times = file.read_bytes(), 0, 20 if full else 8
    for how, content in damaged(whole, np.random.default_rng(0), times):
        file.write_bytes(content)
        found, _, reasons = checkpoint.newest(tmp_path, Config(dataset="digits"))
        reasons = list(reasons.values())
        if reasons:
            passed_over += 1
            assert len(reasons) == 1 and reasons[0].startswith("step-000000060.npz is damaged"), how
            assert "\n" not in reasons[0] and len(reasons[0]) < 400
            same(found, example(50))
        else:  # a bit that means nothing, such as a date in the archive
            same(found, example(60))
    assert passed_over > 9 * times  # of 11
    file.unlink()
    file.mkdir()
    assert checkpoint.newest(tmp_path)[0].total_steps == 50


@pytest.mark.slow
def test_a_damaged_config_is_made_good_from_a_checkpoint(tmp_path, full):
    run_dir(tmp_path, example(50, seed=7), config=Config(dataset="digits", seed=7))
    file = tmp_path / "config.json"
    whole = file.read_bytes()
    for how, content in damaged(whole, np.random.default_rng(1), 20 if full else 5):
        file.write_bytes(content)
        assert differing(directory.config_of_run(tmp_path), Config(dataset="digits", seed=7)) == [], how
        with directory.opened(tmp_path, Config(dataset="digits", seed=7, resume=True)) as run:
            assert run.resumed_from.total_steps == 50
            run.write_config()
        finished.read_config(tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"")
    for content in (b"", b"{}", whole[:-9], whole.replace(b'"seed": 7', b'"seed": 8')):
        file.write_bytes(content)
        with pytest.raises(UserError, match="config.json is damaged, and no checkpoint is intact"):
            directory.config_of_run(tmp_path)


def test_where_all_are_damaged_the_run_begins_anew_and_says_so(tmp_path):
    run_dir(tmp_path, example(50))
    (tmp_path / "checkpoints" / "step-000000050.npz").write_bytes(b"PK")
    with directory.opened(tmp_path, Config(dataset="digits", resume=True)) as run:
        assert run.resumed_from is None and "step-000000050.npz is damaged" in run.skipped["step-000000050.npz"]
    assert (tmp_path / "config.json").exists()  # a run that was there before is not taken away


def test_a_whole_archive_of_other_numbers_is_damaged(tmp_path):
    run_dir(tmp_path, example())
    file = tmp_path / "checkpoints" / "step-000000052.npz"
    with np.load(file) as arrays:
        np.savez(file, **{**arrays, "model/hidden_1/kernel": arrays["model/hidden_1/kernel"] + 1})
    found, _, reasons = checkpoint.newest(tmp_path)
    assert found is None and "its content does not match its checksum" in str(reasons)


@pytest.mark.parametrize(
    "change",
    [
        {"progress": {}},
        {"progress": None},
        {"total_steps": "52"},
        {"total_steps": -1},
        {"config": {"modle": "mlp"}},
        {"config": {"batch_size": -5}},
        {"data": []},
        {"resumed": [1]},
        {"ran_on": "here"},
        {"new": 1},
    ],
)
def test_a_right_checksum_over_wrong_content(change, tmp_path):
    """Somebody else's file, or a later version's: refused like a damaged one."""
    arrays = example().to_arrays()
    about = {**json.loads(arrays.pop("about").tobytes()), **change}
    del about["sha256"]
    about["sha256"] = archives.checksum(about, arrays)
    file = tmp_path / "step-000000052.npz"
    np.savez(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    if "new" in change:  # what is not looked at
        same(checkpoint.read(file), example())
        return
    with pytest.raises(UserError, match=r"step-000000052\.npz is damaged"):
        checkpoint.read(file)


def test_a_checkpoint_of_a_later_version_is_not_taken_for_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    run_dir(tmp_path, example())
    monkeypatch.undo()
    with pytest.raises(UserError, match="written by another version of mnist_mlp"):
        directory.opened(tmp_path, Config(dataset="digits", resume=True)).__enter__()


def test_files_that_are_none_hold_nothing_up(tmp_path):
    run_dir(tmp_path, example(50))
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")
    os.mkfifo(tmp_path / "checkpoints" / "step-000000060.npz")
    with directory.opened(tmp_path, Config(dataset="digits", resume=True)) as run:
        assert run.resumed_from.total_steps == 50 and list(run.skipped) == ["step-000000060.npz"]
        assert run.last_checkpoint.name == "step-000000050.npz"


def test_a_checkpoint_of_another_run_is_passed_over(tmp_path):
    run_dir(tmp_path, example(50), example(99, model="wide"))
    with directory.opened(tmp_path, Config(dataset="digits", resume=True)) as run:
        assert run.resumed_from.total_steps == 50
    assert list(run.skipped.values()) == ["step-000000099.npz belongs to another run (another --model)"]


# ---- resuming with other options ----

OTHER = {
    "preset": "lecture",
    "init_from": "/another",
    "model": "wide",
    "units": "256,128",
    "pixels": "raw",
    "validation_fraction": 0.5,
    "batch_size": 64,
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "seed": 1,
    "engine": "fit",
    "precision": "bfloat16",
    "schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 0.5,
    "label_smoothing": 0.1,
    "ema": 0.9,
    "augment": "affine",
}


def test_every_option_is_free_or_not():
    names = {field.name for field in dataclasses.fields(Config)}
    assert set(FREE) <= names and names - set(FREE) == set(OTHER)


@pytest.mark.parametrize("name", OTHER)
def test_an_option_that_would_change_the_result_is_refused_by_name(name, tmp_path):
    run_dir(tmp_path, example())
    config = dataclasses.replace(Config(dataset="digits", resume=True), **{name: OTHER[name]})
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(UserError, match=rf"--{name}={OTHER[name]}: the run in .* was started with (no )?--{name}"):
        directory.opened(tmp_path, config).__enter__()
    assert (tmp_path / "config.json").read_bytes() == before


def test_options_that_may_change(tmp_path):
    run_dir(tmp_path, example())
    free = {"epochs": 9, "strategy": "gpu", "backend": "jax", "replicas": 4, "json": True, "data_dir": "elsewhere"}
    free |= {
        "checkpoint_every": "3steps",
        "keep": 1,
        "early_stopping": 2,
        "csv": True,
        "tensorboard": True,
        "profile": True,
    }
    config = Config(**{"dataset": "auto", "resume": True, **free})
    with directory.opened(tmp_path, config) as run:
        assert run.resumed_from.total_steps == 52
        assert finished.read_config(tmp_path).epochs == 5  # not before it is known that the run can be resumed with it
        run.write_config()
    stored = finished.read_config(tmp_path).to_dict()
    assert {name: stored[name] for name in free} == {**free, "data_dir": os.path.abspath("elsewhere")}
    assert stored["resume"] is False


@pytest.mark.parametrize("epochs, fits", [(1, False), (2, True), (3, True)])
def test_epochs_that_are_done_cannot_be_undone(epochs, fits, tmp_path):
    run_dir(tmp_path, example())
    config = Config(dataset="digits", epochs=epochs, resume=True)
    if fits:
        with directory.opened(tmp_path, config):
            return
    with pytest.raises(
        UserError, match="--epochs=1: the run in .* has already started epoch 2; use --epochs=2 or more"
    ):
        directory.opened(tmp_path, config).__enter__()


def test_flags_of_a_run_that_is_resumed(tmp_path):
    from mnist_mlp.train import config_of

    lecture = dataclasses.replace(PRESETS["lecture"], dataset="digits", strategy="cpu", replicas=4, csv=True)
    run_dir(tmp_path, config=lecture)
    given = {"run_dir": str(tmp_path), "resume": True}
    assert config_of(given) == dataclasses.replace(lecture, **given)
    assert config_of({**given, "epochs": 7}).epochs == 7
    moved = config_of({**given, "strategy": "tpu"})
    assert (moved.strategy, moved.replicas, moved.pixels, moved.csv) == ("tpu", None, "raw", True)
    assert config_of({"run_dir": str(tmp_path / "new"), "resume": True, "preset": "smoke"}).epochs == 10
    with pytest.raises(UserError, match="--resume needs the run to resume"):
        config_of({"resume": True})


@pytest.mark.parametrize("text, steps", [("2", 90), ("0", 0), ("1epoch", 45), ("3 epochs", 135), ("7steps", 7)])
def test_how_often(text, steps):
    assert Config(checkpoint_every=text).steps_between_checkpoints(45) == steps


@pytest.mark.parametrize("text", ["", "-1", "1.5", "often", "5 minutes", "steps"])
def test_how_often_in_other_words(text):
    with pytest.raises(UserError, match="--checkpoint_every: expected a number of epochs"):
        Config(checkpoint_every=text)


def test_fit_trains_whole_epochs():
    with pytest.raises(UserError, match="--engine=fit saves checkpoints after whole epochs"):
        Config(engine="fit", checkpoint_every="7steps")


# ---- the lock ----


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from mnist_mlp.files import lock\n"
        "with lock.held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = start_code(code, tmp_path, backend=None, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"locked by process {process.pid} on .*; wait for it"), lock.held(tmp_path):
        pytest.fail("two owners")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / lock.NAME).exists()
    with lock.held(tmp_path):
        assert (tmp_path / lock.NAME).read_text().startswith(f"{os.getpid()} on ")
    assert not (tmp_path / lock.NAME).exists()


def test_where_the_file_system_has_no_locks_the_number_of_the_process_counts(tmp_path, monkeypatch):
    def none(descriptor, how):
        raise OSError(lock.NO_LOCKS[0], "no locks here")

    monkeypatch.setattr("fcntl.flock", none)
    host = os.uname().nodename
    for living in (f"{os.getppid()} on {host}", f"{os.getpid()} on another-{host}"):
        (tmp_path / lock.NAME).write_text(living + "\n")
        with (
            pytest.raises(UserError, match=f"locked by process {living}; .*if it no longer exists: rm"),
            lock.held(tmp_path),
        ):
            pytest.fail("two owners")
    dead = start_code("", backend=None)
    dead.wait()
    (tmp_path / lock.NAME).write_text(f"{dead.pid} on {host}\n")
    with lock.held(tmp_path):
        assert (tmp_path / lock.NAME).read_text().startswith(f"{os.getpid()} on ")


@pytest.mark.parametrize("saved", [True, False])
def test_a_directory_that_is_moved_under_a_run_is_not_written_any_more(saved, tmp_path):
    """Nor is that of the run which stands in its place now."""
    path, moved = tmp_path / "run", tmp_path / "moved"
    with (
        pytest.raises(UserError, match="was moved or replaced"),
        directory.opened(path, Config(dataset="digits")) as run,
    ):
        if saved:
            run.write_checkpoint(example(50))
        path.rename(moved)
        with directory.opened(path, Config(dataset="digits", seed=1)) as other:
            with pytest.raises(UserError, match="was moved or replaced"):
                run.write_checkpoint(example(60))
            other.write_checkpoint(example(70, seed=1))
        run.write_checkpoint(example(60))
    assert list(checkpoint.files(path)) == [70] and finished.read_config(path).seed == 1
    assert list(checkpoint.files(moved)) == [50] * saved


def test_a_finished_run_without_a_whole_checkpoint_is_not_begun_anew(tmp_path):
    run_dir(tmp_path, example(50))
    (tmp_path / "result.json").write_text("{}")
    (tmp_path / "checkpoints" / "step-000000050.npz").write_bytes(b"")
    with pytest.raises(UserError, match="the finished run has no usable checkpoint"):
        directory.opened(tmp_path, Config(dataset="digits", resume=True)).__enter__()


def test_the_name_of_a_checkpoint_is_its_step(tmp_path):
    run_dir(tmp_path, example(50))
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "step-000000900.npz").write_bytes((checkpoints / "step-000000050.npz").read_bytes())
    found, file, passed_over = checkpoint.newest(tmp_path)
    assert found.total_steps == 50 and "it was written at step 50" in passed_over["step-000000900.npz"]


def test_what_a_killed_process_had_half_written_is_removed(tmp_path):
    run_dir(tmp_path, example())
    half = [tmp_path / ".writing-4711-config.json", tmp_path / "checkpoints" / ".writing-4711-step-000000099.npz"]
    for path in half:
        path.write_bytes(b"PK")
    with directory.opened(tmp_path, Config(dataset="digits", resume=True)) as run:
        assert run.resumed_from.total_steps == 52
    assert not any(path.exists() for path in half)


def test_a_clock_that_goes_backwards_names_no_directory_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "20200101-000000")
    first = directory.default_path(Config())
    first.mkdir(parents=True)
    assert directory.default_path(Config()) != first
