"""The same images from every container in which people have MNIST; what is not MNIST never passes for it."""

import gzip
import io
import tarfile
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.containers import HEAD, csv, idx_of, mnist_of_few_images, npz, parquet, tables_of, tarred, write, zipped

from mnist_mlp import data
from mnist_mlp.data import array_files, layouts
from mnist_mlp.data.dataset import held_out
from mnist_mlp.errors import UserError
from mnist_mlp.files import members

NAMES = array_files.IDX_NAMES
FEW = {"x_train": 60, "y_train": 60, "x_test": 20, "y_test": 20}


def load(path, dataset="mnist", source="auto"):
    return data.load(SimpleNamespace(dataset=dataset, data_dir=str(path), data_source=source))


def refusal(path, **options):
    with pytest.raises(UserError) as raised:
        load(path, **options)
    message = str(raised.value)
    assert "\n" not in message and len(message.replace(str(path), "")) < 700
    return message


@pytest.fixture(autouse=True)
def few(monkeypatch):
    return mnist_of_few_images(monkeypatch, FEW)


CONTAINERS = {  # the files, and what the source is called
    "tables": (lambda few: tables_of(few), "mnist_train.csv and mnist_test.csv in {}"),
    "tables without a header": (lambda few: tables_of(few, head=False), "mnist_train.csv and mnist_test.csv in {}"),
    "tables, packed": (
        lambda few: {f"{name}.gz": gzip.compress(each, 1) for name, each in tables_of(few).items()},
        "mnist_train.csv.gz and mnist_test.csv.gz in {}",
    ),
    "tables, each in a zip": (
        lambda few: {f"{name}.zip": zipped({name: each}) for name, each in tables_of(few).items()},
        "mnist_train.csv and mnist_test.csv in {}",
    ),
    "tables in a zip": (
        lambda few: {"archive.zip": zipped(tables_of(few))},
        "mnist_train.csv and mnist_test.csv in {}/archive.zip",
    ),
    "tables in a folder below": (
        lambda few: {f"csv/{name}": each for name, each in tables_of(few).items()},
        "mnist_train.csv and mnist_test.csv in {}/csv",
    ),
    "one table, as OpenML": (
        lambda few: {
            "mnist_784.csv": csv(
                np.concatenate([few["x_train"], few["x_test"]]), np.concatenate([few["y_train"], few["y_test"]])
            )
        },
        "mnist_784.csv in {}",
    ),
    "IDX in a zip, as Kaggle": (
        lambda few: {
            "archive.zip": zipped(
                {name.replace("-idx", ".idx"): each for name, each in idx_of(few).items()}
                | idx_of(few, "{name}/{name}")
            )
        },
        "IDX files in {}/archive.zip",
    ),
    "packed IDX in a zip": (
        lambda few: {"a.zip": zipped(idx_of(few, "MNIST/raw/{name}.gz", packed=True) | {"__MACOSX/._x": b"x"})},
        "IDX files in {}/a.zip/MNIST/raw",
    ),
    "IDX in a tar": (lambda few: {"mnist.tar": tarred(idx_of(few), "w")}, "IDX files in {}/mnist.tar"),
    "IDX in a packed tar": (
        lambda few: {"mnist.tar.gz": tarred(idx_of(few, "mnist/{name}"))},
        "IDX files in {}/mnist.tar.gz/mnist",
    ),
    "npz at the top of a zip": (
        lambda few: {"a.zip": zipped({"mnist.npz": npz(**few), "__MACOSX/a.npz": b"x"})},
        "mnist.npz in {}/a.zip",
    ),
    "npz in a zip": (lambda few: {"a.zip": zipped({"data/mnist.npz": npz(**few)})}, "mnist.npz in {}/a.zip/data"),
    "Parquet, as Hugging Face": (
        lambda few: {
            f"mnist/{part}-00000-of-00001.parquet": parquet(few[f"x_{part}"], few[f"y_{part}"])
            for part in ("train", "test")
        },
        "train-00000-of-00001.parquet and test-00000-of-00001.parquet in {}/mnist",
    ),
    "Parquet in several files": (
        lambda few: {
            "train-00001-of-00002.parquet": parquet(few["x_train"][30:], few["y_train"][30:]),
            "train-00000-of-00002.parquet": parquet(few["x_train"][:30], few["y_train"][:30]),
            "test-00000-of-00001.parquet": parquet(few["x_test"], few["y_test"]),
        },
        "train-00000-of-00002.parquet and train-00001-of-00002.parquet and test-00000-of-00001.parquet in {}",
    ),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers(few, tmp_path, case):
    make, source = CONTAINERS[case]
    write(tmp_path, make(few))
    loaded = load(tmp_path, dataset="auto")
    assert loaded.verified and loaded.name == "mnist" and loaded.notes == ()
    assert loaded.source == source.format(tmp_path)
    np.testing.assert_array_equal(loaded.train.images, few["x_train"])  # in their order, too
    np.testing.assert_array_equal(loaded.test.labels, few["y_test"])
    changed = {**few, "y_test": few["y_test"][::-1]}  # the content is checked as ever
    write(tmp_path, make(changed))
    assert "expected the published test split of mnist" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["archive.zip", "mnist.tgz", "mnist_784.csv"])
def test_a_file_may_be_named_itself(few, tmp_path, name):
    content = {
        "archive.zip": zipped(idx_of(few)),
        "mnist.tgz": tarred(tables_of(few, "a/train.csv", "a/test.csv")),
        "mnist_784.csv": CONTAINERS["one table, as OpenML"][0](few)["mnist_784.csv"],
    }
    write(tmp_path, content)
    assert load(tmp_path / name).verified
    assert "expected a directory with mnist.npz, received" in refusal(tmp_path / name, source="npz")


NPZ_KEYS = {
    "Keras": ("x_train", "y_train", "x_test", "y_test"),
    "words": ("train_images", "train_labels", "test_images", "test_labels"),
    "scikit-learn": ("X_train", "y_train", "X_test", "y_test"),
    "training": ("training_images", "training_labels", "testing_images", "testing_labels"),
    "without signs": ("trainImages", "trainLabels", "testImages", "testLabels"),
    "turned round": ("images_train", "labels_train", "images_test", "labels_test"),
    "files of IDX": tuple(name.split("-idx")[0] for name in (NAMES[key] for key in array_files.SHAPES)),
}


@pytest.mark.parametrize("case", NPZ_KEYS)
def test_npz_under_other_names(few, tmp_path, case):
    arrays = dict(zip(NPZ_KEYS[case], few.values(), strict=True))
    write(tmp_path, {"some.npz": npz(**arrays)})
    assert load(tmp_path / "some.npz").verified


def test_npz_of_other_shapes_and_types(few, tmp_path):
    for change in (
        lambda x: x.reshape(-1, 784),
        lambda x: x[..., None].astype(np.float32) / 255,
        lambda x: x.astype(np.int64)[:, None],
    ):
        arrays = {key: change(array) if key[0] == "x" else array.astype(np.int64) for key, array in few.items()}
        write(tmp_path, {"mnist.npz": npz(**arrays)})
        assert load(tmp_path).verified
    one_hot = {key: np.eye(10)[array] if key[0] == "y" else array for key, array in few.items()}
    write(tmp_path, {"mnist.npz": npz(**one_hot)})
    assert load(tmp_path).verified


def test_npz_with_a_doubt_lists_its_arrays(few, tmp_path):
    path = tmp_path / "a.npz"
    write(tmp_path, {"a.npz": npz(a=few["x_train"], b=few["y_train"], c=few["x_test"], d=few["y_test"])})
    assert "received a 60×28×28, b 60, c 20×28×28, d 20; save it with np.savez(FILE, x_train=" in refusal(path)
    write(tmp_path, {"a.npz": npz(**few, x_train_augmented=few["x_train"])})
    assert "x_train_augmented 60×28×28" in refusal(path)
    write(tmp_path, {"a.npz": npz(**few | {"y_test": few["y_test"][:-1]})})
    assert f"{path}: expected 20 images or labels in y_test, received 19" in refusal(path)
    write(tmp_path, {"a.npz": npz(**few | {"y_test": few["y_test"] + 3})})
    assert "expected labels 0–9, received 1" in refusal(path)
    objects = io.BytesIO()
    np.savez(objects, x_train=np.array([{}], object))
    write(tmp_path, {"a.npz": objects.getvalue()})
    assert "expected an .npz file" in refusal(path)


# Kaggle's Digit Recognizer


@pytest.fixture
def kaggle(few, monkeypatch, tmp_path):
    """Its two files in small: some of the images in another order, and others without labels."""
    monkeypatch.setattr(data.dataset, "KAGGLE_ROWS", 60)
    order = np.random.default_rng(0).permutation(60)
    files = {
        "train.csv": csv(few["x_train"][order], few["y_train"][order]),
        "test.csv": csv(few["x_test"]),
        "sample_submission.csv": b"ImageId,Label\n1,0\n2,0\n",
    }
    return write(tmp_path / "digit-recognizer", files)


def test_kaggles_table_is_what_it_is(few, kaggle):
    for dataset in ("auto", "kaggle"):
        loaded = load(kaggle, dataset=dataset)
        assert (loaded.name, loaded.verified) == ("kaggle", False)
        counts = np.bincount(few["y_train"])
        np.testing.assert_array_equal(np.bincount(loaded.test.labels), np.maximum(counts // 7, 1))
        assert len(loaded.train) + len(loaded.test) == 60
        assert loaded.notes[0] == "test.csv has no labels, so it is not used"
        assert f"so {len(loaded.test)} of the 60 that have, one in 7 of each class" in loaded.notes[1]
        assert "Kaggle's Digit Recognizer has no published content hash" in loaded.notes[2]
        np.testing.assert_array_equal(load(kaggle, dataset=dataset).test.images, loaded.test.images)


def test_kaggles_table_is_not_mnist(few, kaggle):
    message = refusal(kaggle)
    assert "expected 60 training and 20 test images of MNIST with labels, received 60 in one table" in message
    assert "these are the labelled images of Kaggle's Digit Recognizer, a part of MNIST: use --dataset=k" in message
    write(kaggle, {"train.csv": csv(few["x_train"][:50], few["y_train"][:50])})
    message = refusal(kaggle, dataset="auto")
    assert "received 50 in one table and no other with labels" in message and "kaggle;" not in message
    assert "expected the 60 labelled images of Kaggle's train.csv, received 50" in refusal(kaggle, dataset="kaggle")
    whole = write(kaggle.parent / "whole", tables_of(few))  # MNIST itself is not Kaggle's part of it
    assert "labelled images of Kaggle's train.csv, received 60 and others for testing" in refusal(
        whole, dataset="kaggle"
    )
    write(kaggle, {"train.csv": csv(few["x_train"])})
    assert "received 784 columns, so the labels are missing" in refusal(kaggle, dataset="kaggle")
    short = csv(few["x_train"].reshape(-1, 784)[:, :-1], few["y_train"], head=False)  # a label and 783 pixels
    write(kaggle, {"train.csv": short})
    assert "784 columns, so a pixel of each image, or the labels, are missing" in refusal(kaggle, dataset="kaggle")
    assert "--dataset=kaggle: expected a directory to read" in refusal("", dataset="kaggle")


def test_held_out_is_the_same_everywhere():
    labels = np.arange(70) % 7
    chosen = held_out(labels)
    assert np.flatnonzero(chosen).tolist() == [2, 3, 11, 15, 20, 21, 61]
    assert held_out(np.array([0, 0, 1])).sum() == 1  # a class of one image stays for training


# What cannot be read


def test_several_tables_or_archives(few, tmp_path):
    write(tmp_path, tables_of(few) | tables_of(few, "fashion-mnist_train.csv", "fashion-mnist_test.csv"))
    assert load(tmp_path).source == f"mnist_train.csv and mnist_test.csv in {tmp_path}"
    write(tmp_path, tables_of(few, "mnist_train_small.csv", "mnist_test_small.csv"))
    assert "of several tables, one must be called train, and one test: rename them" in refusal(tmp_path)
    write(tmp_path / "two", {"a.zip": zipped(idx_of(few)), "b.zip": zipped(idx_of(few))})
    message = refusal(tmp_path / "two")
    assert f"expected one data set, received 2 ({tmp_path}/two/a.zip, {tmp_path}/two/b.zip)" in message


def test_what_has_nothing_to_do_with_it_is_passed_over(few, tmp_path):
    write(tmp_path, idx_of(few, "MNIST/raw/{name}") | {"broken.zip": b"PK", "results.npz": npz(a=few["y_test"])})
    assert load(tmp_path).source == f"IDX files in {tmp_path}/MNIST/raw"
    write(tmp_path / "b", {"broken.zip": b"PK", "good.zip": zipped(idx_of(few))})
    assert load(tmp_path / "b").source == f"IDX files in {tmp_path}/b/good.zip"
    write(tmp_path / "c", {"broken.zip": b"PK"})
    assert "broken.zip: expected a zip or tar archive, received a damaged file" in refusal(tmp_path / "c")


def test_one_table_of_two_leads_to_both(few, tmp_path):
    write(tmp_path, tables_of(few))
    said = refusal(tmp_path / "mnist_train.csv")
    assert said.endswith(f"expected both tables of MNIST, received one; try --data_dir={tmp_path}")
    assert len(load(tmp_path / "mnist_train.csv", dataset="custom").train) < 60  # which needs one alone


def test_two_tables_for_testing_leave_a_doubt(few, tmp_path):
    """Images would be held out for testing in silence, though there are some."""
    files = tables_of(few, "train.csv", "test.csv")
    write(tmp_path, files | {"test_more.csv": files["test.csv"]})
    assert "of several tables, one must be called train, and one test: rename them" in refusal(
        tmp_path, dataset="custom"
    )


def test_archives_beside_other_data_sets(few, tmp_path):
    other = {key: array[::-1] for key, array in few.items()}
    write(tmp_path, {"all.zip": zipped(idx_of(few, "MNIST/raw/{name}") | idx_of(other, "KMNIST/raw/{name}"))})
    assert load(tmp_path / "all.zip").source == f"IDX files in {tmp_path}/all.zip/MNIST/raw"


DAMAGED = {
    "empty.zip": (b"", "expected a zip or tar archive, received a damaged file"),
    "cut.zip": (zipped({"a": b"x" * 999})[:-40], "expected a zip or tar archive, received a damaged file"),
    "other.zip": (zipped({"notes.txt": b"x"}), "received an archive with notes.txt"),
    "cut.tar.gz": (tarred({"a": bytes(99_999)})[:-20], "received a damaged file"),
    "other.tar": (tarred({"notes.txt": b"x"}, "w"), "received an archive with notes.txt"),
    "words.tar": (b"words" * 1000, "expected a zip or tar archive, received a damaged file"),
    "a.parquet": (b"PAR1" + bytes(50) + b"PAR1", "expected a Parquet file of images and labels, received a damaged"),
    "a.csv.gz": (gzip.compress(b"1,2\n")[:-4], "damaged file"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_containers(tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    content, reason = DAMAGED[name]
    write(tmp_path, {name: content})
    message = refusal(tmp_path / name)
    assert str(tmp_path / name) in message and reason in message


def test_an_encrypted_archive_and_one_of_ten_thousand_members(few, tmp_path, monkeypatch):
    content = bytearray(zipped({"a": b"x"}))
    content[content.rindex(b"PK\1\2") + 8] |= 1
    write(tmp_path, {"a.zip": bytes(content)})
    assert "it is encrypted: unpack it with its password" in refusal(tmp_path / "a.zip")
    monkeypatch.setattr(members, "MAX_MEMBERS", 3)
    write(tmp_path, {"a.tar": tarred(dict.fromkeys("abcd", b"x"), "w")})
    assert "it has too many members" in refusal(tmp_path / "a.tar")


def test_a_packed_tar_is_not_unpacked_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "MAX_UNPACKED", 10**6)
    write(tmp_path, {"bomb.tar.gz": tarred({"a": bytes(10**7), "b": b"x"})})
    assert "it unpacks to more than 1,000,000 bytes" in refusal(tmp_path / "bomb.tar.gz")
    monkeypatch.setattr(members, "MAX_READ", 10**5)
    long_header = tarfile.TarInfo("x" * 10**6).tobuf(tarfile.GNU_FORMAT)
    write(tmp_path, {"long.tar": long_header})
    assert "a part of 1000" in refusal(tmp_path / "long.tar")


def test_parquet_that_holds_something_else(few, tmp_path):
    images, labels = few["x_train"], few["y_train"]

    def said(files):
        for old in tmp_path.iterdir():
            old.unlink()
        return refusal(write(tmp_path, files))

    assert "number 1 is missing" in said({"train-00000-of-00002.parquet": parquet(images, labels)})
    assert "expected a column image beside one of labels, received photo, label; rename it" in said(
        {"train.parquet": parquet(images, labels, column="photo")}
    )
    assert "row 3: expected a label 0–9, received 10" in said(
        {"train.parquet": parquet(images, [*labels[:3], 10, *labels[4:]])}
    )
    assert "row 0: expected 28×28 grey pixels, received 27×28 of L" in said(
        {"train.parquet": parquet(images[:, :, 1:], labels)}
    )


def test_without_pyarrow_one_line_says_what_to_install(few, tmp_path, monkeypatch):
    write(tmp_path, {"train.parquet": b"PAR1"})
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    assert "needs pyarrow, which is not installed; run: pip install 'mnist_mlp[parquet]'" in refusal(tmp_path)


def test_names_of_parts():
    for name, part in {
        **{"mnist_train.csv": "train", "train-00000-of-00001.parquet": "train", "emnist-digits-test.csv": "test"},
        **{"MNIST-Training.csv.gz": "train", "mnist_784.csv": "all", "contest.csv": "all", "t10k.csv": "test"},
    }.items():
        assert layouts._part_of(name) == part, name


# MNIST itself


@pytest.fixture
def real(monkeypatch, mnist_dir):
    monkeypatch.undo()
    return load(mnist_dir)


@pytest.mark.slow
def test_mnist_itself_in_an_archive(real, mnist_dir, tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for path in mnist_dir.glob("*.gz"):
            archive.write(path, f"raw/{path.name}")
    loaded = load(tmp_path)
    assert loaded.verified
    np.testing.assert_array_equal(loaded.train.images, real.train.images)
    assert [path.name for path in tmp_path.iterdir()] == ["archive.zip"]  # nothing was unpacked


@pytest.mark.full
def test_mnist_itself_in_tables(real, tmp_path):
    texts = np.array([str(level) for level in range(256)], object)
    files = {}
    for part in ("train", "test"):
        split = getattr(real, part)
        lines = [
            f"{label},{','.join(row)}"
            for label, row in zip(split.labels, texts[split.images.reshape(-1, 784)], strict=True)
        ]
        files[f"mnist_{part}.csv"] = "\n".join([",".join(HEAD), *lines, ""]).encode()
    write(tmp_path, files)
    began = time.process_time()
    loaded = load(tmp_path)
    assert loaded.verified and time.process_time() - began < 3
    np.testing.assert_array_equal(loaded.train.images, real.train.images)


@pytest.mark.full
def test_mnist_itself_as_parquet(real, tmp_path):
    for part in ("train", "test"):
        split = getattr(real, part)
        write(tmp_path, {f"{part}-00000-of-00001.parquet": parquet(split.images, split.labels)})
    assert load(tmp_path).verified
