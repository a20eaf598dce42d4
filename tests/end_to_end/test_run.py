"""Whole runs: train, evaluate and predict as a user types them."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.fork_server import run_code, start
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture
from helpers.once import once
from helpers.programs import FRAMEWORKS, Collector, program, refused

from mnist_mlp import data, predict, train
from mnist_mlp.checks import references
from mnist_mlp.checks.gate import Gate
from mnist_mlp.cli.terminal import SILENT
from mnist_mlp.config import PRESETS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import command as evaluate
from mnist_mlp.export import command as export
from mnist_mlp.files import atomic
from mnist_mlp.models import keras_file, networks
from mnist_mlp.runs import directory
from mnist_mlp.runs.saved import read_run
from mnist_mlp.train import train_and_evaluate

pytestmark = pytest.mark.xla(False)

RELIED_ON = (
    *("model", "parameters", "dataset.name", "dataset.source", "dataset.train_examples", "dataset.test_examples"),
    *("steps_per_epoch", "evaluation_steps", "epochs.0.loss", "epochs.0.accuracy", "epochs.0.seconds"),
    *("test.correct", "test.total", "test.accuracy", "test.interval", "test.confusion"),
    *("device.requested", "device.actual", "device.replicas", "device.xla", "backend", "engine", "seed", "versions"),
    *("seconds.import", "seconds.load", "seconds.compile", "seconds.train", "seconds.evaluate", "seconds.total"),
    "peak_memory_mb",
)


def look_up(value, dotted):
    for key in dotted.split("."):
        value = value[int(key) if key.isdigit() else key]
    return value


def copy_run(path, to):
    shutil.copytree(path, to, dirs_exist_ok=True)


def refuses(main, flags, *words):
    """Check what the program whose `main` this is says, in this process, to a user's mistake: one line."""
    with pytest.raises(UserError) as caught:
        main(list(map(str, flags)))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture(scope="session")
def finished(trained):
    """A finished run on the digits, in a process of its own: (directory, its standard output and error)."""
    stdout, stderr = ((trained.parent / name).read_text() for name in ("stdout", "stderr"))
    return trained, subprocess.CompletedProcess([], 0, stdout, stderr)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A run of the smallest model, without training."""

    def make(place):
        config = Config(dataset="digits", model="softmax", epochs=0, strategy="cpu")
        train_and_evaluate(config, place / "run", reporter=SILENT)

    return once(tmp_path_factory, "small", make) / "run"


@pytest.mark.slow
def test_json_has_the_keys_that_tools_rely_on(finished):
    path, done = finished
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    for key in RELIED_ON:
        assert look_up(result, key) is not None, key
    assert result == atomic.read_json(path / "result.json")
    assert result["steps_per_epoch"] == 45 and result["evaluation_steps"] == 12  # 1437/32, 360/32
    assert np.sum(result["test"]["confusion"]) == result["test"]["total"] == 360
    assert result["test"]["correct"] == np.trace(result["test"]["confusion"])
    low, high = result["test"]["interval"]
    assert low < result["test"]["accuracy"] < high
    assert result["test"]["accuracy"] > 0.9
    stages = ("import", "load", "compile", "train", "evaluate", "save", "report")
    assert sum(result["seconds"][part] for part in stages) == pytest.approx(result["seconds"]["total"], rel=0.05)


@pytest.mark.slow
def test_the_run_directory_holds_the_run(finished):
    path, done = finished
    names = ["checkpoints", "config.json", "history.jsonl", "model.keras", "report.html", "result.json"]
    assert sorted(p.name for p in path.iterdir()) == names
    assert sorted(p.name for p in (path / "checkpoints").iterdir()) == [
        f"step-{steps:09}.npz" for steps in (360, 405, 450)
    ]
    history = [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
    assert history == json.loads(done.stdout)["epochs"] and len(history) == 10
    _, config, result = read_run(str(path))
    typed = {"strategy": "cpu", "backend": "tensorflow", "json": True, "run_dir": str(path)}
    assert config == Config(**{**PRESETS["smoke"].to_dict(), **typed})
    assert result.to_dict() == json.loads(done.stdout)


@pytest.mark.slow
def test_the_report_says_what_the_lecture_asks_and_nothing_else(finished):
    _, done = finished
    for words in (
        "digits: 1,437 training + 360 test images",
        "100,480 = (784 + 1) · 128",
        "8,256 = (128 + 1) · 64",
        "650 = (64 + 1) · 10",
        "109,386",
        "1437/32 → 45",
        "360/32 → 12",
        "epoch  1/10   loss ",
        "measured on digits: this is not MNIST accuracy",
        "mistaken for",
    ):
        assert words in done.stderr
    starts = {line[:8].strip() for line in done.stderr.splitlines() if line.strip()}
    assert starts <= {"data", "", "!", "device", "model", "steps", "epoch  1", "epoch  2", "epoch  3", "epoch  4",
                      "epoch  5", "epoch  6", "epoch  7", "epoch  8", "epoch  9", "epoch 10", "test", "seconds",
                      "ran on", "memory", "versions", "run"}, starts  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [None, 1, 77, 1000])
def test_evaluate_gives_the_same_counts_again(finished, batch_size):
    path, done = finished
    trained = json.loads(done.stdout)
    options = evaluate.Options(run_dir=str(path), batch_size=batch_size, strategy="cpu")
    again = evaluate.evaluate(options, reporter=SILENT).result
    assert again.test["confusion"] == trained["test"]["confusion"]
    assert again.to_dict().keys() == trained.keys() and again.test.keys() == trained["test"].keys()
    assert again.evaluation_steps == -(-360 // (batch_size or 32))


@pytest.mark.slow
def test_evaluate_tells_when_the_counts_differ(finished, tmp_path):
    copy_run(finished[0], tmp_path)
    result = atomic.read_json(tmp_path / "result.json")
    result["test"]["confusion"][0][0] += 1
    atomic.write_json(tmp_path / "result.json", result)
    reporter = Collector()
    evaluate.evaluate(evaluate.Options(run_dir=str(tmp_path)), reporter=reporter)
    assert "the counts differ from those of the training run" in reporter.lines[-1]


@pytest.mark.slow
def test_the_model_of_another_run_is_refused(small, tmp_path):
    copy_run(small, tmp_path)
    networks.build("softmax", seed=5).save(tmp_path / "model.keras")
    refuses(evaluate.main, [f"--run_dir={tmp_path}"], "model.keras is damaged, or belongs to another run")


@pytest.mark.slow
def test_a_model_that_is_replaced_while_it_is_read_is_noticed(small, tmp_path, monkeypatch):
    copy_run(small, tmp_path)
    load = keras_file.load

    def load_another(file):
        keras_file.save(networks.build("softmax", seed=5), file)
        return load(file)

    monkeypatch.setattr(keras_file, "load", load_another)
    with pytest.raises(UserError, match="was replaced while it was read"):
        evaluate.evaluate(evaluate.Options(run_dir=str(tmp_path)), reporter=SILENT)


@pytest.mark.full
def test_what_keras_json_says_changes_no_number(finished, tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float16", "image_data_format": "channels_first"}')
    environment = os.environ | {"KERAS_HOME": str(tmp_path)}
    flags = ["--preset=smoke", "--json", f"--run_dir={tmp_path}/run"]
    done = program("train", *flags, blocked=False, env=environment)
    result, expected = json.loads(done.stdout), json.loads(finished[1].stdout)
    assert result["test"] == expected["test"]


def test_a_run_that_was_killed_is_named_so(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    refuses(train.main, ["--dataset=digits", f"--run_dir={tmp_path}"], "it holds an unfinished run")


@pytest.mark.slow
def test_predict_agrees_with_the_counts_in_both_formats(finished, tmp_path, digits, capsys):
    path, done = finished
    file = tmp_path / "p.csv"
    predict.main([f"--run_dir={path}", f"--output={file}", "--batch_size=100", "--strategy=cpu"])
    with open(file) as lines:
        rows = list(csv.reader(lines))
    assert rows[0] == ["input", "class", *(f"p{i}" for i in range(10))]
    assert [row[0] for row in rows[1:3]] == ["test:0", "test:1"] and len(rows) == 361
    classes = np.array([int(row[1]) for row in rows[1:]])
    assert (classes == digits.test.labels).sum() == json.loads(done.stdout)["test"]["correct"]
    probabilities = np.array([row[2:] for row in rows[1:]], float)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == classes).all()

    np.save(tmp_path / "two.npy", digits.test.images[:2])
    predict.main([f"--run_dir={path}", f"--input={tmp_path / 'two.npy'}", "--format=jsonl", "--strategy=cpu"])
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [o["input"] for o in objects] == ["two.npy:0", "two.npy:1"]
    assert [o["class"] for o in objects] == classes[:2].tolist()
    np.testing.assert_allclose([o["p"] for o in objects], probabilities[:2], rtol=1e-4, atol=1e-9)


@pytest.mark.slow
def test_one_seed_one_result(tmp_path):
    config = Config(dataset="digits", model="mlp_dropout", units="16", epochs=2, batch_size=64, strategy="cpu")
    results = [train_and_evaluate(config, tmp_path / name, reporter=SILENT) for name in ("a", "b")]
    a, b = (keras_file.load(tmp_path / name / "model.keras").get_weights() for name in ("a", "b"))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert results[0].test == results[1].test
    for one, other in zip(results[0].epochs, results[1].epochs, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.slow
def test_validation_images_are_kept_from_training(tmp_path):
    config = Config(dataset="digits", validation_fraction=0.2, epochs=1, strategy="cpu", engine="fit")
    result = train_and_evaluate(config, tmp_path / "run", reporter=SILENT)
    assert (result.dataset["train_examples"], result.dataset["validation_examples"]) == (1150, 287)
    assert result.steps_per_epoch == 36 and 0 < result.epochs[0]["validation_accuracy"] < 1


@pytest.mark.slow
def test_no_epochs_means_the_initial_network(tmp_path):
    config = Config(dataset="digits", model="mlp_zeros", epochs=0, strategy="cpu", engine="fit")
    result = train_and_evaluate(config, tmp_path / "run", reporter=SILENT)
    assert result.epochs == [] and result.test["loss"] == pytest.approx(np.log(10), rel=1e-6)


def test_a_network_that_diverged_never_predicts(small, tmp_path):
    """Such as one that an older version trained."""
    copy_run(small, tmp_path)
    model = networks.build("softmax")
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    keras_file.save(model, tmp_path / "model.keras")
    result = atomic.read_json(tmp_path / "result.json")
    atomic.write_json(tmp_path / "result.json", result | {"model_sha256": atomic.digest(tmp_path / "model.keras")})
    with pytest.raises(UserError, match="model.keras predicts nan"):
        predict.predict(predict.Options(run_dir=str(tmp_path), strategy="cpu"))


@pytest.mark.slow
def test_images_of_your_own(tmp_path):
    rng = np.random.default_rng(0)
    split = data.Split(rng.integers(0, 256, (50, 28, 28), np.uint8), rng.integers(0, 10, 50, np.uint8))
    mine = data.Dataset("mine", "made here", split, split, (), False)
    config = Config(model="softmax", epochs=1, strategy="cpu")
    result = train_and_evaluate(config, tmp_path / "run", dataset=mine, reporter=SILENT)
    assert (result.dataset["name"], result.test["total"], result.steps_per_epoch) == ("mine", 50, 2)
    options = evaluate.Options(run_dir=str(tmp_path / "run"), strategy="cpu")
    again = evaluate.evaluate(options, dataset=mine, reporter=SILENT).result
    assert again.test["confusion"] == result.test["confusion"]
    with pytest.raises(UserError, match="custom data set"):
        evaluate.evaluate(options, reporter=SILENT)
    exporting = export.Options(run_dir=options.run_dir, format=("weights",), strategy="cpu")
    assert export.export(exporting, dataset=mine, reporter=SILENT)["formats"][0]["total"] == 50


# ---- mistakes ----


def test_a_directory_that_holds_a_run_is_left_alone(small, tmp_path):
    copy_run(small, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    refuses(train.main, ["--dataset=digits", f"--run_dir={tmp_path}"], "it holds a run; choose another one")
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_directories_that_cannot_be_a_run(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    for path, words in {"file": "received a file", "file/run": "received a file", "full": "'thesis.tex'"}.items():
        refuses(train.main, ["--dataset=digits", f"--run_dir={tmp_path / path}"], words)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):  # which `command.run` tells in a line
        train.main(["--dataset=digits", f"--run_dir={tmp_path / 'run'}"])


def test_a_failed_run_takes_away_only_what_it_made(tmp_path):
    config = Config(dataset="digits")
    with pytest.raises(ZeroDivisionError), directory.opened(tmp_path / "a" / "b", config):
        (tmp_path / "a" / "b" / "thesis.tex").touch()
        (tmp_path / "a" / "neighbour").mkdir()
        raise ZeroDivisionError
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "a", "a/b", "a/b/thesis.tex", "a/neighbour"
    ]  # fmt: skip
    with pytest.raises(ZeroDivisionError), directory.opened(tmp_path / "gone", config):
        shutil.rmtree(tmp_path / "gone")
        raise ZeroDivisionError


def test_of_two_runs_into_one_directory_one_goes_on(tmp_path):
    with directory.opened(tmp_path / "run", Config()):
        for resume, words in ((False, "holds an unfinished run"), (True, f"locked by process {os.getpid()} on")):
            with pytest.raises(UserError, match=words), directory.opened(tmp_path / "run", Config(resume=resume)):
                pytest.fail("two runs in one directory")
        assert (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_names_that_are_too_long_or_unknown(tmp_path):
    refused(program("train", "--dataset=digits", f"--run_dir={tmp_path}/a/{'x' * 300}"), "File name too long")
    refused(program("train", "--dataset=digits", "--run_dir=~nobody-of-that-name/run"), "names an unknown user")
    refused(program("evaluate", f"--run_dir={'x' * 300}"), "File name too long")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_leaves_nothing(tmp_path):
    flags = [f"--data_dir={tmp_path / 'nowhere'}", f"--run_dir={tmp_path / 'a' / 'b'}"]
    refuses(train.main, flags, f"--data_dir={tmp_path / 'nowhere'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the disk: a checkpoint is larger than it, config.json is not."""
    code = (
        "import resource, signal, sys, runpy; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "runpy.run_module('mnist_mlp.train', run_name='__main__', alter_sys=True)"
    )
    done = run_code(code, "--preset=smoke", f"--run_dir={tmp_path / 'run'}", backend="tensorflow")
    assert done.returncode == 2 and "could not be written: File too large; free space" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", [evaluate, predict])
def test_what_is_no_run(program, tmp_path):
    refuses(program.main, [], "use --run_dir=DIR")
    refuses(program.main, [f"--run_dir={tmp_path}"], "found no config.json")
    words = "found no such directory (train prints it when it ends)"
    refuses(program.main, [f"--run_dir={tmp_path}/nowhere"], words)


@pytest.mark.parametrize(
    "file, content",
    [
        ("config.json", b'{"model": "mlp"'),
        ("config.json", b"[]"),
        ("config.json", {"modle": "mlp"}),
        ("config.json", {"batch_size": -5}),
        ("config.json", b"\xff\xfe\x00"),
        ("result.json", b""),
        ("result.json", {}),
        ("result.json", {"model": 3}),
        ("result.json", b"[" * 100_000),
    ],
)
def test_a_damaged_run(small, tmp_path, file, content):
    copy_run(small, tmp_path)
    if isinstance(content, dict):
        atomic.write_json(tmp_path / file, content)  # with its checksum
    else:
        (tmp_path / file).write_bytes(content)
    hint = "unknown option 'modle'; did you mean 'model'?" if content == {"modle": "mlp"} else "damaged"
    refuses(evaluate.main, [f"--run_dir={tmp_path}"], hint)


@pytest.mark.slow
def test_a_damaged_run_is_refused_without_a_framework(small, tmp_path):
    copy_run(small, tmp_path)
    (tmp_path / "result.json").write_bytes(b"[" * 100_000)
    for name in ("evaluate", "predict"):
        refused(program(name, f"--run_dir={tmp_path}"), "result.json is damaged")


@pytest.mark.parametrize(
    "key, value", [("test", {}), ("dataset", {}), ("dataset", None), ("batch_size", "32"), ("epochs", 5), ("new", 1)]
)
def test_a_result_that_no_run_wrote(small, tmp_path, key, value):
    copy_run(small, tmp_path)
    atomic.write_json(tmp_path / "result.json", atomic.read_json(small / "result.json") | {key: value})
    refuses(evaluate.main, [f"--run_dir={tmp_path}"], "result.json is damaged")


def test_a_model_of_somebody_else(tmp_path):
    image = keras.Input((28, 28))
    five_classes = keras.layers.Dense(5, name="logits")(keras.layers.Flatten()(image))
    for output in (five_classes, keras.layers.Dense(10)(keras.layers.Flatten()(image))):
        keras.Model(image, output).save(tmp_path / "model.keras")
        with pytest.raises(UserError, match="another Keras model"):
            keras_file.load(tmp_path / "model.keras")


def test_a_damaged_model(small, tmp_path):
    whole = (small / "model.keras").read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:0], whole[: len(whole) // 2], whole[:-10], b"not a model"]
    for place in rng.integers(0, len(whole), 30):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    weights = keras_file.load(small / "model.keras").get_weights()
    refusals = 0
    for content in damaged:
        (tmp_path / "model.keras").write_bytes(content)
        try:
            loaded = keras_file.load(tmp_path / "model.keras").get_weights()
        except UserError as error:
            refusals += 1
            assert "is damaged" in str(error) and "\n" not in str(error)
        else:  # a bit of the archive that means nothing, such as a date: the numbers are whole
            assert all(np.array_equal(a, b) for a, b in zip(loaded, weights, strict=True))
    assert refusals >= 25


def test_predict_refuses_what_it_cannot_read(small, tmp_path):
    run_dir = f"--run_dir={small}"
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(tmp_path / "shape.npy", np.zeros((3, 27, 28), np.uint8))
    (tmp_path / "text.npy").write_text("hello")
    for name in ("nowhere.npy", "pickled.npy", "shape.npy", "text.npy"):
        refuses(predict.main, [run_dir, f"--input={tmp_path / name}"], name)
    refuses(predict.main, [run_dir, tmp_path / "text.npy"], "text.npy: expected images as .npy")
    refuses(predict.main, [run_dir, "--split=test", f"--input={tmp_path / 'shape.npy'}"], "cannot be combined with")
    refuses(predict.main, [run_dir, f"--output={tmp_path / 'no' / 'p.csv'}"], "a directory that exists")
    refuses(predict.main, [run_dir, f"--output={tmp_path}"], "expected a file, received a directory")
    same = tmp_path / "text.npy"
    refuses(
        predict.main,
        [run_dir, f"--input={same}", f"--output={same}"],
        "--input and --output: expected two different files",
    )
    assert same.read_text() == "hello"
    refuses(predict.main, [run_dir, f"--output={small / 'model.keras'}"], "a file of the run")


@pytest.mark.slow
def test_predict_refuses_without_a_framework(small, tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    done = program("predict", f"--run_dir={small}", f"--input={tmp_path / 'text.npy'}")
    refused(done, "text.npy: expected images as .npy")


@pytest.mark.slow
def test_output_goes_through_links_and_into_devices(small, tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    (tmp_path / "target.csv").write_text("old")
    (tmp_path / "null").symlink_to(os.devnull)
    for name in ("link.csv", "null"):
        predict.main([f"--run_dir={small}", f"--output={tmp_path / name}", "--strategy=cpu"])
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "target.csv").read_text().startswith("input,class")
    assert Path(os.devnull).is_char_device()


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["--help"], ["--modle=mlp"], ["--strategy=tpu"], ["--data_dir=nowhere"]])
def test_answers_come_without_a_framework_and_at_once(argv, tmp_path):
    """Whole processes; time of the processor, since others may be at work on the machine."""
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({FRAMEWORKS}))
runpy.run_module("mnist_mlp.train", run_name="__main__", alter_sys=True)
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=tmp_path, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == (0 if argv == ["--help"] else 2), done.stderr
    assert (done.stdout == "") == bool(done.returncode) and done.stderr.count("\n") == bool(done.returncode)
    # Loose: benchmarks hold the figure, this holds the order of magnitude.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_interrupt_while_the_framework_is_imported(tmp_path):
    """Ctrl-C half a second after the start, while there is nothing to lose: one line, code 130, nothing left."""
    command = [sys.executable, "-m", "mnist_mlp.train", "--dataset=digits", "--epochs=100000"]
    process = subprocess.Popen([*command, f"--run_dir={tmp_path}/run"], stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "run")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert said.strip() in ("interrupted; nothing was kept", "interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "function, after",
    [("train.check_packages", 0), ("session.make_engine", 0.1), ("TrainingSession.write_augmentation_preview", 0)],
)
def test_interrupt_before_training(function, after, tmp_path):
    """Ctrl-C before the frameworks come, while the network is built or compiled, and after that."""
    code = f"""
import os, signal, sys, threading
from mnist_mlp import train
from mnist_mlp.cli import program
from mnist_mlp.training import session
from mnist_mlp.training.session import TrainingSession
called = {function}
def interrupted(*arguments):
    threading.Timer({after}, os.kill, (os.getpid(), signal.SIGINT)).start()
    if not {after}:
        signal.pause()
    return called(*arguments)
{function} = interrupted
program.run(train.main)
"""
    done = run_code(code, "--dataset=digits", "--epochs=100000", f"--run_dir={tmp_path}/run", backend="tensorflow")
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() in ("interrupted; nothing was kept", "interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    ["dataclasses", "absl.flags", "numpy", *(pytest.param(m, marks=pytest.mark.full) for m in ("keras", "tensorflow"))],
)
def test_interrupt_while_python_imports(module, tmp_path):
    """Ctrl-C just when a module's import begins: no traceback, nothing left."""
    code = f"""
import os, runpy, signal, sys
class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
for name in [n for n in sys.modules if n.split(".")[0] == {module!r}]:
    del sys.modules[name]
sys.meta_path.insert(0, Interrupt())
sys.argv = ["train", "--dataset=digits", "--run_dir={tmp_path}/run"]
runpy.run_module("mnist_mlp.train", run_name="__main__", alter_sys=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == (130 if module in ("keras", "tensorflow") else -signal.SIGINT), done.stderr
    assert done.stderr.partition(";")[0].strip() in ("", "interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_terminate(tmp_path):
    flags = ["--dataset=digits", "--epochs=100000", f"--run_dir={tmp_path}/run"]
    process = start("train", *flags, backend="tensorflow", stderr=subprocess.PIPE)
    wait_for(tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=200)
    assert (process.returncode, said.partition(";")[0].strip()) == (143, "terminated")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "redirection, code, words",
    [
        (">/dev/full", 2, "no space left"),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        ("| true", 141, ""),
    ],
)
def test_outputs_that_take_nothing(redirection, code, words):
    line = f"set -o pipefail; {sys.executable} -m mnist_mlp.train --help {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode in (code, 0 if code == 141 else code), done.stderr  # `true` may end too late to matter
    assert words in done.stderr and done.stderr.count("\n") == bool(words)


@pytest.mark.slow
def test_a_terminal_that_knows_ascii_alone(small):
    code = """
import runpy, sys
for stream in (sys.stdout, sys.stderr):
    stream.reconfigure(encoding="ascii", errors="strict")
runpy.run_module("mnist_mlp.evaluate", run_name="__main__", alter_sys=True)
"""
    done = run_code(code, f"--run_dir={small}", backend="tensorflow")
    assert done.returncode == 0 and done.stderr == "" and "95% interval" in done.stdout and done.stdout.isascii()


def wait_for(path):
    """Until the program is past its own imports."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if path.exists():
            return
        time.sleep(0.02)
    pytest.fail(f"{path} did not appear")


@pytest.mark.slow
def test_a_folder_of_the_same_name_hides_nothing(tmp_path):
    (tmp_path / "mnist_mlp").mkdir()
    command = [sys.executable, "-m", "mnist_mlp.train", "--help"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_error(small):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start("predict", f"--run_dir={small}", "--split=train", backend="tensorflow", **pipes)
    assert process.stdout.readline() == "input,class,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9\n"
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(200) == 141
    process.stderr.close()


@pytest.mark.slow
def test_bfloat16_learns(tmp_path):
    config = Config(**{**PRESETS["smoke"].to_dict(), "epochs": 5, "precision": "bfloat16", "strategy": "cpu"})
    assert train_and_evaluate(config, tmp_path / "run", reporter=SILENT).test["accuracy"] > 0.9


# ---- real MNIST ----


def check_on_mnist(result, preset):
    """One right run in 10,000 fails, by the spread of hundreds of seeds. Another processor's rounding is as good as
    another seed."""
    assert result.dataset["name"] == "mnist" and result.test["total"] == 10_000
    gate = Gate(references.find(PRESETS[preset], "mnist"), false_alarms=1e-4)
    losses = [row["loss"] for row in result.epochs]
    assert gate.verdict(result.test["correct"], losses, result.dataset["train_examples"])["found"] == {}
    assert (result.steps_per_epoch, result.evaluation_steps) == (1875, 313)


@pytest.mark.slow
def test_the_default_run_on_mnist(mnist_run):  # noqa: F811
    check_on_mnist(read_run(str(mnist_run))[2], "default")


@pytest.mark.full
@pytest.mark.xla(True)
@pytest.mark.parametrize("preset", ["default", "lecture"])
@pytest.mark.parametrize("seed", range(5))
def test_seeds_on_mnist(preset, seed, mnist, tmp_path):
    config = Config(**{**PRESETS[preset].to_dict(), "seed": seed, "strategy": "cpu"})
    check_on_mnist(train_and_evaluate(config, tmp_path / "run", dataset=mnist, reporter=SILENT), preset)


@pytest.mark.full
@pytest.mark.xla(True)
def test_bfloat16_learns_mnist(mnist, tmp_path):
    config = Config(precision="bfloat16", epochs=1, strategy="cpu")
    assert train_and_evaluate(config, tmp_path / "run", dataset=mnist, reporter=SILENT).test["accuracy"] > 0.94
