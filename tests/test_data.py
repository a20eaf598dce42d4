"""Every source gives the same verified data; what is not MNIST never passes for it; orders are exact."""

import gzip
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mnist_mlp import data, libraries, sources
from mnist_mlp.data import Split, batch_order, content_hash, sequential_order, split_validation
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


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No test sees this machine's caches or network: downloads are asked of a closed port of our own."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ask(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}/")
        yield


def ask(monkeypatch, url):
    monkeypatch.setattr(libraries, "PROBES", dict.fromkeys(libraries.PROBES, url))


@pytest.fixture
def arrays(mnist_dir):
    return sources.read_idx_directory(mnist_dir)


@pytest.fixture
def copy(mnist_dir, tmp_path):
    """A directory with the four .gz files, three of which a test leaves alone."""
    directory = tmp_path / "copy"
    shutil.copytree(mnist_dir, directory)
    return directory


def unpack(directory, target):
    target.mkdir(parents=True)
    for name in MD5:
        (target / name).write_bytes(gzip.decompress((directory / f"{name}.gz").read_bytes()))


def write_fashion(directory):
    """Stand-ins for Fashion-MNIST: its shapes and class counts, with pictures that are only their class."""
    directory.mkdir(parents=True)
    for key, name in sources.IDX_NAMES.items():
        shape = sources.SHAPES[key]
        labels = (np.arange(shape[0]) % 10).astype(np.uint8)
        array = np.broadcast_to(labels.reshape(-1, *[1] * (len(shape) - 1)), shape)
        head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        (directory / f"{name}.gz").write_bytes(gzip.compress(head + array.tobytes(), 1))


# The sources of MNIST


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


def test_gzip_npz_and_keras_cache_agree(mnist_dir, arrays, tmp_path):
    cache = tmp_path / "keras" / "datasets"
    cache.mkdir(parents=True)
    np.savez(cache / "mnist.npz", **arrays)
    found = [
        load(data_dir=mnist_dir, dataset="auto"),
        load(data_dir=cache),
        load(),
        load(data_source="keras"),
    ]
    assert [one.source for one in found] == [
        *(f"IDX files in {mnist_dir}", f"mnist.npz in {cache}", "Keras cache", "Keras cache")
    ]
    for one in found:
        assert one.verified
        np.testing.assert_array_equal(one.test.images, arrays["x_test"])


def prepare_tfds(mnist_dir, directory, file_format):
    """What tfds.load("mnist") would have prepared after its download."""
    program = """
import sys
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import DownloadManager
_, files, directory, file_format = sys.argv
names = {"train_data": "train-images-idx3-ubyte", "train_labels": "train-labels-idx1-ubyte",
         "test_data": "t10k-images-idx3-ubyte", "test_labels": "t10k-labels-idx1-ubyte"}
DownloadManager.download_and_extract = lambda self, urls: {key: f"{files}/{names[key]}" for key in urls}
tfds.builder("mnist", data_dir=directory, file_format=file_format).download_and_prepare()
"""
    unpack(mnist_dir, directory / "files")
    command = [sys.executable, "-c", program, directory / "files", directory, file_format]
    subprocess.run(command, check=True, capture_output=True)


WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "{package}" else super().find_spec(name, path, target)
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_tfds_directories(mnist_dir, arrays, tmp_path, capfd, file_format):
    pytest.importorskip("tensorflow_datasets")
    if file_format == "array_record":
        pytest.importorskip("array_record")
    home = tmp_path / "tfds"
    prepare_tfds(mnist_dir, home, file_format)
    capfd.readouterr()
    loaded = load(data_source="tfds")
    assert loaded.verified and loaded.source == f"TFDS directory {home}"
    assert (loaded.test.images != arrays["x_test"]).any()  # TFDS shuffles; the hash is the same all the same
    assert capfd.readouterr() == ("", "")

    for package in ("tensorflow", "array_record"):  # as if it were not installed, in child processes too
        (tmp_path / "without" / package).mkdir(parents=True)
        (tmp_path / "without" / package / "sitecustomize.py").write_text(WITHOUT.format(package=package))
        command = [sys.executable, "-c", "import test_data as t; print(t.load(data_source='tfds').verified)"]
        path = os.pathsep.join(map(str, [tmp_path / "without" / package, Path(__file__).parent, Path.cwd()]))
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
        if package == libraries.READERS[file_format]:
            assert f"expected {package} to be installed" in done.stderr
        else:
            assert done.stdout == "True\n", done.stderr

    record = next(home.glob("mnist/3.0.1/mnist-train.*"))
    content = bytearray(record.read_bytes())
    content[1_000_000:1_000_100] = bytes(100)
    record.write_bytes(content)
    assert "mnist/3.0.1: expected a prepared TFDS directory" in refusal(data_dir=home)


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
            *(("absent", "no such file or directory"), ("file", "not a directory")),
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
        ({"dataset": "digits", "data_source": "keras"}, "received --data_source=keras"),
        ({"data_source": "idx"}, "add --data_dir=DIR"),
        ({"data_source": "npz", "dataset": "auto"}, "add --data_dir=DIR"),
        ({"data_source": "keras", "data_dir": "x"}, "leave one of them out"),
        ({"data_source": "download", "data_dir": "x"}, "leave one of them out"),
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
        (gzip.compress(swapped), "60000"),
        (b"", "begins with"),
    ]:
        labels.write_bytes(content)
        message = refusal(data_dir=copy, dataset="auto")
        assert message.startswith(f"{labels}: expected an IDX file of 10000 bytes") and reason in message
        assert message.endswith("name another directory with --data_dir=DIR")
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
    assert str(path) in loaded.notes[0] and "passed over" in loaded.notes[0]
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


def test_missing_data_are_answered_without_a_framework():
    code = (
        "import sys; import test_data as t; from mnist_mlp.errors import UserError\n"
        "try: t.load(data_dir='absent')\n"
        "except UserError: pass\n"
        "t.load(dataset='auto')\n"
        "print({'tensorflow', 'keras', 'jax', 'torch', 'tensorflow_datasets', 'PIL'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{Path.cwd()}"}
    environment |= {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


# Fashion-MNIST


def test_fashion_mnist_is_checked_and_not_called_verified(tmp_path):
    write_fashion(tmp_path / "keras" / "datasets" / "fashion-mnist")
    loaded = load(dataset="fashion_mnist")
    assert loaded.name == "fashion_mnist" and not loaded.verified
    assert "no published content hash" in loaded.notes[0]


def test_fashion_mnist_is_neither_mnist_nor_unbalanced(mnist_dir, tmp_path):
    assert "received MNIST" in refusal(dataset="fashion_mnist", data_dir=mnist_dir)
    write_fashion(tmp_path / "f")
    labels = tmp_path / "f" / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(gzip.decompress(labels.read_bytes())[:-1] + b"\0"))
    assert "expected 1000 images of each class" in refusal(dataset="fashion_mnist", data_dir=tmp_path / "f")


# Downloads


@pytest.mark.slow
def test_a_host_that_never_answers(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ask(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        start = time.monotonic()
        loaded = load(dataset="auto")
        assert time.monotonic() - start < 10
    assert loaded.name == "digits" and "127.0.0.1: no answer within 4 s" in loaded.notes[0]


def test_a_name_server_that_never_answers(monkeypatch):
    monkeypatch.setattr(libraries, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(20))  # no time limit reaches it
    start = time.monotonic()
    assert "no answer within" in load(dataset="auto").notes[0]
    assert time.monotonic() - start < 5


@pytest.mark.slow
@pytest.mark.parametrize("pause, given_up", [(0.8, False), (60, True)])
def test_a_stalled_download_is_given_up_and_a_slow_one_is_not(tmp_path, monkeypatch, pause, given_up):
    monkeypatch.setattr(libraries, "STALL_SECONDS", 1.5)
    code = f"import time\nfor n in range(4): print(n, file=open('part', 'a')); time.sleep({pause})"
    start = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as child:
        try:
            libraries._wait(child, tmp_path)
            assert not given_up and child.returncode == 0
        except libraries.ChildFailed:
            assert given_up and time.monotonic() - start < 10
        finally:
            child.kill()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A web server over a directory, from which Keras' own code downloads in the child process."""
    directory = tmp_path / "mirror"
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: handler(*arguments, directory=directory)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import urllib.request as r\n"
        "real = r.urlretrieve\n"
        f"r.urlretrieve = lambda url, *rest: real({url!r} + url.split('/')[-1], *rest)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    ask(monkeypatch, url)
    yield directory
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_download_by_keras(mirror, tmp_path, capfd):
    write_fashion(mirror)
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
    monkeypatch.setattr(libraries, "_tfds_download", libraries._keras_download)  # TFDS has no mirror here
    assert "Incomplete or corrupted file" in refusal(data_source="download")
    assert list((tmp_path / "keras").iterdir()) == list((tmp_path / "tfds").iterdir()) == []


@pytest.mark.slow
def test_a_download_by_tfds(mnist_dir, mirror, tmp_path, monkeypatch):
    """Keras is refused, then TFDS prepares, shown the files in place of its own download."""
    pytest.importorskip("tensorflow_datasets")
    unpack(mnist_dir, tmp_path / "files")
    mirror.mkdir()
    names = {
        **{"train_data": "train-images-idx3-ubyte", "train_labels": "train-labels-idx1-ubyte"},
        **{"test_data": "t10k-images-idx3-ubyte", "test_labels": "t10k-labels-idx1-ubyte"},
    }
    files = {key: str(tmp_path / "files" / name) for key, name in names.items()}
    with (tmp_path / "site" / "sitecustomize.py").open("a") as site:
        site.write(
            "import sys\n"
            "if 'tfds_download' in ''.join(sys.orig_argv):\n"
            "    from tensorflow_datasets.core.download.download_manager import DownloadManager\n"
            f"    DownloadManager.download_and_extract = lambda self, urls: {files!r}\n"
        )
    loaded = load()
    assert loaded.source == "downloaded by TFDS" and loaded.verified
    assert load(data_source="tfds").verified
    assert sorted(path.name for path in (tmp_path / "tfds").iterdir()) == ["mnist"]


# Content hash and orders


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
def test_orders_hold_every_index_once(n, batch, shape):
    for order in (batch_order(7, 2, n, batch), sequential_order(n, batch)):
        assert order.shape == shape and order.dtype == np.int32
        padding = order.size - n
        assert sorted(order.ravel()) == [-1] * padding + list(range(n))
        assert (order.ravel()[n:] == -1).all()  # at the very end
    assert sequential_order(n, batch).ravel()[:n].tolist() == list(range(n))


def test_the_order_depends_on_seed_and_epoch_alone():
    first = batch_order(0, 0, 60000, 32)
    assert first.shape == (1875, 32)
    assert (first == batch_order(0, 0, 60000, 32)).all()
    assert (first.ravel() == batch_order(0, 0, 60000, 96).ravel()).all()
    for other in (batch_order(1, 0, 60000, 32), batch_order(0, 1, 60000, 32), batch_order(0, 2, 60000, 32)):
        assert (first == other).sum() < 20
    # Written down once: a run of today can be repeated with any version of NumPy.
    assert batch_order(0, 0, 10, 10).tolist() == [[9, 7, 2, 0, 4, 3, 5, 6, 1, 8]]


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
