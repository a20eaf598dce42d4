"""Every source gives the same verified data; what is not MNIST never passes for it; batch indices are exact."""

import dataclasses
import gzip
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.containers import idx, mnist_of_few_images
from helpers.fork_server import run_code, start_code
from helpers.once import once

from mnist_mlp import data
from mnist_mlp.cli import child_process
from mnist_mlp.data import Split, array_files, downloads, embedded_digits
from mnist_mlp.data.batches import batch_indices, sequential_indices, split_validation
from mnist_mlp.data.dataset import checked_own, content_hash
from mnist_mlp.errors import UserError

MD5 = {  # of the unpacked files, as published
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def load(**options):
    defaults = {"dataset": "mnist", "data_dir": "", "data_source": "auto"}
    return data.load(SimpleNamespace(**{**defaults, **{key: str(value) for key, value in options.items()}}))


def refusal(**options):
    with pytest.raises(UserError) as raised:
        load(**options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


AT_START = dict(os.environ)


@pytest.fixture(scope="module", autouse=True)
def numpy_alone():
    """Start the process that forks before a test changes the environment."""
    run_code("", backend=None)


@pytest.fixture(scope="module")
def tensorflow_imported():
    """Start the one with TensorFlow, too, so that its messages at the import are not a test's."""
    run_code("", backend="tensorflow")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Hide this machine's caches and network: downloads go to a closed port of our own."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ask(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}/")
        yield


def ask(monkeypatch, url):
    monkeypatch.setattr(downloads, "CHECKED_URLS", dict.fromkeys(downloads.CHECKED_URLS, url))


@pytest.fixture
def few(monkeypatch):
    return mnist_of_few_images(monkeypatch)


def write_idx(directory, arrays):
    """The four .gz files."""
    directory.mkdir(parents=True)
    for key, name in array_files.IDX_NAMES.items():
        (directory / f"{name}.gz").write_bytes(gzip.compress(idx(arrays[key]), 1))
    return directory


@pytest.fixture
def copy(few, tmp_path):
    """A directory with the four .gz files, for a test to change."""
    return write_idx(tmp_path / "copy", few)


def unpack(directory, target):
    target.mkdir(parents=True)
    for name in MD5:
        (target / name).write_bytes(gzip.decompress((directory / f"{name}.gz").read_bytes()))


def write_fashion(directory):
    """Stand-ins for Fashion-MNIST: its shapes and class counts, with pictures that are only their class."""
    arrays = {}
    for key, shape in array_files.SHAPES.items():
        labels = (np.arange(shape[0]) % 10).astype(np.uint8)
        values = labels * (28 if key.startswith("x") else 1)
        arrays[key] = np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 1)), shape)
    write_idx(directory, arrays)


# The sources of MNIST


@pytest.mark.slow
def test_the_files_behind_the_published_hashes(mnist_dir, tmp_path):
    unpack(mnist_dir, tmp_path / "plain")
    for name, md5 in MD5.items():
        assert hashlib.md5((tmp_path / "plain" / name).read_bytes()).hexdigest() == md5
    loaded = load(data_dir=tmp_path / "plain")  # content_hash of these very files must be PUBLISHED
    assert loaded.verified and loaded.name == "mnist" and loaded.notes == ()
    assert loaded.source == f"IDX files in {tmp_path / 'plain'}"
    assert (len(loaded.train), len(loaded.test)) == (60000, 10000)
    assert loaded.train.images.shape == (60000, 28, 28) and loaded.train.images.dtype == np.uint8
    assert loaded.train.labels[:5].tolist() == [5, 0, 4, 1, 9]


@pytest.mark.slow
def test_mnist_itself_from_packed_files(mnist_dir):
    loaded = load(data_dir=mnist_dir, dataset="auto")
    assert loaded.verified and loaded.name == "mnist" and loaded.source == f"IDX files in {mnist_dir}"


def test_gzip_npz_and_keras_cache_agree(few, copy, tmp_path):
    cache = tmp_path / "keras" / "datasets"
    cache.mkdir(parents=True)
    np.savez(cache / "mnist.npz", **few)
    found = [
        load(data_dir=copy, dataset="auto"),
        load(data_dir=cache),
        load(),
        load(data_source="keras"),
    ]
    assert [one.source for one in found] == [
        *(f"IDX files in {copy}", f"mnist.npz in {cache}", "Keras cache", "Keras cache")
    ]
    for one in found:
        assert one.verified
        np.testing.assert_array_equal(one.test.images, few["x_test"])


WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {absent} else super().find_spec(name, path, target)
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture
def forked(monkeypatch, full, tensorflow_imported):
    """Fork the child processes of `downloads` from a process that has already imported TensorFlow, or has not.

    `forked.absent`: packages that count as not installed, for us and the child. `forked.site`: code that it runs first.
    """
    own, real = SimpleNamespace(absent=(), site=""), subprocess.Popen
    installed = downloads._installed
    monkeypatch.setattr(downloads, "_installed", lambda package: package not in own.absent and installed(package))

    def popen(command, *, env, **options):
        _, _, code, *arguments = command
        code = f"import os\nos.environ |= {env}\n{WITHOUT.format(absent=own.absent)}{own.site}{code}"
        if full:  # in a new process instead of a fork
            return real([sys.executable, "-c", code, *arguments], env=env, **options)
        backend = None if "tensorflow" in own.absent else "tensorflow"
        return start_code(code, *arguments, backend=backend, env=AT_START, **options)

    monkeypatch.setattr(child_process, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": popen}))
    return own


# Makes TFDS read given files, which may have fewer images, instead of downloading them.
SHOWN = """
from tensorflow_datasets.core.download.download_manager import DownloadManager
from tensorflow_datasets.image_classification import mnist
DownloadManager.download_and_extract = lambda self, urls: {files!r}
mnist._TRAIN_EXAMPLES, mnist._TEST_EXAMPLES = {counts}
"""
TFDS_NAMES = {"x_train": "train_data", "y_train": "train_labels", "x_test": "test_data", "y_test": "test_labels"}


def shown(directory):
    """Return code that makes TFDS read the files of a directory, unpacked below it."""
    unpack(directory, directory / "plain")
    files = {TFDS_NAMES[key]: str(directory / "plain" / name) for key, name in array_files.IDX_NAMES.items()}
    return SHOWN.format(files=files, counts=(array_files.SHAPES["x_train"][0], array_files.SHAPES["x_test"][0]))


@pytest.fixture
def prepared(tmp_path_factory, few, tensorflow_imported):
    """A directory for each format, as tfds.load("mnist") would have prepared it after a download."""
    pytest.importorskip("tensorflow_datasets")

    def make(place):
        code = f"""{shown(write_idx(place / "idx", few))}
import sys
import tensorflow_datasets as tfds
for file_format in sys.argv[1:]:
    tfds.builder("mnist", data_dir=f"{place}/{{file_format}}", file_format=file_format).download_and_prepare()
"""
        formats = [name for name, package in downloads.READERS.items() if downloads._installed(package)]
        done = run_code(code, *formats, backend="tensorflow", env=AT_START)
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "tfds", make)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", downloads.READERS)
def test_tfds_directories(few, prepared, forked, tmp_path, capfd, file_format):
    if file_format == "array_record":
        pytest.importorskip("array_record")
    home = tmp_path / "tfds"
    shutil.copytree(prepared / file_format, home)
    capfd.readouterr()
    needed = downloads.READERS[file_format]
    forked.absent = tuple({*downloads.READERS.values()} - {needed})
    loaded = load(data_source="tfds")
    assert loaded.verified and loaded.source == f"TFDS directory {home}"
    assert (loaded.test.images != few["x_test"]).any()  # TFDS shuffles; the hash is the same all the same
    assert capfd.readouterr() == ("", "")
    own = load(dataset="custom", data_dir=home / "mnist")  # as any data set that TFDS prepared
    assert (own.name, own.classes, own.verified) == ("custom", (), False)
    np.testing.assert_array_equal(own.test.images, loaded.test.images)
    assert "no prepared kmnist in" in refusal(dataset="kmnist", data_source="tfds")

    record = next(home.glob("mnist/3.0.1/mnist-train.*"))
    content = bytearray(record.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 100] = bytes(100)
    record.write_bytes(content)
    assert "mnist/3.0.1: expected a prepared TFDS directory" in refusal(data_dir=home)

    forked.absent = (needed,)
    assert f"needs {needed}, which is not installed; run: pip install" in refusal(data_dir=home)


@pytest.mark.full
@pytest.mark.parametrize("file_format", downloads.READERS)
def test_tfds_directories_of_mnist_itself(mnist_dir, forked, tmp_path, file_format):
    pytest.importorskip("tensorflow_datasets")
    if file_format == "array_record":
        pytest.importorskip("array_record")
    shutil.copytree(mnist_dir, tmp_path / "idx")
    code = f"""{shown(tmp_path / "idx")}
import tensorflow_datasets as tfds
tfds.builder("mnist", data_dir={str(tmp_path / "tfds")!r}, file_format={file_format!r}).download_and_prepare()
"""
    assert run_code(code, backend="tensorflow", timeout=600).returncode == 0
    assert load(data_source="tfds").verified


def test_a_tfds_directory_with_damaged_or_foreign_json(tmp_path):
    version = tmp_path / "data" / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    for text, reason in [
        ("{", "the JSON of TFDS"),
        ("[]", "the JSON of TFDS"),
        ('{"name": "kmnist"}', "received kmnist"),
        ('{"name": "mnist", "fileFormat": "riegeli"}', "received mnist as riegeli"),
    ]:
        (version / "dataset_info.json").write_text(text)
        for directory in (version, version.parent, version.parents[1]):
            assert reason in refusal(data_dir=directory)


# What is missing, damaged or contradictory


def test_a_named_directory_is_never_passed_over(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "train-images-idx3-ubyte").touch()
    for dataset in ("auto", "mnist", "fashion_mnist"):
        for name, reason in [
            *(("absent", "no such file or directory"), ("file", "received an empty file")),
            *(("empty", "received an empty directory"), ("some", "received train-images-idx3-ubyte")),
        ]:
            message = refusal(dataset=dataset, data_dir=tmp_path / name)
            assert message.startswith(f"--data_dir={tmp_path / name}: expected") and reason in message


@pytest.mark.parametrize("source", ["idx", "npz", "tfds"])
def test_a_source_that_the_named_directory_lacks(tmp_path, source):
    assert "received an empty directory" in refusal(data_dir=tmp_path, data_source=source)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"dataset": "digits", "data_dir": "x"}, "--dataset=digits is embedded"),
        ({"dataset": "digits", "data_source": "keras"}, "cannot be combined with --data_source=keras"),
        ({"data_source": "idx"}, "add --data_dir=DIR"),
        ({"data_source": "npz", "dataset": "auto"}, "add --data_dir=DIR"),
        ({"data_source": "keras", "data_dir": "x"}, "use only one of the two"),
        ({"data_source": "download", "data_dir": "x"}, "use only one of the two"),
    ],
)
def test_contradictory_flags(options, reason):
    assert reason in refusal(**options)


@pytest.mark.parametrize("name", MD5)
def test_one_flipped_bit_is_found(copy, name):
    content = bytearray(gzip.decompress((copy / f"{name}.gz").read_bytes()))
    content[-1] ^= 1  # 8 becomes 9, or a black pixel nearly black: all is well-formed
    (copy / name).write_bytes(content)
    message = refusal(data_dir=copy, dataset="auto")
    assert "expected the published" in message and ("train" if "train" in name else "test") + " split" in message


def test_damaged_files_in_a_named_directory(copy):
    labels = copy / "t10k-labels-idx1-ubyte.gz"
    whole = labels.read_bytes()
    swapped = gzip.decompress((copy / "train-labels-idx1-ubyte.gz").read_bytes())
    for content, reason in [
        (whole[:-20], "damaged"),
        (gzip.compress(swapped), "says 600"),
        (b"", "received an empty file"),
    ]:
        labels.write_bytes(content)
        message = refusal(data_dir=copy, dataset="auto")
        assert message.startswith(f"{labels}: expected an IDX file of 100 bytes") and reason in message
        assert message.endswith("; repair it or try another directory with --data_dir=DIR")
    labels.write_bytes(gzip.compress(gzip.decompress(whole)[:-1] + b"\x0a"))
    assert "expected labels 0–9, received 10" in refusal(data_dir=copy)
    labels.unlink()
    labels.mkdir()
    assert "received a directory" in refusal(data_dir=copy)


def test_a_damaged_cache_is_noted_and_passed_over(tmp_path):
    path = tmp_path / "keras" / "datasets" / "mnist.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK\x03\x04 no zip")
    loaded = load(dataset="auto")
    assert loaded.name == "digits" and loaded.source == "embedded" and loaded.verified
    assert str(path) in loaded.notes[0] and loaded.notes[0].startswith("skipped Keras cache: ")
    assert "its accuracy is not MNIST accuracy" in loaded.notes[1]
    assert str(path) in refusal(data_source="keras", dataset="auto")


def test_mnist_is_never_something_else():
    message = refusal()
    for place in ("no mnist.npz in", "no prepared mnist in", "download by Keras", "download by TFDS"):
        assert place in message
    assert "--data_dir=DIR" in message and "--dataset=digits" in message
    assert "download by TFDS" in refusal(dataset="auto", data_source="download")  # the one that was asked for


def test_digits():
    loaded = load(dataset="digits")
    assert (loaded.name, loaded.source, loaded.notes) == ("digits", "embedded", ())
    assert (len(loaded.train), len(loaded.test)) == (1437, 360)


def test_damaged_digits_are_named(monkeypatch):
    arrays = {name: array.copy() for name, array in embedded_digits.load().items()}
    arrays["x_test"][0, 14, 14] ^= 1
    monkeypatch.setattr(embedded_digits, "load", lambda: arrays)
    message = refusal(dataset="digits")
    assert message.startswith(
        f"{embedded_digits.FILE}: the embedded digits are damaged (embedded: expected the published"
    )
    assert message.endswith("; reinstall mnist_mlp")


def test_missing_data_are_answered_without_a_framework():
    code = (
        "import sys; from types import SimpleNamespace; from mnist_mlp import data; "
        "from mnist_mlp.errors import UserError\n"
        "try: data.load(SimpleNamespace(dataset='mnist', data_dir='absent', data_source='auto'))\n"
        "except UserError: pass\n"
        "print(data.load(SimpleNamespace(dataset='auto', data_dir='', data_source='auto')).name, "
        "{'tensorflow', 'keras', 'jax', 'torch', 'tensorflow_datasets', 'PIL', 'scipy'} & set(sys.modules))"
    )
    environment = {
        **os.environ,
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "no_proxy": "",
    }
    done = run_code(code, backend=None, env=environment)
    assert done.stdout == "digits set()\n", done.stderr


# Fashion-MNIST


def test_fashion_mnist_is_checked_and_not_called_verified(few, tmp_path):
    write_fashion(tmp_path / "keras" / "datasets" / "fashion-mnist")
    loaded = load(dataset="fashion_mnist")
    assert loaded.name == "fashion_mnist" and not loaded.verified
    assert "no published content hash" in loaded.notes[0]


def test_fashion_mnist_is_neither_mnist_nor_unbalanced(copy, tmp_path):
    assert "received MNIST" in refusal(dataset="fashion_mnist", data_dir=copy)
    write_fashion(tmp_path / "f")
    labels = tmp_path / "f" / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(gzip.decompress(labels.read_bytes())[:-1] + b"\0"))
    assert "expected 10 images of each class" in refusal(dataset="fashion_mnist", data_dir=tmp_path / "f")


# Downloads


@pytest.mark.slow
def test_a_host_that_never_answers(monkeypatch):
    assert 2 * downloads.URL_CHECK_SECONDS < 10  # after which a machine without network is answered
    monkeypatch.setattr(downloads, "URL_CHECK_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ask(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        loaded = load(dataset="auto")
    assert loaded.name == "digits"
    assert loaded.notes[0].count("127.0.0.1: no answer within") == 2


@pytest.mark.slow
def test_a_name_server_that_never_answers(monkeypatch):
    monkeypatch.setattr(downloads, "URL_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(20))  # no time limit reaches it
    start = time.monotonic()
    assert "no answer within" in load(dataset="auto").notes[0]
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("pause, aborted", [(110, False), (130, True)])
def test_a_stalled_download_is_aborted_and_a_slow_one_is_not(tmp_path, monkeypatch, pause, aborted):
    """The clock advances by a second with each poll; the child writes a line after each pause, four in all."""
    clock = SimpleNamespace(seconds=0, monotonic=lambda: clock.seconds)

    class Child:
        def wait(self, timeout):
            clock.seconds += 1
            if clock.seconds % pause == 0:
                with (tmp_path / "part").open("a") as part:
                    part.write("line\n")
            if clock.seconds < 4 * pause:
                raise subprocess.TimeoutExpired("child", timeout)

    monkeypatch.setattr(downloads, "time", clock)
    with pytest.raises(downloads.ChildFailed, match="no data arrived for 120 s") if aborted else nullcontext():
        downloads._wait(Child(), tmp_path)
    assert clock.seconds == (122 if aborted else 4 * pause)


def test_a_child_process_has_its_own_environment_and_its_last_line_is_the_reason(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import json, os, sys\n"
        "if 'find_tfds' in ''.join(sys.orig_argv):\n"
        f"    json.dump(dict(os.environ), open({str(tmp_path / 'environment.json')!r}, 'w'))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(downloads.ChildFailed, match="^exited with code 1: AttributeError: 'str' object .* 'glob'$"):
        downloads._run(downloads.find_tfds, "mnist", tmp_path, KERAS_HOME="elsewhere")  # it gets strings
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert [environment[name] for name in ("KERAS_HOME", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS")] == [
        "elsewhere",
        "-1",
        "cpu",
    ]
    assert environment["PYTHONPATH"] == f"{Path(downloads.__file__).parents[2]}{os.pathsep}{tmp_path}"


def test_a_child_process_does_not_outlive_an_interrupt(monkeypatch):
    children = []

    def interrupted(child, watched):
        children.append(child.process)
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        downloads._run(downloads.keras_home)
    assert children[0].returncode == -signal.SIGKILL


@pytest.fixture
def mirror(tmp_path, monkeypatch, forked):
    """A web server for a directory, from which Keras' own code downloads in the child process."""
    directory = tmp_path / "mirror"
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: handler(*arguments, directory=directory)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    forked.site = f"""
import os
from urllib.request import urlretrieve
import keras.src.backend.config, keras.src.utils.file_utils
keras.src.backend.config._KERAS_DIR = os.environ["KERAS_HOME"]  # as it is read at the import
keras.src.utils.file_utils.urlretrieve = lambda url, *rest: urlretrieve({url!r} + url.split("/")[-1], *rest)
"""
    ask(monkeypatch, url)
    yield directory
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_download_by_keras(few, mirror, tmp_path, capfd):
    write_fashion(mirror)
    capfd.readouterr()
    loaded = load(dataset="fashion_mnist", data_source="download")
    assert loaded.source == "downloaded by Keras"
    assert capfd.readouterr() == ("", "downloading Fashion-MNIST (30 MB) with Keras …\n")
    shutil.rmtree(mirror)
    assert load(dataset="fashion_mnist").source == "Keras cache"
    assert [path.name for path in (tmp_path / "keras").iterdir()] == ["datasets"]


@pytest.mark.slow
def test_a_wrong_download_leaves_nothing_behind(mirror, tmp_path, monkeypatch):
    mirror.mkdir()
    (mirror / "mnist.npz").write_bytes(b"half a file")
    monkeypatch.setattr(downloads, "_tfds_download", downloads._keras_download)  # TFDS has no mirror here
    assert "Incomplete or corrupted file" in refusal(data_source="download")
    assert list((tmp_path / "keras").iterdir()) == list((tmp_path / "tfds").iterdir()) == []


@pytest.mark.slow
def test_a_download_by_tfds(few, mirror, forked, tmp_path):
    """Keras' download fails, then TFDS prepares the files that it reads instead of downloading."""
    pytest.importorskip("tensorflow_datasets")
    mirror.mkdir()
    forked.site += shown(write_idx(tmp_path / "files", few))
    loaded = load()
    assert loaded.source == "downloaded by TFDS" and loaded.verified
    assert load(data_source="tfds").verified
    assert sorted(path.name for path in (tmp_path / "tfds").iterdir()) == ["mnist"]


# Content hash and batch indices


def some(n=300, seed=0):
    random = np.random.default_rng(seed)
    return Split(random.integers(0, 256, (n, 28, 28), np.uint8), random.integers(0, 10, n, np.uint8))


def test_content_hash_sees_examples_and_not_their_order():
    split = some()
    order = np.random.default_rng(1).permutation(len(split))
    expected = content_hash(split)
    assert content_hash(Split(split.images[order], split.labels[order])) == expected
    assert content_hash(Split(split.images, split.labels[order])) != expected  # labels of other images
    for place in (0, 783, 784 * 299 + 400):
        images = split.images.copy()
        images.reshape(-1)[place] ^= 1
        assert content_hash(Split(images, split.labels)) != expected
    twice = np.append(order, order[0])  # one example more
    assert content_hash(Split(split.images[twice], split.labels[twice])) != expected


def test_content_hash_of_equal_images_with_two_labels():
    images = np.zeros((2, 28, 28), np.uint8)
    a, b = np.array([3, 5], np.uint8), np.array([5, 3], np.uint8)
    assert content_hash(Split(images, a)) == content_hash(Split(images, b))


@pytest.mark.parametrize("n, batch, shape", [(10, 3, (4, 3)), (9, 3, (3, 3)), (5, 32, (1, 5)), (1, 1, (1, 1))])
def test_batches_hold_every_index_once(n, batch, shape):
    for order in (batch_indices(7, 2, n, batch), sequential_indices(n, batch)):
        assert order.shape == shape and order.dtype == np.int32
        padding = order.size - n
        assert sorted(order.ravel()) == [-1] * padding + list(range(n))
        assert (order.ravel()[n:] == -1).all()  # at the very end
    assert sequential_indices(n, batch).ravel()[:n].tolist() == list(range(n))


def test_batches_depend_on_seed_and_epoch_alone():
    first = batch_indices(0, 0, 60000, 32)
    assert first.shape == (1875, 32)
    assert (first == batch_indices(0, 0, 60000, 32)).all()
    assert (first.ravel() == batch_indices(0, 0, 60000, 96).ravel()).all()
    for other in (batch_indices(1, 0, 60000, 32), batch_indices(0, 1, 60000, 32), batch_indices(0, 2, 60000, 32)):
        assert (first == other).sum() < 20
    # Stored here, so that a run can be repeated with any version of NumPy.
    assert batch_indices(0, 0, 10, 10).tolist() == [[9, 7, 2, 0, 4, 3, 5, 6, 1, 8]]


def test_split_validation():
    train = some()
    rest, validation = split_validation(train, 0.2, seed=3)
    assert (len(rest), len(validation)) == (240, 60)
    both = Split(np.concatenate([rest.images, validation.images]), np.append(rest.labels, validation.labels))
    assert content_hash(both) == content_hash(train)
    again = split_validation(train, 0.2, seed=3)[1]
    assert (again.images == validation.images).all() and (again.labels == validation.labels).all()
    assert (split_validation(train, 0.2, seed=4)[1].images != validation.images).any()
    assert split_validation(train, 0, seed=3) == (train, None)


@pytest.mark.parametrize("n, fraction", [(300, 0.001), (300, 0.999), (1, 0.5)])
def test_split_validation_leaves_something_on_either_side(n, fraction):
    with pytest.raises(UserError, match=f"--validation_fraction={fraction}: expected at least one image"):
        split_validation(some(n), fraction, seed=0)


def test_an_own_data_set_is_one_and_has_what_is_needed(digits):
    none = Split(digits.test.images[:0], digits.test.labels[:0])
    assert checked_own(digits) is digits
    assert checked_own(None) is None
    without_train = dataclasses.replace(digits, train=none)
    assert checked_own(without_train, ["test"]) is without_train
    for odd, words in (
        (without_train, "train split of digits: expected at least one image, received none"),
        (dataclasses.replace(digits, test=none), "test split of digits: expected at least one image"),
        ((digits.train, digits.test), "expected a mnist_mlp.data.Dataset, received tuple"),
        ((), "received tuple"),  # not the config's data set in its place
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            checked_own(odd)
