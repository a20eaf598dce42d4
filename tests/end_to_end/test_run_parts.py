"""Parts of a run one by one: intervals and tests, references, orders, probes, the data of workers, what is shown."""

import dataclasses
import io
import json
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mnist_mlp.cli import child_process
from mnist_mlp.config import Config
from mnist_mlp.data import Dataset, Split
from mnist_mlp.data.batches import batch_indices, sequential_indices, split_validation
from mnist_mlp.data.dataset import content_hash, in_order_hash
from mnist_mlp.doctor import framework_check
from mnist_mlp.engine import compilation_cache
from mnist_mlp.errors import UserError
from mnist_mlp.runs import saved
from mnist_mlp.training import session

# Orders


@pytest.mark.parametrize(
    ("n", "batch", "expected"),
    [
        (7, 3, [[0, 1, 2], [3, 4, 5], [6, -1, -1]]),
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (2, 3, [[0, 1]]),
        (3, 3, [[0, 1, 2]]),
        (3, 1, [[0], [1], [2]]),
    ],
)
def test_images_are_shared_out_over_batches(n, batch, expected):
    order = sequential_indices(n, batch)
    assert order.dtype == np.int32 and order.tolist() == expected
    drawn = batch_indices(0, 1, n, batch)
    assert drawn.shape == order.shape and sorted(drawn[drawn >= 0]) == list(range(n))
    np.testing.assert_array_equal(drawn < 0, order < 0)


def images_of(labels) -> Split:
    labels = np.array(labels, np.uint8)
    numbers = np.arange(100, 100 + len(labels), dtype=np.uint8)  # grey levels
    return Split(np.tile(numbers[:, None, None], (1, 28, 28)), labels)


def test_validation_images_are_taken_out_and_keep_their_order():
    dataset = Dataset("digits", "", images_of([n % 10 for n in range(20)]), images_of([1, 2]), (), True)
    parts = session.split(dataset, Config(dataset="digits", validation_fraction=0.25, seed=3))
    assert list(parts) == ["train", "test", "validation"] and parts["test"] is dataset.test
    train, kept = (parts[name].images[:, 0, 0] for name in ("train", "validation"))
    assert len(train) == 15 and len(kept) == 5 and sorted([*train, *kept]) == list(range(100, 120))
    assert (np.diff(train) > 0).all() and (np.diff(kept) > 0).all()
    assert parts["validation"].labels.tolist() == [n % 10 for n in kept]
    assert list(session.split(dataset, Config(dataset="digits"))) == ["train", "test"]
    for fraction in (0.02, 0.98):
        with pytest.raises(UserError, match="at least one image for training and one for validation"):
            split_validation(dataset.train, fraction, 0)
    assert len(split_validation(dataset.train, 0.95, 0)[0]) == 1


# The same data for all workers


def test_hashes_tell_training_from_test_and_the_order():
    one, other = images_of([1, 2, 3]), images_of([1, 2, 4])
    found = session.hashes(Dataset("digits", "", one, other, (), True))
    assert list(found) == ["name", "training images", "test images"] and found["name"] == "digits"
    assert found["training images"] == in_order_hash(one) != found["test images"] == in_order_hash(other)
    turned = Split(one.images[::-1], one.labels[::-1])
    assert in_order_hash(turned) != in_order_hash(one)
    assert content_hash(turned) == content_hash(one)


def test_a_run_goes_on_with_the_data_that_it_began_with(tmp_path):
    had = {"name": "mnist", "training images": "a", "test images": "b"}
    run = SimpleNamespace(resumed_from=SimpleNamespace(data=had), path=tmp_path, data_hashes=had)
    session.check_same_data(run)
    session.check_same_data(SimpleNamespace(resumed_from=None, data_hashes={**had, "name": "x"}))
    run.data_hashes = {"name": "digits", "training images": "a", "test images": "c"}
    with pytest.raises(UserError) as error:
        session.check_same_data(run)
    assert str(error.value) == (
        f"--resume: expected the mnist images that the run in {tmp_path} was started with, received digits whose name "
        "and test images differ; use --data_dir=DIR with the directory of the former"
    )


class Found:
    data = {}

    def to_arrays(self):
        return {"step": np.array(7)}


@pytest.mark.parametrize("index", [0, 1])
def test_workers_tell_what_decides_and_get_the_chiefs_checkpoint(tmp_path, monkeypatch, index):
    heard = {}

    def meet(workers, place, timeout, has, *, hand_out):
        heard.update(workers=workers, place=place, timeout=timeout, has=has, hand_out=hand_out)
        return b"the chief's"

    monkeypatch.setattr(session.rendezvous, "meet", meet)
    monkeypatch.setattr(session.checkpoint, "read", lambda file: ("read", file.read_bytes()))
    plan = SimpleNamespace(workers=("a:1", "b:2"), worker_index=index, chief=index == 0, backend="jax", device="cpu")
    config = Config(seed=5, start_timeout=17, keep=3, strategy="multiworker")
    own = Found()
    run = SimpleNamespace(config=config, resumed_from=own, path=tmp_path, data_hashes={"training images": "abc"})
    session.meet_other_workers(plan, run)
    assert (heard["workers"], heard["place"], heard["timeout"]) == (("a:1", "b:2"), index, 17)
    has = heard["has"]
    assert (
        has["--seed"] == "5" and has["training images"] == "abc" and (has["backend"], has["device"]) == ("jax", "cpu")
    )
    assert not {"--data_dir", "--run_dir", "--worker_index", "--start_timeout", "--keep", "--csv"} & set(has)
    assert {"--epochs", "--model", "--batch_size", "--strategy", "versions"} <= set(has)
    assert int(np.load(io.BytesIO(heard["hand_out"]))["step"]) == 7
    assert run.resumed_from == (own if index == 0 else ("read", b"the chief's"))
    assert (tmp_path / "handed-out.npz").exists() == (index == 1)


def test_one_worker_alone_meets_nobody(monkeypatch, tmp_path):
    monkeypatch.setattr(session.rendezvous, "meet", lambda *_, **__: pytest.fail("there is nobody"))
    session.meet_other_workers(SimpleNamespace(workers=()), SimpleNamespace())
    monkeypatch.setattr(session.rendezvous, "meet", lambda *_, hand_out, **__: hand_out)
    run = SimpleNamespace(config=Config(), resumed_from=None, path=tmp_path, data_hashes={})
    plan = SimpleNamespace(workers=("a:1", "b:2"), worker_index=1, chief=False, backend="jax", device="cpu")
    session.meet_other_workers(plan, run)
    assert run.resumed_from is None and not list(tmp_path.iterdir())  # the chief begins anew: so do all


# The model of a finished run


def test_a_model_that_was_replaced_is_not_taken_for_the_results(tmp_path, monkeypatch):
    created = []

    def create_engine(plan, spec, *, start_timeout):
        created.append((plan, spec.kind, spec.splits, spec.batch_size, spec.make_optimizer(), start_timeout))
        return spec.make_model()

    monkeypatch.setattr("mnist_mlp.engine.create.create_engine", create_engine)
    monkeypatch.setattr("mnist_mlp.models.keras_file.load", lambda file: f"model of {file.name}")
    monkeypatch.setattr(saved, "digest", lambda file: f"digest of {file.name}")
    trained = SimpleNamespace(engine="custom", model_sha256="digest of model.keras")
    found = saved.start_finished("plan", tmp_path, trained, {"test": 1}, 50, start_timeout=9)
    assert found == "model of model.keras"
    assert created == [("plan", "custom", {"test": 1}, 50, None, 9)]
    trained.model_sha256 = "another"
    with pytest.raises(UserError, match=f"--run_dir={tmp_path}: model.keras was replaced while it was read"):
        saved.start_finished("plan", tmp_path, trained, {}, 50, start_timeout=9)


# Compiled programs


def test_new_programs_are_stored_under_their_names(tmp_path):
    store, work = tmp_path / "store", tmp_path / "work"
    for path in (store, work, work / "folder"):
        path.mkdir()
    (work / "new").write_bytes(b"program")
    (work / "old").write_bytes(b"changed")
    compilation_cache.put_in(store, work, {"old"})
    assert [path.name for path in store.iterdir()] == ["new"]
    assert (store / "new").read_bytes()[compilation_cache.DIGEST :] == b"program"
    (store / "torn").write_bytes(b"x" * 40)
    (store / ".1-half").write_bytes(b"x")
    taken = tmp_path / "taken"
    taken.mkdir()
    assert compilation_cache.take_out(store, taken) == {"new"} and (taken / "new").read_bytes() == b"program"
    assert sorted(path.name for path in store.iterdir()) == [".1-half", "new"]


# A framework's answer

QUESTION = framework_check.Question("tensorflow", "gpu", {}, devices=2)
TOLD = {
    "keras_backend": "tensorflow",
    "devices": [["cpu", "CPU:0", "cpu"], ["gpu", "GPU:0", "NVIDIA L4"], ["gpu", "GPU:1", ""]],
    "on_device": True,
    "right": True,
    "versions": {"keras": "3"},
    "seconds": {"import": 1.0},
}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, ""),
        ({"keras_backend": "jax"}, "Keras runs on jax instead of tensorflow"),
        ({"devices": TOLD["devices"][:2]}, "tensorflow finds CPU:0, GPU:0 instead of 2 GPUs"),
        ({"devices": []}, "tensorflow finds no device instead of 2 GPUs"),
        ({"on_device": False}, "tensorflow did not compute on the GPU"),
        ({"right": False}, "tensorflow computes wrong numbers on the GPU"),
    ],
)
def test_an_answer_is_held_against_the_question(changes, error):
    found = framework_check.judge(QUESTION, {**TOLD, **changes}, "printed")
    assert found.error == error and found.device == "gpu" and found.printed == "printed"
    if not changes:
        assert found.devices == ("CPU:0", "GPU:0 NVIDIA L4", "GPU:1") and found.versions == {"keras": "3"}


class Process(child_process.Child):
    """A process that does not end in time, or with a code."""

    def __init__(self, code, out=b"", err=b""):
        self.files, self.waited = [io.BytesIO(out), io.BytesIO(err)], []
        self.process = SimpleNamespace(returncode=code, poll=lambda: 0)

    def wait(self, seconds=None):
        self.waited.append(seconds)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("program", seconds)
        return self.returncode


@pytest.mark.parametrize(("deadline", "waited"), [(103.0, 3.0), (100.0, 0.0), (90.0, 0.0)])
def test_an_answer_is_awaited_until_the_deadline(monkeypatch, deadline, waited):
    monkeypatch.setattr(framework_check, "time", SimpleNamespace(monotonic=lambda: 100.0))
    late = Process(None)
    monkeypatch.setattr(framework_check.os, "getloadavg", lambda: (4.0, 9.0, 9.0), raising=False)
    monkeypatch.setattr(framework_check.os, "cpu_count", lambda: 2)
    found = framework_check.answer(QUESTION, late, deadline, 15)
    assert late.waited == [waited] and found.error == "tensorflow did not answer within 15 s"
    monkeypatch.setattr(framework_check.os, "getloadavg", lambda: (14.6, 9.0, 9.0), raising=False)
    tired = framework_check.answer(QUESTION, Process(None), deadline, 15)
    assert tired.error == f"{found.error} (the machine is busy: load 15 on 2 cores; try again when it is quiet)"
    tpu = framework_check.answer(dataclasses.replace(QUESTION, device="tpu"), Process(None), deadline, 15)
    assert tpu.error.endswith("which a TPU may need for its first start: train waits for --start_timeout seconds")


def test_the_answer_is_found_among_what_is_printed():
    line = framework_check.MARK.encode() + json.dumps(TOLD).encode()
    found = framework_check.answer(QUESTION, Process(0, b"chatter\n" + line + b"\nmore\n", b"warning"), 0.0, 15)
    assert (found.error, found.printed) == ("", "warning")
    for code, outcome in ((-6, "was killed by signal 6 (SIGABRT)"), (0, "exited with code 0 without an answer")):
        assert framework_check.answer(QUESTION, Process(code), 0.0, 15).error == f"tensorflow {outcome}"


@pytest.mark.parametrize(
    ("code", "printed", "words"),
    [
        (-9, "", "was killed by signal 9 (SIGKILL)"),
        (-250, "", "was killed by signal 250"),
        (1, "Traceback\nValueError: bad\nmore", "exited with code 1: ValueError: bad"),
        (1, "a.b.SomeException: 1\nKeyError: 2\n\n", "exited with code 1: KeyError: 2"),
        (1, "one\ntwo\n", "exited with code 1: two"),
        (1, "", "exited with code 1"),
        (0, "two", "exited with code 0"),
        (1, "ValueError: " + "x" * 400, "exited with code 1: ValueError: " + "x" * 288),
    ],
)
def test_how_a_process_ended(code, printed, words):
    assert child_process.outcome_of(code, printed) == words


def test_of_a_long_text_the_end_is_read(monkeypatch):
    monkeypatch.setattr(child_process, "LONGEST", 5)
    assert child_process.tail(io.BytesIO(b"1234567")) == "34567" and child_process.tail(io.BytesIO(b"123")) == "123"


# What TensorBoard shows


class Writer:
    def __init__(self):
        self.events, self.scalars, self.flushed, self.closed = [], [], 0, False

    def add_event(self, event):
        self.events.append((event.step, [value.tag for value in event.summary.value]))

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        self.flushed += 1

    def close(self):
        self.closed = True


@pytest.fixture
def board(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from mnist_mlp.training import tensorboard as module

    module.made = []

    def event_writer(directory):
        module.made.append((directory, Writer()))
        return module.made[-1][1]

    monkeypatch.setattr(module, "event_writer", event_writer)
    return module


class Network:
    def summary(self, print_fn):
        print_fn("a table", line_break=True)
        print_fn("its end")

    def to_json(self, indent):
        return "{\n" + " " * indent + '"a": 1}'


def test_the_beginning_removes_the_old_curves_and_tells_options_and_network(board, tmp_path):
    for name in ("train", "validation", "weights"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.1").touch()
    (tmp_path / "events.2").touch()
    curves = board.Board(tmp_path, Config())
    curves.set_model(Network())
    curves.on_train_begin()
    assert [path.name for path in tmp_path.iterdir()] == ["weights"] and (tmp_path / "weights" / "events.1").exists()
    ((directory, writer),) = board.made
    assert directory == tmp_path and writer.closed and [step for step, _ in writer.events] == [0, 0, 0]
    assert [tags[0].split("/")[0] for _, tags in writer.events] == ["_hparams_", "_hparams_", "network"]


def test_curves_go_to_their_folders(board, tmp_path):
    curves = board.Board(tmp_path, Config())
    curves.writers = {"train": Writer(), "validation": Writer()}
    curves.on_epoch_end(3, {"loss": 0.5, "val_loss": 0.6, "accuracy": 0.9})
    curves.on_epoch_end(4, None)
    train, validation = curves.writers.values()
    assert train.scalars == [("epoch_loss", 0.5, 3), ("epoch_accuracy", 0.9, 3)]
    assert validation.scalars == [("epoch_loss", 0.6, 3)] and (train.flushed, validation.flushed) == (2, 2)
    curves.on_train_end()
    assert train.closed and validation.closed


def test_histograms_are_of_the_epochs_that_begin_here(board, tmp_path):
    weights = [SimpleNamespace(name=name) for name in ("kernel", "bias")]
    values = {id(weight): np.ones(3, np.float32) for weight in weights}
    layers = [SimpleNamespace(name=name, trainable_variables=have) for name, have in (("dense", weights), ("flat", []))]
    told = board.Histograms(tmp_path)
    told.set_model(SimpleNamespace(layers=layers))
    told.on_train_begin()
    ((directory, writer),) = board.made
    assert directory == tmp_path / "weights"
    told.on_epoch_end(0)  # told again of an earlier one
    assert not writer.events
    told.on_epoch_begin(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board.keras.ops, "convert_to_numpy", lambda weight: values[id(weight)])
        told.on_epoch_end(2)
    assert writer.events == [(2, ["dense/kernel"]), (2, ["dense/bias"])] and writer.flushed == 1
    told.on_train_end()
    assert writer.closed


def test_options_name_the_curves_that_there_are(board):
    def metrics_of(config):
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        found = []
        for summary in board.options_as_summaries(config):
            (value,) = summary.value
            found.append(HParamsPluginData.FromString(value.metadata.plugin_data.content))
        return found

    experiment, session = metrics_of(Config(validation_fraction=0.1, epochs=7))
    names = [(metric.name.group, metric.name.tag) for metric in experiment.experiment.metric_infos]
    parts, figures = ("train", "validation"), ("accuracy", "loss")
    assert names == [(part, f"epoch_{figure}") for part in parts for figure in figures]
    options = session.session_start_info.hparams
    assert options["epochs"].number_value == 7 and options["learning_rate"].string_value == "not given"
    assert not {"worker_index", "start_timeout", "keep", "tensorboard"} & set(options)
    experiment, _ = metrics_of(Config())
    assert [metric.name.group for metric in experiment.experiment.metric_infos] == ["train", "train"]


def test_the_network_is_told_as_two_blocks_of_text(board):
    from tensorboard.util import tensor_util

    (value,) = board.network_as_summary(Network()).value
    assert value.tag.startswith("network")
    texts = [text.decode() for text in tensor_util.make_ndarray(value.tensor).tolist()]
    assert texts == ["    a table\n    its end", '    {\n      "a": 1}']


# Distorted digits


def test_the_picture_of_digits_has_the_first_column_apart():
    from mnist_mlp.training import augmentation_preview

    digits = np.zeros((2, 3, 28, 28), np.uint8)
    digits[0, 0], digits[0, 2], digits[1, 1] = 255, 100, 50
    picture = np.asarray(Image.open(io.BytesIO(augmentation_preview.png(digits))))
    assert picture.shape == (2 * 60 + 4, 3 * 60 + 8 + 4)  # cells of 56 pixels and 4 between them
    assert (picture[4:60, 4:60] == 0).all()
    assert (picture[4:60, 132:188] == 155).all()  # 4 + 2 · 60 + 8
    assert (picture[64:120, 72:128] == 205).all()
    drawn = np.zeros(picture.shape, bool)
    for top, left in ((4, 4), (4, 132), (64, 72)):
        drawn[top : top + 56, left : left + 56] = True
    assert (picture[~drawn] == 255).all()


def test_a_digit_of_each_class_is_shown_in_so_many_steps(monkeypatch):
    from mnist_mlp.training import augmentation_preview

    seen = {}

    class Model:
        def __init__(self, inputs, outputs):
            assert len(inputs) == 3

        def predict(self, inputs, batch_size, verbose):
            images, seen["step"], seen["index"] = inputs
            assert len(images) == batch_size and not verbose
            return images + np.where(images > 200, 99.0, 0.6)

    fake = SimpleNamespace(Input=lambda *_, **__: None, Model=Model)
    monkeypatch.setattr(augmentation_preview, "keras", fake)
    monkeypatch.setattr(augmentation_preview, "Distortion", lambda kind, seed: lambda *inputs: (kind, seed))
    monkeypatch.setattr(augmentation_preview, "png", lambda digits: digits)
    labels = np.array([4, 4, 2, 2, 7], np.uint8)
    levels = np.array([10, 20, 30, 40, 250], np.uint8)
    images = np.broadcast_to(levels[:, None, None], (5, 28, 28))
    digits = augmentation_preview.render(Split(images, labels), "shift", 1)
    assert digits.shape == (3, 12, 28, 28) and digits.dtype == np.uint8
    assert digits[:, 0, 0, 0].tolist() == [30, 10, 250]  # of 2, 4 and 7 the first one
    assert digits[:, 1:, 0, 0].T.tolist() == [[31, 11, 255]] * 11
    assert seen["index"].tolist() == [2] * 11 + [0] * 11 + [4] * 11
    assert seen["step"].tolist() == list(range(11)) * 3
