"""Data sets in the containers in which people have them, as bytes by the names of their files."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from mnist_mlp.data import Split, array_files, dataset, embedded_digits
from mnist_mlp.data.array_files import IDX_NAMES as NAMES
from mnist_mlp.data.array_files import SHAPES
from mnist_mlp.data.dataset import content_hash

FEW = {"x_train": 600, "y_train": 600, "x_test": 100, "y_test": 100}
HEAD = ["label", *(f"pixel{i}" for i in range(784))]


def mnist_of_few_images(monkeypatch, few=FEW):
    """Let MNIST be a few images of the embedded digits, with their hashes; return its arrays."""
    arrays = {key: array[: few[key]] for key, array in embedded_digits.load().items()}
    hashes = {part: content_hash(Split(arrays[f"x_{part}"], arrays[f"y_{part}"])) for part in ("train", "test")}
    monkeypatch.setattr(array_files, "SHAPES", {key: (few[key], *shape[1:]) for key, shape in SHAPES.items()})
    monkeypatch.setattr(dataset, "PUBLISHED", hashes)
    return arrays


def csv(images, labels=None, head=True):
    lines = [",".join(map(str, image.ravel())) for image in images]
    if labels is not None:
        lines = [f"{label},{line}" for label, line in zip(labels, lines, strict=True)]
    names = HEAD if labels is not None else HEAD[1:]
    return ("\n".join([",".join(names)] * head + lines) + "\n").encode()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files, mode="w:gz"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def tables_of(arrays, train="mnist_train.csv", test="mnist_test.csv", head=True):
    return {
        train: csv(arrays["x_train"], arrays["y_train"], head),
        test: csv(arrays["x_test"], arrays["y_test"], head),
    }


def idx_of(arrays, place="{name}", packed=False):
    content = {place.format(name=name): idx(arrays[key]) for key, name in NAMES.items()}
    return {name: gzip.compress(each, 1) for name, each in content.items()} if packed else content


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def parquet(images, labels, column="image", classes=None):
    """A file as the datasets library writes it."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    cells = [{"bytes": png(image), "path": None} for image in images]
    table = pyarrow.table({column: cells, "label": pyarrow.array(list(map(int, labels)), pyarrow.int64())})
    if classes:
        about = {"info": {"features": {"label": {"names": classes, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    stream = io.BytesIO()
    write_table(table, stream)
    return stream.getvalue()


def write(directory, files):
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory
