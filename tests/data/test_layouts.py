"""`--data_dir` finds MNIST as Kaggle, torchvision and TFDS lay it out, and says what lies there instead."""

import gzip
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.containers import idx, mnist_of_few_images

from mnist_mlp import data
from mnist_mlp.data import array_files, layouts
from mnist_mlp.errors import UserError

NAMES = array_files.IDX_NAMES


def load(path, dataset="mnist", source="auto"):
    return data.load(SimpleNamespace(dataset=dataset, data_dir=str(path), data_source=source))


def refusal(path, **options):
    with pytest.raises(UserError) as raised:
        load(path, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    return mnist_of_few_images(monkeypatch)


def files(arrays):
    """The four IDX files, {name: content}."""
    return {name: idx(arrays[key]) for key, name in NAMES.items()}


def write(arrays, directory, place="{name}", packed=False):
    for name, content in files(arrays).items():
        path = directory / place.format(name=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, 1) if packed else content)


LAYOUTS = {  # where each file lies, whether packed, and the directory that is found
    "Kaggle": ("{name}/{name}", False, ""),
    "Kaggle, below its archive": ("archive/{name}/{name}", False, "archive"),
    "torchvision": ("MNIST/raw/{name}", False, "MNIST/raw"),
    "torchvision, packed": ("MNIST/raw/{name}.gz", True, "MNIST/raw"),
    "torchvision, from above": ("data/MNIST/raw/{name}", False, "data/MNIST/raw"),
    "TFDS, by hand": ("downloads/manual/{name}.gz", True, "downloads/manual"),
    "TFDS, a version": ("mnist/3.0.1/{name}.gz", True, "mnist/3.0.1"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts(few, tmp_path, case):
    place, packed, found = LAYOUTS[case]
    write(few, tmp_path, place, packed)
    loaded = load(tmp_path, dataset="auto")
    assert loaded.verified and loaded.name == "mnist" and loaded.source == f"IDX files in {tmp_path / found}"
    np.testing.assert_array_equal(loaded.test.images, few["x_test"])
    first = tmp_path / place.format(name=NAMES["y_test"])  # what was found is verified as ever
    content = gzip.decompress(first.read_bytes()) if packed else first.read_bytes()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    first.write_bytes(gzip.compress(changed) if packed else changed)
    assert "expected the published test split of mnist" in refusal(tmp_path)


def test_keras_file_by_itself_and_below(few, tmp_path):
    (tmp_path / "datasets").mkdir()
    np.savez(tmp_path / "datasets" / "mnist.npz", **few)
    for path in (tmp_path, tmp_path / "datasets", tmp_path / "datasets" / "mnist.npz"):
        assert load(path).source == f"mnist.npz in {tmp_path / 'datasets'}"
    (tmp_path / "datasets" / "mnist.npz").rename(tmp_path / "other name.npz")
    assert load(tmp_path / "other name.npz", source="npz").verified
    assert "received the file other name.npz" in refusal(tmp_path / "other name.npz", source="idx")


def test_a_file_of_the_four_leads_to_its_directory(few, tmp_path):
    write(few, tmp_path)
    message = refusal(tmp_path / NAMES["x_test"])
    assert message.endswith(f"received one of the files; try --data_dir={tmp_path}")
    write(few, tmp_path / "kaggle", "{name}/{name}")
    message = refusal(tmp_path / "kaggle" / NAMES["x_test"])  # the folder of one file
    assert message.endswith(f"try --data_dir={tmp_path / 'kaggle'}")
    (tmp_path / NAMES["y_test"]).unlink()
    assert f"; no {NAMES['y_test']} in it; try another" in refusal(tmp_path)  # though all four are in a folder below


def test_beside_other_data_sets_the_name_decides(few, tmp_path):
    """torchvision puts FashionMNIST, KMNIST and QMNIST beside MNIST."""
    write(few, tmp_path, "MNIST/raw/{name}")
    for other in ("FashionMNIST", "KMNIST", "QMNIST"):
        write({key: array[::-1] for key, array in few.items()}, tmp_path, f"{other}/raw/{{name}}")
    assert load(tmp_path).source == f"IDX files in {tmp_path / 'MNIST' / 'raw'}"
    found = layouts.below("fashion_mnist", tmp_path, ["idx"])
    assert [str(each) for each in found] == [f"IDX files in {tmp_path / 'FashionMNIST' / 'raw'}"]
    write(few, tmp_path, "mnist_copy/{name}")
    message = refusal(tmp_path)
    assert "expected one data set, received 2" in message and str(tmp_path / "mnist_copy") in message
    assert load(tmp_path / "mnist_copy").verified


def test_hidden_folders_and_a_deep_or_endless_tree_are_passed_over(few, tmp_path, monkeypatch):
    write(few, tmp_path, ".cache/{name}")
    write(few, tmp_path, "a/b/c/d/{name}")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert "received a, loop; try another directory" in refusal(tmp_path)
    assert load(tmp_path / "a").source.endswith("a/b/c/d")
    monkeypatch.setattr(layouts, "DIRECTORIES", 2)
    assert "received b; try another" in refusal(tmp_path / "a")


def test_what_lies_there_instead_is_named(few, tmp_path):
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "mnist_test.csv").write_text("label,pixel0,pixel1\n7,0,0\n")
    assert "mnist_test.csv is a table for testing: put one for training beside it" in refusal(tmp_path / "csv")
    (tmp_path / "csv" / "mnist_val.csv").write_text("label,pixel0,pixel1\n7,0,0\n")
    assert "of several tables, one must be called train, and one test: rename them" in refusal(tmp_path / "csv")
    for label in range(10):
        (tmp_path / "tree" / str(label)).mkdir(parents=True)
    assert "received 0, 1, 2, 3, 4 and 5 more; its folders 0 to 9 hold no pictures; try" in refusal(tmp_path / "tree")
    (tmp_path / "tree" / "7" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "it has folders of pictures, one for each class: use --dataset=custom" in refusal(tmp_path / "tree")
    (tmp_path / "zip").mkdir()
    (tmp_path / "zip" / "archive.zip").write_bytes(b"PK\3\4" + bytes(22) + b"\5\0\0\0train")
    assert "archive.zip: expected a zip or tar archive, received a damaged file" in refusal(tmp_path / "zip")
    (tmp_path / "zip" / "archive.zip").rename(tmp_path / "zip" / "archive.7z")
    assert "archive.7z is a zip archive; unpack it first" in refusal(tmp_path / "zip")
