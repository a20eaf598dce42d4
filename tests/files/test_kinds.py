"""Files of other kinds are called by their name, wherever a picture, an array, a data set or a run is expected."""

import gzip
import io
import pickle
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.programs import Collector

from mnist_mlp import data
from mnist_mlp.config import PRESETS, Config, with_preset
from mnist_mlp.data.pictures import inputs
from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
from mnist_mlp.lab.playground.points import read_csv
from mnist_mlp.runs import saved


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return file.getvalue()


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("train-images-idx3-ubyte"))
    return file.getvalue()


def container(brand):
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1"


JPEG = "save it as JPEG or PNG"
NEVER = "never loaded: save the arrays with np.save or np.savez"
TABLE = "a table of images is read by train --data_dir"
MODEL = "models of other programs are not read yet"
PAGE = b"\xef\xbb\xbf\r\n<!DOCTYPE html>\n<html><body>Sign in</body>"
ROWS = b"\n".join([b" ".join([b"0.5", b"12"] * 14)] * 28)
FILES = {  # of each name: the content, what it is called, what to do
    "empty.png": (b"", "an empty file", ""),
    "photo.heic": (container(b"heic"), "a HEIC picture", JPEG),
    "phone.jpg": (container(b"mif1"), "a HEIC picture", JPEG),  # as phones send it
    "photo.avif": (container(b"avif"), "an AVIF picture", JPEG),
    "clip.mov": (container(b"qt  "), "a video", "one of its frames"),
    "page.pdf": (b"%PDF-1.7\n", "a PDF", JPEG),
    "drawing.svg": (b'<?xml version="1.0"?>\n<!-- -->\n<svg xmlns="x">', "an SVG drawing", JPEG),
    "plain.svg": (b"<svg>", "an SVG drawing", JPEG),
    "photo.jxl": (b"\xff\x0a\xfa", "a JPEG XL picture", JPEG),
    "login.npz": (PAGE, "a web page (HTML)", "download the file itself"),
    "login.gz": (PAGE, "a web page (HTML)", "download the file itself"),
    "login.png": (b"<html>", "a web page (HTML)", "download the file itself"),
    "lfs.npz": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS", "git lfs pull"),
    "digits.pkl": (pickle.dumps({"a": 1}), "a pickle", NEVER),
    "old.pkl": (pickle.dumps([1, 2], 0), "a pickle", NEVER),
    "data": (pickle.dumps([1, 2]), "a pickle", NEVER),
    "mnist.pkl.gz": (gzip.compress(pickle.dumps([1])), "a pickle, packed with gzip", NEVER),
    "net.pt": (zipped("net/data.pkl"), "a PyTorch file, which is a pickle", NEVER),
    "mine.keras": (zipped("metadata.json", "config.json"), "a Keras model (.keras)", MODEL),
    "mine.h5": (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file, such as a Keras model (.h5)", MODEL),
    "mine.onnx": (b"\x08\x08\x12\x07pytorch", "a model (ONNX)", MODEL),
    "mine.tflite": (b"\x1c\0\0\0TFL3\0", "a model (LiteRT, .tflite)", MODEL),
    "saved_model.pb": (b"\x08\x01\x12", "a model (TensorFlow's SavedModel)", MODEL),
    "test.csv": (b"label,pixel0,pixel1\n7,0,0\n2,0,0\n", "a CSV file", TABLE),
    "table": (b"7;0;0\n2;0;0\n", "a CSV file", TABLE),
    "test.parquet": (b"PAR1\x15", "a Parquet file", TABLE),
    "test.xlsx": (zipped("[Content_Types].xml"), "a document or table of an office program", "save it as CSV"),
    "rows.txt": (ROWS, "numbers as text", "np.loadtxt"),
    "mnist.zip": (zipped("train-images-idx3-ubyte"), "a zip archive", "unpack it first"),
    "mnist.tar": (tar(), "a tar archive", "unpack it first"),
    "mnist.tar.gz": (gzip.compress(tar()), "a tar archive, packed with gzip", "unpack it first"),
    "mnist.7z": (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    "twice.gz": (gzip.compress(gzip.compress(b"x")), "a gzip file within a gzip file", "unpack it once"),
    "._seven.png": (b"\0\5\x16\7\0", "a Mac's notes about the file of this name without ._", "use that file"),
}


READ = {  # by --data_dir, which says what is wrong with these
    "test.csv": "line 1: expected a label and 784 pixels, received a label and 2 columns",
    "table": "line 1: expected 785 columns (a label and 28×28 pixels) or 784 (pixels alone), received 3",
    "test.parquet": "expected a Parquet file of images and labels, received a damaged file",
    "mnist.zip": "received an archive with train-images-idx3-ubyte",
    "mnist.tar": "received an archive with train-images-idx3-ubyte",
    "mnist.tar.gz": "received an archive with train-images-idx3-ubyte",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_called_by_its_kind_where_something_else_is_expected(name, tmp_path):
    content, called, remedy = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    reporter = Collector()
    try:
        assert inputs.read(str(path), reporter=reporter) == []
        said = [*reporter.lines]
    except UserError as error:
        said = [str(error)]
    for use in (lambda: data.load(Config(dataset="mnist", data_dir=str(path))), lambda: saved.read_run(str(path))):
        with pytest.raises(UserError) as error:
            use()
        said.append(str(error.value))
    of_input, of_data, of_run = said
    assert f"received {called}" in of_input and remedy in of_input and str(path) in of_input
    if name in READ:
        assert READ[name] in of_data and str(path) in of_data
    else:
        assert f"received {called}" in of_data and remedy in of_data and f"={path}: expected a directory" in of_data
    assert f"expected the directory of a finished run, received {called}" in of_run
    assert (MODEL in of_run) == (remedy == MODEL)
    assert not any("\n" in each for each in said)


def test_what_is_read_is_of_no_other_kind(tmp_path):
    array, file = np.arange(784, dtype=np.uint8).reshape(1, 28, 28), io.BytesIO()
    np.savez_compressed(file, images=array)
    text_like = b"\0\0\x08\3\0\0\0\1\0\0\0\x1c\0\0\0\x1c" + b"1,2,3\n" * 131
    for content in (file.getvalue(), text_like, gzip.compress(text_like), b"BM" + bytes(9), b"some words"):
        assert kinds.recognize(content[: kinds.START], ".png") is None


def test_directories_that_are_something_else(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"\x08\x01")
    for use in (lambda path: inputs.read(path), saved.read_run):
        with pytest.raises(UserError, match=r"a model \(TensorFlow's SavedModel\); models of other programs"):
            use(str(tmp_path / "model"))
    for index in (1, 2):
        (tmp_path / "runs" / f"run{index}").mkdir(parents=True)
        (tmp_path / "runs" / f"run{index}" / "result.json").touch()
    with pytest.raises(
        UserError, match=r"received a directory of runs \(run1, run2\); try one of them, such as .*/runs/run2"
    ):
        saved.read_run(str(tmp_path / "runs"))
    for name in saved.FILES:
        (tmp_path / "runs" / "run1" / name).touch()
    with pytest.raises(UserError, match="received model.keras in a run; try its directory, .*/runs/run1"):
        saved.read_run(str(tmp_path / "runs" / "run1" / "model.keras"))


def test_a_config_file_that_is_something_else(tmp_path):
    (tmp_path / "mine.h5").write_bytes(FILES["mine.h5"][0])
    (tmp_path / "config.json").write_text("{}")
    for path, words in ((tmp_path / "mine.h5", "received: an HDF5 file"), (tmp_path, "try --config=.*/config.json")):
        with pytest.raises(UserError, match=words):
            with_preset(PRESETS, {"config": str(path)})


def test_points_of_a_playground_and_an_array_on_standard_input(tmp_path, monkeypatch):
    (tmp_path / "points.csv").write_bytes(FILES["test.xlsx"][0])
    with pytest.raises(UserError, match="expected a CSV file, received a document or table of an office"):
        read_csv(tmp_path / "points.csv", "classification")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\x93NUMPY\1\0")))
    reporter = Collector()
    assert inputs.read("-", reporter=reporter) == []
    assert "received a NumPy array (.npy); arrays are read from files that predict --input names" in reporter.lines[0]


@pytest.mark.parametrize("url", ["https://a.example/seven.png?x=*", "gs://bucket/mnist", "FILE:///tmp/x.npy"])
def test_a_url_is_no_path(url):
    hint = "omit file://" if url[0] == "F" else "download what is to be read"
    for use in (inputs.read, saved.read_run, lambda path: data.load(Config(dataset="mnist", data_dir=path))):
        with pytest.raises(UserError) as error:
            use(url)
        assert f"={url}: expected a path on this machine, received a URL; {hint}" in str(error.value)
