"""Other data sets of MNIST's frame: found, set upright, checked, and named everywhere."""

import dataclasses
import gzip
import hashlib
import json
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.containers import csv, idx, idx_of, npz, tables_of, write, zipped

from mnist_mlp import data
from mnist_mlp.config import DATASETS, Config
from mnist_mlp.data import array_files, downloads, embedded_digits, layouts, orientation, sets
from mnist_mlp.data.pictures.preview import render
from mnist_mlp.errors import UserError
from mnist_mlp.runs import saved
from mnist_mlp.runs.result import dataset_block
from mnist_mlp.tpu_compile import command as tpu_compile

SIZES = (100, 20)  # of every set here


def load(path, dataset, source="auto"):
    return data.load(SimpleNamespace(dataset=dataset, data_dir=str(path), data_source=source))


def refusal(path, dataset, **options):
    with pytest.raises(UserError) as raised:
        load(path, dataset, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Let every data set have a few images: ten digits of each class for training, two for testing."""
    digits = embedded_digits.load()
    arrays = {}
    for part, count in (("train", 10), ("test", 2)):
        chosen = np.concatenate([np.flatnonzero(digits[f"y_{part}"] == label)[:count] for label in range(10)])
        arrays |= {f"x_{part}": digits[f"x_{part}"][chosen], f"y_{part}": digits[f"y_{part}"][chosen]}
    shapes = {key: (len(array), *array.shape[1:]) for key, array in arrays.items()}
    monkeypatch.setattr(array_files, "SHAPES", shapes)
    for name, known in sets.KNOWN.items():
        if known.sizes:
            monkeypatch.setitem(sets.KNOWN, name, dataclasses.replace(known, sizes=SIZES))
    return arrays


def turned(arrays):
    return {key: array.transpose(0, 2, 1) if key[0] == "x" else array for key, array in arrays.items()}


def own_idx(arrays, name):
    """The four files under a data set's own names, packed."""
    return {
        f"{file}.gz": gzip.compress(idx(np.ascontiguousarray(arrays[key])), 1)
        for key, file in zip(array_files.SHAPES, sets.find(name).idx, strict=True)
    }


def test_every_data_set_of_the_flag_is_known():
    assert (*sets.KNOWN,) == DATASETS
    for name, known in sets.KNOWN.items():
        assert known.name == name and len({*known.classes}) == 10
        assert len(known.idx) in (0, 4)
        source = bool(known.tfds) or known.needs_directory or name == "digits"
        assert source, f"{name} can be found nowhere"
        if known.tfds:
            assert name in downloads.MEGABYTES and ("TFDS", name) in downloads.CHECKED_URLS
        assert (("Keras", name) in downloads.CHECKED_URLS) == bool(known.keras)


def test_published_digests_are_those_of_tensorflow_datasets():
    tfds = pytest.importorskip("importlib.util").find_spec("tensorflow_datasets")
    if tfds is None:
        pytest.skip("TensorFlow Datasets is not installed")
    for name, file in {"fashion_mnist": "fashion_mnist", "kmnist": "kmnist", "emnist_digits": "emnist"}.items():
        from pathlib import Path

        lines = (Path(tfds.submodule_search_locations[0]) / "url_checksums" / f"{file}.txt").read_text().splitlines()
        theirs = {url.rpartition("/")[2]: digest for url, _, digest, *_ in (line.split() for line in lines)}
        assert sets.find(name).published == theirs, name


# EMNIST


@pytest.mark.parametrize("name", ["emnist_digits", "emnist_mnist"])
@pytest.mark.parametrize("transposed", [True, False])
def test_emnist_is_set_upright(few, tmp_path, name, transposed):
    arrays = turned(few) if transposed else few
    letters = name.removeprefix("emnist_")
    other = "emnist_mnist" if name == "emnist_digits" else "emnist_digits"
    noise = {key: np.zeros_like(array) for key, array in arrays.items()}
    for number, files in enumerate(
        (
            own_idx(arrays, name),
            {"gzip.zip": zipped({f"gzip/{file}": each for file, each in own_idx(arrays, name).items()})},
            tables_of(arrays, f"emnist-{letters}-train.csv", f"emnist-{letters}-test.csv", head=False),
            {"a.npz": npz(**arrays)},
        )
    ):
        place = write(tmp_path / str(number), files | (own_idx(noise, other) if number == 0 else {}))
        loaded = load(place, name)
        assert loaded.name == name and not loaded.verified
        np.testing.assert_array_equal(loaded.train.images, few["x_train"])
        np.testing.assert_array_equal(loaded.test.images, few["x_test"])
        assert loaded.test.images.flags.c_contiguous
        assert ("the images were set upright" in loaded.notes[0]) == transposed
        assert "these are not the publisher's files, whose digests are known" in loaded.notes[-1]


@pytest.mark.slow
def test_the_rule_of_orientation_on_mnist(mnist):
    """Twenty images of each class decide, and so do all."""
    for images, labels in (
        *((mnist.train.images, mnist.train.labels), (mnist.test.images, mnist.test.labels)),
        *(
            (mnist.train.images[start : start + 200], mnist.train.labels[start : start + 200])
            for start in (0, 200, 900)
        ),
    ):
        upright, transposed = orientation.correlations(images, labels)
        assert upright > transposed + 0.3
        assert not orientation.is_transposed(images, labels)
        assert orientation.is_transposed(images.transpose(0, 2, 1), labels)


# QMNIST and Kuzushiji-MNIST


def qmnist(arrays, packed=True):
    files = {}
    for key, file in zip(array_files.SHAPES, sets.find("qmnist").idx, strict=True):
        if key[0] == "y":
            table = np.zeros((len(arrays[key]), 8), ">i4")
            table[:, 0], table[:, 1:] = arrays[key], 70_000
            content = struct.pack(">4B2I", 0, 0, 0x0C, 2, *table.shape) + table.tobytes()
        else:
            content = idx(arrays[key])
        files[f"{file}.gz" if packed else file] = gzip.compress(content, 1) if packed else content
    return files


@pytest.mark.parametrize("packed", [True, False])
def test_qmnist_and_its_labels_of_eight_numbers(few, tmp_path, packed):
    write(tmp_path, qmnist(few, packed))
    loaded = load(tmp_path, "qmnist")
    np.testing.assert_array_equal(loaded.test.labels, few["y_test"])
    np.testing.assert_array_equal(loaded.test.images, few["x_test"])
    assert not loaded.verified and "QMNIST has no published content hash" in loaded.notes[0]
    write(tmp_path, qmnist({**few, "y_test": few["y_test"] + 1}, packed))
    assert "expected labels 0–9, received 10" in refusal(tmp_path, "qmnist")
    assert "--dataset=qmnist: expected a directory to read" in refusal("", "qmnist")


def test_qmnist_with_the_plain_labels_of_its_test_images(few, tmp_path):
    """As the publisher has them beside those of eight numbers."""
    files = qmnist(few)
    del files["qmnist-test-labels-idx2-int.gz"]
    write(tmp_path, files | {"qmnist-test-labels-idx1-ubyte.gz": gzip.compress(idx(few["y_test"]), 1)})
    np.testing.assert_array_equal(load(tmp_path, "qmnist").test.labels, few["y_test"])


def test_the_publishers_own_files_are_verified(few, tmp_path, monkeypatch):
    files = qmnist(few)
    for algorithm in ("md5", "sha256"):
        published = {name: hashlib.new(algorithm, content).hexdigest() for name, content in files.items()}
        monkeypatch.setitem(sets.KNOWN, "qmnist", dataclasses.replace(sets.find("qmnist"), published=published))
        write(tmp_path, files)
        loaded = load(tmp_path, "qmnist")
        assert loaded.verified and loaded.notes == ()
        write(tmp_path, {name: gzip.compress(gzip.decompress(each), 9) for name, each in files.items()})
        assert not load(tmp_path, "qmnist").verified
    content = zipped({f"gzip/{name}": each for name, each in own_idx(turned(few), "emnist_mnist").items()})
    write(tmp_path, {"gzip.zip": content})
    published = {"gzip.zip": hashlib.sha256(content).hexdigest()}
    monkeypatch.setitem(sets.KNOWN, "emnist_mnist", dataclasses.replace(sets.find("emnist_mnist"), published=published))
    loaded = load(tmp_path / "gzip.zip", "emnist_mnist")
    assert loaded.verified and "set upright" in loaded.notes[0]


def test_kuzushiji_as_it_is_published(few, tmp_path):
    names = ("kmnist-train-imgs.npz", "kmnist-train-labels.npz", "kmnist-test-imgs.npz", "kmnist-test-labels.npz")
    write(tmp_path, {name: npz(arr_0=few[key]) for name, key in zip(names, array_files.SHAPES, strict=True)})
    loaded = load(tmp_path, "kmnist")
    np.testing.assert_array_equal(loaded.train.labels, few["y_train"])
    assert loaded.name == "kmnist" and loaded.source.startswith("kmnist-train-imgs.npz and kmnist-train-labels.npz")
    others = {name.replace("kmnist", "k49"): npz(arr_0=np.zeros((5, 28, 28), np.uint8)) for name in names}
    write(tmp_path, others)  # Kuzushiji-49, which the same program downloads
    np.testing.assert_array_equal(load(tmp_path, "kmnist").test.images, few["x_test"])
    for name in others:
        (tmp_path / name).unlink()
    write(tmp_path, {names[0]: npz(arr_0=few["x_train"], arr_1=few["y_train"])})
    assert "expected an .npz file with one array, received arr_0.npy, arr_1.npy" in refusal(tmp_path, "kmnist")
    write(tmp_path / "KMNIST" / "raw", idx_of(few))
    assert load(tmp_path / "KMNIST", "kmnist").source == f"IDX files in {tmp_path}/KMNIST/raw"


def test_counts_are_checked(few, tmp_path):
    for name, change, reason in (
        ("kmnist", {"y_train": np.roll(few["y_train"], 0) * 0}, "expected 10 images of each class in the train split"),
        ("qmnist", {"y_train": few["y_train"] * 0}, "received none of 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("kmnist", {"x_train": few["x_train"][:50], "y_train": few["y_train"][:50]}, "expected 100 images"),
    ):
        write(tmp_path, {"a.npz": npz(**few | change)})
        assert reason in refusal(tmp_path / "a.npz", name)
    write(tmp_path, tables_of({**few, "x_train": few["x_train"][:50], "y_train": few["y_train"][:50]}))
    assert "expected 100 images in the train split of Kuzushiji-MNIST, received 50" in refusal(tmp_path, "kmnist")


# A data set of one's own


def test_a_data_set_of_ones_own(few, tmp_path):
    more = {key: np.concatenate([array, array]) for key, array in few.items()}
    for number, files in enumerate(
        (
            idx_of(more),
            {"anything.npz": npz(**more)},
            tables_of(more, "train.csv", "test.csv"),
            {"custom.npz": npz(**more)},
        )
    ):
        loaded = load(write(tmp_path / str(number), files), "custom")
        assert (loaded.name, len(loaded.train), loaded.verified, loaded.classes) == ("custom", 200, False, ())
        assert "these are your own data" in loaded.notes[0]
    write(tmp_path / "one", {"images.npz": npz(images=few["x_train"], labels=few["y_train"])})
    loaded = load(tmp_path / "one", "custom")
    assert (len(loaded.train), len(loaded.test)) == (90, 10)  # one of each class
    assert (
        "10 of the 100 that have, one in 7 of each class (rounded down, but at least one), were held out for testing"
        in loaded.notes[0]
    )
    write(tmp_path / "odd", {"a.npz": npz(**few | {"y_train": few["y_train"][:-1]})})
    assert "expected a label for each image, received 100 images and 99 labels" in refusal(tmp_path / "odd", "custom")
    assert "--dataset=custom: expected a directory to read" in refusal("", "custom")


def test_names_of_classes_beside_the_data(few, tmp_path):
    names = ["apple", "pear", "plum", "cherry", "grape", "fig", "lemon", "lime", "kiwi", "quince"]
    write(tmp_path, {"a.npz": npz(**few), "classes.txt": "\n".join([*names, "", ""]).encode("utf-8-sig")})
    for path in (tmp_path, tmp_path / "a.npz"):
        assert load(path, "custom").classes == (*names,)
    block = dataset_block(load(tmp_path, "custom"), 100, 0)
    assert block["classes"] == names and sets.class_names(block) == (*names,) and not sets.of_digits(block)
    for text in ("\n".join(names[:9]), "\n".join([*names[:9], "apple"]), "\n".join([*names[:9], "x" * 50])):
        write(tmp_path, {"classes.txt": text.encode()})
        assert "expected the names of the ten classes, each on a line, at most 40 characters" in refusal(
            tmp_path, "custom"
        )
    write(tmp_path, {"classes.txt": b"\xff\xfe" * 30})
    assert "classes.txt: expected the names" in refusal(tmp_path, "custom")


def test_tfds_directories_by_name_and_configuration(tmp_path):
    def prepared(place, **info):
        write(tmp_path, {f"{place}/dataset_info.json": json.dumps({"fileFormat": "array_record", **info}).encode()})
        return tmp_path / place

    digits = prepared("emnist/digits/3.1.0", name="emnist", configName="digits")
    prepared("emnist/mnist/3.1.0", name="emnist", configName="mnist")
    prepared("kmnist/3.0.1", name="kmnist")
    assert downloads.find_tfds("emnist_digits", tmp_path) == digits
    assert downloads.find_tfds("emnist_digits", tmp_path / "emnist") == digits
    assert downloads.find_tfds("kmnist", tmp_path) == tmp_path / "kmnist" / "3.0.1"
    assert downloads.find_tfds("qmnist", tmp_path) is None and downloads.find_tfds("mnist", tmp_path) is None
    assert downloads.find_tfds("custom", tmp_path / "kmnist") == tmp_path / "kmnist" / "3.0.1"
    downloads.check_readable("emnist_digits", digits) if downloads._installed("array_record") else None
    with pytest.raises(UserError, match="expected emnist/mnist as tfrecord or array_record, received emnist/digits"):
        downloads.check_readable("emnist_mnist", digits)
    write(tmp_path, {"kmnist/3.0.1/label.labels.txt": "\n".join(sets.find("kmnist").classes).encode()})
    assert downloads.tfds_classes("custom", tmp_path / "kmnist") == sets.find("kmnist").classes
    assert downloads.tfds_classes("emnist_digits", tmp_path) == ()


# Names


def test_names_come_from_one_place():
    assert sets.title_of("emnist_digits") == "EMNIST Digits" and sets.title_of("mine") == "mine"
    assert sets.class_names({"name": "kmnist"})[:3] == ("o", "ki", "su")
    assert [name for name in DATASETS if not sets.of_digits({"name": name})] == ["fashion_mnist", "kmnist"]
    assert sets.not_mnist("mnist") == ""
    fruit = {"name": "custom", "classes": [*"abcdefghij"]}
    shown = [sets.what_it_shows(each) for each in ({"name": "mnist"}, {"name": "fashion_mnist"}, fruit)]
    assert shown == ["a digit", "a garment", "a picture"]
    assert "Keras has no kmnist; use --data_dir=DIR" in refusal("", "kmnist", source="keras")
    assert sets.not_mnist("qmnist") == "measured on qmnist: this is not MNIST accuracy"
    text = render(np.zeros((28, 28), np.uint8), np.eye(10)[9], sets.class_names({"name": "fashion_mnist"}))
    assert "*ankle boot  100.0%" in text and " dress         0.0%" in text


@pytest.mark.parametrize("name", DATASETS)
def test_a_run_on_each_is_read_again(name):
    config = saved.data_of_run(
        Config(data_dir="d", dataset=name if name != "digits" else "mnist"), SimpleNamespace(dataset={"name": name})
    )
    assert config.dataset == name
    with pytest.raises(UserError, match="custom data set"):
        saved.data_of_run(config, SimpleNamespace(dataset={"name": "mine"}))


def test_sizes_for_tpu_compile(monkeypatch):
    monkeypatch.undo()
    assert tpu_compile.examples_of("emnist_digits") == {"train": 240_000, "test": 40_000}
    assert tpu_compile.examples_of("auto") == tpu_compile.examples_of("kmnist") == {"train": 60_000, "test": 10_000}
    with pytest.raises(UserError, match="--dataset=kaggle: expected a data set whose number of images is known"):
        tpu_compile.examples_of("kaggle")


def test_classes_of_a_caller_are_ten(few):
    parts = [data.Split(few[f"x_{part}"], few[f"y_{part}"]) for part in ("train", "test")]
    own = data.Dataset("mine", "", *parts, (), False, (*"abcdefghij",))
    assert (
        own.class_names == (*"abcdefghij",) and data.Dataset("mine", "", *parts, (), False).class_names == sets.DIGITS
    )
    with pytest.raises(UserError, match="mine: expected the names of ten classes, received 9"):
        data.Dataset("mine", "", *parts, (), False, (*"abcdefghii",))


def test_emnists_tables_beside_one_another(few, tmp_path):
    """Kaggle's archive has six of them."""
    files = {}
    for split in ("balanced", "digits", "letters", "mnist"):
        files |= tables_of(few, f"emnist-{split}-train.csv", f"emnist-{split}-test.csv", head=False)
    write(tmp_path, {"archive.zip": zipped(files)})
    for split in ("digits", "mnist"):
        source = load(tmp_path, f"emnist_{split}").source
        assert source == f"emnist-{split}-train.csv and emnist-{split}-test.csv in {tmp_path}/archive.zip"


def test_csv_of_one_set_beside_another(few, tmp_path):
    write(tmp_path, tables_of(few, "fashion-mnist_train.csv", "fashion-mnist_test.csv"))
    write(tmp_path, {"kmnist_train.csv": csv(few["x_train"], few["y_train"]), "kmnist_test.csv": csv(few["x_test"])})
    found = layouts.in_directory("fashion_mnist", tmp_path)
    assert [str(each) for each in found] == [f"fashion-mnist_train.csv and fashion-mnist_test.csv in {tmp_path}"]
    assert "expected 100 training and 20 test images of Kuzushiji-MNIST with labels" in refusal(tmp_path, "kmnist")
